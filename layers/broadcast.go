package layers

import (
	"fmt"

	"crema/tensor"
)

// broadcastShape returns the shape of a parameter for the axes of b from axis
// on, numAxes of them, or all that there are if it is -1; axis may be negative.
func broadcastShape(b *tensor.Blob, axis, numAxes int32) ([]int, error) {
	from, err := b.Axis(int(axis))
	if err != nil {
		return nil, fmt.Errorf("axis: %w", err)
	}
	to := b.Axes()
	if numAxes != -1 {
		to = from + int(numAxes)
	}
	if numAxes < -1 || to > b.Axes() {
		return nil, fmt.Errorf("num_axes must be -1 or 0 to %d for axis %d of a bottom of shape %s, not %d",
			b.Axes()-from, axis, tensor.FormatShape(b.Shape()), numAxes)
	}
	return b.Shape()[from:to], nil
}

// broadcastDims sees b as outer × s × inner, the axes of s being those of b from
// axis on. For a scalar s the axis does not matter.
func broadcastDims(b, s *tensor.Blob, axis int32) (outer, inner int, err error) {
	if s.Axes() == 0 {
		return 1, b.Count(), nil
	}
	from, err := b.Axis(int(axis))
	if err != nil {
		return 0, 0, fmt.Errorf("axis: %w", err)
	}
	to := from + s.Axes()
	if to > b.Axes() || !s.HasShape(b.Shape()[from:to]...) {
		return 0, 0, fmt.Errorf("the shape %s is not that of the axes from %d on of a bottom of shape %s",
			tensor.FormatShape(s.Shape()), from, tensor.FormatShape(b.Shape()))
	}
	return b.CountRange(0, from), b.CountFrom(to), nil
}
