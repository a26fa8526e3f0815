package solver_test

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// steepSolver diverges: within a few iterations at its rate, not at a tenth of
// it.
func steepSolver(t *testing.T, dir string) *caffepb.SolverParameter {
	t.Helper()
	sp := parseSolver(t, `
base_lr: 0.9 lr_policy: "fixed" momentum: 0.5 max_iter: 30 random_seed: 3 display: 1 average_loss: 3 solver_mode: CPU
net_param {
  layer { name: "d" type: "Data" top: "data" top: "label"
    transform_param { scale: 0.0078125 mean_value: 110 } data_param { source: "photos_raw_lmdb" batch_size: 7 backend: LMDB } }
  layer { name: "drop" type: "Dropout" bottom: "data" top: "drop" }
  layer { name: "one" type: "InnerProduct" bottom: "drop" top: "one" inner_product_param { num_output: 20 weight_filler { type: "xavier" } } }
  layer { name: "two" type: "InnerProduct" bottom: "one" top: "two" inner_product_param { num_output: 20 weight_filler { type: "xavier" } } }
  layer { name: "three" type: "InnerProduct" bottom: "two" top: "three" inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "three" bottom: "zero" top: "loss" }
}`)
	// The target of the Euclidean loss: a constant.
	var zero caffepb.NetParameter
	if err := prototxt.UnmarshalText("test", []byte(`layer { name: "z" type: "DummyData" top: "zero" dummy_data_param { shape { dim: 7 dim: 10 } } }`), &zero); err != nil {
		t.Fatal(err)
	}
	sp.NetParam.Layer = append(zero.Layer, sp.NetParam.Layer...)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "steep"))
	return sp
}

func solve(t *testing.T, sp *caffepb.SolverParameter, o solver.Options) ([]float32, []string, *solver.Solver, error) {
	t.Helper()
	var lines []string
	var losses []float32
	o.Log, o.ResolvePath = slog.New(capture{&lines}), inGolden
	o.OnIteration = func(p solver.Progress) { losses = append(losses, p.Loss) }
	s, err := solver.New(sp, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return losses, lines, s, s.Solve()
}

func TestDivergedContinues(t *testing.T) {
	losses, _, _, err := solve(t, steepSolver(t, t.TempDir()), solver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if last := float64(losses[len(losses)-1]); len(losses) != 30 || !math.IsNaN(last) {
		t.Errorf("%d losses, the last %g: want 30 and NaN, as this solver should diverge", len(losses), last)
	}
}

// TestDivergedStops wants the error to say where, no NaN in what is kept, and a
// resumed run to meet the same end.
func TestDivergedStops(t *testing.T) {
	dir := t.TempDir()
	sp := steepSolver(t, dir)
	sp.Snapshot = proto.Int32(1)
	_, _, s, err := solve(t, sp, solver.Options{OnNaN: solver.OnNaNStop})
	if !errors.Is(err, solver.ErrDiverged) {
		t.Fatalf("error %v, want ErrDiverged", err)
	}
	for _, want := range []string{"not finite", `layer "`, ".solverstate"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not contain %q", err, want)
		}
	}
	end := s.Iter()
	if end < 2 || end > 28 {
		t.Fatalf("stopped at iteration %d: want it in the middle", end)
	}
	states, _ := filepath.Glob(filepath.Join(dir, "*.caffemodel"))
	for _, f := range states {
		np, err := prototxt.ReadWeights(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range np.Layer {
			for _, b := range l.Blobs {
				for _, v := range b.Data {
					if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
						t.Fatalf("%s keeps %g", f, v)
					}
				}
			}
		}
	}
	_, _, again, err2 := solve(t, sp, solver.Options{OnNaN: solver.OnNaNStop, Snapshot: filepath.Join(dir, "steep_iter_1.solverstate")})
	if again.Iter() != end || err2 == nil || err2.Error() != err.Error() {
		t.Errorf("resumed from iteration 1: ended at %d with %v, want %d with %v", again.Iter(), err2, end, err)
	}
}

// TestDivergedKeepsState checks that the state kept at the stop is that before
// the iteration, while weights are finite.
func TestDivergedKeepsState(t *testing.T) {
	dir := t.TempDir()
	sp := parseSolver(t, strings.Replace(busySolver, `scale: 0.0078125 mean_value: 110`, `scale: 1e37`, 1))
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "floor"))
	sp.TestIter, sp.TestInterval = nil, nil
	_, _, s, err := solve(t, sp, solver.Options{OnNaN: solver.OnNaNStop})
	if !errors.Is(err, solver.ErrDiverged) {
		t.Fatalf("error %v, want ErrDiverged", err)
	}
	if s.Iter() != 0 {
		t.Errorf("stopped at iteration %d, want 0", s.Iter())
	}
	state := filepath.Join(dir, "floor_iter_0.solverstate")
	if !strings.Contains(err.Error(), state) {
		t.Errorf("error %q does not name %s", err, state)
	}
	_, _, _, err2 := solve(t, sp, solver.Options{OnNaN: solver.OnNaNStop, Snapshot: state})
	if err2 == nil || err2.Error() != err.Error() {
		t.Errorf("resumed: %v, want %v", err2, err)
	}
}

