package doctor

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/prototxt/caffepb"
)

// A window is how a convolution or a pooling layer slides over one axis.
type window struct{ kernel, stride, pad, dilation int }

// extent is how far a kernel reaches.
func (w window) extent() int { return w.dilation*(w.kernel-1) + 1 }

// oneInCaffe reports whether Caffe's convolution makes one output of an extent
// that is smaller than the kernel: its quotients are rounded towards 0
// (base_conv_layer.cpp, conv_layer.cpp). Larger ones are no obstacle.
func (w window) oneInCaffe(in int) bool { return in+2*w.pad-w.extent() > -w.stride }

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

// A weighing is what layers have in common whose outputs are weighted sums of
// their inputs.
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

// weightsOf returns what weights a layer of a type that sums its inputs gets.
func weightsOf(l *layer) (w weighing, ok bool) {
	switch l.GetType() {
	case "Convolution", "Deconvolution":
		p := l.GetConvolutionParam()
		w = weighing{outputs: int(p.GetNumOutput()), groups: max(1, int(p.GetGroup())), weight: p.GetWeightFiller(), bias: p.GetBiasFiller(),
			hasBias: p.GetBiasTerm(), field: "convolution_param"}
		w.fanIn, w.fanOut = l.fans()
		w.reach = float64(w.fanIn)
		if l.GetType() == "Deconvolution" {
			h, v := convWindows(p)
			w.reach = float64(w.fanOut) / float64(w.groups*max(1, h.stride*v.stride))
		}
		return w, true
	case "InnerProduct":
		p := l.GetInnerProductParam()
		w = weighing{outputs: int(p.GetNumOutput()), groups: 1, weight: p.GetWeightFiller(), bias: p.GetBiasFiller(),
			hasBias: p.GetBiasTerm(), field: "inner_product_param"}
		w.fanIn, w.fanOut = l.fans()
		w.reach = float64(w.fanIn)
		if p.GetTranspose() {
			w.reach = float64(w.fanOut)
		}
		return w, true
	}
	return w, false
}

// weightFiller returns the filler of a layer's weights and the field it is in,
// for the types that mix their inputs by random weights.
func weightFiller(l *layer) (f *caffepb.FillerParameter, field string, ok bool) {
	if l.recurrent() {
		return l.GetRecurrentParam().GetWeightFiller(), "recurrent_param", true
	}
	w, ok := weightsOf(l)
	return w.weight, w.field, ok
}

// fans returns the count of a layer's weights over their first and over their
// second extent, 0 if it is not known.
func (l *layer) fans() (in, out int) {
	if len(l.params) == 0 || len(l.params[0]) < 2 {
		return 0, 0
	}
	w := l.params[0]
	return product(w[1:]), w[0] * product(w[2:])
}

// hasParams reports whether a layer is of a type with parameters that are
// learned, or is known to have some. The statistics of BatchNorm are not learned.
func (l *layer) hasParams() bool {
	switch l.GetType() {
	case "BatchNorm":
		return false
	case "PReLU", "Parameter":
		return true
	case "Scale", "Bias":
		return len(l.bottoms) == 1
	}
	return l.mixes() || len(l.params) > 0
}

// mixes reports whether a layer has learned weights by which each output depends
// on many inputs, as far as that is known of its type.
func (l *layer) mixes() bool {
	switch l.GetType() {
	case "Convolution", "Deconvolution", "InnerProduct", "Embed", "LSTM", "RNN":
		return true
	case "BatchNorm", "Scale", "Bias", "PReLU", "Parameter":
		return false
	}
	return slices.ContainsFunc(l.params, func(shape []int) bool { return len(shape) > 1 })
}

// recurrent reports whether a layer works on sequences, with a second bottom that
// says where they begin.
func (l *layer) recurrent() bool { return l.GetType() == "LSTM" || l.GetType() == "RNN" }

// interpolates reports whether a layer's weights begin as those of bilinear
// interpolation.
func (l *layer) interpolates() bool {
	w, ok := weightsOf(l)
	return ok && w.weight.GetType() == "bilinear"
}

// count returns the number of values of a layer's parameters, 0 if it is not
// known.
func (l *layer) count() int {
	n := 0
	for _, p := range l.params {
		n += product(p)
	}
	return n
}

// reads reports whether a layer of this type reads a field of LayerParameter, as
// far as its type is known.
func (l *layer) reads(fd protoreflect.FieldDescriptor) bool {
	const firstTypeField = 100 // below are the common fields
	names, known := paramsOf[l.GetType()]
	return !known || fd.Number() < firstTypeField || slices.Contains(names, fd.Name())
}

// A filled is a filler of a layer, with the path of its field.
type filled struct {
	path   string
	filler *caffepb.FillerParameter
}

// fillers returns the fillers that are written for a layer, in the order of
// their fields.
func (l *layer) fillers() []filled {
	var out []filled
	var walk func(path string, m protoreflect.Message)
	walk = func(path string, m protoreflect.Message) {
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			fd := fields.Get(i)
			if fd.Message() == nil || !m.Has(fd) || path == "" && !l.reads(fd) {
				continue
			}
			name := path + string(fd.Name())
			if !fd.IsList() {
				addFiller(&out, name, m.Get(fd).Message(), walk)
				continue
			}
			for k, list := 0, m.Get(fd).List(); k < list.Len(); k++ {
				addFiller(&out, fmt.Sprintf("%s[%d]", name, k), list.Get(k).Message(), walk)
			}
		}
	}
	walk("", l.LayerParameter.ProtoReflect())
	return out
}

// addFiller adds m if it is a filler, and goes into it otherwise.
func addFiller(out *[]filled, path string, m protoreflect.Message, walk func(string, protoreflect.Message)) {
	if f, ok := m.Interface().(*caffepb.FillerParameter); ok {
		*out = append(*out, filled{path, f})
		return
	}
	walk(path+".", m)
}
