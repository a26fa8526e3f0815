package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crema/models"
)

// nextCommand returns the arguments of the command that the last line of a
// report offers.
func nextCommand(t *testing.T, out string) []string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	_, args, ok := strings.Cut(last, ": "+invocation()+" ")
	if !ok {
		t.Fatalf("no command in the last line %q", last)
	}
	return strings.Fields(args)
}

func TestQuickstart(t *testing.T) {
	t.Chdir(t.TempDir())
	// The folder is given in another form than it is used in.
	args := []string{"quickstart", "-output", "my/./set", "-count", "300", "-max-iter", "3", "-seed", "5"}
	r := mustCrema(t, args...)
	if !strings.HasPrefix(r.out, "Test accuracy: ") {
		t.Errorf("output begins %q", r.out)
	}
	if n, shape := countRecords(t, "my/set/train_lmdb"); n != 300 || shape != [3]int{3, 32, 32} {
		t.Errorf("training set: %d records %v", n, shape)
	}
	if n, _ := countRecords(t, "my/set/test_lmdb"); n != quickstartTest {
		t.Errorf("test set: %d records", n)
	}
	solver, err := os.ReadFile("my/set/solver.prototxt")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`net: "my/set/train_val.prototxt"`, `snapshot_prefix: "my/set/vgg"`, "random_seed: 5\n"} {
		if !strings.Contains(string(solver), want) {
			t.Errorf("solver.prototxt lacks %s", want)
		}
	}

	// The offered command continues from the snapshot.
	next := nextCommand(t, r.out)
	if want := "train --solver=my/set/solver.prototxt --snapshot=my/set/vgg_iter_3.solverstate --set max_iter=6"; strings.Join(next, " ") != want {
		t.Errorf("next command %q, want %q", next, want)
	}
	mustCrema(t, append(next, "--set", "max_iter=4")...)
	if _, err := os.Stat("my/set/vgg_iter_4.caffemodel"); err != nil {
		t.Error(err)
	}

	// Again, with a net that the user has edited: the images are used again.
	old, err := os.ReadFile("my/set/train_val.prototxt")
	if err != nil {
		t.Fatal(err)
	}
	mine := bytes.Replace(old, []byte("num_output: 128"), []byte("num_output: 16"), 1)
	if err := os.WriteFile("my/set/train_val.prototxt", mine, 0o644); err != nil {
		t.Fatal(err)
	}
	r = mustCrema(t, args...)
	if strings.Contains(r.err, "Drawing") {
		t.Error("the second call draws the images again")
	}
	if !strings.Contains(r.err, "Keeping my/set/train_val.prototxt") || strings.Contains(r.err, "Keeping my/set/solver.prototxt") {
		t.Error("the log does not say that train_val.prototxt, and only it, is kept")
	}
	if now, _ := os.ReadFile("my/set/train_val.prototxt"); !bytes.Equal(now, mine) {
		t.Error("the user's net was changed")
	}

	// A drawing that was cut short goes on.
	if err := os.RemoveAll("my/set/test_lmdb"); err != nil {
		t.Fatal(err)
	}
	r = mustCrema(t, append(args, "-linear")...)
	if !strings.HasPrefix(r.out, "Test accuracy of a linear classifier: ") {
		t.Errorf("output begins %q", r.out)
	}
	if n, _ := countRecords(t, "my/set/test_lmdb"); n != quickstartTest {
		t.Errorf("test set after drawing it again: %d records", n)
	}
	if got, want := strings.Join(nextCommand(t, r.out), " "), "quickstart --output=my/set --seed=5 --count=300"; got != want {
		t.Errorf("next command %q, want %q", got, want)
	}

	// Other settings are refused.
	for _, other := range [][]string{{"-seed", "6"}, {"-count", "301"}} {
		r := crema(append(args, other...)...)
		if r.status != 1 || !strings.Contains(r.lastLine(), "another set") {
			t.Errorf("%v: status %d, %s", other, r.status, r.lastLine())
		}
	}
}

// TestQuickstartLeavesOthersFiles starts in a folder with images that are not
// its own.
func TestQuickstartLeavesOthersFiles(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "train_lmdb")
	if err := os.Mkdir(db, 0o755); err != nil {
		t.Fatal(err)
	}
	r := crema("quickstart", "-output", dir, "-max-iter", "1")
	if r.status != 1 || !strings.Contains(r.lastLine(), db+" exists but not") {
		t.Errorf("status %d, %s", r.status, r.lastLine())
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("the folder now has %v", left)
	}
}

