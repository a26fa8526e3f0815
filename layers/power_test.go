package layers

import (
	"fmt"
	"math"
	"testing"
)

func TestPower(t *testing.T) {
	for _, c := range []struct{ power, scale, shift, lo, hi float64 }{
		{1, 1, 0, -5, 5},
		{1, 0.25, -3, -5, 5},
		{1, 0, 3, -5, 5},
		{0, 2, 1, -5, 5},
		{2, 0.5, 1.5, -5, 5},
		{3, 1, 0, -3, 3},
		{2, 1, 0, -5, 5},
		{5, -0.5, 0.5, -2, 2},
		{-2, 1, 0, 0.5, 3},
		{-1, 1, 2, -1, 3},
		{0.5, 1, 0, 0.1, 9},
		{0.5, 1, 2, -1.5, 9},
		{1.5, 1, 2, -1.5, 9},
		{-0.5, 0.5, 1, -1, 9},
		{-0.75, 0.25, 1, -1, 9},
		{-0.25, 0.5, 1, -1, 9},
		{2.2, 1, 0, 0.1, 3},
		{3, 0, 1.5, -3, 3},
	} {
		text := fmt.Sprintf(`type: "Power" power_param { power: %v scale: %v shift: %v }`, c.power, c.scale, c.shift)
		power := float64(float32(c.power))
		f := func(x float64) float64 { return math.Pow(c.shift+c.scale*x, power) }
		df := func(x float64) float64 { return power * c.scale * math.Pow(c.shift+c.scale*x, power-1) }
		if c.power*c.scale == 0 { // whatever x is
			x := blobOf(shape(1), float32(math.NaN()))
			l, top := newLayer(t, testContext(train), text, blobs(x), 1)
			forward(t, l, blobs(x), top)
			equal(t, text, top[0].Data(), float32(f(1)))
		} else {
			testNeuron(t, text, f, df, c.lo, c.hi, 2e-6, true)
		}
		x := distinctBlob(1, float32(c.hi-c.lo)/14, 2, 6)
		for i := range x.Data() {
			x.Data()[i] += float32(c.lo+c.hi) / 2
		}
		checkGradient(t, gradCheck{}, text, blobs(x), 1)
	}
	testNeuron(t, `type: "Power"`, func(x float64) float64 { return x }, func(float64) float64 { return 1 }, -5, 5, 0, true)
	// What Caffe gives as 0/0.
	x := blobOf(shape(2), 0, 0)
	l, top := newLayer(t, testContext(train), `type: "Power" power_param { power: 3 }`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	copy(top[0].Diff(), []float32{1, 2})
	backward(t, l, blobs(x), top)
	equal(t, "gradient at 0", x.Diff(), 0, 0)
}
