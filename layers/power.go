package layers

import (
	"math"

	"crema/asm"
	"crema/prototxt/caffepb"
)

func init() {
	Register(Type{
		Name:    "Power",
		New:     newPower,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// power computes y = (shift + scale·x)^power (Caffe's power_layer.cpp), also in
// place, where Caffe's gradient is wrong unless power is 0 or 1. Where Caffe's
// gradient is 0/0, at shift + scale·x = 0, it is here what it tends to. Fields of
// power_param:
//
//	power (1)
//	scale (1)
//	shift (0)
type power struct {
	neuron
	power, scale, shift float32
}

func newPower(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	pp := p.GetPowerParam()
	l := &power{neuron: neuron{base: newBase(p, ctx)}, power: pp.GetPower(), scale: pp.GetScale(), shift: pp.GetShift()}
	switch {
	case l.power*l.scale == 0:
		l.forward, l.backward = l.constant, noGradient
	case l.power == 1:
		l.forward, l.backward = l.linear, l.linearGradient
	default:
		l.forward, l.backward, l.keepsBottom = l.values, l.gradient, true
	}
	l.warnUnused("power_param")
	return l, nil
}

func (l *power) constant(_, y []float32) {
	v := float32(math.Pow(float64(l.shift), float64(l.power)))
	for i := range y {
		y[i] = v
	}
}

func noGradient(_, _, _, dx []float32) { clear(dx) }

func (l *power) linear(x, y []float32) {
	y = y[:len(x)]
	scale, shift := l.scale, l.shift
	for i, v := range x {
		y[i] = scale*v + shift
	}
}

func (l *power) linearGradient(_, _, dy, dx []float32) {
	dy = dy[:len(dx)]
	for i, v := range dy {
		dx[i] = l.scale * v
	}
}

func (l *power) values(x, y []float32) {
	l.linear(x, y)
	exponent(l.power).raise(y, y)
}

// gradient: dx = dy·power·scale·(shift + scale·x)^(power−1).
func (l *power) gradient(x, _, dy, dx []float32) {
	var slopes [expRun]float32
	for len(x) > 0 {
		n := min(expRun, len(x))
		s := slopes[:n]
		l.linear(x[:n], s)
		exponent(l.power-1).raise(s, s)
		for i, v := range s {
			dx[i] = dy[i] * (l.power * l.scale * v)
		}
		x, dy, dx = x[n:], dy[n:], dx[n:]
	}
}

// An exponent is a power to raise to. Nets use some of which a product or a root
// is, and faster.
type exponent float64

// raise computes y = x^e; y may be x.
func (e exponent) raise(x, y []float32) {
	y = y[:len(x)]
	switch e {
	case 0:
		for i := range y {
			y[i] = 1
		}
	case 1:
		copy(y, x)
	case 2:
		asm.Product(x, x, y)
	case 3:
		for i, v := range x {
			y[i] = v * v * v
		}
	case 0.5:
		for i, v := range x {
			y[i] = sqrt(v)
		}
	case -0.5:
		for i, v := range x {
			y[i] = 1 / sqrt(v)
		}
	case -0.75:
		asm.PowerMinus34(x, y)
	case -1:
		for i, v := range x {
			y[i] = 1 / v
		}
	default:
		for i, v := range x {
			y[i] = float32(math.Pow(float64(v), float64(e)))
		}
	}
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }
