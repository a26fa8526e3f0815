package layers

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/internal/kerneltest"
	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

const (
	recurrentFiller = ` weight_filler { type: "gaussian" std: 0.4 } bias_filler { type: "gaussian" std: 0.4 }`
	recurrentSize   = 3 // num_output
)

// recurrentKinds are the layer types and how many parts their state has.
var recurrentKinds = []struct {
	name  string
	parts int
}{{"LSTM", 2}, {"RNN", 1}}

func recurrentText(name, param string) string {
	return fmt.Sprintf(`type: %q recurrent_param { num_output: %d %s %s }`, name, recurrentSize, recurrentFiller, param)
}

// conts makes a blob of zeros and ones.
func conts(steps, streams int, v ...float32) *tensor.Blob { return blobOf(shape(steps, streams), v...) }

// going is cont for streams that all go on.
func going(steps, streams int) *tensor.Blob { return ones(steps, streams) }

// naiveRecurrent is the definition, in float64: the outputs and the state at the
// end, for state at the beginning, of which there is one slice for each part.
func naiveRecurrent(name string, params []*tensor.Blob, x, cont, static *tensor.Blob, state [][]float32) (y []float32, end [][]float32) {
	const d = recurrentSize
	sigmoid := func(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
	wx, b := params[0], params[1]
	wh := params[2]
	if static != nil {
		wh = params[3]
	}
	steps, streams := x.Dim(0), x.Dim(1)
	for p := range state {
		end = append(end, clone(state[p]))
	}
	dot := func(w *tensor.Blob, r int, v []float32) (s float64) {
		for i, x := range v {
			s += float64(w.Data()[r*len(v)+i]) * float64(x)
		}
		return s
	}
	for t := range steps {
		for n := range streams {
			k := x.CountFrom(2)
			in := x.Data()[(t*streams+n)*k:][:k]
			c := cont.Data()[t*streams+n]
			before := make([]float32, d)
			for i := range before {
				before[i] = c * end[0][n*d+i]
			}
			gate := func(r int) float64 {
				s := float64(b.Data()[r]) + dot(wx, r, in) + dot(wh, r, before)
				if static != nil {
					s += dot(params[2], r, static.Data()[n*static.CountFrom(1):][:static.CountFrom(1)])
				}
				return s
			}
			h := end[0][n*d:][:d]
			if name == "LSTM" {
				for i := range h {
					cell := float64(c)*sigmoid(gate(d+i))*float64(end[1][n*d+i]) + sigmoid(gate(i))*math.Tanh(gate(3*d+i))
					end[1][n*d+i] = float32(cell)
					h[i] = float32(sigmoid(gate(2*d+i)) * math.Tanh(cell))
				}
				y = append(y, h...)
				continue
			}
			for i := range h {
				h[i] = float32(math.Tanh(gate(i)))
			}
			out := params[len(params)-2:]
			for i := range h {
				y = append(y, float32(math.Tanh(float64(out[1].Data()[i])+dot(out[0], i, h))))
			}
		}
	}
	return y, end
}

// TestRecurrent compares with the definition: fractions and zeros for cont, a
// static input or none, the state given or 0, bottoms of three and more axes.
func TestRecurrent(t *testing.T) {
	const steps, streams = 4, 2
	cont := conts(steps, streams, 0, 1, 1, 0.5, 1, 0, 0.25, 1)
	for _, kind := range recurrentKinds {
		for _, expose := range []bool{false, true} {
			for _, static := range []bool{false, true} {
				for _, in := range [][]int{{steps, streams, 4}, {steps, streams, 2, 1, 2}} {
					x := randomBlob(1, in...)
					bottom := blobs(x, cont)
					var s *tensor.Blob
					if static {
						s = randomBlob(2, streams, 2, 3)
						bottom = append(bottom, s)
					}
					param, tops := "", 1
					state := make([][]float32, kind.parts)
					for i := range state {
						state[i] = make([]float32, streams*recurrentSize)
						if expose {
							b := randomBlob(uint64(3+i), 1, streams, recurrentSize)
							bottom, state[i] = append(bottom, b), b.Data()
						}
					}
					if expose {
						param, tops = "expose_hidden: true", 1+kind.parts
					}
					what := fmt.Sprintf("%s of %v, expose %v, static %v", kind.name, in, expose, static)
					l, top := newLayer(t, testContext(train), recurrentText(kind.name, param), bottom, tops)
					forward(t, l, bottom, top)
					y, end := naiveRecurrent(kind.name, l.Params(), x, cont, s, state)
					wantShape(t, what, top[0], steps, streams, recurrentSize)
					near(t, what, 1e-5, top[0].Data(), y...)
					for i := range tops - 1 {
						wantShape(t, what, top[1+i], 1, streams, recurrentSize)
						near(t, fmt.Sprint(what, ": state at the end, part ", i), 1e-5, top[1+i].Data(), end[i]...)
					}
				}
			}
		}
	}
}

func TestRecurrentParams(t *testing.T) {
	x, cont, static := randomBlob(1, 4, 2, 5, 2), going(4, 2), randomBlob(2, 2, 7)
	const d = recurrentSize
	for _, c := range []struct {
		name   string
		bottom []*tensor.Blob
		want   [][]int
	}{
		{"LSTM", blobs(x, cont), [][]int{{4 * d, 10}, {4 * d}, {4 * d, d}}},
		{"LSTM", blobs(x, cont, static), [][]int{{4 * d, 10}, {4 * d}, {4 * d, 7}, {4 * d, d}}},
		{"RNN", blobs(x, cont), [][]int{{d, 10}, {d}, {d, d}, {d, d}, {d}}},
		{"RNN", blobs(x, cont, static), [][]int{{d, 10}, {d}, {d, 7}, {d, d}, {d, d}, {d}}},
	} {
		l, _ := newLayer(t, testContext(train), recurrentText(c.name, ""), c.bottom, 1)
		if len(l.Params()) != len(c.want) {
			t.Fatalf("%s: %d parameters, want %d", c.name, len(l.Params()), len(c.want))
		}
		for i, p := range l.Params() {
			wantShape(t, fmt.Sprint(c.name, " parameter ", i), p, c.want[i]...)
		}
	}
}

func TestRecurrentGradient(t *testing.T) {
	const steps, streams = 3, 2
	cont := conts(steps, streams, 0, 1, 1, 0, 1, 1)
	for _, kind := range recurrentKinds {
		for _, c := range []struct {
			name, param    string
			static, expose bool
		}{
			{"plain", "", false, false},
			{"static", "", true, false},
			{"exposed", "expose_hidden: true", false, true},
			{"static and exposed", "expose_hidden: true", true, true},
		} {
			t.Run(kind.name+" "+c.name, func(t *testing.T) {
				bottom, g, tops := blobs(randomBlob(1, steps, streams, 4), cont), gradCheck{skipBottom: []int{1}}, 1
				if c.static {
					bottom = append(bottom, randomBlob(2, streams, 3))
				}
				if c.expose {
					for i := range kind.parts {
						g.skipBottom = append(g.skipBottom, len(bottom))
						g.skipTop = append(g.skipTop, 1+i)
						bottom = append(bottom, randomBlob(uint64(3+i), 1, streams, recurrentSize))
					}
					tops += kind.parts
				}
				l, top := newLayer(t, testContext(train), recurrentText(kind.name, c.param), bottom, tops)
				if !c.expose {
					// From a state other than 0.
					forward(t, l, bottom, top)
				}
				g.run(t, l, bottom, top)
			})
		}
	}
}

// Backward computes only what is wanted, and does not look at the top's values.
func TestRecurrentPropagateDown(t *testing.T) {
	for _, kind := range recurrentKinds {
		bottom := blobs(randomBlob(1, 3, 2, 4), going(3, 2), randomBlob(2, 2, 5))
		l, top := newLayer(t, testContext(train), recurrentText(kind.name, ""), bottom, 1)
		forward(t, l, bottom, top)
		copy(top[0].Diff(), randomBlob(3, top[0].Shape()...).Data())
		for i := range l.Params() {
			l.SetParamPropagateDown(i, false)
		}
		if err := l.Backward(top, []bool{false, false, false}, bottom); err != nil {
			t.Fatal(err)
		}
		for i, b := range append(bottom[:3:3], l.Params()...) {
			if b.HasDiff() {
				t.Errorf("%s: blob %d got a gradient", kind.name, i)
			}
		}
		all := func() (g [][]float32) {
			for _, p := range l.Params() {
				clear(p.Diff())
			}
			backward(t, l, bottom, top)
			for _, b := range append(bottom[:3:3], l.Params()...) {
				g = append(g, clone(b.Diff()))
			}
			return g
		}
		for i := range l.Params() {
			l.SetParamPropagateDown(i, true)
		}
		want := all()
		clear(top[0].Data())
		for i, g := range all() {
			equal(t, fmt.Sprint(kind.name, ": gradient ", i, " after the top changed"), g, want[i]...)
			if i != 1 && g[0] == 0 {
				t.Errorf("%s: blob %d got no gradient", kind.name, i)
			}
		}
	}
}

func TestRecurrentPasses(t *testing.T) {
	const steps, streams = 3, 40
	for _, kind := range recurrentKinds {
		for _, static := range []bool{false, true} {
			for _, expose := range []bool{false, true} {
				cont := going(steps, streams)
				for i := range cont.Count() {
					cont.Data()[i] = float32(i % 3 / 2)
				}
				bottom, tops := blobs(randomBlob(1, steps, streams, 20), cont), 1
				if static {
					bottom = append(bottom, randomBlob(2, streams, 9))
				}
				for i := range kind.parts {
					if expose {
						bottom = append(bottom, randomBlob(uint64(3+i), 1, streams, 70))
						tops++
					}
				}
				checkPasses(t, fmt.Sprintf(`type: %q recurrent_param { num_output: 70 expose_hidden: %v %s }`, kind.name, expose, recurrentFiller), bottom, tops)
			}
		}
	}
}

// A net without streams is one without work.
func TestRecurrentNoStreams(t *testing.T) {
	for _, kind := range recurrentKinds {
		l, top := newLayer(t, testContext(train), recurrentText(kind.name, ""), blobs(tensor.New(3, 2, 4), going(3, 2)), 1)
		bottom := blobs(tensor.New(3, 0, 4), tensor.New(3, 0))
		if err := l.Reshape(bottom, top); err != nil {
			t.Fatal(err)
		}
		forward(t, l, bottom, top)
		backward(t, l, bottom, top)
		if c := l.(Stateful).Cursor(); len(c.State[0].Data) != 0 {
			t.Errorf("%s: a state of %v", kind.name, c.State[0])
		}
	}
}

func TestRecurrentErrors(t *testing.T) {
	x, cont := tensor.New(4, 2, 5), tensor.New(4, 2)
	state := tensor.New(1, 2, 3)
	for _, kind := range recurrentKinds {
		n := kind.parts
		text := func(param string) string { return fmt.Sprintf(`type: %q recurrent_param { %s }`, kind.name, param) }
		const ok, exposed = "num_output: 3", "num_output: 3 expose_hidden: true"
		states := func(first ...*tensor.Blob) []*tensor.Blob {
			for range n {
				first = append(first, state)
			}
			return first
		}
		wrong := states(x, cont)
		wrong[2] = tensor.New(1, 2, 4)
		for _, c := range []struct {
			param  string
			bottom []*tensor.Blob
			tops   int
			want   string
		}{
			{"", blobs(x, cont), 1, "recurrent_param: num_output must be between 1"},
			{ok, blobs(x), 1, "takes at least 2 bottom"},
			{ok, blobs(x, cont, tensor.New(2, 1), tensor.New(2, 1)), 1, "takes 2 bottom blobs without expose_hidden (x, cont), or one more"},
			{ok, blobs(x, cont), 2, "has 1 top blob(s) without expose_hidden (the output), not 2"},
			{exposed, blobs(x, cont), 1 + n, fmt.Sprintf("takes %d bottom blobs with expose_hidden (x, cont, h_0", 2+n)},
			{exposed, states(x, cont), 1, fmt.Sprintf("has %d top blob(s) with expose_hidden (the output, h_T", 1+n)},
			{exposed, wrong, 1 + n, "bottom 2 is 1×2×4, not 1×2×3"},
			{exposed, states(x, cont, tensor.New(3, 4)), 1 + n, "static input, is 3×4, not 2 streams"},
			{ok, blobs(tensor.New(4, 2), cont), 1, "time steps × streams × values, not 4×2"},
			{ok, blobs(tensor.New(4, 2, 0), cont), 1, "time steps × streams × values, not 4×2×0"},
			{ok, blobs(tensor.New(0, 2, 5), tensor.New(0, 2)), 1, "bottom 0 is 0×2×5"},
			{ok, blobs(x, tensor.New(2, 4)), 1, "bottom 1 is 2×4, not 4×2"},
			{ok, blobs(x, tensor.New(4, 2, 1)), 1, "bottom 1 is 4×2×1, not 4×2"},
			{ok, blobs(x, cont, tensor.New(2)), 1, "static input, must be streams × values, not 2"},
			{"num_output: 2000000000", blobs(x, cont), 1, "shape"},
			{ok + ` weight_filler { type: "who" }`, blobs(x, cont), 1, "unknown filler"},
			{ok + ` bias_filler { type: "bilinear" }`, blobs(x, cont), 1, "b_"},
		} {
			wantError(t, train, text(c.param), c.bottom, c.tops, c.want)
		}
		l, top := newLayer(t, testContext(train), text(ok), blobs(x, cont), 1)
		for _, b := range [][]*tensor.Blob{{tensor.New(4, 2, 6), cont}, {tensor.New(4, 3, 5), cont}, {tensor.New(4, 2), cont}, {x, tensor.New(3, 2)}} {
			if err := l.Reshape(b, top); err == nil {
				t.Errorf("%s: bottoms of shapes %v and %v were accepted", kind.name, b[0].Shape(), b[1].Shape())
			}
		}
		if err := l.Reshape(blobs(x, cont), blobs(x)); err == nil {
			t.Errorf("%s: in-place computation was accepted", kind.name)
		}
	}
}

// What has no effect is said.
func TestRecurrentDebugInfo(t *testing.T) {
	var log bytes.Buffer
	ctx := testContext(train)
	ctx.Log = slog.New(slog.NewTextHandler(&log, nil))
	newLayer(t, ctx, recurrentText("LSTM", "debug_info: true"), blobs(tensor.New(4, 2, 5), going(4, 2)), 1)
	if !strings.Contains(log.String(), "debug_info has no effect") {
		t.Errorf("log: %s", log.String())
	}
}

// BenchmarkLSTM has a character model's layer, one of few streams, and one of a
// single stream.
func BenchmarkLSTM(b *testing.B) {
	for _, c := range []struct{ steps, streams, input, size int }{{50, 64, 256, 512}, {50, 8, 256, 512}, {100, 1, 128, 256}} {
		x, cont := tensor.New(c.steps, c.streams, c.input), going(c.steps, c.streams)
		for i := range x.Data() {
			x.Data()[i] = float32(i*7919%1000)/500 - 1
		}
		p := &caffepb.LayerParameter{RecurrentParam: &caffepb.RecurrentParameter{
			NumOutput: proto.Uint32(uint32(c.size)), WeightFiller: &caffepb.FillerParameter{Type: proto.String("xavier")}}}
		l, err := newLSTM(p, testContext(train))
		if err != nil {
			b.Fatal(err)
		}
		bottom, top := blobs(x, cont), blobs(tensor.New())
		if err := errors.Join(l.Setup(bottom, top), l.Reshape(bottom, top)); err != nil {
			b.Fatal(err)
		}
		flops := 2 * 4 * float64(c.size) * float64(c.input+c.size) * float64(c.steps*c.streams)
		name := fmt.Sprintf("T%d_N%d_K%d_D%d/", c.steps, c.streams, c.input, c.size)
		b.Run(name+"forward", func(b *testing.B) {
			for b.Loop() {
				if err := l.Forward(bottom, top); err != nil {
					b.Fatal(err)
				}
			}
			kerneltest.ReportFlops(b, flops, par.Threads())
		})
		b.Run(name+"backward", func(b *testing.B) {
			for b.Loop() {
				if err := l.Backward(top, []bool{true, false}, bottom); err != nil {
					b.Fatal(err)
				}
			}
			kerneltest.ReportFlops(b, 2*flops, par.Threads())
		})
	}
}
