package solver_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// busySolver uses everything that has a state: shuffled crops and mirrors,
// dropout, momentum, a loss window, accumulation, test nets that wrap round in
// the middle of a test, a multistep policy.
const busySolver = `
base_lr: 0.01 lr_policy: "multistep" gamma: 0.5 stepvalue: 3 stepvalue: 9
momentum: 0.9 weight_decay: 0.0005 iter_size: 2 average_loss: 4
test_iter: 3 test_iter: 2 test_interval: 4
display: 1 max_iter: 14 random_seed: 11 solver_mode: CPU
net_param {
  name: "busy"
  layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN }
    transform_param { crop_size: 24 mirror: true scale: 0.0078125 mean_value: 110 }
    data_param { source: "photos_raw_lmdb" batch_size: 7 backend: LMDB } }
  layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TEST }
    transform_param { crop_size: 24 mirror: true scale: 0.0078125 mean_value: 110 }
    data_param { source: "photos_png_lmdb" batch_size: 25 backend: LMDB } }
  layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
    convolution_param { num_output: 6 kernel_size: 3 stride: 2 weight_filler { type: "msra" } } }
  layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
  layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 } }
  layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" }
  layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
  layer { name: "acc" type: "Accuracy" bottom: "fc" bottom: "label" top: "acc" include { phase: TEST } }
}`

// carryingSolver is busySolver with a layer whose state goes on from batch to
// batch, to which images are time steps.
var carryingSolver = strings.Replace(busySolver, `  layer { name: "fc" type: "InnerProduct" bottom: "pool"`, `
  layer { name: "cont" type: "DummyData" top: "cont" include { phase: TRAIN }
    dummy_data_param { shape { dim: 7 dim: 1 } data_filler { value: 1 } } }
  layer { name: "cont" type: "DummyData" top: "cont" include { phase: TEST }
    dummy_data_param { shape { dim: 25 dim: 1 } data_filler { value: 1 } } }
  layer { name: "steps" type: "Reshape" bottom: "pool" top: "steps" reshape_param { shape { dim: 0 dim: 1 dim: -1 } } }
  layer { name: "lstm" type: "LSTM" bottom: "steps" bottom: "cont" top: "lstm" recurrent_param { num_output: 8 weight_filler { type: "xavier" } } }
  layer { name: "fc" type: "InnerProduct" bottom: "lstm"`, 1)

func parseSolver(t *testing.T, text string) *caffepb.SolverParameter {
	t.Helper()
	var sp caffepb.SolverParameter
	if err := prototxt.UnmarshalText("test", []byte(text), &sp); err != nil {
		t.Fatal(err)
	}
	return &sp
}

// run trains from a fresh solver, resumed from a state if one is given, and
// returns the log.
func run(t *testing.T, sp *caffepb.SolverParameter, state string, action func() solver.Action) []string {
	t.Helper()
	var lines []string
	s, err := solver.New(sp, solver.Options{Snapshot: state, Log: slog.New(capture{&lines}), ResolvePath: inGolden, Action: action})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Solve(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// figures keeps the lines that say something of losses and scores, without
// speeds.
func figures(lines []string) []string {
	speed := regexp.MustCompile(` \(.* iters\)`)
	var out []string
	for _, l := range lines {
		if strings.Contains(l, ", loss = ") || strings.Contains(l, "net output") || strings.Contains(l, ", lr = ") {
			out = append(out, speed.ReplaceAllString(l, ""))
		}
	}
	return out
}

// TestExactResume stops a run at every poll in turn, in the middle of tests
// too, asking once or for good, resumes it and wants the files and the log of the run that went on.
func TestExactResume(t *testing.T) {
	t.Run("busy", func(t *testing.T) { exactResume(t, busySolver, 1) })
	t.Run("carrying", func(t *testing.T) { exactResume(t, carryingSolver, 5) })
}

// exactResume stops at every step-th poll.
func exactResume(t *testing.T, text string, step int) {
	dir := t.TempDir()
	sp := parseSolver(t, text)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "whole"))
	polls := 0
	whole := run(t, sp, "", func() solver.Action { polls++; return solver.ActionNone })
	if polls < 20 {
		t.Fatalf("only %d polls", polls)
	}
	for stopAt := 1; stopAt <= polls; stopAt += step {
		prefix := filepath.Join(dir, fmt.Sprintf("stop%d", stopAt))
		sp.SnapshotPrefix = proto.String(prefix)
		n := 0
		first := run(t, sp, "", func() solver.Action {
			if n++; n == stopAt || n > stopAt && stopAt%2 == 0 {
				return solver.ActionStop
			}
			return solver.ActionNone
		})
		states, _ := filepath.Glob(prefix + "_iter_*.solverstate")
		if len(states) != 1 {
			t.Fatalf("stop at poll %d: states %v", stopAt, states)
		}
		rest := run(t, sp, states[0], nil)
		sameFile(t, fmt.Sprintf("stop at poll %d", stopAt), prefix+"_iter_14.caffemodel", filepath.Join(dir, "whole_iter_14.caffemodel"))
		sameState(t, prefix+"_iter_14.solverstate", filepath.Join(dir, "whole_iter_14.solverstate"))
		want, got := figures(whole), figures(rest)
		if len(got) > len(want) || !slices.Equal(got, want[len(want)-len(got):]) {
			t.Fatalf("stop at poll %d: resumed log\n%s\nis not the end of the whole log\n%s", stopAt, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if begin := figures(first); !slices.Equal(begin, want[:len(begin)]) {
			t.Fatalf("stop at poll %d: log before the stop differs", stopAt)
		}
	}
}

// TestSnapshotOnRequest: asking for a snapshot changes nothing in the run, and
// each of them can be resumed.
func TestSnapshotOnRequest(t *testing.T) {
	dir := t.TempDir()
	sp := parseSolver(t, busySolver)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "whole"))
	whole := run(t, sp, "", nil)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "snap"))
	n := 0
	snap := run(t, sp, "", func() solver.Action {
		if n++; n%3 == 0 {
			return solver.ActionSnapshot
		}
		return solver.ActionNone
	})
	if !slices.Equal(figures(whole), figures(snap)) {
		t.Error("snapshots on the way changed the run")
	}
	states, _ := filepath.Glob(filepath.Join(dir, "snap_iter_*.solverstate"))
	if len(states) < 5 {
		t.Fatalf("only %d states", len(states))
	}
	for _, st := range states {
		sp.SnapshotPrefix = proto.String(filepath.Join(dir, "again"))
		run(t, sp, st, nil)
		sameFile(t, st, filepath.Join(dir, "again_iter_14.caffemodel"), filepath.Join(dir, "whole_iter_14.caffemodel"))
	}
}

