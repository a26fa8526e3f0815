package layers

import (
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "LSTM",
		New:             newLSTM,
		Bottoms:         Between(2, 5),
		Tops:            Between(1, 3),
		NoForceBackward: []int{1},
	})
}

// lstm is a layer of long short-term memory (Hochreiter and Schmidhuber 1997;
// Caffe's lstm_layer.cpp). Bottoms, tops, and what goes on from one Forward to
// the next are those of recurrent. The state are the hidden state h, which is
// also the output, and the cells c; with expose_hidden, bottoms and tops have
// them in this order. The gates of a time step are i, f, o and g, one after the
// other, and lstmUnit says what they do; cont multiplies both h(t−1) and σ(f).
// The parameters are the weights W_x (4D×values), b (4D), with a static input
// W_static (4D×values), and W_h (4D×D). Fields of recurrent_param:
//
//	num_output (required)      D
//	weight_filler (constant 0), bias_filler (constant 0)
//	expose_hidden (false)
//	debug_info (false)         accepted with a warning, without effect
type lstm struct{ recurrent }

var lstmKind = recurrentKind{
	gates:    4,
	parts:    []string{"h", "c"},
	names:    [4]string{"W_xc", "b_c", "W_xc_static", "W_hc"},
	forward:  lstmForward,
	backward: lstmBackward,
}

func newLSTM(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &lstm{newRecurrent(p, ctx, &lstmKind)}
	return l.carrying(l), nil
}

// Setup reads the fields and creates the parameters.
func (l *lstm) Setup(bottom, top []*tensor.Blob) error { return l.setup(bottom, top) }

func (l *lstm) Forward(bottom, top []*tensor.Blob) error {
	l.forward(bottom, top)
	copy(top[0].Data(), l.hidden())
	return nil
}

func (l *lstm) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	l.backward(top[0].Diff(), propagateDown, bottom)
	return nil
}

func lstmForward(l *recurrent, t, n, lo, hi int) {
	h, c := l.states[0], l.states[1]
	gates := lstmGatesOf(l.act, l.size, t*l.streams+n, lo, hi)
	gates.forward(l.cont[t*l.streams+n], l.at(c, t, n, lo, hi), l.at(c, t+1, n, lo, hi), l.at(h, t+1, n, lo, hi))
	l.begin(t+1, n, lo, hi)
}

func lstmBackward(l *recurrent, t, n, lo, hi int) {
	c, row := l.states[1], t*l.streams+n
	gates, d := lstmGatesOf(l.act, l.size, row, lo, hi), lstmGatesOf(l.dact, l.size, row, lo, hi)
	later, cont := l.later(t, n, lo, hi)
	gates.backward(d, l.at(c, t, n, lo, hi), l.at(c, t+1, n, lo, hi), l.at(l.dh, t, n, lo, hi), later, cont, l.at(l.dstate, 0, n, lo, hi))
}