func TestQuickstartUsage(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-output", ""}, "-output"},
		{[]string{"-count", "0"}, "-count=0"},
		{[]string{"-max-iter", "-1"}, "-max-iter=-1"},
		{[]string{"-threads", "-1"}, "-threads=-1"},
		{[]string{"-seed", "-1"}, "-1"},
		{[]string{"now"}, `"now"`},
	} {
		r := crema(append([]string{"quickstart"}, tc.args...)...)
		if r.status != 2 || !strings.Contains(r.lastLine(), tc.want) {
			t.Errorf("%v: status %d, %q; want 2 and %q", tc.args, r.status, r.lastLine(), tc.want)
		}
	}
}

// TestQuickstartInterrupted looks at the report of a run that stopped early.
func TestQuickstartInterrupted(t *testing.T) {
	t.Chdir(t.TempDir())
	q := quickstart{dir: "a b", seed: 1, begin: time.Now(), invokedBy: "crema"}
	if err := os.Mkdir(q.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := models.Quickstart.ReadFile("quickstart/solver.prototxt")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, q.dir, "solver.prototxt", string(q.adapt(text)))
	var out bytes.Buffer
	report := func(q quickstart) string {
		t.Helper()
		out.Reset()
		if err := q.report(stdio{out: &out}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return lines[len(lines)-1]
	}
	if got, want := report(q), "Try next: crema train --solver='a b/solver.prototxt' --set snapshot_after_train=true"; got != want {
		t.Errorf("without a snapshot: %q, want %q", got, want)
	}
	writeFile(t, q.dir, "vgg_iter_7.caffemodel", "")
	if got, want := report(q), "To go on: crema train --solver='a b/solver.prototxt' --snapshot='a b/vgg_iter_7.solverstate'"; got != want {
		t.Errorf("after 7 iterations: %q, want %q", got, want)
	}
	q.maxIter = 20
	if got := report(q); !strings.HasSuffix(got, "_7.solverstate' --set max_iter=20") {
		t.Errorf("after 7 of 20 iterations: %q", got)
	}
}

func TestNewestSnapshot(t *testing.T) {
	dir := t.TempDir()
	begin := time.Now()
	at := func(name string, age time.Duration) {
		p := writeFile(t, dir, name, "")
		if err := os.Chtimes(p, begin.Add(-age), begin.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	prefix := filepath.Join(dir, "net")
	check := func(wantIter int, wantName string) {
		t.Helper()
		iter, model, ok := newestSnapshot(prefix, begin)
		if ok != (wantName != "") || ok && (iter != wantIter || model != filepath.Join(dir, wantName)) {
			t.Errorf("got %d, %q, %v; want %d, %q", iter, model, ok, wantIter, wantName)
		}
	}
	check(0, "")
	at("net_iter_900.caffemodel", time.Hour) // of an earlier run
	at("other_iter_5.caffemodel", 0)
	at("net_iter_x.caffemodel", 0)
	at("net_iter_9.solverstate", 0)
	check(0, "")
	at("net_iter_30.caffemodel", -time.Second)
	at("net_iter_100.caffemodel", -2*time.Second)
	at("net_iter_101.caffemodel", 0)
	check(100, "net_iter_100.caffemodel")
	at("net_iter_110.caffemodel.h5", -3*time.Second)
	check(110, "net_iter_110.caffemodel.h5")
	for model, want := range map[string]string{"a/b_iter_1.caffemodel": "a/b_iter_1.solverstate", "a/b_iter_1.caffemodel.h5": "a/b_iter_1.solverstate.h5"} {
		if got := stateOf(model); got != want {
			t.Errorf("the state of %s is %s", model, got)
		}
	}
	if _, _, ok := newestSnapshot(filepath.Join(dir, "no", "net"), begin); ok {
		t.Error("found a snapshot in a folder that does not exist")
	}
}

func TestAdapt(t *testing.T) {
	q := quickstart{dir: `/tmp/a"b`, seed: 1<<63 + 9}
	got := string(q.adapt([]byte("net: \"crema-quickstart/x\"\nsource: 'crema-quickstart/y'\nrandom_seed: 1\n")))
	if want := "net: \"/tmp/a\\\"b/x\"\nsource: 'crema-quickstart/y'\nrandom_seed: 9\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// Every path in the embedded files is one that adapt finds.
	for _, name := range []string{"solver", "train_val", "linear_solver", "linear_train_val"} {
		text, err := models.Quickstart.ReadFile("quickstart/" + name + ".prototxt")
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(q.adapt(text), []byte(quickstartDir)) {
			t.Errorf("%s.prototxt keeps a path", name)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"a/b_c-1.x": "a/b_c-1.x",
		"a b":       "'a b'",
		"it's":      `'it'\''s'`,
		"$HOME":     "'$HOME'",
		"":          "''",
		"été":       "'été'",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}
