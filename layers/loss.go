package layers

import (
	"errors"
	"fmt"
	"math"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

// What loss layers have in common (Caffe's loss_layer.cpp and the parts that its
// losses repeat).

const (
	// lossChunk is the number of elements summed in one go. A sum is split by
	// this, never by the number of threads.
	lossChunk = 1 << 14
	// logThreshold is what InfogainLoss and MultinomialLogisticLoss take the
	// logarithm of if a probability is less (Caffe's kLOG_THRESHOLD).
	logThreshold = float32(1e-20)
)

var errLabelGradient = errors.New("cannot propagate to the labels: set propagate_down to false for them")

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
	if ignored(labels[pos], ignore) {
		return 0, false, nil
	}
	// Not f < 0: −0.5 is cast to 0. The negation also catches NaN.
	if !(f > -1 && f < float64(d.channels)) {
		return 0, false, fmt.Errorf("label %g at position %d is not a class: there are %d (0 to %d)", f, pos, d.channels, d.channels-1)
	}
	return int(f), true, nil
}

// recordLabels sees the first bottom as records of classes, all axes but the
// first, and checks that the second has a label for each record.
func recordLabels(bottom []*tensor.Blob) (axisDims, error) {
	d := axisDims{bottom[0].Dim(0), bottom[0].CountFrom(1), 1}
	if d.outer != bottom[1].Count() {
		return d, fmt.Errorf("needs one label for each of %d records, but the labels have shape %s", d.outer, tensor.FormatShape(bottom[1].Shape()))
	}
	return d, nil
}

// readLabels reads the labels of all positions, of which none is to be ignored.
func (d axisDims) readLabels(labels []float32, to []int) (err error) {
	for i := range to {
		if to[i], _, err = d.label(labels, i, nil); err != nil {
			return err
		}
	}
	return nil
}

// clearGradient sets the gradient of a bottom to zero that the layer takes only
// the shape or labels from. One that nobody else writes to is zero without being
// allocated.
func clearGradient(b *tensor.Blob) {
	if b.HasDiff() {
		clear(b.Diff())
	}
}

// ignored reports whether a label is the one to ignore, if there is one. As in
// Caffe its fraction is cut off first: to ignore 0 is to ignore 0.25, too.
func ignored(label float32, ignore *int32) bool {
	return ignore != nil && math.Trunc(float64(label)) == float64(*ignore)
}

// A partialSum is what a chunk adds to a loss, and how many of its elements
// count.
type partialSum struct {
	sum   float64
	valid int
}

// chunksOf returns one partial sum for every chunk of n elements.
func chunksOf(n int) []partialSum { return make([]partialSum, (n+lossChunk-1)/lossChunk) }

func total(parts []partialSum) (all partialSum) {
	for _, p := range parts {
		all.sum += p.sum
		all.valid += p.valid
	}
	return all
}

// A lossScale is what a loss is divided by: loss_param.
type lossScale struct {
	mode   caffepb.LossParameter_NormalizationMode
	ignore *int32 // the label that does not count, or nil
	// normalizer is the divisor of the last Forward, at least 1.
	normalizer float64
}

// newLossScale reads a loss_param. mode is for those that do not choose, neither
// by normalization nor by the older normalize.
func newLossScale(p *caffepb.LossParameter, mode caffepb.LossParameter_NormalizationMode) (lossScale, error) {
	s := lossScale{mode: mode}
	if p == nil {
		return s, nil
	}
	s.ignore = p.IgnoreLabel
	switch {
	case p.Normalization != nil:
		s.mode = p.GetNormalization()
	case p.Normalize != nil && p.GetNormalize():
		s.mode = caffepb.LossParameter_VALID
	case p.Normalize != nil:
		s.mode = caffepb.LossParameter_BATCH_SIZE
	}
	switch s.mode {
	case caffepb.LossParameter_VALID, caffepb.LossParameter_FULL, caffepb.LossParameter_BATCH_SIZE, caffepb.LossParameter_NONE:
		return s, nil
	}
	return s, fmt.Errorf("loss_param: unknown normalization %v", s.mode)
}

// normalize divides a loss by the normalizer, which it finds: valid is the
// number of positions that count, all that of all, batch the size before the
// class axis.
func (s *lossScale) normalize(loss float64, valid, all, batch int) float32 {
	n := 1
	switch s.mode {
	case caffepb.LossParameter_VALID:
		n = valid
	case caffepb.LossParameter_FULL:
		n = all
	case caffepb.LossParameter_BATCH_SIZE:
		n = batch
	}
	s.normalizer = float64(max(n, 1))
	return float32(loss / s.normalizer)
}

// weight is what gradients of the loss before normalize are multiplied by.
func (s *lossScale) weight(top *tensor.Blob) float32 {
	return float32(float64(top.Diff()[0]) / s.normalizer)
}
