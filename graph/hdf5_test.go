package graph

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"crema/hdf5"
	"crema/prototxt/caffepb"
)

// namedNet has layers whose names are paths, one the beginning of another, and
// two that share their parameters.
const namedNet = `
layer { name: "in" type: "DummyData" top: "data" dummy_data_param { shape { dim: 2 dim: 6 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" } inner_product_param { num_output: 6 weight_filler { type: "gaussian" } bias_filler { type: "uniform" } } }
layer { name: "a/b/c" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } inner_product_param { num_output: 6 bias_filler { type: "uniform" } } }
layer { name: "x/y" type: "InnerProduct" bottom: "b" top: "x" inner_product_param { num_output: 3 weight_filler { type: "gaussian" } } }
layer { name: "x/z" type: "InnerProduct" bottom: "b" top: "z" inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
`

// sameParams compares all parameters of two nets.
func sameParams(t *testing.T, got, want *Net) {
	t.Helper()
	for i, l := range want.Layers() {
		for j, p := range l.Layer.Params() {
			if !slices.Equal(got.Layers()[i].Layer.Params()[j].Values(), p.Values()) {
				t.Errorf("parameter %d of layer %q differs", j, l.Name)
			}
		}
	}
}

func TestHDF5Weights(t *testing.T) {
	dir := t.TempDir()
	n := build(t, namedNet, caffepb.Phase_TEST, Options{})
	for i, p := range n.Params() {
		p.Blob.Data()[0] = float32(100 + i) // unlike what it is filled with
		p.Blob.Diff()[0] = float32(i + 1)
	}
	path := filepath.Join(dir, "w.caffemodel.h5")
	if err := n.SaveWeights(path, true); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	m := build(t, namedNet, caffepb.Phase_TEST, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	log.Reset()
	if err := m.LoadWeights(path); err != nil {
		t.Fatal(err)
	}
	sameParams(t, m, n)
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "4 of 4 layers (83 of 83 values)") {
		t.Errorf("loading all of it logs\n%s", got)
	}
	// What the file is called does not matter.
	other := filepath.Join(dir, "w.caffemodel")
	if err := os.Rename(path, other); err != nil {
		t.Fatal(err)
	}
	m = build(t, namedNet, caffepb.Phase_TEST, Options{})
	if err := m.Finetune(" "+other, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	sameParams(t, m, n)

	// The names that Caffe's reader sees and opens.
	f, err := hdf5.Open(other)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	data, err := root.Group("data")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range n.Layers() {
		if !data.Has(l.Name) {
			t.Errorf("data has no link %q: %q", l.Name, data.Names())
		}
		if _, err := data.Group(l.Name); err != nil {
			t.Errorf("path data/%s: %v", l.Name, err)
		}
	}
	if !data.Has("b_a/b/c_0_split") {
		t.Error("the split is not in the file")
	}
	for path, want := range map[string]bool{
		"data/a/0": true, "data/a/1": true, "data/a/b/c/0": false, "data/a/b/c/1": true, "data/x/y/0": true,
		"diff/a/0": true, "diff/a/b/c/0": true, "diff/x/z/1": true,
	} {
		if _, err := root.Dataset(path); (err == nil) != want {
			t.Errorf("%s: %v, want it: %v", path, err, want)
		}
	}
	d, err := root.Dataset("diff/x/y/0")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := d.ReadAll(); err != nil || v[0] != float32(slices.IndexFunc(n.Params(), func(p *Param) bool { return p.Layer == "x/y" })+1) {
		t.Errorf("gradient of x/y: %v, %v", v, err)
	}
}

// save writes what b has and returns the path.
func save(t *testing.T, b *hdf5.Builder) string {
	t.Helper()
	var w bytes.Buffer
	if _, err := b.WriteTo(&w); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.h5")
	if err := os.WriteFile(path, w.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHDF5Foreign loads files of other nets, and those that Caffe writes where
// one layer's name is the beginning of another's.
func TestHDF5Foreign(t *testing.T) {
	const net = `
layer { name: "in" type: "DummyData" top: "data" dummy_data_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 2 bias_term: false } }
layer { name: "a/b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 1 bias_term: false } }
`
	var b hdf5.Builder
	b.Floats([]int{2, 3}, []float32{1, 2, 3, 4, 5, 6}, "data", "a", "0")
	b.Floats([]int{1, 2}, []float32{7, 8}, "data", "a", "b", "0")
	b.Floats([]int{1}, []float32{9}, "data", "foreign", "0")
	b.Group("data", "foreign_split")
	b.Floats([]int{1}, []float32{9}, "data", "deep", "er", "0")
	var log bytes.Buffer
	n := build(t, net, caffepb.Phase_TEST, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	log.Reset()
	if err := n.LoadWeights(save(t, &b)); err != nil {
		t.Fatal(err)
	}
	if got := n.node("a").Layer.Params()[0].Values(); !slices.Equal(got, []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("a: %v", got)
	}
	if got := n.node("a/b").Layer.Params()[0].Values(); !slices.Equal(got, []float32{7, 8}) {
		t.Errorf("a/b: %v", got)
	}
	if got := log.String(); strings.Count(got, "Ignoring source layer") != 3 || !strings.Contains(got, "layer foreign\"") || !strings.Contains(got, "layer foreign_split\"") || !strings.Contains(got, "layer deep/er\"") {
		t.Errorf("log:\n%s", got)
	}
}

func TestHDF5WeightErrors(t *testing.T) {
	const net = `
layer { name: "in" type: "DummyData" top: "data" dummy_data_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 2 } }
`
	w := make([]float32, 6)
	for _, c := range []struct {
		name string
		make func(b *hdf5.Builder)
		want string
	}{
		{"shape", func(b *hdf5.Builder) {
			b.Floats([]int{3, 2}, w, "data", "a", "0")
			b.Floats([]int{2}, w[:2], "data", "a", "1")
		}, `cannot copy parameter 0 of layer "a": its shape is 3×2 in the file, 2×3 in the net`},
		{"too few", func(b *hdf5.Builder) { b.Floats([]int{2, 3}, w, "data", "a", "0") }, `layer "a" (InnerProduct) has 2 parameters (2×3, 2), in the file 1 (2×3)`},
		{"too many", func(b *hdf5.Builder) {
			for _, name := range []string{"0", "1", "2"} {
				b.Floats([]int{2}, w[:2], "data", "a", name)
			}
		}, `layer "a" (InnerProduct) has 2 parameters (2×3, 2), in the file 3`},
		{"numbers", func(b *hdf5.Builder) {
			b.Floats([]int{2, 3}, w, "data", "a", "0")
			b.String("x", "data", "a", "1")
		}, `/data/a/1 is of type string, not numbers`},
		{"a state", func(b *hdf5.Builder) { b.Int(1, "iter"); b.Group("history") }, "but a solver's state (resume from it with --snapshot)"},
		{"data", func(b *hdf5.Builder) { b.Floats([]int{6}, w, "data"); b.Floats([]int{6}, w, "label") }, "input of an HDF5Data layer: it has no group data; the file has data, label"},
		{"Keras", func(b *hdf5.Builder) { b.Group("model_weights") }, "a model of Keras"},
		{"empty", func(b *hdf5.Builder) {}, "the file is empty"},
	} {
		var b hdf5.Builder
		c.make(&b)
		path := save(t, &b)
		n := build(t, net, caffepb.Phase_TEST, Options{})
		before := slices.Clone(n.node("a").Layer.Params()[0].Values())
		err := n.LoadWeights(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if !slices.Equal(before, n.node("a").Layer.Params()[0].Values()) {
			t.Errorf("%s: weights changed", c.name)
		}
	}
}

// TestHDF5Memory: neither saving nor loading weights takes memory in their size.
func TestHDF5Memory(t *testing.T) {
	n := build(t, `
layer { name: "in" type: "DummyData" top: "data" dummy_data_param { shape { dim: 1 dim: 2048 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 2048 } }
`, caffepb.Phase_TEST, Options{})
	path := filepath.Join(t.TempDir(), "x.h5")
	n.node("a").Layer.Params()[0].Data()[1] = 5
	for what, f := range map[string]func() error{
		"saving":  func() error { return n.SaveWeights(path, false) },
		"loading": func() error { return n.LoadWeights(path) },
	} {
		if err := n.SaveWeights(path, false); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := f(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 3<<20 {
			t.Errorf("%s 16 MB allocated %d bytes", what, got)
		}
	}
}
