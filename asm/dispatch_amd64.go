//go:build !noasm

package asm

import "unsafe"

// haveAsm says whether this build has assembly kernels.
const haveAsm = true

// The functions below call each kernel by name, never through a func value:
// only then does the compiler know that pointers to tiles on the stack do not
// escape.

// p is the address of a slice's first element; nil slices are allowed.
func p(s []float32) *float32 { return unsafe.SliceData(s) }

func packRows(n, width, lo, hi int, src []float32, off, lds int, dst []float32, ldd int) {
	switch isa(current.Load()) {
	case generic:
		packRowsGeneric(n, width, lo, hi, src, off, lds, dst, ldd)
		return
	case avx2:
		packRowsByAVX2(n, width, lo, hi, src, off, lds, dst, ldd)
		return
	}
	store := uint32(1<<width - 1)
	load := uint32(1<<hi-1) &^ uint32(1<<lo-1)
	from := p(src)
	if lo == hi {
		// Nothing is read; but a masked load from an address that is not
		// mapped takes the slow way through microcode.
		from, off, lds = p(dst), 0, 0
	}
	// Long strips are cut: assembly cannot be stopped.
	const most = chunk / MaxNR
	for n > 0 {
		k := min(n, most)
		packRowsAVX512(k, load, store, from, off, lds, p(dst), ldd)
		n -= k
		if n > 0 {
			off += k * lds
			dst = dst[k*ldd:]
		}
	}
}

// packRowsByAVX2 packs rows of one or two vectors. AVX2 has no fast masked
// stores: rows that are narrower and lie one after the other, as in a panel of A,
// are stored as vectors, each over what the one before put there, and the last
// left to the portable kernel, as are rows of other widths.
func packRowsByAVX2(n, width, lo, hi int, src []float32, off, lds int, dst []float32, ldd int) {
	const vec, most = 8, chunk / 16
	whole := 0 // rows that can be stored as vectors
	switch {
	case width == vec || width == 2*vec:
		whole = n
	case width < vec && ldd == width:
		whole = max(n-(vec-1)/width, 0)
	}
	for r := 0; r < whole; r += most {
		k := min(most, whole-r)
		from, at, ld := p(src), off+r*lds, lds
		if lo == hi { // as in packRows
			from, at, ld = p(dst), 0, 0
		}
		if width > vec {
			packRows16AVX2(k, lo, hi, from, at, ld, p(dst[r*ldd:]), ldd)
		} else {
			packRows8AVX2(k, lo, hi, from, at, ld, p(dst[r*ldd:]), ldd)
		}
	}
	if whole < n {
		packRowsGeneric(n-whole, width, lo, hi, src, off+whole*lds, lds, dst[whole*ldd:], ldd)
	}
}

func transpose(rows, cols int, src []float32, lds int, dst []float32, ldd int) {
	switch isa(current.Load()) {
	case generic:
		transposeGeneric(rows, cols, src, lds, dst, ldd)
		return
	case avx2:
		transposeByAVX2(rows, cols, src, lds, dst, ldd)
		return
	}
	const strip, most = 16, chunk / 16
	for c := 0; c < cols; c += most {
		for r := 0; r < rows; r += strip {
			transposeAVX512(min(strip, rows-r), min(most, cols-c), p(src[r*lds+c:]), lds, p(dst[c*ldd+r:]), ldd)
		}
	}
}

// transposeByAVX2 goes by strips of eight rows or four, or takes all rows if they
// are a panel of A. Rows that are left go to the portable kernel.
func transposeByAVX2(rows, cols int, src []float32, lds int, dst []float32, ldd int) {
	const most = chunk / 16
	panel := (rows == 5 || rows == 6) && ldd == rows
	done := rows &^ 3
	if panel {
		done = rows
	}
	for c := 0; c < cols && done > 0; c += most {
		n := min(most, cols-c)
		from, to := src[c:], dst[c*ldd:]
		switch {
		case panel && rows == 5:
			transpose5AVX2(n, p(from), lds, p(to))
		case panel:
			transpose6AVX2(n, p(from), lds, p(to))
		default:
			r := 0
			for ; r+8 <= done; r += 8 {
				transpose8AVX2(n, p(from[r*lds:]), lds, p(to[r:]), ldd)
			}
			if r < done {
				transpose4AVX2(n, p(from[r*lds:]), lds, p(to[r:]), ldd)
			}
		}
	}
	if done < rows {
		transposeGeneric(rows-done, cols, src[done*lds:], lds, dst[done:], ldd)
	}
}

func axpy(alpha float32, x, y []float32) {
	switch isa(current.Load()) {
	case avx512:
		axpyAVX512(len(x), alpha, p(x), p(y))
	case avx2:
		axpyAVX2(len(x), alpha, p(x), p(y))
	default:
		axpyGeneric(alpha, x, y)
	}
}

func add(x, y []float32) {
	switch isa(current.Load()) {
	case avx512:
		addAVX512(len(x), p(x), p(y))
	case avx2:
		addAVX2(len(x), p(x), p(y))
	default:
		addGeneric(x, y)
	}
}

