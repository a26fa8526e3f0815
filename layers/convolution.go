package layers

import (
	"errors"
	"fmt"

	"crema/asm"
	"crema/conv"
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
// base_conv_layer.cpp, conv_layer.cpp). Bottoms are N×C×H×W, or with any other
// number of spatial axes behind the channels, all of one shape; with another
// axis everything before it counts as N. The parameters are weights of
// K×C/group×kernel and, with bias_term, a bias of K. Output sizes are rounded
// down. Fields of convolution_param:
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
type convolution struct {
	baseConvolution
	in, out  conv.Layout // of bottoms and tops
	rectify  bool        // the top is to be that of a ReLU
	canFuse  bool        // there is one top
	filters  *conv.Filters
	filterOf filterKey // what filters are for
}

// filterKey is what kept filters depend on.
type filterKey struct {
	plan    *conv.Plan
	isa     string
	weights tensor.Version
}

func newConvolution(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &convolution{baseConvolution: baseConvolution{base: newBase(p, ctx)}}
	l.warnUnused("convolution_param")
	return l, nil
}

// Reshape shapes the tops and replaces the plan if the shape or a layout
// changed.
func (l *convolution) Reshape(bottom, top []*tensor.Blob) error {
	if err := l.baseConvolution.Reshape(bottom, top); err != nil {
		return err
	}
	l.in, l.out, l.canFuse = convLayout(bottom[0]), convLayout(top[0]), len(top) == 1
	return l.replan()
}

func convLayout(b *tensor.Blob) conv.Layout {
	if b.Layout() == tensor.Blocked {
		return conv.Blocked
	}
	return conv.NCHW
}

// replan makes the plan for the present shape and layouts.
func (l *convolution) replan() error {
	return l.makePlan(conv.Options{In: l.in, Out: l.out, ReLU: l.rectify})
}

// Fit implements LayoutTaker. What conv offers for blocked layouts is worth it.
func (l *convolution) Fit(in, out tensor.Layout) Fit {
	if in == tensor.NCHW && out == tensor.NCHW {
		return Fits
	}
	if l.axis != 1 || len(l.kernel) != 2 {
		return Unfit
	}
	layout := map[tensor.Layout]conv.Layout{tensor.NCHW: conv.NCHW, tensor.Blocked: conv.Blocked}
	if _, err := conv.NewPlanND(l.shape, conv.Options{In: layout[in], Out: layout[out]}); err != nil {
		return Unfit
	}
	return Gains
}

// Describe implements Describer: the algorithms, and the work of the busiest
// thread over that of all in the mean.
func (l *convolution) Describe() string {
	s := fmt.Sprintf("%s, %v to %v", l.describe(conv.Forward, conv.BackwardData, conv.BackwardWeights), l.in, l.out)
	if l.rectify {
		s += ", with ReLU"
	}
	return s
}

// CanRectify implements Rectifier.
func (l *convolution) CanRectify() bool { return l.canFuse }

// SetRectify implements Rectifier.
func (l *convolution) SetRectify(on bool) { l.rectify = on }

func (l *convolution) Forward(bottom, top []*tensor.Blob) error {
	if l.plan == nil {
		return errors.New("Forward before Reshape")
	}
	if err := l.replan(); err != nil {
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
	if err := l.replan(); err != nil {
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
