package leveldb

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"

	lerrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	ltable "github.com/syndtr/goleveldb/leveldb/table"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// A Cursor walks over the records of a database in ascending order of keys. It
// belongs to one goroutine.
type Cursor struct {
	db   *DB
	runs []run
	key  []byte // the present one, or nil
}

// A run is a sequence of entries in ascending order of keys and, for one key,
// descending order of tags.
type run interface {
	// seek goes to the first entry whose key is not less than key; nil is less
	// than all.
	seek(key []byte) error
	// entry returns the present entry, or nil at the end. It is valid until the
	// run moves.
	entry() *entry
	next() error
	close()
}

// Cursor returns a cursor before the first record.
func (db *DB) Cursor() *Cursor {
	c := &Cursor{db: db}
	if len(db.mem) > 0 {
		c.runs = append(c.runs, &memRun{entries: db.mem})
	}
	for level, ts := range db.levels {
		if level == 0 {
			for i := range ts {
				c.runs = append(c.runs, &tableRun{db: db, tables: ts[i : i+1]})
			}
		} else if len(ts) > 0 {
			c.runs = append(c.runs, &tableRun{db: db, tables: ts})
		}
	}
	return c
}

// First goes to the first record; io.EOF if there is none.
func (c *Cursor) First() (key, value []byte, err error) { return c.Seek(nil) }

// Seek goes to the first record whose key is not less than the given one;
// io.EOF if there is none.
func (c *Cursor) Seek(key []byte) (k, v []byte, err error) {
	for _, r := range c.runs {
		if err := r.seek(key); err != nil {
			return nil, nil, c.wrap(err)
		}
	}
	return c.settle()
}

// Next goes to the next record; io.EOF behind the last one. On a new cursor
// it is First.
func (c *Cursor) Next() (key, value []byte, err error) {
	if c.key == nil {
		return c.First()
	}
	if err := c.skip(c.key); err != nil {
		return nil, nil, c.wrap(err)
	}
	return c.settle()
}

// Close closes the tables that are open.
func (c *Cursor) Close() error {
	for _, r := range c.runs {
		r.close()
	}
	c.runs = nil
	return nil
}

func (c *Cursor) wrap(err error) error { return fmt.Errorf("leveldb %s: %w", c.db.path, err) }

// skip moves all runs behind every version of a key.
func (c *Cursor) skip(key []byte) error {
	for _, r := range c.runs {
		for e := r.entry(); e != nil && bytes.Equal(e.key, key); e = r.entry() {
			if err := r.next(); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle returns the lowest key's newest version, passing over deleted keys.
func (c *Cursor) settle() (key, value []byte, err error) {
	for {
		var best *entry
		for _, r := range c.runs {
			e := r.entry()
			if e == nil {
				continue
			}
			if best == nil {
				best = e
				continue
			}
			if d := bytes.Compare(e.key, best.key); d < 0 || d == 0 && e.tag > best.tag {
				best = e
			}
		}
		if best == nil {
			return nil, nil, io.EOF
		}
		// Copied: a table's slices go away when its run moves.
		c.key = append(make([]byte, 0, len(best.key)), best.key...)
		if byte(best.tag) == kindPut {
			return c.key, bytes.Clone(best.value), nil
		}
		if err := c.skip(c.key); err != nil {
			return nil, nil, c.wrap(err)
		}
	}
}

// A memRun runs over the logs' entries.
type memRun struct {
	entries []entry
	i       int
}

func (r *memRun) seek(key []byte) error {
	r.i, _ = slices.BinarySearchFunc(r.entries, key, func(e entry, k []byte) int { return bytes.Compare(e.key, k) })
	return nil
}

func (r *memRun) entry() *entry {
	if r.i >= len(r.entries) {
		return nil
	}
	return &r.entries[r.i]
}

func (r *memRun) next() error {
	r.i++
	return nil
}

func (r *memRun) close() {}

// A tableRun runs over tables whose keys do not overlap, one open at a time.
type tableRun struct {
	db     *DB
	tables []table
	i      int // of the open table, if it is not nil
	file   *os.File
	reader *ltable.Reader
	it     iterator.Iterator
	cur    entry
	valid  bool
}

func (r *tableRun) entry() *entry {
	if !r.valid {
		return nil
	}
	return &r.cur
}

func (r *tableRun) close() {
	if r.it != nil {
		r.it.Release()
		r.reader.Release()
		r.file.Close()
		r.it = nil
	}
	r.valid = false
}

func (r *tableRun) seek(key []byte) error {
	r.close()
	i := sort.Search(len(r.tables), func(i int) bool { return bytes.Compare(r.tables[i].last, key) >= 0 })
	if i == len(r.tables) {
		return nil
	}
	if err := r.open(i); err != nil {
		return err
	}
	ok := false
	if key == nil {
		ok = r.it.First()
	} else {
		// The newest possible version of key comes first.
		ok = r.it.Seek(binary.LittleEndian.AppendUint64(bytes.Clone(key), ^uint64(0)))
	}
	return r.take(ok)
}

func (r *tableRun) next() error { return r.take(r.it.Next()) }

// take reads the iterator's entry, or goes on with the next table.
func (r *tableRun) take(ok bool) (err error) {
	for !ok {
		r.valid = false
		if err := r.it.Error(); err != nil {
			return r.wrap(err)
		}
		i := r.i + 1
		r.close()
		if i == len(r.tables) {
			return nil
		}
		if err := r.open(i); err != nil {
			return err
		}
		ok = r.it.First()
	}
	if r.cur.key, r.cur.tag, err = splitTag(r.it.Key()); err != nil {
		return r.wrap(err)
	}
	r.cur.value, r.valid = r.it.Value(), true
	return nil
}

// wrap names the table and translates goleveldb's mark of damage.
func (r *tableRun) wrap(err error) error {
	if lerrors.IsCorrupted(err) && !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return fmt.Errorf("%s: %w", r.db.names[r.tables[r.i].num], err)
}

func (r *tableRun) open(i int) error {
	r.i = i
	t := r.tables[i]
	f, err := os.Open(filepath.Join(r.db.path, r.db.names[t.num]))
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	o := &opt.Options{Comparer: internalOrder{}, Strict: opt.StrictAll}
	reader, err := ltable.NewReader(f, st.Size(), storage.FileDesc{Type: storage.TypeTable, Num: int64(t.num)}, nil, nil, o)
	if err != nil {
		f.Close()
		return r.wrap(err)
	}
	r.file, r.reader = f, reader
	r.it = reader.NewIterator(nil, &opt.ReadOptions{Strict: opt.StrictAll, DontFillCache: true})
	return nil
}

// internalOrder is the order of a table's keys: ascending user keys, then
// descending tags.
type internalOrder struct{}

func (internalOrder) Compare(a, b []byte) int {
	ka, ta, errA := splitTag(a)
	kb, tb, errB := splitTag(b)
	if errA != nil || errB != nil {
		return bytes.Compare(a, b)
	}
	if c := bytes.Compare(ka, kb); c != 0 {
		return c
	}
	return cmp.Compare(tb, ta)
}

func (internalOrder) Name() string                    { return "leveldb.InternalKeyComparator" }
func (internalOrder) Separator(_, _, _ []byte) []byte { return nil }
func (internalOrder) Successor(_, _ []byte) []byte    { return nil }
