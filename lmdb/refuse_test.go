package lmdb

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

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

// TestOpenDevice: what has no end or waits for a writer is not opened.
func TestOpenDevice(t *testing.T) {
	if _, err := Open(os.DevNull); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a device: %v", err)
	}
}
