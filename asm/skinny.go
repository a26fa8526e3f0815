package asm

import "crema/internal/race"

// MaxDotRows is the largest number of rows of X that DotRows takes.
const MaxDotRows = 6

// DotRows multiplies m ≤ MaxDotRows rows of X with four rows of W, k long:
//
//	out[4·i+j] = Σ x[i·ldx+p]·w[j·ldw+p]
//
// It reads W once, from memory if it must, and X from cache. The order of the
// sums depends on the instruction set and k alone.
func DotRows(m, k int, x []float32, ldx int, w []float32, ldw int, out *[4 * MaxDotRows]float32) {
	if m < 1 || m > MaxDotRows || k < 0 || ldx < k || ldw < k || len(x) < (m-1)*ldx+k || len(w) < 3*ldw+k {
		panic("asm: slice too short")
	}
	if race.Enabled {
		for i := range m {
			race.Read(x[i*ldx : i*ldx+k])
		}
		for j := range 4 {
			race.Read(w[j*ldw : j*ldw+k])
		}
		race.Write(out[:4*m])
	}
	whole := k &^ 15 // a multiple of any vector
	dotRows(m, whole, x, ldx, w, ldw, out)
	if whole < k {
		for i := range m {
			for j := range 4 {
				xs, ws := x[i*ldx+whole:][:k-whole], w[j*ldw+whole:][:k-whole]
				s := out[4*i+j]
				for p, v := range xs {
					s += float32(v * ws[p])
				}
				out[4*i+j] = s
			}
		}
	}
}

// Rank4 adds the product of a, m×4 and dense, with four rows of b, n long, to
// c: c[i·ldc+j] += a[4·i+p]·b[p·ldb+j], for p from 0 to 3 in turn.
func Rank4(m, n int, a, b []float32, ldb int, c []float32, ldc int) {
	if m <= 0 || n <= 0 {
		return
	}
	if ldb < n || ldc < n || len(a) < 4*m || len(b) < 3*ldb+n || len(c) < (m-1)*ldc+n {
		panic("asm: slice too short")
	}
	if race.Enabled {
		race.Read(a[:4*m])
		for p := range 4 {
			race.Read(b[p*ldb : p*ldb+n])
		}
		for i := range m {
			race.Write(c[i*ldc : i*ldc+n])
		}
	}
	whole := n &^ 31
	if whole > 0 {
		rank4(m, whole, a, b, ldb, c, ldc)
	}
	if whole < n {
		rank4Generic(m, n-whole, a, b[whole:], ldb, c[whole:], ldc)
	}
}
