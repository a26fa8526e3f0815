//go:build !noasm

package asm

// From these heights on there are kernels for narrow tiles and for tiles that
// pack B on the way.
const (
	highAVX512 = 8
	highAVX2   = 4
)

func (k *Kernel) tile(mr, nr, kc int, alpha float32, a, b, c []float32, ldc int, acc bool) {
	switch k.isa {
	case avx512:
		mask := uint32(1<<nr - 1)
		if nr <= 16 && mr >= highAVX512 {
			narrowAVX512(mr, nr, kc, alpha, p(a), p(b), p(c), ldc, mask, acc)
			return
		}
		tileAVX512(mr, kc, alpha, p(a), p(b), p(c), ldc, mask, acc)
	case avx2:
		if nr == k.NR {
			tileAVX2(mr, kc, alpha, p(a), p(b), p(c), ldc, acc)
			return
		}
		half := nr <= 8 && mr >= highAVX2
		if half && nr == 8 {
			narrowAVX2(mr, kc, alpha, p(a), p(b), p(c), ldc, acc)
			return
		}
		// Without mask registers the last columns go through a whole tile.
		var t [edgeSize]float32
		if half {
			narrowAVX2(mr, kc, alpha, p(a), p(b), &t[0], edgeWidth, false)
		} else {
			tileAVX2(mr, kc, alpha, p(a), p(b), &t[0], edgeWidth, false)
		}
		copyEdge(mr, nr, &t, c, ldc, acc)
	default:
		sgemmGeneric(mr, nr, kc, alpha, a, b, c, ldc, acc)
	}
}

// A whole tile of AVX2, rows edgeWidth apart.
const (
	edgeWidth = 16
	edgeSize  = 6 * edgeWidth
)

// copyEdge adds (acc) or assigns the first nr columns of a tile to c.
func copyEdge(mr, nr int, t *[edgeSize]float32, c []float32, ldc int, acc bool) {
	for i := range mr {
		src, dst := t[i*edgeWidth:][:nr], c[i*ldc:][:nr]
		if acc {
			for j, v := range src {
				dst[j] += v
			}
		} else {
			copy(dst, src)
		}
	}
}

// tileRows is TileRows.
func (k *Kernel) tileRows(mr, nr, kc int, alpha float32, a, next []float32, lda int, b, c []float32, ldc int, acc bool) {
	switch {
	case k.isa == avx512:
		tileRowsAVX512(mr, nr, kc, alpha, p(a), p(next), lda, p(b), p(c), ldc, uint32(1<<nr-1), acc)
	case nr == k.NR:
		tileRowsAVX2(mr, kc, alpha, p(a), p(next), lda, p(b), p(c), ldc, acc)
	default:
		var t [edgeSize]float32
		tileRowsAVX2(mr, kc, alpha, p(a), p(next), lda, p(b), &t[0], edgeWidth, false)
		copyEdge(mr, nr, &t, c, ldc, acc)
	}
}

// tilePackB is TilePackB where there is a kernel for it; it reports whether
// there is.
func (k *Kernel) tilePackB(mr, kc int, alpha float32, a, b []float32, ldb int, bp, c []float32, ldc int, acc bool) bool {
	switch {
	case k.isa == avx512 && mr >= highAVX512:
		tilePackBAVX512(mr, kc, alpha, p(a), p(b), ldb, p(bp), p(c), ldc, acc)
	case k.isa == avx2 && mr >= highAVX2:
		tilePackBAVX2(mr, kc, alpha, p(a), p(b), ldb, p(bp), p(c), ldc, acc)
	default:
		return false
	}
	return true
}

// tilePackA is TilePackA where there is a kernel for it; it reports whether
// there is.
func (k *Kernel) tilePackA(mr, kc int, alpha float32, a []float32, lda int, ap, b, c []float32, ldc int, acc bool) bool {
	switch {
	case k.isa == avx512 && mr >= highAVX512:
		tilePackAAVX512(mr, kc, alpha, p(a), lda, p(ap), p(b), p(c), ldc, acc)
	case k.isa == avx2 && mr >= highAVX2:
		tilePackAAVX2(mr, kc, alpha, p(a), lda, p(ap), p(b), p(c), ldc, acc)
	default:
		return false
	}
	return true
}

