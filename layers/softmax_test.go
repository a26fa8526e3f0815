package layers

import (
	"math"
	"testing"

	"crema/tensor"
)

func TestSoftmax(t *testing.T) {
	// log 1, log 2, log 5 plus a constant: the constant cancels, even one that
	// exp could not take.
	log := func(v float64) float32 { return float32(math.Log(v)) }
	x := blobOf(shape(2, 3), log(1), log(2), log(5), 1000, 1000+log(2), 1000+log(5))
	l, top := newLayer(t, testContext(train), `type: "Softmax"`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	near(t, "top", 1e-4, top[0].Data(), .125, .25, .625, .125, .25, .625)
	// Equal scores along each axis in turn.
	for axis, want := range map[string]float32{"0": 1. / 2, "1": 1. / 3, "2": 1. / 4, "-1": 1. / 70} {
		x := ones(2, 3, 4, 70)
		l, top := newLayer(t, testContext(train), `type: "Softmax" softmax_param { axis: `+axis+` engine: CAFFE }`, blobs(x), 1)
		forward(t, l, blobs(x), top)
		for _, v := range top[0].Data() {
			if math.Abs(float64(v-want)) > 1e-7 {
				t.Fatalf("axis %s: %v, want %v", axis, v, want)
			}
		}
	}
}

func TestSoftmaxInPlace(t *testing.T) {
	x, b := randomBlob(1, 2, 3, 4), randomBlob(1, 2, 3, 4)
	l, top := newLayer(t, testContext(train), `type: "Softmax"`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	copy(top[0].Diff(), randomBlob(2, 24).Data())
	copy(b.Diff(), top[0].Diff())
	backward(t, l, blobs(x), top)
	forward(t, l, blobs(b), blobs(b))
	backward(t, l, blobs(b), blobs(b))
	equal(t, "in place", b.Data(), top[0].Data()...)
	equal(t, "gradient in place", b.Diff(), x.Diff()...)
}

func TestSoftmaxGradient(t *testing.T) {
	for _, param := range []string{``, `softmax_param { axis: 2 }`, `softmax_param { axis: -4 }`} {
		checkGradient(t, gradCheck{}, `type: "Softmax" `+param, blobs(randomBlob(1, 2, 4, 3, 2)), 1)
	}
	// More positions next to each other than are handled together.
	checkGradient(t, gradCheck{}, `type: "Softmax"`, blobs(randomBlob(1, 1, 3, columns+3)), 1)
}

func TestSoftmaxErrors(t *testing.T) {
	wantError(t, train, `type: "Softmax"`, blobs(tensor.New(3)), 1, "axis 1 out of range")
}

func TestSoftmaxPasses(t *testing.T) {
	checkPasses(t, `type: "Softmax"`, blobs(randomBlob(1, 3, 21, 40, 30)), 1)
	checkPasses(t, `type: "Softmax"`, blobs(randomBlob(1, 60, 1000)), 1)
}
