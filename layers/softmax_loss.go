package layers

import (
	"errors"
	"fmt"
	"math"

	"crema/internal/par"
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
	dims          axisDims
	normalization caffepb.LossParameter_NormalizationMode
	ignore        *int32
	prob          *tensor.Blob
	normalizer    float64 // of the last Forward
	floored, seen int     // labels of the last Forward
}

// Floored implements FloorCounter.
func (l *softmaxLoss) Floored() (floored, labels int) { return l.floored, l.seen }

func newSoftmaxLoss(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &softmaxLoss{base: newBase(p, ctx), prob: tensor.New(0)}
	l.warnUnused("softmax_param", "loss_param")
	lp := p.GetLossParam()
	l.normalization = lp.GetNormalization()
	if lp != nil {
		l.ignore = lp.IgnoreLabel
		if lp.Normalization == nil && lp.Normalize != nil && !lp.GetNormalize() {
			l.normalization = caffepb.LossParameter_BATCH_SIZE
		}
	}
	switch l.normalization {
	case caffepb.LossParameter_VALID, caffepb.LossParameter_FULL, caffepb.LossParameter_BATCH_SIZE, caffepb.LossParameter_NONE:
	default:
		return nil, fmt.Errorf("loss_param: unknown normalization %v", l.normalization)
	}
	return l, nil
}

func (l *softmaxLoss) Reshape(bottom, top []*tensor.Blob) error {
	if err := reshapeLoss(bottom, top); err != nil {
		return err
	}
	var err error
	if l.dims, err = dimsAround(bottom[0], softmaxAxis(l.p)); err != nil {
		return fmt.Errorf("softmax_param: %w", err)
	}
	if err := l.dims.checkLabels(bottom); err != nil {
		return err
	}
	l.prob.ReshapeLike(bottom[0])
	if len(top) > 1 {
		top[1].ReshapeLike(bottom[0])
		top[1].ShareData(l.prob)
	}
	return nil
}

// reshapeLoss shapes the first top of a loss layer, a scalar, and checks that
// predictions and labels are as many (Caffe's loss_layer.cpp).
func reshapeLoss(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	a, b := bottom[0], bottom[1]
	if a.Axes() == 0 || b.Axes() == 0 || a.Dim(0) != b.Dim(0) {
		return fmt.Errorf("predictions and labels must have the same first dimension: bottoms are %s and %s",
			tensor.FormatShape(a.Shape()), tensor.FormatShape(b.Shape()))
	}
	top[0].Reshape()
	return nil
}

// checkLabels checks that the second bottom has a label for every position.
func (d axisDims) checkLabels(bottom []*tensor.Blob) error {
	if n := d.outer * d.inner; n != bottom[1].Count() {
		return fmt.Errorf("predictions of shape %s need %d labels (one for each position, the class axis taken out), but the labels have shape %s",
			tensor.FormatShape(bottom[0].Shape()), n, tensor.FormatShape(bottom[1].Shape()))
	}
	return nil
}

// label reads the label of a position, rounding towards zero as Caffe's cast
// does; ok is false if it is to be ignored.
func (d axisDims) label(labels []float32, pos int, ignore *int32) (v int, ok bool, err error) {
	f := float64(labels[pos])
	if ignore != nil && math.Trunc(f) == float64(*ignore) {
		return 0, false, nil
	}
	// Not f < 0: −0.5 is cast to 0. The negation also catches NaN.
	if !(f > -1 && f < float64(d.channels)) {
		return 0, false, fmt.Errorf("label %g at position %d is not a class: there are %d (0 to %d)", f, pos, d.channels, d.channels-1)
	}
	return int(f), true, nil
}

func (l *softmaxLoss) Forward(bottom, top []*tensor.Blob) error {
	d, labels := l.dims, bottom[1].ReadData()
	if len(top) > 1 {
		top[1].ShareData(l.prob)
	}
	prob := l.prob.Data()
	d.softmax(bottom[0].ReadData(), prob)
	const tiny = 0x1p-126 // FLT_MIN
	var loss float64
	valid, floored := 0, 0
	for i := range d.outer {
		for k := range d.inner {
			label, ok, err := d.label(labels, i*d.inner+k, l.ignore)
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
	n := 1
	switch l.normalization {
	case caffepb.LossParameter_VALID:
		n = valid
	case caffepb.LossParameter_FULL:
		n = d.outer * d.inner
	case caffepb.LossParameter_BATCH_SIZE:
		n = d.outer
	}
	l.normalizer = float64(max(n, 1))
	top[0].Data()[0] = float32(loss / l.normalizer)
	return nil
}

// Backward: dx = (p − [class = label])·weight/normalizer, 0 where ignored.
func (l *softmaxLoss) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[1] {
		return errors.New("cannot propagate to the labels: set propagate_down to false for them")
	}
	if !propagateDown[0] {
		return nil
	}
	d, labels, prob, dx := l.dims, bottom[1].ReadData(), l.prob.ReadData(), bottom[0].Diff()
	w := float32(float64(top[0].Diff()[0]) / l.normalizer)
	par.For(len(dx), elemGrain, func(lo, hi int) {
		for i, p := range prob[lo:hi] {
			dx[lo+i] = p * w
		}
	})
	for i := range d.outer {
		for k := range d.inner {
			label, ok, err := d.label(labels, i*d.inner+k, l.ignore)
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
