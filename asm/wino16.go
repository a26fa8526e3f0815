package asm

import "crema/internal/race"

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
// other. Every 64 terms are added up by themselves, because the transforms
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
// mr is from 1 to MC, and the terms are added up one after the other. Meanwhile
// the vector kernels ask for some 32·blocks·kc bytes from the start of next to be
// fetched, as far as they go; it may be nil.
func (k *WinoKernel) Cols(blocks, mr, kc int, a, next, b, c []float32, ldc int, acc bool) {
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
	if next == nil {
		next = a
	}
	k.cols(blocks, mr, kc, a, next, b, c, ldc, acc)
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

// WinoPixels are the pixels that n tiles in a row of an image cover: 6 rows of
// 4n+2, or 4 of 4n, each pixel a vector of 16 lanes. What of them lies outside the
// image is not in memory: it counts as 0, or is not written.
type WinoPixels struct {
	// Data begins with the first pixel inside; the next row's is LD elements on.
	Data []float32
	LD   int
	// How many rows and columns lie outside. At least one row and column must be
	// inside; Left may be 4 at most, and Right 8.
	Top, Bottom, Left, Right int
}

// check panics unless x are pixels of n tiles of edge pixels on a side, and tells
// the race detector.
func (x *WinoPixels) check(n, edge int, access func([]float32)) {
	rows, cols := edge-x.Top-x.Bottom, 4*n+edge-4-x.Left-x.Right
	size := (rows-1)*x.LD + cols*WinoLanes
	if uint(x.Top) >= uint(edge) || uint(x.Bottom) >= uint(edge) || uint(x.Left) > 4 || uint(x.Right) > 8 || rows < 1 || cols < 1 ||
		x.LD < 0 || len(x.Data) < size {
		panic(errWino)
	}
	if race.Enabled {
		racePixels(rows, cols, x.Data, x.LD, access)
	}
}

// inside returns which of the edge columns of tile t of n are inside, a bit each.
func (x *WinoPixels) inside(t, n, edge int) int {
	lo, hi := max(x.Left-4*t, 0), min(4*(n-t)+edge-4-x.Right, edge)
	return max(1<<max(hi, 0)-1<<lo, 0)
}

// Input computes Bᵀ·d·B for n tiles of 6×6 pixels in a row, which overlap by two.
// If dst is too large to be found in a cache later, stream spares the caches,
// where the instruction set and the alignment of dst let it.
func (k *WinoKernel) Input(n int, x *WinoPixels, dst []float32, ldt, ldp int, stream bool) {
	if n <= 0 {
		return
	}
	checkTiles(n, dst, ldt, ldp)
	x.check(n, 6, race.Read)
	if race.Enabled {
		raceTiles(n, dst, ldt, ldp, race.Write)
	}
	k.input(n, x, dst, ldt, ldp, stream)
}

// Gradient computes A·dy·Aᵀ for n tiles of 4×4 pixels in a row, and adds the sum
// of the pixels to sums unless that is nil. stream is as for Input.
func (k *WinoKernel) Gradient(n int, x *WinoPixels, dst []float32, ldt, ldp int, sums *[WinoLanes]float32, stream bool) {
	if n <= 0 {
		return
	}
	checkTiles(n, dst, ldt, ldp)
	x.check(n, 4, race.Read)
	if race.Enabled {
		raceTiles(n, dst, ldt, ldp, race.Write)
	}
	k.gradient(n, x, dst, ldt, ldp, sums, stream)
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

// Output computes max(low, Aᵀ·m·A + bias) for n tiles of 4×4 pixels in a row; a
// NaN stays one. At the bottom of y, and at the right of its last tile, pixels may
// be outside. stream is as for Input, for y.
func (k *WinoKernel) Output(n int, src []float32, ldt, ldp int, bias *[WinoLanes]float32, low float32, y *WinoPixels, stream bool) {
	if n <= 0 {
		return
	}
	checkTiles(n, src, ldt, ldp)
	if y.Top != 0 || y.Left != 0 || y.Right > 3 {
		panic(errWino)
	}
	y.check(n, 4, race.Write)
	if race.Enabled {
		raceTiles(n, src, ldt, ldp, race.Read)
	}
	k.output(n, src, ldt, ldp, bias, low, y, stream)
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

// Prefetch asks for x to be brought near, while there is something else to do.
func (k *WinoKernel) Prefetch(x []float32) {
	if len(x) > 0 {
		k.prefetch(x)
	}
}
