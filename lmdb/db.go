package lmdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
)

// dataFile is the name of the data file in a database that is a folder.
const dataFile = "data.mdb"

// DB is an open database: one snapshot of it, the newest at the time of Open.
type DB struct {
	path string // of the data file
	src  *source
	psz  uint64
	meta *meta
	// The snapshot's slot (page 0 or 1) and both transaction ids at Open.
	slot   int
	txnIDs [2]uint64
	closed atomic.Bool
}

// Info describes an open database.
type Info struct {
	Path          string // of the data file
	FileSize      int64  // bytes
	MapSize       uint64 // bytes, as the last writer configured it
	PageSize      int    // bytes
	TxnID         uint64 // of the snapshot
	Pages         uint64 // pages in use or free, meta pages included
	Depth         int    // levels of the tree, 0 if empty
	BranchPages   uint64
	LeafPages     uint64
	OverflowPages uint64
	Entries       uint64
}

// Open opens the database at path, a folder that holds data.mdb or the data
// file itself (MDB_NOSUBDIR). Errors wrap those of package os, [ErrCorrupt],
// [ErrUnsupported] or [ErrChanged] and name the file.
func Open(path string) (*DB, error) { return open(path, true) }

func open(path string, useMap bool) (*DB, error) {
	file := path
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		file = filepath.Join(path, dataFile)
	}
	// To open a named pipe is to wait for someone who writes to it.
	if st, err := os.Stat(file); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("lmdb: %s: %w: not a regular file", file, ErrCorrupt)
	}
	// A writer may lengthen the file between the look at its size and the look
	// at its meta pages. Pages are written before the meta page that names
	// them, so a size that is looked at later covers them all.
	const tries = 100
	for n := 0; ; n++ {
		db, err := openOnce(file, useMap)
		if err != nil || n == tries || uint64(db.src.size) >= (db.meta.lastPage+1)*db.psz {
			return db, err
		}
		st, err := os.Stat(file)
		if err != nil || st.Size() <= db.src.size {
			return db, nil // pages that were never written, or are lost
		}
		db.Close()
	}
}

func openOnce(file string, useMap bool) (*DB, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("lmdb: %w", err)
	}
	src, err := newSource(f, useMap)
	if err != nil {
		return nil, fmt.Errorf("lmdb: %s: %w", file, err)
	}
	db, err := newDB(file, src)
	if err != nil {
		src.close()
		return nil, err
	}
	return db, nil
}

func newDB(file string, src *source) (*DB, error) {
	db := &DB{path: file, src: src}
	if err := db.guard(db.pickMeta); err != nil {
		return nil, fmt.Errorf("lmdb: %s: %w", file, err)
	}
	return db, nil
}

// pickMeta finds the page size, checks both meta pages and takes the newer.
func (db *DB) pickMeta() error {
	if db.src.size == 0 {
		return fmt.Errorf("%w: the file is empty", ErrCorrupt)
	}
	if err := db.findPageSize(); err != nil {
		return err
	}
	metas, errs, err := db.readMetas()
	if err != nil {
		return err
	}
	switch {
	case errs[0] != nil && errs[1] != nil:
		return errs[0]
	case errs[0] != nil:
		db.slot = 1
	case errs[1] != nil:
		db.slot = 0
	case metas[1].txnID > metas[0].txnID:
		db.slot = 1
	}
	m, lost := metas[db.slot], errs[db.slot^1]
	for i := range db.txnIDs {
		if db.txnIDs[i], err = db.src.word(uint64(i)*db.psz + offTxnID); err != nil {
			return err
		}
	}
	if db.txnIDs[db.slot] != m.txnID {
		return ErrChanged
	}
	// The state before the first commit is empty. If all that is left of a
	// larger file is that, its data are lost, and zero records would hide it.
	if lost != nil && m.txnID == 0 && m.main.root == noPage && uint64(db.src.size) > 2*db.psz {
		return fmt.Errorf("%w: %w", ErrCorrupt, lost)
	}
	db.meta = m
	return db.checkMeta()
}

