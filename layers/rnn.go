package layers

import (
	"fmt"

	"crema/asm"
	"crema/gemm"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "RNN",
		New:             newRNN,
		Bottoms:         Between(2, 4),
		Tops:            Between(1, 2),
		NoForceBackward: []int{1},
	})
}

// rnn is a simple recurrent layer (Caffe's rnn_layer.cpp):
//
//	h(t) = tanh(W_x·x(t) + b + W_static·x_static + W_h·(cont(t)·h(t−1)))
//	o(t) = tanh(W_o·h(t) + b_o)
//
// Bottoms, tops, and what goes on from one Forward to the next are those of
// recurrent. The state is h, the output o. The parameters are W_x (D×values),
// b (D), with a static input W_static (D×values), W_h (D×D), W_o (D×D) and b_o
// (D). Fields of recurrent_param:
//
//	num_output (required)      D, of h and o
//	weight_filler (constant 0), bias_filler (constant 0)
//	expose_hidden (false)
//	debug_info (false)         accepted with a warning, without effect
type rnn struct {
	recurrent
	o, do, dhidden []float32 // T×N×D

	// Of the pass under way: of the top.
	y, dy []float32
	loop  spans[*rnn]
}

var rnnKind = recurrentKind{
	gates:    1,
	parts:    []string{"h"},
	names:    [4]string{"W_xh", "b_h", "W_xh_static", "W_hh"},
	forward:  rnnForward,
	backward: rnnBackward,
}

func newRNN(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &rnn{recurrent: newRecurrent(p, ctx, &rnnKind)}
	return l.carrying(l), nil
}

// Setup reads the fields and creates the parameters.
func (l *rnn) Setup(bottom, top []*tensor.Blob) error {
	p := l.p.GetRecurrentParam()
	d, err := positive("num_output", p.GetNumOutput())
	if err != nil {
		return fmt.Errorf("recurrent_param: %w", err)
	}
	return l.setup(bottom, top, paramSpec{"W_ho", []int{d, d}, p.GetWeightFiller()}, paramSpec{"b_o", []int{d}, p.GetBiasFiller()})
}

func (l *rnn) Forward(bottom, top []*tensor.Blob) error {
	l.forward(bottom, top)
	rows, d := l.steps*l.streams, l.size
	resize(&l.o, rows*d)
	l.rows.spread(l.params[l.wh+2].ReadData(), l.o, rows)
	gemm.Sgemm(gemm.NoTrans, gemm.Trans, rows, d, d, 1, l.hidden(), d, l.params[l.wh+1].ReadData(), d, 1, l.o, d)
	l.y = top[0].Data()
	l.loop.run(l, len(l.o), stepGrain, (*rnn).output)
	l.y = nil
	return nil
}

func (l *rnn) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	rows, d, wo := l.steps*l.streams, l.size, l.wh+1
	resize(&l.do, rows*d)
	resize(&l.dhidden, rows*d)
	l.dy = top[0].Diff()
	l.loop.run(l, len(l.o), elemGrain, (*rnn).outputBackward)
	l.dy = nil
	if l.ParamPropagateDown(wo) {
		gemm.Sgemm(gemm.Trans, gemm.NoTrans, d, d, rows, 1, l.do, d, l.hidden(), d, 1, l.params[wo].Diff(), d)
	}
	if l.ParamPropagateDown(wo + 1) {
		l.rows.sum(l.do, l.params[wo+1].Diff(), rows)
	}
	gemm.Sgemm(gemm.NoTrans, gemm.NoTrans, rows, d, d, 1, l.do, d, l.params[wo].ReadData(), d, 0, l.dhidden, d)
	l.backward(l.dhidden, propagateDown, bottom)
	return nil
}

func (l *rnn) output(lo, hi int) {
	asm.Tanh(l.o[lo:hi], l.o[lo:hi])
	copy(l.y[lo:hi], l.o[lo:hi])
}

func (l *rnn) outputBackward(lo, hi int) { tanhBackward(nil, l.o[lo:hi], l.dy[lo:hi], l.do[lo:hi]) }

func rnnForward(l *recurrent, t, n, lo, hi int) {
	asm.Tanh(l.at(l.act, t, n, lo, hi), l.at(l.states[0], t+1, n, lo, hi))
	l.begin(t+1, n, lo, hi)
}

func rnnBackward(l *recurrent, t, n, lo, hi int) {
	h, dh, d := l.at(l.states[0], t+1, n, lo, hi), l.at(l.dh, t, n, lo, hi), l.at(l.dact, t, n, lo, hi)
	copy(d, dh)
	if later, cont := l.later(t, n, lo, hi); later != nil {
		for i, v := range later {
			d[i] += float32(cont * v)
		}
	}
	tanhBackward(nil, h, d, d)
}
