package layers

import "crema/prototxt/caffepb"

func init() {
	Register(Type{
		Name:       "Threshold",
		New:        newThreshold,
		Bottoms:    Exactly(1),
		Tops:       Exactly(1),
		NoBackward: true,
	})
}

// threshold computes y = 1 for x > threshold and y = 0 for others (Caffe's
// threshold_layer.cpp), also in place. It has no gradient. Fields of
// threshold_param:
//
//	threshold (0)
type threshold struct {
	neuron
	threshold float32
}

func newThreshold(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &threshold{neuron: neuron{base: newBase(p, ctx)}, threshold: p.GetThresholdParam().GetThreshold()}
	l.forward = l.values
	l.warnUnused("threshold_param")
	return l, nil
}

func (l *threshold) values(x, y []float32) {
	y = y[:len(x)]
	t := l.threshold
	for i, v := range x {
		var above float32
		if v > t {
			above = 1
		}
		y[i] = above
	}
}
