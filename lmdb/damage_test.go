package lmdb

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// damageRecords fill a few pages of every kind.
func damageRecords() []record {
	return makeRecords(60, func(i int) int { return 8 + i*5%300 }, func(i int) int {
		if i%20 == 7 {
			return 5000
		}
		return i * 3
	})
}

// survive reads a file that may be damaged in every way there is. It fails the
// test if what comes out breaks a promise; panics do so by themselves.
func survive(t testing.TB, file []byte) (recs []record, err error) {
	t.Helper()
	db, err := openBytes(file)
	if err != nil {
		return nil, err
	}
	checked := db.Check()
	c := db.Cursor()
	var prev []byte
	for {
		k, v, err := c.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			if checked == nil {
				t.Fatalf("Check found nothing, a cursor %v", err)
			}
			return nil, err
		}
		if len(k) == 0 || prev != nil && bytes.Compare(prev, k) >= 0 {
			t.Fatalf("key %q after %q", k, prev)
		}
		prev = k
		recs = append(recs, record{k, v})
	}
	if uint64(len(recs)) != db.Len() {
		t.Fatalf("%d records, Len %d", len(recs), db.Len())
	}
	for _, i := range []int{0, len(recs) / 2, len(recs) - 1} {
		if i >= 0 && i < len(recs) {
			// Seek skips pages, and so may miss damage elsewhere, no more.
			if k, v, err := c.Seek(recs[i].key); err == nil && (!bytes.Equal(k, recs[i].key) || !bytes.Equal(v, recs[i].value)) {
				t.Fatalf("Seek %q: %q", recs[i].key, k)
			}
		}
	}
	c.Last()
	c.Seek([]byte("zzz"))
	return recs, nil
}

// TestDamage changes every byte of a small database. Bytes of keys and values
// have no check in this format, and neither has free space; everywhere else
// the outcome is an error or the right records.
func TestDamage(t *testing.T) {
	want := damageRecords()
	good := image(t, 4096, want)
	if err := diffRecords(first(survive(t, good)), want); err != nil {
		t.Fatal(err)
	}
	// Which bytes are meta pages, page headers and node offsets.
	guarded := make([]bool, len(good))
	db, err := openBytes(good)
	if err != nil {
		t.Fatal(err)
	}
	if db.meta.main.branchPages == 0 || db.meta.main.overflowPages < 4 {
		t.Fatal("the sample lacks branch or overflow pages")
	}
	mark := func(from, to int) {
		for i := from; i < to; i++ {
			guarded[i] = true
		}
	}
	mark(0, 2*4096)
	for pg := 2; pg < len(good)/4096; {
		at := pg * 4096
		p := good[at : at+4096]
		mark(at, at+pageHeader)
		if le.Uint16(p[10:]) == flagOverflow {
			pg += int(le.Uint32(p[12:]))
			continue
		}
		mark(at, at+int(le.Uint16(p[12:])))
		pg++
	}
	var undetected, errors, right int
	b := slices.Clone(good)
	for i := range b {
		if !guarded[i] && i%5 != 0 {
			continue // a sample of these will do
		}
		for _, x := range []byte{0x01, 0xff} {
			b[i] ^= x
			recs, err := survive(t, b)
			switch {
			case err != nil:
				errors++
			case diffRecords(recs, want) == nil:
				right++
			case guarded[i]:
				t.Errorf("byte %d of page %d, %#02x for %#02x: wrong records and no error", i%4096, i/4096, b[i], good[i])
			default:
				undetected++
			}
			b[i] = good[i]
		}
	}
	if errors == 0 || right == 0 {
		t.Errorf("%d errors, %d right, %d undetected", errors, right, undetected)
	}
	// Ranges, as bad sectors leave them.
	for i := 0; i < len(good); i += 256 {
		for _, n := range []int{8, 64, 512, 4096} {
			for _, c := range []byte{0, 0xff} {
				b := slices.Clone(good)
				copy(b[i:], bytes.Repeat([]byte{c}, n))
				survive(t, b)
			}
		}
	}
	// Whole pages in each other's place.
	for i := 0; i < len(good); i += 4096 {
		for j := 2 * 4096; j < len(good); j += 4096 {
			b := slices.Clone(good)
			copy(b[i:i+4096], good[j:j+4096])
			recs, err := survive(t, b)
			if err == nil && diffRecords(recs, want) != nil && le.Uint16(good[i+10:])&kindMask != 0 && le.Uint64(good[i:]) == uint64(i/4096) {
				t.Errorf("page %d as page %d: wrong records and no error", j/4096, i/4096)
			}
		}
	}
}

func first(recs []record, _ error) []record { return recs }

