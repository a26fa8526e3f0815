package lmdb

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
)

// MaxKeySize is the longest key liblmdb accepts as it is commonly built.
const MaxKeySize = 511

// ErrKeyOrder says that a key is not above the one before it.
var ErrKeyOrder = errors.New("keys must be strictly ascending")

// Options configure [Create]. The zero value is what Caffe's tools make.
type Options struct {
	// PageSize is a power of two from 4096 to 32768 bytes. 0 means 4096, what
	// liblmdb uses on hosts with 4 KB memory pages.
	PageSize int
	// SingleFile makes path the data file itself (MDB_NOSUBDIR) instead of a
	// folder that holds it.
	SingleFile bool
	// Overwrite permits Commit to replace a database that exists.
	Overwrite bool
}

// Writer builds one database. Use [Create], then Put in key order, then Commit
// or Abort.
type Writer struct {
	path    string // of the data file
	folder  string // that Create made, or ""
	opts    Options
	psz     int
	nodeMax int

	tmp  *os.File
	out  *bufio.Writer
	next uint64 // page the next write goes to
	main tree
	leaf pageBuilder
	// The open page of each branch level, the lowest first.
	branches []branchLevel
	last     []byte // key of the last record
	done     bool
	err      error // of the first failed write; the file is unusable
}

// Create starts a database at path: a folder, made if need be, that will hold
// data.mdb, or the data file itself. It fails with an error that wraps
// fs.ErrExist if a database is there and is not to be overwritten. Nothing is
// visible under the final name before Commit; a process that is killed leaves
// a temporary file data.mdb.tmp* behind.
func Create(path string, opts Options) (*Writer, error) {
	if opts.PageSize == 0 {
		opts.PageSize = minPageSize
	}
	if opts.PageSize < 0 || opts.PageSize > maxWritePageSize || !validPageSize(uint32(opts.PageSize), maxWritePageSize) {
		return nil, fmt.Errorf("lmdb: %s: page size %d is not a power of two from %d to %d", path, opts.PageSize, minPageSize, maxWritePageSize)
	}
	return create(path, opts)
}

func create(path string, opts Options) (w *Writer, err error) {
	w = &Writer{
		path:    path,
		opts:    opts,
		psz:     opts.PageSize,
		nodeMax: nodeMax(opts.PageSize),
		next:    2,
		main:    tree{root: noPage},
	}
	if !opts.SingleFile {
		w.path = filepath.Join(path, dataFile)
		switch err := os.Mkdir(path, 0o777); {
		case err == nil:
			w.folder = path
		case !errors.Is(err, fs.ErrExist):
			return nil, fmt.Errorf("lmdb: %w", err)
		}
	}
	if err := w.free(); err != nil {
		w.removeFolder()
		return nil, err
	}
	w.tmp, err = os.CreateTemp(filepath.Dir(w.path), filepath.Base(w.path)+".tmp*")
	if err != nil {
		w.removeFolder()
		return nil, fmt.Errorf("lmdb: %w", err)
	}
	w.out = bufio.NewWriterSize(w.tmp, 1<<20)
	w.leaf.init(w.psz, flagLeaf)
	// Room for the meta pages, which come last.
	w.write(make([]byte, 2*w.psz))
	return w, nil
}

// free checks that the place of the data file may be taken.
func (w *Writer) free() error {
	st, err := os.Stat(w.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("lmdb: %w", err)
	case !st.Mode().IsRegular():
		return fmt.Errorf("lmdb: %s: %w and is not a regular file", w.path, fs.ErrExist)
	case !w.opts.Overwrite:
		return fmt.Errorf("lmdb: %s: %w", w.path, fs.ErrExist)
	}
	return nil
}

func (w *Writer) removeFolder() {
	if w.folder != "" {
		os.Remove(w.folder)
	}
}

// write appends whole pages, or parts of them; the first error stays.
func (w *Writer) write(b []byte) {
	if w.err == nil {
		if _, err := w.out.Write(b); err != nil {
			w.err = fmt.Errorf("lmdb: %w", err)
		}
	}
}

