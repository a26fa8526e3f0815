//go:build !noasm

package asm

import "unsafe"

// As in dispatch_amd64.go, kernels are called by name.

func (k *WinoKernel) rows(blocks, mr, groups int, a []float32, lda int, b, c []float32, ldc int, acc bool) {
	switch k.isa {
	case avx512:
		winoRowsAVX512(blocks, mr, groups, p(a), lda, p(b), p(c), ldc, acc)
	case avx2:
		winoRowsAVX2(blocks, mr, groups, p(a), lda, p(b), p(c), ldc, acc)
	default:
		winoRowsGeneric(blocks*mr, groups, a, lda, b, c, ldc, acc)
	}
}

func (k *WinoKernel) cols(blocks, mr, kc int, a, next, b, c []float32, ldc int, acc bool) {
	switch k.isa {
	case avx512:
		winoColsAVX512(blocks, mr, kc, p(a), p(next), p(b), p(c), ldc, acc)
	case avx2:
		winoColsAVX2(blocks, mr, kc, p(a), p(next), p(b), p(c), ldc, acc)
	default:
		winoColsGeneric(blocks*mr, kc, a, b, c, ldc, acc)
	}
}

func winoRowsAVX512(blocks, mr, groups int, a *float32, lda int, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 7:
		wino16Rows7x32AVX512(blocks, groups, a, lda, b, c, ldc, acc)
	case 6:
		wino16Rows6x32AVX512(blocks, groups, a, lda, b, c, ldc, acc)
	case 5:
		wino16Rows5x32AVX512(blocks, groups, a, lda, b, c, ldc, acc)
	case 4:
		wino16Rows4x32AVX512(blocks, groups, a, lda, b, c, ldc, acc)
	case 3:
		wino16Rows3x32AVX512(blocks, groups, a, lda, b, c, ldc, acc)
	case 2:
		wino16Rows2x32AVX512(blocks, groups, a, lda, b, c, ldc, acc)
	case 1:
		wino16Rows1x32AVX512(blocks, groups, a, lda, b, c, ldc, acc)
	}
}

func winoColsAVX512(blocks, mr, kc int, a, next, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 14:
		wino16Cols14x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 13:
		wino16Cols13x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 12:
		wino16Cols12x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 11:
		wino16Cols11x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 10:
		wino16Cols10x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 9:
		wino16Cols9x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 8:
		wino16Cols8x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 7:
		wino16Cols7x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 6:
		wino16Cols6x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 5:
		wino16Cols5x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 4:
		wino16Cols4x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 3:
		wino16Cols3x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 2:
		wino16Cols2x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	case 1:
		wino16Cols1x32AVX512(blocks, kc, a, next, b, c, ldc, acc)
	}
}

func winoRowsAVX2(blocks, mr, groups int, a *float32, lda int, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 6:
		wino16Rows6x16AVX2(blocks, groups, a, lda, b, c, ldc, acc)
	case 5:
		wino16Rows5x16AVX2(blocks, groups, a, lda, b, c, ldc, acc)
	case 4:
		wino16Rows4x16AVX2(blocks, groups, a, lda, b, c, ldc, acc)
	case 3:
		wino16Rows3x16AVX2(blocks, groups, a, lda, b, c, ldc, acc)
	case 2:
		wino16Rows2x16AVX2(blocks, groups, a, lda, b, c, ldc, acc)
	case 1:
		wino16Rows1x16AVX2(blocks, groups, a, lda, b, c, ldc, acc)
	}
}

func winoColsAVX2(blocks, mr, kc int, a, next, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 6:
		wino16Cols6x16AVX2(blocks, kc, a, next, b, c, ldc, acc)
	case 5:
		wino16Cols5x16AVX2(blocks, kc, a, next, b, c, ldc, acc)
	case 4:
		wino16Cols4x16AVX2(blocks, kc, a, next, b, c, ldc, acc)
	case 3:
		wino16Cols3x16AVX2(blocks, kc, a, next, b, c, ldc, acc)
	case 2:
		wino16Cols2x16AVX2(blocks, kc, a, next, b, c, ldc, acc)
	case 1:
		wino16Cols1x16AVX2(blocks, kc, a, next, b, c, ldc, acc)
	}
}

// wholeLines reports whether vectors of 16 lanes in dst, ld1 and ld2 apart, are
// whole lines of a cache: only such may be written past it.
func wholeLines(dst []float32, ld1, ld2 int) bool {
	return uintptr(unsafe.Pointer(p(dst)))%64 == 0 && ld1%WinoLanes == 0 && ld2%WinoLanes == 0
}

