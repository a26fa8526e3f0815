package layers

import (
	"math"

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
	l := &neuron{base: newBase(p, ctx), forward: tanh, backward: tanhBackward, readsTop: true}
	l.warnUnused("tanh_param")
	return l, nil
}

// tanh computes y = tanh(x); y may be x. For |x| ≥ 1 it is (e − 1)/(e + 1) with
// e = exp(2|x|). For smaller ones, where e − 1 would lose digits, it is Lambert's
// continued fraction x/(1 + x²/(3 + x²/(5 + …))) up to the 11, which is off by
// less than 1e-9 there.
func tanh(x, y []float32) {
	var exps [expRun]float32
	for len(x) > 0 {
		n := min(expRun, len(x))
		e, x0, y0 := exps[:n], x[:n], y[:n]
		for i, v := range x0 {
			v = 2 * abs(v)
			// 1 for float32 from 18.1 on, and no infinity over another.
			if v > 40 {
				v = 40
			}
			e[i] = v
		}
		asm.Exp(e, e)
		for i, v := range x0 {
			// Either numerator and denominator, chosen without a branch.
			small := uint32(int32(math.Float32bits(abs(v))-math.Float32bits(1)) >> 31)
			z := v * v
			p := v * (10395 + z*(1260+z*21))
			q := 10395 + z*(4725+z*(210+z))
			sign := math.Float32bits(v) & (1 << 31)
			num := math.Float32bits(p)&small | (math.Float32bits(e[i]-1)|sign)&^small
			den := math.Float32bits(q)&small | math.Float32bits(e[i]+1)&^small
			y0[i] = math.Float32frombits(num) / math.Float32frombits(den)
		}
		x, y = x[n:], y[n:]
	}
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// tanhBackward computes dx = dy·(1 − y²).
func tanhBackward(_, y, dy, dx []float32) {
	dy, dx = dy[:len(y)], dx[:len(y)]
	for i, v := range y {
		dx[i] = dy[i] * (1 - v*v)
	}
}
