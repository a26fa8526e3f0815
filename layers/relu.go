package layers

import (
	"crema/asm"
	"crema/internal/par"
	"crema/internal/tensor"
	"crema/prototxt/caffepb"
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
	slope float32
}

func newReLU(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &relu{base: newBase(p, ctx), slope: p.GetReluParam().GetNegativeSlope()}
	l.warnUnused("relu_param")
	return l, nil
}

func (l *relu) Reshape(bottom, top []*tensor.Blob) error {
	top[0].ReshapeLike(bottom[0])
	return nil
}

func (l *relu) Forward(bottom, top []*tensor.Blob) error {
	x, y := bottom[0].Data(), top[0].Data()
	par.For(len(x), elemGrain, func(lo, hi int) { asm.ReLU(l.slope, x[lo:hi], y[lo:hi]) })
	return nil
}

func (l *relu) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if !propagateDown[0] {
		return nil
	}
	x, dy, dx := bottom[0].Data(), top[0].Diff(), bottom[0].Diff()
	par.For(len(x), elemGrain, func(lo, hi int) { asm.ReLUBackward(l.slope, x[lo:hi], dy[lo:hi], dx[lo:hi]) })
	return nil
}
