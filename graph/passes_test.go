package graph

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"crema/internal/race"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// off switches all passes off.
var off = Options{NoLayout: true, NoFuse: true}

// build builds the net of the given layers.
func build(t *testing.T, layers string, phase caffepb.Phase, o Options) *Net {
	t.Helper()
	np := &caffepb.NetParameter{}
	if err := prototext.Unmarshal([]byte(layers), np); err != nil {
		t.Fatal(err)
	}
	SetState(np, phase, 0, nil)
	o.Seed = 7
	n, err := New(np, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// input is a layer that makes a blob to be filled by the test.
func input(name string, shape ...int) string {
	s := "layer { type: 'Input' name: '" + name + "' top: '" + name + "' input_param { shape {"
	for _, d := range shape {
		s += fmt.Sprintf(" dim: %d", d)
	}
	return s + "} } }\n"
}

// layer is one of one bottom and one top, which has its name. Convolutions and
// inner products learn from random weights and biases.
func layer(kind, name, bottom, param string) string {
	const filler = " weight_filler { type: 'msra' } bias_filler { type: 'gaussian' std: 0.3 } "
	switch kind {
	case "Convolution":
		param = "convolution_param {" + filler + param + "}"
	case "InnerProduct":
		param = "inner_product_param {" + filler + param + "}"
	case "Pooling":
		param = "pooling_param {" + param + "}"
	}
	return "layer { type: '" + kind + "' name: '" + name + "' bottom: '" + bottom + "' top: '" + name + "' " + param + " }\n"
}

// inPlace is a layer whose top is its bottom.
func inPlace(kind, name, blob, param string) string {
	return "layer { type: '" + kind + "' name: '" + name + "' bottom: '" + blob + "' top: '" + blob + "' " + param + " }\n"
}

func conv3(name, bottom string, k int) string {
	return layer("Convolution", name, bottom, fmt.Sprintf("num_output: %d kernel_size: 3 pad: 1", k))
}

// rectified is conv3 with a ReLU.
func rectified(name, bottom string, k int) string {
	return conv3(name, bottom, k) + inPlace("ReLU", "relu_"+name, name, "")
}

func pool(name, bottom string) string {
	return layer("Pooling", name, bottom, "kernel_size: 2 stride: 2")
}

// scores ends a branch in a loss over seven classes.
func scores(name, bottom string) string {
	return layer("InnerProduct", name, bottom, "num_output: 7") +
		"layer { type: 'SoftmaxWithLoss' name: 'loss_" + name + "' bottom: '" + name + "' bottom: 'label' top: 'loss_" + name + "' }\n"
}

// normalized is a convolution with BatchNorm and Scale, which takes out what a
// bias would add.
func normalized(name, bottom string, k int) string {
	return layer("Convolution", name, bottom, fmt.Sprintf("num_output: %d kernel_size: 3 pad: 1 bias_term: false", k)) +
		inPlace("BatchNorm", "bn_"+name, name, "") + inPlace("Scale", "scale_"+name, name, "scale_param { bias_term: true }")
}

const batch = 3

func images(c, h, w int) string { return input("data", batch, c, h, w) + input("label", batch) }

// A passCase is a net and what the passes are to make of it.
type passCase struct {
	name      string
	net       string
	blocked   []string // the blobs in this layout
	reordered []string // those that some layer reads in another order
	fused     []string // the ReLU layers whose work is done by others
}

var passCases = []passCase{
	{
		name: "vgg",
		net: images(3, 24, 24) + rectified("c1", "data", 16) + rectified("c2", "c1", 32) + pool("p1", "c2") +
			rectified("c3", "p1", 32) + rectified("c4", "c3", 48) + pool("p2", "c4") + scores("ip", "p2"),
		blocked:   []string{"c1", "c2", "p1", "c3", "c4", "p2"},
		reordered: []string{"p2"},
		fused:     []string{"relu_c1", "relu_c2", "relu_c3", "relu_c4"},
	},
	{
		name: "odd sizes",
		net: images(16, 23, 19) + rectified("c1", "data", 32) + pool("p1", "c1") +
			rectified("c2", "p1", 32) + pool("p2", "c2") + scores("ip", "p2"),
		blocked:   []string{"c1", "p1", "c2", "p2"},
		reordered: []string{"p2"},
		fused:     []string{"relu_c1", "relu_c2"},
	},
	{
		// The split goes along with the convolutions; its third reader takes
		// only NCHW.
		name: "several readers",
		net: images(16, 16, 16) + rectified("c1", "data", 32) + rectified("a", "c1", 32) + conv3("b", "c1", 32) +
			scores("ip_c", "c1") + scores("ip_a", "a") + scores("ip_b", "b"),
		blocked:   []string{"c1", "c1_relu_c1_0_split_0", "c1_relu_c1_0_split_1", "c1_relu_c1_0_split_2"},
		reordered: []string{"c1_relu_c1_0_split_2"},
		fused:     []string{"relu_c1", "relu_a"},
	},
	{
		name: "not in place",
		net: images(16, 16, 16) + conv3("c1", "data", 32) + layer("ReLU", "r1", "c1", "") + conv3("c2", "r1", 32) +
			scores("ip", "c2"),
		blocked: []string{"c1", "r1"},
	},
	{
		name: "slope",
		net: images(16, 16, 16) + conv3("c1", "data", 32) + inPlace("ReLU", "r1", "c1", "relu_param { negative_slope: 0.1 }") +
			conv3("c2", "c1", 32) + scores("ip", "c2"),
		blocked: []string{"c1"},
	},
	{
		// Masks are drawn for NCHW.
		name: "dropout",
		net: images(16, 16, 16) + rectified("c1", "data", 32) + inPlace("Dropout", "d1", "c1", "") +
			rectified("c2", "c1", 32) + scores("ip", "c2"),
		fused: []string{"relu_c1", "relu_c2"},
	},
	{
		name: "inception",
		net: images(16, 16, 16) + rectified("c1", "data", 32) + rectified("a", "c1", 16) + rectified("b", "c1", 32) +
			strings.Replace(layer("Concat", "cat", "a", ""), "top:", "bottom: 'b' top:", 1) + rectified("c2", "cat", 32) + scores("ip", "c2"),
		blocked: []string{"c1", "c1_relu_c1_0_split_0", "c1_relu_c1_0_split_1", "a", "b", "cat"},
		fused:   []string{"relu_c1", "relu_a", "relu_b", "relu_c2"},
	},
	{
		name: "residual",
		net: images(16, 16, 16) + normalized("c1", "data", 32) + inPlace("ReLU", "r1", "c1", "") + normalized("c2", "c1", 32) +
			strings.Replace(layer("Eltwise", "sum", "c1", ""), "top:", "bottom: 'c2' top:", 1) + inPlace("ReLU", "rs", "sum", "") +
			normalized("c3", "sum", 32) + scores("ip", "c3"),
		blocked: []string{"c1", "c1_r1_0_split_0", "c1_r1_0_split_1", "c2", "sum"},
	},
	{
		name: "slice",
		net: images(16, 16, 16) + rectified("c1", "data", 48) +
			strings.Replace(layer("Slice", "s", "c1", "slice_param { slice_point: 16 }"), "top:", "top: 'r' top:", 1) +
			rectified("c2", "s", 32) + scores("ip_r", "r") + scores("ip", "c2"),
		blocked:   []string{"c1", "r", "s"},
		reordered: []string{"r"},
		fused:     []string{"relu_c1", "relu_c2"},
	},
	{
		name: "slice of few channels",
		net: images(16, 16, 16) + rectified("c1", "data", 48) +
			strings.Replace(layer("Slice", "s", "c1", "slice_param { slice_point: 8 }"), "top:", "top: 'r' top:", 1) +
			rectified("c2", "s", 32) + scores("ip_r", "r") + scores("ip", "c2"),
		fused: []string{"relu_c1", "relu_c2"},
	},
	{
		name:  "few channels",
		net:   images(3, 16, 16) + rectified("c1", "data", 12) + rectified("c2", "c1", 12) + scores("ip", "c2"),
		fused: []string{"relu_c1", "relu_c2"},
	},
	{
		name: "other layers",
		net: images(16, 20, 20) + rectified("c1", "data", 32) + layer("Pooling", "p1", "c1", "kernel_size: 3 stride: 2") +
			rectified("c2", "p1", 32) + layer("Convolution", "c3", "c2", "num_output: 48 kernel_size: 1") + inPlace("ReLU", "relu_c3", "c3", "") +
			layer("Pooling", "p2", "c3", "pool: AVE global_pooling: true") + scores("ip", "p2"),
		blocked:   []string{"c1", "p1", "c2", "c3", "p2"},
		reordered: []string{"p2"},
		fused:     []string{"relu_c1", "relu_c2", "relu_c3"},
	},
	{
		name: "shared parameters",
		net: images(16, 16, 16) +
			layer("Convolution", "c1", "data", "num_output: 16 kernel_size: 3 pad: 1") + inPlace("ReLU", "relu_c1", "c1", "") +
			strings.Replace(rectified("c2", "c1", 16), "top: 'c2'", "top: 'c2' param { name: 'w' } param { name: 'b' }", 1) +
			strings.Replace(rectified("c3", "c2", 16), "top: 'c3'", "top: 'c3' param { name: 'w' } param { name: 'b' }", 1) +
			scores("ip", "c3"),
		blocked: []string{"c1", "c2"},
		fused:   []string{"relu_c1", "relu_c2", "relu_c3"},
	},
	{
		// What the net gives out and what is part of the loss is NCHW.
		name: "outputs",
		net: images(16, 16, 16) + rectified("c1", "data", 32) + conv3("c2", "c1", 32) +
			strings.Replace(conv3("c3", "c2", 32), "top: 'c3'", "top: 'c3' loss_weight: 0.01", 1),
		blocked: []string{"c1", "c2"},
		fused:   []string{"relu_c1"},
	},
	{
		// No gradient reaches the first ReLU: its pass and the convolution's
		// do not belong together.
		name: "no gradient",
		net: images(16, 16, 16) + strings.Replace(conv3("c1", "data", 32), "top: 'c1'", "top: 'c1' param { lr_mult: 0 } param { lr_mult: 0 }", 1) +
			inPlace("ReLU", "r1", "c1", "") + inPlace("ReLU", "r2", "c1", "propagate_down: false") + rectified("c2", "c1", 32) + scores("ip", "c2"),
		blocked: []string{"c1"},
		fused:   []string{"r1", "relu_c2"},
	},
}

// TestPasses checks what the passes decide.
func TestPasses(t *testing.T) {
	for _, c := range passCases {
		t.Run(c.name, func(t *testing.T) {
			n := build(t, c.net, caffepb.Phase_TRAIN, Options{})
			var blocked, reordered, fused []string
			for _, name := range n.BlobNames() {
				if n.Blob(name).Layout() == tensor.Blocked {
					blocked = append(blocked, name)
				}
			}
			for _, l := range n.nodes {
				if l.added {
					reordered = append(reordered, l.BottomNames[0])
				}
				if l.idle {
					fused = append(fused, l.Name)
				}
			}
			t.Log(blocked, reordered, fused)
			if !slices.Equal(blocked, c.blocked) || !slices.Equal(reordered, c.reordered) || !slices.Equal(fused, c.fused) {
				t.Errorf("blocked %q, reordered %q, fused %q; want %q, %q, %q", blocked, reordered, fused, c.blocked, c.reordered, c.fused)
			}
		})
	}
}

// feed fills the inputs of nets with the same values.
func feed(nets ...*Net) { feedDrawn(1, nets...) }

// feedDrawn has other values for every seed.
func feedDrawn(seed uint64, nets ...*Net) {
	for _, n := range nets {
		r := rand.New(rand.NewPCG(seed, 1))
		x := n.Blob("data").Data()
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		if b := n.Blob("label"); b != nil {
			for i := range b.Data() {
				b.Data()[i] = float32(i * 3 % 7)
			}
		}
	}
}

// pass runs forward and backward, and returns the loss.
func pass(t *testing.T, n *Net) float32 {
	t.Helper()
	loss, err := n.Forward()
	if err != nil {
		t.Fatal(err)
	}
	n.ClearParamDiffs()
	if err := n.Backward(); err != nil {
		t.Fatal(err)
	}
	return loss
}

// near holds the difference to 1e-4 of the largest magnitude.
func near(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	var worst, scale float64
	for i := range want {
		worst = max(worst, math.Abs(float64(got[i])-float64(want[i])))
		scale = max(scale, math.Abs(float64(want[i])))
	}
	if !(worst <= 1e-4*scale) {
		t.Errorf("%s: off by %.2g of %.2g", what, worst, scale)
	}
}

// TestPassesAgree compares all blobs, and all gradients that both nets have,
// with and without passes.
func TestPassesAgree(t *testing.T) {
	for _, c := range passCases {
		for _, phase := range []caffepb.Phase{caffepb.Phase_TRAIN, caffepb.Phase_TEST} {
			for _, o := range []Options{{}, {NoFuse: true}, {NoLayout: true}} {
				t.Run(fmt.Sprintf("%s/%v/%v,%v", c.name, phase, o.NoFuse, o.NoLayout), func(t *testing.T) {
					got, want := build(t, c.net, phase, o), build(t, c.net, phase, off)
					feed(got, want)
					a, b := pass(t, got), pass(t, want)
					near(t, "loss", []float32{a}, []float32{b})
					changed := map[string]bool{}
					for _, f := range got.fusions {
						changed[f.node.TopNames[0]] = true
					}
					compareNets(t, got, want, changed)
					got.SetFused(false)
					a, b = pass(t, got), pass(t, want)
					near(t, "loss, unfused", []float32{a}, []float32{b})
					compareNets(t, got, want, nil)
				})
			}
		}
	}
}

// compareNets compares all blobs but the gradients of some, and the gradients of
// parameters.
func compareNets(t *testing.T, got, want *Net, noGradient map[string]bool) {
	t.Helper()
	compareBlobs(t, got, want, noGradient)
	for i, p := range want.Params() {
		near(t, fmt.Sprintf("gradient of parameter %s of %s", p.Name, p.Layer), got.Params()[i].Blob.Diff(), p.Blob.Diff())
	}
}

func compareBlobs(t testing.TB, got, want *Net, noGradient map[string]bool) {
	t.Helper()
	for _, name := range want.BlobNames() {
		near(t, name, got.Blob(name).Values(), want.Blob(name).Values())
		if want.Blob(name).HasDiff() && !noGradient[name] {
			near(t, name+" gradient", got.Blob(name).Gradients(), want.Blob(name).Gradients())
		}
	}
}

// messages is a handler that keeps what is logged.
type messages struct {
	slog.Handler
	to *[]string
}

func (messages) Enabled(context.Context, slog.Level) bool { return true }

func (m messages) Handle(_ context.Context, r slog.Record) error {
	*m.to = append(*m.to, r.Message)
	return nil
}

// TestPassesDebugInfo checks that debug_info shows what it does without
// passes: layers do their own work then.
func TestPassesDebugInfo(t *testing.T) {
	lines := func(o Options) []string {
		var l []string
		o.Log = slog.New(messages{slog.DiscardHandler, &l})
		n := build(t, passCases[0].net, caffepb.Phase_TRAIN, o)
		feed(n)
		n.SetDebugInfo(true)
		l = nil
		pass(t, n)
		return l
	}
	got, want := lines(Options{}), lines(off)
	if len(want) < 20 || len(got) != len(want) {
		t.Fatalf("%d lines, %d without passes", len(got), len(want))
	}
	for i := range want {
		var a, b float64
		g, w := strings.LastIndex(got[i], " "), strings.LastIndex(want[i], " ")
		fmt.Sscan(got[i][g:], &a)
		fmt.Sscan(want[i][w:], &b)
		if got[i][:g] != want[i][:w] && !strings.Contains(want[i], "All net params") || math.Abs(a-b) > 1e-3*math.Abs(b) {
			t.Errorf("line %q, without passes %q", got[i], want[i])
		}
	}
}

// TestPassesForceBackward: with force_backward all gradients are Caffe's.
func TestPassesForceBackward(t *testing.T) {
	net := "force_backward: true\n" + passCases[0].net
	got, want := build(t, net, caffepb.Phase_TRAIN, Options{}), build(t, net, caffepb.Phase_TRAIN, off)
	feed(got, want)
	pass(t, got)
	pass(t, want)
	compareNets(t, got, want, nil)
	if len(want.Blob("data").Gradients()) == 0 || !want.Blob("data").HasDiff() {
		t.Error("no gradient of the data")
	}
}

// TestPassesReshape changes the shape of the input of one net, also to shapes
// for which the layouts would not have been chosen.
func TestPassesReshape(t *testing.T) {
	for _, phase := range []caffepb.Phase{caffepb.Phase_TRAIN, caffepb.Phase_TEST} {
		net := input("data", 4, 3, 24, 24) + rectified("c0", "data", 16) + rectified("c1", "c0", 32) + pool("p1", "c1") + rectified("c2", "p1", 16) +
			layer("Pooling", "p2", "c2", "pool: AVE global_pooling: true")
		got, want := build(t, net, phase, Options{}), build(t, net, phase, off)
		if got.Blob("c0").Layout() != tensor.Blocked || got.Blob("c1").Layout() != tensor.Blocked {
			t.Fatal("nothing is blocked")
		}
		for _, s := range [][]int{{4, 3, 24, 24}, {1, 3, 24, 24}, {6, 3, 31, 17}, {1, 3, 4, 3}, {1, 3, 1, 1}, {2, 3, 40, 24}} {
			for _, n := range []*Net{got, want} {
				n.Blob("data").Reshape(s...)
			}
			feed(got, want)
			for _, n := range []*Net{got, want} {
				if _, err := n.Forward(); err != nil {
					t.Fatalf("%v: %v", s, err)
				}
			}
			for _, name := range []string{"c0", "c1", "p1", "c2", "p2"} {
				if !got.Blob(name).SameShape(want.Blob(name)) {
					t.Errorf("%v: %s has another shape", s, name)
				}
				near(t, fmt.Sprintf("%v: %s", s, name), got.Blob(name).Values(), want.Blob(name).Values())
			}
		}
	}
}

// TestKeptFilters changes, in all ways there are, parameters that a test net
// shares with a train net and has transformed.
func TestKeptFilters(t *testing.T) {
	net := images(16, 16, 16) + rectified("c1", "data", 32) + rectified("c2", "c1", 32) + scores("ip", "c2")
	train := build(t, net, caffepb.Phase_TRAIN, Options{})
	shared := build(t, net, caffepb.Phase_TEST, Options{ShareParams: train})
	feed(shared)
	saved := t.TempDir() + "/w.caffemodel"
	if err := train.SaveWeights(saved, false); err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T) float32 {
		t.Helper()
		fresh := build(t, net, caffepb.Phase_TEST, Options{})
		for i, l := range train.nodes {
			for j, p := range l.Layer.Params() {
				copy(fresh.nodes[i].Layer.Params()[j].Data(), p.ReadData())
			}
		}
		feed(fresh)
		var loss [2]float32
		for i, n := range []*Net{shared, fresh} {
			for range 2 { // with filters that are kept from the first
				var err error
				if loss[i], err = n.Forward(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if loss[0] != loss[1] || !slices.Equal(shared.Blob("c2").Values(), fresh.Blob("c2").Values()) {
			t.Errorf("loss %v, %v with the same weights in a new net", loss[0], loss[1])
		}
		return loss[0]
	}
	before := check(t)
	if again := check(t); again != before {
		t.Fatalf("loss %v, and %v without a change", before, again)
	}
	for _, c := range []struct {
		name   string
		change func() error
		back   bool // to the first weights
	}{
		{"a step of all parameters", func() error {
			for _, p := range train.Params() {
				for i, v := range p.Blob.Data() {
					p.Blob.Data()[i] = 0.9 * v
				}
			}
			return nil
		}, false},
		{"weights of a file", func() error { return train.LoadWeights(saved) }, true},
		{"one weight, through the test net", func() error {
			shared.node("c2").Layer.Params()[0].Data()[0] += 3
			return nil
		}, false},
		{"weights of a file, into the test net", func() error { return shared.LoadWeights(saved) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			was := check(t)
			if err := c.change(); err != nil {
				t.Fatal(err)
			}
			is := check(t)
			if is == was {
				t.Error("no effect")
			}
			if (is == before) != c.back {
				t.Errorf("loss %v, at first %v", is, before)
			}
		})
	}
}

// TestPassesRepeat runs one iteration ten times, with one and two threads: the
// bits of everything must be the same, and nothing may be allocated.
func TestPassesRepeat(t *testing.T) {
	net := input("data", batch, 3, 21, 18) + rectified("c1", "data", 16) + rectified("c2", "c1", 32) + pool("p1", "c2") +
		rectified("a", "p1", 32) + rectified("b", "p1", 16) + pool("p2", "a") + layer("Pooling", "p3", "b", "pool: AVE kernel_size: 3 stride: 2") +
		conv3("c", "p2", 16)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, o := range []Options{{}, off} {
		n := build(t, "force_backward: true\n"+net, caffepb.Phase_TRAIN, o)
		n.SetFused(!o.NoFuse)
		feed(n)
		var first map[string][]float32
		iteration := func() {
			if _, err := n.Forward(); err != nil {
				t.Fatal(err)
			}
			for _, o := range n.Outputs() {
				copy(o.Blob.Diff(), o.Blob.Data())
			}
			n.ClearParamDiffs()
			if err := n.Backward(); err != nil {
				t.Fatal(err)
			}
		}
		for run := range 10 {
			runtime.GOMAXPROCS(1 + run%2)
			iteration()
			state := map[string][]float32{}
			for _, name := range n.BlobNames() {
				state[name] = n.Blob(name).ReadData()
				state[name+" gradient"] = n.Blob(name).Diff()
			}
			for i, p := range n.Params() {
				state[fmt.Sprint("parameter gradient ", i)] = p.Blob.Diff()
			}
			if first == nil {
				first = map[string][]float32{}
				for k, v := range state {
					first[k] = slices.Clone(v)
				}
			}
			for k, v := range state {
				if !slices.Equal(v, first[k]) {
					t.Fatalf("run %d: %s differs", run, k)
				}
			}
		}
		for _, threads := range []int{1, 2} {
			if race.Enabled {
				break // the detector's own calls make memory escape
			}
			runtime.GOMAXPROCS(threads)
			outputs := n.Outputs()
			if a := testing.AllocsPerRun(10, func() {
				n.Forward()
				for _, o := range outputs {
					copy(o.Blob.Diff(), o.Blob.ReadData())
				}
				n.Backward()
			}); a > 0 {
				t.Errorf("%d threads, passes %v: %v allocations an iteration", threads, !o.NoFuse, a)
			}
		}
	}
}

// TestPassSwitches checks the environment variables.
func TestPassSwitches(t *testing.T) {
	for _, c := range []struct {
		layout, fuse string
		blocked      bool
		fused        int
		err          string
	}{
		{"", "", true, 4, ""},
		{"blocked", "on", true, 4, ""},
		{"nchw", "", false, 4, ""},
		{"", "off", true, 0, ""},
		{"chwn", "", false, 0, "CREMA_LAYOUT=chwn: must be blocked or nchw"},
		{"", "0", false, 0, "CREMA_FUSE=0: must be on or off"},
	} {
		t.Setenv(envLayout, c.layout)
		t.Setenv(envFuse, c.fuse)
		if c.err != "" {
			if _, err := New(&caffepb.NetParameter{Name: proto.String("n")}, Options{}); err == nil || err.Error() != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
			continue
		}
		n := build(t, passCases[0].net, caffepb.Phase_TRAIN, Options{})
		if got := n.Blob("c3").Layout() == tensor.Blocked; got != c.blocked || len(n.fusions) != c.fused {
			t.Errorf("layout=%q fuse=%q: blocked %v, %d fusions", c.layout, c.fuse, got, len(n.fusions))
		}
	}
}

// TestSavedNet: the file of the weights has the layers of the prototxt and no
// others.
func TestSavedNet(t *testing.T) {
	var files [2][]byte
	for i, o := range []Options{{}, off} {
		n := build(t, passCases[0].net, caffepb.Phase_TRAIN, o)
		var b strings.Builder
		if err := n.writeProto(&b, false); err != nil {
			t.Fatal(err)
		}
		files[i] = []byte(b.String())
	}
	if !slices.Equal(files[0], files[1]) {
		t.Error("the passes change what is saved")
	}
}
