//go:build !noasm

package kerneltest

// fma512 does 16·n fused multiply-adds of 16 floats, n ≥ 1, on a machine with
// AVX-512.
func fma512(n int)

// fma256 does 12·n fused multiply-adds of 8 floats, n ≥ 1, on a machine with
// AVX2 and FMA.
func fma256(n int)

// PeakLoop returns a loop that does floating-point operations as fast as the
// instruction set can, and the number of operations in one turn of it; nil for
// the portable kernels, whose limit no loop tells.
func PeakLoop(isa string) (loop func(n int), flops float64) {
	switch isa {
	case "avx512":
		return fma512, 16 * 16 * 2
	case "avx2":
		return fma256, 12 * 8 * 2
	}
	return nil, 0
}