// TestCycles builds trees that lead back into themselves.
func TestCycles(t *testing.T) {
	recs := makeRecords(3000, constant(511), constant(0))
	good := image(t, 4096, recs)
	db, err := openBytes(good)
	if err != nil {
		t.Fatal(err)
	}
	if db.meta.main.depth < 4 {
		t.Fatalf("depth %d", db.meta.main.depth)
	}
	root := db.meta.main.root
	setChild := func(b []byte, pgno uint64, i int, child uint64) {
		p := b[pgno*4096:]
		off := int(le.Uint16(p[pageHeader+2*i:]))
		le.PutUint32(p[off:], uint32(child))
		le.PutUint16(p[off+4:], uint16(child>>32))
	}
	child := func(b []byte, pgno uint64, i int) uint64 {
		n, err := nodeAt(b[pgno*4096:][:4096], pgno, i, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		return n.child()
	}
	for _, tc := range []struct {
		name string
		edit func(b []byte)
	}{
		{"root under root", func(b []byte) { setChild(b, root, 1, root) }},
		{"root under its grandchild", func(b []byte) { setChild(b, child(b, root, 1), 0, root) }},
		{"branch twice", func(b []byte) { setChild(b, root, 1, child(b, root, 0)) }},
		{"leaf twice", func(b []byte) {
			p := child(b, child(b, root, 0), 0)
			setChild(b, p, 1, child(b, p, 0))
		}},
		{"page 0", func(b []byte) { setChild(b, root, 1, 0) }},
		{"page past the last", func(b []byte) { setChild(b, root, 1, db.meta.lastPage+1) }},
		{"page past all files", func(b []byte) { setChild(b, root, 1, 1<<48-1) }},
		{"every branch twice, 32 levels", func(b []byte) {
			b[offMainDB+6], b[4096+offMainDB+6] = maxDepth, maxDepth
			for pg := uint64(2); pg <= db.meta.lastPage; pg++ {
				if le.Uint16(b[pg*4096+10:]) == flagBranch {
					setChild(b, pg, 0, pg)
					setChild(b, pg, 1, pg)
				}
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := slices.Clone(good)
			tc.edit(b)
			if recs, err := survive(t, b); err == nil {
				t.Errorf("%d records and no error", len(recs))
			}
			if db, err := openBytes(b); err == nil && db.Check() == nil {
				t.Error("Check finds nothing")
			}
		})
	}
}

// TestCheckFreeList: pages in two places at once.
func TestCheckFreeList(t *testing.T) {
	good := image(t, 4096, damageRecords())
	db, err := openBytes(good)
	if err != nil {
		t.Fatal(err)
	}
	last := db.meta.lastPage
	// with appends a free list of one record to the file.
	with := func(key []byte, words ...uint64) []byte {
		var leaf pageBuilder
		leaf.init(4096, flagLeaf)
		var value []byte
		for _, w := range words {
			value = le.AppendUint64(value, w)
		}
		leaf.add(uint32(len(value)), 0, key, value)
		b := append(slices.Clone(good), leaf.finish(last+1)...)
		b = append(b, make([]byte, 2*4096)...) // two pages to be free
		for pg := range uint64(2) {
			m := *db.meta
			m.txnID = pg
			m.lastPage = last + 3
			m.free = tree{pad: 4096, flags: dbIntegerKey, depth: 1, leafPages: 1, entries: 1, root: last + 1}
			m.encode(b[pg*4096:], pg)
		}
		return b
	}
	id := le.AppendUint64(nil, 1)
	for _, tc := range []struct {
		name string
		file []byte
		ok   bool
	}{
		{"two free pages", with(id, 2, last+3, last+2), true},
		{"one of them, the rest of the record unused", with(id, 1, last+3, 99), true},
		{"page in use", with(id, 2, last+2, 3), false},
		{"page twice", with(id, 2, last+2, last+2), false},
		{"its own page", with(id, 1, last+1), false},
		{"meta page", with(id, 1, 1), false},
		{"page past the last", with(id, 1, last+4), false},
		{"more pages than words", with(id, 3, last+3, last+2), false},
		{"no count", with(id), false},
		{"short key", with([]byte{1}, 1, last+3), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db, err := openBytes(tc.file)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Check(); (err == nil) != tc.ok {
				t.Errorf("Check: %v", err)
			}
			// The free list is none of a reader's business.
			if _, err := walk(db); err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(image(f, 4096, nil))
	f.Add(image(f, 4096, makeRecords(1, constant(8), constant(5))))
	f.Add(image(f, 4096, damageRecords()))
	f.Add(image(f, 4096, makeRecords(30, constant(511), constant(0))))
	f.Add(image(f, 65536, makeRecords(3, constant(8), constant(30))))
	samples, err := filepath.Glob(filepath.Join("testdata", "*.mdb"))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range samples {
		b, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		survive(t, file)
	})
}

// FuzzPages gives the fuzzer the pages after sound meta pages, with their
// numbers and kinds put right, so that it gets past those checks.
func FuzzPages(f *testing.F) {
	good := image(f, 4096, damageRecords())
	f.Add(good[2*4096:], uint8(2), uint64(60), uint8(0))
	f.Add(image(f, 4096, makeRecords(1, constant(8), constant(5)))[2*4096:], uint8(1), uint64(1), uint8(0))
	f.Fuzz(func(t *testing.T, pages []byte, depth uint8, entries uint64, root uint8) {
		n := uint64(len(pages) / 4096)
		if n == 0 {
			return
		}
		b := make([]byte, 2*4096, 2*4096+len(pages))
		b = append(b, pages...)
		for i := range n {
			le.PutUint64(b[(2+i)*4096:], 2+i)
		}
		for pg := range uint64(2) {
			m := meta{
				mapSize: 1 << 20,
				free:    tree{pad: 4096, flags: dbIntegerKey, root: noPage},
				main: tree{depth: uint16(depth), entries: entries, leafPages: n,
					root: max(2, n+1-min(n-1, uint64(root)))},
				lastPage: n + 1,
				txnID:    pg,
			}
			m.encode(b[pg*4096:], pg)
		}
		db, err := openBytes(b)
		if err != nil {
			return
		}
		c := db.Cursor()
		var prev []byte
		for {
			k, _, err := c.Next()
			if err != nil {
				break
			}
			if prev != nil && bytes.Compare(prev, k) >= 0 {
				t.Fatalf("key %q after %q", k, prev)
			}
			prev = k
		}
		c.Last()
		c.Seek([]byte("00000020"))
		_ = fmt.Sprint(db.Check())
	})
}
