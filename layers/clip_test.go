package layers

import "testing"

func TestClip(t *testing.T) {
	f := func(x float64) float64 { return min(max(x, -0.5), 0.75) }
	df := func(x float64) float64 {
		if x < -0.5 || x > 0.75 {
			return 0
		}
		return 1
	}
	testNeuron(t, `type: "Clip" clip_param { min: -0.5 max: 0.75 }`, f, df, -2, 2, 0, true)
	checkGradient(t, gradCheck{}, `type: "Clip" clip_param { min: -0.5 max: 0.75 }`, blobs(distinctBlob(1, 0.29, 2, 5)), 1)
	// At the bounds themselves the gradient passes.
	x := blobOf(shape(4), -1, 2, -1.5, 2.5)
	l, top := newLayer(t, testContext(train), `type: "Clip" clip_param { min: -1 max: 2 }`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	copy(top[0].Diff(), []float32{1, 2, 3, 4})
	backward(t, l, blobs(x), top)
	equal(t, "values", top[0].Data(), -1, 2, -1, 2)
	equal(t, "gradient", x.Diff(), 1, 2, 0, 0)
}

func TestClipErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2))
	wantError(t, train, `type: "Clip"`, x, 1, "clip_param: min and max are required")
	wantError(t, train, `type: "Clip" clip_param { min: 2 max: 1 }`, x, 1, "clip_param: min 2 must not be greater than max 1")
	wantError(t, train, `type: "Clip" clip_param { min: nan max: 1 }`, x, 1, "clip_param: min NaN must not be greater")
}
