package layers

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"crema/asm"
	"crema/conv"
	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:             "Convolution",
		New:              newConvolution,
		Bottoms:          AtLeast(1),
		Tops:             AtLeast(1),
		EqualBottomsTops: true,
	})
}

// convolution correlates each bottom with one set of filters (Caffe's
// base_conv_layer.cpp, conv_layer.cpp). Bottoms are N×C×H×W, or N×C×W for 1-D
// convolution, all of one shape; with another axis everything before it counts
// as N. The parameters are weights of K×C/group×kernel and, with bias_term, a
// bias of K. Output sizes are rounded down. Fields of convolution_param:
//
//	num_output (required)      K
//	kernel_size (required)     once, or once per spatial axis
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
// Kernels of more than two dimensions are not supported.
type convolution struct {
	base
	k, group, axis int
	spatial        int // number of spatial axes
	channels       int
	bias           bool

	// One entry for each of H and W; 1-D convolution has H = 1.
	kernel, stride, pad, dilation [2]int

	shape    conv.Shape
	in, out  conv.Layout // of bottoms and tops
	rectify  bool        // the top is to be that of a ReLU
	canFuse  bool        // there is one top
	plan     *conv.Plan
	planned  planKey // what plan is for
	filters  *conv.Filters
	filterOf filterKey // what filters are for
}

// planKey is what a plan depends on.
type planKey struct {
	shape   conv.Shape
	in, out conv.Layout
	rectify bool
}

// filterKey is what kept filters depend on.
type filterKey struct {
	plan    *conv.Plan
	isa     string
	weights tensor.Version
}

func newConvolution(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &convolution{base: newBase(p, ctx)}
	l.warnUnused("convolution_param")
	return l, nil
}

// Setup reads the geometry and creates the parameters.
func (l *convolution) Setup(bottom, _ []*tensor.Blob) error {
	p := l.p.GetConvolutionParam()
	if p == nil {
		p = &caffepb.ConvolutionParameter{}
	}
	if err := l.readParam(p, bottom[0]); err != nil {
		return fmt.Errorf("convolution_param: %w", err)
	}
	weight := []int{l.k, l.channels / l.group}
	weight = append(weight, l.kernel[2-l.spatial:]...)
	specs := []paramSpec{{"weight", weight, p.GetWeightFiller()}}
	if l.bias {
		specs = append(specs, paramSpec{"bias", []int{l.k}, p.GetBiasFiller()})
	}
	return l.makeParams(specs...)
}

func (l *convolution) readParam(p *caffepb.ConvolutionParameter, bottom *tensor.Blob) error {
	var err error
	if l.axis, err = bottom.Axis(int(p.GetAxis())); err != nil {
		return fmt.Errorf("axis: %w", err)
	}
	l.spatial = bottom.Axes() - l.axis - 1
	if l.spatial != 1 && l.spatial != 2 {
		return fmt.Errorf("only 1-D and 2-D convolution are supported: bottom %s has %d spatial axes after axis %d",
			tensor.FormatShape(bottom.Shape()), l.spatial, l.axis)
	}
	for _, f := range []struct {
		name     string
		list     []uint32
		h, w     *uint32
		def, min int
		to       *[2]int
	}{
		{"kernel_size", p.GetKernelSize(), p.KernelH, p.KernelW, 0, 1, &l.kernel},
		{"stride", p.GetStride(), p.StrideH, p.StrideW, 1, 1, &l.stride},
		{"pad", p.GetPad(), p.PadH, p.PadW, 0, 0, &l.pad},
		{"dilation", p.GetDilation(), nil, nil, 1, 1, &l.dilation},
	} {
		v, err := l.perAxis(f.name, f.list, f.h, f.w, f.def, f.min)
		if err != nil {
			return err
		}
		*f.to = v
	}
	if l.spatial == 1 {
		l.kernel[0], l.stride[0], l.pad[0], l.dilation[0] = 1, 1, 0, 1
	}
	if l.k, err = positive("num_output", p.GetNumOutput()); err != nil {
		return err
	}
	if l.group, err = positive("group", p.GetGroup()); err != nil {
		return err
	}
	l.channels = bottom.Dim(l.axis)
	if l.channels == 0 {
		return fmt.Errorf("bottom %s has no channels", tensor.FormatShape(bottom.Shape()))
	}
	if l.channels%l.group != 0 || l.k%l.group != 0 {
		return fmt.Errorf("group %d must divide the %d input channels and num_output %d", l.group, l.channels, l.k)
	}
	l.bias = p.GetBiasTerm()
	return nil
}

