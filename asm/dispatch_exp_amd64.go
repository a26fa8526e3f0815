//go:build !noasm

package asm

func exp(x, y []float32) {
	switch isa(current.Load()) {
	case avx512:
		expAVX512(len(x), p(x), p(y))
	case avx2:
		expAVX2(len(x), p(x), p(y))
	default:
		expGeneric(x, y)
	}
}

func sigmoid(x, y []float32) {
	switch isa(current.Load()) {
	case avx512:
		sigmoidAVX512(len(x), p(x), p(y))
	case avx2:
		sigmoidAVX2(len(x), p(x), p(y))
	default:
		sigmoidGeneric(x, y)
	}
}

func tanh(x, y []float32) {
	switch isa(current.Load()) {
	case avx512:
		tanhAVX512(len(x), p(x), p(y))
	case avx2:
		tanhAVX2(len(x), p(x), p(y))
	default:
		tanhGeneric(x, y)
	}
}
