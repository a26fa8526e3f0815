//go:build race

// Package race tells the race detector about memory that assembly reads and
// writes, which it cannot see. In other builds its functions do nothing.
package race

import (
	"runtime"
	"unsafe"
)

// Enabled reports whether the race detector is built in.
const Enabled = true

// Read records a read of s.
func Read[T float32 | int32 | uint16](s []T) {
	if len(s) > 0 {
		runtime.RaceReadRange(unsafe.Pointer(unsafe.SliceData(s)), len(s)*int(unsafe.Sizeof(s[0])))
	}
}

// Write records a write of s.
func Write[T float32 | int32 | uint16](s []T) {
	if len(s) > 0 {
		runtime.RaceWriteRange(unsafe.Pointer(unsafe.SliceData(s)), len(s)*int(unsafe.Sizeof(s[0])))
	}
}
