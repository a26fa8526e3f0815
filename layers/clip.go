package layers

import (
	"errors"
	"fmt"

	"crema/prototxt/caffepb"
)

func init() {
	Register(Type{
		Name:    "Clip",
		New:     newClip,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// clip computes y = min(max(x, lower), upper) (Caffe's clip_layer.cpp), also in
// place, where Caffe's gradient is wrong; a NaN stays one. The gradient passes
// where x is not changed. Fields of clip_param:
//
//	min (required)  the lower bound
//	max (required)  the upper bound, not less
type clip struct {
	neuron
	lower, upper float32
}

func newClip(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	cp := p.GetClipParam()
	if cp == nil || cp.Min == nil || cp.Max == nil {
		return nil, errors.New("clip_param: min and max are required")
	}
	l := &clip{neuron: neuron{base: newBase(p, ctx), keepsBottom: true}, lower: cp.GetMin(), upper: cp.GetMax()}
	if !(l.lower <= l.upper) {
		return nil, fmt.Errorf("clip_param: min %g must not be greater than max %g", l.lower, l.upper)
	}
	l.forward, l.backward = l.values, l.gradient
	l.warnUnused("clip_param")
	return l, nil
}

func (l *clip) values(x, y []float32) {
	y = y[:len(x)]
	lower, upper := l.lower, l.upper
	for i, v := range x {
		if v < lower {
			v = lower
		}
		if v > upper {
			v = upper
		}
		y[i] = v
	}
}

func (l *clip) gradient(x, _, dy, dx []float32) {
	dy, dx = dy[:len(x)], dx[:len(x)]
	lower, upper := l.lower, l.upper
	for i, v := range x {
		g := dy[i]
		if v < lower || v > upper {
			g = 0
		}
		dx[i] = g
	}
}
