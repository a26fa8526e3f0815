package conv

import (
	"fmt"
	"slices"
)

// A ShapeND is a Shape with any number of spatial axes, the entries of its
// slices, which must be equally many: input N×C×In, weights K×(C/Group)×Kernel.
type ShapeND struct {
	N, C, K, Group                int
	In                            []int
	Kernel, Stride, Pad, Dilation []int
}

// Equal reports whether two shapes are the same.
func (s ShapeND) Equal(t ShapeND) bool {
	return s.N == t.N && s.C == t.C && s.K == t.K && s.Group == t.Group && slices.Equal(s.In, t.In) &&
		slices.Equal(s.Kernel, t.Kernel) && slices.Equal(s.Stride, t.Stride) && slices.Equal(s.Pad, t.Pad) && slices.Equal(s.Dilation, t.Dilation)
}

// NewPlanND is NewPlan for any number of spatial axes.
func NewPlanND(s ShapeND, opts Options) (*Plan, error) {
	axes := len(s.In)
	for _, v := range [][]int{s.Kernel, s.Stride, s.Pad, s.Dilation} {
		if len(v) != axes {
			return nil, fmt.Errorf("conv: %w: %d spatial axes, but %d sizes for them", ErrShape, axes, len(v))
		}
	}
	if axes > 2 {
		return nil, fmt.Errorf("conv: %w: %d spatial axes", ErrShape, axes)
	}
	flat := Shape{N: s.N, C: s.C, K: s.K, Group: s.Group, H: 1, W: 1, R: 1, S: 1}
	if axes > 0 {
		i := axes - 1
		flat.W, flat.S, flat.StrideW, flat.PadW, flat.DilationW = s.In[i], s.Kernel[i], s.Stride[i], s.Pad[i], s.Dilation[i]
	}
	if axes > 1 {
		flat.H, flat.R, flat.StrideH, flat.PadH, flat.DilationH = s.In[0], s.Kernel[0], s.Stride[0], s.Pad[0], s.Dilation[0]
	}
	return NewPlan(flat, opts)
}
