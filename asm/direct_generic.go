package asm

// atLeast returns the larger of v and floor, or v if it is a NaN.
func atLeast(v, floor float32) float32 {
	if v < floor {
		return floor
	}
	return v
}

func (k *DirectKernel) pixelsGeneric(r *DirectRow, filters int, x []float32, off []int, w, y []float32, ldy int) {
	const tile = 16
	for i := 0; i < r.N; i += tile {
		n := min(tile, r.N-i)
		for f := range filters {
			var s [tile]float32
			for j := range s {
				s[j] = r.Bias[f]
			}
			for t, o := range off {
				multiplyAdd(w[t*k.Panel+f], (*[tile]float32)(x[o+i:]), &s)
			}
			row := y[f*ldy+i:][:n]
			for j := range row {
				row[j] = atLeast(s[j], r.Floor)
			}
		}
	}
}

func (k *DirectKernel) lanesGeneric(r *DirectBand, blocks int, x []float32, off []int, w, y []float32) {
	for b := range blocks {
		for j := range r.Rows {
			for i := range r.N {
				s := *(*[directLanes]float32)(r.Bias[b*directLanes:])
				for t, o := range off {
					multiplyAdd(x[o+j*r.LdX+i], (*[directLanes]float32)(w[(t*blocks+b)*directLanes:]), &s)
				}
				to := y[b*r.LdB+j*r.LdY+i*directLanes:][:directLanes]
				for l, v := range s {
					to[l] = atLeast(v, r.Floor)
				}
			}
		}
	}
}

func (k *DirectKernel) planeGeneric(r *DirectRow, rows int, x []float32, off []int, ldx int, w, y []float32, ldy int) {
	const tile = 16
	for j := range rows {
		for i := 0; i < r.N; i += tile {
			var s [tile]float32
			for q := range s {
				s[q] = r.Bias[0]
			}
			for t, o := range off {
				multiplyAdd(w[t], (*[tile]float32)(x[o+j*ldx+i:]), &s)
			}
			row := y[j*ldy+i:][:min(tile, r.N-i)]
			for q := range row {
				row[q] = atLeast(s[q], r.Floor)
			}
		}
	}
}

func (k *DirectKernel) weightsPixelsGeneric(r *DirectRows, dy, x []float32, off []int, dw []float32) {
	for f, from := range r.From {
		put := func(t int, s *[4]float32) {
			to := &dw[t*r.LdW+f]
			if !r.Add {
				*to = 0
			}
			*to += (s[0] + s[2]) + (s[1] + s[3])
		}
		for t, o := range off {
			var s [4]float32
			for j := range r.Rows {
				g, v := dy[from+j*r.LdY:][:r.N], x[o+j*r.LdX:][:r.N]
				for len(g) >= len(s) {
					for q := range s {
						s[q] += g[q] * v[q]
					}
					g, v = g[len(s):], v[len(s):]
				}
				for q := range g {
					s[q] += g[q] * v[q]
				}
			}
			put(t, &s)
		}
		if r.Bias {
			var s [4]float32
			for j := range r.Rows {
				for i, g := range dy[from+j*r.LdY:][:r.N] {
					s[i%len(s)] += g
				}
			}
			put(len(off), &s)
		}
	}
}

func (k *DirectKernel) weightsLanesGeneric(r *DirectRows, dy, x []float32, off []int, dw []float32) {
	taps := len(off)
	if r.Bias {
		taps++
	}
	for b, from := range r.From[:k.WeightBlocks] {
		var s [maxDirectTaps][directLanes]float32
		for j := range r.Rows {
			for i := range r.N {
				g := (*[directLanes]float32)(dy[from+j*r.LdY+i*directLanes:])
				for t, o := range off {
					multiplyAdd(x[o+j*r.LdX+i], g, &s[t])
				}
				if r.Bias {
					for l, v := range g {
						s[len(off)][l] += v
					}
				}
			}
		}
		for t := range taps {
			to := dw[t*r.LdW+b*directLanes:][:directLanes]
			if !r.Add {
				clear(to)
			}
			for l, v := range s[t] {
				to[l] += v
			}
		}
	}
}
