//go:build unix

package solver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"crema/internal/pytest"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// TestPythonGoldenRun trains a recorded run with layers in Python in the place of
// some of its own: a loss, an activation and one that learns.
func TestPythonGoldenRun(t *testing.T) {
	pytest.Need(t)
	modules, err := filepath.Abs("../layers/testdata/python")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", modules)
	dir := filepath.Join(goldenRuns, "solver", "autoencoder_nesterov")
	var tol tolerance
	var end struct {
		Weights float64 `json:"weights_30"`
		History float64 `json:"history_30"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "tolerance.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(json.Unmarshal(b, &tol), json.Unmarshal(b, &end)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "solver.prototxt")
	sp, err := prototxt.ReadSolver(file)
	if err != nil {
		t.Fatal(err)
	}
	sp.SnapshotPrefix = proto.String(filepath.Join(t.TempDir(), "run"))
	sp.Weights = []string{"solver/autoencoder_nesterov/init.caffemodel"}
	inPython := map[string]string{"encode2": "Linear", "decode2neuron": "Sigmoid", "l2": "EuclideanLoss"}
	edit := func(np *caffepb.NetParameter) error {
		for _, l := range np.Layer {
			class, ok := inPython[l.GetName()]
			if !ok {
				continue
			}
			l.PythonParam = &caffepb.PythonParameter{Module: proto.String("examples"), Layer: proto.String(class)}
			if l.InnerProductParam != nil {
				l.PythonParam.ParamStr = proto.String(fmt.Sprint(l.InnerProductParam.GetNumOutput()))
			}
			l.Type, l.InnerProductParam = proto.String("Python"), nil
		}
		return nil
	}
	var lines []string
	s, err := solver.New(sp, solver.Options{File: file, Log: slog.New(capture{&lines}), ResolvePath: inGolden, EditNet: edit})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	used := 0
	for _, l := range s.Net().Layers() {
		if l.Type == "Python" {
			used++
		}
	}
	if used != len(inPython) {
		t.Fatalf("%d layers are in Python, not %d", used, len(inPython))
	}
	if err := s.Solve(); err != nil {
		t.Fatal(err)
	}
	compareLog(t, dir, parseLog(lines), tol)
	prefix := fmt.Sprintf("%s_iter_%d", sp.GetSnapshotPrefix(), sp.GetMaxIter())
	compareStates(t, prefix+".solverstate", filepath.Join(dir, "final.solverstate"), end.History)
	var got, want caffepb.NetParameter
	read(t, prefix+".caffemodel", &got)
	read(t, filepath.Join(dir, "final.caffemodel"), &want)
	for i, l := range want.Layer {
		if len(got.Layer[i].Blobs) != len(l.Blobs) {
			t.Fatalf("layer %s has %d blobs, want %d", l.GetName(), len(got.Layer[i].Blobs), len(l.Blobs))
		}
		for j, b := range l.Blobs {
			compareBlobs(t, fmt.Sprintf("weights of %s, %d", l.GetName(), j), got.Layer[i].Blobs[j], b, end.Weights)
		}
	}
}
