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