// Put appends a record. The key has 1 to [MaxKeySize] bytes and is above all
// earlier ones in bytewise order; the value may be empty and has less than
// 4 GB. Neither is kept. A record that is refused leaves the Writer as it was;
// after a failed write, Put and Commit return that error.
func (w *Writer) Put(key, value []byte) error {
	switch {
	case w.done:
		return fmt.Errorf("lmdb: %s: %w", w.path, os.ErrClosed)
	case w.err != nil:
		return w.err
	case len(key) == 0 || len(key) > MaxKeySize:
		return fmt.Errorf("lmdb: %s: key of %d bytes, not 1 to %d", w.path, len(key), MaxKeySize)
	case uint64(len(value)) > math.MaxUint32:
		return fmt.Errorf("lmdb: %s: key %q: value of %d bytes, more than %d", w.path, key, len(value), uint32(math.MaxUint32))
	case w.main.entries > 0 && bytes.Compare(key, w.last) <= 0:
		return fmt.Errorf("lmdb: %s: %w: %q after %q", w.path, ErrKeyOrder, key, w.last)
	}
	size, flags := uint32(len(value)), uint16(0)
	var first [8]byte
	if nodeHeader+len(key)+len(value) > w.nodeMax {
		le.PutUint64(first[:], w.next)
		flags = nodeBigData
		w.putOverflow(value)
		value = first[:]
	}
	if !w.leaf.fits(len(key), len(value)) {
		w.flushLeaf()
	}
	w.leaf.add(size, flags, key, value)
	w.last = append(w.last[:0], key...)
	w.main.entries++
	return w.err
}

// putOverflow writes value to a run of pages of its own.
func (w *Writer) putOverflow(value []byte) {
	n := overflowCount(uint64(len(value)), w.psz)
	var head [pageHeader]byte
	le.PutUint64(head[:], w.next)
	le.PutUint16(head[10:], flagOverflow)
	le.PutUint32(head[12:], uint32(n))
	w.write(head[:])
	w.write(value)
	if pad := int(n*uint64(w.psz)) - pageHeader - len(value); pad > 0 {
		w.write(zeros[:pad])
	}
	w.next += n
	w.main.overflowPages += n
}

var zeros [maxPageSize]byte

// flushLeaf writes the open leaf and enters it in the branch above.
func (w *Writer) flushLeaf() {
	pgno := w.flush(&w.leaf)
	w.main.leafPages++
	w.addBranch(0, w.leaf.first, pgno)
	w.leaf.reset()
}

func (w *Writer) flush(b *pageBuilder) (pgno uint64) {
	pgno = w.next
	w.write(b.finish(pgno))
	w.next++
	return pgno
}

// branchLevel is the open page of a branch level. The entry added last waits
// outside the page: it goes to the next page together with its successor, so
// that no branch page ends with a single entry, which liblmdb refuses.
type branchLevel struct {
	page    pageBuilder
	first   []byte // lowest key under the page
	waiting bool
	key     []byte
	child   uint64
}

// addBranch enters the page child, whose lowest key is key, at a level.
func (w *Writer) addBranch(level int, key []byte, child uint64) {
	if level == len(w.branches) {
		w.branches = append(w.branches, branchLevel{})
		w.branches[level].page.init(w.psz, flagBranch)
	}
	l := &w.branches[level]
	if l.waiting {
		l.admit()
		// The waiting entry and the new one must both fit, or the page ends
		// before the waiting one, which then opens the next.
		if !l.page.fits(len(key), 0) {
			l.page.removeLast()
			w.flushBranch(level)
			l = &w.branches[level]
			l.admit()
		}
	}
	l.waiting = true
	l.key = append(l.key[:0], key...)
	l.child = child
}

// admit puts the waiting entry into the page. The first entry of a page stands
// for all lower keys and needs no key.
func (l *branchLevel) admit() {
	key := l.key
	if l.page.n == 0 {
		l.first = append(l.first[:0], key...)
		key = nil
	}
	l.page.add(uint32(l.child), uint16(l.child>>32), key, nil)
	l.waiting = false
}

func (w *Writer) flushBranch(level int) {
	l := &w.branches[level]
	pgno := w.flush(&l.page)
	w.main.branchPages++
	w.addBranch(level+1, l.first, pgno)
	w.branches[level].page.reset()
}

// finishTree writes the open pages from the leaf up and sets root and depth.
func (w *Writer) finishTree() {
	if w.main.entries == 0 {
		return
	}
	w.flushLeaf()
	w.main.depth = 1
	for level := 0; level < len(w.branches); level++ {
		l := &w.branches[level]
		if l.page.n == 0 {
			// A single page below: it is the root.
			w.main.root = l.child
			return
		}
		l.admit()
		w.flushBranch(level)
		w.main.depth++
	}
}