// perAxis reads a size given as a list (none, one for all, or one per spatial
// axis) or as a _h and _w pair.
func (l *convolution) perAxis(name string, list []uint32, h, w *uint32, def, least int) (v [2]int, err error) {
	v = [2]int{def, def}
	if h != nil || w != nil {
		stem := name
		if name == "kernel_size" {
			stem = "kernel"
		}
		if l.spatial != 2 {
			return v, fmt.Errorf("%s_h and %s_w are for 2-D convolution only", stem, stem)
		}
		if len(list) > 0 {
			return v, fmt.Errorf("give either %s or %s_h and %s_w, not both", name, stem, stem)
		}
		name = stem + "_h and " + stem + "_w"
		// One of the pair left out is 0, as in Caffe.
		v = [2]int{}
		for i, p := range []*uint32{h, w} {
			if p != nil {
				v[i] = int(*p)
			}
		}
	} else {
		if n := len(list); n > 1 && n != l.spatial {
			return v, fmt.Errorf("%s must be given once, or once per spatial axis: %d times for %d axes", name, n, l.spatial)
		}
		for i := range v {
			// The last entry is W; a 1-D convolution has only that.
			if n := len(list); n > 0 {
				v[i] = int(list[min(i, n-1)])
			}
		}
	}
	for _, x := range v {
		if x < least || x > math.MaxInt32 {
			return v, fmt.Errorf("%s must be between %d and %d, not %d", name, least, math.MaxInt32, x)
		}
	}
	return v, nil
}

// Reshape shapes the tops and replaces the plan if the shape or a layout
// changed.
func (l *convolution) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	b := bottom[0]
	if b.Axes() != l.axis+1+l.spatial {
		return fmt.Errorf("the number of axes changed: bottom is now %s", tensor.FormatShape(b.Shape()))
	}
	if c := b.Dim(l.axis); c != l.channels {
		return fmt.Errorf("bottom %s has %d channels but the filters are for %d", tensor.FormatShape(b.Shape()), c, l.channels)
	}
	for _, o := range bottom[1:] {
		if !o.SameShape(b) {
			return fmt.Errorf("bottoms differ in shape: %s and %s", tensor.FormatShape(b.Shape()), tensor.FormatShape(o.Shape()))
		}
	}
	in := [2]int{1, b.Dim(-1)}
	if l.spatial == 2 {
		in[0] = b.Dim(-2)
	}
	for i, n := range in {
		if extent := l.dilation[i]*(l.kernel[i]-1) + 1; n+2*l.pad[i] < extent {
			return fmt.Errorf("the kernel does not fit: it spans %d along spatial axis %d, but bottom %s padded by %d is only %d",
				extent, i-(2-l.spatial), tensor.FormatShape(b.Shape()), l.pad[i], n+2*l.pad[i])
		}
	}
	s := conv.Shape{
		N: b.CountRange(0, l.axis), C: l.channels, H: in[0], W: in[1],
		K: l.k, R: l.kernel[0], S: l.kernel[1],
		StrideH: l.stride[0], StrideW: l.stride[1],
		PadH: l.pad[0], PadW: l.pad[1],
		DilationH: l.dilation[0], DilationW: l.dilation[1],
		Group: l.group,
	}
	l.shape, l.in, l.out, l.canFuse = s, convLayout(b), convLayout(top[0]), len(top) == 1
	if err := l.makePlan(); err != nil {
		return err
	}
	out := append([]int(nil), b.Shape()[:l.axis]...)
	out = append(out, l.k)
	out = append(out, []int{l.plan.OutH(), l.plan.OutW()}[2-l.spatial:]...)
	for _, t := range top {
		if err := reshape(t, out...); err != nil {
			return err
		}
	}
	return nil
}

