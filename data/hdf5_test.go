package data

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/hdf5"
)

// writeH5 writes a file whose dataset "data" has rows of two values, first + i
// and 1000 + first + i for row i, and "label" first + i.
func writeH5(t *testing.T, path string, first, rows int) {
	t.Helper()
	var x, y []float32
	for i := range rows {
		v := float32(first + i)
		x, y = append(x, v, 1000+v), append(y, v)
	}
	var b hdf5.Builder
	b.Floats([]int{rows, 2}, x, "data")
	b.Floats([]int{rows}, y, "label")
	save(t, path, &b)
}

func save(t *testing.T, path string, b *hdf5.Builder) {
	t.Helper()
	var w bytes.Buffer
	if _, err := b.WriteTo(&w); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, w.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// h5List writes files of so many rows and their list, and returns its path.
func h5List(t *testing.T, rows ...int) string {
	t.Helper()
	dir := t.TempDir()
	var list strings.Builder
	first := 0
	for i, n := range rows {
		p := filepath.Join(dir, fmt.Sprintf("part %d.h5", i))
		writeH5(t, p, first, n)
		fmt.Fprintln(&list, p)
		first += n
	}
	path := filepath.Join(dir, "list.txt")
	if err := os.WriteFile(path, []byte(list.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func openH5(t *testing.T, list string, o HDF5Options) *HDF5Source {
	t.Helper()
	if o.Datasets == nil {
		o.Datasets = []string{"label", "data"}
	}
	s, err := OpenHDF5(list, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// labels hands out n rows and returns their labels, after a look at the data.
func labels(t *testing.T, s *HDF5Source, n int) []float32 {
	t.Helper()
	l, d := make([]float32, n), make([]float32, 2*n)
	if err := s.Next([][]float32{l, d}, n); err != nil {
		t.Fatal(err)
	}
	for i, v := range l {
		if d[2*i] != v || d[2*i+1] != 1000+v {
			t.Fatalf("label %g goes with data %g, %g", v, d[2*i], d[2*i+1])
		}
	}
	return l
}

func TestHDF5Order(t *testing.T) {
	s := openH5(t, h5List(t, 5, 0, 1, 4), HDF5Options{})
	if !slices.Equal(s.RowShape(1), []int{2}) || len(s.RowShape(0)) != 0 || s.Files() != 4 {
		t.Errorf("rows of %v and %v in %d files", s.RowShape(0), s.RowShape(1), s.Files())
	}
	var got []float32
	for _, n := range []int{3, 1, 4, 7, 25} {
		got = append(got, labels(t, s, n)...)
	}
	for i, v := range got {
		if v != float32(i%10) {
			t.Fatalf("row %d is %g, want %d: %v", i, v, i%10, got)
		}
	}
}

// TestHDF5Shuffle: every epoch has each row once, in another order, which
// depends on the seed and the layer and not on how rows are asked for.
func TestHDF5Shuffle(t *testing.T) {
	for name, rows := range map[string][]int{"one file": {30}, "several files": {9, 1, 0, 15, 5}} {
		t.Run(name, func(t *testing.T) {
			list := h5List(t, rows...)
			o := HDF5Options{Shuffle: true, Seed: 1, Name: "d"}
			s := openH5(t, list, o)
			var epochs [][]float32
			for range 4 {
				e := labels(t, s, 30)
				for _, other := range epochs {
					if slices.Equal(e, other) {
						t.Error("two epochs are in the same order")
					}
				}
				epochs = append(epochs, e)
				sorted := slices.Sorted(slices.Values(e))
				for i, v := range sorted {
					if v != float32(i) {
						t.Fatalf("an epoch has rows %v", sorted)
					}
				}
			}
			all := slices.Concat(epochs...)
			s = openH5(t, list, o)
			var again []float32
			for n := 1; len(again) < 120; n = n%13 + 1 {
				again = append(again, labels(t, s, min(n, 120-len(again)))...)
			}
			if !slices.Equal(again, all) {
				t.Error("the order depends on the size of batches")
			}
			for at := range 120 {
				s.Seek(uint64(at))
				if s.Records() != uint64(at) || !slices.Equal(labels(t, s, 3), append(slices.Clone(all), labels(t, openAt(t, list, o, 120), 3)...)[at:at+3]) {
					t.Fatalf("after Seek(%d) other rows come", at)
				}
			}
			for _, other := range []HDF5Options{{Shuffle: true, Seed: 2, Name: "d"}, {Shuffle: true, Seed: 1, Name: "e"}} {
				if slices.Equal(labels(t, openH5(t, list, other), 30), epochs[0]) {
					t.Error("the order does not depend on seed and name")
				}
			}
		})
	}
}

func openAt(t *testing.T, list string, o HDF5Options, at uint64) *HDF5Source {
	s := openH5(t, list, o)
	s.Seek(at)
	return s
}

// TestHDF5ShuffleChunks reads rows of compressed chunks in any order.
func TestHDF5ShuffleChunks(t *testing.T) {
	t.Chdir("../testdata/golden/layers/hdf5data_gzip")
	size := 2 * 3 * 4
	names := []string{"label", "data", "count"}
	rows := func(shuffle bool) map[string]int {
		s := openH5(t, "list.txt", HDF5Options{Datasets: names, Shuffle: shuffle, Seed: 3})
		found := map[string]int{}
		l, d, c := make([]float32, 1), make([]float32, size), make([]float32, 2)
		for range 61 {
			if err := s.Next([][]float32{l, d, c}, 1); err != nil {
				t.Fatal(err)
			}
			found[fmt.Sprint(l, d, c)]++
		}
		return found
	}
	plain, shuffled := rows(false), rows(true)
	if len(plain) < 50 || fmt.Sprint(plain) != fmt.Sprint(shuffled) {
		t.Errorf("%d rows in order, %d shuffled, or others", len(plain), len(shuffled))
	}
}

func TestHDF5List(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for i, name := range []string{"a.h5", "b.h5", "with blank.h5"} {
		writeH5(t, name, i, 1)
	}
	for _, c := range []struct {
		list string
		want []float32
	}{
		{"a.h5\nb.h5\n", []float32{0, 1}},
		{"\ufeffa.h5\r\n\r\n  b.h5  ", []float32{0, 1}},
		{"b.h5 a.h5\ta.h5\n", []float32{1, 0, 0}},
		{"a.h5\nwith blank.h5\n", []float32{0, 2}},
	} {
		if err := os.WriteFile("list.txt", []byte(c.list), 0o644); err != nil {
			t.Fatal(err)
		}
		s := openH5(t, "list.txt", HDF5Options{})
		if got := labels(t, s, len(c.want)); !slices.Equal(got, c.want) || s.Files() != len(c.want) {
			t.Errorf("%q: %v of %d files", c.list, got, s.Files())
		}
	}
	s := openH5(t, "list.txt", HDF5Options{Path: func(p string) string { return filepath.Join(dir, p) }})
	labels(t, s, 1)
}

func TestHDF5Errors(t *testing.T) {
	t.Chdir(t.TempDir())
	writeH5(t, "good.h5", 0, 3)
	writeH5(t, "empty.h5", 0, 0)
	var b hdf5.Builder
	b.Floats([]int{2, 3}, make([]float32, 6), "data")
	b.Floats([]int{2}, make([]float32, 2), "label")
	save(t, "wide.h5", &b)
	b = hdf5.Builder{}
	b.Floats([]int{3, 2}, make([]float32, 6), "data")
	b.Floats([]int{2}, make([]float32, 2), "label")
	save(t, "uneven.h5", &b)
	b = hdf5.Builder{}
	b.Floats([]int{3, 2}, make([]float32, 6), "data")
	b.String("x", "label")
	save(t, "text.h5", &b)
	b = hdf5.Builder{}
	b.Floats([]int{3, 2}, make([]float32, 6), "data")
	b.Floats(nil, make([]float32, 1), "label")
	b.Floats([]int{3, 0}, nil, "hollow")
	save(t, "scalar.h5", &b)
	good, err := os.ReadFile("good.h5")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("cut.h5", good[:len(good)-8], 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		list  string
		names []string
		want  string
	}{
		{"", nil, "list.txt: the list is empty"},
		{"\n \n", nil, "list.txt: the list is empty"},
		{"a\x00b", nil, "list.txt:1: a zero byte"},
		{"\xff\xfea\x00", nil, "UTF-16"},
		{"good.h5\n\nnone.h5\n", nil, `list.txt:3: "none.h5": no such file or directory`},
		{"a b.h5\n", nil, `list.txt:1: "a": no such file or directory`},
		{"a b.h5\n", nil, "blanks part the names"},
		{"good.h5\nlist.txt\n", nil, `list.txt:2: "list.txt": not an HDF5 file`},
		{"cut.h5\n", nil, `list.txt:1: "cut.h5": damaged HDF5 file: it is cut short`},
		{"good.h5\n", []string{"data", "weight"}, `list.txt:1: there must be a dataset for each top: "good.h5": /weight: not found; the file has data, label`},
		{"good.h5\nwide.h5\n", nil, `list.txt:2: "wide.h5": rows of data are 3, in "good.h5" they are 2`},
		{"uneven.h5\n", nil, `list.txt:1: "uneven.h5": label has 2 rows, data has 3`},
		{"text.h5\n", nil, "list.txt:1: \"text.h5\": the values of /label are of type string"},
		{"scalar.h5\n", nil, "/label is a scalar"},
		{"scalar.h5\n", []string{"hollow"}, "its rows are empty"},
		{"empty.h5\nempty.h5\n", nil, "list.txt: none of the files has a row"},
	} {
		if err := os.WriteFile("list.txt", []byte(c.list), 0o644); err != nil {
			t.Fatal(err)
		}
		if c.names == nil {
			c.names = []string{"label", "data"}
		}
		if _, err := OpenHDF5("list.txt", HDF5Options{Datasets: c.names}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.list, err, c.want)
		}
	}
	if _, err := OpenHDF5("good.h5", HDF5Options{}); err == nil || !strings.Contains(err.Error(), "good.h5 is itself an HDF5 file") {
		t.Errorf("a file as list: %v", err)
	}
	if _, err := OpenHDF5("none.txt", HDF5Options{}); err == nil || !strings.Contains(err.Error(), "none.txt") {
		t.Errorf("no list: %v", err)
	}

	// A file that changes while it waits for its turn.
	if err := os.WriteFile("list.txt", []byte("good.h5\nother.h5"), 0o644); err != nil {
		t.Fatal(err)
	}
	writeH5(t, "other.h5", 3, 3)
	s := openH5(t, "list.txt", HDF5Options{})
	labels(t, s, 2)
	writeH5(t, "other.h5", 3, 2)
	if err := s.Next([][]float32{make([]float32, 3), make([]float32, 6)}, 3); err == nil || !strings.Contains(err.Error(), "had 3 rows at first and has 2 now") {
		t.Errorf("a file that changed: %v", err)
	}
}
