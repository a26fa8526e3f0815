package asm

import (
	"math"

	"crema/internal/race"
)

// Exp computes y[i] = exp(x[i]) to within 2 units in the last place, the same
// bits on every instruction set. x and y must be equally long and may be the
// same slice.
//
// exp(+Inf) and whatever is too large is +Inf, exp(−Inf) is 0, of a NaN a NaN
// comes out. Results below the normal numbers are denormal, not 0, with an
// error of one of their steps.
//
// With n = x/ln 2 rounded and r = x − n·ln 2, ln 2 in two parts of which the
// first has so few bits that n times it is exact (Cody and Waite, Software
// Manual for the Elementary Functions, 1980), it is 2ⁿ·exp(r), exp(r) being a
// polynomial of degree 6. 2ⁿ is applied in two halves, as it may be no float
// although the result is one.
func Exp(x, y []float32) {
	if len(x) != len(y) {
		panic(errLen)
	}
	race.Read(x)
	race.Write(y)
	for len(x) > 0 {
		n := min(len(x), chunk)
		exp(x[:n], y[:n])
		x, y = x[n:], y[n:]
	}
}

// Sigmoid computes y[i] = 1/(1 + exp(−x[i])) to within 3 units in the last place,
// with the exponential function of [Exp], the same bits on every instruction set;
// what would be below the normal numbers is 0 or off by less than the least of them.
// x and y must be equally long and may be the same slice. Of a NaN a NaN comes out.
func Sigmoid(x, y []float32) {
	if len(x) != len(y) {
		panic(errLen)
	}
	race.Read(x)
	race.Write(y)
	for len(x) > 0 {
		n := min(len(x), chunk)
		sigmoid(x[:n], y[:n])
		x, y = x[n:], y[n:]
	}
}

// Tanh computes y[i] = tanh(x[i]) to within 4 units in the last place, the same
// bits on every instruction set. x and y must be equally long and may be the same
// slice. Of a NaN a NaN comes out.
//
// For |x| ≥ 1 it is (e − 1)/(e + 1) with e = exp(2|x|), which [Exp] gives; where it
// is 1 for float32 anyway, |x| is taken for 20, as e may be no float. For smaller
// ones, where e − 1 would lose digits, it is Lambert's continued fraction
// x/(1 + x²/(3 + x²/(5 + …))) up to the 11, which is off by less than 1e-9 there.
func Tanh(x, y []float32) {
	if len(x) != len(y) {
		panic(errLen)
	}
	race.Read(x)
	race.Write(y)
	for len(x) > 0 {
		n := min(len(x), chunk)
		tanh(x[:n], y[:n])
		x, y = x[n:], y[n:]
	}
}

func expGeneric(x, y []float32) {
	const (
		high, low    = 89, -104 // beyond these, results are Inf and 0 for certain
		magic        = 3 << 22  // adding it rounds to an integer, in the lowest bits
		ln2Hi, ln2Lo = 355. / 512, math.Ln2 - 355./512
	)
	for i, v := range x {
		// Not min and max, whose result for a NaN need not be that NaN.
		if v > high {
			v = high
		} else if v < low {
			v = low
		}
		z := float32(float32(v*math.Log2E) + magic)
		n := int32(math.Float32bits(z) - math.Float32bits(magic))
		f := float32(z - magic)
		r := v - float32(f*ln2Hi)
		r -= float32(f * ln2Lo)
		q := float32(0x1.6d10fep-10)
		q = float32(q*r) + 0x1.120b64p-07
		q = float32(q*r) + 0x1.55551ap-05
		q = float32(q*r) + 0x1.5554dep-03
		q = float32(q*r) + 0.5
		q = float32(q*float32(r*r)) + r
		q++
		half := n >> 1
		n -= half
		q *= math.Float32frombits(uint32(half+127) << 23)
		y[i] = q * math.Float32frombits(uint32(n+127)<<23)
	}
}

func sigmoidGeneric(x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = -v
	}
	expGeneric(y, y)
	for i, e := range y {
		y[i] = 1 / (1 + e)
	}
}

func tanhGeneric(x, y []float32) {
	const run = 64
	var exps [run]float32
	for len(x) > 0 {
		n := min(run, len(x))
		e, y0 := exps[:n], y[:n]
		for i, v := range x[:n] {
			v = 2 * abs(v)
			if v > 40 {
				v = 40
			}
			e[i] = v
		}
		expGeneric(e, e)
		for i, v := range x[:n] {
			num, den := e[i]-1, e[i]+1
			if v < 0 {
				num = -num
			}
			if abs(v) < 1 {
				z := float32(v * v)
				num = v * (float32(z*(float32(z*21)+1260)) + 10395)
				den = float32(z*(float32(z*(z+210))+4725)) + 10395
			}
			y0[i] = num / den
		}
		x, y = x[n:], y[n:]
	}
}
