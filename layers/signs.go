package layers

import "math"

// Functions that choose by the sign without a branch, which would be guessed wrong
// half of the time.

// abs returns |x|.
func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// parts returns max(x, 0) and min(x, 0). Of a NaN one is NaN,
// the other 0.
func parts(x float32) (positive, negative float32) {
	b := math.Float32bits(x)
	sign := uint32(int32(b) >> 31)
	return math.Float32frombits(b &^ sign), math.Float32frombits(b & sign)
}

// slope returns 1 for x > 0, and for a NaN that has no sign; low for others.
func slope(x, low float32) float32 {
	b := math.Float32bits(x)
	// The sign of x, and that of its bits less 1, which only 0 has beside it.
	not := uint32(int32(b|(b-1)) >> 31)
	return math.Float32frombits(math.Float32bits(low)&not | math.Float32bits(1)&^not)
}
