//go:build unix

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/internal/pytest"
)

// writePythonNet writes a solver, a net and its layers into a folder, as a user
// has them, and returns the solver's path. The layer file is that of the
// documentation.
func writePythonNet(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	page, err := os.ReadFile("../../docs/python-layers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mylayers.py", "net.prototxt", "solver.prototxt"} {
		_, rest, found := strings.Cut(string(page), "`"+name+"`")
		_, rest, found2 := strings.Cut(rest, "\n```")
		_, rest, found3 := strings.Cut(rest, "\n")
		text, _, found4 := strings.Cut(rest, "\n```")
		if !found || !found2 || !found3 || !found4 {
			t.Fatalf("the documentation does not show %s", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "solver.prototxt")
}

// TestPythonDocumentation trains the net of docs/python-layers.md with the command
// that it gives, then tests and times it from another folder.
func TestPythonDocumentation(t *testing.T) {
	pytest.Need(t)
	solver := writePythonNet(t)
	dir := filepath.Dir(solver)
	net := filepath.Join(dir, "net.prototxt")
	t.Chdir(dir)
	r := mustCrema(t, "train", "-solver", "solver.prototxt")
	msgs := r.messages(t)
	if !slices.ContainsFunc(msgs, func(m string) bool { return strings.HasPrefix(m, "batches of 32 points") }) {
		t.Error("what a layer prints is not in the log")
	}
	score := func(msgs []string, prefix string) string {
		for _, m := range slices.Backward(msgs) {
			if _, v, ok := strings.Cut(m, prefix); ok {
				v, _, _ = strings.Cut(v, " ")
				return v
			}
		}
		t.Fatalf("no line with %q in\n%s", prefix, strings.Join(msgs, "\n"))
		return ""
	}
	trained := score(msgs, "Test net output #0: loss = ")
	if !strings.Contains(trained, "e-") && !strings.HasPrefix(trained, "0.00") {
		t.Errorf("the test loss after training is %s", trained)
	}
	// Training goes on from the snapshot.
	r = mustCrema(t, "train", "-solver", "solver.prototxt", "-snapshot", "line_iter_300.solverstate", "--set=max_iter=310")
	if !slices.ContainsFunc(r.messages(t), func(m string) bool {
		return strings.HasPrefix(m, "Layer points of type Python cannot be put where it stood after")
	}) {
		t.Error("nothing says that the data does not go on")
	}
	t.Chdir(t.TempDir())
	weights := filepath.Join(dir, "line_iter_300.caffemodel")
	r = mustCrema(t, "test", "-model", net, "-weights", weights, "-iterations", "5")
	if loss := score(r.messages(t), "Loss: "); !strings.Contains(loss, "e-") && !strings.HasPrefix(loss, "0.00") {
		t.Errorf("the loss with the trained weights is %s", loss)
	}
	mustCrema(t, "time", "-model", net, "-iterations", "2")
}

// TestPythonErrorLine checks how an exception in the middle of training ends the
// program.
func TestPythonErrorLine(t *testing.T) {
	pytest.Need(t)
	solver := writePythonNet(t)
	dir := filepath.Dir(solver)
	file := filepath.Join(dir, "mylayers.py")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(text), "def backward(self, top, propagate_down, bottom):\n", "def backward(self, top, propagate_down, bottom):\n        raise RuntimeError('out of ideas')\n", -1)
	if err := os.WriteFile(file, []byte(broken), 0o644); err != nil {
		t.Fatal(err)
	}
	r := crema("train", "-solver", solver, "--data-root=net.prototxt="+filepath.Join(dir, "net.prototxt"), "--set=snapshot_prefix="+filepath.Join(dir, "line"))
	want := "crema train: iteration 0: TRAIN net: layer \"loss\" (Python): EuclideanLoss.backward: RuntimeError: out of ideas\n  File \"" + file + "\", line "
	if r.status != 1 || !strings.Contains(r.err, want) || !strings.HasSuffix(r.err, "in backward\n    raise RuntimeError('out of ideas')\n") {
		t.Errorf("status %d, the error ends\n%s\nwant\n%s", r.status, r.err[max(0, len(r.err)-500):], want)
	}
}
