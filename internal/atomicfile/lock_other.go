//go:build !unix || solaris || aix

package atomicfile

import "os"

// lock would take a lock on an open file: here it never succeeds.
func lock(*os.File) bool { return false }
