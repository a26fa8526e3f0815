package layers

import (
	"fmt"
	"slices"
	"strings"

	"crema/gemm"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// recurrent is what LSTM and RNN have in common (Caffe's recurrent_layer.cpp,
// which makes a net of the time steps). Its bottoms are
//
//	x         T×N×…: T time steps of N independent streams
//	cont      T×N: 0 where a sequence begins, 1 where it goes on. The state
//	          before a time step is multiplied by it.
//	x_static  N×…, may be left out: input that is the same at all time steps
//	the state at the beginning, with expose_hidden: 1×N×D for each of its parts
//
// where D is num_output. The first top is T×N×D; with expose_hidden the state at
// the end follows, 1×N×D for each of its parts.
//
// Without expose_hidden the state at the end of a Forward is the one at the
// beginning of the next. It is 0 at first and after a change of N, and otherwise
// only cont begins a sequence. An exact resume restores it.
//
// Gradients stay within a Forward: none goes to the state at the beginning, and
// those of the state at the end count for nothing. Nor has cont one.
//
// With s(t) the state after time step t, the gates of a time step are
//
//	W_x·x(t) + b + W_static·x_static + W_h·(cont(t)·h(t−1))
//
// The first product is one for all time steps, and so are those for the gradients
// of the weights and of x.
type recurrent struct {
	base
	kind   *recurrentKind
	expose bool

	steps, streams, size int // T, N, D
	input, static        int // the length of x and x_static at a time step; 0 for none
	wh                   int // the index of W_h among the parameters

	states  [][]float32 // the parts before the first and after each time step: (T+1)×N×D
	carried [][]float32 // and after the last Forward: N×D
	conted  []float32   // cont(t)·h(t−1): T×N×D
	act     []float32   // what the gates get, over which forward may write: T×N×gates·D

	dact    []float32 // the gradient of what the gates get: T×N×gates·D
	dconted []float32 // of conted, at one time step: N×D
	dstate  []float32 // of the second part of the state, before or after a time step: N×D
	sums    []float32 // what is the same at all time steps: N×gates·D

	// Of the pass under way.
	cont, dh []float32
	t        int
	do       func(l *recurrent, t, n, lo, hi int)
	loop     spans[*recurrent]
	rows     rowPass
}

// A recurrentKind is what distinguishes one recurrent layer from another.
type recurrentKind struct {
	gates int      // numbers for each of the hidden state
	parts []string // of the state, the hidden one first
	// names of the parameters W_x, b, W_static, W_h.
	names [4]string
	// forward computes the state after time step t, elements lo ≤ d < hi of
	// stream n, from act, and then calls begin for the next.
	forward func(l *recurrent, t, n, lo, hi int)
	// backward computes dact there, and replaces dstate by what it is before the
	// time step.
	backward func(l *recurrent, t, n, lo, hi int)
}

func newRecurrent(p *caffepb.LayerParameter, ctx *Context, kind *recurrentKind) recurrent {
	l := recurrent{base: newBase(p, ctx), kind: kind, expose: p.GetRecurrentParam().GetExposeHidden()}
	l.warnUnused("recurrent_param")
	if p.GetRecurrentParam().GetDebugInfo() {
		ctx.Log.Warn(fmt.Sprintf("Layer %s: recurrent_param: debug_info has no effect: there is no net of time steps to tell of; set the net's debug_info", p.GetName()))
	}
	return l
}

// setup reads the fields and creates the parameters, more of them after those of
// the gates.
func (l *recurrent) setup(bottom, top []*tensor.Blob, more ...paramSpec) error {
	p := l.p.GetRecurrentParam()
	var err error
	if l.size, err = positive("num_output", p.GetNumOutput()); err != nil {
		return fmt.Errorf("recurrent_param: %w", err)
	}
	if err := l.count(len(bottom), len(top)); err != nil {
		return err
	}
	if b := bottom[0]; b.Axes() < 3 || b.CountFrom(2) == 0 {
		return fmt.Errorf("bottom 0 must be time steps × streams × values, not %s", tensor.FormatShape(b.Shape()))
	}
	l.input = bottom[0].CountFrom(2)
	if l.hasStatic(bottom) {
		if b := bottom[2]; b.Axes() < 2 || b.CountFrom(1) == 0 {
			return fmt.Errorf("bottom 2, the static input, must be streams × values, not %s", tensor.FormatShape(b.Shape()))
		}
		l.static = bottom[2].CountFrom(1)
	}
	if err := l.check(bottom); err != nil {
		return err
	}
	l.ctx.Log.Info(fmt.Sprintf("Initializing recurrent layer: assuming input batch contains %d timesteps of %d independent streams.", bottom[0].Dim(0), bottom[0].Dim(1)))
	rows, names := l.kind.gates*l.size, l.kind.names
	weight, bias := p.GetWeightFiller(), p.GetBiasFiller()
	specs := []paramSpec{{names[0], []int{rows, l.input}, weight}, {names[1], []int{rows}, bias}}
	if l.static > 0 {
		specs = append(specs, paramSpec{names[2], []int{rows, l.static}, weight})
	}
	l.wh = len(specs)
	specs = append(specs, paramSpec{names[3], []int{rows, l.size}, weight})
	specs = append(specs, more...)
	if err := l.makeParams(specs...); err != nil {
		return err
	}
	for i, s := range specs {
		l.ctx.Log.Info(fmt.Sprintf("Adding parameter %d: %s", i, s.what))
	}
	return nil
}

// count checks the numbers of bottoms and tops.
func (l *recurrent) count(bottoms, tops int) error {
	state, what := 0, "without expose_hidden"
	if l.expose {
		state, what = len(l.kind.parts), "with expose_hidden"
	}
	if bottoms != 2+state && bottoms != 3+state {
		return fmt.Errorf("takes %d bottom blobs %s (x, cont%s), or one more behind cont for a static input, not %d", 2+state, what, l.listParts("0"), bottoms)
	}
	if tops != 1+state {
		return fmt.Errorf("has %d top blob(s) %s (the output%s), not %d", 1+state, what, l.listParts("T"), tops)
	}
	return nil
}

// listParts names the parts of the state at a time, if they are exposed.
func (l *recurrent) listParts(at string) string {
	var s strings.Builder
	for _, p := range l.kind.parts {
		if l.expose {
			fmt.Fprintf(&s, ", %s_%s", p, at)
		}
	}
	return s.String()
}

func (l *recurrent) hasStatic(bottom []*tensor.Blob) bool {
	if l.expose {
		return len(bottom) > 2+len(l.kind.parts)
	}
	return len(bottom) > 2
}

// check checks the shapes of the bottoms, against each other and what the weights
// are for.
func (l *recurrent) check(bottom []*tensor.Blob) error {
	b := bottom[0]
	if b.Axes() < 3 || b.Dim(0) == 0 || b.CountFrom(2) != l.input {
		return fmt.Errorf("bottom 0 is %s, not time steps × streams × %d values", tensor.FormatShape(b.Shape()), l.input)
	}
	t, n := b.Dim(0), b.Dim(1)
	want := [][]int{b.Shape(), {t, n}}
	if l.static > 0 {
		s := bottom[2]
		if s.Axes() < 2 || s.Dim(0) != n || s.CountFrom(1) != l.static {
			return fmt.Errorf("bottom 2, the static input, is %s, not %d streams × %d values", tensor.FormatShape(s.Shape()), n, l.static)
		}
		want = append(want, s.Shape())
	}
	for len(want) < len(bottom) {
		want = append(want, []int{1, n, l.size})
	}
	for i, w := range want {
		if !bottom[i].HasShape(w...) {
			return fmt.Errorf("bottom %d is %s, not %s, for %d time steps of %d streams and num_output %d",
				i, tensor.FormatShape(bottom[i].Shape()), tensor.FormatShape(w), t, n, l.size)
		}
	}
	return nil
}

func (l *recurrent) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	if err := l.check(bottom); err != nil {
		return err
	}
	l.steps = bottom[0].Dim(0)
	if n := bottom[0].Dim(1); n != l.streams {
		l.streams, l.carried = n, nil
	}
	shape := []int{l.steps, l.streams, l.size}
	for _, t := range top {
		if err := reshape(t, shape...); err != nil {
			return err
		}
		shape = []int{1, l.streams, l.size}
	}
	if err := tensor.CheckShape([]int{l.steps + 1, l.streams, l.size, l.kind.gates}); err != nil {
		return err
	}
	part := l.streams * l.size
	if l.states == nil {
		l.states = make([][]float32, len(l.kind.parts))
	}
	for i := range l.states {
		resize(&l.states[i], (l.steps+1)*part)
	}
	if l.carried == nil {
		l.carried = make([][]float32, len(l.kind.parts))
		for i := range l.carried {
			l.carried[i] = make([]float32, part)
		}
	}
	resize(&l.conted, l.steps*part)
	resize(&l.act, l.steps*part*l.kind.gates)
	return nil
}

