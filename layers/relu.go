package layers

import (
	"crema/asm"
	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "ReLU",
		New:     newReLU,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// relu computes y = max(x, 0) + negative_slope·min(x, 0) (Caffe's
// relu_layer.cpp), also in place. In place, Backward sees y for x: the same
// sign when negative_slope ≥ 0. Fields of relu_param:
//
//	negative_slope (0)
//	engine             accepted, without effect
type relu struct {
	base
	slope   float32
	inPlace bool
	pass    reluPass
}

// reluPass is one Forward, or one Backward if dy is not nil.
type reluPass struct {
	slope     float32
	x, dy, to []float32
}

// Do implements par.Job.
func (j *reluPass) Do(task int) {
	lo, hi := elemRange(len(j.x), task)
	if j.dy == nil {
		asm.ReLU(j.slope, j.x[lo:hi], j.to[lo:hi])
	} else {
		asm.ReLUBackward(j.slope, j.x[lo:hi], j.dy[lo:hi], j.to[lo:hi])
	}
}

func newReLU(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &relu{base: newBase(p, ctx), slope: p.GetReluParam().GetNegativeSlope()}
	l.warnUnused("relu_param")
	return l, nil
}

func (l *relu) Reshape(bottom, top []*tensor.Blob) error {
	top[0].ReshapeLike(bottom[0])
	l.inPlace = bottom[0] == top[0]
	return nil
}

// SpoiledBy implements TopReader. Backward needs the signs where the gradient is
// not 0, which ReLU and Dropout leave as they are.
func (l *relu) SpoiledBy(kind string) bool {
	return l.inPlace && kind != "ReLU" && kind != "Dropout"
}

// Fit implements LayoutTaker.
func (l *relu) Fit(in, out tensor.Layout) Fit { return sameLayout(in, out) }

func (l *relu) Forward(bottom, top []*tensor.Blob) error {
	l.run(reluPass{l.slope, bottom[0].ReadData(), nil, top[0].Data()})
	return nil
}

func (l *relu) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[0] {
		l.run(reluPass{l.slope, bottom[0].ReadData(), top[0].Diff(), bottom[0].Diff()})
	}
	return nil
}

func (l *relu) run(j reluPass) {
	l.pass = j
	par.Run(0, elemTasks(len(j.x)), &l.pass)
	l.pass = reluPass{}
}
