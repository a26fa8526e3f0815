package asm

import "crema/internal/race"

// Lanes is after how many elements the numbers of a LaneVector repeat.
const Lanes = 16

// A LaneVector has a number for each of 16 channels: in arrays of pixels of 16
// channels, number l is that of elements l, l+16, l+32 and so on. Where all
// elements are of one channel, all numbers are the same ([Splat]).
type LaneVector = [Lanes]float32

// Splat returns the vector of 16 times v.
func Splat(v float32) LaneVector {
	return LaneVector{v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v}
}

// Affine computes y[i] = a[l]·x[i] + b[l], l = i mod 16. x and y must be equally
// long and may be the same slice.
func Affine(a, b *LaneVector, x, y []float32) {
	if len(x) != len(y) {
		panic(errLen)
	}
	race.Read(x)
	race.Write(y)
	for len(x) > 0 {
		n := min(len(x), chunk)
		affine(a, b, x[:n], y[:n])
		x, y = x[n:], y[n:]
	}
}

// Standardize computes y[i] = (x[i] − mean[l])·inverse[l], l = i mod 16, and puts
// the same into keep. The slices must be equally long; any may be the same.
func Standardize(mean, inverse *LaneVector, x, y, keep []float32) {
	if len(x) != len(y) || len(x) != len(keep) {
		panic(errLen)
	}
	race.Read(x)
	race.Write(y)
	race.Write(keep)
	for len(x) > 0 {
		n := min(len(x), chunk)
		standardize(mean, inverse, x[:n], y[:n], keep[:n])
		x, y, keep = x[n:], y[n:], keep[n:]
	}
}

// StandardizeBackward computes dx[i] = (dy[i] − mean[l] − y[i]·dot[l])·inverse[l],
// l = i mod 16: the gradient of Standardize if mean and inverse are those of x, mean
// the mean of dy and dot that of dy·y. The slices must be equally long; dx and dy
// may be the same.
func StandardizeBackward(mean, dot, inverse *LaneVector, y, dy, dx []float32) {
	if len(dy) != len(y) || len(dy) != len(dx) {
		panic(errLen)
	}
	race.Read(y)
	race.Read(dy)
	race.Write(dx)
	for len(dy) > 0 {
		n := min(len(dy), chunk)
		standardizeBackward(mean, dot, inverse, y[:n], dy[:n], dx[:n])
		y, dy, dx = y[n:], dy[n:], dx[n:]
	}
}

// LaneReLU is [ReLU] with a slope for each lane: y[i] = max(x[i], 0) +
// slope[l]·min(x[i], 0), l = i mod 16.
func LaneReLU(slope *LaneVector, x, y []float32) {
	if len(x) != len(y) {
		panic(errLen)
	}
	race.Read(x)
	race.Write(y)
	for len(x) > 0 {
		n := min(len(x), chunk)
		laneReLU(slope, x[:n], y[:n])
		x, y = x[n:], y[n:]
	}
}

// LaneReLUBackward is [ReLUBackward] with a slope for each lane, of any sign: dx[i]
// is dy[i] where x[i] > 0 and slope[l]·dy[i] elsewhere, l = i mod 16.
func LaneReLUBackward(slope *LaneVector, x, dy, dx []float32) {
	if len(x) != len(dy) || len(x) != len(dx) {
		panic(errLen)
	}
	race.Read(x)
	race.Read(dy)
	race.Write(dx)
	for len(x) > 0 {
		n := min(len(x), chunk)
		laneReLUBackward(slope, x[:n], dy[:n], dx[:n])
		x, dy, dx = x[n:], dy[n:], dx[n:]
	}
}

// LaneSums adds x[i] to sum[i mod 16] and x[i]·y[i] to dot[i mod 16], in order. The
// sums are float64, in which the products are exact. x and y must be equally long
// and may be the same slice.
func LaneSums(x, y []float32, sum, dot *[Lanes]float64) {
	if len(x) != len(y) {
		panic(errLen)
	}
	race.Read(x)
	race.Read(y)
	for len(x) >= Lanes {
		n := min(len(x)&^(Lanes-1), chunk)
		laneSums(x[:n], y[:n], sum, dot)
		x, y = x[n:], y[n:]
	}
	laneSumsGeneric(x, y, sum, dot)
}

// Product computes z[i] = x[i]·y[i]. The slices must be equally long; any may be
// the same.
func Product(x, y, z []float32) {
	if len(x) != len(y) || len(x) != len(z) {
		panic(errLen)
	}
	race.Read(x)
	race.Read(y)
	race.Write(z)
	for len(x) > 0 {
		n := min(len(x), chunk)
		product(x[:n], y[:n], z[:n])
		x, y, z = x[n:], y[n:], z[n:]
	}
}

// PowerMinus34 computes y[i] = x[i]^(−3/4) as 1/(√x[i]·√√x[i]), the power of local
// response normalization. x and y must be equally long and may be the same slice.
func PowerMinus34(x, y []float32) {
	if len(x) != len(y) {
		panic(errLen)
	}
	race.Read(x)
	race.Write(y)
	for len(x) > 0 {
		n := min(len(x), chunk)
		power34(x[:n], y[:n])
		x, y = x[n:], y[n:]
	}
}

// LRNRatios computes dx[i] = dy[i]·p[i] and r[i] = dx[i]·x[i]/scale[i]: what the
// gradient of local response normalization sums. The slices must be equally long;
// dx may be dy, r may be p.
func LRNRatios(p, x, scale, dy, dx, r []float32) {
	if len(p) != len(dy) || len(x) != len(dy) || len(scale) != len(dy) || len(dx) != len(dy) || len(r) != len(dy) {
		panic(errLen)
	}
	race.Read(p)
	race.Read(x)
	race.Read(scale)
	race.Read(dy)
	race.Write(dx)
	race.Write(r)
	for len(dy) > 0 {
		n := min(len(dy), chunk)
		lrnRatios(p[:n], x[:n], scale[:n], dy[:n], dx[:n], r[:n])
		p, x, scale, dy, dx, r = p[n:], x[n:], scale[n:], dy[n:], dx[n:], r[n:]
	}
}

// SubtractProduct computes dx[i] −= alpha·x[i]·r[i]. The slices must be equally
// long and distinct.
func SubtractProduct(alpha float32, x, r, dx []float32) {
	if len(x) != len(dx) || len(r) != len(dx) {
		panic(errLen)
	}
	race.Read(x)
	race.Read(r)
	race.Write(dx)
	a := Splat(alpha)
	for len(dx) > 0 {
		n := min(len(dx), chunk)
		subtractProduct(&a, x[:n], r[:n], dx[:n])
		x, r, dx = x[n:], r[n:], dx[n:]
	}
}
