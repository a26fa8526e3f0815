package watch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// TestRun checks everything that a run leaves: state, series, tables.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	r := newRun(t, parseSolver(t, smallSolver), Options{Dir: dir, Name: "one", File: "x/small.prototxt"}, solver.Options{}, dir).eager()
	if st := r.rec.State(); st.Status != StatusTesting || st.Iter != 0 || !math.IsNaN(float64(st.Loss)) {
		t.Errorf("before training: %+v", st)
	}
	r.solve(t)

	st := r.rec.State()
	if st.Status != StatusFinished || st.Iter != 12 || st.MaxIter != 12 || st.Net != "small" || st.Run != "one" {
		t.Errorf("state %+v", st)
	}
	last := r.progress[11]
	if float32(st.Loss) != last.Loss || float32(st.Rate) != last.Rate || st.Remaining != 0 {
		t.Errorf("loss %g, rate %g, remaining %g; want those of %+v", st.Loss, st.Rate, st.Remaining, last)
	}
	if st.SnapshotIter != 12 || !strings.HasSuffix(st.Snapshot, "small_iter_12.solverstate") {
		t.Errorf("snapshot %q of %d", st.Snapshot, st.SnapshotIter)
	}
	if !strings.Contains(st.Config, "base_lr: 0.001") || !strings.Contains(st.NetConfig, `name: "accuracy"`) {
		t.Errorf("configuration %q, %q", st.Config, st.NetConfig)
	}
	names := []string{"data", `conv, "1"`, "relu", "pool", "fc", "loss"}
	for i, l := range st.Layers {
		if l.Name != names[i] {
			t.Fatalf("layer %d is %q, want %q", i, l.Name, names[i])
		}
		// The convolution's values are overwritten by the nonlinearity behind it.
		if has := l.Activation != nil; has != (i != 1) {
			t.Errorf("%s has activations: %t", l.Name, has)
		}
		if has := l.Gradient != nil && l.Gradient.RMS > 0; has != (i >= 2 && i <= 4) {
			t.Errorf("%s has gradients: %t", l.Name, has)
		}
		if has := l.Ratio > 0; has != (i == 1 || i == 4) {
			t.Errorf("%s has a ratio: %g", l.Name, l.Ratio)
		}
	}

	s := r.rec.Series(-1)
	if len(s.Iter) != 12 || len(s.LayerIter) != 12 {
		t.Fatalf("%d iterations and %d samples, want 12", len(s.Iter), len(s.LayerIter))
	}
	for i, p := range r.progress {
		if s.Iter[i] != i || s.Loss[i] != float64(p.Loss) || s.Rate[i] != float64(p.Rate) {
			t.Errorf("iteration %d: %d, loss %g, rate %g; want %+v", i, s.Iter[i], s.Loss[i], s.Rate[i], p)
		}
	}
	if len(s.Tests) != 2 || !reflect.DeepEqual(s.Tests[0].Iter, []int{0, 5, 10}) || s.Tests[0].Name != "accuracy" || s.Tests[1].Name != "loss" {
		t.Errorf("tests %+v", s.Tests)
	}
	part := r.rec.Series(8)
	if !reflect.DeepEqual(part.Iter, []int{9, 10, 11}) || !reflect.DeepEqual(part.Loss, s.Loss[9:]) ||
		!reflect.DeepEqual(part.LayerIter, part.Iter) || !reflect.DeepEqual(part.Tests[0].Iter, []int{10}) {
		t.Errorf("after 8: %+v", part)
	}
	if end := r.rec.Series(11); len(end.Iter) != 0 || len(end.LayerIter) != 0 {
		t.Errorf("after the end: %+v", end)
	}

	loaded, lst, err := LoadRun(filepath.Join(dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	if lst.Iter != 12 || lst.Loss != st.Loss || lst.NetConfig != st.NetConfig || len(lst.Layers) != 6 || len(lst.Tests) != 1 {
		t.Errorf("loaded state %+v", lst)
	}
	// Tables have fewer digits.
	for what, pair := range map[string][2]any{
		"iterations": {loaded.Iter, s.Iter}, "losses": {loaded.Loss, s.Loss}, "smoothed": {rounded(loaded.Smoothed), rounded(s.Smoothed)},
		"rates": {rounded(loaded.Rate), rounded(s.Rate)}, "tests": {loaded.Tests, s.Tests}, "samples": {loaded.LayerIter, s.LayerIter},
		"activations": {rounded(loaded.Layers[2].Activation), rounded(s.Layers[2].Activation)},
		"zeros":       {rounded(loaded.Layers[2].Zero), rounded(s.Layers[2].Zero)},
		"gradients":   {rounded(loaded.Layers[4].Gradient), rounded(s.Layers[4].Gradient)},
		"ratios":      {rounded(loaded.Layers[1].Ratio), rounded(s.Layers[1].Ratio)},
		"layer name":  {loaded.Layers[1].Name, names[1]},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("loaded %s %v, want %v", what, pair[0], pair[1])
		}
	}
	runs, err := Runs(dir)
	if err != nil || len(runs) != 1 || runs[0].Name != "one" || runs[0].Iter != 11 {
		t.Errorf("runs %+v, error %v", runs, err)
	}
	if len(r.log) > 0 {
		t.Errorf("log %q", r.log)
	}
}

