package layers

import (
	"math"

	"crema/prototxt/caffepb"
)

func init() {
	Register(Type{
		Name:    "AbsVal",
		New:     newAbsVal,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// newAbsVal makes a layer that computes y = |x| (Caffe's absval_layer.cpp), not
// in place, as Caffe does not either. The gradient at 0 is 0. It has no fields.
func newAbsVal(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &neuron{base: newBase(p, ctx), forward: absVal, backward: absValBackward, notInPlace: true}
	l.warnUnused()
	return l, nil
}

func absVal(x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = abs(v)
	}
}

func absValBackward(x, _, dy, dx []float32) {
	dy, dx = dy[:len(x)], dx[:len(x)]
	for i, v := range x {
		g := math.Float32bits(dy[i]) ^ math.Float32bits(v)&(1<<31)
		if v == 0 {
			g = 0
		}
		dx[i] = math.Float32frombits(g)
	}
}
