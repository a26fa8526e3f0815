package layers

import (
	"errors"
	"fmt"
	"math"

	"crema/asm"
	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Pooling",
		New:     newPooling,
		Bottoms: Exactly(1),
		Tops:    Between(1, 2),
	})
}

// pooling reduces windows of each N×C×H×W plane to one value (Caffe's
// pooling_layer.cpp, and pooling_layer.cu for STOCHASTIC):
//
//	MAX         the greatest; the first of equals. A window of NaN only gives
//	            −FLT_MAX and no gradient.
//	AVE         the sum divided by the size of the window, cut off at the edge
//	            of the padded image (padding counts, what lies beyond does not)
//	STOCHASTIC  TRAIN: an element drawn with a probability in proportion to its
//	            value, which should not be negative (Zeiler, Fergus 2013);
//	            TEST: Σx²/Σx, the mean weighted so, or 0 if Σx ≤ 0, without
//	            gradient. Draws are keyed by the seed, the layer's name, the
//	            number of the Forward in TRAIN, and the plane.
//
// With MAX a second top gives the index of each maximum in its plane. If there
// is padding, a last window that would start beyond it is dropped. Fields of
// pooling_param:
//
//	pool (MAX)              MAX, AVE, STOCHASTIC
//	kernel_size (required)  or kernel_h and kernel_w
//	stride (1)              or stride_h and stride_w
//	pad (0)                 or pad_h and pad_w; less than the kernel; not for
//	                        STOCHASTIC
//	global_pooling (false)  the kernel is the image; then no kernel, pad 0 and
//	                        stride 1
//	round_mode (CEIL)       CEIL, FLOOR: rounding of the output size
//	engine                  accepted, without effect
type pooling struct {
	base
	method              caffepb.PoolingParameter_PoolMethod
	global, floor       bool
	kernel, stride, pad [2]int // for H and W
	in, out             [2]int // size of a plane

	// For MAX and STOCHASTIC the chosen element of each window, as an index
	// into its plane, or -1. Forward records it only where a Backward is to be
	// expected; maskValid tells whether it did.
	mask      []int32
	maskValid bool
	chosen    []uint16 // the same for lanesHalves, as asm.MaxPool2Lanes has it
	forwards  uint64   // STOCHASTIC in the TRAIN phase
	tops      int
	pass      poolPass
}

// poolPass computes the parts 0 ≤ p < n of a blob from those of another. A part
// is a plane, a block of channels (one of 16 planes), or a row of windows of
// it.
type poolPass struct {
	l        *pooling
	do       func(l *pooling, from, to []float32, p int)
	from, to []float32
	n, grain int
}

// Do implements par.Job.
func (j *poolPass) Do(task int) {
	for p := task * j.grain; p < min((task+1)*j.grain, j.n); p++ {
		j.do(j.l, j.from, j.to, p)
	}
}

func newPooling(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &pooling{base: newBase(p, ctx)}
	l.warnUnused("pooling_param")
	pp := p.GetPoolingParam()
	if pp == nil {
		pp = &caffepb.PoolingParameter{}
	}
	if err := l.readParam(pp); err != nil {
		return nil, fmt.Errorf("pooling_param: %w", err)
	}
	if l.method == caffepb.PoolingParameter_STOCHASTIC {
		return stochasticPooling{l}, nil
	}
	return l, nil
}