func convLayout(b *tensor.Blob) conv.Layout {
	if b.Layout() == tensor.Blocked {
		return conv.Blocked
	}
	return conv.NCHW
}

// makePlan replaces the plan if it is not what is needed.
func (l *convolution) makePlan() error {
	key := planKey{l.shape, l.in, l.out, l.rectify}
	if l.plan != nil && l.planned == key {
		return nil
	}
	o := conv.Options{In: l.in, Out: l.out, ReLU: l.rectify}
	plan, err := conv.NewPlan(l.shape, o)
	if errors.Is(err, conv.ErrLayout) && l.plan != nil {
		// The algorithm that paid for the shape these layouts were chosen for
		// can do this one.
		o.Algorithm = l.plan.Algorithm(conv.Forward)
		plan, err = conv.NewPlan(l.shape, o)
	}
	if err != nil {
		return err
	}
	l.plan, l.planned = plan, key
	return nil
}

// Fit implements LayoutTaker. What conv offers for blocked layouts is worth it.
func (l *convolution) Fit(in, out tensor.Layout) Fit {
	if in == tensor.NCHW && out == tensor.NCHW {
		return Fits
	}
	if l.axis != 1 || l.spatial != 2 {
		return Unfit
	}
	layout := map[tensor.Layout]conv.Layout{tensor.NCHW: conv.NCHW, tensor.Blocked: conv.Blocked}
	if _, err := conv.NewPlan(l.shape, conv.Options{In: layout[in], Out: layout[out]}); err != nil {
		return Unfit
	}
	return Gains
}

// Describe implements Describer: the algorithms, and the work of the busiest
// thread over that of all in the mean.
func (l *convolution) Describe() string {
	var b strings.Builder
	for _, d := range []conv.Direction{conv.Forward, conv.BackwardData, conv.BackwardWeights} {
		fmt.Fprintf(&b, "%v %s (balance %.2f), ", d, l.plan.Algorithm(d), l.plan.Balance(d, par.Threads()))
	}
	fmt.Fprintf(&b, "%v to %v", l.in, l.out)
	if l.rectify {
		b.WriteString(", with ReLU")
	}
	return b.String()
}

// CanRectify implements Rectifier.
func (l *convolution) CanRectify() bool { return l.canFuse }

// SetRectify implements Rectifier.
func (l *convolution) SetRectify(on bool) { l.rectify = on }

func (l *convolution) Forward(bottom, top []*tensor.Blob) error {
	if l.plan == nil {
		return errors.New("Forward before Reshape")
	}
	if err := l.makePlan(); err != nil {
		return err
	}
	var bias []float32
	if l.bias {
		bias = l.params[1].ReadData()
	}
	if l.ctx.Phase == caffepb.Phase_TEST {
		// The weights are as they were most of the time.
		f := l.keptFilters()
		for i, b := range bottom {
			l.plan.ForwardFilters(b.ReadData(), f, bias, top[i].Data())
		}
		return nil
	}
	for i, b := range bottom {
		l.plan.Forward(b.ReadData(), l.params[0].ReadData(), bias, top[i].Data())
	}
	return nil
}

// keptFilters returns the filters transformed for the plan, anew only if they
// changed.
func (l *convolution) keptFilters() *conv.Filters {
	key := filterKey{l.plan, asm.ISA(), l.params[0].Version()}
	if l.filters == nil || l.filterOf != key {
		l.filters = l.plan.TransformFilters(l.params[0].ReadData(), l.filters)
		l.filterOf = key
	}
	return l.filters
}

func (l *convolution) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if err := l.makePlan(); err != nil {
		return err
	}
	for i, t := range top {
		dy := t.Diff()
		var y, db []float32
		if l.rectify {
			y = t.ReadData()
		}
		if l.bias && l.ParamPropagateDown(1) {
			db = l.params[1].Diff()
		}
		switch {
		case l.ParamPropagateDown(0):
			l.plan.BackwardWeights(bottom[i].ReadData(), dy, y, l.params[0].Diff(), db)
		case db != nil:
			l.plan.BackwardBias(dy, y, db)
		}
		if propagateDown[i] {
			l.plan.BackwardData(dy, y, l.params[0].ReadData(), bottom[i].Diff())
		}
	}
	return nil
}
