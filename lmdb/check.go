package lmdb

import (
	"bytes"
	"cmp"
	"fmt"
)

// Check reads every page of the snapshot and verifies all that the format
// lets one verify: what cursors check on their way, that no page is used twice
// (by the tree, by values, or by the free list), and that pages, depth and
// records are as many as the meta page says. It holds one bit per page of the
// file. Values themselves have no checksum.
func (db *DB) Check() error {
	err := db.guard(func() error {
		err := db.check()
		if changed := db.intact(); changed != nil {
			return changed
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("lmdb: %s: %w", db.path, err)
	}
	return nil
}

func (db *DB) check() error {
	last := db.meta.lastPage
	// Pages past the file's end can only be free ones, at the very end; a run
	// that a transaction allocated and gave back is never written.
	used := make(pageSet, min(last, uint64(db.src.size)/db.psz)/64+1)
	for _, t := range []struct {
		name  string
		tree  *tree
		cmp   func(a, b []byte) int
		visit func(key, value []byte) error
	}{
		{"main database", &db.meta.main, bytes.Compare, nil},
		{"free list", &db.meta.free, compareTxnID, func(key, value []byte) error {
			return used.addFree(key, value, last)
		}},
	} {
		if err := db.checkTree(t.name, t.tree); err != nil {
			return err
		}
		if t.tree.root == noPage {
			continue
		}
		c := checker{db: db, cmp: t.cmp, depth: int(t.tree.depth), visit: t.visit, used: used}
		if err := c.walk(t.tree.root, 1, nil, nil); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		for _, n := range []struct {
			what       string
			want, have uint64
		}{
			{"branch pages", t.tree.branchPages, c.branches},
			{"leaf pages", t.tree.leafPages, c.leaves},
			{"overflow pages", t.tree.overflowPages, c.overflows},
			{"records", t.tree.entries, c.entries},
		} {
			if n.want != n.have {
				return fmt.Errorf("%w: %s: %d %s found, the meta page says %d", ErrCorrupt, t.name, n.have, n.what, n.want)
			}
		}
	}
	return nil
}

// checker walks one tree.
type checker struct {
	db    *DB
	cmp   func(a, b []byte) int
	depth int
	visit func(key, value []byte) error // nil: none
	used  pageSet

	branches, leaves, overflows, entries uint64
}

func (c *checker) walk(pgno uint64, level int, lo, hi []byte) error {
	kind, leaf := uint16(flagBranch), level == c.depth
	if leaf {
		kind = flagLeaf
	}
	p, err := c.db.page(pgno, kind)
	if err != nil {
		return err
	}
	if err := c.used.add(pgno, 1); err != nil {
		return err
	}
	f := frame{page: p, pgno: pgno, leaf: leaf, lo: lo, hi: hi}
	if f.n, f.upper, err = c.db.checkPage(p, pgno, leaf, c.cmp, lo, hi); err != nil {
		return err
	}
	if !leaf {
		c.branches++
		for f.i = range f.n {
			child, lo, hi, err := f.child()
			if err != nil {
				return err
			}
			if err := c.walk(child, level+1, lo, hi); err != nil {
				return err
			}
		}
		return nil
	}
	c.leaves++
	for i := range f.n {
		n, err := nodeAt(p, pgno, i, f.upper, true)
		if err != nil {
			return err
		}
		v, first, pages, err := c.db.value(&n, pgno, i)
		if err != nil {
			return err
		}
		if pages > 0 {
			if err := c.used.add(first, pages); err != nil {
				return err
			}
			c.overflows += pages
		}
		c.entries++
		if c.visit != nil {
			if err := c.visit(n.key, v); err != nil {
				return fmt.Errorf("node %d of page %d: %w", i, pgno, err)
			}
		}
	}
	return nil
}

// compareTxnID orders the free list, whose keys are transaction ids. Keys of
// any other length are found by addFree.
func compareTxnID(a, b []byte) int {
	if len(a) != 8 || len(b) != 8 {
		return bytes.Compare(a, b)
	}
	return cmp.Compare(le.Uint64(a), le.Uint64(b))
}

// pageSet has a bit for every page that can be in the file.
type pageSet []uint64

func (s pageSet) add(pgno, n uint64) error {
	for i := pgno; i < pgno+n; i++ {
		w := i / 64
		if w >= uint64(len(s)) {
			return nil
		}
		if s[w]&(1<<(i%64)) != 0 {
			return pageError(i, "is used twice")
		}
		s[w] |= 1 << (i % 64)
	}
	return nil
}

// addFree marks the pages of one free-list record: their number, then the
// pages, in descending order.
func (s pageSet) addFree(key, value []byte, last uint64) error {
	if len(key) != 8 || len(value) < 8 || len(value)%8 != 0 {
		return fmt.Errorf("%w: record of %d+%d bytes", ErrCorrupt, len(key), len(value))
	}
	n := le.Uint64(value)
	if n > uint64(len(value)/8-1) {
		return fmt.Errorf("%w: %d pages in a record of %d bytes", ErrCorrupt, n, len(value))
	}
	for i := range n {
		pgno := le.Uint64(value[8*(i+1):])
		if pgno < 2 || pgno > last {
			return pageError(pgno, "not among the pages 2 to %d", last)
		}
		if err := s.add(pgno, 1); err != nil {
			return err
		}
	}
	return nil
}
