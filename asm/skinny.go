package asm

import "crema/internal/race"

// MaxDotRows is the largest number of rows of X that DotRows takes.
const MaxDotRows = 6

// DotRows multiplies m ≤ MaxDotRows rows of X with four rows of W, k long:
//
//	out[4·i+j] = Σ x[i·ldx+p]·w[j·ldw+p]
//
// It reads W once, from memory if it must, and X from cache. The vector kernels
// ask for the four rows of next, of the same size and distance, to be fetched
// meanwhile; they are not read and may end before, but next must not be empty if
// k is not 0. The order of the sums depends on the instruction set and k alone.
func DotRows(m, k int, x []float32, ldx int, w []float32, ldw int, next []float32, out *[4 * MaxDotRows]float32) {
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
	dotRows(m, whole, x, ldx, w, ldw, next, out)
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

// rankChunk bounds the columns that are given to assembly at a time.
const rankChunk = 1 << 12

// RankDepth returns the number of rows of b that are best added at a time: 8,
// with Rank8, where there is a kernel for it, otherwise 4.
func RankDepth() int {
	if ISA() == isaNames[avx512] {
		return 8
	}
	return 4
}

// Rank8 is Rank4 for a of m×8 and eight rows of b, in half the traffic of c.
func Rank8(m, n int, a, b []float32, ldb int, c []float32, ldc int) {
	if m <= 0 || n <= 0 {
		return
	}
	if ldb < n || ldc < n || len(a) < 8*m || len(b) < 7*ldb+n || len(c) < (m-1)*ldc+n {
		panic("asm: slice too short")
	}
	if race.Enabled {
		race.Read(a[:8*m])
		for p := range 8 {
			race.Read(b[p*ldb : p*ldb+n])
		}
		for i := range m {
			race.Write(c[i*ldc : i*ldc+n])
		}
	}
	whole := n &^ 31
	done := 0
	for done < whole && rank8(m, min(rankChunk, whole-done), a, b[done:], ldb, c[done:], ldc) {
		done += min(rankChunk, whole-done)
	}
	if done == n {
		return
	}
	b, c, n = b[done:], c[done:], n-done
	for i := range m {
		Rank4(1, n, a[8*i:], b, ldb, c[i*ldc:], ldc)
		Rank4(1, n, a[8*i+4:], b[4*ldb:], ldb, c[i*ldc:], ldc)
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
	for j := 0; j < whole; j += rankChunk {
		rank4(m, min(rankChunk, whole-j), a, b[j:], ldb, c[j:], ldc)
	}
	if whole < n {
		rank4Generic(m, n-whole, a, b[whole:], ldb, c[whole:], ldc)
	}
}
