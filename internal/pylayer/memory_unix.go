//go:build unix

package pylayer

import (
	"os"

	"golang.org/x/sys/unix"
)

// unnamedFile creates a file in the first of the folders that lets it, and takes
// its name away: it is gone when the last process that has it open ends.
func unnamedFile(dirs ...string) (*os.File, error) {
	var err error
	for _, d := range dirs {
		var f *os.File
		if f, err = os.CreateTemp(d, "crema-python-*"); err == nil {
			return f, os.Remove(f.Name())
		}
	}
	return nil, err
}

// writeZeros reserves part of a file where the system has no call for it.
func writeZeros(f *os.File, offset, size int64) error {
	zeros := make([]byte, 1<<16)
	for end := offset + size; offset < end; offset += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), end-offset)], offset); err != nil {
			return err
		}
	}
	return nil
}

func mapShared(f *os.File, offset int64, size int) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), offset, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}
