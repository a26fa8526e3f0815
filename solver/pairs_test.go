package solver_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// snapshots trains and leaves snapshots of the iterations 2, 4, 6 and 8 in dir.
func snapshots(t *testing.T, dir string, format caffepb.SolverParameter_SnapshotFormat) *caffepb.SolverParameter {
	t.Helper()
	sp := parseSolver(t, busySolver)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "run"))
	sp.Snapshot, sp.MaxIter, sp.SnapshotFormat = proto.Int32(2), proto.Int32(8), format.Enum()
	sp.TestIter, sp.TestInterval = nil, nil
	if _, _, _, err := solve(t, sp, solver.Options{}); err != nil {
		t.Fatal(err)
	}
	return sp
}

func open(t *testing.T, sp *caffepb.SolverParameter, snapshot string) (iter int, lines []string, err error) {
	t.Helper()
	s, err := solver.New(sp, solver.Options{Snapshot: snapshot, Log: slog.New(capture{&lines}), ResolvePath: inGolden})
	if err != nil {
		return 0, lines, err
	}
	defer s.Close()
	return s.Iter(), lines, nil
}

var formats = map[caffepb.SolverParameter_SnapshotFormat]string{
	caffepb.SolverParameter_BINARYPROTO: "", caffepb.SolverParameter_HDF5: ".h5",
}

