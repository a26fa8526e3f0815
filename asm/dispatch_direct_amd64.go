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

func (k *DirectKernel) lanes(r *DirectRow, blocks int, x []float32, off []int, w, y []float32, ldy int) {
	switch {
	case k.isa == avx512 && blocks == 2:
		directLanes2AVX512(r.N, len(off), p(x), &off[0], p(w), p(r.Bias), r.Floor, p(y), ldy, r.Stream)
	case k.isa == avx512:
		directLanes1AVX512(r.N, len(off), p(x), &off[0], p(w), p(r.Bias), r.Floor, p(y), ldy, r.Stream)
	case k.isa == avx2:
		directLanes1AVX2(r.N, len(off), p(x), &off[0], p(w), p(r.Bias), r.Floor, p(y), ldy, r.Stream)
	default:
		k.lanesGeneric(r, blocks, x, off, w, y, ldy)
	}
}

func (k *DirectKernel) weightsPixels(r *DirectRows, dy, x []float32, off []int, dw []float32) {
	a, b := r.ahead(dy)
	switch k.isa {
	case avx512:
		switch len(off) {
		case 6:
			directWeightsPixels6AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 5:
			directWeightsPixels5AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 4:
			directWeightsPixels4AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 3:
			directWeightsPixels3AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 2:
			directWeightsPixels2AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 1:
			directWeightsPixels1AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		}
	case avx2:
		switch len(off) {
		case 3:
			directWeightsPixels3AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 2:
			directWeightsPixels2AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 1:
			directWeightsPixels1AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		}
	default:
		k.weightsPixelsGeneric(r, dy, x, off, dw)
	}
}

func (k *DirectKernel) weightsLanes(r *DirectRows, dy, x []float32, off []int, dw []float32) {
	a, b := r.ahead(dy)
	switch k.isa {
	case avx512:
		switch len(off) {
		case 6:
			directWeightsLanes6AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 5:
			directWeightsLanes5AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 4:
			directWeightsLanes4AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 3:
			directWeightsLanes3AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 2:
			directWeightsLanes2AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 1:
			directWeightsLanes1AVX512(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		}
	case avx2:
		switch len(off) {
		case 3:
			directWeightsLanes3AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 2:
			directWeightsLanes2AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		case 1:
			directWeightsLanes1AVX2(r.Rows, r.N, p(dy), &r.From[0], r.LdY, p(x), &off[0], r.LdX, a, b, p(dw), r.LdW, r.Add)
		}
	default:
		k.weightsLanesGeneric(r, dy, x, off, dw)
	}
}

// ahead is what the kernels fetch: r.Ahead, or what they read anyway.
func (r *DirectRows) ahead(dy []float32) (a, b *float32) {
	a, b = p(dy), p(dy)
	if len(r.Ahead[0]) > 0 {
		a = p(r.Ahead[0])
	}
	if len(r.Ahead[1]) > 0 {
		b = p(r.Ahead[1])
	}
	return a, b
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
