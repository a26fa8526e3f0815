package layers

import (
	"errors"
	"fmt"
	"slices"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:       "ArgMax",
		New:        newArgMax,
		Bottoms:    Exactly(1),
		Tops:       Exactly(1),
		NoBackward: true,
	})
}

// argMax finds the top_k greatest elements, the greatest first (Caffe's
// argmax_layer.cpp). Of equal ones the last comes first; NaN counts as greatest.
// It has no gradient. Fields of argmax_param:
//
//	top_k (1)            at most the number of elements to choose from
//	axis                 the elements along this axis, negative counts from the
//	                     end: the top is as the bottom, top_k long there.
//	                     Without, all elements of a record: the top is N×1×top_k,
//	                     with more axes of 1 if the bottom has more than three
//	out_max_val (false)  false: give indices. true: with axis, give values in
//	                     their place; without, both, N×2×top_k
type argMax struct {
	base
	k      int
	values bool
	dims   axisDims
	best   []scored // k for each task

	// While Forward runs.
	x, y []float32
	loop spans[*argMax]
}

// A scored is an element and its place.
type scored struct {
	value float32
	index int
}

// before tells whether s comes before o.
func (s scored) before(o scored) bool {
	sNaN, oNaN := s.value != s.value, o.value != o.value
	if s.value == o.value || sNaN && oNaN {
		return s.index > o.index
	}
	return sNaN || s.value > o.value
}

func newArgMax(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	ap := p.GetArgmaxParam()
	l := &argMax{base: newBase(p, ctx), values: ap.GetOutMaxVal()}
	l.warnUnused("argmax_param")
	var err error
	if l.k, err = positive("top_k", ap.GetTopK()); err != nil {
		return nil, fmt.Errorf("argmax_param: %w", err)
	}
	return l, nil
}

// axis is that of the layer's parameter, or nil.
func (l *argMax) axis() *int32 {
	if p := l.p.GetArgmaxParam(); p != nil {
		return p.Axis
	}
	return nil
}

func (l *argMax) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	b := bottom[0]
	var shape []int
	if axis := l.axis(); axis != nil {
		var err error
		if l.dims, err = dimsAround(b, int(*axis)); err != nil {
			return fmt.Errorf("argmax_param: %w", err)
		}
		shape = b.Shape()
		a, _ := b.Axis(int(*axis))
		shape[a] = l.k
	} else {
		if b.Axes() == 0 {
			return errors.New("the bottom must have an axis of records; it is a scalar")
		}
		l.dims = axisDims{b.Dim(0), b.CountFrom(1), 1}
		shape = slices.Repeat([]int{1}, max(b.Axes(), 3))
		shape[0], shape[2] = b.Dim(0), l.k
		if l.values {
			shape[1] = 2
		}
	}
	if l.k > l.dims.channels {
		return fmt.Errorf("argmax_param: top_k is %d but there are only %d elements to choose from in bottom %s", l.k, l.dims.channels, tensor.FormatShape(b.Shape()))
	}
	l.best = make([]scored, l.tasks()*l.k)
	return reshape(top[0], shape...)
}

// positions is the number of searches, grain how many make a task.
func (l *argMax) positions() int { return l.dims.outer * l.dims.inner }

func (l *argMax) grain() int { return max(grainFor(l.dims.channels), (l.positions()+63)/64) }

func (l *argMax) tasks() int { return (l.positions() + l.grain() - 1) / l.grain() }

func (l *argMax) Forward(bottom, top []*tensor.Blob) error {
	l.x, l.y = bottom[0].ReadData(), top[0].Data()
	l.loop.run(l, l.positions(), l.grain(), (*argMax).search)
	l.x, l.y = nil, nil
	return nil
}

func (l *argMax) search(lo, hi int) {
	task := lo / l.grain()
	all := l.best[task*l.k : (task+1)*l.k]
	d, byAxis := l.dims, l.axis() != nil
	for pos := lo; pos < hi; pos++ {
		i, j := pos/d.inner, pos%d.inner
		best := all[:0]
		for c := range d.channels {
			s := scored{l.x[(i*d.channels+c)*d.inner+j], c}
			if len(best) == l.k && !s.before(best[l.k-1]) {
				continue
			}
			if len(best) < l.k {
				best = append(best, s)
			}
			at := len(best) - 1
			for ; at > 0 && s.before(best[at-1]); at-- {
				best[at] = best[at-1]
			}
			best[at] = s
		}
		for n, s := range best {
			switch {
			case !l.values:
				l.y[(i*l.k+n)*d.inner+j] = float32(s.index)
			case byAxis:
				l.y[(i*l.k+n)*d.inner+j] = s.value
			default:
				l.y[2*i*l.k+n], l.y[(2*i+1)*l.k+n] = float32(s.index), s.value
			}
		}
	}
}

func (l *argMax) Backward(_ []*tensor.Blob, propagateDown []bool, _ []*tensor.Blob) error {
	return refuseGradient(propagateDown)
}
