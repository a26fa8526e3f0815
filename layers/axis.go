package layers

import (
	"fmt"

	"crema/tensor"
)

// axisDims sees a blob as outer × channels × inner around one axis.
type axisDims struct{ outer, channels, inner int }

func dimsAround(b *tensor.Blob, axis int) (axisDims, error) {
	a, err := b.Axis(axis)
	if err != nil {
		return axisDims{}, err
	}
	return axisDims{b.CountRange(0, a), b.Dim(a), b.CountFrom(a + 1)}, nil
}

// axisOrOld returns the axis that a message gives as axis, which may be
// negative, or under an older name as oldName, which may not. One of them is
// nil, or both: then it is 1.
func axisOrOld(b *tensor.Blob, axis *int32, oldName string, old *uint32) (int, error) {
	switch {
	case axis != nil && old != nil:
		return 0, fmt.Errorf("give either axis or %s, the older name of it, not both", oldName)
	case old != nil:
		if int64(*old) >= int64(b.Axes()) {
			return 0, fmt.Errorf("%s: axis %d out of range for a blob of shape %s", oldName, *old, tensor.FormatShape(b.Shape()))
		}
		return int(*old), nil
	case axis != nil:
		return b.Axis(int(*axis))
	}
	return b.Axis(1)
}
