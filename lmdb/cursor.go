package lmdb

import (
	"bytes"
	"fmt"
	"io"
	"sort"
)

// Cursor walks the records of a [DB] in ascending key order. All its methods
// return io.EOF when there is no such record, and otherwise errors that name
// the file and wrap [ErrCorrupt], [ErrUnsupported], [ErrChanged] or those of
// package os. After an error other than io.EOF, Next repeats it until First,
// Last or Seek succeeds.
type Cursor struct {
	db    *DB
	stack []frame // root first; empty before the first step
	state state
	err   error  // of the last step, for stateFailed
	steps uint64 // records returned since First; 0 after Seek and Last
	seen  byte   // keeps the reads of touch alive
}

type state uint8

const (
	stateStart  state = iota // before the first record
	stateAt                  // on the record returned last
	stateEnd                 // past the last record
	stateFailed              // the last step failed
)

// frame is one level of the path from the root to the current record.
type frame struct {
	page   []byte
	pgno   uint64
	n, i   int // nodes, current node
	upper  int // lowest offset of a node
	leaf   bool
	lo, hi []byte // keys of this page are in [lo, hi), nil: no bound
}

// Cursor returns a new cursor before the first record.
func (db *DB) Cursor() *Cursor { return &Cursor{db: db} }

// First moves to the first record and returns it.
func (c *Cursor) First() (key, value []byte, err error) { return c.step(opFirst, nil) }

// Last moves to the last record and returns it.
func (c *Cursor) Last() (key, value []byte, err error) { return c.step(opLast, nil) }

// Next moves to the next record and returns it: the first one on a new cursor.
func (c *Cursor) Next() (key, value []byte, err error) { return c.step(opNext, nil) }

// Seek moves to the first record whose key is not below key and returns it.
func (c *Cursor) Seek(key []byte) (k, value []byte, err error) { return c.step(opSeek, key) }

type op uint8

const (
	opFirst op = iota
	opLast
	opNext
	opSeek
)

func (c *Cursor) step(o op, target []byte) (key, value []byte, err error) {
	if o == opNext {
		switch c.state {
		case stateStart:
			o = opFirst
		case stateEnd:
			return nil, nil, io.EOF
		case stateFailed:
			return nil, nil, c.err
		}
	}
	err = c.db.guard(func() (err error) {
		key, value, err = c.move(o, target)
		// Only now is it certain that what has just been read was not being
		// overwritten; and damage found in such a page is none.
		if changed := c.db.intact(); changed != nil {
			return changed
		}
		return err
	})
	switch err {
	case nil:
		c.state = stateAt
		return key, value, nil
	case io.EOF:
		c.state = stateEnd
		return nil, nil, io.EOF
	}
	c.state = stateFailed
	c.err = fmt.Errorf("lmdb: %s: %w", c.db.path, err)
	return nil, nil, c.err
}

func (c *Cursor) move(o op, target []byte) (key, value []byte, err error) {
	root := c.db.meta.main.root
	if root == noPage {
		return nil, nil, io.EOF
	}
	if o != opNext {
		c.stack = c.stack[:0]
		c.steps = 0
		if err := c.descend(root, nil, nil, o, target); err != nil {
			return nil, nil, err
		}
	} else {
		c.stack[len(c.stack)-1].i++
	}
	if err := c.settle(); err != nil {
		return nil, nil, err
	}
	f := &c.stack[len(c.stack)-1]
	n, err := nodeAt(f.page, f.pgno, f.i, f.upper, true)
	if err != nil {
		return nil, nil, err
	}
	value, _, _, err = c.db.value(&n, f.pgno, f.i)
	if err != nil {
		return nil, nil, err
	}
	if o == opFirst || o == opNext && c.steps > 0 {
		c.steps++
	}
	c.touch(value)
	return n.key, value, nil
}

// descend pushes the path from page pgno, whose keys lie in [lo, hi), down to
// a leaf: the first one, the last one, or the one that target belongs to. In
// the leaf, i is the first node, the last one, or the first not below target,
// which may be past the last.
func (c *Cursor) descend(pgno uint64, lo, hi []byte, o op, target []byte) error {
	depth := int(c.db.meta.main.depth)
	for {
		f := frame{pgno: pgno, leaf: len(c.stack)+1 == depth, lo: lo, hi: hi}
		kind := uint16(flagBranch)
		if f.leaf {
			kind = flagLeaf
		}
		var err error
		if f.page, err = c.db.page(pgno, kind); err != nil {
			return err
		}
		if f.n, f.upper, err = c.db.checkPage(f.page, pgno, f.leaf, bytes.Compare, lo, hi); err != nil {
			return err
		}
		switch o {
		case opLast:
			f.i = f.n - 1
		case opSeek:
			if f.i, err = f.search(target); err != nil {
				return err
			}
		}
		c.stack = append(c.stack, f)
		if f.leaf {
			return nil
		}
		if pgno, lo, hi, err = f.child(); err != nil {
			return err
		}
	}
}

// settle moves on to the next leaf if the current one is used up.
func (c *Cursor) settle() error {
	top := len(c.stack) - 1
	if c.stack[top].i < c.stack[top].n {
		return nil
	}
	for top >= 0 && c.stack[top].i+1 >= c.stack[top].n {
		top--
	}
	if top < 0 {
		// A walk from end to end must have met every record: damage that cuts
		// nodes off a page would otherwise go unseen.
		if all := c.db.meta.main.entries; c.steps > 0 && c.steps != all {
			return fmt.Errorf("%w: %d records found, the meta page says %d", ErrCorrupt, c.steps, all)
		}
		return io.EOF
	}
	c.stack = c.stack[:top+1]
	f := &c.stack[top]
	f.i++
	pgno, lo, hi, err := f.child()
	if err != nil {
		return err
	}
	return c.descend(pgno, lo, hi, opFirst, nil)
}

// child returns the page that the current node of a branch leads to and the
// bounds of its keys.
func (f *frame) child() (pgno uint64, lo, hi []byte, err error) {
	n, err := nodeAt(f.page, f.pgno, f.i, f.upper, false)
	if err != nil {
		return 0, nil, nil, err
	}
	lo, hi = f.lo, f.hi
	if f.i > 0 {
		lo = n.key
	}
	if f.i+1 < f.n {
		next, err := nodeAt(f.page, f.pgno, f.i+1, f.upper, false)
		if err != nil {
			return 0, nil, nil, err
		}
		hi = next.key
	}
	return n.child(), lo, hi, nil
}

// search returns the index of the first node of a leaf whose key is not below
// target (n if there is none), or of the child that target belongs to.
func (f *frame) search(target []byte) (int, error) {
	var err error
	if f.leaf {
		i := sort.Search(f.n, func(i int) bool {
			n, e := nodeAt(f.page, f.pgno, i, f.upper, true)
			if e != nil {
				err = e
			}
			return bytes.Compare(n.key, target) >= 0
		})
		return i, err
	}
	// The child before the first separator above target.
	i := sort.Search(f.n-1, func(i int) bool {
		n, e := nodeAt(f.page, f.pgno, i+1, f.upper, false)
		if e != nil {
			err = e
		}
		return bytes.Compare(n.key, target) > 0
	})
	return i, err
}

// touch reads a byte of every memory page of v, so that a fault (see guard)
// happens in here and not in the caller.
func (c *Cursor) touch(v []byte) {
	if c.db.src.mapped == nil {
		return
	}
	const memPage = 4096
	for i := 0; i < len(v); i += memPage {
		c.seen ^= v[i]
	}
	if len(v) > 0 {
		c.seen ^= v[len(v)-1]
	}
}
