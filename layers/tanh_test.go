package layers

import (
	"math"
	"testing"
)

func TestTanH(t *testing.T) {
	df := func(x float64) float64 { return 1 / math.Pow(math.Cosh(x), 2) }
	testNeuron(t, `type: "TanH"`, math.Tanh, df, -12, 12, 1e-6, false)
	testNeuron(t, `type: "TanH" tanh_param { engine: CUDNN }`, math.Tanh, df, -100, 100, 1e-6, false)
	checkGradient(t, gradCheck{}, `type: "TanH"`, blobs(randomBlob(1, 2, 3)), 1)
}

// TestTanHDigits checks that small results keep their digits.
func TestTanHDigits(t *testing.T) {
	inf := float32(math.Inf(1))
	for e := -140; e <= 6; e++ {
		for _, m := range []float64{1, 1.2, 1.7, 1.999} {
			x := float32(math.Ldexp(m, e))
			y := make([]float32, 2)
			tanh([]float32{x, -x}, y)
			want := math.Tanh(float64(x))
			if math.Abs(float64(y[0])/want-1) > 3e-7 || y[1] != -y[0] {
				t.Errorf("tanh(±%v) is %v, %v; not %v", x, y[0], y[1], want)
			}
		}
	}
	y := make([]float32, 6)
	tanh([]float32{inf, -inf, math.MaxFloat32, -math.MaxFloat32, 0, float32(math.Copysign(0, -1))}, y)
	equal(t, "tanh", y, 1, -1, 1, -1, 0, 0)
}