func (l *pooling) readParam(p *caffepb.PoolingParameter) error {
	l.method, l.global = p.GetPool(), p.GetGlobalPooling()
	switch l.method {
	case caffepb.PoolingParameter_MAX, caffepb.PoolingParameter_AVE, caffepb.PoolingParameter_STOCHASTIC:
	default:
		return fmt.Errorf("unknown pool method %v", l.method)
	}
	switch p.GetRoundMode() {
	case caffepb.PoolingParameter_CEIL:
	case caffepb.PoolingParameter_FLOOR:
		l.floor = true
	default:
		return fmt.Errorf("unknown round_mode %v", p.GetRoundMode())
	}
	if l.global {
		if p.KernelSize != nil || p.KernelH != nil || p.KernelW != nil {
			return errors.New("with global_pooling the kernel is the image: give no kernel size")
		}
		l.kernel = [2]int{1, 1} // until Reshape knows
	}
	for _, f := range []struct {
		name, stem string
		both, h, w *uint32
		def, min   uint32
		to         *[2]int
	}{
		{"kernel_size", "kernel", p.KernelSize, p.KernelH, p.KernelW, 0, 1, &l.kernel},
		{"stride", "stride", p.Stride, p.StrideH, p.StrideW, 1, 1, &l.stride},
		{"pad", "pad", p.Pad, p.PadH, p.PadW, 0, 0, &l.pad},
	} {
		if l.global && f.to == &l.kernel {
			continue
		}
		if (f.h != nil) != (f.w != nil) || f.both != nil && f.h != nil {
			return fmt.Errorf("give either %s or both %s_h and %s_w", f.name, f.stem, f.stem)
		}
		h, w := f.def, f.def
		if f.both != nil {
			h, w = *f.both, *f.both
		} else if f.h != nil {
			h, w = *f.h, *f.w
		}
		if min(h, w) < f.min || max(h, w) > math.MaxInt32 {
			return fmt.Errorf("%s must be between %d and %d", f.name, f.min, math.MaxInt32)
		}
		*f.to = [2]int{int(h), int(w)}
	}
	if l.global && (l.pad != [2]int{} || l.stride != [2]int{1, 1}) {
		return errors.New("global_pooling needs pad 0 and stride 1")
	}
	if l.pad != [2]int{} {
		if l.method == caffepb.PoolingParameter_STOCHASTIC {
			return errors.New("STOCHASTIC pooling does not take padding")
		}
		if l.pad[0] >= l.kernel[0] || l.pad[1] >= l.kernel[1] {
			return fmt.Errorf("pad %d×%d must be less than the kernel, %d×%d", l.pad[0], l.pad[1], l.kernel[0], l.kernel[1])
		}
	}
	return nil
}

func (l *pooling) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	if len(top) > 1 && l.method != caffepb.PoolingParameter_MAX {
		return errors.New("only MAX pooling has a second top")
	}
	b := bottom[0]
	if b.Axes() != 4 {
		return fmt.Errorf("pooling needs a bottom of 4 axes (N×C×H×W), not %s", tensor.FormatShape(b.Shape()))
	}
	l.in = [2]int{b.Dim(2), b.Dim(3)}
	if l.global {
		l.kernel = l.in
	}
	for i, n := range l.in {
		span := n + 2*l.pad[i] - l.kernel[i]
		if !l.floor {
			span += l.stride[i] - 1
		}
		// Go rounds a quotient towards zero; a negative span has no window.
		out := 0
		if span >= 0 && n > 0 {
			out = span/l.stride[i] + 1
		}
		if l.pad != [2]int{} && (out-1)*l.stride[i] >= n+l.pad[i] {
			out--
		}
		if out <= 0 {
			return fmt.Errorf("the kernel %d×%d does not fit into bottom %s padded by %d×%d",
				l.kernel[0], l.kernel[1], tensor.FormatShape(b.Shape()), l.pad[0], l.pad[1])
		}
		l.out[i] = out
	}
	for _, t := range top {
		if err := reshape(t, b.Dim(0), b.Dim(1), l.out[0], l.out[1]); err != nil {
			return err
		}
	}
	l.maskValid, l.tops = false, len(top)
	return nil
}

// planes calls do for every plane of an NCHW blob, or block of a blocked one,
// from several goroutines.
func (l *pooling) planes(bottom *tensor.Blob, from, to []float32, do func(l *pooling, from, to []float32, p int)) {
	n, work := bottom.CountRange(0, 2), l.out[0]*l.out[1]*min(l.kernel[0], l.in[0])*min(l.kernel[1], l.in[1])
	if bottom.Layout() == tensor.Blocked {
		n, work = n/tensor.Lanes, work*tensor.Lanes
	}
	l.parts(n, work, from, to, do)
}

// parts calls do for every part of work operations.
func (l *pooling) parts(n, work int, from, to []float32, do func(l *pooling, from, to []float32, p int)) {
	grain := grainFor(work)
	l.pass = poolPass{l, do, from, to, n, grain}
	par.Run(0, (n+grain-1)/grain, &l.pass)
	l.pass = poolPass{}
}

// plane returns the values of one plane.
func plane[T any](s []T, size [2]int, p int) []T {
	n := size[0] * size[1]
	return s[p*n : (p+1)*n]
}

// window returns the part of output o's window that lies in the image along
// an axis, and its length before that cut, in the padded image.
func (l *pooling) window(axis, o int) (lo, hi, padded int) {
	lo = o*l.stride[axis] - l.pad[axis]
	hi = min(lo+l.kernel[axis], l.in[axis]+l.pad[axis])
	padded = hi - lo
	return max(lo, 0), min(hi, l.in[axis]), padded
}

