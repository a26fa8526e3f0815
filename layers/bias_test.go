package layers

import (
	"testing"

	"crema/tensor"
)

func TestBias(t *testing.T) {
	x := blobOf(shape(2, 2, 2), 1, 2, 3, 4, 5, 6, 7, 8)
	for _, c := range []struct {
		param  string
		second *tensor.Blob
		want   []float32
	}{
		{`filler { value: 10 }`, nil, []float32{11, 12, 13, 14, 15, 16, 17, 18}},
		{`axis: 0`, blobOf(shape(2), 10, 20), []float32{11, 12, 13, 14, 25, 26, 27, 28}},
		{``, blobOf(shape(2), 10, 20), []float32{11, 12, 23, 24, 15, 16, 27, 28}},
		{`axis: -1`, blobOf(shape(2), 10, 20), []float32{11, 22, 13, 24, 15, 26, 17, 28}},
		{``, blobOf(shape(2, 2), 10, 20, 30, 40), []float32{11, 22, 33, 44, 15, 26, 37, 48}},
		{`axis: 7`, blobOf(shape(), 10), []float32{11, 12, 13, 14, 15, 16, 17, 18}},
	} {
		bottom := blobs(x)
		if c.second != nil {
			bottom = append(bottom, c.second)
		}
		l, top := newLayer(t, testContext(train), `type: "Bias" bias_param { `+c.param+` }`, bottom, 1)
		forward(t, l, bottom, top)
		equal(t, c.param, top[0].Data(), c.want...)
	}
}

// biases is scales without bias_term.
var biases = []struct {
	param  string
	shapes [][]int
}{
	{``, [][]int{{2, 3, 2, 2}}},
	{``, [][]int{{3, 4}}},
	{`axis: 0 num_axes: -1`, [][]int{{2, 3, 2}}},
	{`axis: -2 num_axes: 2`, [][]int{{2, 3, 2}}},
	{`num_axes: 0`, [][]int{{2, 3, 2}}},
	{`axis: 0`, [][]int{{2, 3, 2}, {2}}},
	{`axis: 0`, [][]int{{2, 3, 2}, {2, 3, 2}}},
	{``, [][]int{{2, 3, 2}, {}}},
}

func TestBiasGradient(t *testing.T) {
	for _, c := range biases {
		checkGradient(t, gradCheck{}, `type: "Bias" bias_param { `+c.param+` }`, randomBlobs(c.shapes), 1)
	}
}

func TestBiasInPlace(t *testing.T) {
	for _, c := range biases {
		checkInPlace(t, `type: "Bias" bias_param { `+c.param+` filler { type: "gaussian" } }`, randomBlobs(c.shapes), true)
	}
}

func TestBiasPasses(t *testing.T) {
	checkPasses(t, `type: "Bias"`, blobs(randomBlob(1, 3, 5, 130, 128)), 1)
	checkPasses(t, `type: "Bias"`, blobs(randomBlob(1, 600, 150)), 1)
	checkPasses(t, `type: "Bias" bias_param { axis: 0 }`, blobs(randomBlob(1, 3, 50, 300), randomBlob(2, 3, 50)), 1)
	checkPasses(t, `type: "Bias" bias_param { axis: 0 }`, blobs(randomBlob(1, 3, 50, 300), randomBlob(2, 3, 50, 300)), 1)
}

func TestBiasBlocked(t *testing.T) {
	checkBlockedNear(t, 1e-5, `type: "Bias" bias_param { filler { type: "gaussian" } }`, blobs(randomBlob(1, 3, 48, 41, 37)), 1)
	checkBlockedNear(t, 1e-5, `type: "Bias" bias_param { num_axes: 0 }`, blobs(randomBlob(1, 3, 48, 41, 37)), 1)
	checkBlocked(t, `type: "Bias" bias_param { axis: 0 }`, blobs(randomBlob(1, 2, 32, 3, 5), randomBlob(2, 2, 32, 3, 5)), 1)
	l, _ := newLayer(t, testContext(train), `type: "Bias" bias_param { axis: 0 num_axes: -1 }`, blobs(randomBlob(1, 2, 32, 3, 3)), 1)
	if got := l.(LayoutTaker).Fit(tensor.Blocked, tensor.Blocked); got != Unfit {
		t.Errorf("a parameter of the bottom's shape: fit %v", got)
	}
}

func TestBiasErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2, 3, 4))
	wantError(t, train, `type: "Bias" bias_param { axis: 3 }`, x, 1, "bias_param: axis: axis 3 out of range")
	wantError(t, train, `type: "Bias" bias_param { num_axes: 3 }`, x, 1, "num_axes must be -1 or 0 to 2 for axis 1 of a bottom of shape 2×3×4, not 3")
	wantError(t, train, `type: "Bias" bias_param { num_axes: -2 }`, x, 1, "not -2")
	wantError(t, train, `type: "Bias" bias_param { filler { type: "odd" } }`, x, 1, `bias: unknown filler type "odd"`)
	wantError(t, train, `type: "Bias"`, blobs(x[0], randomBlob(2, 3, 5)), 1, "the shape 3×5 is not that of the axes from 1 on of a bottom of shape 2×3×4")
	wantError(t, train, `type: "Bias"`, blobs(x[0], x[0], x[0]), 1, "at most 2 bottom")
}