// findPageSize sets psz from page 0 or, if that is damaged, by looking for
// page 1 at every possible place.
func (db *DB) findPageSize() error {
	head, err := db.src.bytes(0, min(uint64(db.src.size), metaEnd))
	if err != nil {
		return err
	}
	m, cause := decodeMeta(head, 0)
	if cause == nil {
		db.psz = uint64(m.pageSize())
		return nil
	}
	for psz := uint64(minPageSize); psz <= maxPageSize; psz *= 2 {
		b, err := db.src.bytes(psz, metaEnd)
		if err != nil {
			break
		}
		if m, err := decodeMeta(b, 1); err == nil && uint64(m.pageSize()) == psz {
			db.psz = psz
			return nil
		}
	}
	if errors.Is(cause, ErrUnsupported) {
		return cause
	}
	if err := otherHost(head); err != nil {
		return err
	}
	return fmt.Errorf("%w, or no LMDB file: %w", ErrCorrupt, cause)
}

// readMetas decodes both meta pages. A writer may be storing into one, so they
// are read until two reads agree.
func (db *DB) readMetas() (metas [2]*meta, errs [2]error, err error) {
	const tries = 1000
	read := func() (b [2 * metaEnd]byte, err error) {
		for i := range uint64(2) {
			p, err := db.src.bytes(i*db.psz, metaEnd)
			if err != nil {
				return b, err
			}
			copy(b[i*metaEnd:], p)
		}
		return b, nil
	}
	now, err := read()
	for n := 0; ; n++ {
		if err != nil {
			return metas, errs, err
		}
		before := now
		if now, err = read(); err == nil && now == before {
			break
		}
		if n == tries {
			return metas, errs, ErrChanged
		}
	}
	for i := range metas {
		m, err := decodeMeta(now[i*metaEnd:(i+1)*metaEnd], uint64(i))
		if err == nil && uint64(m.pageSize()) != db.psz {
			err = fmt.Errorf("meta page %d has page size %d, the other one %d", i, m.pageSize(), db.psz)
		}
		metas[i], errs[i] = m, err
	}
	return metas, errs, nil
}

// checkMeta refuses snapshots that contradict themselves and databases of a
// kind this package does not read.
func (db *DB) checkMeta() error {
	m := db.meta
	if f := m.main.flags &^ 0x8000; f != 0 {
		return fmt.Errorf("%w: the main database has flags %s", ErrUnsupported, flagNames(f))
	}
	if m.lastPage < 1 || m.lastPage > 1<<48 {
		return fmt.Errorf("%w: meta page %d: last page %d", ErrCorrupt, db.slot, m.lastPage)
	}
	return db.checkTree("main database", &m.main)
}

// checkTree verifies what a meta page says about one tree.
func (db *DB) checkTree(name string, t *tree) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: meta page %d: %s: %s", ErrCorrupt, db.slot, name, fmt.Sprintf(format, args...))
	}
	switch {
	case t.root == noPage && t.depth == 0 && t.entries == 0:
		return nil
	case t.root == noPage || t.depth == 0 || t.entries == 0:
		return bad("root %d, depth %d and %d entries do not go together", t.root, t.depth, t.entries)
	case t.depth > maxDepth:
		return bad("depth %d exceeds %d", t.depth, maxDepth)
	case t.root < 2 || t.root > db.meta.lastPage:
		return bad("root %d is not among the pages 2 to %d", t.root, db.meta.lastPage)
	}
	return nil
}

// Close unmaps the file. Keys and values got from it are gone.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	if err := db.src.close(); err != nil {
		return fmt.Errorf("lmdb: %s: %w", db.path, err)
	}
	return nil
}

// Len is the number of records the snapshot says it has.
func (db *DB) Len() uint64 { return db.meta.main.entries }

// Info describes the snapshot.
func (db *DB) Info() Info {
	t := &db.meta.main
	return Info{
		Path:          db.path,
		FileSize:      db.src.size,
		MapSize:       db.meta.mapSize,
		PageSize:      int(db.psz),
		TxnID:         db.meta.txnID,
		Pages:         db.meta.lastPage + 1,
		Depth:         int(t.depth),
		BranchPages:   t.branchPages,
		LeafPages:     t.leafPages,
		OverflowPages: t.overflowPages,
		Entries:       t.entries,
	}
}

// Intact returns nil if everything read up to now was sound, and an error that
// wraps [ErrChanged] if a writer may have reused pages of this snapshot since
// Open. The rule is in the package documentation.
func (db *DB) Intact() error {
	err := db.guard(db.intact)
	if err != nil {
		return fmt.Errorf("lmdb: %s: %w", db.path, err)
	}
	return nil
}

