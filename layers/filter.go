package layers

import (
	"errors"
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "Filter",
		New:             newFilter,
		Bottoms:         AtLeast(2),
		Tops:            AtLeast(1),
		NoForceBackward: []int{-1},
	})
}

// filter passes on the records of its bottoms that the last one, the selector,
// selects: it has a number for each record (N, or N×1×…), and 0 drops the record
// (Caffe's filter_layer.cpp). There is a top for each bottom but the selector.
// Their first dimension is the number of records that were selected, which may be
// 0; until the first Forward it is that of the bottoms. The selector has no
// gradient, that of dropped records is zero. It has no fields.
type filter struct {
	base
	pick  gather
	shape []int // of a top
}

func newFilter(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &filter{base: newBase(p, ctx)}
	l.warnUnused()
	return l, nil
}

func (l *filter) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	if len(top) != len(bottom)-1 {
		return fmt.Errorf("needs a top for each bottom but the last, the selector: there are %d bottoms and %d tops", len(bottom), len(top))
	}
	selector := bottom[len(top)]
	if selector.Axes() == 0 || selector.CountFrom(1) != 1 {
		return fmt.Errorf("the last bottom, the selector, must have one value for each record (N, or N×1×…), not shape %s", tensor.FormatShape(selector.Shape()))
	}
	for i, b := range bottom[:len(top)] {
		if b.Axes() == 0 || b.Dim(0) != selector.Dim(0) {
			return fmt.Errorf("bottom %d of shape %s does not have as many records as the selector, %d", i, tensor.FormatShape(b.Shape()), selector.Dim(0))
		}
	}
	l.pick.size(selector.Dim(0))
	return l.shapeTops(selector.Dim(0), bottom, top)
}

// shapeTops gives tops the shapes of their bottoms with n records.
func (l *filter) shapeTops(n int, bottom, top []*tensor.Blob) error {
	for i, t := range top {
		l.shape = append(l.shape[:0], n)
		for axis := 1; axis < bottom[i].Axes(); axis++ {
			l.shape = append(l.shape, bottom[i].Dim(axis))
		}
		if err := reshape(t, l.shape...); err != nil {
			return err
		}
	}
	return nil
}

func (l *filter) Forward(bottom, top []*tensor.Blob) error {
	selector := bottom[len(top)].ReadData()
	l.pick.rows = l.pick.rows[:0]
	for i, v := range selector {
		if v != 0 {
			l.pick.rows = append(l.pick.rows, i)
		}
	}
	if err := l.shapeTops(len(l.pick.rows), bottom, top); err != nil {
		return err
	}
	for i, t := range top {
		l.pick.pick(t.CountFrom(1), bottom[i].ReadData(), t.Data())
	}
	return nil
}

func (l *filter) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[len(top)] {
		return errors.New("cannot propagate to the selector, the last bottom: set propagate_down to false for it")
	}
	for i, t := range top {
		if propagateDown[i] {
			l.pick.put(t.CountFrom(1), t.Diff(), bottom[i].Diff(), true)
		}
	}
	return nil
}