// resize makes *s n long, of any content.
func resize(s *[]float32, n int) {
	if cap(*s) < n {
		*s = make([]float32, n)
	}
	*s = (*s)[:n]
}

// forward computes the states at all time steps, and the tops that have the last.
func (l *recurrent) forward(bottom, top []*tensor.Blob) {
	rows, g, part := l.steps*l.streams, l.kind.gates*l.size, l.streams*l.size
	bias := l.params[1].ReadData()
	if l.static > 0 {
		resize(&l.sums, l.streams*g)
		l.rows.spread(bias, l.sums, l.streams)
		gemm.Sgemm(gemm.NoTrans, gemm.Trans, l.streams, g, l.static, 1, bottom[2].ReadData(), l.static, l.params[2].ReadData(), l.static, 1, l.sums, g)
		l.rows.spread(l.sums, l.act, l.steps)
	} else {
		l.rows.spread(bias, l.act, rows)
	}
	gemm.Sgemm(gemm.NoTrans, gemm.Trans, rows, g, l.input, 1, bottom[0].ReadData(), l.input, l.params[0].ReadData(), l.input, 1, l.act, g)

	for i, s := range l.states {
		from := l.carried[i]
		if l.expose {
			from = bottom[len(bottom)-len(l.states)+i].ReadData()
		}
		copy(s[:part], from)
	}
	l.cont = bottom[1].ReadData()
	wh := l.params[l.wh].ReadData()
	l.run(0, (*recurrent).begin)
	for t := range l.steps {
		gemm.Sgemm(gemm.NoTrans, gemm.Trans, l.streams, g, l.size, 1, l.conted[t*part:], l.size, wh, l.size, 1, l.act[t*l.streams*g:], g)
		l.run(t, l.kind.forward)
	}
	l.cont = nil
	for i, s := range l.states {
		to := l.carried[i]
		if l.expose {
			to = top[1+i].Data()
		}
		copy(to, s[l.steps*part:])
	}
}

