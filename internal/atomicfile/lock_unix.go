//go:build unix && !solaris && !aix

package atomicfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the lock on an open file, which goes when the file is closed or its
// process ends, and reports whether it could.
func lock(f *os.File) bool { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil }
