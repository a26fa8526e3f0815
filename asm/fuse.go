package asm

import "crema/internal/race"

const (
	// MaxOuterRank is the largest rank of a gradient that SGDOuter takes.
	MaxOuterRank = 16
	// OuterRows is the largest number of rows that SGDOuter takes.
	OuterRows = 4
	outerUnit = 32 // columns of a vector kernel's turn, or a multiple
	// outerChunk bounds the columns that are given to assembly at a time.
	outerChunk = 1 << 12
)

// SGDOuter makes a step of SGDUpdate of a matrix of rows ≤ OuterRows rows, n
// wide, without its gradient ever being in memory: in element (i, j) it is
//
//	Σ a[p·rows+i]·x[p·ldx+j]  over p < m ≤ MaxOuterRank, in ascending order
//
// summed as the SGEMM kernels do, so that w and h have the bits that a matrix
// product and SGDUpdate would give. Rows of w and of h are ldw apart.
func SGDOuter(lr, decay, momentum float32, m, rows, n int, a, x []float32, ldx int, h, w []float32, ldw int) {
	if m < 1 || m > MaxOuterRank || rows < 1 || rows > OuterRows || n < 0 || ldx < n || ldw < n ||
		len(a) < m*rows || len(x) < (m-1)*ldx+n || len(h) < (rows-1)*ldw+n || len(w) < (rows-1)*ldw+n {
		panic("asm: slice too short")
	}
	if race.Enabled {
		race.Read(a[:m*rows])
		for p := range m {
			race.Read(x[p*ldx : p*ldx+n])
		}
		for i := range rows {
			race.Write(h[i*ldw : i*ldw+n])
			race.Write(w[i*ldw : i*ldw+n])
		}
	}
	u := outerStep{lr, decay, momentum, m, rows}
	whole := n &^ (outerUnit - 1)
	for j := 0; j < whole; j += outerChunk {
		sgdOuter(&u, min(outerChunk, whole-j), a, x[j:], ldx, h[j:], w[j:], ldw)
	}
	if whole < n {
		u.edge(n-whole, a, x[whole:], ldx, h[whole:], w[whole:], ldw)
	}
}

// outerStep holds the scalars of SGDOuter.
type outerStep struct {
	lr, decay, momentum float32
	m, rows             int
}

// edge makes the step of n < outerUnit columns in a copy that is outerUnit wide.
func (u *outerStep) edge(n int, a, x []float32, ldx int, h, w []float32, ldw int) {
	var xs [MaxOuterRank * outerUnit]float32
	var hs, ws [OuterRows * outerUnit]float32
	for p := range u.m {
		copy(xs[p*outerUnit:], x[p*ldx:][:n])
	}
	for i := range u.rows {
		copy(hs[i*outerUnit:], h[i*ldw:][:n])
		copy(ws[i*outerUnit:], w[i*ldw:][:n])
	}
	sgdOuter(u, outerUnit, a, xs[:], outerUnit, hs[:], ws[:], outerUnit)
	for i := range u.rows {
		copy(h[i*ldw:][:n], hs[i*outerUnit:])
		copy(w[i*ldw:][:n], ws[i*outerUnit:])
	}
}

func sgdOuterGeneric(u *outerStep, n int, a, x []float32, ldx int, h, w []float32, ldw int) {
	var g [outerUnit]float32
	for i := range u.rows {
		for j := 0; j < n; j += outerUnit {
			clear(g[:])
			for p := range u.m {
				f, row := a[p*u.rows+i], (*[outerUnit]float32)(x[p*ldx+j:])
				for q, v := range row {
					g[q] += f * v
				}
			}
			at := i*ldw + j
			sgdGeneric(u.lr, u.decay, u.momentum, g[:], h[at:at+outerUnit], w[at:at+outerUnit])
		}
	}
}
