package layers

import (
	"crema/asm"
	"crema/prototxt/caffepb"
)

func init() {
	Register(Type{
		Name:    "Swish",
		New:     newSwish,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// swish computes y = x·σ(beta·x) (Caffe's swish_layer.cpp), also in place.
// Fields of swish_param:
//
//	beta (1)
type swish struct {
	neuron
	beta float32
}

func newSwish(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &swish{neuron: neuron{base: newBase(p, ctx), keepsBottom: true}, beta: p.GetSwishParam().GetBeta()}
	l.forward, l.backward = l.values, l.gradient
	l.warnUnused("swish_param")
	return l, nil
}

// sigmoids computes s = σ(beta·x).
func (l *swish) sigmoids(x, s []float32) {
	s = s[:len(x)]
	for i, v := range x {
		s[i] = l.beta * v
	}
	asm.Sigmoid(s, s)
}

func (l *swish) values(x, y []float32) {
	var sigmoids [expRun]float32
	for len(x) > 0 {
		n := min(expRun, len(x))
		l.sigmoids(x[:n], sigmoids[:n])
		for i, s := range sigmoids[:n] {
			y[i] = x[i] * s
		}
		x, y = x[n:], y[n:]
	}
}

// gradient: dx = dy·s·(1 + beta·x·(1 − s)) with s = σ(beta·x).
func (l *swish) gradient(x, _, dy, dx []float32) {
	var sigmoids [expRun]float32
	for len(x) > 0 {
		n := min(expRun, len(x))
		l.sigmoids(x[:n], sigmoids[:n])
		for i, s := range sigmoids[:n] {
			dx[i] = dy[i] * s * (1 + l.beta*x[i]*(1-s))
		}
		x, dy, dx = x[n:], dy[n:], dx[n:]
	}
}
