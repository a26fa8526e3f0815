package features

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/data"
	"crema/hdf5"
	"crema/npy"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

func count(from, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(from + i)
	}
	return v
}

// add stores two batches of rows of the given shapes.
func add(t *testing.T, s *Store, shapes ...[]int) {
	t.Helper()
	for k, row := range shapes {
		size := 1
		for _, d := range row {
			size *= d
		}
		for batch, n := range []int{2, 3} {
			if err := s.Writer(k).Add(append([]int{n}, row...), count(2*batch*size, n*size)); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.Writer(k).Rows(); n != 5 {
			t.Errorf("%d rows, want 5", n)
		}
	}
}

// holds checks that a folder holds only what it should.
func holds(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}

func TestDatabase(t *testing.T) {
	for kind, backend := range map[string]data.Backend{"lmdb": data.LMDB, "LevelDB": data.LevelDB} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Create(kind, []string{"a", "b", "c"}, []string{filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")})
			if err != nil {
				t.Fatal(err)
			}
			shapes := [][]int{{2, 3, 4}, {6}, nil}
			add(t, s, shapes...)
			if err := s.Commit(); err != nil {
				t.Fatal(err)
			}
			holds(t, dir, "a", "b", "c")
			for k, want := range [][3]int32{{2, 3, 4}, {6, 1, 1}, {1, 1, 1}} {
				db, err := data.OpenDB(filepath.Join(dir, string(rune('a'+k))), backend)
				if err != nil {
					t.Fatal(err)
				}
				defer db.Close()
				cur := db.Cursor()
				defer cur.Close()
				size := int(want[0] * want[1] * want[2])
				key, value, err := cur.First()
				for i := range 5 {
					if err != nil {
						t.Fatal(err)
					}
					if string(key) != fmt.Sprintf("%010d", i) {
						t.Errorf("key %q", key)
					}
					var d caffepb.Datum
					if err := proto.Unmarshal(value, &d); err != nil {
						t.Fatal(err)
					}
					if [3]int32{d.GetChannels(), d.GetHeight(), d.GetWidth()} != want || d.Label != nil || !slices.Equal(d.FloatData, count(i*size, size)) {
						t.Errorf("row %d: %v", i, &d)
					}
					key, value, err = cur.Next()
				}
			}
		})
	}
}

func TestNPY(t *testing.T) {
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "a.npy"), filepath.Join(dir, "b.npy")}
	s, err := Create("npy", []string{"a", "b"}, paths)
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, []int{2, 1, 2, 3}, nil)
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, "a.npy", "b.npy")
	for k, want := range [][]int{{5, 2, 1, 2, 3}, {5}} {
		f, err := os.Open(paths[k])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		shape, v, err := npy.Read(f)
		if err != nil || !slices.Equal(shape, want) || !slices.Equal(v, count(0, len(v))) {
			t.Errorf("shape %v, %v, %v", shape, v, err)
		}
	}
}

func TestHDF5(t *testing.T) {
	dir := t.TempDir()
	for name, paths := range map[string][]string{"one file": {"all.h5"}, "a file each": {"a.h5", "b.h5"}} {
		t.Run(name, func(t *testing.T) {
			for i := range paths {
				paths[i] = filepath.Join(dir, paths[i])
			}
			s, err := Create("hdf5", []string{"x/a", "b"}, paths)
			if err != nil {
				t.Fatal(err)
			}
			add(t, s, []int{2, 3}, nil)
			if err := s.Commit(); err != nil {
				t.Fatal(err)
			}
			for k, want := range [][]int{{5, 2, 3}, {5}} {
				f, err := hdf5.Open(paths[min(k, len(paths)-1)])
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				root, err := f.Root()
				if err != nil {
					t.Fatal(err)
				}
				d, err := root.Dataset([]string{"x_a", "b"}[k])
				if err != nil {
					t.Fatal(err)
				}
				v := make([]float32, d.Count())
				if err := d.ReadFloats(v); err != nil || !slices.Equal(d.Shape(), want) || !slices.Equal(v, count(0, len(v))) {
					t.Errorf("shape %v, %v, %v", d.Shape(), v, err)
				}
			}
		})
	}
	holds(t, dir, "a.h5", "all.h5", "b.h5")
}

// TestScalar: a loss is one row of one value.
func TestScalar(t *testing.T) {
	for _, kind := range Kinds {
		dir := t.TempDir()
		s, err := Create(kind, []string{"loss"}, []string{filepath.Join(dir, "loss")})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Writer(0).Add(nil, []float32{3}); err != nil || s.Writer(0).Rows() != 1 {
			t.Errorf("%s: %d rows, %v", kind, s.Writer(0).Rows(), err)
		}
		if err := s.Commit(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		holds(t, dir, "loss")
	}
}

// TestAbort: nothing remains of what was not committed.
func TestAbort(t *testing.T) {
	for _, kind := range Kinds {
		dir := t.TempDir()
		s, err := Create(kind, []string{"a", "b"}, []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")})
		if err != nil {
			t.Fatal(err)
		}
		add(t, s, []int{2}, []int{3})
		if err := s.Abort(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		holds(t, dir)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	in := func(n string) string { return filepath.Join(dir, n) }
	for _, c := range []struct {
		name, kind   string
		blobs, paths []string
		want         string
	}{
		{"unknown kind", "csv", []string{"a"}, []string{in("a")}, "lmdb, leveldb, npy, hdf5"},
		{"too few paths", "npy", []string{"a", "b"}, []string{in("a")}, "2 blobs for 1 outputs"},
		{"one path for two", "npy", []string{"a", "b"}, []string{in("a"), in("./a")}, `"a" and "b"`},
		{"a folder that is not there", "npy", []string{"a"}, []string{in("none/a")}, "none"},
		{"the second fails", "lmdb", []string{"a", "b"}, []string{in("a"), in("none/b")}, "none"},
	} {
		if _, err := Create(c.kind, c.blobs, c.paths); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		holds(t, dir)
	}
	s, err := Create("lmdb", []string{"a"}, []string{in("a")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Writer(0).Add([]int{1, 1, 1, 1, 1}, []float32{1}); err == nil || !strings.Contains(err.Error(), "npy or hdf5") {
		t.Errorf("a row of four axes: %v", err)
	}
	if err := s.Abort(); err != nil {
		t.Error(err)
	}
	for _, kind := range []string{"npy", "hdf5"} {
		s, err := Create(kind, []string{"a"}, []string{in("a")})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Writer(0).Add([]int{2, 1}, []float32{1, 2}); err != nil {
			t.Error(err)
		}
		if err := s.Writer(0).Add([]int{1, 2}, []float32{1, 2}); err == nil {
			t.Errorf("%s: rows of another shape: no error", kind)
		}
		if err := s.Abort(); err != nil {
			t.Error(err)
		}
	}
	holds(t, dir)
}
