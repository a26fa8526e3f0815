package hdf5

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// readAll reads everything in a file that is not too large, as far as it can.
// It returns how many datasets could be read, and the last error.
func readAll(b []byte) (n int, err error) {
	f, err := NewFile("test", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return 0, err
	}
	root, err := f.Root()
	if err != nil {
		return 0, err
	}
	budget := 1 << 18 // values
	var last error
	failed := root.Walk(func(o Node) error {
		d, ok := o.(*Dataset)
		if !ok {
			return nil
		}
		if budget -= 1000 + d.Count(); d.Count() < 0 || budget < 0 {
			budget = max(budget, 0)
			return nil
		}
		var err error
		switch {
		case d.IsNumber():
			if err = d.ReadFloats(make([]float32, d.Count())); err == nil && len(d.dims) > 0 && d.dims[0] > 0 {
				err = d.ReadRows(make([]float32, d.rowCount()), d.dims[0]-1)
			}
			d.ReadInts()
			d.ReadBytes()
		default:
			_, err = d.ReadString()
		}
		if err == nil {
			n++
		} else {
			last = err
		}
		return nil
	})
	return n, errors.Join(last, failed)
}

// corpus returns the files that the tests read.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, pattern := range []string{
		"testdata/*.h5", "../testdata/golden/layers/hdf5*/*.h5", "../testdata/golden/runs/solver/hdf5*/*.h5",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no files %s (%v)", pattern, err)
		}
		for _, p := range paths {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			files[p] = b
		}
	}
	return files
}

// TestDamaged changes bytes and cuts files: whatever is left must be read, or
// refused, without a panic and without much memory.
func TestDamaged(t *testing.T) {
	tries := 150
	if testing.Short() {
		tries = 20
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, whole := range corpus(t) {
		want, err := readAll(whole)
		if want == 0 && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i := range tries {
			b := bytes.Clone(whole)
			switch i % 3 {
			case 0:
				b = b[:rnd.IntN(len(b))]
			case 1:
				b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
			default: // where there is most to be spoilt
				for range 4 {
					b[rnd.IntN(min(len(b), 1500))] = [...]byte{0, 1, 0x7f, 0x80, 0xff, byte(rnd.Uint32())}[rnd.IntN(6)]
				}
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := readAll(b)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<30 {
				t.Errorf("%s, try %d: %d bytes allocated", name, i, n)
			}
			if err == nil && i%3 == 0 {
				t.Errorf("%s: cut to %d of %d bytes without an error", name, len(b), len(whole))
			}
		}
	}
}

// TestShrinks reads a file that becomes shorter after it was opened.
func TestShrinks(t *testing.T) {
	b, err := os.ReadFile("testdata/types_earliest.h5")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.h5")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := open(t, path).Dataset("le_f4")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1000); err != nil {
		t.Fatal(err)
	}
	if err := d.ReadFloats(make([]float32, d.Count())); !errors.Is(err, ErrDamaged) {
		t.Errorf("read %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, b := range corpus(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { readAll(b) })
}
