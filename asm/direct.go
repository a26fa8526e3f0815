package asm

import "crema/internal/race"

// A DirectKernel is the set of kernels of one instruction set for convolutions
// of few input channels, in which all taps (channel, row and column of a
// filter) of an output pixel are summed at once.
//
// The input is a patch of the image with its border of zeros, in which the
// pixels of a row that one tap meets follow each other: tap t of pixel i of an
// output row is x[off[t]+i]. For a stride above 1 a patch therefore holds every
// row cut into that many, one of which takes every stride-th pixel.
//
// Two kernels have output pixels in the lanes of vectors, for arrays in which a
// row of pixels lies together; two have filters there, for the blocked layout
// in which 16 channels do. The output is the same bit for bit.
type DirectKernel struct {
	Name string
	// Panel is how many filters Pixels computes at most.
	Panel int
	// Blocks is how many groups of 16 filters Lanes computes at most.
	Blocks int
	// Taps is how many taps WeightsPixels and WeightsLanes compute at most, that
	// of the biases among them, WeightBlocks of how many groups of 16 filters WeightsLanes does.
	Taps, WeightBlocks int
	slots              int // of the pixels that Lanes computes at a time
	isa                isa
}

const (
	// DirectSlack is how many elements of x behind the last that a kernel needs
	// it may read. The pixels of WeightsPixels must be finite there.
	DirectSlack = 15
	// DirectFilters is the number of filters of WeightsPixels.
	DirectFilters = 4

	maxDirectTaps = 6

	directLanes = WinoLanes
)

var directKernels = [numISA]DirectKernel{
	generic: {Name: "directGeneric", Panel: 4, Blocks: 1, Taps: 6, WeightBlocks: 1, isa: generic},
	avx2:    {Name: "directAVX2", Panel: 4, Blocks: 1, Taps: 3, WeightBlocks: 2, slots: 2, isa: avx2},
	avx512:  {Name: "directAVX512", Panel: 8, Blocks: 2, Taps: 6, WeightBlocks: 4, slots: 3, isa: avx512},
}

// Direct returns the kernels of the instruction set in use.
func Direct() *DirectKernel { return &directKernels[current.Load()] }

const errDirect = "asm: slice too short for a direct convolution"

// A DirectRow describes part of an output row.
type DirectRow struct {
	N    int // pixels
	Bias []float32
	// Floor is what the output is at least: 0 for a ReLU, −∞ for none. A NaN
	// stays one.
	Floor float32
	// Stream has Pixels store whole vectors past the caches. They must be
	// aligned to 64 bytes. Other cores see them after the next atomic operation.
	Stream bool
}

// Pixels computes row r of filters f < filters ≤ Panel:
//
//	y[f·ldy+i] = max(r.Floor, r.Bias[f] + Σ w[t·Panel+f]·x[off[t]+i])
//
// r.Bias has Panel elements. The products are added to the bias in the order of
// the taps. It panics if a slice is too short, as all kernels do.
func (k *DirectKernel) Pixels(r *DirectRow, filters int, x []float32, off []int, w, y []float32, ldy int) {
	if r.N <= 0 || filters <= 0 {
		return
	}
	if filters > k.Panel || len(off) == 0 || len(w) < len(off)*k.Panel || len(r.Bias) < k.Panel || ldy < 0 || len(y) < (filters-1)*ldy+r.N {
		panic(errDirect)
	}
	checkTaps(x, off, 1, r.N, 0)
	if race.Enabled {
		raceTaps(x, off, 1, r.N, 0)
		race.Read(w[:len(off)*k.Panel])
		for f := range filters {
			race.Write(y[f*ldy:][:r.N])
		}
	}
	k.pixels(r, filters, x, off, w, y, ldy)
}

// A DirectBand describes rows of the output of Lanes.
type DirectBand struct {
	DirectRow     // what holds for each row
	Rows      int // their number
	LdX, LdY  int // distances of rows in x and y
	LdB       int // distance of groups of 16 filters in y
	// Ahead are brought near the processor meanwhile, as much of each as a cache
	// line for every few pixels allows.
	Ahead [2][]float32
}

// Lanes computes band r of blocks ≤ Blocks groups of 16 filters; l is the lane:
//
//	y[b·LdB+j·LdY+16·i+l] = max(r.Floor, r.Bias[16·b+l] + Σ w[16·(t·blocks+b)+l]·x[off[t]+j·LdX+i])
//
// over the rows j < Rows and pixels i < N. r.Bias has 16·blocks elements.
func (k *DirectKernel) Lanes(r *DirectBand, blocks int, x []float32, off []int, w, y []float32) {
	if r.Rows <= 0 || r.N <= 0 || blocks <= 0 {
		return
	}
	filters := blocks * directLanes
	if blocks > k.Blocks || len(off) == 0 || len(w) < len(off)*filters || len(r.Bias) < filters ||
		r.LdX < 0 || r.LdY < 0 || r.LdB < 0 || len(y) < (blocks-1)*r.LdB+(r.Rows-1)*r.LdY+r.N*directLanes {
		panic(errDirect)
	}
	checkTaps(x, off, r.Rows, r.N, r.LdX)
	if race.Enabled {
		raceTaps(x, off, r.Rows, r.N, r.LdX)
		race.Read(w[:len(off)*filters])
		for b := range blocks {
			for j := range r.Rows {
				race.Write(y[b*r.LdB+j*r.LdY:][:r.N*directLanes])
			}
		}
	}
	k.lanes(r, blocks, x, off, w, y)
}

