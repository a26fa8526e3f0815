//go:build !noasm

package asm

// rank8 reports whether it did the work.
func rank8(m, n int, a, b []float32, ldb int, c []float32, ldc int) bool {
	if isa(current.Load()) != avx512 {
		return false
	}
	rank8AVX512(m, n, p(a), p(b), ldb, p(c), ldc)
	return true
}
