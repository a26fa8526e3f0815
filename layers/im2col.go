package layers

import (
	"fmt"

	"crema/conv"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Im2col",
		New:     newIm2col,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// im2col writes the windows that a convolution's kernel sees as channels: the
// top of an N×C×H×W bottom is N×(C·kernel_h·kernel_w)×OH×OW, the elements of a
// channel's windows before those of the next; so it is with any other number of
// spatial axes (Caffe's im2col_layer.cpp). What lies outside the bottom is 0.
// Output sizes are rounded down. Fields of convolution_param:
//
//	kernel_size (required)     once, or once per spatial axis
//	stride (1), pad (0), dilation (1)
//	                           once, or once per spatial axis
//	kernel_h, kernel_w         instead of kernel_size; 2-D only, and so on for
//	stride_h, stride_w         instead of stride
//	pad_h (0), pad_w (0)       instead of pad
//	axis (1)                   the channel axis; negative counts from the end
//	force_nd_im2col, engine, num_output, bias_term, group, weight_filler,
//	bias_filler                accepted, without effect
type im2col struct {
	base
	windows
	shape conv.ShapeND
	plan  *conv.Plan
}

func newIm2col(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &im2col{base: newBase(p, ctx)}
	l.warnUnused("convolution_param")
	return l, nil
}

// Setup reads the fields.
func (l *im2col) Setup(bottom, _ []*tensor.Blob) error {
	p := l.p.GetConvolutionParam()
	if p == nil {
		p = &caffepb.ConvolutionParameter{}
	}
	if err := l.windows.read(p, bottom[0], 1); err != nil {
		return fmt.Errorf("convolution_param: %w", err)
	}
	return nil
}

// Reshape shapes the top and replaces the plan if the shape changed.
func (l *im2col) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	b := bottom[0]
	if err := l.windows.check(b); err != nil {
		return err
	}
	spatial, err := l.count(b)
	if err != nil {
		return err
	}
	channels := b.Dim(l.axis)
	if channels == 0 {
		return fmt.Errorf("bottom %s has no channels", tensor.FormatShape(b.Shape()))
	}
	rows := channels
	for _, k := range l.kernel {
		if rows > tensor.MaxCount/k {
			return fmt.Errorf("a kernel of %s makes too many channels of %d", tensor.FormatShape(l.kernel), channels)
		}
		rows *= k
	}
	out := append(b.Shape()[:l.axis:l.axis], rows)
	if err := reshape(top[0], append(out, spatial...)...); err != nil {
		return err
	}
	s := conv.ShapeND{
		N: b.CountRange(0, l.axis), C: channels, K: 1, Group: 1,
		In:     b.Shape()[l.axis+1:],
		Kernel: l.kernel, Stride: l.stride, Pad: l.pad, Dilation: l.dilation,
	}
	if l.plan != nil && l.shape.Equal(s) {
		return nil
	}
	if l.plan, err = conv.NewPlanND(s, conv.Options{}); err != nil {
		return err
	}
	l.shape = s
	return nil
}

func (l *im2col) Forward(bottom, top []*tensor.Blob) error {
	l.plan.Im2col(bottom[0].ReadData(), top[0].Data())
	return nil
}

func (l *im2col) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[0] {
		l.plan.Col2im(top[0].Diff(), bottom[0].Diff())
	}
	return nil
}
