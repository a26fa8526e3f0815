package solver_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"crema/asm"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

const goldenRuns = "../testdata/golden/runs"

// inGolden resolves the golden files' relative paths.
func inGolden(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(goldenRuns, p)
}

// capture is a slog handler that keeps the messages.
type capture struct{ lines *[]string }

func (c capture) Enabled(context.Context, slog.Level) bool { return true }
func (c capture) Handle(_ context.Context, r slog.Record) error {
	*c.lines = append(*c.lines, strings.Split(r.Message, "\n")...)
	return nil
}
func (c capture) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c capture) WithGroup(string) slog.Handler      { return c }

// tolerance is how far repeats of Caffe itself stray from the recorded run:
// relative for each column of losses.csv that is not an accuracy; "acc" for
// those; relative to the largest magnitude for "weights_5", "history_5" and the
// like at the end, 30.
type tolerance map[string]float64

// allows returns how far a value may be from the recorded one.
func (tol tolerance) allows(t *testing.T, column string, want float64) float64 {
	t.Helper()
	switch {
	case strings.HasPrefix(column, "test_acc"):
		return tol.of(t, "acc")
	case column == "lr":
		return 1e-5 * math.Max(1e-3, math.Abs(want))
	}
	return tol.of(t, column) * math.Max(1e-3, math.Abs(want))
}

// of returns an entry, which there must be.
func (tol tolerance) of(t *testing.T, name string) float64 {
	t.Helper()
	v, ok := tol[name]
	if !ok {
		t.Errorf("no tolerance for %s is recorded", name)
	}
	return v
}

// TestGoldenRuns trains the recorded runs from the same start and compares
// every logged loss, test score and rate, and the weights and histories after
// iteration 5 and at the end.
func TestGoldenRuns(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(goldenRuns, "solver", "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no golden runs in %s (%v)", goldenRuns, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) { goldenRun(t, dir) })
	}
}

func goldenRun(t *testing.T, dir string) {
	var tol tolerance
	b, err := os.ReadFile(filepath.Join(dir, "tolerance.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &tol); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "solver.prototxt")
	sp, err := prototxt.ReadSolver(file)
	if err != nil {
		t.Fatal(err)
	}
	sp.SnapshotPrefix = proto.String(filepath.Join(t.TempDir(), "run"))
	sp.Weights = []string{filepath.Join("solver", filepath.Base(dir), "init.caffemodel")}
	var lines []string
	s, err := solver.New(sp, solver.Options{File: file, Log: slog.New(capture{&lines}), ResolvePath: inGolden})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Solve(); err != nil {
		t.Fatal(err)
	}
	compareLog(t, dir, parseLog(lines), tol)
	last := int(sp.GetMaxIter())
	for _, c := range []struct {
		iter             int
		stem             string
		weights, history float64
	}{{5, "iter_5", tol.of(t, "weights_5"), tol.of(t, "history_5")}, {last, "final", tol.of(t, "weights_30"), tol.of(t, "history_30")}} {
		base := fmt.Sprintf("%s_iter_%d", sp.GetSnapshotPrefix(), c.iter)
		if asm.ISA() == "generic" {
			// The portable kernels sum one product after the other, which rounds
			// more than what the tolerances were measured with.
			c.weights, c.history = 2*c.weights, 2*c.history
		}
		if sp.GetSnapshotFormat() == caffepb.SolverParameter_HDF5 {
			compareHDF5(t, base+".caffemodel.h5", filepath.Join(dir, c.stem+".caffemodel.h5"), c.weights)
			compareHDF5(t, base+".solverstate.h5", filepath.Join(dir, c.stem+".solverstate.h5"), c.history)
			continue
		}
		compareModels(t, base+".caffemodel", filepath.Join(dir, c.stem+".caffemodel"), c.weights)
		compareStates(t, base+".solverstate", filepath.Join(dir, c.stem+".solverstate"), c.history)
	}
}

var (
	reTest  = regexp.MustCompile(`^Iteration (\d+), Testing net`)
	reScore = regexp.MustCompile(`Test net output #\d+: (\w+) = (\S+)`)
	reLoss  = regexp.MustCompile(`^Iteration (\d+)(?: \(.*\))?, loss = (\S+)`)
	reRate  = regexp.MustCompile(`^Iteration (\d+), lr = (\S+)`)
)

// parseLog returns the figures of each iteration under the names of
// losses.csv's columns.
func parseLog(lines []string) map[int]map[string]float64 {
	rows := map[int]map[string]float64{}
	set := func(it int, k, v string) {
		if rows[it] == nil {
			rows[it] = map[string]float64{}
		}
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			f = math.NaN()
		}
		rows[it][k] = f
	}
	it := 0
	for _, l := range lines {
		if m := reTest.FindStringSubmatch(l); m != nil {
			it, _ = strconv.Atoi(m[1])
		}
		if m := reScore.FindStringSubmatch(l); m != nil {
			set(it, "test_"+m[1], m[2])
		}
		if m := reLoss.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[1])
			set(n, "loss", m[2])
		}
		if m := reRate.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[1])
			set(n, "lr", m[2])
		}
	}
	return rows
}

