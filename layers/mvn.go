package layers

import (
	"fmt"
	"math"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "MVN",
		New:     newMVN,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// mvn gives every channel of every image, or every image, mean 0 and deviation 1
// (Caffe's mvn_layer.cpp): y = (x − mean)/(√variance + eps), also in place, where
// Caffe's gradient is wrong. The top has four axes, N×C×H×W: those that the bottom
// lacks are 1. The gradient is Caffe's: it takes eps for small beside the
// deviation. Fields of mvn_param:
//
//	normalize_variance (true)  false: only the mean is subtracted
//	across_channels (false)    true: of whole images
//	eps (1e-9)
type mvn struct {
	base
	across, variance bool
	eps              float64
	scores           standardScores
}

func newMVN(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	mp := p.GetMvnParam()
	if mp == nil {
		mp = &caffepb.MVNParameter{}
	}
	l := &mvn{base: newBase(p, ctx), across: mp.GetAcrossChannels(), variance: mp.GetNormalizeVariance(), eps: float64(mp.GetEps())}
	if !(l.eps >= 0) || math.IsInf(l.eps, 0) {
		return nil, fmt.Errorf("mvn_param: eps must be 0 or more, not %g", l.eps)
	}
	l.warnUnused("mvn_param")
	return l, nil
}

func (l *mvn) Reshape(bottom, top []*tensor.Blob) error {
	b := bottom[0]
	const axes = 4
	shape := b.Shape()
	if len(shape) > axes {
		return fmt.Errorf("the bottom must have at most %d axes, not the shape %s", axes, tensor.FormatShape(shape))
	}
	for len(shape) < axes {
		shape = append(shape, 1)
	}
	top[0].Reshape(shape...)
	groups := shape[0]
	if !l.across {
		groups *= shape[1]
	}
	l.scores.shape(1, groups, b.Count()/max(groups, 1), false)
	return nil
}

// Fit implements LayoutTaker. In a whole image the order does not matter.
func (l *mvn) Fit(in, out tensor.Layout) Fit {
	if in != tensor.NCHW && !l.across {
		return Unfit
	}
	return sameLayout(in, out)
}

func (l *mvn) Forward(bottom, top []*tensor.Blob) error {
	x := bottom[0].ReadData()
	if len(x) == 0 {
		return nil
	}
	mean, variance := l.scores.moments(x)
	for i := range mean {
		l.scores.mean[i], l.scores.inverse[i] = float32(mean[i]), 1
		if l.variance {
			l.scores.inverse[i] = float32(1 / (math.Sqrt(variance[i]) + l.eps))
		}
	}
	l.scores.forward(x, top[0].Data(), l.variance)
	return nil
}

func (l *mvn) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	switch {
	case !propagateDown[0]:
	case l.variance:
		l.scores.backward(top[0].Diff(), bottom[0].Diff())
	default:
		l.scores.subtractMean(top[0].Diff(), bottom[0].Diff())
	}
	return nil
}
