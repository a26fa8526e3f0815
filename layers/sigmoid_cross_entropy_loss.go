package layers

import (
	"fmt"
	"math"

	"crema/asm"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "SigmoidCrossEntropyLoss",
		New:             newSigmoidCrossEntropyLoss,
		Bottoms:         Exactly(2),
		Tops:            Exactly(1),
		AutoTops:        true,
		Loss:            true,
		NoForceBackward: []int{1},
	})
}

// sigmoidCrossEntropyLoss is the cross entropy of σ(x) = 1/(1 + exp(−x)) for
// each element x of the first bottom, and the element t, 0 to 1, of the second,
// which has as many (Caffe's sigmoid_cross_entropy_loss_layer.cpp):
//
//	loss = −Σ (t·log σ(x) + (1 − t)·log(1 − σ(x))) / normalizer
//
// Fields of loss_param:
//
//	ignore_label (none)         targets that are this number once their fraction
//	                            is cut off do not count: 0.25 is ignored as 0 is
//	normalization (BATCH_SIZE)  the normalizer: VALID, the elements that count;
//	                            FULL, all elements; BATCH_SIZE, the first
//	                            dimension; NONE, 1; never less than 1
//	normalize                   the older way, if there is no normalization:
//	                            true is VALID, false BATCH_SIZE
type sigmoidCrossEntropyLoss struct {
	base
	scale lossScale
	parts []partialSum

	// While a pass runs.
	x, t, dx []float32
	w        float32
	loop     spans[*sigmoidCrossEntropyLoss]
}

func newSigmoidCrossEntropyLoss(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &sigmoidCrossEntropyLoss{base: newBase(p, ctx)}
	l.warnUnused("loss_param")
	var err error
	if l.scale, err = newLossScale(p.GetLossParam(), caffepb.LossParameter_BATCH_SIZE); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *sigmoidCrossEntropyLoss) Reshape(bottom, top []*tensor.Blob) error {
	if err := reshapeLoss(bottom, top); err != nil {
		return err
	}
	x, t := bottom[0], bottom[1]
	if x.Count() != t.Count() {
		return fmt.Errorf("needs a target for each value: bottoms are %s and %s", tensor.FormatShape(x.Shape()), tensor.FormatShape(t.Shape()))
	}
	l.parts = chunksOf(x.Count())
	return nil
}

func (l *sigmoidCrossEntropyLoss) Forward(bottom, top []*tensor.Blob) error {
	x := bottom[0]
	l.x, l.t = x.ReadData(), bottom[1].ReadData()
	l.loop.run(l, len(l.x), lossChunk, (*sigmoidCrossEntropyLoss).sum)
	l.x, l.t = nil, nil
	all := total(l.parts)
	top[0].Data()[0] = l.scale.normalize(all.sum, all.valid, x.Count(), x.Dim(0))
	return nil
}

// expOfMinus sets e to exp(−|x|), which cannot overflow.
func expOfMinus(x, e []float32) {
	for i, v := range x {
		e[i] = -max(v, -v)
	}
	asm.Exp(e, e)
}

// sum does one chunk. With e = exp(−|x|), an element costs
// max(x, 0) − x·t + log(1 + e).
func (l *sigmoidCrossEntropyLoss) sum(lo, hi int) {
	var buf [expRun]float32
	part := &l.parts[lo/lossChunk]
	*part = partialSum{}
	for ; lo < hi; lo += expRun {
		x := l.x[lo:min(lo+expRun, hi)]
		t := l.t[lo:]
		e := buf[:len(x)]
		expOfMinus(x, e)
		for i, v := range x {
			if ignored(t[i], l.scale.ignore) {
				continue
			}
			part.sum += float64(max(v, 0)) - float64(v)*float64(t[i]) + math.Log1p(float64(e[i]))
			part.valid++
		}
	}
}

// Backward: dx = (σ(x) − t)·weight/normalizer, 0 where ignored.
func (l *sigmoidCrossEntropyLoss) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[1] {
		return errLabelGradient
	}
	if !propagateDown[0] {
		return nil
	}
	l.x, l.t, l.dx = bottom[0].ReadData(), bottom[1].ReadData(), bottom[0].Diff()
	l.w = l.scale.weight(top[0])
	l.loop.run(l, len(l.x), elemGrain, (*sigmoidCrossEntropyLoss).differ)
	l.x, l.t, l.dx = nil, nil, nil
	return nil
}

func (l *sigmoidCrossEntropyLoss) differ(lo, hi int) {
	var buf [expRun]float32
	for ; lo < hi; lo += expRun {
		x := l.x[lo:min(lo+expRun, hi)]
		t, dx := l.t[lo:], l.dx[lo:]
		e := buf[:len(x)]
		expOfMinus(x, e)
		for i, v := range x {
			if ignored(t[i], l.scale.ignore) {
				dx[i] = 0
				continue
			}
			s := 1 / (1 + e[i])
			if v < 0 {
				s *= e[i]
			}
			dx[i] = (s - t[i]) * l.w
		}
	}
}
