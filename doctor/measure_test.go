package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crema/data/synth"
	"crema/graph"
	"crema/internal/summary"
	"crema/prototxt"

	"google.golang.org/protobuf/proto"
)

// drawn makes a folder with a database of drawn digits and changes to it.
func drawn(t *testing.T, images, size int) {
	t.Helper()
	t.Chdir(t.TempDir())
	set, err := synth.NewDigits(synth.Shape{Channels: 3, Height: size, Width: size}, 7)
	if err != nil {
		t.Fatal(err)
	}
	if err := synth.Write(context.Background(), "db", set, "train", images, synth.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A netSpec describes a small net over the database db.
type netSpec struct {
	depth            int // 3×3 convolutions of 16 channels, each with a ReLU
	filler, bias     string
	classFiller      string
	transform, extra string
	batch            int
}

func (s netSpec) text() string {
	var b strings.Builder
	batch := s.batch
	if batch == 0 {
		batch = 10
	}
	bias := s.bias
	if bias == "" {
		bias = `type: "constant"`
	}
	last := s.classFiller
	if last == "" {
		last = `type: "xavier"`
	}
	fmt.Fprintf(&b, `name: "small"
layer { name: "images" type: "Data" top: "x0" top: "label" data_param { source: "db" backend: LMDB batch_size: %d } transform_param { %s } }
`, batch, s.transform)
	for i := range s.depth {
		stride := 1
		if i == 0 {
			stride = 2
		}
		fmt.Fprintf(&b, `layer { name: "c%d" type: "Convolution" bottom: "x%d" top: "x%d" convolution_param { num_output: 16 kernel_size: 3 pad: 1 stride: %d weight_filler { %s } bias_filler { %s } } }
layer { name: "r%d" type: "ReLU" bottom: "x%d" top: "x%d" }
`, i+1, i, i+1, stride, s.filler, bias, i+1, i+1, i+1)
	}
	fmt.Fprintf(&b, `%s
layer { name: "class" type: "InnerProduct" bottom: "x%d" top: "class" inner_product_param { num_output: 10 weight_filler { %s } bias_filler { %s } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "class" bottom: "label" top: "loss" }
`, s.extra, s.depth, last, bias)
	return b.String()
}

const smallSolver = `net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 max_iter: 100 display: 0 snapshot_prefix: "s"`

// caseOf opens a case of the net and the solver's text.
func caseOf(t *testing.T, s netSpec, solver string, sets ...string) *Case {
	t.Helper()
	write(t, "net.prototxt", s.text())
	write(t, "solver.prototxt", solver)
	o, err := prototxt.ParseOverrides(sets)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(Inputs{Solver: "solver.prototxt", Sets: o})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func rulesOf(fs []Finding) string {
	var s []string
	for _, f := range fs {
		s = append(s, f.Rule)
	}
	return strings.Join(s, " ")
}

const scaled = `scale: 0.00390625 mean_value: 120`

// TestDiagnoses injects faults into a net and checks that each is named, and
// that a net without a fault is not accused.
func TestDiagnoses(t *testing.T) {
	drawn(t, 40, 20)
	for _, c := range []struct {
		name   string
		net    netSpec
		solver string
		want   string // a rule; "" for none but notes
		layer  string
	}{
		{"healthy", netSpec{depth: 4, filler: `type: "msra"`, transform: scaled}, smallSolver, "", ""},
		{"healthy and deep", netSpec{depth: 12, filler: `type: "msra"`, transform: scaled}, strings.Replace(smallSolver, "0.01", "0.0003", 1), "", ""},
		{"vanishing", netSpec{depth: 12, filler: `type: "gaussian" std: 0.04`, bias: `type: "constant" value: 0.01`, transform: scaled}, smallSolver, "measured-dead-signal", "class"},
		{"vanishing without biases", netSpec{depth: 12, filler: `type: "gaussian" std: 0.04`, transform: scaled}, smallSolver, "measured-vanishing-signal", "c3"},
		{"exploding", netSpec{depth: 8, filler: `type: "gaussian" std: 0.4`, transform: scaled}, smallSolver, "measured-exploding-signal", "c4"},
		{"infinite", netSpec{depth: 4, filler: `type: "gaussian" std: 1e15`, transform: scaled}, smallSolver, "measured-non-finite", "c3"},
		{"dead units", netSpec{depth: 3, filler: `type: "xavier"`, bias: `type: "constant" value: -9`, transform: scaled}, smallSolver, "measured-dead-units", "r1"},
		{"rate too large", netSpec{depth: 4, filler: `type: "msra"`, transform: scaled}, strings.Replace(smallSolver, "0.01", "30", 1), "measured-update-too-large", ""},
		{"rate too small", netSpec{depth: 4, filler: `type: "msra"`, transform: scaled}, strings.Replace(smallSolver, "0.01", "1e-12", 1), "measured-update-too-small", ""},
		{"scores too large", netSpec{depth: 3, filler: `type: "msra"`, classFiller: `type: "gaussian" std: 0.8`, transform: scaled}, strings.Replace(smallSolver, "0.01", "1e-5", 1), "measured-loss-above-chance", "loss"},
		{"loss at its floor", netSpec{depth: 3, filler: `type: "msra"`, classFiller: `type: "gaussian" std: 900`, transform: scaled}, strings.Replace(smallSolver, "0.01", "1e-5", 1), "measured-loss-floor", "loss"},
		{"no input", netSpec{depth: 3, filler: `type: "msra"`, transform: `scale: 0`}, smallSolver, "measured-constant-input", "images"},
		{"mean of another range", netSpec{depth: 3, filler: `type: "msra"`, transform: `scale: 0.00390625 mean_value: 0.47`}, smallSolver, "measured-mean-left", "images"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := caseOf(t, c.net, c.solver).Measure(MeasureOptions{Batches: 2})
			if err != nil {
				t.Fatal(err)
			}
			fs := m.Findings()
			found := false
			for _, f := range fs {
				if c.want == "" && f.Severity > Note {
					t.Errorf("false alarm: %s: %s", f.Rule, f.What)
				}
				if f.Rule == c.want && (c.layer == "" || f.Layer == c.layer) {
					found = true
				}
				if f.Rule == c.want && f.Layer != c.layer && c.layer != "" {
					t.Errorf("%s names layer %q, want %q", f.Rule, f.Layer, c.layer)
				}
			}
			if c.want != "" && !found {
				t.Errorf("found %s, want %s", rulesOf(fs), c.want)
			}
			if t.Failed() {
				var b strings.Builder
				m.WriteText(&b)
				t.Log(b.String())
			}
		})
	}
}

// TestVanishingFactor checks the fitted factor against theory: behind a ReLU,
// fan-in × std² / 2 of the mean square arrives.
func TestVanishingFactor(t *testing.T) {
	drawn(t, 40, 20)
	const std = 0.06
	m, err := caseOf(t, netSpec{depth: 14, filler: fmt.Sprintf(`type: "gaussian" std: %g`, std), transform: scaled}, smallSolver).Measure(MeasureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Padding lets part of the edges' inputs be zero: 10×10 images have 28²
	// of 30² taps inside along both axes together.
	inside := math.Pow(28./30, 2)
	want := math.Sqrt(16 * 9 * inside * std * std / 2)
	var rms []float64
	m.points(func(l, shown *Layer) { rms = append(rms, shown.Output.RMS) })
	got := math.Pow(rms[13]/rms[1], 1./12)
	if got < 0.85*want || got > 1.15*want {
		t.Errorf("the activations change by %.3f a layer, want about %.3f", got, want)
	}
	if f := m.Signal.Factor; f < 0.8*want || f > 1.1*want {
		t.Errorf("the signal changes by %.3f a layer, want about %.3f", f, want)
	}
	if m.Signal.From != "c1" || m.Signal.To != "class" || m.Signal.Layers != 15 {
		t.Errorf("trend over %d layers from %s to %s", m.Signal.Layers, m.Signal.From, m.Signal.To)
	}
}

// TestMeasured checks figures against a net that was run by hand.
func TestMeasured(t *testing.T) {
	drawn(t, 40, 20)
	c := caseOf(t, netSpec{depth: 2, filler: `type: "msra"`, transform: scaled}, smallSolver, "random_seed=3")
	m, err := c.Measure(MeasureOptions{Batches: 1})
	if err != nil {
		t.Fatal(err)
	}
	net, err := graph.New(trainState(c.Train.Param), graph.Options{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	loss, err := net.Forward()
	if err != nil {
		t.Fatal(err)
	}
	net.ClearParamDiffs()
	if err := net.Backward(); err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-4*math.Abs(want) {
			t.Errorf("%s is %g, want %g", what, got, want)
		}
	}
	near("loss", float64(m.Losses[0].Value), float64(loss))
	near("chance", m.Losses[0].Chance, math.Log(10))
	near("output of x2", find(t, m, "r2").Output.RMS, summary.Of(net.Blob("x2").Values(), 0).RMS)
	p := find(t, m, "c2").Params[0]
	w, g := net.Params()[2].Blob.Data(), net.Params()[2].Blob.Diff()
	near("weights of c2", p.Weights.RMS, summary.Of(w, 0).RMS)
	near("gradient of c2", p.Gradient.RMS, summary.Of(g, 0).RMS)
	near("update of c2", float64(p.Update), 0.01*summary.Of(g, 0).RMS/summary.Of(w, 0).RMS)
	if m.Images != 10 || m.Rate != Number(float32(0.01)) {
		t.Errorf("%d images at rate %g", m.Images, float64(m.Rate))
	}
	in := m.Inputs[0]
	near("stored mean", (in.Before.Mean-120)/256, in.After.Mean)
	if in.Before.Min < 0 || in.Before.Max > 255 || in.Before.Max < 200 || len(in.Before.Channels) != 3 || len(in.First.Channels) != 16 || in.FirstLayer != "c1" {
		t.Errorf("input %+v", in.Before.Summary)
	}
	if in.First.Negative < 0.2 || find(t, m, "r1").Output.Negative != 0 {
		t.Error("the first layer's output is not that before its ReLU")
	}
	if o := in.Order; o == nil || o.Difference > 1e-6 || o.DividedRMS < in.After.RMS {
		t.Errorf("order of mean and scale: %+v", in.Order)
	}
}

func find(t *testing.T, m *Measurement, name string) *Layer {
	t.Helper()
	for i := range m.Layers {
		if m.Layers[i].Name == name {
			return &m.Layers[i]
		}
	}
	t.Fatalf("no layer %s", name)
	return nil
}

// TestDropoutIsNoSignal checks that dropout does not make a dead net look
// alive.
func TestDropoutIsNoSignal(t *testing.T) {
	drawn(t, 40, 20)
	m, err := caseOf(t, netSpec{depth: 10, filler: `type: "gaussian" std: 0.04`, bias: `type: "constant" value: 0.01`, transform: scaled,
		extra: `layer { name: "drop" type: "Dropout" bottom: "x10" top: "x10" dropout_param { dropout_ratio: 0.5 } }`}, smallSolver).Measure(MeasureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s := m.Losses[0].Share; s > 0.01 {
		t.Errorf("%.3g of the output depends on the image", float64(s))
	}
	if find(t, m, "drop").Output.Zero < 0.4 {
		t.Error("dropout did not run")
	}
}

// TestMeasureResumed looks at a run through its snapshot.
func TestMeasureResumed(t *testing.T) {
	drawn(t, 40, 20)
	c := caseOf(t, netSpec{depth: 2, filler: `type: "constant"`, transform: scaled}, smallSolver+" weight_decay: 0")
	sv := newSolver(t, c)
	if err := sv.Step(5); err != nil {
		t.Fatal(err)
	}
	if err := sv.Snapshot(); err != nil {
		t.Fatal(err)
	}
	c, err := Open(Inputs{Solver: "solver.prototxt", Snapshot: "s_iter_5.solverstate"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Measure(MeasureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Iter != 5 || !m.Trained {
		t.Errorf("iteration %d, trained: %v", m.Iter, m.Trained)
	}
	if !strings.Contains(rulesOf(m.Findings()), "measured-dead-signal") {
		t.Errorf("found %s", rulesOf(m.Findings()))
	}
}

// TestMeasurementJSON checks names that scripts rely on, and that what is not
// finite does not break the document.
func TestMeasurementJSON(t *testing.T) {
	drawn(t, 20, 20)
	m, err := caseOf(t, netSpec{depth: 4, filler: `type: "gaussian" std: 1e15`, transform: scaled}, smallSolver).Measure(MeasureOptions{Batches: 1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"net", "batches", "images", "rate", "inputs", "layers", "losses", "signal", "gradient", "non_finite"} {
		if back[k] == nil {
			t.Errorf("no %q", k)
		}
	}
	layer := back["layers"].([]any)[0].(map[string]any)
	for _, k := range []string{"name", "type", "output", "gradient", "dead", "across_images", "image_share", "params", "shown"} {
		if _, ok := layer[k]; !ok {
			t.Errorf("no %q in a layer", k)
		}
	}
}

func TestMerge(t *testing.T) {
	nan := float32(math.NaN())
	a, b := []float32{1, -2, 0, nan}, []float32{5, 0, -1}
	got := summary.Summary{}
	merge(&got, summary.Of(a, 0))
	merge(&got, summary.Of(b, 0))
	want := summary.Of(append(a, b...), 0)
	if math.Abs(got.RMS-want.RMS) > 1e-12 || math.Abs(got.Mean-want.Mean) > 1e-12 || math.Abs(got.Zero-want.Zero) > 1e-12 || got.Count != want.Count || got.NaN != 1 || got.Min != -2 || got.Max != 5 {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestMeasurementText(t *testing.T) {
	drawn(t, 20, 20)
	m, err := caseOf(t, netSpec{depth: 2, filler: `type: "msra"`, transform: scaled}, smallSolver).Measure(MeasureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := m.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`Measured "small" on 20 images (2 batches)`, "guessing gives ln 10", "c1 (ReLU)", "class", "as stored", "after mean and scale", "update/weight", "█"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	path := filepath.Join(t.TempDir(), "m.svg")
	if err := m.Chart().Save(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !strings.Contains(string(b), ">class<") {
		t.Errorf("no layer's name in the chart (%v)", err)
	}
}

// TestHealthyMeasured measures nets that are known to learn and wants no false
// alarm.
func TestHealthyMeasured(t *testing.T) {
	small, lenet := quickstartPatient(t, ""), lenetPatient(t)
	cifar := func(words string) *patient {
		return parse(t, small.world, small.shape, build(small.heads(cifarMean, 100, 200), words), cifarSolver)
	}
	for _, c := range []struct {
		name string
		p    *patient
		sets []string
	}{
		{"quickstart", small, nil},
		{"quickstart, linear", quickstartPatient(t, "linear_"), nil},
		{"quickstart, xavier", small, []string{"layer.*@Convolution.convolution_param.weight_filler.type=xavier"}},
		{"lenet", lenet, nil},
		{"lenet, Adam", lenet, []string{"type=Adam", "base_lr=0.001", "momentum2=0.999", "lr_policy=fixed"}},
		{"lenet, Nesterov", lenet, []string{"type=Nesterov"}},
		{"lenet, AdaGrad", lenet, []string{"type=AdaGrad", "momentum=0", "lr_policy=fixed"}},
		{"cifar, quick", cifar("conv,32,5,1,2,gaussian:0.0001,0 max,3,2 relu conv,32,5,1,2,gaussian:0.01,0 relu ave,3,2 " +
			"conv,64,5,1,2,gaussian:0.01,0 relu ave,3,2 ip,64,gaussian:0.1,0 ip,10,gaussian:0.1,0 loss"), nil},
		{"vgg, msra", deepPatient(t), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := c.p.caseWith(t, c.sets...).Measure(MeasureOptions{Batches: 1})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range m.Findings() {
				if f.Severity > Note {
					t.Errorf("false alarm: %s: %s", f.Rule, f.What)
				}
			}
			if t.Failed() {
				var b strings.Builder
				m.WriteText(&b)
				t.Log(b.String())
			}
		})
	}
}

// caseWith opens the patient's case with values of --set.
func (p *patient) caseWith(t *testing.T, sets ...string) *Case {
	t.Helper()
	dir := t.TempDir()
	net, sol := filepath.Join(dir, "net.prototxt"), filepath.Join(dir, "solver.prototxt")
	sp := proto.CloneOf(p.solver)
	sp.Net = proto.String(net)
	write(t, net, string(prototxt.MarshalText(p.net)))
	write(t, sol, string(prototxt.MarshalText(sp)))
	o, err := prototxt.ParseOverrides(sets)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(Inputs{Solver: sol, Sets: o})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestParameterIsNoInput: a Parameter has no bottoms, but is no data, and begins
// as zeros.
func TestParameterIsNoInput(t *testing.T) {
	drawn(t, 20, 20)
	text := netSpec{depth: 1, filler: `type: "msra"`, transform: scaled}.text()
	text = strings.Replace(text, `layer { name: "images"`, `layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 1 dim: 10 } } }
layer { name: "t" type: "Tile" bottom: "p" top: "t" tile_param { axis: 0 tiles: 10 } }
layer { name: "images"`, 1)
	text = strings.Replace(text, `layer { name: "loss"`, `layer { name: "sum" type: "Eltwise" bottom: "class" bottom: "t" top: "sum" }
layer { name: "loss"`, 1)
	text = strings.Replace(text, `bottom: "class" bottom: "label"`, `bottom: "sum" bottom: "label"`, 1)
	write(t, "net.prototxt", text)
	write(t, "solver.prototxt", smallSolver)
	c, err := Open(Inputs{Solver: "solver.prototxt"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Measure(MeasureOptions{Batches: 2})
	if err != nil {
		t.Fatal(err)
	}
	if m.Images != 20 || len(m.Inputs) != 1 || m.Inputs[0].Layer != "images" {
		t.Errorf("%d images, %d inputs, the first %q", m.Images, len(m.Inputs), m.Inputs[0].Layer)
	}
	if got := rulesOf(m.Findings()); strings.Contains(got, "constant-input") {
		t.Errorf("findings %s", got)
	}
}
