package lmdb

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

type record struct{ key, value []byte }

// fill returns n bytes that depend on seed and position.
func fill(seed, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func makeRecords(n int, keySize, valueSize func(i int) int) []record {
	recs := make([]record, n)
	for i := range recs {
		key := fmt.Appendf(nil, "%08d", i)
		if k := keySize(i); k > len(key) {
			key = append(key, fill(i, k-len(key))...)
		}
		recs[i] = record{key, fill(i+1, valueSize(i))}
	}
	return recs
}

func constant(n int) func(int) int { return func(int) int { return n } }

func writeRecords(t testing.TB, path string, opts Options, recs []record) {
	t.Helper()
	w, err := create(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, r := range recs {
		if err := w.Put(r.key, r.value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// openBytes opens a database held in memory, aligned as a mapping is.
func openBytes(file []byte) (*DB, error) {
	if len(file) > 0 && uintptr(unsafe.Pointer(&file[0]))%8 != 0 {
		file = slices.Clone(file)
	}
	return newDB("memory", &source{size: int64(len(file)), mapped: file})
}

// walk reads all records from the first on.
func walk(db *DB) (recs []record, err error) {
	c := db.Cursor()
	for {
		k, v, err := c.Next()
		if err == io.EOF {
			return recs, nil
		}
		if err != nil {
			return recs, err
		}
		recs = append(recs, record{bytes.Clone(k), bytes.Clone(v)})
	}
}

func sameRecords(t testing.TB, got, want []record) {
	t.Helper()
	if err := diffRecords(got, want); err != nil {
		t.Fatal(err)
	}
}

func diffRecords(got, want []record) error {
	for i := range min(len(got), len(want)) {
		if !bytes.Equal(got[i].key, want[i].key) || !bytes.Equal(got[i].value, want[i].value) {
			return fmt.Errorf("record %d: key %q and %d bytes, want key %q and %d bytes",
				i, got[i].key, len(got[i].value), want[i].key, len(want[i].value))
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d records, want %d", len(got), len(want))
	}
	return nil
}

// verify checks a database against what it should hold, in every way there is
// to read it.
func verify(t testing.TB, path string, want []record) {
	t.Helper()
	for _, useMap := range []bool{true, false} {
		db, err := open(path, useMap)
		if err != nil {
			t.Fatal(err)
		}
		if mapped := db.src.mapped != nil; mapped && !useMap {
			t.Fatal("mapped although it should not be")
		}
		if db.Len() != uint64(len(want)) {
			t.Fatalf("Len %d, want %d", db.Len(), len(want))
		}
		got, err := walk(db)
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, got, want)
		if err := db.Check(); err != nil {
			t.Fatal(err)
		}
		if err := db.Intact(); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func goldenRun(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join("..", "testdata", "golden", "runs", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Databases written by Caffe's tools through liblmdb. The digests, over length
// and bytes of every key and value, were checked against liblmdb.
var goldenRuns = []struct {
	name    string
	entries int
	digest  string
}{
	{"digits_train_lmdb", 1200, "fea27400d17a201b"},
	{"digits_test_lmdb", 400, "c198a7dca795e41e"},
	{"photos_jpeg_lmdb", 60, "0467510e8b1d0b17"},
	{"photos_png_lmdb", 60, "ff7db04132c3a600"},
	{"photos_raw_lmdb", 60, "2fda267a1571b921"},
}

func digest(recs []record) string {
	h := sha256.New()
	for _, r := range recs {
		for _, b := range [][]byte{r.key, r.value} {
			h.Write(le.AppendUint64(nil, uint64(len(b))))
			h.Write(b)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

func TestGolden(t *testing.T) {
	for _, g := range goldenRuns {
		t.Run(g.name, func(t *testing.T) {
			path := goldenRun(t, g.name)
			recs, err := walk(mustOpen(t, path))
			if err != nil {
				t.Fatal(err)
			}
			if len(recs) != g.entries {
				t.Fatalf("%d records, want %d", len(recs), g.entries)
			}
			if d := digest(recs); d != g.digest {
				t.Errorf("digest %s, want %s", d, g.digest)
			}
			verify(t, path, recs)
			verify(t, filepath.Join(path, dataFile), recs)

			// Written again by us, they hold the same.
			again := filepath.Join(t.TempDir(), "again")
			writeRecords(t, again, Options{PageSize: 4096}, recs)
			verify(t, again, recs)
		})
	}
}

func TestRoundTrip(t *testing.T) {
	mixed := func(i int) int { return []int{0, 1, 100, 3000, 70000, 17, 2026, 2027}[i%8] }
	for _, tc := range []struct {
		name string
		recs []record
		opts Options
	}{
		{"empty", nil, Options{}},
		{"one", makeRecords(1, constant(8), constant(5)), Options{}},
		{"one empty value", makeRecords(1, constant(8), constant(0)), Options{}},
		{"one large", makeRecords(1, constant(8), constant(3<<20)), Options{}},
		{"two", makeRecords(2, constant(8), constant(2000)), Options{}},
		{"keys of 1 to 511 bytes", makeRecords(2000, func(i int) int { return 8 + i%504 }, constant(20)), Options{}},
		{"keys of 511 bytes", makeRecords(3000, constant(511), constant(0)), Options{}},
		{"many levels", makeRecords(1500, constant(511), constant(1500)), Options{}},
		{"mixed sizes", makeRecords(1000, constant(13), mixed), Options{}},
		{"8 KB pages", makeRecords(500, constant(13), mixed), Options{PageSize: 8 << 10}},
		{"16 KB pages", makeRecords(500, constant(13), mixed), Options{PageSize: 16 << 10}},
		{"32 KB pages", makeRecords(500, constant(13), mixed), Options{PageSize: 32 << 10}},
		{"64 KB pages", makeRecords(500, constant(13), mixed), Options{PageSize: 64 << 10}},
		{"64 KB pages, large nodes", makeRecords(50, constant(13), constant(30000)), Options{PageSize: 64 << 10}},
		{"64 KB pages, empty", nil, Options{PageSize: 64 << 10}},
		{"single file", makeRecords(300, constant(13), mixed), Options{SingleFile: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			if tc.opts.PageSize == 0 {
				tc.opts.PageSize = 4096
			}
			writeRecords(t, path, tc.opts, tc.recs)
			verify(t, path, tc.recs)
			info := mustOpen(t, path).Info()
			if info.PageSize != tc.opts.PageSize {
				t.Errorf("page size %d, want %d", info.PageSize, tc.opts.PageSize)
			}
			if info.FileSize != int64(info.Pages)*int64(info.PageSize) || info.MapSize < uint64(info.FileSize) {
				t.Errorf("file size, pages and map size do not go together: %+v", info)
			}
			if all := 2 + info.BranchPages + info.LeafPages + info.OverflowPages; all != info.Pages {
				t.Errorf("%d pages of all kinds, want %d", all, info.Pages)
			}
		})
	}
}

// TestKeySizesFromOne has every key length, in bytewise order of keys that are
// prefixes of each other.
func TestKeySizesFromOne(t *testing.T) {
	var recs []record
	for n := 1; n <= MaxKeySize; n++ {
		recs = append(recs, record{bytes.Repeat([]byte{0}, n), fill(n, n%7)})
	}
	for n := 1; n <= MaxKeySize; n++ {
		recs = append(recs, record{bytes.Repeat([]byte{0xff}, n), fill(n, n%7)})
	}
	path := filepath.Join(t.TempDir(), "db")
	writeRecords(t, path, Options{PageSize: 4096}, recs)
	verify(t, path, recs)
}

// TestNodeMax crosses the size at which a value leaves its leaf.
func TestNodeMax(t *testing.T) {
	for _, tc := range []struct{ psz, max int }{{4096, 2038}, {8192, 4086}, {32768, 16374}} {
		if got := nodeMax(tc.psz); got != tc.max {
			t.Errorf("nodeMax(%d) = %d, want %d", tc.psz, got, tc.max)
		}
		for d := -3; d <= 3; d++ {
			recs := makeRecords(5, constant(8), constant(tc.max-nodeHeader-8+d))
			path := filepath.Join(t.TempDir(), "db")
			writeRecords(t, path, Options{PageSize: tc.psz}, recs)
			verify(t, path, recs)
			over := mustOpen(t, path).Info().OverflowPages
			if want := uint64(5); (over == want) != (d > 0) || over != 0 && over != want {
				t.Errorf("page size %d, node of %d: %d overflow pages", tc.psz, tc.max+d, over)
			}
		}
	}
}

// TestOverflowCount fills overflow runs to the byte.
func TestOverflowCount(t *testing.T) {
	var recs []record
	for i, n := range []int{4079, 4080, 4081, 8175, 8176, 8177, 12272, 12273} {
		recs = append(recs, record{[]byte{byte(i + 1)}, fill(i, n)})
	}
	path := filepath.Join(t.TempDir(), "db")
	writeRecords(t, path, Options{PageSize: 4096}, recs)
	verify(t, path, recs)
	if got, want := mustOpen(t, path).Info().OverflowPages, uint64(1+1+2+2+2+3+3+4); got != want {
		t.Errorf("%d overflow pages, want %d", got, want)
	}
}

func TestProperties(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		psz := rapid.SampledFrom([]int{4096, 8192, 32768}).Draw(t, "page size")
		alphabet := rapid.SampledFrom([]int{2, 256}).Draw(t, "alphabet")
		keys := rapid.SliceOfNDistinct(
			rapid.SliceOfN(rapid.Map(rapid.IntRange(0, alphabet-1), func(i int) byte { return byte(i) }), 1, MaxKeySize),
			0, 200, func(b []byte) string { return string(b) }).Draw(t, "keys")
		slices.SortFunc(keys, bytes.Compare)
		size := rapid.OneOf(
			rapid.IntRange(0, 40),
			rapid.IntRange(nodeMax(psz)-MaxKeySize-20, nodeMax(psz)+5),
			rapid.IntRange(0, 3*psz))
		recs := make([]record, len(keys))
		for i, k := range keys {
			recs[i] = record{k, fill(i, size.Draw(t, "value size"))}
		}
		path := filepath.Join(dir, "db")
		opts := Options{PageSize: psz, Overwrite: true, SingleFile: true}
		w, err := Create(path, opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			if err := w.Put(r.key, r.value); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		db, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		got, err := walk(db)
		if err != nil {
			t.Fatal(err)
		}
		if err := diffRecords(got, recs); err != nil {
			t.Fatal(err)
		}
		if err := db.Check(); err != nil {
			t.Fatal(err)
		}
		c := db.Cursor()
		for range 10 {
			var target []byte
			if len(keys) > 0 && rapid.Bool().Draw(t, "near") {
				target = slices.Clone(rapid.SampledFrom(keys).Draw(t, "key"))
				switch rapid.IntRange(0, 3).Draw(t, "edit") {
				case 0:
					target = append(target, 0)
				case 1:
					target = target[:len(target)-1]
				case 2:
					target[len(target)-1]++
				}
			} else {
				target = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "target")
			}
			checkSeek(t, c, recs, target)
		}
	})
}

// checkSeek compares Seek and the Next after it with a search in recs.
func checkSeek(t interface {
	Helper()
	Fatalf(string, ...any)
}, c *Cursor, recs []record, target []byte) {
	t.Helper()
	i := sort.Search(len(recs), func(i int) bool { return bytes.Compare(recs[i].key, target) >= 0 })
	k, v, err := c.Seek(target)
	for n := range 2 {
		switch {
		case i+n >= len(recs):
			if err != io.EOF {
				t.Fatalf("seek %q, step %d: %q, %v, want io.EOF", target, n, k, err)
			}
		case err != nil:
			t.Fatalf("seek %q, step %d: %v", target, n, err)
		case !bytes.Equal(k, recs[i+n].key) || !bytes.Equal(v, recs[i+n].value):
			t.Fatalf("seek %q, step %d: %q, want %q", target, n, k, recs[i+n].key)
		}
		k, v, err = c.Next()
	}
}

func TestCursor(t *testing.T) {
	recs := makeRecords(3000, func(i int) int { return 8 + i%300 }, constant(60))
	path := filepath.Join(t.TempDir(), "db")
	writeRecords(t, path, Options{PageSize: 4096}, recs)
	c := mustOpen(t, path).Cursor()
	expect := func(what string, i int) func(k, v []byte, err error) {
		return func(k, v []byte, err error) {
			t.Helper()
			if err != nil || !bytes.Equal(k, recs[i].key) || !bytes.Equal(v, recs[i].value) {
				t.Fatalf("%s: %q, %v, want record %d", what, k, err, i)
			}
		}
	}
	expect("Next of a new cursor", 0)(c.Next())
	expect("Next", 1)(c.Next())
	expect("First", 0)(c.First())
	expect("Next after First", 1)(c.Next())
	expect("Last", 2999)(c.Last())
	for range 2 {
		if k, v, err := c.Next(); err != io.EOF || k != nil || v != nil {
			t.Fatalf("Next after Last: %q, %v, want io.EOF", k, err)
		}
	}
	expect("First after the end", 0)(c.First())
	for i := range recs {
		expect("Seek", i)(c.Seek(recs[i].key))
	}
	checkSeek(t, c, recs, nil)
	checkSeek(t, c, recs, []byte("9"))
	if _, _, err := c.Next(); err != io.EOF {
		t.Fatalf("Next after a Seek past the end: %v, want io.EOF", err)
	}
}

func TestConcurrentCursors(t *testing.T) {
	recs := makeRecords(2000, constant(20), func(i int) int { return i % 3000 })
	path := filepath.Join(t.TempDir(), "db")
	writeRecords(t, path, Options{PageSize: 4096}, recs)
	db := mustOpen(t, path)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for g := range errs {
		wg.Go(func() {
			got, err := walk(db)
			if err == nil {
				err = diffRecords(got, recs)
			}
			if err == nil && g%4 == 0 {
				err = db.Check()
			}
			errs[g] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestNextDoesNotAllocate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	writeRecords(t, path, Options{PageSize: 4096}, makeRecords(5000, constant(20), func(i int) int { return i % 3000 }))
	db := mustOpen(t, path)
	if db.src.mapped == nil {
		t.Skip("files are not mapped on this system")
	}
	c := db.Cursor()
	if _, _, err := c.First(); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { c.Next() }); n != 0 {
		t.Errorf("%v allocations per step", n)
	}
}

func TestReadOnlyFolder(t *testing.T) {
	recs := makeRecords(100, constant(20), constant(300))
	dir := filepath.Join(t.TempDir(), "db")
	writeRecords(t, dir, Options{PageSize: 4096}, recs)
	if err := os.Chmod(filepath.Join(dir, dataFile), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	verify(t, dir, recs)
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 1 {
		t.Errorf("reading left %v in the folder", names)
	}
}

// readFile returns the data file of a database.
func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// image writes recs to a file and returns its bytes.
func image(t testing.TB, psz int, recs []record) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	writeRecords(t, path, Options{PageSize: psz, SingleFile: true}, recs)
	return readFile(t, path)
}
