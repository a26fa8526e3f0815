// Package memory says before an allocation that the machine cannot hold it: the
// Go runtime would end the program with a dump of all goroutines, or the system
// would kill it.
package memory

import (
	"fmt"
	"math"
)

// An Error is a request for more memory than there is. Both are bytes.
type Error struct{ Asked, Available int64 }

// Error says both in units that people read.
func (e *Error) Error() string {
	return fmt.Sprintf("needs %s of memory at once, and %s are free on this machine", gigabytes(e.Asked), gigabytes(e.Available))
}

func gigabytes(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.3g MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.3g GiB", float64(n)/(1<<30))
}

// large is the number of bytes from which Check looks: less is not worth the
// look.
const large = 256 << 20

// Check returns an *Error if so many bytes are more than can be had. Where the
// system does not tell, it returns nil.
func Check(bytes int64) error {
	if bytes < large {
		return nil
	}
	if a := Available(); bytes > a {
		return &Error{bytes, a}
	}
	return nil
}

// Available returns how many bytes can be had. Tests replace it.
var Available = available

// unknown is what available returns where the system does not tell.
const unknown = math.MaxInt64
