package kerneltest

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Guarded returns n zeros between two pages that may not be touched. The slice
// ends exactly at the one after it (atEnd) or begins exactly after the one
// before it, so that any access past that end faults.
func Guarded(t testing.TB, n int, atEnd bool) []float32 {
	t.Helper()
	s, mem, err := guarded(n, atEnd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(mem); err != nil {
			t.Error(err)
		}
	})
	return s
}

// guarded returns the slice and the whole mapping.
func guarded(n int, atEnd bool) (s []float32, mem []byte, err error) {
	page := unix.Getpagesize()
	size := (max(4*n, 1) + page - 1) / page * page
	mem, err = unix.Mmap(-1, 0, size+2*page, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	inner := mem[page : page+size]
	if err := unix.Mprotect(inner, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return nil, nil, err
	}
	if atEnd {
		inner = inner[size-4*n:]
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(inner))), n), mem, nil
}