func (db *DB) intact() error {
	for i, was := range db.txnIDs {
		now, err := db.src.word(uint64(i)*db.psz + offTxnID)
		if err != nil {
			return err
		}
		if now != was && (i == db.slot || now != db.meta.txnID+1) {
			return ErrChanged
		}
	}
	return nil
}

// Guard calls f and returns its error. Should a read of the mapping fault
// meanwhile, in f's goroutine (the file was cut off, or the disk cannot be read),
// f ends there and the error wraps [ErrCorrupt]; outside of Guard such a fault
// ends the program. Guards may be nested.
func (db *DB) Guard(f func() error) (err error) {
	if err = db.guard(f); errors.Is(err, errFault) {
		err = fmt.Errorf("lmdb: %s: %w", db.path, err)
	}
	return err
}

// errFault marks the errors that guard makes of faults.
var errFault = fmt.Errorf("%w: the file was cut off after Open, or the disk fails", ErrCorrupt)

// guard is Guard with errors that do not name the file.
func (db *DB) guard(f func() error) (err error) {
	if db.closed.Load() {
		return os.ErrClosed
	}
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		r := recover()
		if r == nil {
			return
		}
		fault, ok := r.(interface{ Addr() uintptr })
		if !ok {
			panic(r)
		}
		off, ok := db.src.offset(fault.Addr())
		if !ok {
			panic(r)
		}
		err = fmt.Errorf("byte %d cannot be read: %w", off, errFault)
	}()
	return f()
}

// kindName is a page's kind as errors name it.
func kindName(flags uint16) string {
	switch flags & kindMask {
	case flagBranch:
		return "branch"
	case flagLeaf:
		return "leaf"
	case flagOverflow:
		return "overflow"
	case flagMeta:
		return "meta"
	}
	return fmt.Sprintf("unknown (flags %#x)", flags)
}

// pageError is ErrCorrupt with the page that shows the damage.
func pageError(pgno uint64, format string, args ...any) error {
	return fmt.Errorf("%w: page %d: %s", ErrCorrupt, pgno, fmt.Sprintf(format, args...))
}

// page returns the bytes of page pgno, checked to be in the file, to bear its
// own number and to be of the kind wanted.
func (db *DB) page(pgno uint64, kind uint16) ([]byte, error) {
	if pgno < 2 || pgno > db.meta.lastPage {
		return nil, pageError(pgno, "not among the pages 2 to %d", db.meta.lastPage)
	}
	p, err := db.src.bytes(pgno*db.psz, db.psz)
	if err != nil {
		return nil, fmt.Errorf("page %d: %w", pgno, err)
	}
	if n := le.Uint64(p); n != pgno {
		return nil, pageError(pgno, "bears the number %d", n)
	}
	if f := le.Uint16(p[10:]); f&kindMask != kind {
		return nil, pageError(pgno, "kind of page is %s instead of %s", kindName(f), kindName(kind))
	}
	return p, nil
}

// nodes returns the number of nodes of a branch or leaf page and the lowest
// offset a node may have.
func nodes(p []byte, pgno uint64) (n, upper int, err error) {
	lower := int(le.Uint16(p[12:]))
	upper = int(le.Uint16(p[14:]))
	if upper == 0 && len(p) == maxPageSize {
		upper = maxPageSize
	}
	if lower < pageHeader || lower%2 != 0 || lower > upper || upper > len(p) {
		return 0, 0, pageError(pgno, "free space from %d to %d", lower, upper)
	}
	return (lower - pageHeader) / 2, upper, nil
}

// node is a view of one node.
type node struct {
	head []byte // nodeHeader bytes
	key  []byte
	data []byte // leaf only: the value, or the number of its first page
}

func (n *node) child() uint64 {
	return uint64(le.Uint32(n.head)) | uint64(le.Uint16(n.head[4:]))<<32
}

func (n *node) flags() uint16    { return le.Uint16(n.head[4:]) }
func (n *node) dataSize() uint64 { return uint64(le.Uint32(n.head)) }

