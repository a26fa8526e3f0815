package layers

import (
	"math"
	"testing"
)

func TestELU(t *testing.T) {
	for text, alpha := range map[string]float64{``: 1, `elu_param { alpha: 0.7 }`: 0.7, `elu_param { alpha: 0 }`: 0, `elu_param { alpha: -0.5 }`: -0.5} {
		alpha := float64(float32(alpha))
		f := func(x float64) float64 {
			if x > 0 {
				return x
			}
			return alpha * math.Expm1(x)
		}
		df := func(x float64) float64 {
			if x > 0 {
				return 1
			}
			return alpha * math.Exp(x)
		}
		testNeuron(t, `type: "ELU" `+text, f, df, -15, 5, 5e-7, alpha < 0)
		checkGradient(t, gradCheck{}, `type: "ELU" `+text, blobs(distinctBlob(1, 0.2, 2, 7)), 1)
	}
	x := blobOf(shape(2), 0, 0)
	l, top := newLayer(t, testContext(train), `type: "ELU" elu_param { alpha: 0.5 }`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	copy(top[0].Diff(), []float32{1, 2})
	backward(t, l, blobs(x), top)
	equal(t, "gradient at 0", x.Diff(), 0.5, 1)
}
