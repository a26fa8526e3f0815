package layers

import (
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Silence",
		New:     newSilence,
		Bottoms: AtLeast(1),
		Tops:    Exactly(0),
	})
}

// silence consumes blobs so that they are not outputs of the net (Caffe's
// silence_layer.cpp); their gradients are zero. It has no fields.
type silence struct{ base }

func newSilence(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &silence{newBase(p, ctx)}
	l.warnUnused()
	return l, nil
}

func (l *silence) Reshape(_, _ []*tensor.Blob) error { return nil }

func (l *silence) Forward(_, _ []*tensor.Blob) error { return nil }

func (l *silence) Backward(_ []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	for i, b := range bottom {
		if propagateDown[i] {
			clear(b.Diff())
		}
	}
	return nil
}