// TestUnseeded: without random_seed two runs differ, and a resumed one goes on
// with the seed of its first part.
func TestUnseeded(t *testing.T) {
	dir := t.TempDir()
	sp := parseSolver(t, busySolver)
	sp.RandomSeed = nil
	sp.Snapshot = proto.Int32(7)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "a"))
	run(t, sp, "", nil)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "b"))
	run(t, sp, filepath.Join(dir, "a_iter_7.solverstate"), nil)
	sameFile(t, "unseeded", filepath.Join(dir, "a_iter_14.caffemodel"), filepath.Join(dir, "b_iter_14.caffemodel"))
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "c"))
	run(t, sp, "", nil)
	a, _ := os.ReadFile(filepath.Join(dir, "a_iter_14.caffemodel"))
	c, _ := os.ReadFile(filepath.Join(dir, "c_iter_14.caffemodel"))
	if bytes.Equal(a, c) {
		t.Error("two unseeded runs are equal")
	}
}

func sameFile(t *testing.T, what, got, want string) {
	t.Helper()
	g, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		t.Fatalf("%s: %s differs from %s", what, filepath.Base(got), filepath.Base(want))
	}
}

// sameState compares states but for the path of the weights.
func sameState(t *testing.T, got, want string) {
	t.Helper()
	var g, w caffepb.SolverState
	read(t, got, &g)
	read(t, want, &w)
	g.LearnedNet, w.LearnedNet = nil, nil
	if !proto.Equal(&g, &w) {
		g.History, w.History = nil, nil
		t.Fatalf("%s differs: %v, want %v", filepath.Base(got), &g, &w)
	}
}

// TestRestoreCaffe resumes from a state that Caffe wrote and whose weights
// have moved.
func TestRestoreCaffe(t *testing.T) {
	dir := t.TempDir()
	for _, ext := range []string{".caffemodel", ".solverstate"} {
		b, err := os.ReadFile(filepath.Join(goldenRuns, "solver/sgd_step/iter_5"+ext))
		if err != nil {
			t.Fatal(err)
		}
		name := "iter_5" + ext
		if ext == ".caffemodel" {
			name = "run_iter_5" + ext
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sp, err := prototxt.ReadSolver(filepath.Join(goldenRuns, "solver/sgd_step/solver.prototxt"))
	if err != nil {
		t.Fatal(err)
	}
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "again"))
	sp.MaxIter, sp.SnapshotAfterTrain, sp.Snapshot = proto.Int32(5), proto.Bool(true), proto.Int32(0)
	lines := run(t, sp, filepath.Join(dir, "iter_5.solverstate"), nil)
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "beside the state") }) {
		t.Error("the log does not say that the weights were found beside the state")
	}
	compareModels(t, filepath.Join(dir, "again_iter_5.caffemodel"), filepath.Join(goldenRuns, "solver/sgd_step/iter_5.caffemodel"), 0)
	compareStates(t, filepath.Join(dir, "again_iter_5.solverstate"), filepath.Join(goldenRuns, "solver/sgd_step/iter_5.solverstate"), 0)
}

