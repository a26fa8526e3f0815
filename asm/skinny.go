package asm

import "crema/internal/race"

// MaxDotRows is the largest number of rows of X that DotRows takes.
const MaxDotRows = 6

const (
	dotLine = 16 // columns that lie side by side in DotRows' x
	// dotAhead and rankAhead are how many elements of a row its prefetches
	// run ahead: what is multiplied meanwhile takes longer than the memory's
	// latency.
	dotAhead  = 1024
	rankAhead = 512
)

// DotRows multiplies m ≤ MaxDotRows rows of X with four rows of W, k long:
//
//	out[4·i+j] = Σ x[p/16·step+16·i+p%16]·w[j·ldw+p]
//
// So X is stored in blocks of 16 columns, the rows of a block one after the
// other, blocks step ≥ 16·m elements apart; the last one too must be whole,
// though only k columns are used.
//
// It reads W once, from memory if it must, and X from cache. The vector kernels
// ask for the four rows of next, as far apart and as long as those of w, to be
// fetched meanwhile; they are not read and may end before, but next must not be
// empty if k is not 0. The order of the sums depends on the instruction set and k
// alone.
func DotRows(m, k int, x []float32, step int, w []float32, ldw int, next []float32, out *[4 * MaxDotRows]float32) {
	if m < 1 || m > MaxDotRows || k < 0 || step < dotLine*m || ldw < k || len(w) < 3*ldw+k {
		panic("asm: slice too short")
	}
	if k > 0 && len(x) < (k-1)/dotLine*step+dotLine*m {
		panic("asm: slice too short")
	}
	if race.Enabled {
		for p := 0; p < k; p += dotLine {
			race.Read(x[p/dotLine*step:][:dotLine*m])
		}
		for j := range 4 {
			race.Read(w[j*ldw : j*ldw+k])
		}
		race.Write(out[:4*m])
	}
	whole := k &^ (dotLine - 1)
	dotRows(m, whole, x, step, w, ldw, next, out)
	if whole < k {
		block := x[whole/dotLine*step:]
		for i := range m {
			for j := range 4 {
				xs, ws := block[dotLine*i:][:k-whole], w[j*ldw+whole:][:k-whole]
				s := out[4*i+j]
				for p, v := range xs {
					s += float32(v * ws[p])
				}
				out[4*i+j] = s
			}
		}
	}
}

const (
	rankUnit = 16 // columns of a vector kernel's turn
	// rankChunk bounds the columns that are given to assembly at a time.
	rankChunk = 1 << 12
)

// below returns what follows the chunk of a row that begins at column j: the next
// chunk, or after the last the rows of the next call, as far as they are in b.
func below(b []float32, next, j, n int) []float32 {
	if j += rankChunk; j < n {
		return b[j:]
	}
	return b[min(next, len(b)-1):]
}

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
	whole := n &^ (rankUnit - 1)
	done := 0
	for done < whole && rank8(m, min(rankChunk, whole-done), a, b[done:], ldb, below(b, 8*ldb, done, whole), c[done:], ldc) {
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
	whole := n &^ (rankUnit - 1)
	for j := 0; j < whole; j += rankChunk {
		rank4(m, min(rankChunk, whole-j), a, b[j:], ldb, below(b, 4*ldb, j, whole), c[j:], ldc)
	}
	if whole < n {
		rank4Generic(m, n-whole, a, b[whole:], ldb, c[whole:], ldc)
	}
}
