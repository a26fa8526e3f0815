// Package seal ends files with a checksum of all that stands before it, so that
// damage is found when they are read: a flipped bit, a file cut off at the end of
// a field, the tail of another file.
//
// A sealed file is still what it was to other programs. In a binary protobuf
// file the seal is a field of number 1001, which Caffe's messages do not have and
// which its reader skips: an empty one stands at the beginning, so that a file
// whose end is lost is known to have had a seal, and one with the checksum at the
// end. HDF5 files say themselves where they end; the seal stands behind that.
//
// The checksum is XXH64 of those bytes and of Seal.Of. Two files belong together if one's seal names the
// checksum of the other.
package seal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"crema/internal/atomicfile"
	"crema/internal/infile"

	"github.com/cespare/xxhash/v2"
)

// ErrDamaged is wrapped by the errors of Check about files that are not as they
// were written.
var ErrDamaged = errors.New("damaged")

// A Seal is what a file's seal says.
type Seal struct {
	// Sum is the checksum of all bytes before the seal, and of Of.
	Sum uint64
	// Of is the Sum of the file that this one belongs to, 0 for none.
	Of uint64
}

// A Format is how a seal is put into a file.
type Format int

// The formats.
const (
	Proto Format = iota // a binary protobuf message
	HDF5
)

// head is the empty field at the beginning of a protobuf file: the tag of field
// 1001 of type bytes, and no bytes.
var head = []byte{0xca, 0x3e, 0}

// The seal at the end: in a protobuf file the tag and the length of the rest, in
// an HDF5 file eight letters; then the number of bytes before it, Sum and Of.
const (
	payload = 8 + 8 + 8
	magic   = "cremaSUM"
)

var protoTail = []byte{0xca, 0x3e, payload}

func (f Format) tail() []byte {
	if f == HDF5 {
		return []byte(magic)
	}
	return protoTail
}

// Write writes a file of what f writes, sealed, whole or not at all
// (internal/atomicfile), and returns its seal; of is Seal.Of.
func Write(path string, format Format, of uint64, f func(w io.Writer) error) (Seal, error) {
	s := Seal{Of: of}
	err := atomicfile.Write(path, func(w io.Writer) error {
		sum := xxhash.New()
		n := &counter{}
		to := io.MultiWriter(w, sum, n)
		if format == Proto {
			if _, err := to.Write(head); err != nil {
				return err
			}
		}
		if err := f(to); err != nil {
			return err
		}
		s.Sum = total(sum, of)
		end := append([]byte(nil), format.tail()...)
		for _, v := range []uint64{uint64(n.n), s.Sum, s.Of} {
			end = binary.LittleEndian.AppendUint64(end, v)
		}
		_, err := w.Write(end)
		return err
	})
	return s, err
}

// total is the checksum of what sum has seen, and of of.
func total(sum *xxhash.Digest, of uint64) uint64 {
	sum.Write(binary.LittleEndian.AppendUint64(nil, of))
	return sum.Sum64()
}

// A counter counts bytes.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// Check reads a file and returns its seal, or nil if it has none: other programs
// and earlier versions wrote it. The error wraps ErrDamaged if the file is not as
// it was sealed, and names the file.
func Check(path string) (*Seal, error) {
	f, err := infile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, nil
	}
	s, err := check(f, st.Size())
	if err != nil {
		return nil, fmt.Errorf("%q: %w", path, err)
	}
	return s, nil
}

func check(f io.ReaderAt, size int64) (*Seal, error) {
	at := func(off int64, n int) ([]byte, error) {
		if off < 0 || off+int64(n) > size {
			return nil, nil
		}
		b := make([]byte, n)
		if m, err := f.ReadAt(b, off); m < n {
			return nil, err
		}
		return b, nil
	}
	begin, err := at(0, len(head))
	if err != nil {
		return nil, err
	}
	begun := string(begin) == string(head)
	for _, format := range []Format{Proto, HDF5} {
		n := len(format.tail()) + payload
		end, err := at(size-int64(n), n)
		if err != nil {
			return nil, err
		}
		if end == nil || string(end[:len(end)-payload]) != string(format.tail()) {
			continue
		}
		word := func(i int) uint64 { return binary.LittleEndian.Uint64(end[len(end)-payload+8*i:]) }
		if word(0) != uint64(size-int64(n)) {
			if format == Proto && !begun {
				continue // bytes of another program's that look like a seal
			}
			return nil, fmt.Errorf("%w: %d bytes stand before its seal, %d were written", ErrDamaged, size-int64(n), word(0))
		}
		sum := xxhash.New()
		if _, err := io.CopyBuffer(sum, io.NewSectionReader(f, 0, size-int64(n)), make([]byte, 1<<20)); err != nil {
			return nil, err
		}
		if total(sum, word(2)) != word(1) {
			return nil, fmt.Errorf("%w: what it holds does not fit the checksum that it was written with", ErrDamaged)
		}
		return &Seal{Sum: word(1), Of: word(2)}, nil
	}
	// An HDF5 file of the kind that is written here says at this place where it
	// ends.
	const version, eof = 8, 40
	if b, err := at(0, eof+8); err != nil {
		return nil, err
	} else if b != nil && string(b[:version]) == "\x89HDF\r\n\x1a\n" && b[version] == 0 {
		end := binary.LittleEndian.Uint64(b[eof:])
		begun = begun || end < uint64(size)
	}
	if begun {
		return nil, fmt.Errorf("%w: the checksum that it should end with is not there: it is cut short, or its end was changed", ErrDamaged)
	}
	return nil, nil
}
