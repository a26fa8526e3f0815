package models

import (
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/graph"
	"crema/netinfo"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// netFiles returns the files of nets, without those of solvers.
func netFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*/*.prototxt")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.Contains(filepath.Base(f), "solver") })
	if len(files) < 27 {
		t.Fatalf("only found %v", files)
	}
	return files
}

// TestSolvers parses the solvers (unknown fields are errors) and checks that
// they name nets that are there and end with a test.
func TestSolvers(t *testing.T) {
	files, err := filepath.Glob("*/*solver*.prototxt")
	if err != nil || len(files) < 18 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, f := range files {
		t.Run(filepath.ToSlash(f), func(t *testing.T) {
			sp, err := prototxt.ReadSolver(f)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(f), filepath.Base(sp.GetNet()))); err != nil {
				t.Errorf("net: %v", err)
			}
			if dir := filepath.Base(filepath.Dir(sp.GetNet())); dir != filepath.Dir(f) && dir != "crema-quickstart" {
				t.Errorf("its net is %s", sp.GetNet())
			}
			if len(sp.GetTestIter()) == 0 || sp.GetMaxIter()%sp.GetTestInterval() != 0 {
				t.Errorf("training does not end with a test: test_iter %v, test_interval %d, max_iter %d", sp.GetTestIter(), sp.GetTestInterval(), sp.GetMaxIter())
			}
		})
	}
}

// shapes are those of the data of nets whose files do not say them, for one
// image, pair or stream.
var shapes = map[string]map[string][]int{
	"lenet":         {"data": {1, 1, 28, 28}, "label": {1}},
	"cifar10_quick": {"data": {1, 3, 32, 32}, "label": {1}},
	"cifar10_full":  {"data": {1, 3, 32, 32}, "label": {1}},
	"quickstart":    {"data": {1, 3, 32, 32}, "label": {1}},
	"autoencoder":   {"data": {1, 1, 28, 28}},
	"siamese":       {"pair": {1, 2, 28, 28}, "sim": {1}},
	"lstm_char":     {"data": {32, 1}, "cont": {32, 1}, "target": {32, 1}},
	"unet":          {"data": {1, 3, 64, 64}, "label": {1, 1, 64, 64}},
}

