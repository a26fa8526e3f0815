package layers

import (
	"math"
	"testing"
)

func TestAbsVal(t *testing.T) {
	df := func(x float64) float64 {
		if x == 0 {
			return 0
		}
		return math.Copysign(1, x)
	}
	testNeuron(t, `type: "AbsVal"`, math.Abs, df, -3, 4, 0, true)
	checkGradient(t, gradCheck{}, `type: "AbsVal"`, blobs(distinctBlob(1, 0.2, 2, 7)), 1)
	x := blobOf(shape(2), 0, float32(math.Copysign(0, -1)))
	l, top := newLayer(t, testContext(train), `type: "AbsVal"`, blobs(x), 1)
	copy(top[0].Diff(), []float32{1, 2})
	backward(t, l, blobs(x), top)
	equal(t, "gradient at 0", x.Diff(), 0, 0)
	if err := l.Reshape(blobs(x), blobs(x)); err == nil {
		t.Error("in-place computation was accepted")
	}
}
