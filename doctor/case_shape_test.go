package doctor

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/graph"
	"crema/layers"
)

const goldenLayers = "../testdata/golden/layers"

// golden calls f for each recorded net, in a copy of its folder.
func golden(t *testing.T, f func(t *testing.T, file string)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(goldenLayers, "*", "net.prototxt"))
	if err != nil || len(files) < 300 {
		t.Fatalf("%d nets in %s (%v)", len(files), goldenLayers, err)
	}
	for _, file := range files {
		dir, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			run := t.TempDir()
			if err := os.CopyFS(run, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			t.Chdir(run)
			f(t, "net.prototxt")
		})
	}
}

// TestShapesOfBuiltNets compares the shapes of all recorded nets, which have all
// of Caffe's layer types, with those of the built nets. Nothing may be unknown.
func TestShapesOfBuiltNets(t *testing.T) {
	seen := map[string]bool{}
	golden(t, func(t *testing.T, file string) {
		c, err := Open(Inputs{Model: file})
		if err != nil {
			t.Fatal(err)
		}
		c.Check(context.Background())
		for _, n := range c.nets() {
			net, err := graph.New(n.Param, graph.Options{NoFill: true, NoLayout: true, NoFuse: true})
			if err != nil {
				t.Fatal(err)
			}
			byName := map[string][][]int{}
			for _, l := range net.Layers() {
				for i, b := range l.Tops {
					byName[l.TopNames[i]] = append(byName[l.TopNames[i]], append([]int{}, b.Shape()...))
				}
				for i, p := range l.Layer.Params() {
					k := n.named(l.Name)
					if i >= len(k.params) || !slices.Equal(k.params[i], p.Shape()) {
						t.Errorf("%s: parameter %d of %q has shape %v, not %v", n.Title, i, l.Name, p.Shape(), k.params)
					}
				}
			}
			for _, l := range n.layers {
				seen[l.GetType()] = true
				for i, b := range l.tops {
					want := byName[b.name][0]
					byName[b.name] = byName[b.name][1:]
					if b.shape == nil || !slices.Equal(b.shape, want) {
						t.Errorf("%s: top %d of %q (%s) is %v, want %v", n.Title, i, l.GetName(), l.GetType(), b.shape, want)
					}
				}
			}
			if err := net.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, kind := range layers.Types() {
		if !seen[kind] && kind != "MemoryData" && kind != "Python" && kind != "Data" {
			t.Errorf("no net has a layer of type %s", kind)
		}
	}
}

// oddNets are recorded nets of which a rule rightly says something grave.
var oddNets = map[string][]string{
	"bn_one_value":        {"batch-statistics"},
	"bn_test_batch_stats": {"batch-statistics"},
	"bn_train":            {"batch-statistics"}, // use_global_stats: false, in TEST as well
	"lstm_t1":             {"one-time-step"},
	"rnn_t1":              {"one-time-step"},
}

// TestHealthyLayers looks at all recorded nets as such that begin with trained
// weights, and have no data.
func TestHealthyLayers(t *testing.T) {
	golden(t, func(t *testing.T, file string) {
		in := Inputs{Model: file}
		if _, err := os.Stat("weights.caffemodel"); err == nil {
			in.Weights = "weights.caffemodel"
		}
		want := oddNets[strings.TrimPrefix(t.Name(), "TestHealthyLayers/")]
		fs := open(t, in)
		for _, rule := range grave(fs) {
			if !slices.Contains(want, rule) {
				t.Errorf("false alarm:\n%s", text(fs))
			}
		}
		for _, rule := range want {
			if !has(fs, rule) {
				t.Errorf("not found: %s", rule)
			}
		}
	})
}
