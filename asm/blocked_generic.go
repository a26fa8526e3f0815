package asm

func (k *BlockedKernel) rowGeneric(r *BlockedRow, groups int, x []float32, off []int, w, y []float32) {
	for g := range groups {
		for i := range r.N {
			to := y[g*r.LdG+i*r.LdY:][:WinoLanes]
			var s [WinoLanes]float32
			if r.Add {
				copy(s[:], to)
			} else {
				copy(s[:], r.Bias[g*WinoLanes:])
			}
			for t, o := range off {
				for c, v := range x[o+i*r.LdX:][:WinoLanes] {
					multiplyAdd(v, (*[WinoLanes]float32)(w[((t*WinoLanes+c)*groups+g)*WinoLanes:]), &s)
				}
			}
			for l, v := range s {
				to[l] = atLeast(v, r.Floor)
			}
		}
	}
}

func (k *BlockedKernel) weightsGeneric(r *BlockedRows, groups int, dy, x, dw []float32) {
	for g := range groups {
		var s [WinoLanes][WinoLanes]float32
		for j := range r.Rows {
			for i := range r.N {
				d := (*[WinoLanes]float32)(dy[g*r.LdG+j*r.LdR+i*WinoLanes:])
				for c, v := range x[j*r.LdQ+i*r.LdX:][:WinoLanes] {
					multiplyAdd(v, d, &s[c])
				}
			}
		}
		for c := range s {
			to := dw[(c*groups+g)*WinoLanes:][:WinoLanes]
			for l, v := range s[c] {
				if r.Add {
					v += to[l]
				}
				to[l] = v
			}
		}
	}
}
