package netinfo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"crema/graph"
	"crema/prototxt/caffepb"
)

// geometry says in a few words how a layer's windows lie, or what else tells
// layers of its type apart: "3×3, stride 2, pad 1".
func geometry(n *graph.Node) string {
	switch n.Type {
	case "Convolution", "Deconvolution", "Im2col":
		return convGeometry(n)
	case "Pooling":
		return poolGeometry(n.Param.GetPoolingParam())
	case "LRN":
		p := n.Param.GetLrnParam()
		if p.GetNormRegion() == caffepb.LRNParameter_WITHIN_CHANNEL {
			return fmt.Sprintf("%d×%d within channels", p.GetLocalSize(), p.GetLocalSize())
		}
		return fmt.Sprintf("%d channels", p.GetLocalSize())
	case "Dropout":
		return "ratio " + strconv.FormatFloat(float64(n.Param.GetDropoutParam().GetDropoutRatio()), 'g', 3, 32)
	case "Eltwise":
		return strings.ToLower(n.Param.GetEltwiseParam().GetOperation().String())
	case "Reduction":
		return strings.ToLower(n.Param.GetReductionParam().GetOperation().String())
	}
	return ""
}

func convGeometry(n *graph.Node) string {
	p := n.Param.GetConvolutionParam()
	axes := 2
	if ps := n.Layer.Params(); len(ps) > 0 {
		axes = max(0, ps[0].Axes()-2)
	}
	var parts []string
	kernel := sizes(p.KernelSize, p.KernelH, p.KernelW, axes, 0)
	if len(kernel) > 0 {
		parts = append(parts, join(kernel))
	}
	add := func(what string, v []int, usual int) {
		if slices.ContainsFunc(v, func(x int) bool { return x != usual }) {
			parts = append(parts, what+" "+short(v))
		}
	}
	add("stride", sizes(p.Stride, p.StrideH, p.StrideW, axes, 1), 1)
	add("pad", sizes(p.Pad, p.PadH, p.PadW, axes, 0), 0)
	add("dilation", sizes(p.Dilation, nil, nil, axes, 1), 1)
	if g := p.GetGroup(); g > 1 {
		parts = append(parts, fmt.Sprintf("group %d", g))
	}
	return strings.Join(parts, ", ")
}

func poolGeometry(p *caffepb.PoolingParameter) string {
	parts := []string{strings.ToLower(p.GetPool().String())}
	if p.GetGlobalPooling() {
		return parts[0] + ", global"
	}
	one := func(v *uint32) []uint32 {
		if v == nil {
			return nil
		}
		return []uint32{*v}
	}
	parts = append(parts, join(sizes(one(p.KernelSize), p.KernelH, p.KernelW, 2, 1)))
	if s := sizes(one(p.Stride), p.StrideH, p.StrideW, 2, 1); s[0] != 1 || s[1] != 1 {
		parts = append(parts, "stride "+short(s))
	}
	if s := sizes(one(p.Pad), p.PadH, p.PadW, 2, 0); s[0] != 0 || s[1] != 0 {
		parts = append(parts, "pad "+short(s))
	}
	return strings.Join(parts, ", ")
}

// sizes returns a size for each spatial axis, given as a list or as _h and _w.
func sizes(list []uint32, h, w *uint32, axes, usual int) []int {
	if h != nil || w != nil {
		v := []int{0, 0}
		for i, p := range []*uint32{h, w} {
			if p != nil {
				v[i] = int(*p)
			}
		}
		return v
	}
	v := make([]int, axes)
	for i := range v {
		v[i] = usual
		if n := len(list); n > 0 {
			v[i] = int(list[min(i, n-1)])
		}
	}
	return v
}

// join writes sizes as 3×3.
func join(v []int) string {
	s := make([]string, len(v))
	for i, x := range v {
		s[i] = strconv.Itoa(x)
	}
	return strings.Join(s, "×")
}

// short is join, or one number for sizes that are all the same.
func short(v []int) string {
	if len(slices.Compact(slices.Clone(v))) == 1 {
		v = v[:1]
	}
	return join(v)
}
