package asm

// winoRowsGeneric is the portable Rows. It adds up groups of terms by themselves:
// having no fused multiply-adds, it rounds more often than the other kernels.
func winoRowsGeneric(rows, groups int, a []float32, lda int, b, c []float32, ldc int, acc bool) {
	for i := range rows {
		to := (*[WinoLanes]float32)(c[i*ldc:])
		if !acc {
			*to = [WinoLanes]float32{}
		}
		for g := range groups {
			var s [WinoLanes]float32
			for p, v := range a[g*lda+i*WinoLanes:][:WinoLanes] {
				multiplyAdd(v, (*[WinoLanes]float32)(b[(g*WinoLanes+p)*WinoLanes:]), &s)
			}
			for j, v := range s {
				to[j] += v
			}
		}
	}
}

// winoColsGeneric is the portable Cols.
func winoColsGeneric(rows, kc int, a, b, c []float32, ldc int, acc bool) {
	for i := range rows {
		to := (*[WinoLanes]float32)(c[i*ldc:])
		var s [WinoLanes]float32
		for p := range kc {
			multiplyAdd(a[p*WinoLanes+i], (*[WinoLanes]float32)(b[p*WinoLanes:]), &s)
		}
		for j, v := range s {
			if acc {
				v += to[j]
			}
			to[j] = v
		}
	}
}

// The transforms round once, at the end: the other kernels have fused
// multiply-adds, and errors here are magnified.

// winoExpand computes m·d·mᵀ of n tiles of in×in vectors.
func winoExpand(m *[6][6]float32, in, n int, src []float32, off, ldr, ldc, next int, dst []float32, ldt, ldp int) {
	var half [6][6][WinoLanes]float64 // rows transformed
	for t := range n {
		half = [6][6][WinoLanes]float64{}
		for r := range in {
			for c := range in {
				x := (*[WinoLanes]float32)(src[off+t*next+r*ldr+c*ldc:])
				for i := range 6 {
					if m[i][r] != 0 {
						multiplyAddWide(m[i][r], x, &half[i][c])
					}
				}
			}
		}
		for i := range 6 {
			for j := range 6 {
				var y [WinoLanes]float64
				for c := range in {
					if m[j][c] != 0 {
						multiplyAddWide(m[j][c], &half[i][c], &y)
					}
				}
				round(&y, (*[WinoLanes]float32)(dst[(6*i+j)*ldp+t*ldt:]))
			}
		}
	}
}

// winoReduce computes mᵀ·u·m, out×out vectors, of n transformed tiles, adds
// bias unless it is nil, and raises what is less than low to it.
func winoReduce(m *[6][6]float32, out, n int, src []float32, ldt, ldp int, bias *[WinoLanes]float32, low float32, dst []float32, ldr, next int) {
	var half [4][6][WinoLanes]float64
	for t := range n {
		half = [4][6][WinoLanes]float64{}
		for r := range 6 {
			for c := range 6 {
				x := (*[WinoLanes]float32)(src[(6*r+c)*ldp+t*ldt:])
				for i := range out {
					if m[r][i] != 0 {
						multiplyAddWide(m[r][i], x, &half[i][c])
					}
				}
			}
		}
		for i := range out {
			for j := range out {
				var y [WinoLanes]float64
				for c := range 6 {
					if m[c][j] != 0 {
						multiplyAddWide(m[c][j], &half[i][c], &y)
					}
				}
				if bias != nil {
					multiplyAddWide(1, bias, &y)
				}
				to := (*[WinoLanes]float32)(dst[t*next+i*ldr+j*WinoLanes:])
				round(&y, to)
				for l, v := range to {
					if v < low {
						to[l] = low
					}
				}
			}
		}
	}
}

// winoSumsGeneric adds up n vectors.
func winoSumsGeneric(n int, src []float32, dst *[WinoLanes]float32) {
	var s [WinoLanes]float64
	for i := range n {
		multiplyAddWide(1, (*[WinoLanes]float32)(src[i*WinoLanes:]), &s)
	}
	round(&s, dst)
}

// multiplyAdd adds c·x to y.
func multiplyAdd(c float32, x, y *[WinoLanes]float32) {
	for l, v := range x {
		y[l] += c * v
	}
}

// multiplyAddWide adds c·x to y.
func multiplyAddWide[T float32 | float64](c float32, x *[WinoLanes]T, y *[WinoLanes]float64) {
	for l, v := range x {
		y[l] += float64(c) * float64(v)
	}
}

func round(x *[WinoLanes]float64, y *[WinoLanes]float32) {
	for l, v := range x {
		y[l] = float32(v)
	}
}
