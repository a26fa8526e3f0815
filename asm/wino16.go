package asm

import (
	"math"

	"crema/internal/race"
)

// Winograd convolution F(4×4,3×3) (Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2016): 4×4 pixels of output from 6×6 of
// input d and a filter g as
//
//	y = Aᵀ[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]A
//
// with 36 products instead of 144. The interpolation points are 0, ±a, ±b and
// infinity with a = 5/8, b = 3/2, whose errors are half of those of 0, ±1, ±2:
//
//	     a²b²   0   −a²−b²     0    1  0        1  0   0   0
//	      0    ab²     b²     −a   −1  0        1  a   a²  a³
//	Bᵀ =  0   −ab²     b²      a   −1  0    A = 1 −a   a² −a³
//	      0   −a²b   −a²       b    1  0        1  b   b²  b³
//	      0    a²b   −a²      −b    1  0        1 −b   b² −b³
//	      0    a²b²    0    −a²−b²  0  1        0  0   0   1
//
// and the rows of G are (1, 0, 0)/a²b², (1, ±a, a²)/2a²(b²−a²),
// (1, ±b, b²)/2b²(b²−a²) and (0, 0, 1). The gradient of the filter is
// Gᵀ[(A·dy·Aᵀ) ⊙ (Bᵀ·d·B)]G.
const (
	// WinoLanes is the number of channels a transform works on at once.
	WinoLanes = 16
	// WinoPoints is the number of elements of a transformed tile.
	WinoPoints = 36

	winoPA = 5. / 8
	winoPB = 3. / 2
	winoA2 = winoPA * winoPA
	winoB2 = winoPB * winoPB
	winoN0 = 1 / (winoA2 * winoB2)
	winoNA = 1 / (2 * winoA2 * (winoB2 - winoA2))
	winoNB = 1 / (2 * winoB2 * (winoB2 - winoA2))
)

// negInf is the bound of what is not bounded.
var negInf = float32(math.Inf(-1))

// The matrices, row after row; unused columns are zero.
var (
	winoBT = [6][6]float32{
		{winoA2 * winoB2, 0, -winoA2 - winoB2, 0, 1, 0},
		{0, winoPA * winoB2, winoB2, -winoPA, -1, 0},
		{0, -winoPA * winoB2, winoB2, winoPA, -1, 0},
		{0, -winoPB * winoA2, -winoA2, winoPB, 1, 0},
		{0, winoPB * winoA2, -winoA2, -winoPB, 1, 0},
		{0, winoA2 * winoB2, 0, -winoA2 - winoB2, 0, 1},
	}
	winoA = [6][6]float32{
		{1},
		{1, winoPA, winoA2, winoPA * winoA2},
		{1, -winoPA, winoA2, -winoPA * winoA2},
		{1, winoPB, winoB2, winoPB * winoB2},
		{1, -winoPB, winoB2, -winoPB * winoB2},
		{0, 0, 0, 1},
	}
	winoG = [6][6]float32{
		{winoN0},
		{winoNA, winoNA * winoPA, winoNA * winoA2},
		{winoNA, -winoNA * winoPA, winoNA * winoA2},
		{winoNB, winoNB * winoPB, winoNB * winoB2},
		{winoNB, -winoNB * winoPB, winoNB * winoB2},
		{0, 0, 1},
	}
)

// A WinoKernel is the set of kernels for Winograd convolutions of one
// instruction set: the products of the transformed tiles, and the transforms.
//
// A transformed tile is 36 vectors of 16 lanes, a lane for each channel:
// element (i, j) of tile t lies at (6i+j)·ldp + t·ldt.
type WinoKernel struct {
	Name   string
	MR, MC int // most rows of a block of Rows and of Cols
	NR     int // width of a tile, a multiple of 16
	isa    isa
}

var winoKernels = [numISA]WinoKernel{
	generic: {Name: "wino16Generic", MR: 4, MC: 4, NR: 16, isa: generic},
	avx2:    {Name: "wino16AVX2", MR: 6, MC: 6, NR: 16, isa: avx2},
	avx512:  {Name: "wino16AVX512", MR: 7, MC: 14, NR: 32, isa: avx512},
}

