package watch

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// smallSolver trains a small net on photos: 12 iterations, a test every 5.
const smallSolver = `
base_lr: 0.001 lr_policy: "fixed" momentum: 0.5 max_iter: 12 random_seed: 3
test_iter: 2 test_interval: 5 snapshot: 6
net_param { name: "small"
  layer { name: "data" type: "Data" top: "data" top: "label"
    transform_param { scale: 0.0078125 mean_value: 110 } data_param { source: "photos_raw_lmdb" batch_size: 7 backend: LMDB } }
  layer { name: "conv, \"1\"" type: "Convolution" bottom: "data" top: "conv"
    convolution_param { num_output: 6 kernel_size: 5 stride: 2 weight_filler { type: "xavier" } } }
  layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
  layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
  layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
  layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" include { phase: TEST } }
}`

func parseSolver(t testing.TB, text string) *caffepb.SolverParameter {
	t.Helper()
	sp := &caffepb.SolverParameter{}
	if err := prototxt.UnmarshalText("test", []byte(text), sp); err != nil {
		t.Fatal(err)
	}
	return sp
}

// inGolden finds the data of recorded runs.
func inGolden(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join("../testdata/golden/runs", p)
}

// A run is a solver that is watched.
type run struct {
	sv       *solver.Solver
	rec      *Recorder
	progress []solver.Progress
	log      []string
}

// newRun makes a solver with a recorder that has begun. Snapshots go to dir.
func newRun(t testing.TB, sp *caffepb.SolverParameter, o Options, so solver.Options, dir string) *run {
	t.Helper()
	r := &run{}
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "small"))
	log := slog.New(capture{&r.log})
	o.Solver, o.Log = sp, log
	so.ResolvePath = inGolden
	so.OnIteration = func(p solver.Progress) { r.progress = append(r.progress, p) }
	var err error
	if r.rec, err = New(o); err != nil {
		t.Fatal(err)
	}
	r.rec.Install(&so)
	if r.sv, err = solver.New(sp, so); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.sv.Close() })
	if err := r.rec.Start(r.sv); err != nil {
		t.Fatal(err)
	}
	return r
}

// eager makes a recorder do everything in every iteration.
func (r *run) eager() *run {
	r.rec.o.Every = 1
	for _, p := range []*pace{&r.rec.paces.sample, &r.rec.paces.histograms, &r.rec.paces.scalars, &r.rec.paces.pictures, &r.rec.paces.recorded} {
		*p = pace{share: 1e9}
	}
	return r
}

func (r *run) solve(t testing.TB) {
	t.Helper()
	err := r.sv.Solve()
	if cerr := r.rec.Close(err); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
}

// capture is a slog handler that keeps the messages of warnings and errors.
type capture struct{ lines *[]string }

func (c capture) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (c capture) Handle(_ context.Context, r slog.Record) error {
	*c.lines = append(*c.lines, r.Message)
	return nil
}
func (c capture) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c capture) WithGroup(string) slog.Handler      { return c }
