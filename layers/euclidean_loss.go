package layers

import (
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:     "EuclideanLoss",
		New:      newEuclideanLoss,
		Bottoms:  Exactly(2),
		Tops:     Exactly(1),
		AutoTops: true,
		Loss:     true,
	})
}

// euclideanLoss is Σ (a − b)² / 2N for two bottoms of N records, of any number
// of axes where Caffe refuses more than four (euclidean_loss_layer.cpp); both may
// receive gradients. It has no fields.
type euclideanLoss struct {
	base
	parts []partialSum

	// While a pass runs.
	a, b, d []float32
	w       float32
	loop    spans[*euclideanLoss]
}

func newEuclideanLoss(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &euclideanLoss{base: newBase(p, ctx)}
	l.warnUnused()
	return l, nil
}

func (l *euclideanLoss) Reshape(bottom, top []*tensor.Blob) error {
	if err := reshapeLoss(bottom, top); err != nil {
		return err
	}
	a, b := bottom[0], bottom[1]
	if a.CountFrom(1) != b.CountFrom(1) {
		return fmt.Errorf("bottoms must have equally many values: their shapes are %s and %s", tensor.FormatShape(a.Shape()), tensor.FormatShape(b.Shape()))
	}
	l.parts = chunksOf(a.Count())
	return nil
}

func (l *euclideanLoss) Forward(bottom, top []*tensor.Blob) error {
	l.a, l.b = bottom[0].ReadData(), bottom[1].ReadData()
	l.loop.run(l, len(l.a), lossChunk, (*euclideanLoss).sum)
	l.a, l.b = nil, nil
	top[0].Data()[0] = float32(total(l.parts).sum / float64(bottom[0].Dim(0)) / 2)
	return nil
}

// sum does one chunk.
func (l *euclideanLoss) sum(lo, hi int) {
	a, b := l.a[lo:hi], l.b[lo:hi]
	var sum float64
	for i, v := range a {
		d := float64(v - b[i])
		sum += d * d
	}
	l.parts[lo/lossChunk].sum = sum
}

// Backward: da = (a − b)·weight/N, db = −da. The difference is taken again
// rather than kept.
func (l *euclideanLoss) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	l.a, l.b = bottom[0].ReadData(), bottom[1].ReadData()
	w := top[0].Diff()[0] / float32(bottom[0].Dim(0))
	for i, b := range bottom {
		if !propagateDown[i] {
			continue
		}
		if l.d, l.w = b.Diff(), w; i == 1 {
			l.w = -w
		}
		l.loop.run(l, len(l.d), elemGrain, (*euclideanLoss).differ)
	}
	l.a, l.b, l.d = nil, nil, nil
	return nil
}

func (l *euclideanLoss) differ(lo, hi int) {
	b, d := l.b[lo:hi], l.d[lo:hi]
	for i, v := range l.a[lo:hi] {
		d[i] = l.w * (v - b[i])
	}
}
