package layers

import (
	"errors"
	"fmt"
	"math"

	"crema/prototxt/caffepb"
)

func init() {
	Register(Type{
		Name:    "Log",
		New:     newLog,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// logarithm computes the logarithm to a base of shift + scale·x (Caffe's
// log_layer.cpp), also in place, where Caffe's gradient is wrong. Fields of
// log_param:
//
//	base (-1, which stands for e)  greater than 0 and not 1 otherwise
//	scale (1)
//	shift (0)
type logarithm struct {
	neuron
	logBase      float64
	scale, shift float32
}

func newLog(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	lp := p.GetLogParam()
	logBase, err := logOfBase(lp.GetBase())
	if err == nil && logBase == 0 {
		err = errors.New("base must not be 1: there is no such logarithm")
	}
	if err != nil {
		return nil, fmt.Errorf("log_param: %w", err)
	}
	l := &logarithm{
		neuron:  neuron{base: newBase(p, ctx), keepsBottom: true},
		logBase: logBase, scale: lp.GetScale(), shift: lp.GetShift(),
	}
	l.forward, l.backward = l.values, l.gradient
	l.warnUnused("log_param")
	return l, nil
}

func (l *logarithm) values(x, y []float32) {
	y = y[:len(x)]
	factor := 1 / l.logBase
	for i, v := range x {
		y[i] = float32(math.Log(float64(l.scale*v+l.shift)) * factor)
	}
}

// gradient: dx = dy·scale/((shift + scale·x)·log base).
func (l *logarithm) gradient(x, _, dy, dx []float32) {
	dy, dx = dy[:len(x)], dx[:len(x)]
	factor := float32(float64(l.scale) / l.logBase)
	for i, v := range x {
		dx[i] = dy[i] * factor / (l.scale*v + l.shift)
	}
}
