package lmdb

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
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

func TestMetaPages(t *testing.T) {
	recs := makeRecords(100, constant(20), constant(300))
	for _, psz := range []int{4096, 8192, 16384, 32768, 65536} {
		good := image(t, psz, recs)
		// older makes a meta page describe an empty database at an older id.
		older := func(b []byte, pgno int, id uint64) {
			m, err := decodeMeta(b[pgno*psz:], uint64(pgno))
			if err != nil {
				t.Fatal(err)
			}
			m.txnID = id
			m.main = tree{root: noPage}
			m.encode(b[pgno*psz:], uint64(pgno))
		}
		setID := func(b []byte, pgno int, id uint64) { le.PutUint64(b[pgno*psz+offTxnID:], id) }
		for _, tc := range []struct {
			name string
			edit func(b []byte)
			want error // nil: all records
		}{
			{"page 0 zeroed", func(b []byte) { clear(b[:psz]) }, nil},
			{"page 1 zeroed", func(b []byte) { clear(b[psz : 2*psz]) }, nil},
			{"page 0 with wrong magic", func(b []byte) { b[offMagic]++ }, nil},
			{"page 1 with wrong magic", func(b []byte) { b[psz+offMagic]++ }, nil},
			{"page 0 with another page size", func(b []byte) { le.PutUint32(b[offFreeDB:], 3000) }, nil},
			{"page 1 with another page size", func(b []byte) { le.PutUint32(b[psz+offFreeDB:], uint32(psz)*2) }, nil},
			{"page 1 newer, 0 empty", func(b []byte) { older(b, 0, 0) }, nil},
			{"page 0 newer, 1 empty", func(b []byte) { older(b, 1, 7); setID(b, 0, 8) }, nil},
			{"ids past 32 bits", func(b []byte) { older(b, 1, 0xfffffffff); setID(b, 0, 0x1000000000) }, nil},
			{"both zeroed", func(b []byte) { clear(b[:2*psz]) }, ErrCorrupt},
			{"page 1 lost, 0 is the state before the first commit", func(b []byte) { older(b, 0, 0); clear(b[psz : 2*psz]) }, ErrCorrupt},
			{"version", func(b []byte) { b[offVersion]++; b[psz+offVersion]++ }, ErrUnsupported},
			{"root past the end", func(b []byte) { le.PutUint64(b[psz+offMainDB+40:], 1<<40) }, ErrCorrupt},
			{"root is a meta page", func(b []byte) { le.PutUint64(b[psz+offMainDB+40:], 1) }, ErrCorrupt},
			{"depth 33", func(b []byte) { b[psz+offMainDB+6] = 33 }, ErrCorrupt},
			{"depth 0", func(b []byte) { b[psz+offMainDB+6] = 0 }, ErrCorrupt},
			{"no entries", func(b []byte) { le.PutUint64(b[psz+offMainDB+32:], 0) }, ErrCorrupt},
			{"last page 0", func(b []byte) { le.PutUint64(b[psz+offLastPage:], 0) }, ErrCorrupt},
			{"last page huge", func(b []byte) { le.PutUint64(b[psz+offLastPage:], 1<<60) }, ErrCorrupt},
		} {
			t.Run(fmt.Sprintf("%d/%s", psz, tc.name), func(t *testing.T) {
				b := slices.Clone(good)
				tc.edit(b)
				db, err := openBytes(b)
				if !errors.Is(err, tc.want) {
					t.Fatalf("error %v, want %v", err, tc.want)
				}
				if err != nil {
					return
				}
				got, err := walk(db)
				if err != nil {
					t.Fatal(err)
				}
				sameRecords(t, got, recs)
			})
		}
	}
}

