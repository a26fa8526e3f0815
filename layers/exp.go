package layers

import (
	"fmt"
	"math"

	"crema/asm"
	"crema/prototxt/caffepb"
)

func init() {
	Register(Type{
		Name:    "Exp",
		New:     newExp,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// exponential computes y = base^(shift + scale·x) (Caffe's exp_layer.cpp), also
// in place. Fields of exp_param:
//
//	base (-1, which stands for e)  greater than 0 otherwise
//	scale (1)
//	shift (0)
type exponential struct {
	neuron
	inner, outer float32 // y = outer·exp(inner·x)
}

func newExp(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	ep := p.GetExpParam()
	logBase, err := logOfBase(ep.GetBase())
	if err != nil {
		return nil, fmt.Errorf("exp_param: %w", err)
	}
	l := &exponential{
		neuron: neuron{base: newBase(p, ctx), readsTop: true},
		inner:  float32(logBase * float64(ep.GetScale())),
		outer:  float32(math.Exp(logBase * float64(ep.GetShift()))),
	}
	l.forward, l.backward = l.values, l.gradient
	l.warnUnused("exp_param")
	return l, nil
}

// logOfBase returns the natural logarithm of the base of Exp and Log; -1 stands
// for e.
func logOfBase(base float32) (float64, error) {
	if base == -1 {
		return 1, nil
	}
	if !(base > 0) || math.IsInf(float64(base), 0) {
		return 0, fmt.Errorf("base must be greater than 0, or -1 for e, not %g", base)
	}
	return math.Log(float64(base)), nil
}

func (l *exponential) values(x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = l.inner * v
	}
	asm.Exp(y, y)
	if l.outer != 1 {
		asm.Scal(l.outer, y)
	}
}

// gradient: dx = dy·y·inner.
func (l *exponential) gradient(_, y, dy, dx []float32) {
	dy, dx = dy[:len(y)], dx[:len(y)]
	for i, v := range y {
		dx[i] = dy[i] * v * l.inner
	}
}
