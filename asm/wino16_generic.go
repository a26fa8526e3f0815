package asm

// winoTileGeneric is the portable product of blocks of terms; element (i, p) of
// A is a[i·rs + p·cs].
func winoTileGeneric(mr, kc, block int, a []float32, rs, cs int, b, c []float32, ldc int, acc bool) {
	for i := range mr {
		to := (*[WinoLanes]float32)(c[i*ldc:])
		if !acc {
			*to = [WinoLanes]float32{}
		}
		for p0 := 0; p0 < kc; p0 += block {
			var s [WinoLanes]float32
			for p := p0; p < min(p0+block, kc); p++ {
				multiplyAdd(a[i*rs+p*cs], (*[WinoLanes]float32)(b[p*WinoLanes:]), &s)
			}
			for j, v := range s {
				to[j] += v
			}
		}
	}
}

// winoBlock is how many terms Rows adds up by themselves.
const winoBlock = 32

// winoExpand computes m·d·mᵀ of n tiles of in×in vectors.
func winoExpand(m *[6][6]float32, in, n int, src []float32, off, ldr, ldc, next int, dst []float32, ldt, ldp int) {
	var half [6][6][WinoLanes]float32 // rows transformed
	for t := range n {
		half = [6][6][WinoLanes]float32{}
		for r := range in {
			for c := range in {
				x := (*[WinoLanes]float32)(src[off+t*next+r*ldr+c*ldc:])
				for i := range 6 {
					if m[i][r] != 0 {
						multiplyAdd(m[i][r], x, &half[i][c])
					}
				}
			}
		}
		for i := range 6 {
			for j := range 6 {
				y := (*[WinoLanes]float32)(dst[(6*i+j)*ldp+t*ldt:])
				*y = [WinoLanes]float32{}
				for c := range in {
					if m[j][c] != 0 {
						multiplyAdd(m[j][c], &half[i][c], y)
					}
				}
			}
		}
	}
}

// winoReduce computes mᵀ·u·m, out×out vectors, of n transformed tiles.
func winoReduce(m *[6][6]float32, out, n int, src []float32, ldt, ldp int, bias *[WinoLanes]float32, dst []float32, ldr, next int) {
	var half [4][6][WinoLanes]float32
	for t := range n {
		half = [4][6][WinoLanes]float32{}
		for r := range 6 {
			for c := range 6 {
				x := (*[WinoLanes]float32)(src[(6*r+c)*ldp+t*ldt:])
				for i := range out {
					if m[r][i] != 0 {
						multiplyAdd(m[r][i], x, &half[i][c])
					}
				}
			}
		}
		for i := range out {
			for j := range out {
				y := (*[WinoLanes]float32)(dst[t*next+i*ldr+j*WinoLanes:])
				*y = [WinoLanes]float32{}
				for c := range 6 {
					if m[c][j] != 0 {
						multiplyAdd(m[c][j], &half[i][c], y)
					}
				}
				if bias != nil {
					multiplyAdd(1, bias, y)
				}
			}
		}
	}
}

// multiplyAdd adds c·x to y.
func multiplyAdd(c float32, x, y *[WinoLanes]float32) {
	for l, v := range x {
		y[l] += c * v
	}
}