func TestRestoreErrors(t *testing.T) {
	dir := t.TempDir()
	sp := parseSolver(t, busySolver)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "x"))
	good := filepath.Join(goldenRuns, "solver/sgd_step/iter_5.solverstate")
	b, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none.solverstate"), "none.solverstate"},
		{"empty", write("empty.solverstate", nil), "empty.solverstate"},
		{"not a state", write("other.solverstate", []byte("\x40\x01")), `other.solverstate": not a`},
		{"cut", write("cut.solverstate", b[:len(b)/2]), "cut.solverstate"},
		{"another net", good, "has 6 history blobs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := solver.New(sp, solver.Options{Snapshot: c.path, ResolvePath: inGolden})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestNewErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*caffepb.SolverParameter)
		want string
	}{
		{"type", func(p *caffepb.SolverParameter) { p.Type = proto.String("Sgd") }, "known: AdaDelta, AdaGrad, Adam, Nesterov, RMSProp, SGD"},
		{"policy", func(p *caffepb.SolverParameter) { p.LrPolicy = proto.String("stop") }, "known: fixed, step"},
		{"no policy", func(p *caffepb.SolverParameter) { p.LrPolicy = nil }, "lr_policy is missing"},
		{"gamma", func(p *caffepb.SolverParameter) { p.Gamma = proto.Float32(-1) }, "gamma must not be negative"},
		{"stepsize", func(p *caffepb.SolverParameter) { p.LrPolicy = proto.String("step") }, "stepsize above 0"},
		{"momentum", func(p *caffepb.SolverParameter) { p.Type = proto.String("AdaGrad") }, "momentum cannot be used with AdaGrad"},
		{"two nets", func(p *caffepb.SolverParameter) { p.Net = proto.String("x") }, "2 are set"},
		{"no net", func(p *caffepb.SolverParameter) { p.NetParam = nil }, "0 are set"},
		{"net file", func(p *caffepb.SolverParameter) { p.NetParam = nil; p.Net = proto.String("none.prototxt") }, "none.prototxt"},
		{"test_state", func(p *caffepb.SolverParameter) { p.TestState = []*caffepb.NetState{{}} }, "test_state must be given once for each"},
		{"test_interval", func(p *caffepb.SolverParameter) { p.TestInterval = nil }, "test_interval is not above 0"},
		{"prefix", func(p *caffepb.SolverParameter) { p.SnapshotPrefix = proto.String("/no/such/folder/x") }, "/no/such/folder"},
		{"decay", func(p *caffepb.SolverParameter) { p.RegularizationType = proto.String("L3") }, "known: L1, L2"},
		{"iter_size", func(p *caffepb.SolverParameter) { p.IterSize = proto.Int32(0) }, "iter_size must be at least 1"},
		{"average_loss", func(p *caffepb.SolverParameter) { p.AverageLoss = proto.Int32(0) }, "average_loss must be at least 1"},
		{"layer", func(p *caffepb.SolverParameter) { p.NetParam.Layer[3].Type = proto.String("Relu") }, `layer "relu" (Relu): unknown layer type`},
		{"weights", func(p *caffepb.SolverParameter) { p.Weights = []string{"none.caffemodel"} }, "none.caffemodel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sp := parseSolver(t, busySolver)
			sp.SnapshotPrefix = proto.String(filepath.Join(t.TempDir(), "x"))
			c.edit(sp)
			s, err := solver.New(sp, solver.Options{ResolvePath: inGolden})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// TestSnapshotPrefix: unset it is the solver file's path without extension, a
// folder gets the solver file's stem.
func TestSnapshotPrefix(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "snaps"), 0o755); err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string]string{
		"":                          "my_solver_iter_0.solverstate",
		filepath.Join(dir, "snaps"): "snaps/my_solver_iter_0.solverstate",
		filepath.Join(dir, "p"):     "p_iter_0.solverstate",
	} {
		sp := parseSolver(t, busySolver)
		if prefix != "" {
			sp.SnapshotPrefix = proto.String(prefix)
		}
		s, err := solver.New(sp, solver.Options{ResolvePath: inGolden, File: filepath.Join(dir, "my_solver.prototxt")})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Snapshot(); err != nil {
			t.Error(err)
		}
		s.Close()
		if _, err := os.Stat(filepath.Join(dir, want)); err != nil {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}
