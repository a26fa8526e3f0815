package layers

import (
	"math"
	"testing"

	"crema/tensor"
)

func TestSplit(t *testing.T) {
	x := blobOf(shape(2, 2), 1, 2, 3, 4)
	l, top := newLayer(t, testContext(train), `type: "Split"`, blobs(x), 3)
	forward(t, l, blobs(x), top)
	for _, y := range top {
		wantShape(t, "top", y, 2, 2)
		equal(t, "top", y.Data(), 1, 2, 3, 4)
		if !y.SharesData(x) {
			t.Error("a top has its own copy of the values")
		}
	}
	copy(x.Diff(), []float32{float32(math.NaN()), 7, 7, 7})
	copy(top[0].Diff(), []float32{1, 2, 3, 4})
	copy(top[2].Diff(), []float32{10, 20, 30, 40})
	// Nobody propagates to the second top: it has no gradient.
	backward(t, l, blobs(x), top)
	equal(t, "bottom gradient", x.Diff(), 11, 22, 33, 44)
	if top[1].HasDiff() {
		t.Error("Backward allocated a gradient that nobody asked for")
	}
	copy(top[1].Diff(), []float32{100, 100, 100, 100})
	backward(t, l, blobs(x), top)
	equal(t, "bottom gradient of three", x.Diff(), 111, 122, 133, 144)

	if err := l.Backward(top, []bool{false}, blobs(x)); err != nil {
		t.Fatal(err)
	}
	equal(t, "bottom gradient, not propagated", x.Diff(), 111, 122, 133, 144)
}

func TestSplitWithoutGradients(t *testing.T) {
	x := blobOf(shape(2), 1, 2)
	l, top := newLayer(t, testContext(train), `type: "Split"`, blobs(x), 2)
	x.Diff()[0] = 5
	backward(t, l, blobs(x), top)
	equal(t, "bottom gradient", x.Diff(), 0, 0)
}

func TestSplitGradient(t *testing.T) {
	checkGradient(t, gradCheck{}, `type: "Split"`, blobs(randomBlob(1, 2, 3)), 2)
}

func TestSplitThreads(t *testing.T) {
	const n = 3*elemGrain + 5
	sameForThreads(t, func() [][]float32 {
		x := randomBlob(1, n)
		l, top := newLayer(t, testContext(train), `type: "Split"`, blobs(x), 3)
		for i, y := range top {
			copy(y.Diff(), randomBlob(uint64(2+i), n).Data())
		}
		backward(t, l, blobs(x), top)
		return [][]float32{clone(x.Diff())}
	})
}

func TestSplitInPlace(t *testing.T) {
	x := tensor.New(2)
	l, top := newLayer(t, testContext(train), `type: "Split"`, blobs(x), 2)
	top[1] = x
	if err := l.Reshape(blobs(x), top); err == nil {
		t.Error("in-place computation was accepted")
	}
}
