package layers

import (
	"crema/asm"
	"crema/prototxt/caffepb"
)

func init() {
	Register(Type{
		Name:    "ELU",
		New:     newELU,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// elu computes y = x for x > 0 and y = alpha·(exp(x) − 1) for others (Caffe's
// elu_layer.cpp), also in place. Fields of elu_param:
//
//	alpha (1)
type elu struct {
	neuron
	alpha float32
}

func newELU(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &elu{neuron: neuron{base: newBase(p, ctx)}, alpha: p.GetEluParam().GetAlpha()}
	l.forward = l.values
	if l.alpha >= 0 {
		l.backward, l.readsTop = l.gradient, true
	} else {
		// Then y does not tell the sign of x.
		l.backward, l.keepsBottom = l.gradientOfBottom, true
	}
	l.warnUnused("elu_param")
	return l, nil
}

func (l *elu) values(x, y []float32) {
	var exps [expRun]float32
	for len(x) > 0 {
		n := min(expRun, len(x))
		e, x0, y0 := exps[:n], x[:n], y[:n]
		for i, v := range x0 {
			_, e[i] = parts(v)
		}
		asm.Exp(e, e)
		for i, v := range x0 {
			positive, _ := parts(v)
			y0[i] = positive + l.alpha*(e[i]-1)
		}
		x, y = x[n:], y[n:]
	}
}

// gradient: dy·exp(x) is dy·(y/alpha + 1).
func (l *elu) gradient(_, y, dy, dx []float32) {
	dy, dx = dy[:len(y)], dx[:len(y)]
	alpha := l.alpha
	for i, v := range y {
		dx[i] = dy[i] * slope(v, alpha+v)
	}
}

func (l *elu) gradientOfBottom(x, _, dy, dx []float32) {
	dy, dx = dy[:len(x)], dx[:len(x)]
	var exps [expRun]float32
	for len(x) > 0 {
		n := min(expRun, len(x))
		asm.Exp(x[:n], exps[:n])
		for i, v := range x[:n] {
			dx[i] = dy[i] * slope(v, l.alpha*exps[i])
		}
		x, dy, dx = x[n:], dy[n:], dx[n:]
	}
}
