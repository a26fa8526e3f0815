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
