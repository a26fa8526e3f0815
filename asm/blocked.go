package asm

import "crema/internal/race"

// A BlockedKernel is the set of kernels of one instruction set for convolutions
// of blocked arrays, in which 16 channels of a pixel lie side by side.
//
// A tap is 16 input channels of a pixel of a filter. off tells where in the input
// the first output pixel finds each; the next pixel finds it ldx elements on.
// All taps of a tile of pixels and filters are summed in registers.
type BlockedKernel struct {
	Name string
	// Pixels is how many pixels a tile has at most, Groups of how many groups of
	// 16 filters.
	Pixels, Groups int
	chans          int // that the gradient of the weights does at a time
	isa            isa
}

var blockedKernels = [numISA]BlockedKernel{
	generic: {Name: "blockedGeneric", Pixels: 4, Groups: 1, chans: 16, isa: generic},
	avx2:    {Name: "blockedAVX2", Pixels: 6, Groups: 1, chans: 4, isa: avx2},
	avx512:  {Name: "blockedAVX512", Pixels: 14, Groups: 2, chans: 8, isa: avx512},
}

// Blocked returns the kernels of the instruction set in use.
func Blocked() *BlockedKernel { return &blockedKernels[current.Load()] }

const errBlocked = "asm: slice too short for a blocked convolution"

// A BlockedRow describes pixels of the output of Row.
type BlockedRow struct {
	N int // pixels
	// LdX and LdY are the distances of pixels in x and y, LdG that of groups of
	// 16 filters in y.
	LdX, LdY, LdG int
	Bias          []float32
	// Floor is what the output is at least: 0 for a ReLU, −∞ for none. A NaN
	// stays one.
	Floor float32
	// Add has what is in y take the place of Bias.
	Add bool
}

// Row computes r.N pixels of groups ≤ Groups groups of 16 filters; l is the lane
// and c < 16 the channel:
//
//	y[g·LdG+i·LdY+l] = max(Floor, Bias[16·g+l] + Σ w[(16·t+c)·16·groups+16·g+l]·x[off[t]+i·LdX+c])
//
// in the order of t and c. It panics if a slice is too short.
func (k *BlockedKernel) Row(r *BlockedRow, groups int, x []float32, off []int, w, y []float32) {
	if r.N <= 0 || groups <= 0 {
		return
	}
	width := groups * WinoLanes
	if groups > k.Groups || len(off) == 0 || len(w) < len(off)*WinoLanes*width || !r.Add && len(r.Bias) < width ||
		r.LdX < 0 || r.LdY < 0 || r.LdG < 0 || len(y) < (groups-1)*r.LdG+(r.N-1)*r.LdY+WinoLanes {
		panic(errBlocked)
	}
	reach := len(x) - (r.N-1)*r.LdX - WinoLanes
	for _, o := range off {
		if o < 0 || o > reach {
			panic(errBlocked)
		}
	}
	if race.Enabled {
		race.Read(w[:len(off)*WinoLanes*width])
		for i := range r.N {
			for _, o := range off {
				race.Read(x[o+i*r.LdX:][:WinoLanes])
			}
			for g := range groups {
				race.Write(y[g*r.LdG+i*r.LdY:][:WinoLanes])
			}
		}
	}
	k.row(r, groups, x, off, w, y)
}

// A BlockedRows describes the pixels that Weights sums over: Rows rows of N.
type BlockedRows struct {
	Rows, N int
	// LdR and LdG are the distances of rows and of groups of 16 filters in dy, of
	// which the pixels of a row follow each other.
	LdR, LdG int
	// LdQ and LdX are the distances of rows and pixels in x.
	LdQ, LdX int
	// Add has the sums added to what is in dw.
	Add bool
}

// Weights computes the gradient of a tap of groups ≤ Groups groups of 16
// filters:
//
//	dw[(c·groups+g)·16+l] = Σ dy[g·LdG+j·LdR+16·i+l]·x[j·LdQ+i·LdX+c]  over j < Rows, i < N
//
// It panics if a slice is too short.
func (k *BlockedKernel) Weights(r *BlockedRows, groups int, dy, x, dw []float32) {
	if r.Rows <= 0 || r.N <= 0 || groups <= 0 {
		return
	}
	width := groups * WinoLanes
	if groups > k.Groups || r.LdR < 0 || r.LdG < 0 || r.LdQ < 0 || r.LdX < 0 || len(dw) < WinoLanes*width ||
		len(dy) < (groups-1)*r.LdG+(r.Rows-1)*r.LdR+r.N*WinoLanes || len(x) < (r.Rows-1)*r.LdQ+(r.N-1)*r.LdX+WinoLanes {
		panic(errBlocked)
	}
	if race.Enabled {
		for j := range r.Rows {
			for g := range groups {
				race.Read(dy[g*r.LdG+j*r.LdR:][:r.N*WinoLanes])
			}
			for i := range r.N {
				race.Read(x[j*r.LdQ+i*r.LdX:][:WinoLanes])
			}
		}
		race.Write(dw[:WinoLanes*width])
	}
	for c := 0; c < WinoLanes; c += k.chans {
		k.weights(r, groups, dy, x[c:], dw[c*width:])
	}
}

// tiles cuts n pixels into tiles of at most most pixels, about equal: whole of
// height pixels and, if rest is not 0, one of rest.
func tiles(n, most int) (whole, height, rest int) {
	count := (n + most - 1) / most
	height = (n + count - 1) / count
	return n / height, height, n % height
}