// Wino returns the kernels of the instruction set in use.
func Wino() *WinoKernel { return &winoKernels[current.Load()] }

const errWino = "asm: slice too short for a Winograd kernel"

// Rows adds (acc) or assigns to c, blocks·mr rows of NR, ldc apart, the product
// of as many rows of a and the panel b, 16·groups rows of NR. mr is from 1 to MR.
// a is in groups of 16 columns, lda apart, each with its rows one after the
// other. Every 32 terms are added up by themselves, because the transforms
// magnify errors. It panics if a slice is too short, as all kernels do.
//
// A goroutine cannot be interrupted meanwhile: blocks·groups should be some
// hundreds at most.
func (k *WinoKernel) Rows(blocks, mr, groups int, a []float32, lda int, b, c []float32, ldc int, acc bool) {
	if blocks <= 0 {
		return
	}
	rows := blocks * mr
	if uint(mr-1) >= uint(k.MR) || groups < 1 || lda < 0 || len(a) < (groups-1)*lda+rows*WinoLanes {
		panic(errWino)
	}
	if race.Enabled {
		for g := range groups {
			race.Read(a[g*lda:][:rows*WinoLanes])
		}
	}
	k.check(rows, groups*WinoLanes, b, c, ldc)
	k.rows(blocks, mr, groups, a, lda, b, c, ldc, acc)
}

// Cols adds (acc) or assigns to c, blocks·mr rows of NR, ldc apart, the product
// of the transpose of as many columns of a and the panel b, both kc rows of NR.
// mr is from 1 to MC, and the terms are added up one after the other.
func (k *WinoKernel) Cols(blocks, mr, kc int, a, b, c []float32, ldc int, acc bool) {
	if blocks <= 0 {
		return
	}
	rows := blocks * mr
	if uint(mr-1) >= uint(k.MC) || rows > k.NR || kc < 1 || len(a) < (kc-1)*k.NR+rows {
		panic(errWino)
	}
	if race.Enabled {
		for i := range kc {
			race.Read(a[i*k.NR:][:rows])
		}
	}
	k.check(rows, kc, b, c, ldc)
	k.cols(blocks, mr, kc, a, b, c, ldc, acc)
}

// check is what Rows and Cols have in common.
func (k *WinoKernel) check(rows, kc int, b, c []float32, ldc int) {
	if len(b) < kc*k.NR || ldc < k.NR || len(c) < (rows-1)*ldc+k.NR {
		panic(errWino)
	}
	if race.Enabled {
		race.Read(b[:kc*k.NR])
		for i := range rows {
			race.Write(c[i*ldc:][:k.NR])
		}
	}
}

// checkTiles panics unless n transformed tiles fit in s.
func checkTiles(n int, s []float32, ldt, ldp int) {
	if ldt < 0 || ldp < 0 || len(s) < (WinoPoints-1)*ldp+(n-1)*ldt+WinoLanes {
		panic(errWino)
	}
}

// raceTiles tells the race detector about n transformed tiles.
func raceTiles(n int, s []float32, ldt, ldp int, access func([]float32)) {
	for p := range WinoPoints {
		for t := range n {
			access(s[p*ldp+t*ldt:][:WinoLanes])
		}
	}
}

// racePixels tells the race detector about rows of pixels.
func racePixels(rows, cols int, s []float32, lds int, access func([]float32)) {
	for r := range rows {
		access(s[r*lds:][:cols*WinoLanes])
	}
}

