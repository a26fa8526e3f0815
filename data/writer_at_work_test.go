package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crema/lmdb"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// TestLoaderCutOff cuts a database off while batches are read ahead from it,
// and while pictures that were read ahead point into it: an error, not the end
// of the program.
func TestLoaderCutOff(t *testing.T) {
	for _, prefetch := range []int{1, 3, 50} {
		path := makeDB(t, LMDB, 400, func(i int) []byte {
			return marshal(t, rawDatum(3, 40, 41, int32(i), make([]byte, 3*40*41)))
		})
		l := mustLoader(t, path, LMDB, ``, LoaderOptions{BatchSize: 7, Prefetch: prefetch, Workers: 2})
		if err := l.Next(tensor.New(), nil); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(path, "data.mdb"), 64<<10); err != nil {
			t.Skipf("this system does not cut off open files: %v", err)
		}
		var err error
		for i := 0; err == nil && i < 1000; i++ {
			err = l.Next(tensor.New(), nil)
		}
		if !errors.Is(err, lmdb.ErrCorrupt) || !strings.Contains(err.Error(), path) {
			t.Errorf("prefetch %d: %v, want an error that wraps lmdb.ErrCorrupt and names %s", prefetch, err, path)
		}
		if _, err := ComputeMean(t.Context(), path, LMDB, nil); err == nil {
			t.Errorf("prefetch %d: a mean of a database that is cut off", prefetch)
		}
	}
}

// TestGuard reads a picture whose file is gone.
func TestGuard(t *testing.T) {
	path := makeDB(t, LMDB, 10, func(i int) []byte { return make([]byte, 100_000) })
	db, err := OpenDB(path, LMDB)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cur := db.Cursor()
	defer cur.Close()
	_, v, err := cur.First()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(path, "data.mdb"), 0); err != nil {
		t.Skipf("this system does not cut off open files: %v", err)
	}
	sum := 0
	err = db.Guard(func() error {
		return db.Guard(func() error { // guards may be nested
			for _, b := range v {
				sum += int(b)
			}
			return nil
		})
	})
	if !errors.Is(err, lmdb.ErrCorrupt) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, want an error that wraps lmdb.ErrCorrupt and names %s", err, path)
	}
	if err := db.Guard(func() error { return os.ErrInvalid }); err != os.ErrInvalid {
		t.Errorf("an error of its own became %v", err)
	}
}

// commits makes a database look as if a writer had committed twice: the reader
// must suppose that pages of its snapshot have been used again.
func commits(t *testing.T, path string, times *uint64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(path, "data.mdb"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The transaction id of the meta pages 0 and 1; the latter stays the newer.
	*times += 2
	for page, id := range []uint64{*times, *times + 1} {
		const offTxnID = 144
		if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, id), int64(page*4096+offTxnID)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLoaderWriter lets a writer commit between batches: none is lost, none
// comes twice, and the log says so.
func TestLoaderWriter(t *testing.T) {
	const n, size = 50, 4
	path := makeDB(t, LMDB, n, numbered(t))
	l := mustLoader(t, path, LMDB, ``, LoaderOptions{BatchSize: size, Prefetch: 2})
	reopened := func() int { return l.src.(*dbSource).reopened }
	data, label := tensor.New(), tensor.New()
	var times uint64
	for i := 0; i < 40*size; {
		if i/size%3 == 1 {
			commits(t, path, &times)
		}
		if err := l.Next(data, label); err != nil {
			t.Fatal(err)
		}
		for j, v := range label.ReadData() {
			if want := float32(i % n); v != want || data.At(j, 0, 5, 4) != want {
				t.Fatalf("record %d: label %g, value %g", i, v, data.At(j, 0, 5, 4))
			}
			i++
		}
	}
	if reopened() < 5 {
		t.Errorf("opened again %d times: the test shows nothing", reopened())
	}
	commits(t, path, &times)
	if err := l.SetPosition(Position{Records: 3, NextKey: []byte("00000003")}); err != nil {
		t.Fatal(err)
	}
	if err := l.Next(data, label); err != nil || label.At(0) != 3 {
		t.Errorf("after SetPosition: %v, record %g", err, label.At(0))
	}
}

// A restlessSource is one whose records have always been changed meanwhile.
type restlessSource struct{ *dbSource }

func (s restlessSource) check() error { return fmt.Errorf("database x: %w", lmdb.ErrChanged) }

// TestLoaderFastWriter: a writer that spoils every batch ends the loading with
// an error that says so.
func TestLoaderFastWriter(t *testing.T) {
	path := makeDB(t, LMDB, 10, numbered(t))
	db, err := OpenDB(path, LMDB)
	if err != nil {
		t.Fatal(err)
	}
	src, err := NewDBSource(path, db, Native, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := NewTransformer(&caffepb.TransformationParameter{}, TransformOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLoader(restlessSource{src.(*dbSource)}, tr, LoaderOptions{BatchSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = l.Next(tensor.New(), nil)
	if !errors.Is(err, lmdb.ErrChanged) || !strings.Contains(err.Error(), "faster than batches are read") {
		t.Errorf("error %v", err)
	}
}
