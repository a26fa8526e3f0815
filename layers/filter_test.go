package layers

import (
	"math"
	"testing"

	"crema/tensor"
)

func TestFilter(t *testing.T) {
	a, b := blobOf(shape(3, 2), 1, 2, 3, 4, 5, 6), blobOf(shape(3, 1, 1), 7, 8, 9)
	for _, c := range []struct {
		selector     []float32
		wantA, wantB []float32
		da           []float32 // for gradients 1, 2, 3, …
	}{
		{[]float32{1, 0, -0.25}, []float32{1, 2, 5, 6}, []float32{7, 9}, []float32{1, 2, 0, 0, 3, 4}},
		{[]float32{0, float32(math.NaN()), 0}, []float32{3, 4}, []float32{8}, []float32{0, 0, 1, 2, 0, 0}},
		{[]float32{0, 0, 0}, nil, nil, []float32{0, 0, 0, 0, 0, 0}},
		{[]float32{1, 2, 3}, a.Data(), b.Data(), []float32{1, 2, 3, 4, 5, 6}},
	} {
		bottom := blobs(a, b, blobOf(shape(3, 1), c.selector...))
		l, top := newLayer(t, testContext(train), `type: "Filter"`, bottom, 2)
		wantShape(t, "at set-up", top[0], 3, 2)
		wantShape(t, "at set-up", top[1], 3, 1, 1)
		forward(t, l, bottom, top)
		wantShape(t, "top", top[0], len(c.wantB), 2)
		wantShape(t, "top", top[1], len(c.wantB), 1, 1)
		equal(t, "top", top[0].Data(), c.wantA...)
		equal(t, "top", top[1].Data(), c.wantB...)
		for i := range top[0].Diff() {
			top[0].Diff()[i] = float32(i + 1)
		}
		copy(a.Diff(), []float32{9, 9, 9, 9, 9, 9})
		if err := l.Backward(top, []bool{true, false, false}, bottom); err != nil {
			t.Fatal(err)
		}
		equal(t, "gradient", a.Diff(), c.da...)
		if b.HasDiff() {
			t.Error("a bottom got a gradient that was not asked for")
		}
	}
}

func TestFilterGradient(t *testing.T) {
	checkGradient(t, gradCheck{skipBottom: []int{2}}, `type: "Filter"`, blobs(randomBlob(1, 4, 3), randomBlob(2, 4, 2, 2), blobOf(shape(4), 1, 0, 1, 1)), 2)
}

func TestFilterPasses(t *testing.T) {
	selector := tensor.New(30)
	for i := range selector.Data() {
		selector.Data()[i] = float32(i % 3)
	}
	checkPasses(t, `type: "Filter"`, blobs(randomBlob(1, 30, 16, 20, 17), randomBlob(2, 30), selector), 2, 2)
}

func TestFilterErrors(t *testing.T) {
	const text = `type: "Filter"`
	wantError(t, train, text, blobs(tensor.New(2, 3), tensor.New(2)), 2, "there are 2 bottoms and 2 tops")
	wantError(t, train, text, blobs(tensor.New(2, 3), tensor.New(2, 3)), 1, "must have one value for each record (N, or N×1×…), not shape 2×3")
	wantError(t, train, text, blobs(tensor.New(2, 3), tensor.New()), 1, "not shape scalar")
	wantError(t, train, text, blobs(tensor.New(3, 3), tensor.New(2)), 1, "bottom 0 of shape 3×3 does not have as many records as the selector, 2")
	wantError(t, train, text, blobs(tensor.New(), tensor.New(1)), 1, "bottom 0 of shape scalar")
	wantBackwardError(t, text, blobs(tensor.New(2, 3), tensor.New(2)), 1, 1, "cannot propagate to the selector")
	x := blobs(tensor.New(2, 3), tensor.New(2))
	l, _ := newLayer(t, testContext(train), text, x, 1)
	if err := l.Reshape(x, x[:1]); err == nil {
		t.Error("in-place computation was accepted")
	}
}
