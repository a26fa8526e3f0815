package doctor

import (
	"math"
	"slices"
	"strings"
	"testing"

	"crema/graph"
	"crema/internal/pytest"
)

// features learns from vectors that an HDF5 file holds.
var features = healthyNet{"features", both(`layer { name: "in" type: "HDF5Data" top: "x" top: "label" include { phase: PHASE } hdf5_data_param { source: "DIR/SET.txt" batch_size: 20 } }

`) + `layer { name: "h" type: "InnerProduct" bottom: "x" top: "h" inner_product_param { num_output: 30 weight_filler { type: "msra" } } }

` + relu("h") + `layer { name: "class" type: "InnerProduct" bottom: "h" top: "class" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }

` + ends, healthySolver, func(t *testing.T, w world) { w.vectors(t, 1, 0) }}

// vectors stores 100 vectors for both phases, each times a factor and moved by
// an offset.
func (w world) vectors(t *testing.T, factor, offset float32) {
	var x, label []float32
	for i := range 100 {
		for j := range 12 {
			x = append(x, factor*float32(math.Sin(float64(7*i*j+i)))+offset)
		}
		label = append(label, float32(i%4))
	}
	for _, set := range []string{"train", "test"} {
		w.tables(t, set, map[string][]float32{"x": x, "label": label}, 100)
	}
}