func TestRefusedByName(t *testing.T) {
	good := image(t, 4096, makeRecords(100, constant(20), constant(300)))
	db, err := openBytes(good)
	if err != nil {
		t.Fatal(err)
	}
	// The head of meta pages of other hosts, laid out by hand.
	bits32 := func(put func([]byte, uint32), put16 func([]byte, uint16)) []byte {
		b := make([]byte, 4*4096)
		for pg := range 2 {
			p := b[pg*4096:]
			put(p[0:], uint32(pg))
			put16(p[6:], flagMeta)
			put(p[12:], magic)
			put(p[16:], dataVersion)
			put(p[24:], 1<<20) // map size, after a 4-byte address
			put(p[28:], 4096)
		}
		return b
	}
	be := func(b []byte, v uint32) { b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v) }
	be16 := func(b []byte, v uint16) { b[0], b[1] = byte(v>>8), byte(v) }
	big := make([]byte, 4*4096)
	for pg := range 2 {
		p := big[pg*4096:]
		p[7] = byte(pg)
		be16(p[10:], flagMeta)
		be(p[offMagic:], magic)
		be(p[offVersion:], dataVersion)
		be(p[offFreeDB:], 4096)
	}
	// The first leaf's first node, to be given flags.
	nodeFlags := func(b []byte, flags byte) []byte {
		leaf := db.meta.main.root
		for range db.meta.main.depth - 1 {
			p := b[leaf*4096:]
			n, err := nodeAt(p[:4096], leaf, 0, 0, false)
			if err != nil {
				t.Fatal(err)
			}
			leaf = n.child()
		}
		p := b[leaf*4096:]
		p[int(le.Uint16(p[pageHeader:]))+4] = flags
		return b
	}
	mainFlags := func(flags byte) []byte {
		b := slices.Clone(good)
		b[4096+offMainDB+4] = flags
		return b
	}
	for _, tc := range []struct {
		name, says string
		file       []byte
	}{
		{"32-bit host", "32-bit host", bits32(le.PutUint32, le.PutUint16)},
		{"32-bit big-endian host", "32-bit big-endian host", bits32(be, be16)},
		{"big-endian host", "big-endian host", big},
		{"reverse keys", "MDB_REVERSEKEY", mainFlags(0x02)},
		{"duplicates", "MDB_DUPSORT", mainFlags(0x04)},
		{"integer keys", "MDB_INTEGERKEY", mainFlags(0x08)},
		{"fixed duplicates", "MDB_DUPSORT|MDB_DUPFIXED", mainFlags(0x14)},
		{"unknown flags", "0x80", mainFlags(0x80)},
		{"named sub-database", "named sub-database", nodeFlags(slices.Clone(good), nodeSubData)},
		{"duplicates in a node", "MDB_DUPSORT", nodeFlags(slices.Clone(good), nodeDupData)},
		{"duplicates in a tree", "MDB_DUPSORT", nodeFlags(slices.Clone(good), nodeDupData|nodeSubData)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db, err := openBytes(tc.file)
			if err == nil {
				_, err = walk(db)
			}
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error %v does not say %q", err, tc.says)
			}
		})
	}
}

func TestNoDatabase(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := image(t, 4096, makeRecords(10, constant(20), constant(300)))
	for _, tc := range []struct {
		name, path string
		want       error
	}{
		{"missing", filepath.Join(dir, "missing"), fs.ErrNotExist},
		{"folder without data", dir, fs.ErrNotExist},
		{"empty file", file("empty", nil), ErrCorrupt},
		{"short file", file("short", []byte("hello")), ErrCorrupt},
		{"text", file("text", bytes.Repeat([]byte("no database\n"), 2000)), ErrCorrupt},
		{"one page", file("one", good[:4096]), ErrCorrupt},
		{"half a meta page", file("half", good[:100]), ErrCorrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db, err := Open(tc.path)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if db != nil {
				t.Fatal("a database besides the error")
			}
		})
	}
}

// TestCutOff gives an error for every file cut off, whole pages or not.
func TestCutOff(t *testing.T) {
	recs := makeRecords(60, constant(20), func(i int) int { return []int{50, 1000, 9000}[i%3] })
	good := image(t, 4096, recs)
	for size := 0; size < len(good); size += 512 {
		db, err := openBytes(good[:size])
		if err == nil {
			if _, err = walk(db); err == nil {
				t.Fatalf("%d of %d bytes: all records read", size, len(good))
			}
			if err := db.Check(); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d of %d bytes: Check: %v", size, len(good), err)
			}
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d of %d bytes: %v", size, len(good), err)
		}
	}
}

func TestCutOffAfterOpen(t *testing.T) {
	recs := makeRecords(200, constant(20), func(i int) int { return i % 2 * 9000 })
	for _, useMap := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "db")
		writeRecords(t, path, Options{PageSize: 4096, SingleFile: true}, recs)
		db, err := open(path, useMap)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		c := db.Cursor()
		if _, _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int64{64 << 10, 0} {
			if err := os.Truncate(path, size); err != nil {
				t.Skipf("this system does not cut off open files: %v", err)
			}
			for err == nil {
				_, _, err = c.Next()
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("mapped %v, cut to %d: %v, want ErrCorrupt", useMap, size, err)
			}
			if err := db.Check(); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("mapped %v, cut to %d: Check: %v, want ErrCorrupt", useMap, size, err)
			}
			_, _, err = c.First()
		}
	}
}

