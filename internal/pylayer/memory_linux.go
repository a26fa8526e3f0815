package pylayer

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// sharedFile creates a file without a name in memory. Unlike /dev/shm, which
// containers make as small as 64 MB, it may be as large as memory.
func sharedFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("crema", unix.MFD_CLOEXEC)
	if err != nil {
		return unnamedFile("/dev/shm", os.TempDir())
	}
	return os.NewFile(uintptr(fd), "memfd:crema"), nil
}

// reserve takes the memory for part of the file, which has none yet, so that it
// does not lack when the part is written: that would end the program.
func reserve(f *os.File, offset, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, offset, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return writeZeros(f, offset, size)
	}
	return err
}

// discard gives the memory of part of the file back and makes it zero.
func discard(f *os.File, offset int64, mem []float32) {
	if unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, int64(len(mem))*4) != nil {
		clear(mem)
	}
}