func compareLog(t *testing.T, dir string, got map[int]map[string]float64, tol tolerance) {
	f, err := os.Open(filepath.Join(dir, "losses.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) < 30 {
		t.Fatalf("losses.csv: %d rows, %v", len(rows), err)
	}
	for _, r := range rows[1:] {
		it, err := strconv.Atoi(r[0])
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range rows[0][1:] {
			if r[i+1] == "" {
				continue
			}
			want, err := strconv.ParseFloat(r[i+1], 64)
			if err != nil {
				t.Fatal(err)
			}
			allowed := tol.allows(t, k, want)
			v, ok := got[it][k]
			if !ok || !(math.Abs(v-want) <= allowed) {
				t.Errorf("iteration %d, %s: %v (logged: %v), want %v within %.2g", it, k, v, ok, want, allowed)
			}
		}
	}
}

func compareModels(t *testing.T, got, want string, tol float64) {
	var g, w caffepb.NetParameter
	read(t, got, &g)
	read(t, want, &w)
	if len(g.Layer) != len(w.Layer) || g.GetName() != w.GetName() {
		t.Fatalf("%s: net %q of %d layers, want %q of %d", got, g.GetName(), len(g.Layer), w.GetName(), len(w.Layer))
	}
	for i, l := range w.Layer {
		o := g.Layer[i]
		if len(o.Blobs) != len(l.Blobs) {
			t.Fatalf("%s: layer %s has %d blobs, want %d", got, l.GetName(), len(o.Blobs), len(l.Blobs))
		}
		for j, b := range l.Blobs {
			compareBlobs(t, fmt.Sprintf("%s: weights of %s, %d", filepath.Base(got), l.GetName(), j), o.Blobs[j], b, tol)
			o.Blobs[j], l.Blobs[j] = nil, nil
		}
		o.Blobs, l.Blobs = nil, nil
		if !proto.Equal(o, l) {
			t.Errorf("%s: layer %d is\n%v\nwant\n%v", got, i, o, l)
		}
	}
}

func compareStates(t *testing.T, got, want string, tol float64) {
	var g, w caffepb.SolverState
	read(t, got, &g)
	read(t, want, &w)
	if g.GetIter() != w.GetIter() || g.GetCurrentStep() != w.GetCurrentStep() || len(g.History) != len(w.History) {
		t.Fatalf("%s: iter %d step %d, %d histories; want %d %d %d", got, g.GetIter(), g.GetCurrentStep(), len(g.History), w.GetIter(), w.GetCurrentStep(), len(w.History))
	}
	for i := range w.History {
		compareBlobs(t, fmt.Sprintf("%s: history %d", filepath.Base(got), i), g.History[i], w.History[i], tol)
	}
}

func compareBlobs(t *testing.T, what string, got, want *caffepb.BlobProto, tol float64) {
	t.Helper()
	if !proto.Equal(got.Shape, want.Shape) || len(got.Data) != len(want.Data) {
		t.Errorf("%s: shape %v, %d values; want %v, %d", what, got.Shape, len(got.Data), want.Shape, len(want.Data))
		return
	}
	var worst, scale float64
	for i := range want.Data {
		worst = math.Max(worst, math.Abs(float64(got.Data[i])-float64(want.Data[i])))
		scale = math.Max(scale, math.Abs(float64(want.Data[i])))
	}
	if worst > 0 && !(worst/scale <= tol) {
		t.Errorf("%s: off by %.2g, allowed %.2g", what, worst/scale, tol)
	}
}

func read(t *testing.T, path string, m proto.Message) {
	t.Helper()
	if err := prototxt.ReadBinary(path, m); err != nil {
		t.Fatal(err)
	}
	m.ProtoReflect().SetUnknown(nil) // the seal, which names of files are in
}
