package hdf5

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"crema/internal/infile"
)

// Errors wrap one of these, or say what the operating system does.
var (
	// ErrFormat: the file is not an HDF5 file at all.
	ErrFormat = errors.New("not an HDF5 file")
	// ErrDamaged: the file is cut short or its contents contradict themselves.
	ErrDamaged = errors.New("damaged HDF5 file")
	// ErrUnsupported: a part of the format that this package does not read.
	ErrUnsupported = errors.New("unsupported HDF5 feature")
	// ErrNotFound: there is no such group or dataset.
	ErrNotFound = errors.New("not found")
)

const (
	signature = "\x89HDF\r\n\x1a\n"
	// undefined is the address of what is not there.
	undefined = ^uint64(0)
	// maxMetadata bounds pieces of a file that are read whole, so that a
	// damaged size costs an error and not the memory.
	maxMetadata = 64 << 20
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsupported}, args...)...)
}

// A File is an HDF5 file open for reading.
type File struct {
	r    io.ReaderAt
	c    io.Closer
	name string
	base int64  // where address 0 is: behind the user block
	size uint64 // bytes from there to the end

	offsetSize, lengthSize int
	rootHeader             uint64
}

// Open opens the file at path. Close it when done with it and its datasets.
// Errors, here and later, name the path; if it is no HDF5 file they say what it
// is.
func Open(path string) (*File, error) {
	f, err := infile.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	h, err := NewFile(path, f, st.Size())
	if err != nil {
		f.Close()
		if k := infile.Sniff(path); errors.Is(err, ErrFormat) && k != infile.Unknown && k != infile.Empty {
			err = fmt.Errorf("%q: %w but %s", path, ErrFormat, k)
		}
		return nil, err
	}
	h.c = f
	return h, nil
}

// NewFile reads an HDF5 file of size bytes from r. The name is for messages.
func NewFile(name string, r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, name: name, offsetSize: 8, lengthSize: 8}
	base, ok := findSignature(r, size)
	if !ok {
		if size == 0 {
			return nil, fmt.Errorf("%q: %w: it is empty", name, ErrFormat)
		}
		return nil, fmt.Errorf("%q: %w", name, ErrFormat)
	}
	f.base, f.size = base, uint64(size-base)
	if err := f.superblock(); err != nil {
		return nil, f.wrap(err)
	}
	return f, nil
}

// Is reports whether the file at path is an HDF5 file, from its first bytes
// and whatever its name is (libhdf5's H5Fis_hdf5).
func Is(path string) (bool, error) {
	f, err := infile.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	_, ok := findSignature(f, st.Size())
	return ok, nil
}

// findSignature returns where the superblock is: at the beginning, or behind a
// user block of 512 bytes or a power of two times as many.
func findSignature(r io.ReaderAt, size int64) (base int64, ok bool) {
	var b [len(signature)]byte
	for at := int64(0); at+int64(len(b)) <= size; at = max(512, 2*at) {
		if _, err := r.ReadAt(b[:], at); err != nil {
			return 0, false
		}
		if string(b[:]) == signature {
			return at, true
		}
	}
	return 0, false
}

// Name returns the name that the file was opened by.
func (f *File) Name() string { return f.name }

// Close closes the file.
func (f *File) Close() error {
	if f.c == nil {
		return nil
	}
	return f.c.Close()
}

func (f *File) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q: %w", f.name, err)
}

// superblock reads versions 0 to 3 of the superblock.
func (f *File) superblock() error {
	c := cursor{f: f}
	b := make([]byte, min(f.size, 128))
	if _, err := f.r.ReadAt(b, f.base); err != nil && err != io.EOF {
		return err
	}
	c.b = b
	c.skip(len(signature))
	version := c.uint(1)
	if version > 3 {
		return unsupported("superblock version %d", version)
	}
	if version <= 1 {
		c.skip(4) // versions of free space and root group, reserved, version of shared headers
	}
	f.offsetSize, f.lengthSize = int(c.uint(1)), int(c.uint(1))
	for _, n := range []int{f.offsetSize, f.lengthSize} {
		if n != 2 && n != 4 && n != 8 {
			return damaged("offsets of %d bytes, lengths of %d bytes", f.offsetSize, f.lengthSize)
		}
	}
	var base, end uint64
	if version <= 1 {
		c.skip(1 + 2 + 2 + 4) // reserved, K of leaves, K of nodes, flags
		if version == 1 {
			c.skip(4) // K of chunk indices, reserved
		}
		base = c.addr()
		c.addr() // free space
		end = c.addr()
		c.addr()   // driver
		c.offset() // name of the root
		f.rootHeader = c.addr()
	} else {
		c.skip(1) // flags
		base = c.addr()
		c.addr() // extension
		end = c.addr()
		f.rootHeader = c.addr()
		n := c.at
		if sum := uint32(c.uint(4)); c.err == nil && sum != lookup3(b[:n]) {
			return damaged("the checksum of the superblock is wrong")
		}
	}
	if c.err != nil {
		return damaged("it ends within the superblock")
	}
	// The end counts from the beginning of the file, addresses from the
	// superblock, also if a user block was put before it later.
	if end != undefined && base <= end && end-base > f.size {
		return damaged("it is cut short: it should have %d bytes and has %d", end, f.size+base)
	}
	return nil
}

