package synth

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"

	"crema/internal/rng"
)

const (
	// MinSize is the least height and width of an image in pixels.
	MinSize = 8
	// MaxSize is the greatest: an image of this size still fits in a Datum
	// with room to spare.
	MaxSize = 4096
)

// Shape is the shape of an image.
type Shape struct {
	Channels      int // 1 (grey) or 3 (blue, green, red)
	Height, Width int // pixels, MinSize to MaxSize
}

// Bytes returns the number of bytes of an image.
func (s Shape) Bytes() int { return s.Channels * s.Height * s.Width }

func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.Channels, s.Height, s.Width) }

// Check says what is wrong with a shape, if anything.
func (s Shape) Check() error {
	if s.Channels != 1 && s.Channels != 3 {
		return fmt.Errorf("shape %v: %d channels, must be 1 or 3", s, s.Channels)
	}
	if min(s.Height, s.Width) < MinSize || max(s.Height, s.Width) > MaxSize {
		return fmt.Errorf("shape %v: height and width must be %d to %d", s, MinSize, MaxSize)
	}
	return nil
}

// A Set is a labelled image set that is drawn, not stored.
type Set interface {
	// Shape of every image.
	Shape() Shape
	// Classes is the number of classes; labels are 0 to Classes()-1.
	Classes() int
	// ClassName describes a class in a few words.
	ClassName(label int) string
	// Label returns the label of image i of a split without drawing it.
	Label(split string, i int) int
	// NewDrawer returns a drawer with scratch of its own.
	NewDrawer() Drawer
}

// A Drawer draws images of a set, one at a time.
type Drawer interface {
	// Draw draws image i of a split into pix, which has Shape().Bytes()
	// bytes, and returns its label.
	Draw(split string, i int, pix []byte) (label int)
}

// label deals out the classes: each run of that many images is a permutation
// of them.
func label(seed uint64, split string, classes, i int) int {
	r := rng.New(seed, "label/"+split, uint64(i/classes))
	return permute(r, classes, i%classes)
}

// permute returns where a random permutation of 0…n-1 takes x, without a table:
// rounds of steps that are bijections of b-bit numbers (add, multiply by an odd
// number, exclusive-or with the upper half), repeated until the result is below
// n. As 2^b < 2n, that takes two turns on average at most; x lies on a cycle of
// its own, so it ends.
func permute(r *rand.Rand, n, x int) int {
	b := bits.Len(uint(n - 1))
	mask := uint(1)<<b - 1
	var add, mul [3]uint
	for k := range add {
		add[k], mul[k] = uint(r.Uint64()), uint(r.Uint64())|1
	}
	v := uint(x)
	for {
		for k := range add {
			v = (v + add[k]) * mul[k] & mask
			v ^= v >> ((b + 1) / 2)
		}
		if v < uint(n) {
			return int(v)
		}
	}
}

// uniform returns a number in [lo, hi).
func uniform(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// A colour has one value per channel, 0 to 255; of a grey image only the first
// counts.
type colour [3]float32

// distance is Euclidean, scaled so that black and white are 441 apart in grey
// as well as in colour.
func (a colour) distance(b colour, channels int) float64 {
	if channels == 1 {
		return math.Sqrt(3) * math.Abs(float64(a[0]-b[0]))
	}
	var s float64
	for k := range a {
		d := float64(a[k] - b[k])
		s += d * d
	}
	return math.Sqrt(s)
}

// pick draws a colour whose distance from each of the given ones lies in
// [lo, hi], or after some tries the one that misses this least.
func pick(r *rand.Rand, channels int, lo, hi float64, from ...colour) colour {
	var best colour
	bestMiss := math.Inf(1)
	for range 40 {
		c := colour{float32(r.IntN(256)), float32(r.IntN(256)), float32(r.IntN(256))}
		miss := 0.0
		for _, f := range from {
			d := c.distance(f, channels)
			miss = max(miss, lo-d, d-hi)
		}
		if miss < bestMiss {
			best, bestMiss = c, miss
		}
		if miss <= 0 {
			break
		}
	}
	return best
}
