//go:build !noasm

package asm

import "unsafe"

func maxPool(at, width int, x0, x1, y []float32, mask []int32) {
	switch isa(current.Load()) {
	case avx512:
		if len(y) > 0 {
			maxPoolAVX512(len(y), at, width, p(x0), p(x1), p(y), unsafe.SliceData(mask))
		}
	case avx2:
		n := len(y) &^ 7
		if n > 0 {
			maxPoolAVX2(n, at, width, p(x0), p(x1), p(y), unsafe.SliceData(mask))
		}
		maxPoolGeneric(at+2*n, width, x0[2*n:], x1[2*n:], y[n:], mask[n:])
	default:
		maxPoolGeneric(at, width, x0, x1, y, mask)
	}
}

func maxPoolBackward(at, width int, dy []float32, mask []int32, dx0, dx1 []float32) {
	switch isa(current.Load()) {
	case avx512:
		if len(dy) > 0 {
			maxPoolBackwardAVX512(len(dy), at, width, p(dy), unsafe.SliceData(mask), p(dx0), p(dx1))
		}
	case avx2:
		n := len(dy) &^ 7
		if n > 0 {
			maxPoolBackwardAVX2(n, at, width, p(dy), unsafe.SliceData(mask), p(dx0), p(dx1))
		}
		maxPoolBackwardGeneric(at+2*n, width, dy[n:], mask[n:], dx0[2*n:], dx1[2*n:])
	default:
		maxPoolBackwardGeneric(at, width, dy, mask, dx0, dx1)
	}
}
