package layers

import (
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Slice",
		New:     newSlice,
		Bottoms: Exactly(1),
		Tops:    AtLeast(1),
	})
}

// slice cuts its bottom along an axis, one part for each top (Caffe's
// slice_layer.cpp). A single top shares values and gradients with the bottom.
// Fields of slice_param:
//
//	axis (1)     negative counts from the end
//	slice_dim    the older name of axis; not negative, and not together with it
//	slice_point  where the second part begins, the third and so on; without
//	             any, all parts are equally long
type slice struct {
	base
	parts stack
}

func newSlice(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &slice{base: newBase(p, ctx)}
	l.warnUnused("slice_param")
	return l, nil
}

func (l *slice) Reshape(bottom, top []*tensor.Blob) error {
	if len(top) > 1 {
		if err := refuseInPlace(bottom, top); err != nil {
			return err
		}
	}
	p := l.p.GetSliceParam()
	if p == nil {
		p = &caffepb.SliceParameter{}
	}
	b := bottom[0]
	axis, err := axisOrOld(b, p.Axis, "slice_dim", p.SliceDim)
	if err != nil {
		return fmt.Errorf("slice_param: %w", err)
	}
	extents, err := sliceExtents(p.SlicePoint, b.Dim(axis), len(top))
	if err != nil {
		return fmt.Errorf("slice_param: axis %d of bottom %s: %w", axis, tensor.FormatShape(b.Shape()), err)
	}
	shape := b.Shape()
	for i, t := range top {
		shape[axis] = extents[i]
		if err := reshape(t, shape...); err != nil {
			return err
		}
	}
	l.parts.shape(b, axis, extents)
	if len(top) == 1 {
		shareWith(top[0], b)
	}
	return nil
}

// sliceExtents returns how long each of n parts of an axis is. As in Caffe the
// last may be empty, if its slice point is the end.
func sliceExtents(points []uint32, length, n int) ([]int, error) {
	extents := make([]int, n)
	if len(points) == 0 {
		if length%n != 0 {
			return nil, fmt.Errorf("its length %d is not a multiple of the number of tops, %d; give slice_point", length, n)
		}
		for i := range extents {
			extents[i] = length / n
		}
		return extents, nil
	}
	if len(points) != n-1 {
		return nil, fmt.Errorf("%d tops need %d values of slice_point, not %d", n, n-1, len(points))
	}
	begin := 0
	for i, v := range points {
		if int64(v) <= int64(begin) || int64(v) > int64(length) {
			return nil, fmt.Errorf("slice_point %d must be more than the one before (%d) and at most the length, %d", v, begin, length)
		}
		extents[i] = int(v) - begin
		begin = int(v)
	}
	extents[n-1] = length - begin
	return extents, nil
}

// Fit implements LayoutTaker.
func (l *slice) Fit(in, out tensor.Layout) Fit { return sameLayout(in, out) }

func (l *slice) Forward(bottom, top []*tensor.Blob) error {
	if len(top) == 1 {
		shareWith(top[0], bottom[0])
		return nil
	}
	x := bottom[0].ReadData()
	for i, t := range top {
		l.parts.cut(x, i, t.Data())
	}
	return nil
}

func (l *slice) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if !propagateDown[0] || len(top) == 1 {
		return nil // a single top's gradient is shared
	}
	dx := bottom[0].Diff()
	for i, t := range top {
		// The gradient of a top that no consumer propagates to is zero, and
		// need not be allocated to say so.
		if t.HasDiff() {
			l.parts.join(dx, i, t.Diff())
		} else {
			l.parts.zero(dx, i)
		}
	}
	return nil
}
