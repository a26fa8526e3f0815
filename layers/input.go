package layers

import (
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:       "Input",
		New:        newInput,
		Bottoms:    Exactly(0),
		Tops:       AtLeast(1),
		NoBackward: true,
	})
}

// input gives blobs that the program fills between passes (Caffe's
// input_layer.cpp). Fields of input_param:
//
//	shape (none)  once, once per top, or not at all: then the program shapes
//	              the tops
type input struct{ base }

func newInput(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &input{newBase(p, ctx)}
	l.warnUnused("input_param")
	return l, nil
}

// Setup shapes the tops.
func (l *input) Setup(_, top []*tensor.Blob) error {
	shapes := l.p.GetInputParam().GetShape()
	if n := len(shapes); n > 1 && n != len(top) {
		return fmt.Errorf("input_param: shape must be given once, once per top, or not at all: %d tops, %d shapes", len(top), n)
	}
	return reshapeEach("input_param", shapes, top)
}

// reshapeEach shapes every top by its own message, or all by the only one.
func reshapeEach(param string, shapes []*caffepb.BlobShape, top []*tensor.Blob) error {
	if len(shapes) == 0 {
		return nil
	}
	for i, t := range top {
		shape, err := shapeOf(shapes[min(i, len(shapes)-1)])
		if err == nil {
			err = reshape(t, shape...)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", param, err)
		}
	}
	return nil
}

func (l *input) Reshape(_, _ []*tensor.Blob) error { return nil }

func (l *input) Forward(_, _ []*tensor.Blob) error { return nil }

func (l *input) Backward(_ []*tensor.Blob, _ []bool, _ []*tensor.Blob) error { return nil }