func (l *pooling) train() bool { return l.ctx.Phase == caffepb.Phase_TRAIN }

// needMask makes room for a choice per output.
func (l *pooling) needMask(top *tensor.Blob) {
	if n := top.Count(); cap(l.mask) < n {
		l.mask = make([]int32, n)
	} else {
		l.mask = l.mask[:n]
	}
}

// Fit implements LayoutTaker.
func (l *pooling) Fit(in, out tensor.Layout) Fit {
	if in == tensor.Blocked && (l.method == caffepb.PoolingParameter_STOCHASTIC || l.tops > 1) {
		return Unfit
	}
	return sameLayout(in, out)
}

func (l *pooling) Forward(bottom, top []*tensor.Blob) error {
	b, x, y := bottom[0], bottom[0].ReadData(), top[0].Data()
	blocked := b.Layout() == tensor.Blocked
	switch {
	case l.method == caffepb.PoolingParameter_AVE && blocked:
		l.lanesRows(b, x, y, (*pooling).lanesAverage)
	case l.method == caffepb.PoolingParameter_AVE:
		l.planes(b, x, y, (*pooling).average)
	case l.method == caffepb.PoolingParameter_MAX && blocked && l.lanesHalves():
		// The kernels always tell the places.
		l.needChosen(top[0])
		l.maskValid = true
		l.lanesRows(b, x, y, (*pooling).lanesHalvesMaximum)
	case l.method == caffepb.PoolingParameter_MAX:
		l.maskValid = l.train() || len(top) > 1
		if l.maskValid {
			l.needMask(top[0])
		}
		if blocked {
			l.lanesRows(b, x, y, (*pooling).lanesMaximum)
		} else {
			l.planes(b, x, y, (*pooling).maximum)
		}
		if len(top) > 1 {
			l.planes(b, nil, top[1].Data(), (*pooling).places)
		}
	case l.train():
		l.needMask(top[0])
		l.planes(b, x, y, (*pooling).draw)
		l.maskValid = true
		l.forwards++
	default:
		l.planes(b, x, y, (*pooling).expect)
	}
	return nil
}

// maximum finds the maxima of a plane: their values go to y unless that is nil,
// their places to the mask if it is to be valid.
func (l *pooling) maximum(x, y []float32, p int) {
	x = plane(x, l.in, p)
	var mask []int32
	if l.maskValid {
		mask = plane(l.mask, l.out, p)
	}
	if y != nil {
		y = plane(y, l.out, p)
	}
	if l.halves() && y != nil {
		l.halvesMaximum(x, y, mask)
		return
	}
	i := 0
	for oh := range l.out[0] {
		h0, h1, _ := l.window(0, oh)
		for ow := range l.out[1] {
			w0, w1, _ := l.window(1, ow)
			best, at := float32(-math.MaxFloat32), -1
			for h := h0; h < h1; h++ {
				for w := w0; w < w1; w++ {
					if v := x[h*l.in[1]+w]; v > best {
						best, at = v, h*l.in[1]+w
					}
				}
			}
			if y != nil {
				y[i] = best
			}
			if mask != nil {
				mask[i] = int32(at)
			}
			i++
		}
	}
}

// places puts the mask of a plane into the second top.
func (l *pooling) places(_, to []float32, p int) {
	to = plane(to, l.out, p)
	for i, at := range plane(l.mask, l.out, p) {
		to[i] = float32(at)
	}
}

// halves reports whether the windows are 2×2 with stride 2 and cover each
// element once, for which there are kernels.
func (l *pooling) halves() bool {
	two := [2]int{2, 2}
	return l.kernel == two && l.stride == two && l.pad == [2]int{} &&
		l.in[0]%2 == 0 && l.in[1]%2 == 0 && l.out[1] <= widestHalves
}

// widestHalves is the longest row of windows that is given to a kernel.
const widestHalves = 1 << 10

func (l *pooling) halvesMaximum(x, y []float32, mask []int32) {
	var unused [widestHalves]int32 // the kernels always tell the places
	for oh := range l.out[0] {
		at, o := 2*oh*l.in[1], oh*l.out[1]
		row := unused[:l.out[1]]
		if mask != nil {
			row = mask[o : o+l.out[1]]
		}
		asm.MaxPool2(at, l.in[1], x[at:], x[at+l.in[1]:], y[o:o+l.out[1]], row)
	}
}

