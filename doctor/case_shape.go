package doctor

import (
	"slices"

	"crema/prototxt/caffepb"
)

// inferShapes works out the shapes of the net's blobs, as far as the files and
// the data sources tell. It knows Caffe's layer types, those that cannot be run
// here as well; what a type it does not know makes has no shape.
func (c *Case) inferShapes(n *Net) {
	for _, l := range n.layers {
		for i, s := range c.shapes(l) {
			if i < len(l.tops) {
				l.tops[i].shape = s
			}
		}
	}
}

// shapes returns the shapes of l's tops, fewer if they are not known.
func (c *Case) shapes(l *layer) [][]int {
	if len(l.bottoms) == 0 {
		return c.sourceShapes(l)
	}
	in := l.bottoms[0].shape
	if len(in) == 0 {
		p, ok := weightsOf(l)
		if !ok {
			return nil
		}
		out := []int{0, p.outputs, 0, 0} // the channels are known, whatever comes in
		if l.GetType() == "InnerProduct" {
			out = out[:2]
		}
		return [][]int{out}
	}
	switch l.GetType() {
	case "Convolution", "Deconvolution":
		return [][]int{convShape(l, in)}
	case "Pooling":
		return [][]int{poolShape(l, in)}
	case "InnerProduct":
		p := l.GetInnerProductParam()
		a := axis(int(p.GetAxis()), len(in))
		return [][]int{append(slices.Clone(in[:a]), int(p.GetNumOutput()))}
	case "Concat":
		p := l.GetConcatParam()
		a := axis(int(p.GetAxis()), len(in))
		out := slices.Clone(in)
		for _, b := range l.bottoms[1:] {
			if len(b.shape) != len(in) || b.shape[a] == 0 || out[a] == 0 {
				out[a] = 0
				break
			}
			out[a] += b.shape[a]
		}
		return [][]int{out}
	case "Slice":
		return sliceShapes(l, in)
	case "Flatten":
		if len(in) < 2 {
			return nil
		}
		p := l.GetFlattenParam()
		a, e := axis(int(p.GetAxis()), len(in)), axis(int(p.GetEndAxis()), len(in))
		return [][]int{slices.Concat(in[:a], []int{product(in[a : e+1])}, in[e+1:])}
	case "Split":
		var out [][]int
		for range l.Top {
			out = append(out, in)
		}
		return out
	case "Dropout", "ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "BNLL", "AbsVal", "Power", "Exp", "Log", "Swish", "Clip",
		"Threshold", "LRN", "BatchNorm", "Scale", "Bias", "MVN", "Softmax", "Eltwise":
		return [][]int{in}
	}
	return nil
}

// sourceShapes returns the shapes that a layer without bottoms makes.
func (c *Case) sourceShapes(l *layer) [][]int {
	switch l.GetType() {
	case "Data", "ImageData":
		return c.dataShape(l)
	case "Input":
		var out [][]int
		for i := range l.Top {
			if s := l.GetInputParam().GetShape(); len(s) > 0 {
				out = append(out, ints(s[min(i, len(s)-1)].GetDim()))
			}
		}
		return out
	case "WindowData":
		n, crop := int(l.GetWindowDataParam().GetBatchSize()), int(l.GetTransformParam().GetCropSize())
		return [][]int{{n, 3, crop, crop}, {n}}
	case "MemoryData":
		p := l.GetMemoryDataParam()
		n := int(p.GetBatchSize())
		return [][]int{{n, int(p.GetChannels()), int(p.GetHeight()), int(p.GetWidth())}, {n}}
	case "DummyData":
		return dummyShapes(l)
	}
	return nil
}

// axis counts a negative axis from the end, and keeps it in range.
func axis(a, n int) int {
	if a < 0 {
		a += n
	}
	return max(0, min(a, n-1))
}

func ints(v []int64) []int {
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}

// product multiplies extents; 0 if one is not known.
func product(v []int) int {
	p := 1
	for _, x := range v {
		p *= x
	}
	return p
}