// Plane convolves a channel with a single filter, in rows rows of r.N pixels:
//
//	y[j·ldy+i] = max(r.Floor, r.Bias[0] + Σ w[t]·x[off[t]+j·ldx+i])
func (k *DirectKernel) Plane(r *DirectRow, rows int, x []float32, off []int, ldx int, w, y []float32, ldy int) {
	if r.N <= 0 || rows <= 0 {
		return
	}
	if len(off) == 0 || len(w) < len(off) || len(r.Bias) == 0 || ldx < 0 || ldy < 0 || len(y) < (rows-1)*ldy+r.N {
		panic(errDirect)
	}
	checkTaps(x, off, rows, r.N, ldx)
	if race.Enabled {
		raceTaps(x, off, rows, r.N, ldx)
		race.Read(w[:len(off)])
		for j := range rows {
			race.Write(y[j*ldy:][:r.N])
		}
	}
	k.plane(r, rows, x, off, ldx, w, y, ldy)
}

// DirectRows describes the rows of WeightsPixels and WeightsLanes.
type DirectRows struct {
	Rows, N int // their number and their pixels
	// From is where each filter, or group of 16 filters, begins in dy.
	From     [DirectFilters]int
	LdY, LdX int // distances of rows in dy and x
	LdW      int // distance of taps in dw
	// Add has the sums added to what is in dw.
	Add bool
	// Bias has the gradients of the biases computed too: dw's tap len(off), whose
	// pixels are ones. There is room for one tap less then.
	Bias bool
	// Ahead are brought near the processor meanwhile, as much of each as lies in
	// the rows of one filter, or of one group of filters.
	Ahead [2][]float32
}

// WeightsPixels computes len(off) ≤ Taps taps of the gradients of 4 filters:
//
//	dw[t·LdW+f] = Σ dy[From[f]+j·LdY+i]·x[off[t]+j·LdX+i]  over j < Rows, i < N
func (k *DirectKernel) WeightsPixels(r *DirectRows, dy, x []float32, off []int, dw []float32) {
	if k.checkWeights(r, DirectFilters, 1, dy, x, off, dw, DirectFilters) {
		k.weightsPixels(r, dy, x, off, dw)
	}
}

// WeightsLanes computes len(off) ≤ Taps taps of the gradients of WeightBlocks
// groups of 16 filters; l is the lane:
//
//	dw[t·LdW+16·b+l] = Σ dy[From[b]+j·LdY+16·i+l]·x[off[t]+j·LdX+i]
func (k *DirectKernel) WeightsLanes(r *DirectRows, dy, x []float32, off []int, dw []float32) {
	if k.checkWeights(r, k.WeightBlocks, directLanes, dy, x, off, dw, k.WeightBlocks*directLanes) {
		k.weightsLanes(r, dy, x, off, dw)
	}
}

// checkWeights checks what both have in common and reports whether there is
// anything to do.
func (k *DirectKernel) checkWeights(r *DirectRows, streams, lanes int, dy, x []float32, off []int, dw []float32, width int) bool {
	if r.Rows <= 0 || r.N <= 0 {
		return false
	}
	if len(off) == 0 {
		if r.Bias { // the kernels add it beside taps
			panic(errDirect)
		}
		return false
	}
	taps := len(off)
	if r.Bias {
		taps++
	}
	if taps > k.Taps || r.LdY < 0 || r.LdX < 0 || r.LdW < 0 || len(dw) < (taps-1)*r.LdW+width {
		panic(errDirect)
	}
	for _, from := range r.From[:streams] {
		if from < 0 || len(dy) < from+(r.Rows-1)*r.LdY+r.N*lanes {
			panic(errDirect)
		}
	}
	checkTaps(x, off, r.Rows, r.N, r.LdX)
	if race.Enabled {
		raceTaps(x, off, r.Rows, r.N, r.LdX)
		for j := range r.Rows {
			for _, from := range r.From[:streams] {
				race.Read(dy[from+j*r.LdY:][:r.N*lanes])
			}
		}
		for t := range taps {
			race.Write(dw[t*r.LdW:][:width])
		}
	}
	return true
}

func checkTaps(x []float32, off []int, rows, n, ldx int) {
	for _, o := range off {
		if o < 0 || len(x) < o+(rows-1)*ldx+n+DirectSlack {
			panic(errDirect)
		}
	}
}

func raceTaps(x []float32, off []int, rows, n, ldx int) {
	for j := range rows {
		for _, o := range off {
			race.Read(x[o+j*ldx:][:n])
		}
	}
}
