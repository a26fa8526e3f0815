package layers

import (
	"fmt"
	"math"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "ContrastiveLoss",
		New:             newContrastiveLoss,
		Bottoms:         Exactly(3),
		Tops:            Exactly(1),
		AutoTops:        true,
		Loss:            true,
		NoForceBackward: []int{2},
	})
}

// contrastiveLoss pulls pairs of vectors together that are similar and pushes
// others apart up to a margin (Caffe's contrastive_loss_layer.cpp; Hadsell,
// Chopra, LeCun 2006). Bottoms are a and b, N×C each (or N×C×1×1), and N labels
// y, 0 for a pair that is not similar once its fraction is cut off. With
// d = |a − b| for each pair,
//
//	loss = Σ (d² if similar, else max(margin − d, 0)²) / 2N
//
// Both vectors may receive gradients, not the labels: theirs is zero. Fields of
// contrastive_loss_param:
//
//	margin (1)
//	legacy_version (false)  not similar pairs cost max(margin − d², 0), as in
//	                        Caffe's first version
type contrastiveLoss struct {
	base
	margin   float64
	legacy   bool
	channels int
	squares  []float64 // d² of each pair, of the last Forward

	// While a pass runs.
	a, b, y, dx []float32
	w           float64
	loop        spans[*contrastiveLoss]
}

func newContrastiveLoss(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	cp := p.GetContrastiveLossParam()
	l := &contrastiveLoss{base: newBase(p, ctx), margin: float64(cp.GetMargin()), legacy: cp.GetLegacyVersion()}
	l.warnUnused("contrastive_loss_param")
	return l, nil
}

func (l *contrastiveLoss) Reshape(bottom, top []*tensor.Blob) error {
	if err := reshapeLoss(bottom, top); err != nil {
		return err
	}
	a, b, y := bottom[0], bottom[1], bottom[2]
	l.channels = vectorLength(a)
	if l.channels < 0 || vectorLength(b) != l.channels {
		return fmt.Errorf("the first two bottoms must be vectors of the same length, N×C or N×C×1×1, not %s and %s; flatten them before",
			tensor.FormatShape(a.Shape()), tensor.FormatShape(b.Shape()))
	}
	if y.Count() != a.Dim(0) {
		return fmt.Errorf("needs one label for each of %d pairs, but the third bottom has shape %s", a.Dim(0), tensor.FormatShape(y.Shape()))
	}
	l.squares = make([]float64, a.Dim(0))
	return nil
}

// vectorLength returns C of a blob of shape N×C×1×1, where axes of 1 may be
// missing, or −1 if it is no such.
func vectorLength(b *tensor.Blob) int {
	if b.Axes() > 2 && b.CountFrom(2) != 1 {
		return -1
	}
	return b.CountFrom(1)
}

// similar reports whether pair i is.
func (l *contrastiveLoss) similar(i int) bool { return math.Trunc(float64(l.y[i])) != 0 }

func (l *contrastiveLoss) Forward(bottom, top []*tensor.Blob) error {
	l.a, l.b, l.y = bottom[0].ReadData(), bottom[1].ReadData(), bottom[2].ReadData()
	n := len(l.squares)
	l.loop.run(l, n, grainFor(l.channels), (*contrastiveLoss).distances)
	var loss float64
	for i, sq := range l.squares {
		switch {
		case l.similar(i):
			loss += sq
		case l.legacy:
			loss += max(l.margin-sq, 0)
		default:
			d := max(l.margin-math.Sqrt(sq), 0)
			loss += d * d
		}
	}
	l.a, l.b, l.y = nil, nil, nil
	top[0].Data()[0] = float32(loss / float64(n) / 2)
	return nil
}

func (l *contrastiveLoss) distances(lo, hi int) {
	for i := lo; i < hi; i++ {
		a, b := l.a[i*l.channels:][:l.channels], l.b[i*l.channels:]
		var sum float64
		for c, v := range a {
			d := float64(v - b[c])
			sum += d * d
		}
		l.squares[i] = sum
	}
}

// Backward: da is (a − b)·weight/N for similar pairs; for others that times
// −(margin − d)/d while d < margin (or −1 while d² < margin), else 0; db = −da.
func (l *contrastiveLoss) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	l.a, l.b, l.y = bottom[0].ReadData(), bottom[1].ReadData(), bottom[2].ReadData()
	w := float64(top[0].Diff()[0]) / float64(len(l.squares))
	for i, b := range bottom[:2] {
		if !propagateDown[i] {
			continue
		}
		if l.dx, l.w = b.Diff(), w; i == 1 {
			l.w = -w
		}
		l.loop.run(l, len(l.squares), grainFor(l.channels), (*contrastiveLoss).differ)
	}
	l.a, l.b, l.y, l.dx = nil, nil, nil, nil
	if propagateDown[2] {
		clearGradient(bottom[2])
	}
	return nil
}

func (l *contrastiveLoss) differ(lo, hi int) {
	for i := lo; i < hi; i++ {
		w := l.w
		if sq := l.squares[i]; !l.similar(i) {
			switch d := math.Sqrt(sq); {
			case l.legacy && sq < l.margin:
				w = -w
			case !l.legacy && d < l.margin:
				w *= -(l.margin - d) / (d + 1e-4) // Caffe's guard against d = 0
			default:
				w = 0
			}
		}
		a, b, dx := l.a[i*l.channels:][:l.channels], l.b[i*l.channels:], l.dx[i*l.channels:]
		for c, v := range a {
			dx[c] = float32(w * float64(v-b[c]))
		}
	}
}