func TestSoftmaxFloorStops(t *testing.T) {
	sp := parseSolver(t, strings.Replace(busySolver, `scale: 0.0078125 mean_value: 110`, `scale: 10000`, 1))
	sp.SnapshotPrefix = proto.String(filepath.Join(t.TempDir(), "floor"))
	sp.BaseLr = proto.Float32(1000)
	sp.TestIter, sp.TestInterval = nil, nil
	_, _, _, err := solve(t, sp, solver.Options{OnNaN: solver.OnNaNStop})
	if !errors.Is(err, solver.ErrDiverged) {
		t.Fatalf("error %v, want ErrDiverged", err)
	}
}

// TestRollback wants training to end at a lower rate, and the run resumed from
// its last snapshot to be the same.
func TestRollback(t *testing.T) {
	for _, every := range []int32{0, 2} {
		dir := t.TempDir()
		sp := steepSolver(t, dir)
		sp.Snapshot = proto.Int32(every)
		losses, lines, s, err := solve(t, sp, solver.Options{OnNaN: solver.OnNaNRollback})
		if err != nil {
			t.Fatalf("snapshot %d: %v", every, err)
		}
		last := float64(losses[len(losses)-1])
		if s.Iter() != 30 || !(last < 10) {
			t.Errorf("snapshot %d: ended at iteration %d with loss %g", every, s.Iter(), last)
		}
		if text := strings.Join(lines, "\n"); !strings.Contains(text, "Rolled back to ") || !strings.Contains(text, "lr = 0.09") {
			t.Errorf("snapshot %d: the log says nothing of a rollback to a rate of 0.09:\n%s", every, text)
		}
		if every == 0 {
			continue
		}
		model := filepath.Join(dir, "steep_iter_30.caffemodel")
		want, err := os.ReadFile(model)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := solve(t, sp, solver.Options{OnNaN: solver.OnNaNRollback, Snapshot: filepath.Join(dir, "steep_iter_28.solverstate")}); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(model); string(got) != string(want) {
			t.Error("resumed after the rollback: weights differ")
		}
	}
}

// TestRollbackGivesUp: what is wrong at any rate ends training.
func TestRollbackGivesUp(t *testing.T) {
	sp := steepSolver(t, t.TempDir())
	for _, l := range sp.NetParam.Layer {
		if l.GetType() == "Data" {
			l.TransformParam.Scale = proto.Float32(1e38)
		}
	}
	_, _, _, err := solve(t, sp, solver.Options{OnNaN: solver.OnNaNRollback})
	if !errors.Is(err, solver.ErrDiverged) || !strings.Contains(err.Error(), "rollbacks") {
		t.Errorf("error %v, want ErrDiverged after rollbacks", err)
	}
}

// TestDivergedAfterSteps: a gradient that is not finite shows only when the
// fully connected layer behind has made its step; what is left is not the state
// before, and must not be kept as such.
func TestDivergedAfterSteps(t *testing.T) {
	for _, fused := range []bool{true, false} {
		dir := t.TempDir()
		sp := parseSolver(t, `
base_lr: 1e-30 lr_policy: "fixed" max_iter: 3 random_seed: 3 solver_mode: CPU snapshot_after_train: false
net_param {
  layer { name: "d" type: "Data" top: "data" top: "label"
    transform_param { scale: 1e25 } data_param { source: "photos_raw_lmdb" batch_size: 7 backend: LMDB } }
  layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
    convolution_param { num_output: 2 kernel_size: 5 stride: 5 bias_filler { type: "constant" value: 1 } } }
  layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" loss_weight: 1e15 }
}`)
		sp.SnapshotPrefix = proto.String(filepath.Join(dir, "steps"))
		_, _, s, err := solve(t, sp, solver.Options{OnNaN: solver.OnNaNStop, NoFuse: !fused})
		if !errors.Is(err, solver.ErrDiverged) || !strings.Contains(err.Error(), `gradient of parameter 0 of layer "conv"`) {
			t.Fatalf("fused %v: error %v, want ErrDiverged because of conv's gradient", fused, err)
		}
		states, _ := filepath.Glob(filepath.Join(dir, "*.solverstate"))
		if kept := len(states) > 0; s.Iter() != 0 || kept == fused || strings.Contains(err.Error(), "is kept in") != kept {
			t.Errorf("fused %v: iteration %d, snapshots %v, error %v", fused, s.Iter(), states, err)
		}
	}
}
