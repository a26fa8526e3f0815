package conv

import (
	"fmt"
	"math"
	"slices"
)

// A ShapeND is a Shape with any number of spatial axes, none included, the
// entries of its slices: input N×C×In, weights K×(C/Group)×Kernel.
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

// NewPlanND is NewPlan for any number of spatial axes. The slices must be
// equally long.
//
// Up to two axes are H and W, those that are not there 1. Of more, all but the
// last are one axis to the algorithms, H, with a table of the rows of pixels
// that they meet. The plan's Shape then has in H and R the products of sizes, and
// the largest stride, pad and dilation.
func NewPlanND(s ShapeND, opts Options) (*Plan, error) {
	n := len(s.In)
	for _, v := range [][]int{s.Kernel, s.Stride, s.Pad, s.Dilation} {
		if len(v) != n {
			return nil, fmt.Errorf("conv: %w: %d sizes for %d spatial axes", ErrShape, len(v), n)
		}
	}
	flat := Shape{N: s.N, C: s.C, K: s.K, Group: s.Group, H: 1, W: 1, R: 1, S: 1}
	if n > 0 {
		flat.W, flat.S, flat.StrideW, flat.PadW, flat.DilationW = s.In[n-1], s.Kernel[n-1], s.Stride[n-1], s.Pad[n-1], s.Dilation[n-1]
	}
	if n <= 2 {
		if n == 2 {
			flat.H, flat.R, flat.StrideH, flat.PadH, flat.DilationH = s.In[0], s.Kernel[0], s.Stride[0], s.Pad[0], s.Dilation[0]
		}
		return NewPlan(flat, opts)
	}
	p := Plan{oh: 1, rows: []int32{0}}
	for i := range s.In {
		at := fmt.Sprintf("[%d]", i)
		a, out, err := axis{s.In[i], s.Kernel[i], s.Stride[i], s.Pad[i], s.Dilation[i]}.check("In"+at, "Kernel"+at, "Stride"+at, "Pad"+at, "Dilation"+at)
		if err != nil {
			return nil, err
		}
		if i == n-1 {
			flat.StrideW, flat.DilationW, p.ow = a.stride, a.dilation, out
			break
		}
		if !countable(flat.R, a.kernel, p.oh, out) || !countable(flat.R, a.kernel, flat.H, a.in) {
			return nil, fmt.Errorf("conv: %w: more than %d rows of pixels and taps", ErrShape, math.MaxInt32)
		}
		p.rows = a.extend(p.rows, p.oh, flat.R, out)
		p.oh *= out
		flat.H *= a.in
		flat.R *= a.kernel
		flat.StrideH, flat.PadH, flat.DilationH = max(flat.StrideH, a.stride), max(flat.PadH, a.pad), max(flat.DilationH, a.dilation)
	}
	p.s = flat
	p.turned = turnRows(p.rows, flat.H, p.oh, flat.R)
	return newPlan(p, opts)
}

// extend makes of the table of rows for some axes, with n positions of k taps,
// that with axis a, which has so many positions, behind them.
func (a axis) extend(rows []int32, n, k, out int) []int32 {
	all := make([]int32, 0, n*out*k*a.kernel)
	for i := range n {
		for o := range out {
			for _, row := range rows[i*k : (i+1)*k] {
				for r := range a.kernel {
					at := o*a.stride - a.pad + r*a.dilation
					if row < 0 || at < 0 || at >= a.in {
						all = append(all, -1)
					} else {
						all = append(all, row*int32(a.in)+int32(at))
					}
				}
			}
		}
	}
	return all
}

// turnRows returns, for in source rows, which row of the target meets each
// through each of k taps, of the out there are.
func turnRows(rows []int32, in, out, k int) []int32 {
	turned := make([]int32, in*k)
	for i := range turned {
		turned[i] = -1
	}
	for o := range out {
		for r := range k {
			if row := rows[o*k+r]; row >= 0 {
				turned[int(row)*k+r] = int32(o)
			}
		}
	}
	return turned
}
