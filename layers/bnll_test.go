package layers

import (
	"math"
	"testing"
)

func TestBNLL(t *testing.T) {
	f := func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
	df := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	testNeuron(t, `type: "BNLL"`, f, df, -20, 20, 5e-7, true)
	testNeuron(t, `type: "BNLL"`, f, df, -200, 200, 5e-7, true)
	checkGradient(t, gradCheck{}, `type: "BNLL"`, blobs(randomBlob(1, 2, 3)), 1)
}