func (k *WinoKernel) input(n int, x *WinoPixels, dst []float32, ldt, ldp int, stream bool) {
	const edge = 6
	rows, first, last2, last := edge-x.Top-x.Bottom, x.inside(0, n, edge), x.inside(n-2, n, edge), x.inside(n-1, n, edge)
	switch k.isa {
	case avx512:
		if stream && wholeLines(dst, ldt, ldp) {
			wino16InputStreamAVX512(n, p(x.Data), x.LD, x.Top, rows, x.Left, first, last2, last, p(dst), ldt, ldp)
			return
		}
		wino16InputAVX512(n, p(x.Data), x.LD, x.Top, rows, x.Left, first, last2, last, p(dst), ldt, ldp)
	case avx2:
		for h := 0; h < WinoLanes; h += 8 {
			wino16InputAVX2(n, p(x.Data[h:]), x.LD, x.Top, rows, x.Left, first, last2, last, p(dst[h:]), ldt, ldp)
		}
	default:
		winoPixelsGeneric(&winoBT, edge, n, x, dst, ldt, ldp, nil)
	}
}

func (k *WinoKernel) gradient(n int, x *WinoPixels, dst []float32, ldt, ldp int, sums *[WinoLanes]float32, stream bool) {
	const edge = 4
	rows, first, last2, last := edge-x.Top-x.Bottom, x.inside(0, n, edge), x.inside(n-2, n, edge), x.inside(n-1, n, edge)
	switch k.isa {
	case avx512:
		if stream && wholeLines(dst, ldt, ldp) {
			wino16GradientStreamAVX512(n, p(x.Data), x.LD, x.Top, rows, x.Left, first, last2, last, p(dst), ldt, ldp, half(sums, 0))
			return
		}
		wino16GradientAVX512(n, p(x.Data), x.LD, x.Top, rows, x.Left, first, last2, last, p(dst), ldt, ldp, half(sums, 0))
	case avx2:
		for h := 0; h < WinoLanes; h += 8 {
			wino16GradientAVX2(n, p(x.Data[h:]), x.LD, x.Top, rows, x.Left, first, last2, last, p(dst[h:]), ldt, ldp, half(sums, h))
		}
	default:
		winoPixelsGeneric(&winoA, edge, n, x, dst, ldt, ldp, sums)
	}
}

// half returns the address of lane h of x, or nil if x is nil.
func half(x *[WinoLanes]float32, h int) *float32 {
	if x == nil {
		return nil
	}
	return &x[h]
}

func (k *WinoKernel) filter(n int, src []float32, off, ldc, next int, dst []float32, ldt, ldp int) {
	switch k.isa {
	case avx512:
		wino16FilterAVX512(n, p(src[off:]), ldc, next, p(dst), ldt, ldp)
	case avx2:
		for h := 0; h < WinoLanes; h += 8 {
			wino16FilterAVX2(n, p(src[off+h:]), ldc, next, p(dst[h:]), ldt, ldp)
		}
	default:
		winoFilterGeneric(n, src, off, ldc, next, dst, ldt, ldp)
	}
}

func (k *WinoKernel) output(n int, src []float32, ldt, ldp int, bias *[WinoLanes]float32, low float32, y *WinoPixels, stream bool) {
	const row = 0x1111 // the first pixel of each, of 16
	all := 0xffff >> (4 * y.Bottom)
	last := all & (0xf >> y.Right * row)
	switch k.isa {
	case avx512:
		if stream && wholeLines(y.Data, y.LD, 0) {
			wino16OutputStreamAVX512(n, p(src), ldt, ldp, &bias[0], low, p(y.Data), y.LD, all, last)
			return
		}
		wino16OutputAVX512(n, p(src), ldt, ldp, &bias[0], low, p(y.Data), y.LD, all, last)
	case avx2:
		for h := 0; h < WinoLanes; h += 8 {
			wino16OutputAVX2(n, p(src[h:]), ldt, ldp, &bias[h], low, p(y.Data[h:]), y.LD, all, last)
		}
	default:
		winoOutputGeneric(n, src, ldt, ldp, bias, low, y)
	}
}

func (k *WinoKernel) weights(n int, src []float32, ldt, ldp int, dst []float32) {
	switch k.isa {
	case avx512:
		wino16WeightsAVX512(n, p(src), ldt, ldp, p(dst))
	case avx2:
		for h := 0; h < WinoLanes; h += 8 {
			wino16WeightsAVX2(n, p(src[h:]), ldt, ldp, p(dst[h:]))
		}
	default:
		winoWeightsGeneric(n, src, ldt, ldp, dst)
	}
}

func (k *WinoKernel) prefetch(x []float32) {
	const line = 16
	switch k.isa {
	case avx512:
		wino16PrefetchAVX512((len(x)+line-1)/line, p(x))
	case avx2:
		wino16PrefetchAVX2((len(x)+line-1)/line, p(x))
	}
}