// read returns n bytes at an address.
func (f *File) read(addr, n uint64) ([]byte, error) {
	if err := f.check(addr, n); err != nil {
		return nil, err
	}
	if n > maxMetadata {
		return nil, damaged("a piece of %d bytes at address %d", n, addr)
	}
	b := make([]byte, n)
	return b, f.readInto(b, addr)
}

// check reports whether n bytes at an address lie in the file.
func (f *File) check(addr, n uint64) error {
	if addr > f.size || n > f.size-addr {
		return damaged("%d bytes at address %d are beyond its end", n, addr)
	}
	return nil
}

func (f *File) readInto(b []byte, addr uint64) error {
	if err := f.check(addr, uint64(len(b))); err != nil {
		return err
	}
	if len(b) == 0 {
		return nil
	}
	n, err := f.r.ReadAt(b, f.base+int64(addr))
	if n == len(b) {
		return nil
	}
	if err == io.EOF {
		return damaged("it became shorter while it was read")
	}
	return err
}

// block returns a cursor over the n bytes at an address, which must begin with
// the given four letters, past these.
func (f *File) block(addr, n uint64, sign string) (*cursor, error) {
	b, err := f.read(addr, n)
	if err != nil {
		return nil, fmt.Errorf("%s block: %w", sign, err)
	}
	if !bytes.HasPrefix(b, []byte(sign)) {
		return nil, damaged("no %s block at address %d", sign, addr)
	}
	return &cursor{f: f, b: b, at: len(sign)}, nil
}

// summed is block for a block whose last four bytes are its checksum, which
// are not part of what it returns.
func (f *File) summed(addr, n uint64, sign string) (*cursor, error) {
	c, err := f.block(addr, n, sign)
	if err != nil {
		return nil, err
	}
	if len(c.b) < len(sign)+4 {
		return nil, damaged("%s block of %d bytes at address %d", sign, n, addr)
	}
	end := len(c.b) - 4
	if binary.LittleEndian.Uint32(c.b[end:]) != lookup3(c.b[:end]) {
		return nil, damaged("the checksum of the %s block at address %d is wrong", sign, addr)
	}
	c.b = c.b[:end:end]
	return c, nil
}

// A cursor reads integers from a piece of a file. Reading past the end gives
// zeros and sets err.
type cursor struct {
	f   *File
	b   []byte
	at  int
	err error
}

func (c *cursor) left() int { return len(c.b) - c.at }

// bytes returns the next n bytes.
func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > c.left() {
		if c.err == nil {
			c.err = damaged("a record of %d bytes ends early", len(c.b))
		}
		c.at = len(c.b)
		return make([]byte, max(0, min(n, 16)))
	}
	b := c.b[c.at : c.at+n]
	c.at += n
	return b
}

func (c *cursor) skip(n int) {
	if n < 0 || n > c.left() {
		c.bytes(n)
		return
	}
	c.at += n
}

// uint returns a little-endian integer of n ≤ 8 bytes.
func (c *cursor) uint(n int) uint64 {
	var v uint64
	for i, b := range c.bytes(n) {
		if i < 8 {
			v |= uint64(b) << (8 * i)
		}
	}
	return v
}

func (c *cursor) offset() uint64 { return c.uint(c.f.offsetSize) }
func (c *cursor) length() uint64 { return c.uint(c.f.lengthSize) }

// addr is offset for an address: undefined, whatever the size of offsets, if
// all bits are set.
func (c *cursor) addr() uint64 {
	v := c.offset()
	if n := c.f.offsetSize; n < 8 && v == 1<<(8*n)-1 {
		return undefined
	}
	return v
}

// text returns the bytes up to a NUL or the end.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