func tileAVX512(mr, kc int, alpha float32, a, b, c *float32, ldc int, mask uint32, acc bool) {
	switch mr {
	case 14:
		sgemm14x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 13:
		sgemm13x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 12:
		sgemm12x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 11:
		sgemm11x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 10:
		sgemm10x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 9:
		sgemm9x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 8:
		sgemm8x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 7:
		sgemm7x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 6:
		sgemm6x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 5:
		sgemm5x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 4:
		sgemm4x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 3:
		sgemm3x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 2:
		sgemm2x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	case 1:
		sgemm1x32AVX512(kc, alpha, a, b, c, ldc, mask, acc)
	}
}

func narrowAVX512(mr, nr, kc int, alpha float32, a, b, c *float32, ldc int, mask uint32, acc bool) {
	switch mr {
	case 14:
		if nr <= 8 {
			sgemm14x8AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		} else {
			sgemm14x16AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		}
	case 13:
		if nr <= 8 {
			sgemm13x8AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		} else {
			sgemm13x16AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		}
	case 12:
		if nr <= 8 {
			sgemm12x8AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		} else {
			sgemm12x16AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		}
	case 11:
		if nr <= 8 {
			sgemm11x8AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		} else {
			sgemm11x16AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		}
	case 10:
		if nr <= 8 {
			sgemm10x8AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		} else {
			sgemm10x16AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		}
	case 9:
		if nr <= 8 {
			sgemm9x8AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		} else {
			sgemm9x16AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		}
	case 8:
		if nr <= 8 {
			sgemm8x8AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		} else {
			sgemm8x16AVX512(kc, alpha, a, b, c, ldc, mask, acc)
		}
	}
}

func tilePackBAVX512(mr, kc int, alpha float32, a, b *float32, ldb int, bp, c *float32, ldc int, acc bool) {
	switch mr {
	case 14:
		sgemm14x32PackBAVX512(kc, alpha, a, b, ldb, bp, c, ldc, acc)
	case 13:
		sgemm13x32PackBAVX512(kc, alpha, a, b, ldb, bp, c, ldc, acc)
	case 12:
		sgemm12x32PackBAVX512(kc, alpha, a, b, ldb, bp, c, ldc, acc)
	case 11:
		sgemm11x32PackBAVX512(kc, alpha, a, b, ldb, bp, c, ldc, acc)
	case 10:
		sgemm10x32PackBAVX512(kc, alpha, a, b, ldb, bp, c, ldc, acc)
	case 9:
		sgemm9x32PackBAVX512(kc, alpha, a, b, ldb, bp, c, ldc, acc)
	case 8:
		sgemm8x32PackBAVX512(kc, alpha, a, b, ldb, bp, c, ldc, acc)
	}
}

func tileAVX2(mr, kc int, alpha float32, a, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 6:
		sgemm6x16AVX2(kc, alpha, a, b, c, ldc, acc)
	case 5:
		sgemm5x16AVX2(kc, alpha, a, b, c, ldc, acc)
	case 4:
		sgemm4x16AVX2(kc, alpha, a, b, c, ldc, acc)
	case 3:
		sgemm3x16AVX2(kc, alpha, a, b, c, ldc, acc)
	case 2:
		sgemm2x16AVX2(kc, alpha, a, b, c, ldc, acc)
	case 1:
		sgemm1x16AVX2(kc, alpha, a, b, c, ldc, acc)
	}
}

func narrowAVX2(mr, kc int, alpha float32, a, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 6:
		sgemm6x8AVX2(kc, alpha, a, b, c, ldc, acc)
	case 5:
		sgemm5x8AVX2(kc, alpha, a, b, c, ldc, acc)
	case 4:
		sgemm4x8AVX2(kc, alpha, a, b, c, ldc, acc)
	}
}

