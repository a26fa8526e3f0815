//go:build !noasm

package asm

func affine(a, b *LaneVector, x, y []float32) {
	switch isa(current.Load()) {
	case avx512:
		affineAVX512(len(x), &a[0], &b[0], p(x), p(y))
	case avx2:
		affineAVX2(len(x), &a[0], &b[0], p(x), p(y))
	default:
		affineGeneric(a, b, x, y)
	}
}

func standardize(mean, inverse *LaneVector, x, y, keep []float32) {
	switch isa(current.Load()) {
	case avx512:
		standardizeAVX512(len(x), &mean[0], &inverse[0], p(x), p(y), p(keep))
	case avx2:
		standardizeAVX2(len(x), &mean[0], &inverse[0], p(x), p(y), p(keep))
	default:
		standardizeGeneric(mean, inverse, x, y, keep)
	}
}

func standardizeBackward(mean, dot, inverse *LaneVector, y, dy, dx []float32) {
	switch isa(current.Load()) {
	case avx512:
		standardizeBackwardAVX512(len(y), &mean[0], &dot[0], &inverse[0], p(y), p(dy), p(dx))
	case avx2:
		standardizeBackwardAVX2(len(y), &mean[0], &dot[0], &inverse[0], p(y), p(dy), p(dx))
	default:
		standardizeBackwardGeneric(mean, dot, inverse, y, dy, dx)
	}
}

func laneReLU(slope *LaneVector, x, y []float32) {
	switch isa(current.Load()) {
	case avx512:
		laneReLUAVX512(len(x), &slope[0], p(x), p(y))
	case avx2:
		laneReLUAVX2(len(x), &slope[0], p(x), p(y))
	default:
		laneReLUGeneric(slope, x, y)
	}
}

func laneReLUBackward(slope *LaneVector, x, dy, dx []float32) {
	switch isa(current.Load()) {
	case avx512:
		laneReLUBackwardAVX512(len(x), &slope[0], p(x), p(dy), p(dx))
	case avx2:
		laneReLUBackwardAVX2(len(x), &slope[0], p(x), p(dy), p(dx))
	default:
		laneReLUBackwardGeneric(slope, x, dy, dx)
	}
}

func laneSums(x, y []float32, sum, dot *[Lanes]float64) {
	switch isa(current.Load()) {
	case avx512:
		laneSumsAVX512(len(x), p(x), p(y), &sum[0], &dot[0])
	case avx2:
		laneSumsAVX2(len(x), p(x), p(y), &sum[0], &dot[0])
	default:
		laneSumsGeneric(x, y, sum, dot)
	}
}

func product(x, y, z []float32) {
	switch isa(current.Load()) {
	case avx512:
		productAVX512(len(x), p(x), p(y), p(z))
	case avx2:
		productAVX2(len(x), p(x), p(y), p(z))
	default:
		productGeneric(x, y, z)
	}
}

func power34(x, y []float32) {
	switch isa(current.Load()) {
	case avx512:
		power34AVX512(len(x), p(x), p(y))
	case avx2:
		power34AVX2(len(x), p(x), p(y))
	default:
		power34Generic(x, y)
	}
}

func lrnRatios(pow, x, scale, dy, dx, r []float32) {
	switch isa(current.Load()) {
	case avx512:
		lrnRatiosAVX512(len(pow), p(pow), p(x), p(scale), p(dy), p(dx), p(r))
	case avx2:
		lrnRatiosAVX2(len(pow), p(pow), p(x), p(scale), p(dy), p(dx), p(r))
	default:
		lrnRatiosGeneric(pow, x, scale, dy, dx, r)
	}
}

func subtractProduct(alpha *LaneVector, x, r, dx []float32) {
	switch isa(current.Load()) {
	case avx512:
		subtractProductAVX512(len(x), &alpha[0], p(x), p(r), p(dx))
	case avx2:
		subtractProductAVX2(len(x), &alpha[0], p(x), p(r), p(dx))
	default:
		subtractProductGeneric(alpha, x, r, dx)
	}
}
