package layers

import (
	"math"
	"testing"
)

func TestSigmoid(t *testing.T) {
	f := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	df := func(x float64) float64 { return f(x) * f(-x) }
	testNeuron(t, `type: "Sigmoid"`, f, df, -20, 20, 1e-6, false)
	testNeuron(t, `type: "Sigmoid" sigmoid_param { engine: CUDNN }`, f, df, -200, 200, 1e-6, false)
	checkGradient(t, gradCheck{}, `type: "Sigmoid"`, blobs(randomBlob(1, 2, 3)), 1)
}
