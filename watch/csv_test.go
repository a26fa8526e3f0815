package watch

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"crema/internal/summary"
)

const trainHead = "iter,loss,smoothed,lr,seconds,images_per_second,wait_share\n"

// TestOpenTable checks what is left of a table that is gone on with.
func TestOpenTable(t *testing.T) {
	rows := trainHead + "0,1,1,0.1,0.5,10,0\n1,2,2,0.1,1,10,0\n3,4,4,0.1,2,10,0\n"
	for _, c := range []struct {
		name, have string
		iter       int
		want       string
	}{
		{"new", "", 0, trainHead},
		{"all stays", rows, 4, rows},
		{"cut", rows, 3, strings.Join(strings.SplitAfter(rows, "\n")[:3], "")},
		{"cut between", rows, 2, strings.Join(strings.SplitAfter(rows, "\n")[:3], "")},
		{"all goes", rows, 0, trainHead},
		{"half a row", rows + "4,5,5", 9, rows},
		{"half a header", "iter,lo", 0, trainHead},
		{"only a header", trainHead, 7, trainHead},
	} {
		path := filepath.Join(t.TempDir(), trainCSV)
		if c.have != "" {
			if err := os.WriteFile(path, []byte(c.have), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		f, err := openTable(path, c.iter)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if err := f.flush(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		f.f.Close()
		if b, _ := os.ReadFile(path); string(b) != c.want {
			t.Errorf("%s: left %q, want %q", c.name, b, c.want)
		}
	}
}

func TestBadTables(t *testing.T) {
	for name, text := range map[string]string{
		"other columns":  "a,b\n1,2\n",
		"fields missing": trainHead + "0,1\n",
		"no iteration":   trainHead + "x,1,1,1,1,1,1\n",
		"no number":      trainHead + "0,1,1,1,1,1,1\n1,y,1,1,1,1,1\n",
		"bad quotes":     trainHead + "0,\"1,1,1,1,1,1\n",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, trainCSV)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := LoadRun(dir); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names the file", name, err)
		}
	}
	if _, _, err := LoadRun(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder without a run: %v", err)
	}
}

// TestLayerRow writes and reads a sample whose names and figures are odd.
func TestLayerRow(t *testing.T) {
	in := sample{iter: 7, layers: []Layer{
		{Name: "a,\"b\"\nc", Type: "ReLU", Ratio: nan, Forward: 0.25,
			Activation: &summary.Summary{Mean: -1, RMS: 2, Min: -3, Max: 4, Zero: 0.5}, Gradient: &summary.Summary{RMS: 0.125}},
		{Name: "ip", Type: "InnerProduct", Backward: 0.75, Ratio: 0.5, Weight: &summary.Summary{RMS: 1}, Update: &summary.Summary{RMS: 0.5}},
	}}
	path := filepath.Join(t.TempDir(), layersCSV)
	f, err := openTable(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.add(in.appendCSV)
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	f.f.Close()
	var out []Layer
	err = readTable(path, columns[layersCSV], func(r *tableRow) bool {
		if r.iter != 7 {
			t.Errorf("iteration %d, want 7", r.iter)
		}
		out = append(out, r.layer())
		return true
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 2 || !math.IsNaN(float64(out[0].Ratio)) {
		t.Fatalf("read %+v", out)
	}
	out[0].Ratio, in.layers[0].Ratio = 0, 0
	if !reflect.DeepEqual(out, in.layers) {
		t.Errorf("read %+v, want %+v", out, in.layers)
	}
}

func TestRunsList(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": trainHead, "two": trainHead + "0,1,1,1,1,1,1\n41,1,1,1,1,1,1\n42,1,"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, trainCSV), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "other"), 0o755); err != nil {
		t.Fatal(err)
	}
	runs, err := Runs(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, r := range runs {
		got[r.Name] = r.Iter
	}
	if want := map[string]int{"empty": -1, "two": 41}; !reflect.DeepEqual(got, want) {
		t.Errorf("runs %v, want %v", got, want)
	}
	if _, err := Runs(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}
