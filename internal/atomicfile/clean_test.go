package atomicfile

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// TestClean leaves what other names have, what is finished and what is being
// written.
func TestClean(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files of killed writers cannot be told from others here")
	}
	dir := t.TempDir()
	left := []string{".run_iter_10.caffemodel.tmp1", ".run_iter_20.solverstate.tmp99"}
	stay := []string{"run_iter_10.caffemodel", ".run_iter_10.notes", ".other_iter_1.caffemodel.tmp1", "run_iter_1.tmp1"}
	for _, f := range append(slices.Clone(left), stay...) {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := Write(filepath.Join(dir, "run_iter_30.caffemodel"), func(w io.Writer) error {
		n, err := Clean(filepath.Join(dir, "run_iter_"))
		if n != len(left) {
			t.Errorf("%d removed, want %d", n, len(left))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want := append(stay, "run_iter_30.caffemodel")
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
	if n, err := Clean(filepath.Join(dir, "none", "x")); n != 0 || err != nil {
		t.Errorf("a folder that is not there: %d, %v", n, err)
	}
}