// backward computes the gradients from dh, that of the hidden states but for what
// they do at later time steps.
func (l *recurrent) backward(dh []float32, propagateDown []bool, bottom []*tensor.Blob) {
	rows, g, part := l.steps*l.streams, l.kind.gates*l.size, l.streams*l.size
	resize(&l.dact, rows*g)
	resize(&l.dconted, part)
	resize(&l.dstate, part)
	clear(l.dstate)
	l.cont, l.dh = bottom[1].ReadData(), dh
	wh := l.params[l.wh].ReadData()
	for t := l.steps - 1; t >= 0; t-- {
		l.run(t, l.kind.backward)
		if t > 0 {
			gemm.Sgemm(gemm.NoTrans, gemm.NoTrans, l.streams, l.size, g, 1, l.dact[t*l.streams*g:], g, wh, l.size, 0, l.dconted, l.size)
		}
	}
	l.cont, l.dh = nil, nil

	if propagateDown[0] {
		gemm.Sgemm(gemm.NoTrans, gemm.NoTrans, rows, l.input, g, 1, l.dact, g, l.params[0].ReadData(), l.input, 0, bottom[0].Diff(), l.input)
	}
	if l.ParamPropagateDown(0) {
		gemm.Sgemm(gemm.Trans, gemm.NoTrans, g, l.input, rows, 1, l.dact, g, bottom[0].ReadData(), l.input, 1, l.params[0].Diff(), l.input)
	}
	if l.ParamPropagateDown(l.wh) {
		gemm.Sgemm(gemm.Trans, gemm.NoTrans, g, l.size, rows, 1, l.dact, g, l.conted, l.size, 1, l.params[l.wh].Diff(), l.size)
	}
	if l.ParamPropagateDown(1) {
		l.rows.sum(l.dact, l.params[1].Diff(), rows)
	}
	for i := 1; i < len(bottom); i++ {
		if propagateDown[i] && (i != 2 || l.static == 0) {
			clear(bottom[i].Diff())
		}
	}
	if l.static > 0 {
		l.staticBackward(propagateDown[2], bottom[2])
	}
}

