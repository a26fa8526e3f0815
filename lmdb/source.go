package lmdb

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"unsafe"
)

// source gives access to the bytes of a database file.
type source struct {
	size   int64
	mapped []byte   // the whole file, or nil
	file   *os.File // kept open only where the file is not mapped
}

// newSource takes over f. Where the file cannot be mapped (no support, not
// enough address space) it is read page by page.
func newSource(f *os.File, useMap bool) (*source, error) {
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	if !st.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%w: not a regular file", ErrCorrupt)
	}
	s := &source{size: st.Size(), file: f}
	if useMap && s.size > 0 && s.size == int64(int(s.size)) {
		if m, err := mapFile(f, int(s.size)); err == nil {
			s.mapped, s.file = m, nil
			f.Close()
		}
	}
	return s, nil
}

// bytes returns n bytes from offset off: a view of the mapping, or a fresh
// buffer. It fails if they are not all within the file.
func (s *source) bytes(off, n uint64) ([]byte, error) {
	if end := off + n; end < off || end > uint64(s.size) {
		return nil, fmt.Errorf("%w: bytes %d to %d lie past the file's end at %d (cut off?)", ErrCorrupt, off, off+n, s.size)
	}
	if s.mapped != nil {
		return s.mapped[off : off+n : off+n], nil
	}
	b := make([]byte, n)
	if _, err := s.file.ReadAt(b, int64(off)); err != nil {
		if err == io.EOF {
			return nil, fmt.Errorf("%w: the file was cut off while it was read", ErrCorrupt)
		}
		return nil, err
	}
	return b, nil
}

// word loads the 8-byte word at off, which must be a multiple of 8, in one
// access: another process may be storing it.
func (s *source) word(off uint64) (uint64, error) {
	if s.mapped != nil {
		v := atomic.LoadUint64((*uint64)(unsafe.Pointer(&s.mapped[off])))
		return le.Uint64((*[8]byte)(unsafe.Pointer(&v))[:]), nil
	}
	b, err := s.bytes(off, 8)
	if err != nil {
		return 0, err
	}
	return le.Uint64(b), nil
}

// offset returns the file offset mapped at addr.
func (s *source) offset(addr uintptr) (off uintptr, ok bool) {
	if len(s.mapped) == 0 {
		return 0, false
	}
	off = addr - uintptr(unsafe.Pointer(&s.mapped[0]))
	return off, off < uintptr(len(s.mapped))
}

func (s *source) close() error {
	var err error
	if s.mapped != nil {
		err = unmapFile(s.mapped)
		s.mapped = nil
	}
	if s.file != nil {
		err = s.file.Close()
		s.file = nil
	}
	return err
}