func scal(alpha float32, x []float32) {
	switch isa(current.Load()) {
	case avx512:
		scalAVX512(len(x), alpha, p(x))
	case avx2:
		scalAVX2(len(x), alpha, p(x))
	default:
		scalGeneric(alpha, x)
	}
}

func addScalar(alpha float32, x []float32) {
	switch isa(current.Load()) {
	case avx512:
		addScalarAVX512(len(x), alpha, p(x))
	case avx2:
		addScalarAVX2(len(x), alpha, p(x))
	default:
		addScalarGeneric(alpha, x)
	}
}

func relu(slope float32, x, y []float32) {
	switch isa(current.Load()) {
	case avx512:
		reluAVX512(len(x), slope, p(x), p(y))
	case avx2:
		reluAVX2(len(x), slope, p(x), p(y))
	default:
		reluGeneric(slope, x, y)
	}
}

func reluBackward(slope float32, x, dy, dx []float32) {
	switch isa(current.Load()) {
	case avx512:
		reluBackwardAVX512(len(x), 1, slope, p(x), p(dy), p(dx))
	case avx2:
		reluBackwardAVX2(len(x), 1, slope, p(x), p(dy), p(dx))
	default:
		reluBackwardGeneric(slope, x, dy, dx)
	}
}

func sgd(lr, decay, momentum float32, g, h, w []float32) {
	switch isa(current.Load()) {
	case avx512:
		sgdAVX512(len(w), lr, decay, momentum, p(g), p(h), p(w))
	case avx2:
		sgdAVX2(len(w), lr, decay, momentum, p(g), p(h), p(w))
	default:
		sgdGeneric(lr, decay, momentum, g, h, w)
	}
}

func dot(x, y []float32, s *[lanes]float32) {
	switch isa(current.Load()) {
	case avx512:
		dotAVX512(len(x), p(x), p(y), &s[0])
	case avx2:
		dotAVX2(len(x), p(x), p(y), &s[0])
	default:
		dotGeneric(x, y, s)
	}
}

func sumsq(x []float32, s *[lanes]float32) {
	switch isa(current.Load()) {
	case avx512:
		sumsqAVX512(len(x), p(x), &s[0])
	case avx2:
		sumsqAVX2(len(x), p(x), &s[0])
	default:
		sumsqGeneric(x, s)
	}
}

func sum(x []float32, s *[lanes]float32) {
	switch isa(current.Load()) {
	case avx512:
		sumAVX512(len(x), p(x), &s[0])
	case avx2:
		sumAVX2(len(x), p(x), &s[0])
	default:
		sumGeneric(x, s)
	}
}

func asum(x []float32, s *[lanes]float32) {
	switch isa(current.Load()) {
	case avx512:
		asumAVX512(len(x), p(x), &s[0])
	case avx2:
		asumAVX2(len(x), p(x), &s[0])
	default:
		asumGeneric(x, s)
	}
}

func dotRows(m, k int, x []float32, step int, w []float32, ldw int, next []float32, out *[4 * MaxDotRows]float32) {
	// What lies first in w is prefetched from w as well, dotAhead further on.
	first := max(k-dotAhead, 0)
	ahead := p(w[k-first:])
	switch isa(current.Load()) {
	case avx512:
		switch m {
		case 1:
			dot1x4AVX512(k, first, p(x), step, p(w), ldw, ahead, p(next), &out[0])
		case 2:
			dot2x4AVX512(k, first, p(x), step, p(w), ldw, ahead, p(next), &out[0])
		case 3:
			dot3x4AVX512(k, first, p(x), step, p(w), ldw, ahead, p(next), &out[0])
		case 4:
			dot4x4AVX512(k, first, p(x), step, p(w), ldw, ahead, p(next), &out[0])
		case 5:
			dot5x4AVX512(k, first, p(x), step, p(w), ldw, ahead, p(next), &out[0])
		case 6:
			dot6x4AVX512(k, first, p(x), step, p(w), ldw, ahead, p(next), &out[0])
		}
	case avx2:
		const most = 3
		for i := 0; i < m; i += most {
			x, out := p(x[min(dotLine*i, len(x)):]), &out[4*i]
			switch min(most, m-i) {
			case 1:
				dot1x4AVX2(k, first, x, step, p(w), ldw, ahead, p(next), out)
			case 2:
				dot2x4AVX2(k, first, x, step, p(w), ldw, ahead, p(next), out)
			case 3:
				dot3x4AVX2(k, first, x, step, p(w), ldw, ahead, p(next), out)
			}
		}
	default:
		dotRowsGeneric(m, k, x, step, w, ldw, out)
	}
}

func rank4(m, n int, a, b []float32, ldb int, next, c []float32, ldc int) {
	first := max(n-rankAhead, 0)
	ahead := p(b[n-first:])
	switch isa(current.Load()) {
	case avx512:
		rank4AVX512(m, n, first, p(a), p(b), ldb, ahead, p(next), p(c), ldc)
	case avx2:
		rank4AVX2(m, n, first, p(a), p(b), ldb, ahead, p(next), p(c), ldc)
	default:
		rank4Generic(m, n, a, b, ldb, c, ldc)
	}
}
