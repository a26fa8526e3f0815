package prototxt

import (
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// wireBuffer is how much of a file a wireReader keeps in memory.
const wireBuffer = 1 << 16

// maxGroups bounds how deep groups, which Caffe's messages have none of, may be
// nested in each other where they are skipped.
const maxGroups = 100

// A wireReader walks over the fields of a binary protobuf file without holding
// the file in memory. What is skipped is not read.
type wireReader struct {
	path string
	r    io.ReaderAt
	size int64
	pos  int64
	buf  []byte // bytes from at on
	at   int64
}

// wireField is a field of a message: its number, type and where its value
// lies. For a varint it is the value itself.
type wireField struct {
	num        protowire.Number
	typ        protowire.Type
	start      int64 // of its tag
	begin, end int64 // of its value
	varint     uint64
}

// fill makes the bytes at the position available, up to n of them.
func (w *wireReader) fill(n int) ([]byte, error) {
	n = int(min(int64(n), w.size-w.pos))
	if off := w.pos - w.at; off >= 0 && off+int64(n) <= int64(len(w.buf)) {
		return w.buf[off : off+int64(n)], nil
	}
	w.buf = w.buf[:cap(w.buf)]
	if len(w.buf) == 0 {
		w.buf = make([]byte, wireBuffer)
	}
	m, err := w.r.ReadAt(w.buf[:min(int64(len(w.buf)), w.size-w.pos)], w.pos)
	w.buf, w.at = w.buf[:m], w.pos
	if m < n {
		if err == io.EOF {
			err = fmt.Errorf("%w: it was cut off while it was read", ErrTruncated)
		}
		return nil, fmt.Errorf("%q: %w", w.path, err)
	}
	return w.buf[:n], nil
}

// short returns the error for a value that goes on behind end, the end of the
// message or file that a field is in.
func (w *wireReader) short(start, end int64) error {
	if end == w.size {
		return fmt.Errorf("%q: %w: it ends at byte %d inside the field that begins at byte %d", w.path, ErrTruncated, w.size, start)
	}
	return fmt.Errorf("%q: %w: damaged inside: the field at byte %d reaches beyond byte %d, where the message that it is in ends", w.path, ErrFormat, start, end)
}

// next reads the tag at the position and finds its value, which must lie before
// end; the position is then behind it.
func (w *wireReader) next(end int64) (f wireField, err error) {
	return w.field(end, 0)
}

func (w *wireReader) field(end int64, depth int) (f wireField, err error) {
	f.start = w.pos
	b, err := w.fill(20) // a tag and a varint are ten bytes each at most
	if err != nil {
		return f, err
	}
	b = b[:min(int64(len(b)), end-w.pos)]
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || num > protowire.MaxValidNumber {
		return f, w.broken(f.start, end, n)
	}
	f.num, f.typ = num, typ
	w.pos += int64(n)
	f.begin = w.pos
	var size int64
	switch typ {
	case protowire.VarintType:
		v, m := protowire.ConsumeVarint(b[n:])
		if m < 0 {
			return f, w.broken(f.start, end, m)
		}
		f.varint, size = v, int64(m)
	case protowire.Fixed32Type:
		size = 4
	case protowire.Fixed64Type:
		size = 8
	case protowire.BytesType:
		v, m := protowire.ConsumeVarint(b[n:])
		if m < 0 {
			return f, w.broken(f.start, end, m)
		}
		w.pos += int64(m)
		f.begin = w.pos
		if v > uint64(end-w.pos) {
			return f, w.short(f.start, end)
		}
		size = int64(v)
	case protowire.StartGroupType:
		if depth >= maxGroups {
			return f, fmt.Errorf("%q: %w: groups are nested deeper than %d at byte %d", w.path, ErrFormat, maxGroups, f.start)
		}
		for {
			g, err := w.field(end, depth+1)
			if err != nil {
				return f, err
			}
			if g.typ == protowire.EndGroupType {
				if g.num != num {
					return f, w.broken(g.start, end, -2)
				}
				f.end = g.start
				return f, nil
			}
		}
	case protowire.EndGroupType:
		if depth == 0 {
			return f, w.broken(f.start, end, -2)
		}
	default:
		return f, w.broken(f.start, end, -2)
	}
	if size > end-w.pos {
		return f, w.short(f.start, end)
	}
	w.pos += size
	f.end = w.pos
	return f, nil
}

// broken returns the error for a field that does not begin or end as one
// should; n is what protowire gave for it.
func (w *wireReader) broken(start, end int64, n int) error {
	if protowire.ParseError(n) == io.ErrUnexpectedEOF {
		return w.short(start, end)
	}
	if end == w.size {
		return fmt.Errorf("%q: %w: byte %d cannot begin a field", w.path, ErrFormat, start)
	}
	return fmt.Errorf("%q: %w: damaged inside: byte %d cannot begin a field", w.path, ErrFormat, start)
}

// each calls f for the fields of the message that lies between begin and end.
// f may move the position.
func (w *wireReader) each(begin, end int64, f func(wireField) error) error {
	w.pos = begin
	for w.pos < end {
		x, err := w.next(end)
		if err != nil {
			return err
		}
		behind := w.pos
		if err := f(x); err != nil {
			return err
		}
		w.pos = behind
	}
	return nil
}

// text returns the value of a field of a few bytes, up to most.
func (w *wireReader) text(f wireField, most int64) (string, error) {
	w.pos = f.begin
	b, err := w.fill(int(min(f.end-f.begin, most)))
	return string(b), err
}
