package layers

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Scale",
		New:     newScale,
		Bottoms: Between(1, 2),
		Tops:    Exactly(1),
	})
}

// scale multiplies the first bottom by a blob (Caffe's scale_layer.cpp), also in
// place: the second bottom, or if there is none a parameter. Its axes are those
// of the first bottom from axis on; it is repeated along all others. With
// bias_term a parameter of the same shape is added, the last one. Fields of
// scale_param:
//
//	axis (1)                  negative counts from the end; a scalar does not need it
//	num_axes (1)              of the first parameter; -1: all from axis on, 0: it is a scalar
//	filler (constant 1)       of the first parameter
//	bias_term (false)
//	bias_filler (constant 0)
type scale struct {
	base
	bias   bool
	affine affine
	kept   *tensor.Blob // the bottom's values of the last Forward, if in place
}

func newScale(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &scale{base: newBase(p, ctx), bias: p.GetScaleParam().GetBiasTerm(), kept: tensor.New()}
	l.warnUnused("scale_param")
	return l, nil
}

// scaleParam returns the message with its defaults.
func scaleParam(p *caffepb.LayerParameter) *caffepb.ScaleParameter {
	if p.ScaleParam == nil {
		return &caffepb.ScaleParameter{}
	}
	return p.ScaleParam
}

// Setup creates the parameters.
func (l *scale) Setup(bottom, _ []*tensor.Blob) error {
	p := scaleParam(l.p)
	var specs []paramSpec
	shape := bottom[len(bottom)-1].Shape()
	if len(bottom) == 1 {
		var err error
		if shape, err = broadcastShape(bottom[0], p.GetAxis(), p.GetNumAxes()); err != nil {
			return fmt.Errorf("scale_param: %w", err)
		}
		filler := p.Filler
		if filler == nil {
			filler = &caffepb.FillerParameter{Value: proto.Float32(1)}
		}
		specs = append(specs, paramSpec{"scale", shape, filler})
	}
	if l.bias {
		specs = append(specs, paramSpec{"bias", shape, p.GetBiasFiller()})
	}
	return l.makeParams(specs...)
}

// blob returns what the bottom is multiplied by.
func (l *scale) blob(bottom []*tensor.Blob) *tensor.Blob {
	if len(bottom) > 1 {
		return bottom[1]
	}
	return l.params[0]
}

func (l *scale) Reshape(bottom, top []*tensor.Blob) error {
	s := l.blob(bottom)
	if err := l.affine.shape(bottom[0], s, scaleParam(l.p).GetAxis(), len(bottom) == 1 || l.bias); err != nil {
		return fmt.Errorf("scale_param: the scale: %w", err)
	}
	if l.bias && !l.params[len(l.params)-1].SameShape(s) {
		return fmt.Errorf("scale_param: the bias has shape %s, bottom 1 %s", tensor.FormatShape(l.params[len(l.params)-1].Shape()), tensor.FormatShape(s.Shape()))
	}
	top[0].ReshapeLike(bottom[0])
	l.kept.ReshapeLike(bottom[0])
	return nil
}

// Fit implements LayoutTaker.
func (l *scale) Fit(in, out tensor.Layout) Fit { return l.affine.fit(in, out) }

// wantsScale reports whether Backward computes the gradient of what the bottom
// is multiplied by if it propagates to all bottoms.
func (l *scale) wantsScale(bottom []*tensor.Blob) bool {
	return len(bottom) > 1 || l.ParamPropagateDown(0)
}

func (l *scale) Forward(bottom, top []*tensor.Blob) error {
	var b, keep []float32
	if l.bias {
		b = l.params[len(l.params)-1].ReadData()
	}
	if bottom[0] == top[0] && l.wantsScale(bottom) {
		keep = l.kept.Data()
	}
	l.affine.forward(l.blob(bottom).ReadData(), b, bottom[0].ReadData(), top[0].Data(), keep)
	return nil
}

// leave puts into the gradient of a bottom that nobody asks for, if there is
// memory for it, what Caffe leaves there: the products whose sums are the
// gradient of the scale. Only those who compare all blobs see them.
func (l *scale) leave(x, y *tensor.Blob) {
	dx, v := x.Diff(), x.ReadData()
	for i, d := range y.Diff() {
		dx[i] = d * v[i]
	}
}

func (l *scale) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	var dx []float32
	if propagateDown[0] {
		dx = bottom[0].Diff()
	}
	var da, db sink
	switch {
	case len(bottom) > 1 && propagateDown[1]:
		da = sink{to: bottom[1].Diff()}
	case len(bottom) == 1 && l.ParamPropagateDown(0):
		da = sink{to: l.params[0].Diff(), add: true}
	}
	if last := len(l.params) - 1; l.bias && l.ParamPropagateDown(last) {
		db = sink{to: l.params[last].Diff(), add: true}
	}
	x := bottom[0]
	if x == top[0] {
		x = l.kept
	} else if dx == nil && len(bottom) == 1 && da.to != nil && x.HasDiff() && !l.affine.oneToOne {
		l.leave(x, top[0])
	}
	l.affine.backward(l.blob(bottom).ReadData(), x.ReadData(), top[0].Diff(), dx, da, db)
	return nil
}
