package solver_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// TestFloor trains on random labels of four classes with scores that are the
// same for every picture, so far apart that the labels of some classes are at
// the floor of the loss, and too slowly to change anything.
func TestFloor(t *testing.T) {
	for _, c := range []struct {
		name       string
		scores     []float32
		dead, warn bool
	}{
		{"three of four classes", []float32{0, -100, -200, 90}, true, true},
		{"one of four classes", []float32{0, -200, 0, 0}, false, true},
		{"none, though unlikely", []float32{0, -80, 0, 0}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sp := parseSolver(t, `
base_lr: 1e-20 lr_policy: "fixed" max_iter: 120 random_seed: 3 solver_mode: CPU
net_param {
  layer { name: "x" type: "DummyData" top: "x" top: "label" dummy_data_param {
    shape { dim: 64 dim: 1 } shape { dim: 64 } data_filler { type: "constant" value: 0 } data_filler { type: "uniform" max: 3.99 } } }
  layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 4 } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
}`)
			sp.SnapshotPrefix = proto.String(filepath.Join(t.TempDir(), "floor"))
			var lines []string
			s, err := solver.New(sp, solver.Options{OnNaN: solver.OnNaNStop, Log: slog.New(capture{&lines})})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Net().Params()[1].Blob.SetValues(c.scores); err != nil {
				t.Fatal(err)
			}
			err = s.Solve()
			if dead := errors.Is(err, solver.ErrDiverged); dead != c.dead || !dead && err != nil {
				t.Errorf("ended with %v", err)
			}
			if c.dead && (!strings.Contains(err.Error(), "of 64") || s.Iter() != 49) {
				t.Errorf("after %d iterations: %v", s.Iter(), err)
			}
			warnings := 0
			for _, l := range lines {
				if strings.HasPrefix(l, "In each of the last 20 batches some labels") {
					warnings++
				}
			}
			if c.warn != (warnings == 1) || warnings > 1 {
				t.Errorf("%d warnings", warnings)
			}
		})
	}
}