func (l *recurrent) staticBackward(down bool, x *tensor.Blob) {
	g := l.kind.gates * l.size
	clear(l.sums)
	l.rows.sum(l.dact, l.sums, l.steps)
	if down {
		gemm.Sgemm(gemm.NoTrans, gemm.NoTrans, l.streams, l.static, g, 1, l.sums, g, l.params[2].ReadData(), l.static, 0, x.Diff(), l.static)
	}
	if l.ParamPropagateDown(2) {
		gemm.Sgemm(gemm.Trans, gemm.NoTrans, g, l.static, l.streams, 1, l.sums, g, x.ReadData(), l.static, 1, l.params[2].Diff(), l.static)
	}
}

// begin computes conted before time step t, elements lo ≤ d < hi of stream n; if
// there is such a time step.
func (l *recurrent) begin(t, n, lo, hi int) {
	if t == l.steps {
		return
	}
	cont := l.cont[t*l.streams+n]
	at := (t*l.streams + n) * l.size
	to := l.conted[at+lo : at+hi]
	for i, h := range l.states[0][at+lo : at+hi] {
		to[i] = cont * h
	}
}

// later returns what the gradient of the hidden state after time step t, elements
// lo ≤ d < hi of stream n, gets from the next: cont times what is returned first,
// which is nil at the end.
func (l *recurrent) later(t, n, lo, hi int) (dconted []float32, cont float32) {
	if t == l.steps-1 {
		return nil, 0
	}
	return l.dconted[n*l.size+lo : n*l.size+hi], l.cont[(t+1)*l.streams+n]
}

// at returns elements lo ≤ d < hi of stream n out of an array of such for each
// time step.
func (l *recurrent) at(s []float32, t, n, lo, hi int) []float32 {
	i := (t*l.streams + n) * l.size
	return s[i+lo : i+hi]
}

// hidden returns the hidden state after each time step, T×N×D.
func (l *recurrent) hidden() []float32 {
	part := l.streams * l.size
	return l.states[0][part : (l.steps+1)*part]
}

// stepGrain is how many elements of the state a task takes: each costs some
// exponential functions.
const stepGrain = 1 << 10

// run calls do for all elements of a time step.
func (l *recurrent) run(t int, do func(l *recurrent, t, n, lo, hi int)) {
	l.t, l.do = t, do
	l.loop.run(l, l.streams*l.size, stepGrain, (*recurrent).some)
	l.do = nil
}

func (l *recurrent) some(lo, hi int) {
	rowParts(lo, hi, l.size, func(n, from, to int) { l.do(l, l.t, n, from, to) })
}

// carrying returns l, the whole layer, as one with a state to save if it has one.
func (l *recurrent) carrying(whole Layer) Layer {
	if l.expose {
		return whole
	}
	return carryingLayer{whole, l}
}

// carryingLayer is a recurrent layer whose state goes on into the next Forward.
type carryingLayer struct {
	Layer
	r *recurrent
}

// Cursor implements Stateful.
func (l carryingLayer) Cursor() *caffepb.LayerCursor {
	name := l.r.p.GetName()
	c := &caffepb.LayerCursor{Name: &name}
	for _, s := range l.r.carried {
		c.State = append(c.State, &caffepb.BlobProto{
			Shape: &caffepb.BlobShape{Dim: []int64{1, int64(l.r.streams), int64(l.r.size)}},
			Data:  slices.Clone(s),
		})
	}
	return c
}

// SetCursor implements Stateful. A state of another shape, that of a net with
// another number of streams, counts for nothing.
func (l carryingLayer) SetCursor(c *caffepb.LayerCursor) error {
	stored, want := c.GetState(), []int{1, l.r.streams, l.r.size}
	fits := len(stored) == len(l.r.carried)
	for _, s := range stored {
		shape, err := shapeOf(s.GetShape())
		fits = fits && err == nil && slices.Equal(shape, want) && len(s.Data) == l.r.streams*l.r.size
	}
	if len(stored) > 0 && !fits {
		l.r.ctx.Log.Warn(fmt.Sprintf("Layer %s: the stored state is not one of %d streams and num_output %d: it begins at 0", l.r.p.GetName(), l.r.streams, l.r.size))
	}
	for i, to := range l.r.carried {
		clear(to)
		if fits {
			copy(to, stored[i].Data)
		}
	}
	return nil
}