// dataShape returns what a layer of pictures hands out: of the size of its
// records or, if they are not there, of what the crop and the mean tell.
func (c *Case) dataShape(l *layer) [][]int {
	t := l.GetTransformParam()
	batch, ch, h, w := int(l.GetDataParam().GetBatchSize()), 0, 0, 0
	if l.GetType() == "ImageData" {
		p := l.GetImageDataParam()
		batch, h, w = int(p.GetBatchSize()), int(p.GetNewHeight()), int(p.GetNewWidth())
		if ch = 1; p.GetIsColor() {
			ch = 3
		}
	}
	if m := c.means[t.GetMeanFile()]; m != nil && m.err == nil {
		ch, h, w = m.c, m.h, m.w
	}
	if n := len(t.MeanValue); n > 1 {
		ch = n
	}
	if r := c.source(l); r != nil && r.c > 0 {
		ch, h, w = r.c, r.h, r.w
	}
	if s := int(t.GetCropSize()); s > 0 {
		h, w = s, s
	}
	if ch == 0 && t.GetMeanFile() != "" {
		ch = 3 // a guess: photographs
	}
	return [][]int{{batch, ch, h, w}, {batch}}
}

func dummyShapes(l *layer) (out [][]int) {
	p := l.GetDummyDataParam()
	at := func(v []uint32, i int) int {
		if len(v) == 0 {
			return 0
		}
		return int(v[min(i, len(v)-1)])
	}
	for i := range l.Top {
		if s := p.GetShape(); len(s) > 0 {
			out = append(out, ints(s[min(i, len(s)-1)].GetDim()))
		} else {
			out = append(out, []int{at(p.Num, i), at(p.Channels, i), at(p.Height, i), at(p.Width, i)})
		}
	}
	return out
}

func sliceShapes(l *layer, in []int) (out [][]int) {
	p := l.GetSliceParam()
	a := axis(int(p.GetAxis()), len(in))
	points := append([]uint32{}, p.SlicePoint...)
	if len(points) == 0 {
		for i := 1; i < len(l.Top); i++ {
			points = append(points, uint32(in[a]*i/len(l.Top)))
		}
	}
	from := 0
	for i := range l.Top {
		to := in[a]
		if i < len(points) {
			to = int(points[i])
		}
		s := slices.Clone(in)
		s[a] = max(0, to-from)
		out = append(out, s)
		from = to
	}
	return out
}

// A window is how a convolution or a pooling layer slides over one axis.
type window struct{ kernel, stride, pad, dilation int }

// extent is how far a kernel reaches.
func (w window) extent() int { return w.dilation*(w.kernel-1) + 1 }

// convWindows returns the windows along height and width.
func convWindows(p *caffepb.ConvolutionParameter) (h, w window) {
	pick := func(one uint32, has bool, list []uint32, i, otherwise int) int {
		switch {
		case has:
			return int(one)
		case len(list) == 0:
			return otherwise
		}
		return int(list[min(i, len(list)-1)])
	}
	h = window{pick(p.GetKernelH(), p.KernelH != nil, p.KernelSize, 0, 0), pick(p.GetStrideH(), p.StrideH != nil, p.Stride, 0, 1),
		pick(p.GetPadH(), p.PadH != nil, p.Pad, 0, 0), pick(0, false, p.Dilation, 0, 1)}
	w = window{pick(p.GetKernelW(), p.KernelW != nil, p.KernelSize, 1, 0), pick(p.GetStrideW(), p.StrideW != nil, p.Stride, 1, 1),
		pick(p.GetPadW(), p.PadW != nil, p.Pad, 1, 0), pick(0, false, p.Dilation, 1, 1)}
	return h, w
}

// poolWindows returns the windows along height and width; a global pooling's
// reach over all of in.
func poolWindows(p *caffepb.PoolingParameter, in []int) (h, w window) {
	if p.GetGlobalPooling() && len(in) == 4 {
		return window{in[2], 1, 0, 1}, window{in[3], 1, 0, 1}
	}
	pick := func(one *uint32, both uint32) int {
		if one != nil {
			return int(*one)
		}
		return int(both)
	}
	h = window{pick(p.KernelH, p.GetKernelSize()), pick(p.StrideH, p.GetStride()), pick(p.PadH, p.GetPad()), 1}
	w = window{pick(p.KernelW, p.GetKernelSize()), pick(p.StrideW, p.GetStride()), pick(p.PadW, p.GetPad()), 1}
	return h, w
}

// conv returns the extent of a convolution's output; 0 if that of its input is
// not known, below 0 if there is none.
func (w window) conv(in int) int {
	if in == 0 || w.kernel == 0 || w.stride == 0 {
		return 0
	}
	if room := in + 2*w.pad - w.extent(); room >= 0 {
		return room/w.stride + 1
	}
	return -1
}

