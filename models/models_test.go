package models

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// TestFiles parses every file (unknown fields are errors) and checks that the
// solvers name nets that are there.
func TestFiles(t *testing.T) {
	files, err := filepath.Glob("*/*.prototxt")
	if err != nil || len(files) < 6 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, f := range files {
		t.Run(filepath.ToSlash(f), func(t *testing.T) {
			if !strings.Contains(f, "solver") {
				if _, err := prototxt.ReadNet(f); err != nil {
					t.Fatal(err)
				}
				return
			}
			sp, err := prototxt.ReadSolver(f)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(f), filepath.Base(sp.GetNet()))); err != nil {
				t.Errorf("net: %v", err)
			}
			if ti := sp.GetTestIter(); len(ti) != 1 || sp.GetMaxIter()%sp.GetTestInterval() != 0 {
				t.Errorf("training does not end with a test: test_iter %v, test_interval %d, max_iter %d", ti, sp.GetTestInterval(), sp.GetMaxIter())
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
