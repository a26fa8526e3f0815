package layers

import (
	"errors"
	"fmt"

	"crema/asm"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "Embed",
		New:             newEmbed,
		Bottoms:         Exactly(1),
		Tops:            Exactly(1),
		NoForceBackward: []int{0},
	})
}

// embed looks up a learned vector for each index, 0 to input_dim−1, in its bottom
// (Caffe's embed_layer.cpp): an InnerProduct of vectors that are 1 in one place.
// Fractions are cut off. The top has the bottom's shape and one more axis. The
// parameters are the vectors, input_dim×num_output, and, with bias_term, a bias
// of num_output. Indices have no gradient. Fields of embed_param:
//
//	num_output (required)  length of a vector
//	input_dim (required)   number of vectors
//	bias_term (true)
//	weight_filler (constant 0), bias_filler (constant 0)
type embed struct {
	base
	n, k int // num_output, input_dim
	bias bool
	pick gather

	// While a pass runs.
	rows, sums []float32
	loop       spans[*embed]
}

func newEmbed(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &embed{base: newBase(p, ctx)}
	l.warnUnused("embed_param")
	ep := p.GetEmbedParam()
	var err error
	if l.n, err = positive("num_output", ep.GetNumOutput()); err != nil {
		return nil, fmt.Errorf("embed_param: %w", err)
	}
	if l.k, err = positive("input_dim", ep.GetInputDim()); err != nil {
		return nil, fmt.Errorf("embed_param: %w", err)
	}
	l.bias = ep.GetBiasTerm()
	return l, nil
}

// Setup creates the parameters.
func (l *embed) Setup(_, _ []*tensor.Blob) error {
	p := l.p.GetEmbedParam()
	specs := []paramSpec{{"weight", []int{l.k, l.n}, p.GetWeightFiller()}}
	if l.bias {
		specs = append(specs, paramSpec{"bias", []int{l.n}, p.GetBiasFiller()})
	}
	return l.makeParams(specs...)
}

func (l *embed) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	l.pick.size(bottom[0].Count())
	return reshape(top[0], append(bottom[0].Shape(), l.n)...)
}

func (l *embed) Forward(bottom, top []*tensor.Blob) error {
	if err := l.pick.read(bottom[0].ReadData(), l.k); err != nil {
		return fmt.Errorf("input_dim is %d: %w", l.k, err)
	}
	y := top[0].Data()
	l.pick.pick(l.n, l.params[0].ReadData(), y)
	if l.bias {
		l.rows = y
		l.loop.run(l, len(l.pick.rows), grainFor(l.n), (*embed).addBias)
		l.rows = nil
	}
	return nil
}

func (l *embed) addBias(lo, hi int) {
	b := l.params[1].ReadData()
	for i := lo; i < hi; i++ {
		asm.Add(b, l.rows[i*l.n:][:l.n])
	}
}

func (l *embed) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[0] {
		return errors.New("cannot propagate to indices: set propagate_down to false")
	}
	dy := top[0].Diff()
	if l.ParamPropagateDown(0) {
		l.pick.put(l.n, dy, l.params[0].Diff(), false)
	}
	if l.bias && l.ParamPropagateDown(1) {
		l.rows, l.sums = dy, l.params[1].Diff()
		l.loop.run(l, l.n, grainFor(len(l.pick.rows)), (*embed).addColumns)
		l.rows, l.sums = nil, nil
	}
	return nil
}

func (l *embed) addColumns(lo, hi int) {
	for i := range l.pick.rows {
		asm.Add(l.rows[i*l.n+lo:i*l.n+hi], l.sums[lo:hi])
	}
}
