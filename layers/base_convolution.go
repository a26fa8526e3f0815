package layers

import (
	"errors"
	"fmt"
	"strings"

	"crema/conv"
	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// baseConvolution is what convolution and deconvolution have in common (Caffe's
// base_conv_layer.cpp): the fields of convolution_param, parameters and plan. It
// sees a deconvolution as the convolution that goes the other way: from its top
// to its bottom.
type baseConvolution struct {
	base
	windows
	deconv   bool
	outputs  int // num_output
	channels int // of the bottoms
	group    int
	bias     bool

	shape   conv.ShapeND
	plan    *conv.Plan
	planned planKey // what plan is for
}

// planKey is what a plan depends on.
type planKey struct {
	shape   conv.ShapeND
	options conv.Options
}

// Setup reads the fields and creates the parameters.
func (l *baseConvolution) Setup(bottom, _ []*tensor.Blob) error {
	p := l.p.GetConvolutionParam()
	if p == nil {
		p = &caffepb.ConvolutionParameter{}
	}
	if err := l.readParam(p, bottom[0]); err != nil {
		return fmt.Errorf("convolution_param: %w", err)
	}
	weight := []int{l.outputs, l.channels / l.group}
	if l.deconv {
		weight = []int{l.channels, l.outputs / l.group}
	}
	specs := []paramSpec{{"weight", append(weight, l.kernel...), p.GetWeightFiller()}}
	if l.bias {
		specs = append(specs, paramSpec{"bias", []int{l.outputs}, p.GetBiasFiller()})
	}
	return l.makeParams(specs...)
}

func (l *baseConvolution) readParam(p *caffepb.ConvolutionParameter, bottom *tensor.Blob) error {
	err := l.windows.read(p, bottom, 0)
	if err != nil {
		return err
	}
	if l.outputs, err = positive("num_output", p.GetNumOutput()); err != nil {
		return err
	}
	if l.group, err = positive("group", p.GetGroup()); err != nil {
		return err
	}
	l.channels = bottom.Dim(l.axis)
	if l.channels == 0 {
		return fmt.Errorf("bottom %s has no channels", tensor.FormatShape(bottom.Shape()))
	}
	if l.channels%l.group != 0 || l.outputs%l.group != 0 {
		return fmt.Errorf("group %d must divide the %d input channels and num_output %d", l.group, l.channels, l.outputs)
	}
	l.bias = p.GetBiasTerm()
	return nil
}

// Reshape shapes the tops and settles the shape of the convolution.
func (l *baseConvolution) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	b := bottom[0]
	if err := l.windows.check(b); err != nil {
		return err
	}
	if c := b.Dim(l.axis); c != l.channels {
		return fmt.Errorf("bottom %s has %d channels but the filters are for %d", tensor.FormatShape(b.Shape()), c, l.channels)
	}
	for _, o := range bottom[1:] {
		if !o.SameShape(b) {
			return fmt.Errorf("bottoms differ in shape: %s and %s", tensor.FormatShape(b.Shape()), tensor.FormatShape(o.Shape()))
		}
	}
	size := l.count
	if l.deconv {
		size = l.covered
	}
	spatial, err := size(b)
	if err != nil {
		return err
	}
	out := append(b.Shape()[:l.axis:l.axis], l.outputs)
	out = append(out, spatial...)
	for _, t := range top {
		if err := reshape(t, out...); err != nil {
			return err
		}
	}
	l.shape = conv.ShapeND{
		N: b.CountRange(0, l.axis), C: l.channels, K: l.outputs, Group: l.group,
		In:     b.Shape()[l.axis+1:],
		Kernel: l.kernel, Stride: l.stride, Pad: l.pad, Dilation: l.dilation,
	}
	if l.deconv {
		l.shape.C, l.shape.K, l.shape.In = l.outputs, l.channels, spatial
	}
	return nil
}

// makePlan replaces the plan if it is not what is needed.
func (l *baseConvolution) makePlan(o conv.Options) error {
	if l.plan != nil && l.planned.options == o && l.planned.shape.Equal(l.shape) {
		return nil
	}
	key := planKey{l.shape, o}
	plan, err := conv.NewPlanND(l.shape, o)
	if errors.Is(err, conv.ErrLayout) && l.plan != nil {
		// The algorithm that paid for the shape these layouts were chosen for
		// can do this one.
		o.Algorithm = l.plan.Algorithm(conv.Forward)
		plan, err = conv.NewPlanND(l.shape, o)
	}
	if err != nil {
		return err
	}
	l.plan, l.planned = plan, key
	return nil
}

// describe tells the algorithms, in the order of the layer's passes, and the
// work of the busiest thread over that of all in the mean.
func (l *baseConvolution) describe(passes ...conv.Direction) string {
	names := []string{"forward", "backward-data", "backward-weights"}
	var s []string
	for i, d := range passes {
		s = append(s, fmt.Sprintf("%s %s (balance %.2f)", names[i], l.plan.Algorithm(d), l.plan.Balance(d, par.Threads())))
	}
	return strings.Join(s, ", ")
}