// rounded makes columns that went through a table comparable.
func rounded(c Column) []float32 {
	out := make([]float32, len(c))
	for i, v := range c {
		out[i] = float32(v)
	}
	return out
}

// TestChangesNothing checks that a watched run ends with the bits of one that
// is not.
func TestChangesNothing(t *testing.T) {
	dir := t.TempDir()
	newRun(t, parseSolver(t, smallSolver), Options{Dir: dir, Name: "one"}, solver.Options{}, dir).eager().solve(t)
	watched, err := os.ReadFile(filepath.Join(dir, "small_iter_12.solverstate"))
	if err != nil {
		t.Fatal(err)
	}
	sp := parseSolver(t, smallSolver)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "small"))
	sv, err := solver.New(sp, solver.Options{ResolvePath: inGolden})
	if err != nil {
		t.Fatal(err)
	}
	defer sv.Close()
	if err := sv.Solve(); err != nil {
		t.Fatal(err)
	}
	alone, err := os.ReadFile(filepath.Join(dir, "small_iter_12.solverstate"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(watched, alone) {
		t.Error("the states differ")
	}
}

// firstColumns returns the iterations and the values of a table, without the
// columns that depend on the clock.
func firstColumns(t *testing.T, path string, n int) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(b, []byte("\n")) {
		t.Errorf("%s ends with half a row", path)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ",")
		out = append(out, strings.Join(f[:n], ","))
	}
	return out
}

// TestResume kills a run in the middle of a row and wants the resumed one to
// leave the same tables as one that was never stopped.
func TestResume(t *testing.T) {
	whole, cut := t.TempDir(), t.TempDir()
	newRun(t, parseSolver(t, smallSolver), Options{Dir: whole, Name: "one"}, solver.Options{}, whole).eager().solve(t)

	first := newRun(t, parseSolver(t, smallSolver), Options{Dir: cut, Name: "one"}, solver.Options{}, cut).eager()
	if err := first.sv.Step(9); err != nil {
		t.Fatal(err)
	}
	if err := first.rec.Close(errors.New("killed")); err != nil {
		t.Fatal(err)
	}
	if st := first.rec.State(); st.Status != StatusFailed || st.Error != "killed" {
		t.Errorf("status %q, error %q", st.Status, st.Error)
	}
	elapsed := float64(first.rec.State().Elapsed)
	f, err := os.OpenFile(filepath.Join(cut, "one", trainCSV), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("9,2.30"); err != nil {
		t.Fatal(err)
	}
	f.Close()

	second := newRun(t, parseSolver(t, smallSolver), Options{Dir: cut, Name: "one"},
		solver.Options{Snapshot: filepath.Join(cut, "small_iter_6.solverstate")}, cut).eager()
	if got := second.rec.Series(-1); len(got.Iter) != 6 || len(got.LayerIter) != 6 || len(got.Tests[0].Iter) != 2 {
		t.Errorf("goes on from %d iterations, %d samples, %d tests; want 6, 6, 2", len(got.Iter), len(got.LayerIter), len(got.Tests[0].Iter))
	}
	second.solve(t)
	if st := second.rec.State(); st.Status != StatusFinished || float64(st.Elapsed) < elapsed/2 {
		t.Errorf("status %q after %g s, the first part took %g", st.Status, st.Elapsed, elapsed)
	}
	for name, n := range map[string]int{trainCSV: 4, testCSV: 4, layersCSV: 11} {
		a, b := firstColumns(t, filepath.Join(whole, "one", name), n), firstColumns(t, filepath.Join(cut, "one", name), n)
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: resumed\n%s\nwant\n%s", name, strings.Join(b, "\n"), strings.Join(a, "\n"))
		}
	}
}

