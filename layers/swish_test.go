package layers

import (
	"fmt"
	"math"
	"testing"
)

func TestSwish(t *testing.T) {
	for _, beta := range []float64{1, 1.5, 0, -2} {
		text := fmt.Sprintf(`type: "Swish" swish_param { beta: %v }`, beta)
		s := func(x float64) float64 { return 1 / (1 + math.Exp(-beta*x)) }
		f := func(x float64) float64 { return x * s(x) }
		df := func(x float64) float64 { return s(x) * (1 + beta*x*(1-s(x))) }
		testNeuron(t, text, f, df, -20, 20, 1e-6, true)
		checkGradient(t, gradCheck{}, text, blobs(randomBlob(1, 2, 3)), 1)
	}
	x := blobOf(shape(1), 1)
	l, top := newLayer(t, testContext(train), `type: "Swish"`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	near(t, "default beta", 1e-6, top[0].Data(), 0.7310586)
}
