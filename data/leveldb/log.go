package leveldb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ErrCorrupt marks a database that contradicts itself or fails a checksum.
var ErrCorrupt = errors.New("damaged LevelDB database")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// The log format: blocks of 32 KB that hold fragments
//
//	crc32c of type and data, masked u32 | length u16 | type u8 | data
//
// A record is one full fragment, or a first one, middle ones and a last one.
// The end of a block that cannot hold a fragment's head is filled with zeros.
const (
	logBlock = 32 << 10
	logHead  = 7

	fragFull   = 1
	fragFirst  = 2
	fragMiddle = 3
	fragLast   = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A logReader takes the records out of a log held in memory.
type logReader struct {
	b    []byte
	off  int
	torn bool // the end of the file cut off a record
}

// next returns the next record, which shares the log's memory if it was not
// split; io.EOF behind the last whole one.
func (r *logReader) next() ([]byte, error) {
	var rec []byte
	inside := false
	for {
		if left := logBlock - r.off%logBlock; left < logHead {
			r.off += left
		}
		if r.off+logHead > len(r.b) {
			r.torn = inside || r.off < len(r.b)
			return nil, io.EOF
		}
		h := r.b[r.off:]
		n, typ := int(binary.LittleEndian.Uint16(h[4:])), h[6]
		if typ == 0 && n == 0 {
			// Space that was allocated but not written: skip to the next block.
			r.off += logBlock - r.off%logBlock
			continue
		}
		if r.off%logBlock+logHead+n > logBlock {
			return nil, corrupt("log fragment at %d runs over its block", r.off)
		}
		if logHead+n > len(h) {
			r.torn = true
			return nil, io.EOF
		}
		data := h[logHead : logHead+n : logHead+n]
		sum := crc32.Checksum(h[6:logHead+n], castagnoli)
		if (sum>>15|sum<<17)+0xa282ead8 != binary.LittleEndian.Uint32(h) {
			return nil, corrupt("log fragment at %d fails its checksum", r.off)
		}
		if inside != (typ == fragMiddle || typ == fragLast) || typ > fragLast {
			return nil, corrupt("log fragment at %d is of type %d, out of turn", r.off, typ)
		}
		r.off += logHead + n
		switch typ {
		case fragFull:
			return data, nil
		case fragFirst:
			rec, inside = append([]byte(nil), data...), true
		case fragMiddle:
			rec = append(rec, data...)
		case fragLast:
			return append(rec, data...), nil
		}
	}
}

// A decoder reads the varints and byte strings that records are made of; bad
// input makes ok false for good.
type decoder struct {
	b  []byte
	ok bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.ok = nil, false
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.b, d.ok = nil, false
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// Kinds of entries, the low byte of a tag.
const (
	kindDelete = 0
	kindPut    = 1
)

// An entry is a version of a key. tag is sequence<<8 | kind; of entries with
// one key that with the highest tag counts.
type entry struct {
	key   []byte
	tag   uint64
	value []byte
}

// appendBatch takes apart a log's record: sequence number u64, count u32, then
// for each entry its kind, key and (for kindPut) value.
func appendBatch(to []entry, rec []byte) ([]entry, error) {
	if len(rec) < 12 {
		return nil, corrupt("batch of %d bytes", len(rec))
	}
	seq, n := binary.LittleEndian.Uint64(rec), binary.LittleEndian.Uint32(rec[8:])
	d := decoder{rec[12:], true}
	for range n {
		if len(d.b) == 0 {
			return nil, corrupt("batch ends before its %d entries", n)
		}
		kind := d.b[0]
		d.b = d.b[1:]
		e := entry{key: d.bytes(), tag: seq<<8 | uint64(kind)}
		switch kind {
		case kindPut:
			e.value = d.bytes()
		case kindDelete:
		default:
			return nil, corrupt("batch entry of kind %d", kind)
		}
		if !d.ok {
			return nil, corrupt("batch ends inside an entry")
		}
		to = append(to, e)
		seq++
	}
	if len(d.b) > 0 {
		return nil, corrupt("%d bytes behind the last entry of a batch", len(d.b))
	}
	return to, nil
}