// TestDamagedSnapshots flips bits of weights and states, cuts them off, and puts
// those of other iterations in their place: none is resumed from, and the error
// names the newest older pair that is whole.
func TestDamagedSnapshots(t *testing.T) {
	for format, ext := range formats {
		dir := t.TempDir()
		sp := snapshots(t, dir, format)
		state, model := filepath.Join(dir, "run_iter_8.solverstate"+ext), filepath.Join(dir, "run_iter_8.caffemodel"+ext)
		older := filepath.Join(dir, "run_iter_6.solverstate"+ext)
		if iter, _, err := open(t, sp, state); err != nil || iter != 8 {
			t.Fatalf("%v: whole: iteration %d, %v", format, iter, err)
		}
		for _, f := range []string{state, model} {
			whole, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			try := func(what string, b []byte) {
				t.Helper()
				if err := os.WriteFile(f, b, 0o644); err != nil {
					t.Fatal(err)
				}
				if _, _, err := open(t, sp, state); err == nil {
					t.Fatalf("%v: %s, %s: resumed", format, filepath.Base(f), what)
				} else if !strings.Contains(err.Error(), older) && !strings.Contains(err.Error(), filepath.Base(f)) {
					t.Errorf("%v: %s, %s: %v, want the file or %s named", format, filepath.Base(f), what, err, older)
				}
			}
			for i := range 12 {
				at := (len(whole) - 1) * i / 11
				b := slices.Clone(whole)
				b[at] ^= 1 << (i % 8)
				try("a bit flipped", b)
			}
			for _, n := range []int{1, len(whole) / 2, len(whole) - 30, len(whole) - 1} {
				try("cut off", whole[:n])
			}
			other, err := os.ReadFile(strings.Replace(f, "iter_8", "iter_6", 1))
			if err != nil {
				t.Fatal(err)
			}
			if f == model { // a state of another iteration has weights of its own
				try("of another iteration", other)
			}
			if err := os.WriteFile(f, whole, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		// What auto does with a damaged newest pair.
		b, err := os.ReadFile(model)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(model, b, 0o644); err != nil {
			t.Fatal(err)
		}
		iter, lines, err := open(t, sp, solver.SnapshotAuto)
		if err != nil || iter != 6 || !slices.ContainsFunc(lines, func(l string) bool {
			return strings.HasPrefix(l, "Not resuming from this snapshot") && strings.Contains(l, "run_iter_8")
		}) {
			t.Errorf("%v: auto: iteration %d, %v", format, iter, err)
		}
		if _, _, err := open(t, sp, state); err == nil || !strings.Contains(err.Error(), older) {
			t.Errorf("%v: error %v does not name %s", format, err, older)
		}
	}
}

// TestSnapshotMoved: the weights beside a state count, not what now lies where
// it says they were.
func TestSnapshotMoved(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	sp := snapshots(t, dir, caffepb.SolverParameter_BINARYPROTO)
	for _, f := range []string{"run_iter_8.solverstate", "run_iter_8.caffemodel"} {
		if err := os.Rename(filepath.Join(dir, f), filepath.Join(to, f)); err != nil {
			t.Fatal(err)
		}
	}
	moved := filepath.Join(to, "run_iter_8.solverstate")
	named := filepath.Join(dir, "run_iter_8.caffemodel")
	other, err := os.ReadFile(filepath.Join(dir, "run_iter_6.caffemodel"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(named, other, 0o644); err != nil {
		t.Fatal(err)
	}
	if iter, _, err := open(t, sp, moved); err != nil || iter != 8 {
		t.Errorf("moved together: iteration %d, %v", iter, err)
	}
	// The state alone finds what now has the name, which is refused.
	if err := os.Remove(filepath.Join(to, "run_iter_8.caffemodel")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(t, sp, moved); err == nil || !strings.Contains(err.Error(), "not written with this state") {
		t.Errorf("other weights under the name: %v", err)
	}
	if err := os.Remove(named); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(t, sp, moved); err == nil || !strings.Contains(err.Error(), "neither beside it") {
		t.Errorf("no weights: %v", err)
	}
	// Caffe's files have no seals and are taken as they are.
	sp.SnapshotPrefix = proto.String(filepath.Join(t.TempDir(), "run"))
	if iter, lines, err := open(t, sp, solver.SnapshotAuto); err != nil || iter != 0 || !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "beginning anew") }) {
		t.Errorf("auto without a snapshot: iteration %d, %v", iter, err)
	}
}

func TestKeep(t *testing.T) {
	for format, ext := range formats {
		dir := t.TempDir()
		strange := []string{"run_iter_3.caffemodel", "run_iter_x.solverstate", "other_iter_2.solverstate", "run_iter_02.solverstate"}
		for _, f := range strange {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		sp := parseSolver(t, busySolver)
		sp.SnapshotPrefix = proto.String(filepath.Join(dir, "run"))
		sp.Snapshot, sp.MaxIter, sp.SnapshotFormat = proto.Int32(2), proto.Int32(9), format.Enum()
		sp.TestIter, sp.TestInterval = nil, nil
		if _, _, _, err := solve(t, sp, solver.Options{Keep: 2}); err != nil {
			t.Fatal(err)
		}
		var got []string
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got = append(got, e.Name())
		}
		want := slices.Clone(strange)
		for _, n := range []string{"8", "9"} {
			want = append(want, "run_iter_"+n+".caffemodel"+ext, "run_iter_"+n+".solverstate"+ext)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v: left are %q, want %q", format, got, want)
		}
	}
}

// TestSnapshotFails takes away the folder of the snapshots while a run goes on:
// it goes on, and says in the end what could not be written; and if the folder
// is there again, nothing is wrong.
func TestSnapshotFails(t *testing.T) {
	for _, back := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "snapshots")
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		sp := parseSolver(t, busySolver)
		sp.SnapshotPrefix = proto.String(filepath.Join(dir, "run"))
		sp.Snapshot, sp.MaxIter = proto.Int32(2), proto.Int32(6)
		sp.TestIter, sp.TestInterval = nil, nil
		var lines []string
		s, err := solver.New(sp, solver.Options{Log: slog.New(capture{&lines}), ResolvePath: inGolden,
			OnIteration: func(p solver.Progress) {
				switch p.Iter {
				case 1:
					if err := os.RemoveAll(dir); err != nil {
						t.Fatal(err)
					}
				case 5:
					if back {
						if err := os.Mkdir(dir, 0o777); err != nil {
							t.Fatal(err)
						}
					}
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		err = s.Solve()
		if s.Iter() != 6 {
			t.Errorf("ended at iteration %d", s.Iter())
		}
		said := slices.ContainsFunc(lines, func(l string) bool {
			return strings.HasPrefix(l, "Iteration 2 could not be kept") && strings.Contains(l, "Training goes on")
		})
		if !said {
			t.Error("the log does not say that a snapshot failed")
		}
		if back && (err != nil || s.Unsaved() != nil) || !back && (!errors.Is(err, os.ErrNotExist) || s.Unsaved() == nil) {
			t.Errorf("folder back %v: ended with %v, unsaved %v", back, err, s.Unsaved())
		}
		if _, err := os.Stat(filepath.Join(dir, "run_iter_6.solverstate")); back && err != nil {
			t.Error(err)
		}
	}
}
