package layers

import (
	"fmt"

	"crema/internal/par"
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

// lossChunk is the number of elements summed in one go. The sum is split by
// this, never by the number of threads.
const lossChunk = 1 << 14

// euclideanLoss is Σ (a − b)² / 2N for two bottoms of N records (Caffe's
// euclidean_loss_layer.cpp); both may receive gradients. It has no fields.
type euclideanLoss struct {
	base
	partial []float64 // one sum per chunk
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
	l.partial = make([]float64, (a.Count()+lossChunk-1)/lossChunk)
	return nil
}

func (l *euclideanLoss) Forward(bottom, top []*tensor.Blob) error {
	a, b := bottom[0].ReadData(), bottom[1].ReadData()
	par.For(len(l.partial), 1, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			end := min((c+1)*lossChunk, len(a))
			a, b := a[c*lossChunk:end], b[c*lossChunk:end]
			var sum float64
			for i, v := range a {
				d := float64(v - b[i])
				sum += d * d
			}
			l.partial[c] = sum
		}
	})
	var sum float64
	for _, s := range l.partial {
		sum += s
	}
	top[0].Data()[0] = float32(sum / float64(bottom[0].Dim(0)) / 2)
	return nil
}

// Backward: da = (a − b)·weight/N, db = −da. The difference is taken again
// rather than kept.
func (l *euclideanLoss) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	a, b := bottom[0].ReadData(), bottom[1].ReadData()
	w := top[0].Diff()[0] / float32(bottom[0].Dim(0))
	for i := range bottom {
		if !propagateDown[i] {
			continue
		}
		d, w := bottom[i].Diff(), w
		if i == 1 {
			w = -w
		}
		par.For(len(d), elemGrain, func(lo, hi int) {
			for j, v := range a[lo:hi] {
				d[lo+j] = w * (v - b[lo+j])
			}
		})
	}
	return nil
}