func (l *pooling) average(x, y []float32, p int) {
	x, y = plane(x, l.in, p), plane(y, l.out, p)
	i := 0
	for oh := range l.out[0] {
		h0, h1, ph := l.window(0, oh)
		for ow := range l.out[1] {
			w0, w1, pw := l.window(1, ow)
			var sum float32
			for h := h0; h < h1; h++ {
				for w := w0; w < w1; w++ {
					sum += x[h*l.in[1]+w]
				}
			}
			// A window that starts beyond the image (stride greater than the
			// kernel, CEIL) is empty: 0, where Caffe divides by 0 or less.
			if ph > 0 && pw > 0 {
				sum /= float32(ph * pw)
			}
			y[i] = sum
			i++
		}
	}
}

func (l *pooling) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if !propagateDown[0] {
		return nil
	}
	b := bottom[0]
	blocked := b.Layout() == tensor.Blocked
	if l.method != caffepb.PoolingParameter_AVE && !l.maskValid {
		if l.method == caffepb.PoolingParameter_STOCHASTIC {
			return errors.New("STOCHASTIC pooling has a gradient only in the TRAIN phase")
		}
		l.findAgain(b, top[0])
	}
	dy, dx := top[0].Diff(), b.Diff()
	max := l.method == caffepb.PoolingParameter_MAX
	switch {
	case max && blocked && l.lanesHalves():
		l.lanesRows(b, dy, dx, (*pooling).lanesHalvesBackward)
	case max && !blocked && l.halves():
		l.planes(b, dy, dx, (*pooling).halvesBackward)
	case l.method == caffepb.PoolingParameter_AVE && blocked:
		l.planes(b, dy, dx, (*pooling).lanesAverageBackward)
	case l.method == caffepb.PoolingParameter_AVE:
		l.planes(b, dy, dx, (*pooling).averageBackward)
	case blocked:
		l.planes(b, dy, dx, (*pooling).lanesScatter)
	default:
		l.planes(b, dy, dx, (*pooling).scatter)
	}
	return nil
}

// findAgain looks for the maxima again, for a Backward in the TEST phase, which is
// seldom. The top stays as it is: layers in place may have changed it.
func (l *pooling) findAgain(bottom, top *tensor.Blob) {
	l.maskValid = true
	x := bottom.ReadData()
	if bottom.Layout() != tensor.Blocked {
		l.needMask(top)
		l.planes(bottom, x, nil, (*pooling).maximum)
		return
	}
	y, buffer := poolScratch.Get(top.Count())
	if l.lanesHalves() {
		l.needChosen(top)
		l.lanesRows(bottom, x, y, (*pooling).lanesHalvesMaximum)
	} else {
		l.needMask(top)
		l.lanesRows(bottom, x, y, (*pooling).lanesMaximum)
	}
	poolScratch.Put(buffer)
}

// scatter adds gradients where the mask says.
func (l *pooling) scatter(dy, dx []float32, p int) {
	dy, dx = plane(dy, l.out, p), plane(dx, l.in, p)
	clear(dx)
	for i, at := range plane(l.mask, l.out, p) {
		if at >= 0 {
			dx[at] += dy[i]
		}
	}
}

func (l *pooling) halvesBackward(dy, dx []float32, p int) {
	dy, dx = plane(dy, l.out, p), plane(dx, l.in, p)
	mask := plane(l.mask, l.out, p)
	for oh := range l.out[0] {
		at, o := 2*oh*l.in[1], oh*l.out[1]
		asm.MaxPool2Backward(at, l.in[1], dy[o:o+l.out[1]], mask[o:o+l.out[1]], dx[at:at+l.in[1]], dx[at+l.in[1]:at+2*l.in[1]])
	}
}

func (l *pooling) averageBackward(dy, dx []float32, p int) {
	dy, dx = plane(dy, l.out, p), plane(dx, l.in, p)
	clear(dx)
	i := 0
	for oh := range l.out[0] {
		h0, h1, ph := l.window(0, oh)
		for ow := range l.out[1] {
			w0, w1, pw := l.window(1, ow)
			if ph > 0 && pw > 0 {
				g := dy[i] / float32(ph*pw)
				for h := h0; h < h1; h++ {
					for w := w0; w < w1; w++ {
						dx[h*l.in[1]+w] += g
					}
				}
			}
			i++
		}
	}
}
