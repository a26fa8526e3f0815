package layers

import (
	"fmt"
	"math"
	"testing"
)

func TestLogLayer(t *testing.T) {
	for _, c := range []struct{ base, scale, shift float64 }{
		{-1, 1, 0}, {-1, 2, 1}, {2, 1, 0.5}, {10, 0.25, 0}, {0.5, 1, 2},
	} {
		text := fmt.Sprintf(`type: "Log" log_param { base: %v scale: %v shift: %v }`, c.base, c.scale, c.shift)
		base := c.base
		if base == -1 {
			base = math.E
		}
		f := func(x float64) float64 { return math.Log(c.shift+c.scale*x) / math.Log(base) }
		df := func(x float64) float64 { return c.scale / (math.Log(base) * (c.shift + c.scale*x)) }
		testNeuron(t, text, f, df, 0.3, 9, 1e-6, true)
		x := randomBlob(1, 2, 3)
		for i, v := range x.Data() {
			x.Data()[i] = 1 + abs(v)
		}
		checkGradient(t, gradCheck{}, text, blobs(x), 1)
	}
	testNeuron(t, `type: "Log"`, math.Log, func(x float64) float64 { return 1 / x }, 0.1, 4, 1e-6, true)
}

func TestLogErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2))
	for _, base := range []string{"0", "-2", "nan", "inf"} {
		wantError(t, train, `type: "Log" log_param { base: `+base+` }`, x, 1, "log_param: base must be greater than 0, or -1 for e, not ")
	}
	wantError(t, train, `type: "Log" log_param { base: 1 }`, x, 1, "log_param: base must not be 1")
}
