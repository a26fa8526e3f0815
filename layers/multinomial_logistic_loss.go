package layers

import (
	"math"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "MultinomialLogisticLoss",
		New:             newMultinomialLogisticLoss,
		Bottoms:         Exactly(2),
		Tops:            Exactly(1),
		AutoTops:        true,
		Loss:            true,
		NoForceBackward: []int{1},
	})
}

// multinomialLogisticLoss is that of probabilities, such as Softmax makes
// (Caffe's multinomial_logistic_loss_layer.cpp). The first bottom has those of K
// classes for each of N records (N×K, or more axes that count K together), the
// second N labels, 0 to K−1:
//
//	loss = −Σ log(max(p[label], 1e-20)) / N
//
// It has no fields.
type multinomialLogisticLoss struct {
	base
	dims   axisDims
	labels []int // of the last Forward
	clear  runsPass
}

func newMultinomialLogisticLoss(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &multinomialLogisticLoss{base: newBase(p, ctx)}
	l.warnUnused()
	return l, nil
}

func (l *multinomialLogisticLoss) Reshape(bottom, top []*tensor.Blob) error {
	if err := reshapeLoss(bottom, top); err != nil {
		return err
	}
	var err error
	if l.dims, err = recordLabels(bottom); err != nil {
		return err
	}
	l.labels = make([]int, l.dims.outer)
	return nil
}

func (l *multinomialLogisticLoss) Forward(bottom, top []*tensor.Blob) error {
	if err := l.dims.readLabels(bottom[1].ReadData(), l.labels); err != nil {
		return err
	}
	p := bottom[0].ReadData()
	var loss float64
	for i, label := range l.labels {
		loss -= math.Log(float64(max(p[i*l.dims.channels+label], logThreshold)))
	}
	top[0].Data()[0] = float32(loss / float64(l.dims.outer))
	return nil
}

// Backward: dp = −weight/(N·max(p, 1e-20)) for the label, else 0.
func (l *multinomialLogisticLoss) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[1] {
		return errLabelGradient
	}
	if !propagateDown[0] {
		return nil
	}
	p, dp := bottom[0].ReadData(), bottom[0].Diff()
	l.clear.clear(dp)
	w := -top[0].Diff()[0] / float32(l.dims.outer)
	for i, label := range l.labels {
		at := i*l.dims.channels + label
		dp[at] = w / max(p[at], logThreshold)
	}
	return nil
}