// build parses a net and sets up all its layers for a phase, with data of the
// given shapes, without filling weights.
func build(t *testing.T, file string, phase caffepb.Phase, shapes map[string][]int) *netinfo.Info {
	t.Helper()
	np, err := prototxt.ReadNet(file)
	if err != nil {
		t.Fatal(err)
	}
	var stages []string
	if phase == caffepb.Phase_TEST && strings.HasPrefix(file, "autoencoder") {
		stages = []string{"on-test"}
	}
	graph.SetState(np, phase, 0, stages)
	if strings.Contains(file, "deploy") {
		shapes = nil
	}
	i, err := netinfo.Of(np, netinfo.SourceOptions{Shapes: shapes})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestNetsBuild(t *testing.T) {
	for _, f := range netFiles(t) {
		for _, phase := range []caffepb.Phase{caffepb.Phase_TRAIN, caffepb.Phase_TEST} {
			t.Run(filepath.ToSlash(f)+"/"+phase.String(), func(t *testing.T) {
				i := build(t, f, phase, shapes[filepath.Dir(f)])
				if i.Parameters == 0 {
					t.Error("nothing to learn")
				}
				for _, l := range i.Layers {
					if strings.HasPrefix(l.Type, "Input") && phase == caffepb.Phase_TRAIN && !strings.Contains(f, "deploy") {
						t.Errorf("layer %s is an Input: nothing trains this net", l.Name)
					}
				}
			})
		}
	}
}

// TestDeployFits: the weights that a net is trained to fit its deploy file.
func TestDeployFits(t *testing.T) {
	files, err := filepath.Glob("*/deploy.prototxt")
	if err != nil || len(files) < 12 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, f := range files {
		t.Run(filepath.ToSlash(f), func(t *testing.T) {
			dir := filepath.Dir(f)
			trained := map[string]netinfo.Layer{}
			i := build(t, filepath.Join(dir, "train_val.prototxt"), caffepb.Phase_TEST, shapes[dir])
			for _, l := range i.Layers {
				trained[l.Name] = l
			}
			for _, l := range build(t, f, caffepb.Phase_TEST, nil).Layers {
				was := trained[l.Name]
				if l.Parameters+l.Statistics > 0 && (was.Type != l.Type || was.Parameters != l.Parameters || was.Statistics != l.Statistics) {
					t.Errorf("layer %s: %s with %d parameters and %d statistics, trained as %q with %d and %d", l.Name, l.Type, l.Parameters, l.Statistics, was.Type, was.Parameters, was.Statistics)
				}
			}
		})
	}
}

// TestPublishedFigures compares the parameters with their number in the original
// nets, and multiply-adds of one image, within 1 %, with what the papers and the
// nets' authors say.
func TestPublishedFigures(t *testing.T) {
	imagenet := map[string][]int{"data": {1, 3, 224, 224}, "label": {1}}
	for _, c := range []struct {
		file       string
		data       map[string][]int
		parameters int64
		macs       float64
	}{
		{"caffenet/deploy.prototxt", nil, 60965224, 724e6},                         // Krizhevsky et al. 2012: 60 million
		{"googlenet/deploy.prototxt", nil, 6998552, 1.58e9},                        // Szegedy et al. 2014: 7 million, 1.5 billion
		{"resnet50/train_val.prototxt", imagenet, 25557032, 3.86e9},                // He et al. 2015: 3.8 billion, rounded down
		{"mobilenet/train_val.prototxt", imagenet, 4231976, 569e6},                 // Howard et al. 2017: 4.2 million, 569 million
		{"squeezenet/train_val.prototxt", imagenet, 1235496, 349e6},                // Iandola et al. 2016, version 1.1
		{"es_vgg/train_val.prototxt", imagenet, 138357544, 15.47e9},                // Simonyan and Zisserman 2014: 138 million
		{"lenet/train_val.prototxt", shapes["lenet"], 431080, 2.29e6},              // Caffe's
		{"autoencoder/train_val.prototxt", shapes["autoencoder"], 2837314, 2.83e6}, // Martens 2010: 2.8 million; one multiply-add a weight
	} {
		t.Run(c.file, func(t *testing.T) {
			i := build(t, c.file, caffepb.Phase_TEST, c.data)
			if i.Parameters != c.parameters {
				t.Errorf("%d parameters, want %d", i.Parameters, c.parameters)
			}
			if macs := float64(i.PerItem(i.MACs)); math.Abs(macs-c.macs) > c.macs/100 {
				t.Errorf("%g multiply-adds, want %g", macs, c.macs)
			}
		})
	}
}

func TestQuickstartIsEmbedded(t *testing.T) {
	disk, err := filepath.Glob("quickstart/*.prototxt")
	if err != nil {
		t.Fatal(err)
	}
	in, err := fs.Glob(Quickstart, "quickstart/*.prototxt")
	if err != nil {
		t.Fatal(err)
	}
	if len(in) != len(disk) || len(in) != 4 {
		t.Errorf("embedded %v, on disk %v", in, disk)
	}
}

// TestESVGG counts what makes the net a VGG-16.
func TestESVGG(t *testing.T) {
	np, err := prototxt.ReadNet("es_vgg/train_val.prototxt")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	var outputs []uint32
	for _, l := range np.GetLayer() {
		count[l.GetType()]++
		if l.GetType() == "Convolution" {
			outputs = append(outputs, l.GetConvolutionParam().GetNumOutput())
		}
		if l.GetType() == "Pooling" && l.GetPoolingParam().GetPool() != caffepb.PoolingParameter_MAX {
			t.Errorf("%s is no max pooling", l.GetName())
		}
	}
	if count["Convolution"] != 13 || count["InnerProduct"] != 3 || count["Pooling"] != 5 {
		t.Errorf("layers: %v", count)
	}
	want := []uint32{64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512}
	for i := range want {
		if i >= len(outputs) || outputs[i] != want[i] {
			t.Fatalf("convolution outputs %v, want %v", outputs, want)
		}
	}
}
