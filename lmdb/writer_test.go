package lmdb

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	recs := makeRecords(10, constant(20), constant(300))
	folder := filepath.Join(dir, "folder")
	writeRecords(t, folder, Options{PageSize: 4096}, recs)
	file := filepath.Join(dir, "file")
	writeRecords(t, file, Options{PageSize: 4096, SingleFile: true}, recs)
	for _, tc := range []struct {
		name, path string
		opts       Options
		want       error // nil: any
	}{
		{"database exists", folder, Options{}, fs.ErrExist},
		{"file exists", file, Options{SingleFile: true}, fs.ErrExist},
		{"a folder where the file would be", folder, Options{SingleFile: true, Overwrite: true}, fs.ErrExist},
		{"a file where the folder would be", file, Options{Overwrite: true}, nil},
		{"no parent", filepath.Join(dir, "a", "b"), Options{}, fs.ErrNotExist},
		{"no parent of the file", filepath.Join(dir, "a", "b"), Options{SingleFile: true}, fs.ErrNotExist},
		{"page size 512", filepath.Join(dir, "x"), Options{PageSize: 512}, nil},
		{"page size 5000", filepath.Join(dir, "x"), Options{PageSize: 5000}, nil},
		{"page size 64 KB", filepath.Join(dir, "x"), Options{PageSize: 65536}, nil},
		{"page size -4096", filepath.Join(dir, "x"), Options{PageSize: -4096}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, err := Create(tc.path, tc.opts)
			if err == nil {
				w.Abort()
				t.Fatal("no error")
			}
			if tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
	verify(t, folder, recs)
	verify(t, file, recs)
	expectNames(t, dir, "file", "folder")
}

// expectNames checks what is in a folder.
func expectNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if len(got) != len(want) {
		t.Fatalf("%s holds %q, want %q", dir, got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s holds %q, want %q", dir, got, want)
		}
	}
}

func TestPutRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	w, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	var want []record
	for _, tc := range []struct {
		key  []byte
		ok   bool
		want error
	}{
		{nil, false, nil},
		{[]byte("b"), true, nil},
		{[]byte("b"), false, ErrKeyOrder},
		{[]byte("a"), false, ErrKeyOrder},
		{[]byte("az"), false, ErrKeyOrder},
		{[]byte("ba"), true, nil},
		{[]byte("b"), false, ErrKeyOrder},
		{bytes.Repeat([]byte("c"), MaxKeySize+1), false, nil},
		{bytes.Repeat([]byte("c"), MaxKeySize), true, nil},
		{[]byte{}, false, nil},
		{[]byte{0xff}, true, nil},
		{[]byte{0x7f}, false, ErrKeyOrder},
	} {
		value := fill(len(tc.key), 3000)
		err := w.Put(tc.key, value)
		if (err == nil) != tc.ok || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("Put(%.10q): %v", tc.key, err)
		}
		if tc.ok {
			want = append(want, record{tc.key, value})
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	verify(t, path, want)
	if err := w.Put([]byte{0xff, 1}, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Put after Commit: %v", err)
	}
	if err := w.Commit(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Commit: %v", err)
	}
	w.Abort()
	verify(t, path, want)
}

// TestPutKeepsNothing: the caller may reuse its buffers.
func TestPutKeepsNothing(t *testing.T) {
	recs := makeRecords(500, constant(100), func(i int) int { return i * 20 })
	path := filepath.Join(t.TempDir(), "db")
	w, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	var key, value []byte
	for _, r := range recs {
		key, value = append(key[:0], r.key...), append(value[:0], r.value...)
		if err := w.Put(key, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	verify(t, path, recs)
}

func TestAbort(t *testing.T) {
	for _, single := range []bool{false, true} {
		dir := t.TempDir()
		w, err := Create(filepath.Join(dir, "db"), Options{SingleFile: single})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Put([]byte("k"), fill(1, 3<<20)); err != nil {
			t.Fatal(err)
		}
		w.Abort()
		w.Abort()
		expectNames(t, dir)
		if err := w.Commit(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Commit after Abort: %v", err)
		}
	}

	// A folder that was there stays, with what else is in it.
	dir := filepath.Join(t.TempDir(), "db")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := Create(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	expectNames(t, dir)
}

// TestInvisibleBeforeCommit: no reader finds half a database.
func TestInvisibleBeforeCommit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	w, err := Create(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := w.Put([]byte("k"), fill(1, 3<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Open: %v, want fs.ErrNotExist", err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	expectNames(t, dir, dataFile)
	mustOpen(t, dir)
}

func TestOverwrite(t *testing.T) {
	before := makeRecords(300, constant(20), constant(300))
	after := makeRecords(20, constant(30), constant(5000))
	for _, single := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "db")
		opts := Options{SingleFile: single, Overwrite: true, PageSize: 4096}
		writeRecords(t, path, opts, before)
		lock := filepath.Join(path, "lock.mdb")
		if single {
			lock = path + "-lock"
		}
		if err := os.WriteFile(lock, []byte("of the old database"), 0o644); err != nil {
			t.Fatal(err)
		}
		old := mustOpen(t, path)

		w, err := Create(path, opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Put([]byte("half"), nil); err != nil {
			t.Fatal(err)
		}
		w.Abort()
		verify(t, path, before)
		if _, err := os.Stat(lock); err != nil {
			t.Error(err)
		}

		writeRecords(t, path, opts, after)
		verify(t, path, after)
		if single {
			expectNames(t, dir, "db")
		} else {
			expectNames(t, path, dataFile)
		}
		// Whoever had it open keeps reading the old one.
		got, err := walk(old)
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, got, before)
	}
}

// TestCommitDoesNotReplace: a database that appeared meanwhile is not lost.
func TestCommitDoesNotReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	w, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	other := makeRecords(10, constant(20), constant(300))
	writeRecords(t, path, Options{PageSize: 4096}, other)
	if err := w.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("Commit: %v, want fs.ErrExist", err)
	}
	verify(t, path, other)
	expectNames(t, path, dataFile)
}

func TestWriteErrorStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	w, err := Create(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.tmp.Close() // every later write fails
	for i := 0; err == nil && i < 100; i++ {
		err = w.Put([]byte{1, byte(i)}, fill(i, 100000))
	}
	if !errors.Is(err, os.ErrClosed) {
		t.Fatalf("Put: %v, want the write's error", err)
	}
	if err := w.Put([]byte{2}, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Put after it: %v", err)
	}
	if err := w.Commit(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Commit: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestReproducible(t *testing.T) {
	recs := makeRecords(2000, func(i int) int { return 8 + i%200 }, func(i int) int { return i * 7 % 5000 })
	if !bytes.Equal(image(t, 4096, recs), image(t, 4096, recs)) {
		t.Error("the same records gave different files")
	}
}
