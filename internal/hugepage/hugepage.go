// Package hugepage allocates large arrays on huge pages where the system has
// them on request only. Activations, weights and gradients of a big net are
// gigabytes: on 4 KB pages the first iteration is spent in page faults, and
// every later one in misses of the TLB.
package hugepage

// least is the size in bytes from which an array is worth it: a few times the
// 2 MB of a huge page.
const least = 4 << 20

// Make is make([]float32, n), on huge pages if n is large and the system grants
// them.
func Make(n int) []float32 {
	s := make([]float32, n) // fresh memory from the system is not touched here
	if 4*n >= least {
		advise(s)
	}
	return s
}
