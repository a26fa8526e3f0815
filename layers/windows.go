package layers

import (
	"fmt"
	"math"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

// windows are the positions of a kernel on a blob, as Convolution, Deconvolution
// and Im2col read them from a convolution_param (Caffe's base_conv_layer.cpp).
// The axes behind the channel axis are spatial; there is one entry for each.
type windows struct {
	axis                          int // of the channels
	kernel, stride, pad, dilation []int
}

// read reads the fields axis, kernel_size, stride, pad and dilation, and those
// with _h and _w, for a blob with at least so many spatial axes.
func (w *windows) read(p *caffepb.ConvolutionParameter, b *tensor.Blob, least int) error {
	var err error
	if w.axis, err = b.Axis(int(p.GetAxis())); err != nil {
		return fmt.Errorf("axis: %w", err)
	}
	n := b.Axes() - w.axis - 1
	if n < least {
		return fmt.Errorf("axis: bottom %s has %d spatial axes behind axis %d, at least %d needed", tensor.FormatShape(b.Shape()), n, w.axis, least)
	}
	for _, f := range []struct {
		name     string
		list     []uint32
		h, w     *uint32
		def, min int
		to       *[]int
	}{
		{"kernel_size", p.GetKernelSize(), p.KernelH, p.KernelW, 0, 1, &w.kernel},
		{"stride", p.GetStride(), p.StrideH, p.StrideW, 1, 1, &w.stride},
		{"pad", p.GetPad(), p.PadH, p.PadW, 0, 0, &w.pad},
		{"dilation", p.GetDilation(), nil, nil, 1, 1, &w.dilation},
	} {
		if *f.to, err = perAxis(n, f.name, f.list, f.h, f.w, f.def, f.min); err != nil {
			return err
		}
	}
	return nil
}

// perAxis reads a size for each of n axes that is given as a list (none, one for
// all, or one for each) or as a _h and _w pair.
func perAxis(n int, name string, list []uint32, h, w *uint32, def, least int) ([]int, error) {
	v := make([]int, n)
	switch {
	case h != nil || w != nil:
		stem := name
		if name == "kernel_size" {
			stem = "kernel"
		}
		if n != 2 {
			return nil, fmt.Errorf("%s_h and %s_w are for two spatial axes, not %d: give %s", stem, stem, n, name)
		}
		if len(list) > 0 {
			return nil, fmt.Errorf("give either %s or %s_h and %s_w, not both", name, stem, stem)
		}
		name = stem + "_h and " + stem + "_w"
		// One of the pair left out is 0, as in Caffe.
		for i, p := range []*uint32{h, w} {
			if p != nil {
				v[i] = int(*p)
			}
		}
	case len(list) > 1 && len(list) != n:
		return nil, fmt.Errorf("%s must be given once, or once per spatial axis: %d times for %d axes", name, len(list), n)
	default:
		for i := range v {
			v[i] = def
			if len(list) > 0 {
				v[i] = int(list[min(i, len(list)-1)])
			}
		}
	}
	for _, x := range v {
		if x < least || x > math.MaxInt32 {
			return nil, fmt.Errorf("%s must be between %d and %d, not %d", name, least, math.MaxInt32, x)
		}
	}
	return v, nil
}

// check reports whether the windows can be those of a blob: it has the axes that
// they were read for.
func (w *windows) check(b *tensor.Blob) error {
	if b.Axes() != w.axis+1+len(w.kernel) {
		return fmt.Errorf("the number of axes changed: bottom is now %s", tensor.FormatShape(b.Shape()))
	}
	return nil
}

// extent returns how many elements along spatial axis i a kernel spans.
func (w *windows) extent(i int) int { return w.dilation[i]*(w.kernel[i]-1) + 1 }

// count returns for each spatial axis of a blob how many positions there are
// for the kernel, rounded down.
func (w *windows) count(b *tensor.Blob) ([]int, error) {
	out := make([]int, len(w.kernel))
	for i := range out {
		size := b.Dim(w.axis+1+i) + 2*w.pad[i]
		if size < w.extent(i) {
			return nil, fmt.Errorf("the kernel does not fit: it spans %d along spatial axis %d, but bottom %s padded by %d is only %d",
				w.extent(i), i, tensor.FormatShape(b.Shape()), w.pad[i], size)
		}
		out[i] = (size-w.extent(i))/w.stride[i] + 1
	}
	return out, nil
}

// covered returns for each spatial axis the size of the array on which the
// kernel has as many positions as b has elements, the smallest without padding
// to spare.
func (w *windows) covered(b *tensor.Blob) ([]int, error) {
	out := make([]int, len(w.kernel))
	for i := range out {
		n := b.Dim(w.axis + 1 + i)
		out[i] = w.stride[i]*(n-1) + w.extent(i) - 2*w.pad[i]
		if n < 1 || out[i] < 1 {
			return nil, fmt.Errorf("nothing is left along spatial axis %d: of bottom %s, kernel, stride and pad make a size of %d",
				i, tensor.FormatShape(b.Shape()), out[i])
		}
	}
	return out, nil
}
