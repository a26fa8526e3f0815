package graph_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"crema/graph"
	"crema/hdf5"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

const goldenLayers = "../testdata/golden/layers"

// longSums are the layer types whose outputs are sums of many products, or pass
// through a division by what is nearly zero: they are held to 1e-4 of a blob's
// largest magnitude, all others to 1e-5.
var longSums = []string{"Convolution", "InnerProduct"}

// goldenCase is the case.json of a case: how it was recorded.
type goldenCase struct {
	Phase    string            // TRAIN unless given
	Backward *bool             // as force_backward unless given
	Forwards int               // passes, 1 unless given
	Tol      float64           // of the case, if larger
	Files    map[string]string // written by the net → expected
}

// TestGoldenLayers runs the nets that real Caffe ran and compares every blob,
// gradient and parameter gradient, and every file they write, with what it
// recorded. Each runs in a copy of its folder.
func TestGoldenLayers(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join(goldenLayers, "*", "net.prototxt"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no golden cases in %s (%v)", goldenLayers, err)
	}
	for _, file := range cases {
		dir, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			np, err := prototxt.ReadNet(filepath.Join(dir, "net.prototxt"))
			if err != nil {
				t.Fatal(err)
			}
			runGolden(t, dir, np, graph.Options{})
			runGolden(t, dir, np, graph.Options{NoLayout: true, NoFuse: true})
		})
	}
}

// enterCopy makes a copy of a case's folder, without what is expected of it,
// the working directory.
func enterCopy(t *testing.T, dir string, c goldenCase) {
	t.Helper()
	run := t.TempDir()
	if err := os.CopyFS(run, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	drop := []string{"out", "par", "case.json"}
	for _, f := range c.Files {
		drop = append(drop, f)
	}
	for _, f := range drop {
		if err := os.RemoveAll(filepath.Join(run, f)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(run)
}

func runGolden(t *testing.T, dir string, np *caffepb.NetParameter, o graph.Options) {
	c := goldenCase{Phase: "TRAIN", Forwards: 1}
	if strings.HasPrefix(filepath.Base(dir), "accuracy") {
		c.Phase = "TEST"
	}
	if b, err := os.ReadFile(filepath.Join(dir, "case.json")); err == nil {
		if err := json.Unmarshal(b, &c); err != nil {
			t.Fatal(err)
		}
	}
	enterCopy(t, dir, c)
	graph.SetState(np, caffepb.Phase(caffepb.Phase_value[c.Phase]), 0, nil)
	net, err := graph.New(np, o)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			net.Close()
		}
	}()
	if w := filepath.Join(dir, "weights.caffemodel"); exists(w) {
		if err := net.LoadWeights(w); err != nil {
			t.Fatal(err)
		}
	}
	backward := np.GetForceBackward()
	if c.Backward != nil {
		backward = *c.Backward
	}
	if backward {
		net.SetFused(false) // all gradients are Caffe's
	}
	in, _ := filepath.Glob(filepath.Join(dir, "in", "*.binaryproto"))
	for range c.Forwards {
		for _, f := range in {
			b := readBlob(t, f)
			dst := net.Blob(stem(f))
			if dst == nil {
				t.Fatalf("no blob %s", stem(f))
			}
			dst.ReshapeLike(b)
			copy(dst.Data(), b.ReadData())
		}
		if _, err := net.Forward(); err != nil {
			t.Fatal(err)
		}
	}
	if backward {
		net.ClearParamDiffs()
		if err := net.Backward(); err != nil {
			t.Fatal(err)
		}
	}
	tol := 1e-5
	for _, l := range np.Layer {
		if slices.Contains(longSums, l.GetType()) {
			tol = 1e-4
		}
	}
	tol = max(tol, c.Tol)
	out, _ := filepath.Glob(filepath.Join(dir, "out", "*.binaryproto"))
	if len(out) == 0 && len(c.Files) == 0 {
		t.Fatal("the case has no outputs")
	}
	for _, f := range out {
		got := blobOf(net, stem(f))
		if got == nil {
			t.Errorf("no blob %s", stem(f))
			continue
		}
		diff := backward && !strings.Contains(f, "_split_")
		if diff && leftAlone(net, stem(f)) {
			// Caffe's Scale keeps a product there.
			diff = false
			if got.HasDiff() && slices.ContainsFunc(got.Gradients(), func(v float32) bool { return v != 0 }) {
				t.Errorf("%s: has a gradient that no layer was to compute", stem(f))
			}
		}
		compare(t, stem(f), got, readBlob(t, f), diff, tol)
	}
	par, _ := filepath.Glob(filepath.Join(dir, "par", "*.binaryproto"))
	params := map[string]*tensor.Blob{}
	for _, l := range net.Layers() {
		for i, p := range l.Layer.Params() {
			params[fileName(l.Name)+"_"+strconv.Itoa(i)] = p
		}
	}
	for _, f := range par {
		if params[stem(f)] == nil {
			t.Errorf("no parameter %s", stem(f))
			continue
		}
		compare(t, "parameter "+stem(f), params[stem(f)], readBlob(t, f), backward, tol)
	}
	closed = true
	if err := net.Close(); err != nil {
		t.Fatal(err)
	}
	for got, want := range c.Files {
		compareHDF5(t, got, filepath.Join(dir, want), tol)
	}
}

// compareHDF5 compares all datasets of two files of numbers.
func compareHDF5(t *testing.T, got, want string, tol float64) {
	t.Helper()
	g, w := readHDF5(t, got), readHDF5(t, want)
	for name, b := range w {
		if g[name] == nil {
			t.Errorf("%s: no dataset %s", got, name)
			continue
		}
		compare(t, got+": "+name, g[name], b, false, tol)
	}
	if len(g) != len(w) || len(w) == 0 {
		t.Errorf("%s: %d datasets, want %d", got, len(g), len(w))
	}
}

// readHDF5 returns the datasets of a file by their paths.
func readHDF5(t *testing.T, path string) map[string]*tensor.Blob {
	t.Helper()
	f, err := hdf5.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string]*tensor.Blob{}
	err = root.Walk(func(n hdf5.Node) error {
		d, ok := n.(*hdf5.Dataset)
		if !ok {
			return nil
		}
		b := tensor.New(d.Shape()...)
		sets[d.Path()] = b
		return d.ReadFloats(b.Data())
	})
	if err != nil {
		t.Fatal(err)
	}
	return sets
}

// fileName is how the recorded files spell the name of a blob or layer.
func fileName(name string) string { return strings.ReplaceAll(name, "/", "_") }

// blobOf returns the blob whose file has that name.
func blobOf(net *graph.Net, file string) *tensor.Blob {
	for _, name := range net.BlobNames() {
		if fileName(name) == file {
			return net.Blob(name)
		}
	}
	return nil
}

// leftAlone reports whether layers read the blob of that file, but none
// propagates to it.
func leftAlone(net *graph.Net, file string) bool {
	read := false
	for _, l := range net.Layers() {
		for j, name := range l.BottomNames {
			if fileName(name) == file {
				read = true
				if l.NeedBackward && l.PropagateDown[j] {
					return false
				}
			}
		}
	}
	return read
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
