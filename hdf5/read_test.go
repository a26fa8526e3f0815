package hdf5

import (
	"bytes"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// formula is the value of element i of every dataset that testdata/make.py
// makes, unless its name begins with "x_".
func formula(i int) float32 { return float32(i * 7 % 120) }

// isFormula checks a dataset of numbers against the formula, read as a whole
// and in pieces.
func isFormula(t *testing.T, d *Dataset) {
	t.Helper()
	want := make([]float32, d.Count())
	for i := range want {
		want[i] = formula(i)
	}
	got := make([]float32, d.Count())
	if err := d.ReadFloats(got); err != nil {
		t.Error(err)
		return
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: values %v, want %v", d.Path(), got[:min(40, len(got))], want[:min(40, len(got))])
	}
	shape := d.Shape()
	if len(shape) == 0 || shape[0] == 0 {
		return
	}
	row := d.Count() / shape[0]
	// Backwards, so that no piece is there from the one before.
	for n := 1 + shape[0]/500; n <= shape[0]; n += 1 + n*n {
		for first := shape[0] - n; first >= 0; first -= n {
			got := got[:n*row]
			clear(got)
			if err := d.ReadRows(got, first); err != nil {
				t.Error(err)
				return
			}
			if !slices.Equal(got, want[first*row:][:n*row]) {
				t.Errorf("%s: rows %d to %d are wrong", d.Path(), first, first+n)
				return
			}
		}
	}
}

// open opens a file and its root.
func open(t *testing.T, path string) *Group {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	g, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// checkAll walks a file and checks what the formula gives. It returns the
// number of datasets checked.
func checkAll(t *testing.T, g *Group) int {
	t.Helper()
	n := 0
	for _, name := range g.Names() {
		if strings.HasPrefix(name, "x_") || name == "committed_type" {
			continue
		}
		c, err := g.Child(name)
		if err != nil {
			t.Error(err)
			continue
		}
		switch c := c.(type) {
		case *Dataset:
			isFormula(t, c)
			n++
		case *Group:
			if strings.Count(c.Path(), "/") < 8 { // links lead round
				n += checkAll(t, c)
			}
		}
	}
	return n
}

func TestReadFormulas(t *testing.T) {
	for name, want := range map[string]int{
		"types_earliest.h5": 26, "types_latest.h5": 26,
		"chunks_earliest.h5": 42, "chunks_latest.h5": 42,
		"groups_earliest.h5": 48, "groups_latest.h5": 48, "ordered_latest.h5": 48,
		"userblock_earliest.h5": 1, "userblock_latest.h5": 1,
	} {
		t.Run(name, func(t *testing.T) {
			if n := checkAll(t, open(t, filepath.Join("testdata", name))); n < want {
				t.Errorf("%d datasets, want at least %d", n, want)
			}
		})
	}
}

// TestReadLarge reads indices of several levels, and pages, of files made
// afresh.
func TestReadLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("writes large files")
	}
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import h5py").Run(); err != nil {
		t.Skip("h5py is not installed for " + python)
	}
	dir := t.TempDir()
	if out, err := exec.Command(python, "testdata/make.py", dir, "--large").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, v := range []string{"earliest", "latest"} {
		t.Run(v, func(t *testing.T) {
			if n := checkAll(t, open(t, filepath.Join(dir, "groups_"+v+".h5"))); n < 3000 {
				t.Errorf("%d datasets", n)
			}
			g := open(t, filepath.Join(dir, "large_"+v+".h5"))
			checkAll(t, g)
			for _, name := range []string{"x_sparse", "x_sparse_fixed"} {
				d, err := g.Dataset(name)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]float32, d.Count())
				if err := d.ReadFloats(got); err != nil {
					t.Fatal(err)
				}
				for i, x := range got {
					if want := float32(9); x != want && (i/2 != d.Shape()[0]-2 || x != 1) {
						t.Fatalf("%s: element %d is %g", name, i, x)
					}
				}
			}
		})
	}
}

func floatsOf(t *testing.T, g *Group, name string) []float32 {
	t.Helper()
	d, err := g.Dataset(name)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, d.Count())
	if err := d.ReadFloats(got); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestConversions reads numbers that are not plain, and strings.
