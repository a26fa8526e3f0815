package doctor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/data/synth"
	"crema/prototxt"
)

// TestHealthyLayersMeasured measures nets of the newer layers.
func TestHealthyLayersMeasured(t *testing.T) {
	for _, h := range append(healthyNets, features,
		healthyNet{"not normalised", strings.ReplaceAll(segmentation.net, "ignore_label: 255 } }\nlayer { name: \"acc\"", "ignore_label: 255 normalize: false } }\nlayer { name: \"acc\""),
			strings.Replace(segmentation.solver, "0.01", "0.00001", 1), segmentation.store},
		healthyNet{"residual branches of 0", strings.ReplaceAll(residual.net, `bottom: "a2" top: "a2" scale_param {`, `bottom: "a2" top: "a2" scale_param { filler { value: 0 }`), residual.solver, residual.store},
	) {
		t.Run(h.name, func(t *testing.T) {
			m := h.measured(t)
			for _, f := range m.Findings() {
				if f.Severity > Note {
					t.Errorf("false alarm: %s: %s", f.Rule, f.What)
				}
			}
			var b strings.Builder
			if err := m.WriteText(&b); err != nil || t.Failed() {
				t.Log(b.String())
			}
			if _, err := json.Marshal(m); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHealthyGoldenMeasured measures the recorded runs, as they began and with
// fresh weights.
func TestHealthyGoldenMeasured(t *testing.T) {
	const root = "../testdata/golden/runs"
	for _, run := range []string{"adam", "autoencoder_adagrad", "hdf5_snapshots", "lstm_rmsprop_clip", "resnet_adam_iter_size", "resnet_sgd_multistep", "sgd_step", "siamese_adam"} {
		for _, fresh := range []bool{false, true} {
			t.Run(fmt.Sprint(run, "/fresh=", fresh), func(t *testing.T) {
				in := Inputs{Solver: root + "/solver/" + run + "/solver.prototxt", ResolvePath: under(root)}
				if !fresh {
					in.Weights = "solver/" + run + "/init.caffemodel"
				}
				c, err := Open(in)
				if err != nil {
					t.Fatal(err)
				}
				if fresh {
					fillNet(c)
				}
				m, err := c.Measure(MeasureOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range m.Findings() {
					if f.Severity > Note {
						t.Errorf("false alarm: %s: %s", f.Rule, f.What)
					}
				}
			})
		}
	}
}

// TestHealthyModelsMeasured measures published nets at their usual rates. They
// begin with signals that shrink a thousandfold from pixels to scores, with
// biases of 1, or with steps of a hundredth of the weights, and learn.
func TestHealthyModelsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("large nets take a while")
	}
	w := world{t.TempDir()}
	shape := synth.Shape{Channels: 3, Height: 256, Width: 256}
	w.draw(t, "ilsvrc12_train_lmdb", shape, 40, func(i, _ int) int { return i * 333 % 1000 })
	if err := os.Mkdir(w.path("ilsvrc12"), 0o777); err != nil {
		t.Fatal(err)
	}
	w.mean(t, w.path("ilsvrc12_train_lmdb"), "imagenet_mean.binaryproto")
	if err := os.Rename(w.path("imagenet_mean.binaryproto"), w.path("ilsvrc12/imagenet_mean.binaryproto")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model string
		sets  []string // for small batches, which need a smaller rate
	}{
		{"caffenet", nil},
		{"googlenet", nil},
		{"squeezenet", []string{"iter_size=1"}},
		{"mobilenet", []string{"iter_size=1", "base_lr=0.01"}},
	} {
		t.Run(c.model, func(t *testing.T) {
			o, err := prototxt.ParseOverrides(append(c.sets, "layer.data.data_param.batch_size=8"))
			if err != nil {
				t.Fatal(err)
			}
			k, err := Open(Inputs{Solver: "../models/" + c.model + "/solver.prototxt", Sets: o, ResolvePath: func(p string) string {
				return strings.Replace(strings.Replace(p, "/local/datasets/imagenet", w.dir, 1), "models/", "../models/", 1)
			}})
			if err != nil {
				t.Fatal(err)
			}
			m, err := k.Measure(MeasureOptions{Batches: 2})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range m.Findings() {
				if f.Severity > Note {
					t.Errorf("false alarm: %s: %s", f.Rule, f.What)
				}
			}
			for _, l := range m.Losses {
				t.Logf("%s: K %.3g, %.3g of the output depends on the image", l.Layer, float64(l.K), float64(l.Share))
			}
		})
	}
}

// TestHealthySmallModels looks at the small nets of models with their kinds of
// data, and measures them.
func TestHealthySmallModels(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	grey := synth.Shape{Channels: 1, Height: 28, Width: 28}
	digits, err := synth.NewPlainDigits(grey, 1)
	must(err)
	letters, err := synth.NewDigits(synth.Shape{Channels: 3, Height: 32, Width: 32}, 1)
	must(err)
	pairs, err := synth.NewPairs(grey, 1)
	must(err)
	scenes, err := synth.NewScenes(synth.Shape{Channels: 3, Height: 64, Width: 64}, 7, 1)
	must(err)
	drawn := func(name string) string { return filepath.Join(dir, "drawn", name) }
	for name, set := range map[string]synth.Set{"digits/SPLIT_lmdb": digits, "cifar10/SPLIT_lmdb": letters, "pairs/SPLIT_lmdb": pairs,
		"scenes/SPLIT_lmdb": scenes.Images(), "scenes/SPLIT_label_lmdb": scenes.Labels()} {
		for _, split := range []string{"train", "test"} {
			path := drawn(strings.ReplaceAll(name, "SPLIT", split))
			must(os.MkdirAll(filepath.Dir(path), 0o777))
			must(synth.Write(ctx, path, set, split, 240, synth.WriteOptions{}))
		}
	}
	world{drawn("cifar10")}.mean(t, drawn("cifar10/train_lmdb"), "mean.binaryproto")
	must(os.MkdirAll(drawn("text"), 0o777))
	for _, split := range []string{"train", "test"} {
		_, err := synth.WriteText(ctx, drawn("text/"+split+".h5"), split, 600, 32, 1, nil)
		must(err)
		must(os.WriteFile(drawn("text/"+split+".txt"), []byte("drawn/text/"+split+".h5\n"), 0o666))
	}
	for _, model := range []string{"lenet", "cifar10_quick", "cifar10_full", "autoencoder", "siamese", "lstm_char", "unet"} {
		t.Run(model, func(t *testing.T) {
			c, err := Open(Inputs{Solver: "../models/" + model + "/solver.prototxt", ResolvePath: func(p string) string {
				if rest, ok := strings.CutPrefix(p, "drawn/"); ok {
					return drawn(rest)
				}
				return strings.Replace(p, "models/", "../models/", 1)
			}})
			if err != nil {
				t.Fatal(err)
			}
			quiet(t, slices.DeleteFunc(c.Check(ctx), func(f Finding) bool {
				return f.Rule == "test-wraps" // there are only a few test images here
			}))
			m, err := c.Measure(MeasureOptions{Batches: 1})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range m.Findings() {
				if f.Severity > Note {
					t.Errorf("false alarm: %s: %s", f.Rule, f.What)
				}
			}
		})
	}
}
