//go:build !noasm

package asm

// rank8 reports whether it did the work.
func rank8(m, n int, a, b []float32, ldb int, next, c []float32, ldc int) bool {
	if isa(current.Load()) != avx512 {
		return false
	}
	first := max(n-rankAhead, 0)
	rank8AVX512(m, n, first, p(a), p(b), ldb, p(b[n-first:]), p(next), p(c), ldc)
	return true
}
