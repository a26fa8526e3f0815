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

// MaxPool2Lanes is [MaxPool2] of rows of pixels of 16 channels: pixel i of y has
// the maxima of pixels 2i and 2i+1 of x0 and of x1. Bit c of chosen[4i+q] tells
// that channel c is from the pixel q of these four; it is set for one of them, or
// for none if no channel's element is above −MaxFloat32. len(y) is a multiple of
// 16, len(chosen) a quarter of it, x0 and x1 are at least twice as long.
func MaxPool2Lanes(x0, x1, y []float32, chosen []uint16) {
	if len(x0) < 2*len(y) || len(x1) < 2*len(y) || len(y)%poolLanes != 0 || len(chosen) != len(y)/4 {
		panic(errLen)
	}
	race.Read(x0[:2*len(y)])
	race.Read(x1[:2*len(y)])
	race.Write(y)
	race.Write(chosen)
	if len(y) > 0 {
		maxPoolLanes(x0, x1, y, chosen)
	}
}

// MaxPool2LanesBackward is the gradient of MaxPool2Lanes: of the first 2·len(dy)
// elements of dx0 and dx1 those that were chosen become the gradient dy of
// their window, the others 0.
func MaxPool2LanesBackward(dy []float32, chosen []uint16, dx0, dx1 []float32) {
	if len(dx0) < 2*len(dy) || len(dx1) < 2*len(dy) || len(dy)%poolLanes != 0 || len(chosen) != len(dy)/4 {
		panic(errLen)
	}
	race.Read(dy)
	race.Read(chosen)
	race.Write(dx0[:2*len(dy)])
	race.Write(dx1[:2*len(dy)])
	if len(dy) > 0 {
		maxPoolLanesBackward(dy, chosen, dx0, dx1)
	}
}

// poolLanes is the number of channels of a pixel.
const poolLanes = 16

// Windows are where the windows of a row of outputs lie in an image of pixels
// of 16 channels: each has Rows×Cols pixels, both positive, and begins Step
// pixels after the one before. The image's rows are Width pixels apart.
type Windows struct{ Rows, Cols, Step, Width int }

// call is how many of the windows are given to assembly at a time, for some
// microseconds; 0 if even one takes too long.
func (w *Windows) call() int {
	const pixels = 1 << 12
	return pixels / (w.Rows * w.Cols)
}

func (w *Windows) check(x, y []float32) {
	n := len(y) / poolLanes
	if w.Rows < 1 || w.Cols < 1 || w.Step < 0 || w.Width < 0 || len(y)%poolLanes != 0 ||
		n > 0 && len(x) < ((n-1)*w.Step+(w.Rows-1)*w.Width+w.Cols)*poolLanes {
		panic(errLen)
	}
	if race.Enabled {
		for i := range n {
			for r := range w.Rows {
				race.Read(x[(i*w.Step+r*w.Width)*poolLanes:][:w.Cols*poolLanes])
			}
		}
	}
	race.Write(y)
}

// MaxPoolWindows sets the pixels of y to the maxima of their windows, channel by
// channel, the first of equals in the order of rows, and places, unless it is
// nil, to where they are: at is the place of x, the first pixel of the first
// window, that of the next pixel is at+1, and so on by rows of Width. Windows
// without an element above −MaxFloat32, such as one of NaN, give −MaxFloat32 and
// −1.
func MaxPoolWindows(w Windows, at int, x, y []float32, places []int32) {
	w.check(x, y)
	if places != nil && len(places) != len(y) {
		panic(errLen)
	}
	race.Write(places)
	n := w.call()
	if n == 0 {
		maxPoolWindowsGeneric(&w, at, x, y, places)
		return
	}
	for len(y) > 0 {
		n := min(n, len(y)/poolLanes)
		var to []int32
		if places != nil {
			to, places = places[:n*poolLanes], places[n*poolLanes:]
		}
		maxPoolWindows(&w, at, x, y[:n*poolLanes], to)
		if y = y[n*poolLanes:]; len(y) > 0 {
			at += n * w.Step
			x = x[n*w.Step*poolLanes:]
		}
	}
}

// MeanPoolWindows sets the pixels of y to the sums of their windows, row by row,
// over divisor.
func MeanPoolWindows(w Windows, divisor float32, x, y []float32) {
	w.check(x, y)
	n := w.call()
	if n == 0 {
		meanPoolWindowsGeneric(&w, divisor, x, y)
		return
	}
	for len(y) > 0 {
		n := min(n, len(y)/poolLanes)
		meanPoolWindows(&w, divisor, x, y[:n*poolLanes])
		if y = y[n*poolLanes:]; len(y) > 0 {
			x = x[n*w.Step*poolLanes:]
		}
	}
}

func maxPoolWindowsGeneric(w *Windows, at int, x, y []float32, places []int32) {
	for i := range len(y) / poolLanes {
		var best [poolLanes]float32
		var where [poolLanes]int32
		for c := range best {
			best[c], where[c] = -math.MaxFloat32, -1
		}
		for r := range w.Rows {
			for q := range w.Cols {
				p := i*w.Step + r*w.Width + q
				for c, v := range (*[poolLanes]float32)(x[p*poolLanes:]) {
					if v > best[c] {
						best[c], where[c] = v, int32(at+p)
					}
				}
			}
		}
		*(*[poolLanes]float32)(y[i*poolLanes:]) = best
		if places != nil {
			*(*[poolLanes]int32)(places[i*poolLanes:]) = where
		}
	}
}

func meanPoolWindowsGeneric(w *Windows, divisor float32, x, y []float32) {
	for i := range len(y) / poolLanes {
		var sum [poolLanes]float32
		for r := range w.Rows {
			for q := range w.Cols {
				for c, v := range (*[poolLanes]float32)(x[(i*w.Step+r*w.Width+q)*poolLanes:]) {
					sum[c] += v
				}
			}
		}
		for c := range sum {
			sum[c] /= divisor
		}
		*(*[poolLanes]float32)(y[i*poolLanes:]) = sum
	}
}

func maxPoolLanesGeneric(x0, x1, y []float32, chosen []uint16) {
	const l = poolLanes
	for i := range len(y) / l {
		a, b := (*[2 * l]float32)(x0[2*l*i:]), (*[2 * l]float32)(x1[2*l*i:])
		to, words := (*[l]float32)(y[l*i:]), (*[4]uint16)(chosen[4*i:])
		*words = [4]uint16{}
		for c := range l {
			best, q := float32(-math.MaxFloat32), -1
			if v := a[c]; v > best {
				best, q = v, 0
			}
			if v := a[l+c]; v > best {
				best, q = v, 1
			}
			if v := b[c]; v > best {
				best, q = v, 2
			}
			if v := b[l+c]; v > best {
				best, q = v, 3
			}
			to[c] = best
			if q >= 0 {
				words[q] |= 1 << c
			}
		}
	}
}

func maxPoolLanesBackwardGeneric(dy []float32, chosen []uint16, dx0, dx1 []float32) {
	const l = poolLanes
	for i := range len(dy) / l {
		g, words := (*[l]float32)(dy[l*i:]), (*[4]uint16)(chosen[4*i:])
		for q, w := range words {
			d := dx0
			if q >= 2 {
				d = dx1
			}
			to := (*[l]float32)(d[(2*i+q%2)*l:])
			for c, v := range g {
				to[c] = 0
				if w>>c&1 != 0 {
					to[c] = v
				}
			}
		}
	}
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
