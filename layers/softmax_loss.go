package layers

import (
	"fmt"
	"math"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "SoftmaxWithLoss",
		New:             newSoftmaxLoss,
		Bottoms:         Exactly(2),
		Tops:            Between(1, 2),
		AutoTops:        true,
		Loss:            true,
		NoForceBackward: []int{1},
	})
}

// softmaxLoss is the multinomial logistic loss of the softmax of its first
// bottom (Caffe's softmax_loss_layer.cpp):
//
//	loss = −Σ log(max(p[label], FLT_MIN)) / normalizer
//
// where the second bottom holds a label, 0 to C−1, for every position, that is
// for every element of the first bottom with the class axis taken out. The
// first top is the loss, a scalar; the second, if there is one, shares the
// probabilities, and no gradient comes back through it. Fields:
//
//	softmax_param.axis (1)            the class axis
//	softmax_param.engine              accepted, without effect
//	loss_param.ignore_label (none)    positions with this label do not count
//	loss_param.normalization (VALID)  the normalizer: VALID, the positions that
//	                                  count; FULL, all positions; BATCH_SIZE,
//	                                  the size before the class axis; NONE, 1;
//	                                  never less than 1
//	loss_param.normalize              the older way, if there is no
//	                                  normalization: true is VALID, false
//	                                  BATCH_SIZE
type softmaxLoss struct {
	base
	softmax       softmaxPass
	scale         lossScale
	prob          *tensor.Blob
	floored, seen int // labels of the last Forward

	// While Backward runs.
	w    float32
	dx   []float32
	loop spans[*softmaxLoss]
}

// Floored implements FloorCounter.
func (l *softmaxLoss) Floored() (floored, labels int) { return l.floored, l.seen }

func newSoftmaxLoss(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &softmaxLoss{base: newBase(p, ctx), prob: tensor.New(0)}
	l.warnUnused("softmax_param", "loss_param")
	var err error
	if l.scale, err = newLossScale(p.GetLossParam(), caffepb.LossParameter_VALID); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *softmaxLoss) Reshape(bottom, top []*tensor.Blob) error {
	if err := reshapeLoss(bottom, top); err != nil {
		return err
	}
	var err error
	if l.softmax.axisDims, err = dimsAround(bottom[0], softmaxAxis(l.p)); err != nil {
		return fmt.Errorf("softmax_param: %w", err)
	}
	if err := l.softmax.checkLabels(bottom); err != nil {
		return err
	}
	l.prob.ReshapeLike(bottom[0])
	if len(top) > 1 {
		top[1].ReshapeLike(bottom[0])
		top[1].ShareData(l.prob)
	}
	return nil
}

func (l *softmaxLoss) Forward(bottom, top []*tensor.Blob) error {
	d, labels := l.softmax.axisDims, bottom[1].ReadData()
	if len(top) > 1 {
		top[1].ShareData(l.prob)
	}
	prob := l.prob.Data()
	l.softmax.forward(bottom[0].ReadData(), prob)
	const tiny = 0x1p-126 // FLT_MIN
	var loss float64
	valid, floored := 0, 0
	for i := range d.outer {
		for k := range d.inner {
			label, ok, err := d.label(labels, i*d.inner+k, l.scale.ignore)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			// Caffe's max keeps a NaN probability, and so does this.
			p := float64(prob[(i*d.channels+label)*d.inner+k])
			loss -= math.Log(max(p, tiny))
			if p <= tiny {
				floored++
			}
			valid++
		}
	}
	l.floored, l.seen = floored, valid
	top[0].Data()[0] = l.scale.normalize(loss, valid, d.outer*d.inner, d.outer)
	return nil
}

// Backward: dx = (p − [class = label])·weight/normalizer, 0 where ignored.
func (l *softmaxLoss) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[1] {
		return errLabelGradient
	}
	if !propagateDown[0] {
		return nil
	}
	d, labels, prob, dx := l.softmax.axisDims, bottom[1].ReadData(), l.prob.ReadData(), bottom[0].Diff()
	w := l.scale.weight(top[0])
	l.w, l.dx = w, dx
	l.loop.run(l, len(dx), elemGrain, (*softmaxLoss).weigh)
	l.dx = nil
	for i := range d.outer {
		for k := range d.inner {
			label, ok, err := d.label(labels, i*d.inner+k, l.scale.ignore)
			if err != nil {
				return err
			}
			if !ok {
				for c := range d.channels {
					dx[(i*d.channels+c)*d.inner+k] = 0
				}
				continue
			}
			// From the probability again: p·w − w would cancel for p near 1.
			at := (i*d.channels+label)*d.inner + k
			dx[at] = (prob[at] - 1) * w
		}
	}
	return nil
}

// weigh sets gradients as if no label were the class.
func (l *softmaxLoss) weigh(lo, hi int) {
	dx := l.dx[lo:hi]
	for i, p := range l.prob.ReadData()[lo:hi] {
		dx[i] = p * l.w
	}
}
