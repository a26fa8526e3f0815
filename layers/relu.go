package layers

import (
	"math"

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

// The loops have no branch on the sign of an element, which no predictor could
// guess; max and min compile to straight code.

func (l *relu) Forward(bottom, top []*tensor.Blob) error {
	x, y, slope := bottom[0].Data(), top[0].Data(), l.slope
	par.For(len(x), elemGrain, func(lo, hi int) {
		x, y := x[lo:hi], y[lo:hi]
		if slope == 0 {
			for i, v := range x {
				y[i] = max(v, 0)
			}
			return
		}
		for i, v := range x {
			y[i] = max(v, 0) + slope*min(v, 0)
		}
	})
	return nil
}

func (l *relu) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if !propagateDown[0] {
		return nil
	}
	x, dy, dx := bottom[0].Data(), top[0].Diff(), bottom[0].Diff()
	one, slope := math.Float32bits(1), math.Float32bits(l.slope)
	par.For(len(x), elemGrain, func(lo, hi int) {
		x, dy, dx := x[lo:hi], dy[lo:hi], dx[lo:hi]
		for i, v := range x {
			// All ones when v > 0: then its bits are a positive integer.
			pos := uint32(-int64(int32(math.Float32bits(v))) >> 63)
			dx[i] = dy[i] * math.Float32frombits(one&pos|slope&^pos)
		}
	})
	return nil
}