// Input computes Bᵀ·d·B for n tiles of a row. Pixel (r, c) of tile t is the
// vector at r·lds + (4t+c)·16 of src. If dst is too large to be found in a cache
// later, stream spares the caches, where the instruction set and the alignment of
// dst let it.
func (k *WinoKernel) Input(n int, src []float32, lds int, dst []float32, ldt, ldp int, stream bool) {
	if n <= 0 {
		return
	}
	checkTiles(n, dst, ldt, ldp)
	if lds < 0 || len(src) < 5*lds+(4*n+2)*WinoLanes {
		panic(errWino)
	}
	if race.Enabled {
		racePixels(6, 4*n+2, src, lds, race.Read)
		raceTiles(n, dst, ldt, ldp, race.Write)
	}
	k.input(n, src, lds, dst, ldt, ldp, stream)
}

// Gradient computes A·dy·Aᵀ for n tiles of a row. Pixel (r, c) of tile t is the
// vector at r·lds + (4t+c)·16 of src. stream is as for Input.
func (k *WinoKernel) Gradient(n int, src []float32, lds int, dst []float32, ldt, ldp int, stream bool) {
	if n <= 0 {
		return
	}
	checkTiles(n, dst, ldt, ldp)
	if lds < 0 || len(src) < 3*lds+4*n*WinoLanes {
		panic(errWino)
	}
	if race.Enabled {
		racePixels(4, 4*n, src, lds, race.Read)
		raceTiles(n, dst, ldt, ldp, race.Write)
	}
	k.gradient(n, src, lds, dst, ldt, ldp, stream)
}

// Filter computes G·g·Gᵀ for n filters. Tap i of nine of filter t is the vector
// at off + t·next + i·ldc of src; a negative ldc turns filters round.
func (k *WinoKernel) Filter(n int, src []float32, off, ldc, next int, dst []float32, ldt, ldp int) {
	if n <= 0 {
		return
	}
	checkTiles(n, dst, ldt, ldp)
	if next < 0 || off+min(8*ldc, 0) < 0 || len(src) < off+(n-1)*next+max(8*ldc, 0)+WinoLanes {
		panic(errWino)
	}
	if race.Enabled {
		for t := range n {
			for i := range 9 {
				race.Read(src[off+t*next+i*ldc:][:WinoLanes])
			}
		}
		raceTiles(n, dst, ldt, ldp, race.Write)
	}
	k.filter(n, src, off, ldc, next, dst, ldt, ldp)
}

// Output computes max(low, Aᵀ·m·A + bias) for n tiles of a row; a NaN stays one.
// Pixel (r, c) of tile t is the vector at r·ldd + (4t+c)·16 of dst. stream is as
// for Input.
func (k *WinoKernel) Output(n int, src []float32, ldt, ldp int, bias *[WinoLanes]float32, low float32, dst []float32, ldd int, stream bool) {
	if n <= 0 {
		return
	}
	checkTiles(n, src, ldt, ldp)
	if ldd < 0 || len(dst) < 3*ldd+4*n*WinoLanes {
		panic(errWino)
	}
	if race.Enabled {
		raceTiles(n, src, ldt, ldp, race.Read)
		racePixels(4, 4*n, dst, ldd, race.Write)
	}
	k.output(n, src, ldt, ldp, bias, low, dst, ldd, stream)
}

// Weights computes Gᵀ·u·G for n filters: nine vectors each, one filter after
// the other.
func (k *WinoKernel) Weights(n int, src []float32, ldt, ldp int, dst []float32) {
	if n <= 0 {
		return
	}
	checkTiles(n, src, ldt, ldp)
	if len(dst) < 9*n*WinoLanes {
		panic(errWino)
	}
	if race.Enabled {
		raceTiles(n, src, ldt, ldp, race.Read)
		race.Write(dst[:9*n*WinoLanes])
	}
	k.weights(n, src, ldt, ldp, dst)
}

// Sums adds up n vectors of 16 lanes.
func (k *WinoKernel) Sums(n int, src []float32, dst *[WinoLanes]float32) {
	if n < 0 || len(src) < n*WinoLanes {
		panic(errWino)
	}
	race.Read(src[:n*WinoLanes])
	k.sums(n, src, dst)
}

// Prefetch asks for x to be brought near, while there is something else to do.
func (k *WinoKernel) Prefetch(x []float32) {
	if len(x) > 0 {
		k.prefetch(x)
	}
}
