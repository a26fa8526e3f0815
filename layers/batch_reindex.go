package layers

import (
	"errors"
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "BatchReindex",
		New:             newBatchReindex,
		Bottoms:         Exactly(2),
		Tops:            Exactly(1),
		NoForceBackward: []int{1},
	})
}

// batchReindex puts records of its first bottom in the order of the indices in
// the second, a blob of one axis: some may be left out, others repeated (Caffe's
// batch_reindex_layer.cpp). Fractions of indices are cut off. Indices have no
// gradient. It has no fields.
type batchReindex struct {
	base
	pick gather
}

func newBatchReindex(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &batchReindex{base: newBase(p, ctx)}
	l.warnUnused()
	return l, nil
}

func (l *batchReindex) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	x, indices := bottom[0], bottom[1]
	if x.Axes() == 0 {
		return errors.New("the first bottom must have an axis of records; it is a scalar")
	}
	if indices.Axes() != 1 {
		return fmt.Errorf("the second bottom, the indices, must have one axis, not shape %s", tensor.FormatShape(indices.Shape()))
	}
	l.pick.size(indices.Count())
	shape := x.Shape()
	shape[0] = indices.Count()
	return reshape(top[0], shape...)
}

func (l *batchReindex) Forward(bottom, top []*tensor.Blob) error {
	x := bottom[0]
	if err := l.pick.read(bottom[1].ReadData(), x.Dim(0)); err != nil {
		return fmt.Errorf("there are %d records: %w", x.Dim(0), err)
	}
	l.pick.pick(x.CountFrom(1), x.ReadData(), top[0].Data())
	return nil
}

// Backward adds up the gradients of all copies of a record.
func (l *batchReindex) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[1] {
		return errors.New("cannot propagate to the indices: set propagate_down to false for them")
	}
	if propagateDown[0] {
		l.pick.put(bottom[0].CountFrom(1), top[0].Diff(), bottom[0].Diff(), true)
	}
	return nil
}
