package layers

import (
	"math"

	"crema/asm"
)

// The functions that squash numbers into an interval, for whole slices: x and y
// must be equally long and may be the same. A NaN stays one.

// sigmoids computes y = 1/(1+exp(−x)).
func sigmoids(x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = -v
	}
	asm.Exp(y, y)
	for i, e := range y {
		y[i] = 1 / (1 + e)
	}
}

// tanhs computes y = tanh(x) to within a few units in the last place.
func tanhs(x, y []float32) {
	const (
		chunk = 256
		// Below it the power series, above it 1 − 2/(exp(2|x|)+1), which loses
		// digits to the subtraction the smaller x is.
		small = 0.3
	)
	smallBits := math.Float32bits(small)
	var e [chunk]float32
	for len(x) > 0 {
		n := min(len(x), chunk)
		for i, v := range x[:n] {
			e[i] = 2 * math.Float32frombits(math.Float32bits(v)&^(1<<31))
		}
		asm.Exp(e[:n], e[:n])
		for i, v := range x[:n] {
			s := float32(v * v)
			p := float32(s*(62./2835)) - 17./315
			p = float32(p*s) + 2./15
			p = float32(p*s) - 1./3
			p = float32(float32(p*s)*v) + v
			q := 1 - 2/(e[i]+1)
			// Which of them without a branch, which would be guessed wrong
			// half of the time.
			bits := math.Float32bits(v)
			sign := bits & (1 << 31)
			near := uint32(int32(bits&^(1<<31)-smallBits) >> 31) // all ones or zero
			y[i] = math.Float32frombits(math.Float32bits(p)&near | (math.Float32bits(q)|sign)&^near)
		}
		x, y = x[n:], y[n:]
	}
}