// oneInCaffe reports whether Caffe's convolution makes one output of an extent
// that is smaller than the kernel: its quotients are rounded towards 0
// (base_conv_layer.cpp, conv_layer.cpp). Larger ones are no obstacle.
func (w window) oneInCaffe(in int) bool { return in+2*w.pad-w.extent() > -w.stride }

// pool is conv for pooling, which rounds up unless floor.
func (w window) pool(in int, floor bool) int {
	if in == 0 || w.kernel == 0 || w.stride == 0 {
		return 0
	}
	room := in + 2*w.pad - w.kernel
	if !floor {
		room += w.stride - 1 // less than a step too few still makes a window
	}
	if room < 0 {
		return -1
	}
	out := room/w.stride + 1
	if w.pad > 0 && (out-1)*w.stride >= in+w.pad {
		out--
	}
	if out <= 0 {
		return -1
	}
	return out
}

// deconv returns the extent of a deconvolution's output.
func (w window) deconv(in int) int {
	if in == 0 || w.kernel == 0 {
		return 0
	}
	return w.stride*(in-1) + w.extent() - 2*w.pad
}

func convShape(l *layer, in []int) []int {
	if len(in) != 4 {
		return nil
	}
	p := l.GetConvolutionParam()
	h, w := convWindows(p)
	if l.GetType() == "Deconvolution" {
		return []int{in[0], int(p.GetNumOutput()), h.deconv(in[2]), w.deconv(in[3])}
	}
	return []int{in[0], int(p.GetNumOutput()), h.conv(in[2]), w.conv(in[3])}
}

func poolShape(l *layer, in []int) []int {
	if len(in) != 4 {
		return nil
	}
	p := l.GetPoolingParam()
	if p.GetGlobalPooling() {
		return []int{in[0], in[1], 1, 1}
	}
	h, w := poolWindows(p, in)
	floor := p.GetRoundMode() == caffepb.PoolingParameter_FLOOR
	return []int{in[0], in[1], h.pool(in[2], floor), w.pool(in[3], floor)}
}

// A weighing is what layers with weights have in common.
type weighing struct {
	outputs, groups int
	// fanIn and fanOut are what the fillers xavier and msra divide by: the
	// weights' count over their first and second extents; 0 if not known.
	fanIn, fanOut int
	// reach is how many inputs an output sums, 0 if not known.
	reach        float64
	weight, bias *caffepb.FillerParameter
	hasBias      bool
	field        string // of LayerParameter
}

// weightsOf returns what weights a layer of a type that has some would get.
func weightsOf(l *layer) (w weighing, ok bool) {
	var in []int
	if len(l.bottoms) > 0 {
		in = l.bottoms[0].shape
	}
	switch l.GetType() {
	case "Convolution", "Deconvolution":
		p := l.GetConvolutionParam()
		h, v := convWindows(p)
		w = weighing{outputs: int(p.GetNumOutput()), groups: max(1, int(p.GetGroup())), weight: p.GetWeightFiller(), bias: p.GetBiasFiller(),
			hasBias: p.GetBiasTerm(), field: "convolution_param"}
		channels := 0
		if len(in) > 1 {
			channels = in[1]
		}
		w.fanIn = channels / w.groups * h.kernel * v.kernel
		w.fanOut = w.outputs * h.kernel * v.kernel
		w.reach = float64(w.fanIn)
		if l.GetType() == "Deconvolution" {
			w.fanIn, w.fanOut = w.outputs/w.groups*h.kernel*v.kernel, channels*h.kernel*v.kernel
			w.reach = float64(w.fanOut) / float64(w.groups*max(1, h.stride*v.stride))
		}
		return w, true
	case "InnerProduct":
		p := l.GetInnerProductParam()
		w = weighing{outputs: int(p.GetNumOutput()), groups: 1, fanOut: int(p.GetNumOutput()), weight: p.GetWeightFiller(), bias: p.GetBiasFiller(),
			hasBias: p.GetBiasTerm(), field: "inner_product_param"}
		if len(in) > 0 {
			w.fanIn = product(in[axis(int(p.GetAxis()), len(in)):])
		}
		w.reach = float64(w.fanIn)
		if p.GetTranspose() {
			w.fanIn, w.fanOut = w.fanOut, w.fanIn
		}
		return w, true
	}
	return w, false
}

// count returns the number of weights and biases, 0 if it is not known.
func (w weighing) count() int {
	n := w.fanIn * w.outputs
	if w.field == "inner_product_param" {
		n = int(w.reach) * w.outputs
	}
	if n > 0 && w.hasBias {
		n += w.outputs
	}
	return n
}
