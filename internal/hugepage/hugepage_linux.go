package hugepage

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// advise asks for huge pages for the whole pages in s. It is advice: a kernel
// without them says no, and nothing changes.
func advise(s []float32) {
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 4*len(s))
	page := unix.Getpagesize()
	if skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (page - 1); skip < len(b) {
		b = b[skip:]
	}
	if b = b[:len(b)&^(page-1)]; len(b) > 0 {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
}