// nodeAt cuts node i out of a page. Every field is loaded once and checked
// before it is used, so that even a page that changes meanwhile cannot lead
// out of bounds.
func nodeAt(p []byte, pgno uint64, i, upper int, leaf bool) (n node, err error) {
	at := pageHeader + 2*i
	if at+2 > len(p) {
		return n, pageError(pgno, "node %d: offset out of the page", i)
	}
	off := int(le.Uint16(p[at:]))
	if off < upper || off%2 != 0 || off+nodeHeader > len(p) {
		return n, pageError(pgno, "node %d: offset %d", i, off)
	}
	n.head = p[off : off+nodeHeader : off+nodeHeader]
	key := off + nodeHeader
	end := key + int(le.Uint16(n.head[6:]))
	if end > len(p) {
		return n, pageError(pgno, "node %d: key reaches out of the page", i)
	}
	n.key = p[key:end:end]
	if !leaf {
		return n, nil
	}
	size := n.dataSize()
	if n.flags()&nodeBigData != 0 {
		size = 8
	}
	if uint64(end)+size > uint64(len(p)) {
		return n, pageError(pgno, "node %d: value reaches out of the page", i)
	}
	n.data = p[end : end+int(size) : end+int(size)]
	return n, nil
}

// checkPage verifies all nodes of a branch or leaf page: within the page, as
// large together as the page says, keys ascending and in [lo, hi), where nil
// means no bound. It returns the number of nodes and their lowest offset.
func (db *DB) checkPage(p []byte, pgno uint64, leaf bool, cmp func(a, b []byte) int, lo, hi []byte) (n, upper int, err error) {
	if n, upper, err = nodes(p, pgno); err != nil {
		return 0, 0, err
	}
	if n == 0 || !leaf && n < 2 {
		return 0, 0, pageError(pgno, "%d nodes", n)
	}
	// A branch's first key stands for "everything lower" and is not used.
	first := 0
	if !leaf {
		first = 1
	}
	prev := lo
	room := 0
	for i := range n {
		nd, err := nodeAt(p, pgno, i, upper, leaf)
		if err != nil {
			return 0, 0, err
		}
		room += nodeSize(len(nd.key), len(nd.data))
		if i < first {
			continue
		}
		if len(nd.key) == 0 {
			return 0, 0, pageError(pgno, "node %d: empty key", i)
		}
		// The separator itself is the lowest key allowed in a leaf's first
		// node; a separator further down must be higher.
		if prev != nil {
			if c := cmp(prev, nd.key); c > 0 || c == 0 && !(leaf && i == 0) {
				return 0, 0, pageError(pgno, "node %d: key %q does not follow %q", i, nd.key, prev)
			}
		}
		prev = nd.key
	}
	// Pages are kept compact. This finds most damaged sizes and counts.
	if room != len(p)-upper {
		return 0, 0, pageError(pgno, "nodes of %d bytes fill %d bytes", room, len(p)-upper)
	}
	if hi != nil && prev != nil && cmp(prev, hi) >= 0 {
		return 0, 0, pageError(pgno, "key %q is not below the next separator %q", prev, hi)
	}
	return n, upper, nil
}

// value returns a leaf node's value, from its overflow pages if it has some.
// pages is their number.
func (db *DB) value(n *node, pgno uint64, i int) (v []byte, first, pages uint64, err error) {
	flags, size, data := n.flags(), n.dataSize(), n.data
	switch {
	case flags&^(nodeBigData|nodeSubData|nodeDupData) != 0:
		return nil, 0, 0, pageError(pgno, "node %d: flags %#x", i, flags)
	case flags&nodeDupData != 0:
		return nil, 0, 0, fmt.Errorf("%w: record %q has sorted duplicates (MDB_DUPSORT)", ErrUnsupported, n.key)
	case flags&nodeSubData != 0:
		return nil, 0, 0, fmt.Errorf("%w: record %q is a named sub-database", ErrUnsupported, n.key)
	case flags&nodeBigData == 0:
		return data, 0, 0, nil
	}
	if len(data) != 8 {
		return nil, 0, 0, pageError(pgno, "node %d changed while it was read", i)
	}
	first = le.Uint64(data)
	p, err := db.page(first, flagOverflow)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("value of node %d of page %d: %w", i, pgno, err)
	}
	// The run may be longer than the value: liblmdb overwrites in place.
	pages = uint64(le.Uint32(p[12:]))
	if need := overflowCount(size, int(db.psz)); pages < need {
		return nil, 0, 0, pageError(first, "%d overflow pages cannot hold a value of %d bytes", pages, size)
	}
	if pages-1 > db.meta.lastPage-first {
		return nil, 0, 0, pageError(first, "%d overflow pages reach past the last page %d", pages, db.meta.lastPage)
	}
	if v, err = db.src.bytes(first*db.psz+pageHeader, size); err != nil {
		return nil, 0, 0, fmt.Errorf("page %d: %w", first, err)
	}
	return v, first, pages, nil
}
