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

// winoPixelsGeneric is the portable Input and Gradient.
func winoPixelsGeneric(m *[6][6]float32, edge, n int, x *WinoPixels, dst []float32, ldt, ldp int, sums *[WinoLanes]float32) {
	var total [WinoLanes]float64
	winoExpand(m, edge, n, func(t, r, c int) *[WinoLanes]float32 {
		if r < x.Top || r >= edge-x.Bottom || x.inside(t, n, edge)>>c&1 == 0 {
			return nil
		}
		src := (*[WinoLanes]float32)(x.Data[(r-x.Top)*x.LD+(4*t+c-x.Left)*WinoLanes:])
		multiplyAddWide(1, src, &total)
		return src
	}, dst, ldt, ldp)
	if sums != nil {
		for l, v := range total {
			sums[l] += float32(v)
		}
	}
}

// winoFilterGeneric is the portable Filter.
func winoFilterGeneric(n int, src []float32, off, ldc, next int, dst []float32, ldt, ldp int) {
	winoExpand(&winoG, 3, n, func(t, r, c int) *[WinoLanes]float32 {
		return (*[WinoLanes]float32)(src[off+t*next+(3*r+c)*ldc:])
	}, dst, ldt, ldp)
}

// winoExpand computes m·d·mᵀ of n tiles of in×in vectors; nil is one of zeros.
func winoExpand(m *[6][6]float32, in, n int, at func(t, r, c int) *[WinoLanes]float32, dst []float32, ldt, ldp int) {
	var half [6][6][WinoLanes]float64 // rows transformed
	for t := range n {
		half = [6][6][WinoLanes]float64{}
		for r := range in {
			for c := range in {
				x := at(t, r, c)
				if x == nil {
					continue
				}
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

// winoOutputGeneric is the portable Output.
func winoOutputGeneric(n int, src []float32, ldt, ldp int, bias *[WinoLanes]float32, low float32, y *WinoPixels) {
	winoReduce(&winoA, 4, n, src, ldt, ldp, func(t, r, c int, x [WinoLanes]float64) {
		if r >= 4-y.Bottom || 4*t+c >= 4*n-y.Right {
			return
		}
		multiplyAddWide(1, bias, &x)
		to := (*[WinoLanes]float32)(y.Data[r*y.LD+(4*t+c)*WinoLanes:])
		round(&x, to)
		for l, v := range to {
			if v < low {
				to[l] = low
			}
		}
	})
}

// winoWeightsGeneric is the portable Weights.
func winoWeightsGeneric(n int, src []float32, ldt, ldp int, dst []float32) {
	winoReduce(&winoG, 3, n, src, ldt, ldp, func(t, r, c int, x [WinoLanes]float64) {
		round(&x, (*[WinoLanes]float32)(dst[(9*t+3*r+c)*WinoLanes:]))
	})
}

// winoReduce computes mᵀ·u·m, out×out vectors, of n transformed tiles.
func winoReduce(m *[6][6]float32, out, n int, src []float32, ldt, ldp int, put func(t, r, c int, x [WinoLanes]float64)) {
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
				put(t, i, j, y)
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
