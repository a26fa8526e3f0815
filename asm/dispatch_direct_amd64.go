//go:build !noasm

package asm

// As in dispatch_amd64.go, kernels are called by name.

func (k *DirectKernel) pixels(r *DirectRow, filters int, x []float32, off []int, w, y []float32, ldy int) {
	switch k.isa {
	case avx512:
		directPixelsAVX512(r.N, filters, len(off), p(x), &off[0], p(w), p(r.Bias), r.Floor, p(y), ldy, r.Stream)
	case avx2:
		directPixelsAVX2(r.N, filters, len(off), p(x), &off[0], p(w), p(r.Bias), r.Floor, p(y), ldy, r.Stream)
	default:
		k.pixelsGeneric(r, filters, x, off, w, y, ldy)
	}
}

func (k *DirectKernel) lanes(r *DirectBand, blocks int, x []float32, off []int, w, y []float32) {
	switch {
	case k.isa == avx512 && blocks == 2:
		directLanes2AVX512(r.Rows, r.N, len(off), len(off)/k.slots, p(x), &off[0], r.LdX, p(w), p(r.Bias), r.Floor, p(y), r.LdY, r.LdB, p(r.Ahead[0]), lines(r.Ahead[0]), p(r.Ahead[1]), lines(r.Ahead[1]))
	case k.isa == avx512:
		directLanes1AVX512(r.Rows, r.N, len(off), len(off)/k.slots, p(x), &off[0], r.LdX, p(w), p(r.Bias), r.Floor, p(y), r.LdY, r.LdB, p(r.Ahead[0]), lines(r.Ahead[0]), p(r.Ahead[1]), lines(r.Ahead[1]))
	case k.isa == avx2:
		directLanes1AVX2(r.Rows, r.N, len(off), len(off)/k.slots, p(x), &off[0], r.LdX, p(w), p(r.Bias), r.Floor, p(y), r.LdY, r.LdB, p(r.Ahead[0]), lines(r.Ahead[0]), p(r.Ahead[1]), lines(r.Ahead[1]))
	default:
		k.lanesGeneric(r, blocks, x, off, w, y)
	}
}

// lines is how many cache lines hold x, if it begins with one.
func lines(x []float32) int { return (len(x) + 15) / 16 }

func (k *DirectKernel) weightsPixels(r *DirectRows, dy, x []float32, off []int, dw []float32) {
	a, b := r.Ahead[0], r.Ahead[1]
	switch k.isa {
	case avx512:
		switch {
		case r.Bias && len(off) == 5:
			directWeightsPixels5BiasAVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case r.Bias && len(off) == 4:
			directWeightsPixels4BiasAVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case r.Bias && len(off) == 3:
			directWeightsPixels3BiasAVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case r.Bias && len(off) == 2:
			directWeightsPixels2BiasAVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case r.Bias && len(off) == 1:
			directWeightsPixels1BiasAVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 6:
			directWeightsPixels6AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 5:
			directWeightsPixels5AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 4:
			directWeightsPixels4AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 3:
			directWeightsPixels3AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 2:
			directWeightsPixels2AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 1:
			directWeightsPixels1AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		}
	case avx2:
		switch {
		case r.Bias && len(off) == 2:
			directWeightsPixels2BiasAVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case r.Bias && len(off) == 1:
			directWeightsPixels1BiasAVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 3:
			directWeightsPixels3AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 2:
			directWeightsPixels2AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 1:
			directWeightsPixels1AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		}
	default:
		k.weightsPixelsGeneric(r, dy, x, off, dw)
	}
}

func (k *DirectKernel) weightsLanes(r *DirectRows, dy, x []float32, off []int, dw []float32) {
	a, b := r.Ahead[0], r.Ahead[1]
	switch k.isa {
	case avx512:
		switch {
		case r.Bias && len(off) == 5:
			directWeightsLanes5BiasAVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case r.Bias && len(off) == 4:
			directWeightsLanes4BiasAVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case r.Bias && len(off) == 3:
			directWeightsLanes3BiasAVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case r.Bias && len(off) == 2:
			directWeightsLanes2BiasAVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case r.Bias && len(off) == 1:
			directWeightsLanes1BiasAVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 6:
			directWeightsLanes6AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 5:
			directWeightsLanes5AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 4:
			directWeightsLanes4AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 3:
			directWeightsLanes3AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 2:
			directWeightsLanes2AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 1:
			directWeightsLanes1AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		}
	case avx2:
		switch {
		case r.Bias && len(off) == 2:
			directWeightsLanes2BiasAVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case r.Bias && len(off) == 1:
			directWeightsLanes1BiasAVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 3:
			directWeightsLanes3AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 2:
			directWeightsLanes2AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		case len(off) == 1:
			directWeightsLanes1AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, p(a), lines(a), p(b), lines(b), p(dw), r.LdW, r.Add)
		}
	default:
		k.weightsLanesGeneric(r, dy, x, off, dw)
	}
}

func (k *DirectKernel) plane(r *DirectRow, rows int, x []float32, off []int, ldx int, w, y []float32, ldy int) {
	switch k.isa {
	case avx512:
		directPlaneAVX512(rows, r.N, len(off), p(x), &off[0], ldx, p(w), r.Bias[0], r.Floor, p(y), ldy)
	case avx2:
		directPlaneAVX2(rows, r.N, len(off), p(x), &off[0], ldx, p(w), r.Bias[0], r.Floor, p(y), ldy)
	default:
		k.planeGeneric(r, rows, x, off, ldx, w, y, ldy)
	}
}
