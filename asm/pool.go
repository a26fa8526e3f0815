package asm

import (
	"math"

	"crema/internal/race"
)

// MaxPool2 is max pooling of one row of windows of 2×2, stride 2: y[i] becomes
// the greatest of x0[2i], x0[2i+1], x1[2i], x1[2i+1], the first of equals, and
// mask[i] its place, which is at+2i for x0[2i] and at+width+2i for x1[2i]. A
// window without an element above −MaxFloat32, such as one of NaN, gives
// −MaxFloat32 and −1. mask must be as long as y, x0 and x1 at least twice as
// long. A row must not be longer than some ten thousand elements (no call stays
// in assembly for long), nor a place than 31 bits.
func MaxPool2(at, width int, x0, x1, y []float32, mask []int32) {
	if len(x0) < 2*len(y) || len(x1) < 2*len(y) || len(mask) != len(y) {
		panic(errLen)
	}
	race.Read(x0[:2*len(y)])
	race.Read(x1[:2*len(y)])
	race.Write(y)
	race.Write(mask)
	maxPool(at, width, x0, x1, y, mask)
}

// MaxPool2Backward is the gradient of MaxPool2 with the same arguments: of the
// elements 0 ≤ j < 2·len(dy) of dx0 and dx1 those whose place is in mask become
// the gradient dy of their window, the others 0.
func MaxPool2Backward(at, width int, dy []float32, mask []int32, dx0, dx1 []float32) {
	if len(dx0) < 2*len(dy) || len(dx1) < 2*len(dy) || len(mask) != len(dy) {
		panic(errLen)
	}
	race.Read(dy)
	race.Read(mask)
	race.Write(dx0[:2*len(dy)])
	race.Write(dx1[:2*len(dy)])
	// Zeros first, though all but the portable kernel write every element:
	// clear seems not to read from memory the lines that it writes, and the
	// kernel finds them in cache. On one thread that took 0.6 of the time, on
	// two, with the memory busy, as long.
	clear(dx0[:2*len(dy)])
	clear(dx1[:2*len(dy)])
	maxPoolBackward(at, width, dy, mask, dx0, dx1)
}

func maxPoolGeneric(at, width int, x0, x1, y []float32, mask []int32) {
	x0, x1, mask = x0[:2*len(y)], x1[:2*len(y)], mask[:len(y)]
	for i := range y {
		best, p := float32(-math.MaxFloat32), -1
		if v := x0[2*i]; v > best {
			best, p = v, at+2*i
		}
		if v := x0[2*i+1]; v > best {
			best, p = v, at+2*i+1
		}
		if v := x1[2*i]; v > best {
			best, p = v, at+width+2*i
		}
		if v := x1[2*i+1]; v > best {
			best, p = v, at+width+2*i+1
		}
		y[i], mask[i] = best, int32(p)
	}
}

func maxPoolBackwardGeneric(at, width int, dy []float32, mask []int32, dx0, dx1 []float32) {
	dx0, dx1, mask = dx0[:2*len(dy)], dx1[:2*len(dy)], mask[:len(dy)]
	for i, v := range dy {
		switch p := int(mask[i]) - at; p {
		case 2 * i, 2*i + 1:
			dx0[p] = v
		case width + 2*i, width + 2*i + 1:
			dx1[p-width] = v
		}
	}
}