func TestConversions(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, v := range []string{"earliest", "latest"} {
		g := open(t, "testdata/types_"+v+".h5")
		for name, want := range map[string][]float32{
			"x_negative": {-1, -128, 127},
			"x_half":     {0, 0, 1, -2, 65504, 0x1p-24, -3 * 0x1p-24, inf, -inf},
			"x_double":   {0.1, inf, -inf, 0, 16777216},
			"x_large":    {0x1p63 + 0x1p40, 0x1p64},
		} {
			if got := floatsOf(t, g, name); !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
		if got := floatsOf(t, g, "x_half"); math.Float32bits(got[1]) != 1<<31 {
			t.Errorf("the negative zero is %g", got[1])
		}
		for name, want := range map[string]string{"x_string": "variable ü", "x_fixed": "fixed"} {
			d, err := g.Dataset(name)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := d.ReadString(); got != want || err != nil {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			if err := d.ReadFloats(make([]float32, 1)); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "string") {
				t.Errorf("%s as floats: %v", name, err)
			}
		}
		d, err := g.Dataset("x_negative")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.ReadInts(); err != nil || !slices.Equal(got, []int64{-1, -128, 127}) {
			t.Errorf("ints %v, %v", got, err)
		}
		if got, err := d.ReadBytes(); err != nil || !bytes.Equal(got, []byte{255, 128, 127}) {
			t.Errorf("bytes %v, %v", got, err)
		}
		if _, err := d.ReadString(); !errors.Is(err, ErrUnsupported) {
			t.Errorf("ints as a string: %v", err)
		}
		g = open(t, "testdata/chunks_"+v+".h5")
		if got := floatsOf(t, g, "x_never"); !slices.Equal(got, []float32{2.5, 2.5, 2.5, 2.5, 2.5, 2.5}) {
			t.Errorf("never written: %v", got)
		}
		for _, name := range []string{"x_plain_partly", "x_all_partly"} {
			for i, x := range floatsOf(t, g, name) {
				want := float32(-3)
				if r, c := i/5, i%5; r >= 2 && r < 4 && c < 3 {
					want = 1
				}
				if x != want {
					t.Errorf("%s: element %d is %g", name, i, x)
				}
			}
		}
	}
}

// TestRefused wants errors that say what is wrong, where, and what is there.
func TestRefused(t *testing.T) {
	read := func(g *Group, name string) error {
		d, err := g.Dataset(name)
		if err != nil {
			return err
		}
		return d.ReadFloats(make([]float32, d.Count()))
	}
	for _, v := range []string{"earliest", "latest"} {
		types, chunks, groups := open(t, "testdata/types_"+v+".h5"), open(t, "testdata/chunks_"+v+".h5"), open(t, "testdata/groups_"+v+".h5")
		for _, c := range []struct {
			g    *Group
			name string
			kind error
			want []string
		}{
			{types, "none", ErrNotFound, []string{"types_" + v + ".h5\": /none: not found; the file has be_f2, be_f4", "more"}},
			{types, "x_bool", ErrUnsupported, []string{"/x_bool", "enumeration"}},
			{types, "x_compound", ErrUnsupported, []string{"/x_compound", "compound"}},
			{types, "x_null", ErrUnsupported, []string{"/x_null", "null"}},
			{types, "committed_type", ErrUnsupported, []string{"/committed_type"}},
			{chunks, "x_lzf", ErrUnsupported, []string{"/x_lzf", "lzf", "h5repack"}},
			{groups, "a/b/none", ErrNotFound, []string{"/a/b has c, up"}},
			{groups, "a/b/c/d/e", ErrNotFound, []string{"/a/b/c/d is a dataset"}},
			{groups, "a/b", ErrNotFound, []string{"/a/b: not found: it is a group, not a dataset; /a/b has c, up"}},
			{groups, "none/x", ErrNotFound, []string{"/none is empty"}},
			{groups, "x_dangling", ErrNotFound, []string{"/x_dangling (a soft link to /nowhere)"}},
			{groups, "x_circle", ErrDamaged, []string{"circle"}},
			{groups, "x_external", ErrUnsupported, []string{"another file"}},
		} {
			err := read(c.g, c.name)
			if !errors.Is(err, c.kind) {
				t.Errorf("%s %s: %v", v, c.name, err)
				continue
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s %s: %q does not say %q", v, c.name, err, w)
				}
			}
		}
		if _, err := groups.Group("a/b/c/d"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a dataset as group: %v", err)
		}
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "text": "layer {", "zeros": string(make([]byte, 5000))} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(p); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %v", name, err)
		}
		if is, err := Is(p); is || err != nil {
			t.Errorf("%s is HDF5: %v, %v", name, is, err)
		}
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "it is a folder") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Open("../testdata/golden/runs/solver/sgd_step/init.caffemodel"); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "not an HDF5 file but a net with trained weights") {
		t.Errorf("weights: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	if is, err := Is("testdata/userblock_latest.h5"); !is || err != nil {
		t.Errorf("with a user block: %v, %v", is, err)
	}
}

// TestWalk goes through links that lead back.
func TestWalk(t *testing.T) {
	for _, name := range []string{"groups_earliest", "groups_latest", "ordered_latest"} {
		g := open(t, "testdata/"+name+".h5")
		var paths []string
		err := g.Walk(func(n Node) error {
			paths = append(paths, n.Path())
			return nil
		})
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err) // x_circle or x_external, after the rest
		}
		for _, want := range []string{"/a", "/a/b/c/d", "/hard/up", "/many/dataset number 39", "/soft/d"} {
			if !slices.Contains(paths, want) {
				t.Errorf("%s: no %s in %q", name, want, paths)
			}
		}
		if len(paths) > 90 {
			t.Errorf("%s: %d paths", name, len(paths))
		}
	}
}