// measured measures a net with the data of its own.
func (h healthyNet) measured(t *testing.T, sets ...string) *Measurement {
	t.Helper()
	m, err := h.patient(t).caseWith(t, sets...).Measure(MeasureOptions{Batches: 2})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// measuredFaults are faults that show when a net runs.
var measuredFaults = []layerFault{
	{"always a beginning", language, "measured-cont", nil, nil, func(t *testing.T, w world) {
		w.sentences(t, "train", func(_, _ int) float32 { return 0 })
	}},
	{"never a beginning", language, "measured-cont", nil, nil, func(t *testing.T, w world) {
		w.sentences(t, "train", func(_, _ int) float32 { return 1 })
	}},
	{"fading", language, "measured-cont", nil, nil, func(t *testing.T, w world) {
		w.sentences(t, "train", func(step, _ int) float32 { return float32(step%6) / 5 })
	}},
	{"streams before time steps", language, "measured-cont", nil, nil, func(t *testing.T, w world) {
		w.sentences(t, "train", func(_, stream int) float32 { return float32(min(stream, 1)) })
	}},
	{"a memory at its limits", language, "measured-saturated-units", nil, []string{`num_output: 14 `, `num_output: 14 bias_filler { value: 50 } `}, func(t *testing.T, w world) {
		w.sentences(t, "train", func(step, _ int) float32 { return float32(min(step, 1)) }) // all gates open: the cells count time steps
	}},
	{"sigmoids at their limits", autoencoder, "measured-saturated-units", []string{"measured-dead-signal"}, []string{`num_output: 100 weight_filler { type: "xavier" }`, `num_output: 100 weight_filler { type: "gaussian" std: 100 }`}, nil},
	{"targets of 0 to 255", autoencoder, "measured-targets", []string{"measured-saturated-units", "measured-update-too-large"}, []string{`scale: 0.00390625`, ``}, nil},
	{"classes in place of pairs", siamese, "measured-targets", nil, nil, func(t *testing.T, w world) {
		removeAll(t, w, "siamese")
		w.pairs(t, "train_lmdb", func(_, label int) int { return label })
	}},
	{"pairs of one kind", siamese, "measured-targets", nil, nil, func(t *testing.T, w world) {
		removeAll(t, w, "siamese")
		w.pairs(t, "train_lmdb", func(_, _ int) int { return 1 })
	}},
	{"nothing but the border", segmentation, "measured-all-ignored", nil, nil, func(t *testing.T, w world) {
		removeAll(t, w, "segmentation")
		w.areas(t, "labels_train_lmdb", 100, func(_, _, _ int) byte { return 255 })
	}},
	{"next to nothing but the border", segmentation, "measured-all-ignored", nil, nil, func(t *testing.T, w world) {
		removeAll(t, w, "segmentation")
		w.areas(t, "labels_train_lmdb", 100, func(_, y, x int) byte {
			if x == 3 && y == 3 {
				return 1
			}
			return 255
		})
	}},
	{"a branch that is not heard", residual, "measured-branch-lost", nil, []string{`top: "b" }`, `top: "b" eltwise_param { coeff: 1 coeff: 0.0005 } }`}, nil},
	{"responses of nothing", residual, "measured-lrn-idle", nil, []string{`layer { name: "pool"`, `layer { name: "n" type: "LRN" bottom: "b" top: "n" } layer { name: "pool"`, `bottom: "b" top: "pool"`, `bottom: "n" top: "pool"`,
		`layer { name: "n" type: "LRN" bottom: "b" top: "n" }`, `layer { name: "n" type: "LRN" bottom: "b" top: "n" lrn_param { alpha: 0.0001 } }`}, nil},
	{"responses of everything", residual, "measured-lrn-swamps", []string{"measured-dead-signal"}, []string{`layer { name: "pool"`, `layer { name: "n" type: "LRN" bottom: "b" top: "n" lrn_param { alpha: 1000 } } layer { name: "pool"`, `bottom: "b" top: "pool"`, `bottom: "n" top: "pool"`}, nil},
	{"a matrix of nothing", residual, "measured-infogain-matrix", nil, []string{`layer { name: "loss" type: "SoftmaxWithLoss" bottom: "class" bottom: "label"`,
		`layer { name: "H" type: "DummyData" top: "H" dummy_data_param { shape { dim: 1 dim: 1 dim: 10 dim: 10 } } } layer { name: "loss" type: "InfogainLoss" bottom: "class" bottom: "label" bottom: "H"`}, nil},
	{"vectors far too large", features, "measured-input-range", []string{"measured-loss-above-chance", "measured-loss-floor", "measured-exploding-signal", "measured-update-too-large"}, nil, func(t *testing.T, w world) { w.vectors(t, 1e5, 0) }},
	{"vectors far too small", features, "measured-input-range", []string{"measured-dead-signal"}, nil, func(t *testing.T, w world) { w.vectors(t, 1e-5, 0) }},
	{"vectors on one side", features, "measured-input-range", []string{"measured-update-too-large", "measured-loss-above-chance", "measured-dead-signal", "measured-dead-units"}, nil, func(t *testing.T, w world) { w.vectors(t, 1, 30) }},
}

// TestMeasuredLayerFaults wants each fault found by its rule, at the right layer,
// and nothing made of it that does not follow.
func TestMeasuredLayerFaults(t *testing.T) {
	at := map[string]string{"measured-cont": "lstm", "measured-targets": "loss", "measured-all-ignored": "loss", "measured-branch-lost": "b", "measured-lrn-idle": "n",
		"measured-lrn-swamps": "n", "measured-infogain-matrix": "loss", "measured-input-range": "in"}
	for _, f := range measuredFaults {
		t.Run(f.net.name+"/"+f.name, func(t *testing.T) {
			h := f.edited(t)
			if f.store != nil {
				store := h.store
				h.store = func(t *testing.T, w world) { store(t, w); f.store(t, w) }
			}
			m := h.measured(t)
			fs := m.Findings()
			if !has(fs, f.rule) {
				t.Errorf("not found: %s", f.rule)
			}
			for _, g := range fs {
				if g.Rule == f.rule && at[g.Rule] != "" && g.Layer != at[g.Rule] {
					t.Errorf("%s is at %q", g.Rule, g.Layer)
				}
				if g.Severity > Note && g.Rule != f.rule && !slices.Contains(f.follow, g.Rule) {
					t.Errorf("also found: %s", g.Rule)
				}
			}
			if t.Failed() {
				var b strings.Builder
				m.WriteText(&b)
				t.Log(text(fs), b.String())
			}
		})
	}
}

// TestDepth: layers beside each other are as deep as each other, whether they
// meet in a sum or side by side, and a factor is one of a layer to the next.
func TestDepth(t *testing.T) {
	m := residual.measured(t)
	for name, want := range map[string]int{"c1": 1, "a1": 2, "a2": 3, "a": 3, "s": 4, "b1": 4, "b2": 5, "b": 5, "class": 6} {
		if l := find(t, m, name); l.Depth != want {
			t.Errorf("%s has depth %d, want %d", name, l.Depth, want)
		}
	}
	if m.Signal.Layers != 6 || m.Signal.From != "c1" || m.Signal.To != "class" {
		t.Errorf("signal over %d layers from %s to %s", m.Signal.Layers, m.Signal.From, m.Signal.To)
	}
	side := strings.Replace(residual.net, `type: "Eltwise" bottom: "s" bottom: "b2"`, `type: "Concat" bottom: "s" bottom: "b2"`, 1)
	m = healthyNet{net: side, solver: residual.solver, store: residual.store}.measured(t)
	if l := find(t, m, "class"); l.Depth != 6 {
		t.Errorf("behind a Concat, class has depth %d", l.Depth)
	}
	// Two chains of three and one layer of halved signal: the mean factor of a
	// layer is that of the chains.
	m = &Measurement{}
	for _, l := range []struct {
		name   string
		depth  int
		across Number
	}{{"a", 1, 8}, {"b", 2, 4}, {"c", 3, 2}, {"x", 1, 8}, {"y", 2, 4}, {"z", 3, 2}, {"end", 4, 1}} {
		m.Layers = append(m.Layers, Layer{Name: l.name, Depth: l.depth, Across: l.across, Shown: len(m.Layers), Linear: len(m.Layers)})
	}
	if f := m.trend(func(_, shown *Layer) float64 { return float64(shown.Across) }); math.Abs(f.Factor-0.5) > 1e-9 || f.Layers != 4 || f.From != "a" || f.To != "end" {
		t.Errorf("trend %+v", f)
	}
}

// TestThroughBatchNorm: signal and gradient behind BatchNorm do not depend on the
// size of the weights before it, and its statistics are no weights.
func TestThroughBatchNorm(t *testing.T) {
	plain := residual.measured(t, "random_seed=1")
	scaled := healthyNet{net: strings.Replace(residual.net, `top: "a1" convolution_param { weight_filler { type: "msra" }`, `top: "a1" convolution_param { weight_filler { type: "gaussian" std: 10 }`, 1),
		solver: residual.solver, store: residual.store}.measured(t, "random_seed=1")
	near := func(what string, a, b, within float64) {
		t.Helper()
		if !(math.Abs(a/b-1) < within) {
			t.Errorf("%s: %g and %g", what, a, b)
		}
	}
	a, b := find(t, plain, "a1"), find(t, scaled, "a1")
	if a.Gradient.RMS < 20*b.Gradient.RMS {
		t.Errorf("the gradient before BatchNorm went from %g to %g with weights 60 times as large", a.Gradient.RMS, b.Gradient.RMS)
	}
	// Other random weights of the same kind: near, not equal.
	near("gradient behind BatchNorm", plain.gradient(a), scaled.gradient(b), 0.5)
	near("signal", float64(plain.Layers[a.Shown].Across), float64(scaled.Layers[b.Shown].Across), 0.3)
	if shown := plain.Layers[a.Shown]; shown.Name != "a1_relu" {
		t.Errorf("a1 is shown by %q", shown.Name)
	}
	if l := plain.Layers[a.Linear]; l.Name != "a1_scale" {
		t.Errorf("its nonlinearity reads %q", l.Name)
	}
	if l := find(t, plain, "a1_bn"); len(l.Params) != 0 {
		t.Errorf("BatchNorm has learnable parameters: %+v", l.Params)
	}
	if l := find(t, plain, "a1_scale"); len(l.Params) != 2 || l.Params[0].Weight || !(l.Params[0].Update > 0) {
		t.Errorf("Scale has parameters %+v", l.Params)
	}
}

// TestSequences: the samples of recurrent layers are time steps of streams.
func TestSequences(t *testing.T) {
	p := language.patient(t)
	c := p.caseWith(t, "random_seed=3")
	m, err := c.Measure(MeasureOptions{Batches: 1})
	if err != nil {
		t.Fatal(err)
	}
	if m.Images != 24 || m.Unit != "time step" || len(m.Inputs) != 0 {
		t.Errorf("%d samples (%s), %d inputs", m.Images, m.Unit, len(m.Inputs))
	}
	net, err := graph.New(trainState(c.Train.Param), graph.Options{Seed: 3, Dir: c.Train.dir()})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	if _, err := net.Forward(); err != nil {
		t.Fatal(err)
	}
	v := net.Blob("lstm").Values()
	const rows, size = 24, 14
	var variance float64
	for d := range size {
		var sum, square float64
		for r := range rows {
			x := float64(v[r*size+d])
			sum += x
			square += x * x
		}
		variance += (square - sum*sum/rows) / (rows - 1) / size
	}
	if got, want := float64(find(t, m, "lstm").Across), math.Sqrt(variance); math.Abs(got/want-1) > 1e-4 {
		t.Errorf("across time steps %g, want %g", got, want)
	}
	k := find(t, m, "lstm").Marks
	if k == nil || k.Steps != 6 || k.Streams != 4 || math.Abs(k.Zero-1./6) > 1e-9 || k.FirstStep != 1 || math.Abs(k.FirstStream-1./6) > 1e-9 {
		t.Errorf("marks %+v", k)
	}
}

// TestSureOutputs: outputs of trained nets may be at their limits, hidden units
// not.
func TestSureOutputs(t *testing.T) {
	m := &Measurement{Trained: true, Images: 20, Layers: []Layer{{Name: "out", Type: "Sigmoid", Saturated: 0.95, Last: true, Shown: -1}}}
	if fs := m.findUnits(); len(fs) != 0 {
		t.Errorf("found %s", rulesOf(fs))
	}
	for _, l := range []Layer{{Saturated: 0.95}, {Saturated: 0.95, Last: true}} {
		m := &Measurement{Trained: !l.Last, Images: 20, Layers: []Layer{l}}
		if fs := m.findUnits(); rulesOf(fs) != "measured-saturated-units" {
			t.Errorf("%+v: found %s", l, rulesOf(fs))
		}
	}
}

// TestLossTerms: how many losses of single labels a loss is the sum of.
func TestLossTerms(t *testing.T) {
	for _, c := range []struct {
		param string
		want  float64
	}{
		{"", 1}, {"normalize: true", 1}, {"normalization: VALID", 1},
		{"normalize: false", 32 * 30}, {"normalization: BATCH_SIZE", 32 * 30}, {"normalization: FULL", 30. / 32}, {"normalization: NONE", 20 * 32 * 30},
	} {
		h := healthyNet{net: strings.Replace(segmentation.net, "loss_param { ignore_label: 255 }", "loss_param { ignore_label: 255 "+c.param+" }", 1), solver: segmentation.solver, store: segmentation.store}
		m := h.measured(t)
		if l := m.Losses[0]; math.Abs(l.Terms/c.want-1) > 1e-9 || math.Abs(float64(l.Value)/l.Chance-1) > 1e-4 {
			t.Errorf("%q: %g terms, want %g; the loss of equal scores is %g, chance %g", c.param, l.Terms, c.want, float64(l.Value), l.Chance)
		}
	}
}

// TestPythonData measures a net whose data a Python layer makes: what its
// program alone knows is not judged from the files, and seen when it runs.
func TestPythonData(t *testing.T) {
	pytest.Need(t)
	t.Chdir(t.TempDir())
	write(t, "batches.py", `import caffe, numpy
class Batches(caffe.Layer):
    def setup(self, bottom, top):
        self.random = numpy.random.RandomState(0)
    def reshape(self, bottom, top):
        top[0].reshape(16, 1, 12, 12)
        top[1].reshape(16)
    def forward(self, bottom, top):
        label = self.random.randint(0, 4, 16)
        top[0].data[...] = float(self.param_str) * (self.random.randn(16, 1, 12, 12) + label.reshape(16, 1, 1, 1) - 1.5)
        top[1].data[...] = label
    def backward(self, *args):
        pass
`)
	net := `layer { name: "in" type: "Python" top: "data" top: "label" python_param { module: "batches" layer: "Batches" param_str: "SCALE" } }
` + conv("c", "data", "num_output: 8 kernel_size: 3") + relu("c") + `layer { name: "class" type: "InnerProduct" bottom: "c" top: "class" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "class" bottom: "label" top: "loss" }
`
	write(t, "solver.prototxt", smallSolver)
	for _, c := range []struct{ scale, want string }{{"1", ""}, {"1e-6", "measured-input-range measured-dead-signal measured-update-too-small"}} {
		write(t, "net.prototxt", strings.Replace(net, "SCALE", c.scale, 1))
		k, err := Open(Inputs{Solver: "solver.prototxt"})
		if err != nil {
			t.Fatal(err)
		}
		quiet(t, k.Check(t.Context()))
		m, err := k.Measure(MeasureOptions{Batches: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range m.Findings() {
			if f.Severity > Note && !strings.Contains(c.want, f.Rule) {
				t.Errorf("scale %s: %s: %s", c.scale, f.Rule, f.What)
			}
		}
		if c.want != "" && !has(m.Findings(), "measured-input-range") {
			t.Errorf("scale %s: found %s", c.scale, rulesOf(m.Findings()))
		}
		if m.Images != 32 || len(m.Inputs) != 1 || m.Inputs[0].Blob != "data" || m.Inputs[0].FirstLayer != "c" {
			t.Errorf("%d images, inputs %+v", m.Images, m.Inputs)
		}
	}
}

// TestNormalisedUpdates: steps of weights before BatchNorm count less, but those
// of a rate far too large are found.
func TestNormalisedUpdates(t *testing.T) {
	for _, c := range []struct{ rate, want string }{{"0.2", ""}, {"20", "measured-update-too-large"}} {
		m := residual.measured(t, "base_lr="+c.rate)
		if got := rulesOf(m.findUpdates()); got != c.want {
			t.Errorf("rate %s: found %q, want %q", c.rate, got, c.want)
		}
	}
	if l := find(t, residual.measured(t), "class"); l.Normalised {
		t.Error("no BatchNorm follows the classifier")
	}
}
