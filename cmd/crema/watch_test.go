package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/watch"
)

// TestWatch trains with a record, resumes it, and checks what can be wrong with
// the flags.
func TestWatch(t *testing.T) {
	t.Chdir(t.TempDir())
	mustCrema(t, "quickstart", "-output", "set", "-count", "300", "-max-iter", "3", "-watch", "runs", "-plots", "plots")
	runs, err := watch.Runs("runs")
	if err != nil || len(runs) != 1 || !strings.HasPrefix(runs[0].Name, "set-2") || runs[0].Iter != 2 {
		t.Errorf("runs %+v, error %v", runs, err)
	}
	if _, err := os.Stat("plots/loss.svg"); err != nil {
		t.Error(err)
	}

	solver := []string{"train", "-solver", "set/solver.prototxt", "-set", "test_iter=", "-set", "test_interval=0", "-set", "snapshot=2"}
	named := append(slices.Clone(solver), "-watch", "runs", "-run-name", "mine")
	mustCrema(t, append(slices.Clone(named), "-set", "max_iter=5")...)
	wantError(t, crema(append(slices.Clone(named), "-set", "max_iter=5")...), 1, filepath.Join("runs", "mine"), "resume")
	mustCrema(t, append(slices.Clone(named), "-set", "max_iter=7", "-snapshot", "set/vgg_iter_4.solverstate")...)
	s, st, err := watch.LoadRun("runs/mine")
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{0, 1, 2, 3, 4, 5, 6}; !slices.Equal(s.Iter, want) {
		t.Errorf("iterations %v, want %v", s.Iter, want)
	}
	if !strings.Contains(st.Config, "max_iter: 7") || !strings.Contains(st.NetConfig, `name: "conv1_1"`) {
		t.Error("the configuration is not that of the resumed run")
	}

	writeFile(t, ".", "file", "")
	wantError(t, crema(append(slices.Clone(solver), "-run-name", "x")...), 2, "-run-name", "-watch")
	wantError(t, crema(append(slices.Clone(solver), "-watch", "runs", "-run-name", "a/b")...), 2, "a/b")
	wantError(t, crema(append(slices.Clone(solver), "-watch", "file")...), 1, "file")
	wantError(t, crema(append(slices.Clone(solver), "-plots", "file")...), 1, "file")
}

// TestWatchArgs checks that every flag that is added is passed on.
func TestWatchArgs(t *testing.T) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	addWatchFlags(fs)
	var want []string
	fs.VisitAll(func(f *flag.Flag) {
		if err := fs.Set(f.Name, "x"); err != nil {
			t.Fatal(err)
		}
		want = append(want, "-"+f.Name+"=x")
	})
	got := watchArgs(fs)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("passes on %v, want %v", got, want)
	}
}
