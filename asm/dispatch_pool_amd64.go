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

func maxPoolLanes(x0, x1, y []float32, chosen []uint16) {
	switch isa(current.Load()) {
	case avx512:
		maxPoolLanesAVX512(len(y)/poolLanes, p(x0), p(x1), p(y), unsafe.SliceData(chosen))
	case avx2:
		maxPoolLanesAVX2(len(y)/poolLanes, p(x0), p(x1), p(y), unsafe.SliceData(chosen))
	default:
		maxPoolLanesGeneric(x0, x1, y, chosen)
	}
}

func maxPoolLanesBackward(dy []float32, chosen []uint16, dx0, dx1 []float32) {
	switch isa(current.Load()) {
	case avx512:
		maxPoolLanesBackwardAVX512(len(dy)/poolLanes, p(dy), unsafe.SliceData(chosen), p(dx0), p(dx1))
	case avx2:
		maxPoolLanesBackwardAVX2(len(dy)/poolLanes, p(dy), unsafe.SliceData(chosen), p(dx0), p(dx1))
	default:
		maxPoolLanesBackwardGeneric(dy, chosen, dx0, dx1)
	}
}

func maxPoolWindows(w *Windows, at int, x, y []float32, places []int32) {
	switch isa(current.Load()) {
	case avx512:
		maxPoolWindowsAVX512(len(y)/poolLanes, w.Rows, w.Cols, w.Step, w.Width, at, p(x), p(y), unsafe.SliceData(places))
	case avx2:
		maxPoolWindowsAVX2(len(y)/poolLanes, w.Rows, w.Cols, w.Step, w.Width, at, p(x), p(y), unsafe.SliceData(places))
	default:
		maxPoolWindowsGeneric(w, at, x, y, places)
	}
}

func meanPoolWindows(w *Windows, divisor float32, x, y []float32) {
	switch isa(current.Load()) {
	case avx512:
		meanPoolWindowsAVX512(len(y)/poolLanes, w.Rows, w.Cols, w.Step, w.Width, p(x), p(y), divisor)
	case avx2:
		meanPoolWindowsAVX2(len(y)/poolLanes, w.Rows, w.Cols, w.Step, w.Width, p(x), p(y), divisor)
	default:
		meanPoolWindowsGeneric(w, divisor, x, y)
	}
}