// TestChanged plays a writer that commits while a cursor is at work, by
// storing transaction ids as it would.
func TestChanged(t *testing.T) {
	recs := makeRecords(100, constant(20), constant(300))
	for _, useMap := range []bool{true, false} {
		for _, tc := range []struct {
			name  string
			newer uint64    // id of the snapshot read
			ids   [2]uint64 // stored later
			want  error
		}{
			{"nothing", 1, [2]uint64{0, 1}, nil},
			{"one commit", 1, [2]uint64{2, 1}, nil},
			{"two commits", 1, [2]uint64{2, 3}, ErrChanged},
			{"three commits", 1, [2]uint64{4, 3}, ErrChanged},
			{"first meta page, one commit", 8, [2]uint64{8, 9}, nil},
			{"first meta page, two commits", 8, [2]uint64{10, 9}, ErrChanged},
			{"replaced by a younger database", 8, [2]uint64{0, 1}, ErrChanged},
		} {
			t.Run(fmt.Sprintf("mapped=%v/%s", useMap, tc.name), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "db")
				writeRecords(t, path, Options{PageSize: 4096, SingleFile: true}, recs)
				f, err := os.OpenFile(path, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				store := func(pgno int, id uint64) {
					if _, err := f.WriteAt(le.AppendUint64(nil, id), int64(pgno*4096+offTxnID)); err != nil {
						t.Fatal(err)
					}
				}
				store(int(tc.newer&1), tc.newer)
				store(int(tc.newer&1^1), tc.newer-1)
				db, err := open(path, useMap)
				if err != nil {
					t.Fatal(err)
				}
				defer db.Close()
				c := db.Cursor()
				if _, _, err := c.Next(); err != nil {
					t.Fatal(err)
				}
				store(0, tc.ids[0])
				store(1, tc.ids[1])
				if _, _, err := c.Next(); !errors.Is(err, tc.want) {
					t.Errorf("Next: %v, want %v", err, tc.want)
				}
				if err := db.Intact(); !errors.Is(err, tc.want) {
					t.Errorf("Intact: %v, want %v", err, tc.want)
				}
				if err := db.Check(); !errors.Is(err, tc.want) {
					t.Errorf("Check: %v, want %v", err, tc.want)
				}
				if tc.want == nil {
					return
				}
				if _, _, err := c.Next(); !errors.Is(err, tc.want) {
					t.Errorf("Next again: %v, want %v", err, tc.want)
				}
				again, err := Open(path)
				if err != nil {
					t.Fatal(err)
				}
				defer again.Close()
				if _, err := walk(again); err != nil {
					t.Errorf("opened again: %v", err)
				}
			})
		}
	}
}

// TestChangedBeatsDamage: a page that a writer reuses looks damaged, and the
// error has to say what really happened.
func TestChangedBeatsDamage(t *testing.T) {
	b := image(t, 4096, makeRecords(100, constant(20), constant(300)))
	db, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	c := db.Cursor()
	if _, _, err := c.Next(); err != nil {
		t.Fatal(err)
	}
	clear(db.src.mapped[2*4096:])
	if _, _, err := db.Cursor().First(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("before: %v, want ErrCorrupt", err)
	}
	le.PutUint64(db.src.mapped[offTxnID:], 2)
	le.PutUint64(db.src.mapped[4096+offTxnID:], 3)
	for _, step := range []func() ([]byte, []byte, error){c.Next, c.First, c.Last} {
		if _, _, err := step(); !errors.Is(err, ErrChanged) {
			t.Errorf("after: %v, want ErrChanged", err)
		}
	}
}

func TestClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	writeRecords(t, path, Options{PageSize: 4096}, makeRecords(10, constant(20), constant(300)))
	db := mustOpen(t, path)
	c := db.Cursor()
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := c.Next(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Next: %v, want os.ErrClosed", err)
	}
	if err := db.Check(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Check: %v, want os.ErrClosed", err)
	}
	if err := db.Intact(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Intact: %v, want os.ErrClosed", err)
	}
}

// BenchmarkPut writes records of the size of a 256×256 RGB image.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{100, 196639} {
		b.Run(fmt.Sprintf("value=%d", size), func(b *testing.B) {
			w, err := Create(filepath.Join(b.TempDir(), "db"), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Abort()
			value := fill(1, size)
			key := make([]byte, 16)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				key = fmt.Appendf(key[:0], "%016d", i)
				if err := w.Put(key, value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	writeRecords(b, path, Options{PageSize: 4096}, makeRecords(100000, constant(16), constant(100)))
	c := mustOpen(b, path).Cursor()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Next(); err == io.EOF {
			_, _, err = c.First()
			if err != nil {
				b.Fatal(err)
			}
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeek(b *testing.B) {
	recs := makeRecords(100000, constant(16), constant(100))
	path := filepath.Join(b.TempDir(), "db")
	writeRecords(b, path, Options{PageSize: 4096}, recs)
	c := mustOpen(b, path).Cursor()
	rnd := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		if _, _, err := c.Seek(recs[rnd.IntN(len(recs))].key); err != nil {
			b.Fatal(err)
		}
	}
}

// TestOpenDevice: what has no end or waits for a writer is not opened.
func TestOpenDevice(t *testing.T) {
	if _, err := Open(os.DevNull); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a device: %v", err)
	}
}
