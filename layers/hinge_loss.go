package layers

import (
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "HingeLoss",
		New:             newHingeLoss,
		Bottoms:         Exactly(2),
		Tops:            Exactly(1),
		AutoTops:        true,
		Loss:            true,
		NoForceBackward: []int{1},
	})
}

// hingeLoss is the one-versus-all hinge loss (Caffe's hinge_loss_layer.cpp). The
// first bottom has scores of K classes for each of N records (N×K, or more axes
// that count K together), the second N labels, 0 to K−1. With s = 1 for the
// label's class and −1 for the others,
//
//	loss = Σ max(0, 1 − s·x)ⁿ / N
//
// Fields of hinge_loss_param:
//
//	norm (L1)  n: L1 is 1, L2 is 2
type hingeLoss struct {
	base
	dims    axisDims
	squared bool
	labels  []int     // of the last Forward
	sums    []float64 // of each record

	// While a pass runs.
	x, dx []float32
	w     float32
	loop  spans[*hingeLoss]
}

func newHingeLoss(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &hingeLoss{base: newBase(p, ctx)}
	l.warnUnused("hinge_loss_param")
	switch norm := p.GetHingeLossParam().GetNorm(); norm {
	case caffepb.HingeLossParameter_L1:
	case caffepb.HingeLossParameter_L2:
		l.squared = true
	default:
		return nil, fmt.Errorf("hinge_loss_param: unknown norm %v", norm)
	}
	return l, nil
}

func (l *hingeLoss) Reshape(bottom, top []*tensor.Blob) error {
	if err := reshapeLoss(bottom, top); err != nil {
		return err
	}
	var err error
	if l.dims, err = recordLabels(bottom); err != nil {
		return err
	}
	l.labels, l.sums = make([]int, l.dims.outer), make([]float64, l.dims.outer)
	return nil
}

func (l *hingeLoss) Forward(bottom, top []*tensor.Blob) error {
	if err := l.dims.readLabels(bottom[1].ReadData(), l.labels); err != nil {
		return err
	}
	l.x = bottom[0].ReadData()
	l.loop.run(l, l.dims.outer, grainFor(l.dims.channels), (*hingeLoss).sum)
	l.x = nil
	var loss float64
	for _, s := range l.sums {
		loss += s
	}
	top[0].Data()[0] = float32(loss / float64(l.dims.outer))
	return nil
}

// record returns the scores of record i, and s·x is x or −x.
func (l *hingeLoss) record(s []float32, i int) []float32 {
	return s[i*l.dims.channels:][:l.dims.channels]
}

func (l *hingeLoss) sum(lo, hi int) {
	for i := lo; i < hi; i++ {
		var sum float64
		for c, v := range l.record(l.x, i) {
			if c == l.labels[i] {
				v = -v
			}
			m := float64(max(0, 1+v))
			if l.squared {
				m *= m
			}
			sum += m
		}
		l.sums[i] = sum
	}
}

// Backward: dx = −s·weight/N where 1 − s·x > 0, that times 2·(1 − s·x) for L2;
// else 0.
func (l *hingeLoss) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[1] {
		return errLabelGradient
	}
	if !propagateDown[0] {
		return nil
	}
	l.x, l.dx, l.w = bottom[0].ReadData(), bottom[0].Diff(), top[0].Diff()[0]/float32(l.dims.outer)
	l.loop.run(l, l.dims.outer, grainFor(l.dims.channels), (*hingeLoss).differ)
	l.x, l.dx = nil, nil
	return nil
}

func (l *hingeLoss) differ(lo, hi int) {
	for i := lo; i < hi; i++ {
		dx := l.record(l.dx, i)
		for c, v := range l.record(l.x, i) {
			w := l.w
			if c == l.labels[i] {
				v, w = -v, -w
			}
			switch m := 1 + v; {
			case m <= 0:
				w = 0
			case l.squared:
				w *= 2 * m
			}
			dx[c] = w
		}
	}
}
