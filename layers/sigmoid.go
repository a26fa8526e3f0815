package layers

import (
	"crema/asm"
	"crema/prototxt/caffepb"
)

func init() {
	Register(Type{
		Name:    "Sigmoid",
		New:     newSigmoid,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// newSigmoid makes a layer that computes y = 1/(1 + exp(−x)) (Caffe's
// sigmoid_layer.cpp), also in place. Fields of sigmoid_param:
//
//	engine  accepted, without effect
func newSigmoid(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &neuron{base: newBase(p, ctx), forward: asm.Sigmoid, backward: sigmoidBackward, readsTop: true}
	l.warnUnused("sigmoid_param")
	return l, nil
}

// sigmoidBackward computes dx = dy·y·(1 − y).
func sigmoidBackward(_, y, dy, dx []float32) {
	dy, dx = dy[:len(y)], dx[:len(y)]
	for i, v := range y {
		dx[i] = dy[i] * (v * (1 - v))
	}
}
