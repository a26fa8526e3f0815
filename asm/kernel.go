package asm

import (
	"crema/internal/race"
)

// A Kernel is an SGEMM micro-kernel; see the package documentation for the
// contract.
type Kernel struct {
	Name   string // op, tile and instruction set
	MR, NR int    // tallest tile; width of a panel of B
	// KC is the depth at which sums are cut: a longer product is the sum of
	// products of at most KC terms, added to C one after the other.
	KC  int
	isa isa
}

// kernels is the table of micro-kernels by instruction set.
//
// The AVX-512 tile takes 28 accumulators, two vectors of B and two of A
// broadcast in turn: all 32 registers. 14 + 2 loads feed 28 FMAs. The AVX2
// tile takes 12 + 2 + 2 of 16.
var kernels = [numISA]Kernel{
	generic: {Name: "sgemm2x4Generic", MR: genericMR, NR: genericNR, KC: 256, isa: generic},
	avx2:    {Name: "sgemm6x16AVX2", MR: 6, NR: 16, KC: 384, isa: avx2},
	avx512:  {Name: "sgemm14x32AVX512", MR: 14, NR: 32, KC: 384, isa: avx512},
}

// MaxNR is the widest panel of any kernel.
const MaxNR = 32

// Sgemm returns the micro-kernel of the instruction set in use.
func Sgemm() *Kernel { return &kernels[current.Load()] }

// Tile computes the mr×nr tile c (rows ldc apart) of the product of the panels
// a (mr×kc, column after column) and b (kc×NR, row after row):
// c = alpha·a·b + c if accumulate, else c = alpha·a·b, without reading c. It
// panics if mr or nr are not in 1..MR, 1..NR or a slice is too short.
func (k *Kernel) Tile(mr, nr, kc int, alpha float32, a, b, c []float32, ldc int, accumulate bool) {
	if uint(mr-1) >= uint(k.MR) || uint(nr-1) >= uint(k.NR) || kc < 0 {
		panic("asm: tile size out of range")
	}
	if len(a) < mr*kc || len(b) < kc*k.NR || ldc < nr || len(c) < (mr-1)*ldc+nr {
		panic("asm: slice too short for tile")
	}
	if race.Enabled {
		race.Read(a[:mr*kc])
		race.Read(b[:kc*k.NR])
		for i := range mr {
			race.Write(c[i*ldc : i*ldc+nr])
		}
	}
	k.tile(mr, nr, kc, alpha, a, b, c, ldc, accumulate)
}
