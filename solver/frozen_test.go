package solver_test

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
	"crema/solver"
)

// frozenSolver has a frozen convolution below one that learns, and one with a
// frozen bias alone.
const frozenSolver = `
base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01
display: 2 max_iter: 6 random_seed: 11
net_param {
  name: "frozen"
  layer { name: "d" type: "Data" top: "data" top: "label" transform_param { scale: 0.0078125 }
    data_param { source: "photos_raw_lmdb" batch_size: 7 backend: LMDB } }
  layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 0 } param { lr_mult: 0 }
    convolution_param { num_output: 6 kernel_size: 3 stride: 2 weight_filler { type: "msra" } } }
  layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2" param { lr_mult: 1 } param { lr_mult: 0 }
    convolution_param { num_output: 6 kernel_size: 3 stride: 2 weight_filler { type: "msra" } } }
  layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc" inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
}`

// TestFrozen: parameters that nothing changes take neither time nor memory, and
// every file is the same as if they had been updated like all others.
func TestFrozen(t *testing.T) {
	for _, c := range []struct {
		name   string
		edit   func(*caffepb.SolverParameter)
		passed bool // the frozen parameters are left alone
	}{
		{"SGD", func(p *caffepb.SolverParameter) {}, true},
		{"Nesterov", func(p *caffepb.SolverParameter) {}, true},
		{"L1", func(p *caffepb.SolverParameter) { p.RegularizationType = proto.String("L1") }, true},
		{"clipped", func(p *caffepb.SolverParameter) { p.ClipGradients = proto.Float32(0.5) }, true},
		{"iter_size", func(p *caffepb.SolverParameter) { p.IterSize = proto.Int32(2) }, true},
		{"snapshot_diff", func(p *caffepb.SolverParameter) { p.SnapshotDiff = proto.Bool(true) }, true},
		{"Adam", func(p *caffepb.SolverParameter) { p.Momentum2 = proto.Float32(0.999) }, false},
		{"AdaGrad", func(p *caffepb.SolverParameter) { p.Momentum = nil }, false},
		{"RMSProp", func(p *caffepb.SolverParameter) { p.Momentum, p.RmsDecay = nil, proto.Float32(0.9) }, false},
		{"AdaDelta", func(p *caffepb.SolverParameter) { p.Delta = proto.Float32(1e-6) }, false},
		{"Adam without decay", func(p *caffepb.SolverParameter) { p.Type, p.WeightDecay = proto.String("Adam"), nil }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			train := func(prefix string, touch bool) *solver.Solver {
				sp := parseSolver(t, frozenSolver)
				if kind := []string{"Nesterov", "Adam", "AdaGrad", "RMSProp", "AdaDelta"}; slices.Contains(kind, c.name) {
					sp.Type = proto.String(c.name)
				}
				c.edit(sp)
				sp.SnapshotPrefix = proto.String(filepath.Join(dir, prefix))
				var lines []string
				o := solver.Options{Log: slog.New(capture{&lines}), ResolvePath: inGolden, OnNaN: solver.OnNaNStop}
				s, err := solver.New(sp, o)
				if err != nil {
					t.Fatal(err)
				}
				if touch {
					// With gradients in memory they are treated like any other.
					for _, p := range s.Net().Params() {
						p.Blob.Diff()
					}
				}
				if err := s.Solve(); err != nil {
					t.Fatal(err)
				}
				const want = "lr_mult 0 freezes the parameters of 1 of 3 layers: the backward pass runs 3 of 4 layers and leaves out the gradients of 2 of 4 bottoms and 3 of 6 parameters"
				if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, want) }) {
					t.Errorf("no line %q", want)
				}
				return s
			}
			quick, slow := train("quick", false), train("slow", true)
			defer quick.Close()
			defer slow.Close()
			for _, p := range quick.Net().Params() {
				// A snapshot with gradients has those of all parameters.
				if p.LRMult == 0 && p.Blob.HasDiff() == (c.passed && c.name != "snapshot_diff") {
					t.Errorf("parameter %s of %q: gradients in memory: %v", p.Name, p.Layer, p.Blob.HasDiff())
				}
			}
			sameFile(t, "weights", filepath.Join(dir, "quick_iter_6.caffemodel"), filepath.Join(dir, "slow_iter_6.caffemodel"))
			sameState(t, filepath.Join(dir, "quick_iter_6.solverstate"), filepath.Join(dir, "slow_iter_6.solverstate"))
		})
	}
}

// TestFrozenResumed: a layer that is frozen after it has learned goes on by its
// momentum, as in Caffe.
func TestFrozenResumed(t *testing.T) {
	dir := t.TempDir()
	sp := parseSolver(t, strings.ReplaceAll(frozenSolver, "lr_mult: 0", "lr_mult: 1"))
	sp.MaxIter, sp.SnapshotPrefix = proto.Int32(3), proto.String(filepath.Join(dir, "x"))
	run(t, sp, "", nil)
	sp = parseSolver(t, frozenSolver)
	sp.MaxIter, sp.SnapshotPrefix = proto.Int32(4), proto.String(filepath.Join(dir, "y"))
	s, err := solver.New(sp, solver.Options{Snapshot: filepath.Join(dir, "x_iter_3.solverstate"), ResolvePath: inGolden})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before := slices.Clone(s.Net().Params()[0].Blob.ReadData())
	if err := s.Solve(); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(before, s.Net().Params()[0].Blob.ReadData()) {
		t.Error("the momentum was lost")
	}
}
