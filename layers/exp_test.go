package layers

import (
	"fmt"
	"math"
	"testing"
)

func TestExpLayer(t *testing.T) {
	for _, c := range []struct{ base, scale, shift float64 }{
		{-1, 1, 0}, {-1, -0.5, 1}, {2, 0.5, 0.1}, {0.5, 1, 0}, {10, 0.25, -1}, {1, 1, 1}, {-1, 0, 2},
	} {
		text := fmt.Sprintf(`type: "Exp" exp_param { base: %v scale: %v shift: %v }`, c.base, c.scale, c.shift)
		base := c.base
		if base == -1 {
			base = math.E
		}
		f := func(x float64) float64 { return math.Pow(base, float64(float32(c.shift))+c.scale*x) }
		df := func(x float64) float64 { return f(x) * c.scale * math.Log(base) }
		testNeuron(t, text, f, df, -4, 4, 2e-6, false)
		checkGradient(t, gradCheck{}, text, blobs(randomBlob(1, 2, 3)), 1)
	}
	testNeuron(t, `type: "Exp"`, math.Exp, math.Exp, -4, 4, 1e-6, false)
}

func TestExpErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2))
	for _, base := range []string{"0", "-2", "nan", "inf"} {
		wantError(t, train, `type: "Exp" exp_param { base: `+base+` }`, x, 1, "exp_param: base must be greater than 0, or -1 for e, not ")
	}
}
