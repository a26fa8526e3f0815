package layers

import (
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Parameter",
		New:     newParameter,
		Bottoms: Exactly(0),
		Tops:    Exactly(1),
	})
}

// parameter makes a parameter of the net a blob, for other layers to compute with
// (Caffe's parameter_layer.hpp). It begins as zeros. The top shares values and
// gradients with it. So the layer that reads the top overwrites the gradient of
// the parameter where other layers add to theirs: with iter_size only that of the
// last pass counts, as in Caffe. Fields of parameter_param:
//
//	shape  of the parameter; a scalar without
type parameter struct {
	base
	shape []int
}

func newParameter(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &parameter{base: newBase(p, ctx)}
	l.warnUnused("parameter_param")
	var err error
	if l.shape, err = shapeOf(p.GetParameterParam().GetShape()); err != nil {
		return nil, fmt.Errorf("parameter_param: %w", err)
	}
	if len(l.shape) > maxAxes {
		return nil, fmt.Errorf("parameter_param: shape has %d axes, more than the limit of %d", len(l.shape), maxAxes)
	}
	return l, nil
}

// Setup creates the parameter.
func (l *parameter) Setup(_, _ []*tensor.Blob) error {
	return l.makeParams(paramSpec{"parameter_param", l.shape, nil})
}

func (l *parameter) Reshape(_, top []*tensor.Blob) error {
	top[0].ReshapeLike(l.params[0])
	shareWith(top[0], l.params[0])
	return nil
}

// Forward shares again: the net may have made the layer share another's
// parameter.
func (l *parameter) Forward(_, top []*tensor.Blob) error {
	shareWith(top[0], l.params[0])
	return nil
}

// Backward has nothing to do: the gradient is shared.
func (l *parameter) Backward(_ []*tensor.Blob, _ []bool, _ []*tensor.Blob) error { return nil }
