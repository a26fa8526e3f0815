package layers

import (
	"errors"
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Reshape",
		New:     newReshape,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// reshaping gives its bottom another shape of as many elements (Caffe's
// reshape_layer.cpp). The top shares values and gradients with the bottom.
// Fields of reshape_param:
//
//	shape          the dimensions that take the place of some of the bottom's:
//	               0 copies the bottom's dimension of the same place, -1, at
//	               most once, is what makes the number of elements right;
//	               without any, the axes go
//	axis (0)       the first axis replaced; negative counts from behind the
//	               last (-1: append)
//	num_axes (-1)  how many are replaced; 0 inserts, -1 is all from axis on
type reshaping struct{ base }

func newReshape(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &reshaping{newBase(p, ctx)}
	l.warnUnused("reshape_param")
	return l, nil
}

func (l *reshaping) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	shape, err := newShape(l.p.GetReshapeParam(), bottom[0])
	if err != nil {
		return fmt.Errorf("reshape_param: %w", err)
	}
	if err := reshape(top[0], shape...); err != nil {
		return fmt.Errorf("reshape_param: %w", err)
	}
	shareWith(top[0], bottom[0])
	return nil
}

// newShape returns the shape that b gets.
func newShape(p *caffepb.ReshapeParameter, b *tensor.Blob) ([]int, error) {
	old := b.Shape()
	axis := int(p.GetAxis())
	if axis < 0 {
		axis += len(old) + 1
	}
	if axis < 0 || axis > len(old) {
		return nil, fmt.Errorf("axis %d is outside %d to %d for a blob of shape %s", p.GetAxis(), -len(old)-1, len(old), tensor.FormatShape(old))
	}
	end := len(old)
	switch n := int(p.GetNumAxes()); {
	case n < -1:
		return nil, fmt.Errorf("num_axes must be at least 0, or -1 for all, not %d", n)
	case n > end-axis:
		return nil, fmt.Errorf("num_axes is %d, but from axis %d on a blob of shape %s has only %d", n, axis, tensor.FormatShape(old), end-axis)
	case n >= 0:
		end = axis + n
	}
	shape := append([]int(nil), old[:axis]...)
	inferred := -1
	for i, d := range p.GetShape().GetDim() {
		switch {
		case d < -1 || d > tensor.MaxCount:
			return nil, fmt.Errorf("shape: dim %d is outside -1 to %d", d, tensor.MaxCount)
		case d == -1 && inferred >= 0:
			return nil, errors.New("shape: more than one dim is -1; at most one can be found from the others")
		case d == -1:
			inferred = len(shape)
			d = 1
		case d == 0 && axis+i >= len(old):
			return nil, fmt.Errorf("shape: dim %d is 0, to be copied, but there is no axis %d in a blob of shape %s", i, axis+i, tensor.FormatShape(old))
		case d == 0:
			d = int64(old[axis+i])
		}
		shape = append(shape, int(d))
	}
	shape = append(shape, old[end:]...)
	if err := tensor.CheckShape(shape); err != nil {
		return nil, err
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	if inferred >= 0 {
		if n == 0 {
			return nil, fmt.Errorf("shape: dim -1 cannot be found for a blob of shape %s, as another dimension is 0", tensor.FormatShape(old))
		}
		if b.Count()%n != 0 {
			return nil, fmt.Errorf("shape: no dim -1 is right: the %d elements of %s are not a multiple of %d, the product of the other dimensions", b.Count(), tensor.FormatShape(old), n)
		}
		shape[inferred] = b.Count() / n
		n = b.Count()
	}
	if n != b.Count() {
		return nil, fmt.Errorf("%s has %d elements, the bottom of shape %s has %d", tensor.FormatShape(shape), n, tensor.FormatShape(old), b.Count())
	}
	return shape, nil
}

func (l *reshaping) Forward(bottom, top []*tensor.Blob) error {
	shareWith(top[0], bottom[0])
	return nil
}

// Backward has nothing to do: the gradient is shared.
func (l *reshaping) Backward(_ []*tensor.Blob, _ []bool, _ []*tensor.Blob) error { return nil }
