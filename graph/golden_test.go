package graph_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crema/graph"
	"crema/layers"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

const goldenLayers = "../testdata/golden/layers"

// longSums are the layer types whose outputs are sums of many products: they
// are held to 1e-4 of a blob's largest magnitude, all others to 1e-5.
var longSums = []string{"Convolution", "InnerProduct"}

// notYet are Caffe's layer types that crema does not have; a case that needs
// one is skipped. An entry that has become known fails the test, so that the
// list shrinks.
var notYet = []string{
	"AbsVal", "ArgMax", "BNLL", "BatchNorm", "Bias", "Clip", "Concat", "ContrastiveLoss", "Crop", "Deconvolution",
	"ELU", "Eltwise", "Exp", "HingeLoss", "LRN", "Log", "MVN", "MultinomialLogisticLoss", "PReLU", "Power",
	"Reduction", "Reshape", "Scale", "Sigmoid", "SigmoidCrossEntropyLoss", "Slice", "Swish", "TanH", "Tile",
}

// TestGoldenLayers runs the nets that real Caffe ran and compares every blob,
// gradient and parameter gradient with what it recorded.
func TestGoldenLayers(t *testing.T) {
	skip := map[string]bool{}
	for _, name := range notYet {
		if _, err := layers.Lookup(name); err == nil {
			t.Errorf("layer type %s exists now: take it off the list", name)
		}
		skip[name] = true
	}
	cases, err := filepath.Glob(filepath.Join(goldenLayers, "*", "net.prototxt"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no golden cases in %s (%v)", goldenLayers, err)
	}
	ran := 0
	for _, file := range cases {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			np, err := prototxt.ReadNet(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range np.Layer {
				if skip[l.GetType()] {
					t.Skipf("layer type %s is not there yet", l.GetType())
				}
			}
			ran++
			goldenCase(t, dir, np, graph.Options{})
			goldenCase(t, dir, np, graph.Options{NoLayout: true, NoFuse: true})
		})
	}
	if ran < 35 {
		t.Errorf("only %d cases ran", ran)
	}
}

func goldenCase(t *testing.T, dir string, np *caffepb.NetParameter, o graph.Options) {
	phase := caffepb.Phase_TRAIN
	if strings.HasPrefix(filepath.Base(dir), "accuracy") {
		phase = caffepb.Phase_TEST
	}
	graph.SetState(np, phase, 0, nil)
	net, err := graph.New(np, o)
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	if w := filepath.Join(dir, "weights.caffemodel"); exists(w) {
		if err := net.LoadWeights(w); err != nil {
			t.Fatal(err)
		}
	}
	in, _ := filepath.Glob(filepath.Join(dir, "in", "*.binaryproto"))
	for _, f := range in {
		b := readBlob(t, f)
		dst := net.Blob(stem(f))
		if dst == nil {
			t.Fatalf("no blob %s", stem(f))
		}
		dst.ReshapeLike(b)
		copy(dst.Data(), b.Data())
	}
	if _, err := net.Forward(); err != nil {
		t.Fatal(err)
	}
	backward := np.GetForceBackward()
	if backward {
		net.ClearParamDiffs()
		if err := net.Backward(); err != nil {
			t.Fatal(err)
		}
	}
	tol := 1e-5
	for _, l := range np.Layer {
		for _, s := range longSums {
			if l.GetType() == s {
				tol = 1e-4
			}
		}
	}
	out, _ := filepath.Glob(filepath.Join(dir, "out", "*.binaryproto"))
	if len(out) == 0 {
		t.Fatal("the case has no outputs")
	}
	for _, f := range out {
		got := net.Blob(stem(f))
		if got == nil {
			t.Errorf("no blob %s", stem(f))
			continue
		}
		compare(t, stem(f), got, readBlob(t, f), backward && !strings.Contains(f, "_split_"), tol)
	}
	par, _ := filepath.Glob(filepath.Join(dir, "par", "*.binaryproto"))
	params := map[string]*tensor.Blob{}
	for _, l := range net.Layers() {
		for i, p := range l.Layer.Params() {
			params[l.Name+"_"+string(rune('0'+i))] = p
		}
	}
	for _, f := range par {
		if params[stem(f)] == nil {
			t.Errorf("no parameter %s", stem(f))
			continue
		}
		compare(t, "parameter "+stem(f), params[stem(f)], readBlob(t, f), backward, tol)
	}
}

// compare holds data and, where both are wanted and recorded, diff to tol
// times the largest magnitude of the recorded one.
func compare(t *testing.T, name string, got, want *tensor.Blob, diff bool, tol float64) {
	t.Helper()
	if !got.SameShape(want) {
		t.Errorf("%s: shape %s, want %s", name, tensor.FormatShape(got.Shape()), tensor.FormatShape(want.Shape()))
		return
	}
	if e := relError(got.Values(), want.Data()); !(e <= tol) {
		t.Errorf("%s: data off by %.2g, allowed %.2g", name, e, tol)
	}
	if diff && want.HasDiff() {
		if e := relError(got.Gradients(), want.Diff()); !(e <= tol) {
			t.Errorf("%s: diff off by %.2g, allowed %.2g", name, e, tol)
		}
	}
}

// relError is the largest difference over the largest magnitude of want.
func relError(got, want []float32) float64 {
	var worst, scale float64
	for i := range want {
		worst = math.Max(worst, math.Abs(float64(got[i])-float64(want[i])))
		scale = math.Max(scale, math.Abs(float64(want[i])))
	}
	if worst == 0 {
		return 0
	}
	return worst / scale
}

func readBlob(t *testing.T, path string) *tensor.Blob {
	t.Helper()
	b, err := graph.ReadBlobFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func stem(path string) string { return strings.TrimSuffix(filepath.Base(path), ".binaryproto") }
