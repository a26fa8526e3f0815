//go:build !noasm

package asm

func sgdOuter(u *outerStep, n int, a, x []float32, ldx int, h, w []float32, ldw int) {
	set := isa(current.Load())
	if set == generic {
		sgdOuterGeneric(u, n, a, x, ldx, h, w, ldw)
		return
	}
	if u.rows == OuterRows {
		if set == avx512 {
			sgdOuter4AVX512(u.m, n, p(a), p(x), ldx, u.lr, u.decay, u.momentum, p(h), p(w), ldw)
		} else {
			sgdOuter4AVX2(u.m, n, p(a), p(x), ldx, u.lr, u.decay, u.momentum, p(h), p(w), ldw)
		}
		return
	}
	for i := range u.rows {
		var b [MaxOuterRank]float32 // row i's column of a
		for q := range u.m {
			b[q] = a[q*u.rows+i]
		}
		at := i * ldw
		if set == avx512 {
			sgdOuter1AVX512(u.m, n, &b[0], p(x), ldx, u.lr, u.decay, u.momentum, p(h[at:]), p(w[at:]), ldw)
		} else {
			sgdOuter1AVX2(u.m, n, &b[0], p(x), ldx, u.lr, u.decay, u.momentum, p(h[at:]), p(w[at:]), ldw)
		}
	}
}