// Commit completes the database, syncs it and moves it to its final name. It
// ends the Writer also if it fails, as Abort does.
func (w *Writer) Commit() (err error) {
	if w.done {
		return fmt.Errorf("lmdb: %s: %w", w.path, os.ErrClosed)
	}
	defer func() {
		if err != nil {
			w.Abort()
		}
	}()
	w.finishTree()
	if w.err != nil {
		return w.err
	}
	if err := w.out.Flush(); err != nil {
		return fmt.Errorf("lmdb: %w", err)
	}
	if err := w.writeMetas(); err != nil {
		return fmt.Errorf("lmdb: %w", err)
	}
	// CreateTemp's 0600 would hide the database from other users.
	if err := w.tmp.Chmod(0o644); err != nil {
		return fmt.Errorf("lmdb: %w", err)
	}
	if err := w.tmp.Sync(); err != nil {
		return fmt.Errorf("lmdb: %w", err)
	}
	if err := w.tmp.Close(); err != nil {
		return fmt.Errorf("lmdb: %w", err)
	}
	// Someone may have made a database there meanwhile.
	if err := w.free(); err != nil {
		return err
	}
	if err := os.Rename(w.tmp.Name(), w.path); err != nil {
		return fmt.Errorf("lmdb: %w", err)
	}
	w.done = true
	dir := filepath.Dir(w.path)
	// The old database's lock file describes transactions this one has not
	// had; liblmdb makes a new one.
	lock := filepath.Join(dir, "lock.mdb")
	if w.opts.SingleFile {
		lock = w.path + "-lock"
	}
	if err := os.Remove(lock); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lmdb: %w", err)
	}
	syncDir(dir)
	if w.folder != "" {
		syncDir(filepath.Dir(w.folder))
	}
	return nil
}

// writeMetas fills both meta pages with the same tree, so that it survives the
// loss of either. The one of the odd transaction is page 1.
func (w *Writer) writeMetas() error {
	const mib = 1 << 20
	size := w.next * uint64(w.psz)
	m := meta{
		// liblmdb can write to a database up to this size unless told
		// otherwise; leave it room for as much again, and not less than its
		// own default.
		mapSize:  (2*size + mib) / mib * mib,
		free:     tree{pad: uint32(w.psz), flags: dbIntegerKey, root: noPage},
		main:     w.main,
		lastPage: w.next - 1,
	}
	b := make([]byte, 2*w.psz)
	for i := range uint64(2) {
		m.txnID = i
		m.encode(b[i*uint64(w.psz):], i)
	}
	_, err := w.tmp.WriteAt(b, 0)
	return err
}

// Abort removes everything Create and Put have made. After Commit it does
// nothing, so it can be deferred.
func (w *Writer) Abort() {
	if w.done {
		return
	}
	w.done = true
	w.tmp.Close()
	os.Remove(w.tmp.Name())
	w.removeFolder()
}

// syncDir makes a rename in dir durable. Systems that cannot sync a folder are
// no error: the rename itself is done.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}

// pageBuilder fills a branch or leaf page.
type pageBuilder struct {
	buf   []byte
	kind  uint16
	n     int
	upper int
	first []byte // key of the first node
}

func (b *pageBuilder) init(pageSize int, kind uint16) {
	b.buf = make([]byte, pageSize)
	b.kind = kind
	b.reset()
}

func (b *pageBuilder) reset() {
	clear(b.buf)
	b.n = 0
	b.upper = len(b.buf)
}

// nodeSize is the room a node takes besides its offset; nodes are aligned to
// two bytes.
func nodeSize(key, data int) int { return (nodeHeader + key + data + 1) &^ 1 }

func (b *pageBuilder) fits(key, data int) bool {
	return nodeSize(key, data)+2 <= b.upper-pageHeader-2*b.n
}

// add appends a node; the caller has made sure that it fits.
func (b *pageBuilder) add(word uint32, flags uint16, key, data []byte) {
	if b.n == 0 {
		b.first = append(b.first[:0], key...)
	}
	b.upper -= nodeSize(len(key), len(data))
	le.PutUint16(b.buf[pageHeader+2*b.n:], uint16(b.upper))
	p := b.buf[b.upper:]
	le.PutUint32(p, word)
	le.PutUint16(p[4:], flags)
	le.PutUint16(p[6:], uint16(len(key)))
	copy(p[nodeHeader:], key)
	copy(p[nodeHeader+len(key):], data)
	b.n++
}

// removeLast takes back the node added last.
func (b *pageBuilder) removeLast() {
	b.n--
	at := pageHeader + 2*b.n
	lowest := len(b.buf)
	if b.n > 0 {
		lowest = int(le.Uint16(b.buf[at-2:]))
	}
	clear(b.buf[b.upper:lowest])
	clear(b.buf[at : at+2])
	b.upper = lowest
}

// finish writes the header and returns the page, valid until reset.
func (b *pageBuilder) finish(pgno uint64) []byte {
	le.PutUint64(b.buf, pgno)
	le.PutUint16(b.buf[10:], b.kind)
	le.PutUint16(b.buf[12:], uint16(pageHeader+2*b.n))
	le.PutUint16(b.buf[14:], uint16(b.upper))
	return b.buf
}
