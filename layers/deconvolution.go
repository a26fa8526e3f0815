package layers

import (
	"crema/conv"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:             "Deconvolution",
		New:              newDeconvolution,
		Bottoms:          AtLeast(1),
		Tops:             AtLeast(1),
		EqualBottomsTops: true,
	})
}

// deconvolution is the transpose of a convolution: its forward pass is the
// gradient of a convolution's input, and the other way round (Caffe's
// base_conv_layer.cpp, deconv_layer.cpp). Each element of a bottom adds a
// multiple of a filter to the top, which is
//
//	stride·(size − 1) + dilation·(kernel − 1) + 1 − 2·pad
//
// long along each spatial axis. Bottoms are N×C×H×W, or with any other number
// of spatial axes behind the channels, all of one shape; with another axis
// everything before it counts as N. The parameters are weights of
// C×K/group×kernel and, with bias_term, a bias of K. Fields of
// convolution_param:
//
//	num_output (required)      K
//	kernel_size (required)     once, or once per spatial axis; N×C blobs need none
//	stride (1), pad (0), dilation (1)
//	                           once, or once per spatial axis
//	kernel_h, kernel_w         instead of kernel_size; 2-D only, and so on for
//	stride_h, stride_w         instead of stride
//	pad_h (0), pad_w (0)       instead of pad
//	group (1)
//	bias_term (true)
//	weight_filler (constant 0), bias_filler (constant 0)
//	axis (1)                   the channel axis; negative counts from the end
//	force_nd_im2col, engine    accepted, without effect
//
// To enlarge by a factor f, as a bilinear interpolation, take kernel_size
// 2f − f%2, stride f, pad ⌈(f−1)/2⌉, as many groups as channels, and the filler
// bilinear. With fewer groups that filler adds up the channels of a group.
type deconvolution struct {
	baseConvolution
	biases affine
}

func newDeconvolution(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &deconvolution{baseConvolution: baseConvolution{base: newBase(p, ctx), deconv: true}}
	l.warnUnused("convolution_param")
	return l, nil
}

// Reshape shapes the tops and replaces the plan if the shape changed.
func (l *deconvolution) Reshape(bottom, top []*tensor.Blob) error {
	if err := l.baseConvolution.Reshape(bottom, top); err != nil {
		return err
	}
	if l.bias {
		if err := l.biases.shape(top[0], l.params[1], int32(l.axis), true); err != nil {
			return err
		}
	}
	return l.makePlan(conv.Options{})
}

// Describe implements Describer.
func (l *deconvolution) Describe() string {
	return l.describe(conv.BackwardData, conv.Forward, conv.BackwardWeights)
}

func (l *deconvolution) Forward(bottom, top []*tensor.Blob) error {
	for i, b := range bottom {
		y := top[i].Data()
		l.plan.BackwardData(b.ReadData(), nil, l.params[0].ReadData(), y)
		if l.bias {
			l.biases.forward(nil, l.params[1].ReadData(), y, y, nil)
		}
	}
	return nil
}

func (l *deconvolution) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	for i, t := range top {
		dy := t.Diff()
		if l.bias && l.ParamPropagateDown(1) {
			l.biases.backward(nil, nil, dy, nil, sink{}, sink{to: l.params[1].Diff(), add: true})
		}
		if l.ParamPropagateDown(0) {
			l.plan.BackwardWeights(dy, bottom[i].ReadData(), nil, l.params[0].Diff(), nil)
		}
		if propagateDown[i] {
			l.plan.Forward(dy, l.params[0].ReadData(), nil, bottom[i].Diff())
		}
	}
	return nil
}
