package lmdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrUnsupported marks a sound LMDB file of a kind this package does not
	// read: named sub-databases, duplicates, special key orders, other hosts.
	ErrUnsupported = errors.New("unsupported kind of LMDB database")
	// ErrCorrupt marks a file that contradicts itself, is cut off, or is no
	// LMDB file at all.
	ErrCorrupt = errors.New("damaged LMDB database")
	// ErrChanged says that a writer has committed so often since Open that
	// pages of the snapshot may have been reused. What was read since the last
	// successful step is not to be relied on. Opening again gives the new state.
	ErrChanged = errors.New("LMDB database was changed by a writer while it was read")
)

const (
	magic       = 0xBEEFC0DE
	dataVersion = 1

	minPageSize = 4 << 10
	maxPageSize = 64 << 10
	// Offsets within a page are 16 bits, and liblmdb gives an empty page the
	// upper bound psize: it can only modify files of at most 32 KB pages.
	maxWritePageSize = 32 << 10

	pageHeader = 16
	nodeHeader = 8
	metaSize   = 136
	metaEnd    = pageHeader + metaSize

	noPage   = ^uint64(0)
	maxDepth = 32 // liblmdb's CURSOR_STACK

	// Page flags. The kind bits say what a page is; the others are state that
	// a writer may leave behind.
	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagOverflow = 0x04
	flagMeta     = 0x08
	flagLeaf2    = 0x20
	flagSubPage  = 0x40
	kindMask     = flagBranch | flagLeaf | flagOverflow | flagMeta | flagLeaf2 | flagSubPage

	// Node flags of leaves.
	nodeBigData = 0x01
	nodeSubData = 0x02
	nodeDupData = 0x04

	// Database flags.
	dbReverseKey = 0x02
	dbIntegerKey = 0x08

	// Offsets in a meta page, header included.
	offMagic    = 16
	offVersion  = 20
	offMapSize  = 32
	offFreeDB   = 40
	offMainDB   = 88
	offLastPage = 136
	offTxnID    = 144
)

var le = binary.LittleEndian

// tree is one B+tree's record in a meta page (MDB_db).
type tree struct {
	pad           uint32
	flags         uint16
	depth         uint16
	branchPages   uint64
	leafPages     uint64
	overflowPages uint64
	entries       uint64
	root          uint64
}

func decodeTree(b []byte) tree {
	return tree{
		pad:           le.Uint32(b[0:]),
		flags:         le.Uint16(b[4:]),
		depth:         le.Uint16(b[6:]),
		branchPages:   le.Uint64(b[8:]),
		leafPages:     le.Uint64(b[16:]),
		overflowPages: le.Uint64(b[24:]),
		entries:       le.Uint64(b[32:]),
		root:          le.Uint64(b[40:]),
	}
}

func (t *tree) encode(b []byte) {
	le.PutUint32(b[0:], t.pad)
	le.PutUint16(b[4:], t.flags)
	le.PutUint16(b[6:], t.depth)
	le.PutUint64(b[8:], t.branchPages)
	le.PutUint64(b[16:], t.leafPages)
	le.PutUint64(b[24:], t.overflowPages)
	le.PutUint64(b[32:], t.entries)
	le.PutUint64(b[40:], t.root)
}

// meta is a decoded meta page.
type meta struct {
	mapSize  uint64
	free     tree // its pad holds the page size
	main     tree
	lastPage uint64
	txnID    uint64
}

func (m *meta) pageSize() int { return int(m.free.pad) }

// decodeMeta reads the meta page number pgno from its first bytes. The error
// says what disqualifies it.
func decodeMeta(b []byte, pgno uint64) (*meta, error) {
	if len(b) < metaEnd {
		return nil, fmt.Errorf("meta page %d is cut off", pgno)
	}
	if m := le.Uint32(b[offMagic:]); m != magic {
		return nil, fmt.Errorf("meta page %d has magic %#08x instead of %#08x", pgno, m, uint32(magic))
	}
	if le.Uint64(b) != pgno || le.Uint16(b[10:])&kindMask != flagMeta {
		return nil, fmt.Errorf("meta page %d has a wrong header", pgno)
	}
	if v := le.Uint32(b[offVersion:]); v != dataVersion {
		return nil, fmt.Errorf("%w: data version %d (known: %d)", ErrUnsupported, v, dataVersion)
	}
	m := &meta{
		mapSize:  le.Uint64(b[offMapSize:]),
		free:     decodeTree(b[offFreeDB:]),
		main:     decodeTree(b[offMainDB:]),
		lastPage: le.Uint64(b[offLastPage:]),
		txnID:    le.Uint64(b[offTxnID:]),
	}
	if !validPageSize(m.free.pad, maxPageSize) {
		return nil, fmt.Errorf("meta page %d has page size %d", pgno, m.free.pad)
	}
	return m, nil
}

// encode fills the first bytes of the meta page number pgno.
func (m *meta) encode(b []byte, pgno uint64) {
	le.PutUint64(b, pgno)
	le.PutUint16(b[10:], flagMeta)
	le.PutUint32(b[offMagic:], magic)
	le.PutUint32(b[offVersion:], dataVersion)
	le.PutUint64(b[offMapSize:], m.mapSize)
	m.free.encode(b[offFreeDB:])
	m.main.encode(b[offMainDB:])
	le.PutUint64(b[offLastPage:], m.lastPage)
	le.PutUint64(b[offTxnID:], m.txnID)
}

func validPageSize(n uint32, limit uint32) bool {
	return n >= minPageSize && n <= limit && n&(n-1) == 0
}

// otherHost names the kind of host whose LMDB would have written b, if it is
// one whose files this package does not read.
func otherHost(b []byte) error {
	if len(b) < offMagic+4 {
		return nil
	}
	// A 32-bit host has 4-byte page numbers, hence a 12-byte page header.
	const offMagic32 = 12
	be := binary.BigEndian
	switch {
	case be.Uint32(b[offMagic:]) == magic:
		return fmt.Errorf("%w: written on a big-endian host", ErrUnsupported)
	case le.Uint32(b[offMagic32:]) == magic:
		return fmt.Errorf("%w: written on a 32-bit host", ErrUnsupported)
	case be.Uint32(b[offMagic32:]) == magic:
		return fmt.Errorf("%w: written on a 32-bit big-endian host", ErrUnsupported)
	}
	return nil
}

// flagNames spells out the flags of a main database.
func flagNames(flags uint16) string {
	names := []struct {
		bit  uint16
		name string
	}{
		{dbReverseKey, "MDB_REVERSEKEY"},
		{0x04, "MDB_DUPSORT"},
		{dbIntegerKey, "MDB_INTEGERKEY"},
		{0x10, "MDB_DUPFIXED"},
		{0x20, "MDB_INTEGERDUP"},
		{0x40, "MDB_REVERSEDUP"},
	}
	var s []string
	for _, n := range names {
		if flags&n.bit != 0 {
			s = append(s, n.name)
			flags &^= n.bit
		}
	}
	if flags != 0 {
		s = append(s, fmt.Sprintf("%#x", flags))
	}
	return strings.Join(s, "|")
}

// nodeMax is the largest node kept in a leaf, header and key included; the
// value of a larger one goes to overflow pages (me_nodemax in mdb.c: two nodes
// and their offsets must fit in a page).
func nodeMax(pageSize int) int {
	return (pageSize-pageHeader)/2&^1 - 2
}

// overflowCount is the number of pages a value of n bytes fills.
func overflowCount(n uint64, pageSize int) uint64 {
	return (pageHeader-1+n)/uint64(pageSize) + 1
}