func tilePackBAVX2(mr, kc int, alpha float32, a, b *float32, ldb int, bp, c *float32, ldc int, acc bool) {
	switch mr {
	case 6:
		sgemm6x16PackBAVX2(kc, alpha, a, b, ldb, bp, c, ldc, acc)
	case 5:
		sgemm5x16PackBAVX2(kc, alpha, a, b, ldb, bp, c, ldc, acc)
	case 4:
		sgemm4x16PackBAVX2(kc, alpha, a, b, ldb, bp, c, ldc, acc)
	}
}

func tilePackAAVX512(mr, kc int, alpha float32, a *float32, lda int, ap, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 14:
		sgemm14x32PackAAVX512(kc, alpha, a, lda, ap, b, c, ldc, acc)
	case 13:
		sgemm13x32PackAAVX512(kc, alpha, a, lda, ap, b, c, ldc, acc)
	case 12:
		sgemm12x32PackAAVX512(kc, alpha, a, lda, ap, b, c, ldc, acc)
	case 11:
		sgemm11x32PackAAVX512(kc, alpha, a, lda, ap, b, c, ldc, acc)
	case 10:
		sgemm10x32PackAAVX512(kc, alpha, a, lda, ap, b, c, ldc, acc)
	case 9:
		sgemm9x32PackAAVX512(kc, alpha, a, lda, ap, b, c, ldc, acc)
	case 8:
		sgemm8x32PackAAVX512(kc, alpha, a, lda, ap, b, c, ldc, acc)
	}
}

func tilePackAAVX2(mr, kc int, alpha float32, a *float32, lda int, ap, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 6:
		sgemm6x16PackAAVX2(kc, alpha, a, lda, ap, b, c, ldc, acc)
	case 5:
		sgemm5x16PackAAVX2(kc, alpha, a, lda, ap, b, c, ldc, acc)
	case 4:
		sgemm4x16PackAAVX2(kc, alpha, a, lda, ap, b, c, ldc, acc)
	}
}

func tileRowsAVX512(mr, nr, kc int, alpha float32, a, next *float32, lda int, b, c *float32, ldc int, mask uint32, acc bool) {
	switch mr {
	case 14:
		if nr <= 16 {
			sgemm14x16RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		} else {
			sgemm14x32RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		}
	case 13:
		if nr <= 16 {
			sgemm13x16RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		} else {
			sgemm13x32RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		}
	case 12:
		if nr <= 16 {
			sgemm12x16RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		} else {
			sgemm12x32RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		}
	case 11:
		if nr <= 16 {
			sgemm11x16RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		} else {
			sgemm11x32RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		}
	case 10:
		if nr <= 16 {
			sgemm10x16RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		} else {
			sgemm10x32RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		}
	case 9:
		if nr <= 16 {
			sgemm9x16RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		} else {
			sgemm9x32RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		}
	case 8:
		if nr <= 16 {
			sgemm8x16RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		} else {
			sgemm8x32RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		}
	case 7:
		if nr <= 16 {
			sgemm7x16RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		} else {
			sgemm7x32RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		}
	case 6:
		if nr <= 16 {
			sgemm6x16RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		} else {
			sgemm6x32RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		}
	case 5:
		if nr <= 16 {
			sgemm5x16RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		} else {
			sgemm5x32RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		}
	case 4:
		if nr <= 16 {
			sgemm4x16RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		} else {
			sgemm4x32RowsAVX512(kc, alpha, a, next, lda, b, c, ldc, mask, acc)
		}
	}
}

func tileRowsAVX2(mr, kc int, alpha float32, a, next *float32, lda int, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 6:
		sgemm6x16RowsAVX2(kc, alpha, a, next, lda, b, c, ldc, acc)
	case 5:
		sgemm5x16RowsAVX2(kc, alpha, a, next, lda, b, c, ldc, acc)
	case 4:
		sgemm4x16RowsAVX2(kc, alpha, a, next, lda, b, c, ldc, acc)
	case 3:
		sgemm3x16RowsAVX2(kc, alpha, a, next, lda, b, c, ldc, acc)
	case 2:
		sgemm2x16RowsAVX2(kc, alpha, a, next, lda, b, c, ldc, acc)
	}
}
