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
	Low int // lowest tile of TileRows; 0: it does not exist
	isa isa
}

// kernels is the table of micro-kernels by instruction set.
//
// The AVX-512 tile takes 28 accumulators, two vectors of B and two of A
// broadcast in turn: all 32 registers. 14 + 2 loads feed 28 FMAs. The AVX2
// tile takes 12 + 2 + 2 of 16.
var kernels = [numISA]Kernel{
	generic: {Name: "sgemm2x4Generic", MR: genericMR, NR: genericNR, KC: 256, isa: generic},
	avx2:    {Name: "sgemm6x16AVX2", MR: 6, NR: 16, KC: 576, Low: lowAVX2, isa: avx2},
	avx512:  {Name: "sgemm14x32AVX512", MR: 14, NR: 32, KC: 576, Low: lowAVX512, isa: avx512},
}

// The lowest tiles whose kernels read the rows of A where they lie.
const (
	lowAVX512 = 4
	lowAVX2   = 2
)

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

// TileRows is Tile with a not packed: mr rows of kc elements, lda apart. mr is at
// least Low. Meanwhile as many rows are fetched from next on, which may be
// shorter. It panics as Tile does.
func (k *Kernel) TileRows(mr, nr, kc int, alpha float32, a, next []float32, lda int, b, c []float32, ldc int, accumulate bool) {
	if k.Low == 0 || mr < k.Low || mr > k.MR || uint(nr-1) >= uint(k.NR) || kc <= 0 {
		panic("asm: tile size out of range")
	}
	if lda < 0 || len(a) < (mr-1)*lda+kc || len(b) < kc*k.NR || ldc < nr || len(c) < (mr-1)*ldc+nr {
		panic("asm: slice too short for tile")
	}
	if race.Enabled {
		race.Read(b[:kc*k.NR])
		for i := range mr {
			race.Read(a[i*lda : i*lda+kc])
			race.Write(c[i*ldc : i*ldc+nr])
		}
	}
	k.tileRows(mr, nr, kc, alpha, a, next, lda, b, c, ldc, accumulate)
}

// TilePackA packs the panel ap, mr×kc, of A from its transpose a (kc rows, lda
// apart) and computes Tile of mr×NR with it, which the vector kernels do
// at once. It panics as Tile does.
func (k *Kernel) TilePackA(mr, kc int, alpha float32, a []float32, lda int, ap, b, c []float32, ldc int, accumulate bool) {
	if uint(mr-1) >= uint(k.MR) || kc <= 0 {
		panic("asm: tile size out of range")
	}
	if lda < 0 || len(a) < (kc-1)*lda+mr || len(ap) < mr*kc || len(b) < kc*k.NR || ldc < k.NR || len(c) < (mr-1)*ldc+k.NR {
		panic("asm: slice too short for tile")
	}
	if race.Enabled {
		for p := range kc {
			race.Read(a[p*lda : p*lda+mr])
		}
		race.Write(ap[:mr*kc])
		race.Read(b[:kc*k.NR])
		for i := range mr {
			race.Write(c[i*ldc : i*ldc+k.NR])
		}
	}
	if !k.tilePackA(mr, kc, alpha, a, lda, ap, b, c, ldc, accumulate) {
		packRows(kc, mr, 0, mr, a, 0, lda, ap, mr)
		k.tile(mr, k.NR, kc, alpha, ap, b, c, ldc, accumulate)
	}
}

// TilePackB packs the panel bp of B from b (kc rows, ldb apart) and computes
// Tile of mr×NR with it, which the vector kernels do at once. It panics as Tile
// does.
func (k *Kernel) TilePackB(mr, kc int, alpha float32, a, b []float32, ldb int, bp, c []float32, ldc int, accumulate bool) {
	if uint(mr-1) >= uint(k.MR) || kc <= 0 {
		panic("asm: tile size out of range")
	}
	if len(a) < mr*kc || ldb < 0 || len(b) < (kc-1)*ldb+k.NR || len(bp) < kc*k.NR || ldc < k.NR || len(c) < (mr-1)*ldc+k.NR {
		panic("asm: slice too short for tile")
	}
	if race.Enabled {
		race.Read(a[:mr*kc])
		for p := range kc {
			race.Read(b[p*ldb : p*ldb+k.NR])
		}
		race.Write(bp[:kc*k.NR])
		for i := range mr {
			race.Write(c[i*ldc : i*ldc+k.NR])
		}
	}
	if !k.tilePackB(mr, kc, alpha, a, b, ldb, bp, c, ldc, accumulate) {
		packRows(kc, k.NR, 0, k.NR, b, 0, ldb, bp, k.NR)
		k.tile(mr, k.NR, kc, alpha, a, bp, c, ldc, accumulate)
	}
}
