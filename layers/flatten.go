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
// shares values and, after a backward pass, gradients with the bottom. Fields of
// flatten_param:
//
//	axis (1)       the first axis merged; negative counts from the end
//	end_axis (-1)  the last axis merged
type flatten struct{ base }

func newFlatten(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &flatten{newBase(p, ctx)}
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
	top[0].ShareData(b)
	return nil
}

// Forward shares again: a layer may have given the bottom other storage since.
func (l *flatten) Forward(bottom, top []*tensor.Blob) error {
	top[0].ShareData(bottom[0])
	return nil
}

// Backward makes the gradient of the top that of the bottom, too. A blob that
// the bottom shared its gradient with, as a view of it (Reshape), does not get
// it: so it is in Caffe.
func (l *flatten) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[0] {
		bottom[0].ShareDiff(top[0])
	}
	return nil
}
