package layers

import (
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Flatten",
		New:     newFlatten,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// flatten merges consecutive axes into one (Caffe's flatten_layer.cpp). The top
// shares values and gradients with the bottom. Fields of flatten_param:
//
//	axis (1)       the first axis merged; negative counts from the end
//	end_axis (-1)  the last axis merged
type flatten struct{ view }

func newFlatten(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &flatten{view{newBase(p, ctx)}}
	l.warnUnused("flatten_param")
	return l, nil
}

func (l *flatten) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	b, p := bottom[0], l.p.GetFlattenParam()
	start, err := b.Axis(int(p.GetAxis()))
	if err != nil {
		return fmt.Errorf("flatten_param: axis: %w", err)
	}
	end, err := b.Axis(int(p.GetEndAxis()))
	if err != nil {
		return fmt.Errorf("flatten_param: end_axis: %w", err)
	}
	if end < start {
		return fmt.Errorf("flatten_param: end_axis %d comes before axis %d", p.GetEndAxis(), p.GetAxis())
	}
	shape := append([]int(nil), b.Shape()[:start]...)
	shape = append(shape, b.CountRange(start, end+1))
	shape = append(shape, b.Shape()[end+1:]...)
	top[0].Reshape(shape...)
	shareWith(top[0], b)
	return nil
}
