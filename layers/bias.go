package layers

import (
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Bias",
		New:     newBias,
		Bottoms: Between(1, 2),
		Tops:    Exactly(1),
	})
}

// bias adds a blob to the first bottom (Caffe's bias_layer.cpp), also in place:
// the second bottom, or if there is none a parameter. Its axes are those of the
// first bottom from axis on; it is repeated along all others. Fields of
// bias_param:
//
//	axis (1)             negative counts from the end; a scalar does not need it
//	num_axes (1)         of the parameter; -1: all from axis on, 0: it is a scalar
//	filler (constant 0)  of the parameter
type bias struct {
	base
	affine affine
}

func newBias(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &bias{base: newBase(p, ctx)}
	l.warnUnused("bias_param")
	return l, nil
}

// biasParam returns the message with its defaults.
func biasParam(p *caffepb.LayerParameter) *caffepb.BiasParameter {
	if p.BiasParam == nil {
		return &caffepb.BiasParameter{}
	}
	return p.BiasParam
}

// Setup creates the parameter.
func (l *bias) Setup(bottom, _ []*tensor.Blob) error {
	if len(bottom) > 1 {
		return l.makeParams()
	}
	p := biasParam(l.p)
	shape, err := broadcastShape(bottom[0], p.GetAxis(), p.GetNumAxes())
	if err != nil {
		return fmt.Errorf("bias_param: %w", err)
	}
	return l.makeParams(paramSpec{"bias", shape, p.GetFiller()})
}

// blob returns what is added.
func (l *bias) blob(bottom []*tensor.Blob) *tensor.Blob {
	if len(bottom) > 1 {
		return bottom[1]
	}
	return l.params[0]
}

func (l *bias) Reshape(bottom, top []*tensor.Blob) error {
	if err := l.affine.shape(bottom[0], l.blob(bottom), biasParam(l.p).GetAxis(), len(bottom) == 1); err != nil {
		return fmt.Errorf("bias_param: the bias: %w", err)
	}
	top[0].ReshapeLike(bottom[0])
	return nil
}

// Fit implements LayoutTaker.
func (l *bias) Fit(in, out tensor.Layout) Fit { return l.affine.fit(in, out) }

func (l *bias) Forward(bottom, top []*tensor.Blob) error {
	l.affine.forward(nil, l.blob(bottom).ReadData(), bottom[0].ReadData(), top[0].Data(), nil)
	return nil
}

func (l *bias) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	var dx []float32
	if propagateDown[0] {
		dx = bottom[0].Diff()
	}
	var db sink
	switch {
	case len(bottom) > 1 && propagateDown[1]:
		db = sink{to: bottom[1].Diff()}
	case len(bottom) == 1 && l.ParamPropagateDown(0):
		db = sink{to: l.params[0].Diff(), add: true}
	}
	l.affine.backward(nil, nil, top[0].Diff(), dx, sink{}, db)
	return nil
}
