package layers

import (
	"crema/asm"
	"crema/prototxt/caffepb"
)

func init() {
	Register(Type{
		Name:    "TanH",
		New:     newTanH,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// newTanH makes a layer that computes the hyperbolic tangent (Caffe's
// tanh_layer.cpp), also in place. Fields of tanh_param:
//
//	engine  accepted, without effect
func newTanH(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &neuron{base: newBase(p, ctx), forward: asm.Tanh, backward: tanhBackward, readsTop: true}
	l.warnUnused("tanh_param")
	return l, nil
}

// tanhBackward computes dx = dy·(1 − y²).
func tanhBackward(_, y, dy, dx []float32) {
	dy, dx = dy[:len(y)], dx[:len(y)]
	for i, v := range y {
		dx[i] = dy[i] * (1 - v*v)
	}
}