func TestExists(t *testing.T) {
	dir := t.TempDir()
	newRun(t, parseSolver(t, smallSolver), Options{Dir: dir, Name: "one"}, solver.Options{}, dir).solve(t)
	sp := parseSolver(t, smallSolver)
	rec, err := New(Options{Solver: sp, Dir: dir, Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	o := solver.Options{ResolvePath: inGolden, File: filepath.Join(dir, "small")}
	rec.Install(&o)
	sv, err := solver.New(sp, o)
	if err != nil {
		t.Fatal(err)
	}
	defer sv.Close()
	if err := rec.Start(sv); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want one of a run that exists", err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Name: "a/b"}, {Name: ".."}, {Name: `a\b`}, {Every: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	for file, want := range map[string]string{"nets/vgg.prototxt": "vgg-2", "nets/vgg/solver.prototxt": "vgg-2", "": "run-2", "/solver.prototxt": "run-2"} {
		r, err := New(Options{File: file})
		if err != nil || !strings.HasPrefix(r.State().Run, want) {
			t.Errorf("%q: name %q, want %s…; error %v", file, r.State().Run, want, err)
		}
	}
}

// TestRollback makes a run diverge, go back and go on: the iterations that are
// made again must not be in the record twice.
func TestRollback(t *testing.T) {
	dir := t.TempDir()
	sp := parseSolver(t, smallSolver)
	sp.BaseLr, sp.Snapshot, sp.MaxIter, sp.Momentum = proto.Float32(8), nil, proto.Int32(20), proto.Float32(0.9)
	r := newRun(t, sp, Options{Dir: dir, Name: "one"}, solver.Options{OnNaN: solver.OnNaNRollback}, dir).eager()
	r.solve(t)
	if len(r.progress) == 20 {
		t.Fatal("the run did not roll back")
	}
	s := r.rec.Series(-1)
	want := make([]int, 20)
	for i := range want {
		want[i] = i
	}
	if !reflect.DeepEqual(s.Iter, want) || s.Revision == 0 {
		t.Errorf("iterations %v, revision %d", s.Iter, s.Revision)
	}
	loaded, _, err := LoadRun(filepath.Join(dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(loaded.Iter, want) || !reflect.DeepEqual(loaded.LayerIter, s.LayerIter) || !reflect.DeepEqual(loaded.Loss, s.Loss) {
		t.Errorf("loaded %v, samples %v", loaded.Iter, loaded.LayerIter)
	}
}

// TestReaders reads from many goroutines while a run goes on, and checks that
// what was given out does not change later. It is meant for the race detector.
func TestReaders(t *testing.T) {
	dir := t.TempDir()
	sp := parseSolver(t, smallSolver)
	sp.MaxIter = proto.Int32(20)
	r := newRun(t, sp, Options{Dir: dir, Name: "one"}, solver.Options{}, dir).eager()
	quit := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			type kept struct {
				v    any
				json []byte
			}
			var all []kept
			for {
				for _, v := range []any{r.rec.State(), r.rec.Series(-1), r.rec.Pictures()} {
					b, err := json.Marshal(v)
					if err != nil {
						t.Error(err)
						return
					}
					if len(all) < 60 {
						all = append(all, kept{v, b})
					}
				}
				select {
				case <-quit:
					for _, k := range all {
						if b, _ := json.Marshal(k.v); !bytes.Equal(b, k.json) {
							t.Errorf("%T was changed", k.v)
							return
						}
					}
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
	wg.Go(func() {
		r.rec.SetPaused(true)
		if st := r.rec.State(); st.Status != StatusPaused {
			t.Errorf("status %q while paused", st.Status)
		}
		time.Sleep(20 * time.Millisecond)
		r.rec.SetPaused(false)
	})
	r.solve(t)
	close(quit)
	wg.Wait()
}

// TestDiskFails checks that a file that cannot be written ends whole, is named
// once in the log, and that training and the other files go on.
func TestDiskFails(t *testing.T) {
	dir := t.TempDir()
	r := newRun(t, parseSolver(t, smallSolver), Options{Dir: dir, Name: "one"}, solver.Options{}, dir).eager()
	train := r.rec.files.train
	if err := r.sv.Step(2); err != nil {
		t.Fatal(err)
	}
	r.rec.files.flush()
	// A descriptor that can only be read: writes fail.
	broken, err := os.Open(train.path)
	if err != nil {
		t.Fatal(err)
	}
	train.writing.Lock()
	train.f.Close()
	train.f = broken
	train.writing.Unlock()
	for range 4 {
		if err := r.sv.Step(2); err != nil {
			t.Fatal(err)
		}
		r.rec.files.flush()
	}
	r.solve(t)
	reports := strings.Join(r.log, "\n")
	if len(r.log) != 1 || !strings.Contains(reports, trainCSV) {
		t.Errorf("log %q, want one line that names the file", reports)
	}
	if n := len(r.rec.Series(-1).Iter); n != 12 {
		t.Errorf("%d iterations in memory, want 12", n)
	}
	loaded, _, err := LoadRun(filepath.Join(dir, "one"))
	if err != nil || len(loaded.Iter) != 2 || len(loaded.LayerIter) != 12 {
		t.Errorf("loaded %d iterations and %d samples, want 2 and 12; error %v", len(loaded.Iter), len(loaded.LayerIter), err)
	}
}

func TestPlots(t *testing.T) {
	dir := t.TempDir()
	plots := filepath.Join(dir, "a", "plots")
	newRun(t, parseSolver(t, smallSolver), Options{Plots: plots}, solver.Options{}, dir).eager().solve(t)
	for _, name := range []string{"loss", "learning_rate", "speed", "test_accuracy", "test_loss", "activations", "zeros", "gradients", "updates", "time"} {
		for ext, magic := range map[string]string{".svg": "<?xml", ".png": "\x89PNG"} {
			b, err := os.ReadFile(filepath.Join(plots, name+ext))
			if err != nil || !strings.HasPrefix(string(b), magic) {
				t.Errorf("%s%s: %v", name, ext, err)
			}
		}
	}
	b, err := os.ReadFile(filepath.Join(plots, "updates.svg"))
	if err != nil || !strings.Contains(string(b), "fc") {
		t.Errorf("updates.svg does not name a layer; error %v", err)
	}
}
