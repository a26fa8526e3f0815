package layers

import (
	"math"

	"crema/asm"
	"crema/prototxt/caffepb"
)

func init() {
	Register(Type{
		Name:    "BNLL",
		New:     newBNLL,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// newBNLL makes a layer that computes the binomial normal log likelihood
// y = log(1 + exp(x)) (Caffe's bnll_layer.cpp), also in place, where Caffe's
// gradient is wrong. It has no fields.
func newBNLL(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &neuron{base: newBase(p, ctx), forward: bnll, backward: bnllBackward, keepsBottom: true}
	l.warnUnused()
	return l, nil
}

// bnll computes y = max(x, 0) + log(1 + exp(−|x|)), which cannot overflow.
func bnll(x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		w := float64(v)
		y[i] = float32(max(w, 0) + math.Log1p(math.Exp(-math.Abs(w))))
	}
}

// bnllBackward computes dx = dy·σ(x).
func bnllBackward(x, _, dy, dx []float32) {
	dy, dx = dy[:len(x)], dx[:len(x)]
	var sigmoids [expRun]float32
	for len(x) > 0 {
		n := min(expRun, len(x))
		asm.Sigmoid(x[:n], sigmoids[:n])
		for i, s := range sigmoids[:n] {
			dx[i] = dy[i] * s
		}
		x, dy, dx = x[n:], dy[n:], dx[n:]
	}
}
