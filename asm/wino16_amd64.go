//go:build !noasm

package asm

// As in dispatch_amd64.go, kernels are called by name.

func (k *WinoKernel) rows(mr, kc int, a []float32, lda int, b, c []float32, ldc int, acc bool) {
	switch k.isa {
	case avx512:
		winoRowsAVX512(mr, kc, p(a), lda, p(b), p(c), ldc, acc)
	case avx2:
		winoRowsAVX2(mr, kc, p(a), lda, p(b), p(c), ldc, acc)
	default:
		winoTileGeneric(mr, kc, winoBlock, a, lda, 1, b, c, ldc, acc)
	}
}

func (k *WinoKernel) cols(mr, kc int, a, b, c []float32, ldc int, acc bool) {
	switch k.isa {
	case avx512:
		winoColsAVX512(mr, kc, p(a), p(b), p(c), ldc, acc)
	case avx2:
		winoColsAVX2(mr, kc, p(a), p(b), p(c), ldc, acc)
	default:
		winoTileGeneric(mr, kc, kc, a, 1, k.NR, b, c, ldc, acc)
	}
}

func winoRowsAVX512(mr, kc int, a *float32, lda int, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 7:
		wino16Rows7x32AVX512(kc, a, lda, b, c, ldc, acc)
	case 6:
		wino16Rows6x32AVX512(kc, a, lda, b, c, ldc, acc)
	case 5:
		wino16Rows5x32AVX512(kc, a, lda, b, c, ldc, acc)
	case 4:
		wino16Rows4x32AVX512(kc, a, lda, b, c, ldc, acc)
	case 3:
		wino16Rows3x32AVX512(kc, a, lda, b, c, ldc, acc)
	case 2:
		wino16Rows2x32AVX512(kc, a, lda, b, c, ldc, acc)
	case 1:
		wino16Rows1x32AVX512(kc, a, lda, b, c, ldc, acc)
	}
}

func winoColsAVX512(mr, kc int, a *float32, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 14:
		wino16Cols14x32AVX512(kc, a, b, c, ldc, acc)
	case 13:
		wino16Cols13x32AVX512(kc, a, b, c, ldc, acc)
	case 12:
		wino16Cols12x32AVX512(kc, a, b, c, ldc, acc)
	case 11:
		wino16Cols11x32AVX512(kc, a, b, c, ldc, acc)
	case 10:
		wino16Cols10x32AVX512(kc, a, b, c, ldc, acc)
	case 9:
		wino16Cols9x32AVX512(kc, a, b, c, ldc, acc)
	case 8:
		wino16Cols8x32AVX512(kc, a, b, c, ldc, acc)
	case 7:
		wino16Cols7x32AVX512(kc, a, b, c, ldc, acc)
	case 6:
		wino16Cols6x32AVX512(kc, a, b, c, ldc, acc)
	case 5:
		wino16Cols5x32AVX512(kc, a, b, c, ldc, acc)
	case 4:
		wino16Cols4x32AVX512(kc, a, b, c, ldc, acc)
	case 3:
		wino16Cols3x32AVX512(kc, a, b, c, ldc, acc)
	case 2:
		wino16Cols2x32AVX512(kc, a, b, c, ldc, acc)
	case 1:
		wino16Cols1x32AVX512(kc, a, b, c, ldc, acc)
	}
}

func winoRowsAVX2(mr, kc int, a *float32, lda int, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 6:
		wino16Rows6x16AVX2(kc, a, lda, b, c, ldc, acc)
	case 5:
		wino16Rows5x16AVX2(kc, a, lda, b, c, ldc, acc)
	case 4:
		wino16Rows4x16AVX2(kc, a, lda, b, c, ldc, acc)
	case 3:
		wino16Rows3x16AVX2(kc, a, lda, b, c, ldc, acc)
	case 2:
		wino16Rows2x16AVX2(kc, a, lda, b, c, ldc, acc)
	case 1:
		wino16Rows1x16AVX2(kc, a, lda, b, c, ldc, acc)
	}
}

func winoColsAVX2(mr, kc int, a *float32, b, c *float32, ldc int, acc bool) {
	switch mr {
	case 6:
		wino16Cols6x16AVX2(kc, a, b, c, ldc, acc)
	case 5:
		wino16Cols5x16AVX2(kc, a, b, c, ldc, acc)
	case 4:
		wino16Cols4x16AVX2(kc, a, b, c, ldc, acc)
	case 3:
		wino16Cols3x16AVX2(kc, a, b, c, ldc, acc)
	case 2:
		wino16Cols2x16AVX2(kc, a, b, c, ldc, acc)
	case 1:
		wino16Cols1x16AVX2(kc, a, b, c, ldc, acc)
	}
}

func (k *WinoKernel) input(n int, src []float32, lds int, dst []float32, ldt, ldp int) {
	switch k.isa {
	case avx512:
		wino16InputAVX512(n, p(src), lds, p(dst), ldt, ldp)
	case avx2:
		for h := 0; h < WinoLanes; h += 8 {
			wino16InputAVX2(n, p(src[h:]), lds, p(dst[h:]), ldt, ldp)
		}
	default:
		winoExpand(&winoBT, 6, n, src, 0, lds, WinoLanes, 4*WinoLanes, dst, ldt, ldp)
	}
}

func (k *WinoKernel) gradient(n int, src []float32, lds int, dst []float32, ldt, ldp int) {
	switch k.isa {
	case avx512:
		wino16GradientAVX512(n, p(src), lds, p(dst), ldt, ldp)
	case avx2:
		for h := 0; h < WinoLanes; h += 8 {
			wino16GradientAVX2(n, p(src[h:]), lds, p(dst[h:]), ldt, ldp)
		}
	default:
		winoExpand(&winoA, 4, n, src, 0, lds, WinoLanes, 4*WinoLanes, dst, ldt, ldp)
	}
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
		winoExpand(&winoG, 3, n, src, off, 3*ldc, ldc, next, dst, ldt, ldp)
	}
}

func (k *WinoKernel) output(n int, src []float32, ldt, ldp int, bias *[WinoLanes]float32, dst []float32, ldd int) {
	switch k.isa {
	case avx512:
		wino16OutputAVX512(n, p(src), ldt, ldp, &bias[0], p(dst), ldd)
	case avx2:
		for h := 0; h < WinoLanes; h += 8 {
			wino16OutputAVX2(n, p(src[h:]), ldt, ldp, &bias[h], p(dst[h:]), ldd)
		}
	default:
		winoReduce(&winoA, 4, n, src, ldt, ldp, bias, dst, ldd, 4*WinoLanes)
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
		winoReduce(&winoG, 3, n, src, ldt, ldp, nil, dst, 3*WinoLanes, 9*WinoLanes)
	}
}
