package layers

import (
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Concat",
		New:     newConcat,
		Bottoms: AtLeast(1),
		Tops:    Exactly(1),
	})
}

// concat puts its bottoms one after another along an axis (Caffe's
// concat_layer.cpp). Along the others they must be equally long. A single bottom
// shares values and gradients with the top. Fields of concat_param:
//
//	axis (1)    negative counts from the end
//	concat_dim  the older name of axis; not negative, and not together with it
type concat struct {
	base
	parts stack
}

func newConcat(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &concat{base: newBase(p, ctx)}
	l.warnUnused("concat_param")
	return l, nil
}

func (l *concat) Reshape(bottom, top []*tensor.Blob) error {
	if len(bottom) > 1 {
		if err := refuseInPlace(bottom, top); err != nil {
			return err
		}
	}
	p := l.p.GetConcatParam()
	if p == nil {
		p = &caffepb.ConcatParameter{}
	}
	first := bottom[0]
	axis, err := axisOrOld(first, p.Axis, "concat_dim", p.ConcatDim)
	if err != nil {
		return fmt.Errorf("concat_param: %w", err)
	}
	shape := first.Shape()
	shape[axis] = 0
	extents := make([]int, len(bottom))
	for i, b := range bottom {
		s := b.Shape()
		differ := len(s) != len(shape)
		for j := 0; j < len(s) && !differ; j++ {
			differ = j != axis && s[j] != shape[j]
		}
		if differ {
			return fmt.Errorf("bottoms must have the same shape but for axis %d: bottom 0 is %s, bottom %d is %s",
				axis, tensor.FormatShape(first.Shape()), i, tensor.FormatShape(s))
		}
		extents[i] = s[axis]
		shape[axis] += s[axis]
	}
	if err := reshape(top[0], shape...); err != nil {
		return err
	}
	l.parts.shape(top[0], axis, extents)
	if len(bottom) == 1 {
		shareWith(top[0], first)
	}
	return nil
}

// Fit implements LayoutTaker.
func (l *concat) Fit(in, out tensor.Layout) Fit { return sameLayout(in, out) }

func (l *concat) Forward(bottom, top []*tensor.Blob) error {
	if len(bottom) == 1 {
		shareWith(top[0], bottom[0])
		return nil
	}
	y := top[0].Data()
	for i, b := range bottom {
		l.parts.join(y, i, b.ReadData())
	}
	return nil
}

func (l *concat) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if len(bottom) == 1 {
		return nil // the gradient is shared
	}
	dy := top[0].Diff()
	for i, b := range bottom {
		if propagateDown[i] {
			l.parts.cut(dy, i, b.Diff())
		}
	}
	return nil
}
