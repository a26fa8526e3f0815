//go:build !noasm

package asm

// As in dispatch_amd64.go, kernels are called by name.

func (k *BlockedKernel) row(r *BlockedRow, groups int, x []float32, off []int, w, y []float32) {
	if k.isa == generic {
		k.rowGeneric(r, groups, x, off, w, y)
		return
	}
	bias := w // not read
	if !r.Add {
		bias = r.Bias
	}
	whole, height, rest := tiles(r.N, k.Pixels)
	k.tile(height, whole, r, groups, x, off, w, bias, y)
	if rest > 0 {
		done := whole * height
		k.tile(rest, 1, r, groups, x[done*r.LdX:], off, w, bias, y[done*r.LdY:])
	}
}

func (k *BlockedKernel) tile(height, tiles int, r *BlockedRow, groups int, x []float32, off []int, w, bias, y []float32) {
	switch {
	case k.isa == avx2:
		blockedTileAVX2(height, tiles, len(off), p(x), &off[0], r.LdX, p(w), p(bias), r.Floor, p(y), r.LdY, r.LdG, r.Add)
	case groups == 2:
		blockedTile2AVX512(height, tiles, len(off), p(x), &off[0], r.LdX, p(w), p(bias), r.Floor, p(y), r.LdY, r.LdG, r.Add)
	default:
		blockedTile1AVX512(height, tiles, len(off), p(x), &off[0], r.LdX, p(w), p(bias), r.Floor, p(y), r.LdY, r.LdG, r.Add)
	}
}

func (k *BlockedKernel) weights(r *BlockedRows, groups int, dy, x, dw []float32) {
	ldw := groups * WinoLanes
	switch {
	case k.isa == generic:
		k.weightsGeneric(r, groups, dy, x, dw)
	case k.isa == avx2:
		blockedWeights4x16AVX2(r.Rows, r.N, p(dy), r.LdR, r.LdG, p(x), r.LdQ, r.LdX, p(dw), ldw, r.Add)
	case groups == 2:
		blockedWeights8x32AVX512(r.Rows, r.N, p(dy), r.LdR, r.LdG, p(x), r.LdQ, r.LdX, p(dw), ldw, r.Add)
	default:
		blockedWeights8x16AVX512(r.Rows, r.N, p(dy), r.LdR, r.LdG, p(x), r.LdQ, r.LdX, p(dw), ldw, r.Add)
	}
}

func blockedTile2AVX512(height, tiles, taps int, x *float32, off *int, ldx int, w, bias *float32, floor float32, y *float32, ldy, ldg int, acc bool) {
	switch height {
	case 14:
		blockedTile14x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 13:
		blockedTile13x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 12:
		blockedTile12x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 11:
		blockedTile11x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 10:
		blockedTile10x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 9:
		blockedTile9x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 8:
		blockedTile8x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 7:
		blockedTile7x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 6:
		blockedTile6x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 5:
		blockedTile5x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 4:
		blockedTile4x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 3:
		blockedTile3x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 2:
		blockedTile2x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 1:
		blockedTile1x32AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	}
}

func blockedTile1AVX512(height, tiles, taps int, x *float32, off *int, ldx int, w, bias *float32, floor float32, y *float32, ldy, ldg int, acc bool) {
	switch height {
	case 14:
		blockedTile14x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 13:
		blockedTile13x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 12:
		blockedTile12x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 11:
		blockedTile11x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 10:
		blockedTile10x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 9:
		blockedTile9x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 8:
		blockedTile8x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 7:
		blockedTile7x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 6:
		blockedTile6x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 5:
		blockedTile5x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 4:
		blockedTile4x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 3:
		blockedTile3x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 2:
		blockedTile2x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 1:
		blockedTile1x16AVX512(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	}
}

func blockedTileAVX2(height, tiles, taps int, x *float32, off *int, ldx int, w, bias *float32, floor float32, y *float32, ldy, ldg int, acc bool) {
	switch height {
	case 6:
		blockedTile6x16AVX2(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 5:
		blockedTile5x16AVX2(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 4:
		blockedTile4x16AVX2(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 3:
		blockedTile3x16AVX2(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 2:
		blockedTile2x16AVX2(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	case 1:
		blockedTile1x16AVX2(tiles, taps, x, off, ldx, w, bias, floor, y, ldy, ldg, acc)
	}
}
