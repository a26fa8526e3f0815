package layers

import (
	"testing"

	"crema/tensor"
)

func TestConcat(t *testing.T) {
	a, b := blobOf(shape(2, 1, 2), 1, 2, 3, 4), blobOf(shape(2, 2, 2), 10, 20, 30, 40, 50, 60, 70, 80)
	for _, c := range []struct {
		param  string
		bottom []*tensor.Blob
		shape  []int
		want   []float32
	}{
		{``, blobs(a, b), shape(2, 3, 2), []float32{1, 2, 10, 20, 30, 40, 3, 4, 50, 60, 70, 80}},
		{`concat_param { axis: -2 }`, blobs(b, a), shape(2, 3, 2), []float32{10, 20, 30, 40, 1, 2, 50, 60, 70, 80, 3, 4}},
		{`concat_param { concat_dim: 0 }`, blobs(a, a), shape(4, 1, 2), []float32{1, 2, 3, 4, 1, 2, 3, 4}},
		{`concat_param { axis: 2 }`, blobs(a, a), shape(2, 1, 4), []float32{1, 2, 1, 2, 3, 4, 3, 4}},
		{`concat_param { axis: 0 }`, blobs(a, tensor.New(0, 1, 2), a), shape(4, 1, 2), []float32{1, 2, 3, 4, 1, 2, 3, 4}},
	} {
		l, top := newLayer(t, testContext(train), `type: "Concat" `+c.param, c.bottom, 1)
		wantShape(t, c.param, top[0], c.shape...)
		forward(t, l, c.bottom, top)
		equal(t, c.param, top[0].Data(), c.want...)
	}
}

func TestConcatOne(t *testing.T) {
	checkView(t, `type: "Concat"`)
	// In place it is the identity.
	x := blobs(randomBlob(1, 2, 3))
	l, _ := newLayer(t, testContext(train), `type: "Concat"`, x, 1)
	if err := l.Reshape(x, x); err != nil {
		t.Error(err)
	}
}

func TestConcatGradient(t *testing.T) {
	for _, param := range []string{``, `concat_param { axis: -1 }`, `concat_param { axis: 0 }`} {
		checkGradient(t, gradCheck{}, `type: "Concat" `+param, blobs(randomBlob(1, 2, 3, 2), randomBlob(2, 2, 3, 2), randomBlob(3, 2, 3, 2)), 1)
	}
}

func TestConcatPasses(t *testing.T) {
	checkPasses(t, `type: "Concat"`, blobs(randomBlob(1, 3, 16, 40, 37), randomBlob(2, 3, 48, 40, 37)), 1)
	checkPasses(t, `type: "Concat" concat_param { axis: 3 }`, blobs(randomBlob(1, 3, 16, 40, 1), randomBlob(2, 3, 16, 40, 29)), 1)
}

func TestConcatBlocked(t *testing.T) {
	checkBlocked(t, `type: "Concat"`, blobs(randomBlob(1, 2, 16, 5, 7), randomBlob(2, 2, 48, 5, 7), randomBlob(3, 2, 32, 5, 7)), 1)
	checkBlocked(t, `type: "Concat" concat_param { axis: 0 }`, blobs(randomBlob(1, 2, 32, 5, 7), randomBlob(2, 3, 32, 5, 7)), 1)
	checkBlocked(t, `type: "Concat" concat_param { axis: 2 }`, blobs(randomBlob(1, 2, 32, 5, 7), randomBlob(2, 2, 32, 1, 7)), 1)
	checkBlocked(t, `type: "Concat" concat_param { axis: -1 }`, blobs(randomBlob(1, 2, 32, 5, 7), randomBlob(2, 2, 32, 5, 3)), 1)
	checkBlocked(t, `type: "Concat"`, blobs(randomBlob(1, 2, 16, 5, 7)), 1)
}

func TestConcatErrors(t *testing.T) {
	x := randomBlob(1, 2, 3, 4)
	two := blobs(x, randomBlob(2, 2, 3, 4))
	wantError(t, train, `type: "Concat" concat_param { axis: 1 concat_dim: 1 }`, two, 1, "either axis or concat_dim")
	wantError(t, train, `type: "Concat" concat_param { axis: 3 }`, two, 1, "axis 3 out of range")
	wantError(t, train, `type: "Concat" concat_param { axis: -4 }`, two, 1, "axis -4 out of range")
	wantError(t, train, `type: "Concat" concat_param { concat_dim: 3 }`, two, 1, "concat_dim: axis 3 out of range")
	wantError(t, train, `type: "Concat" concat_param { concat_dim: 4294967295 }`, two, 1, "concat_dim: axis 4294967295 out of range")
	wantError(t, train, `type: "Concat"`, blobs(x, tensor.New(2, 3)), 1, "bottom 0 is 2×3×4, bottom 1 is 2×3")
	wantError(t, train, `type: "Concat"`, blobs(x, tensor.New(2, 3, 5)), 1, "same shape but for axis 1")
	wantError(t, train, `type: "Concat" concat_param { axis: 0 }`, blobs(tensor.New(1<<20, 1<<10), tensor.New(1<<20, 1<<10)), 1, "more than 2147483647 elements")
	l, _ := newLayer(t, testContext(train), `type: "Concat"`, two, 1)
	if err := l.Reshape(two, blobs(x)); err == nil {
		t.Error("in-place computation was accepted")
	}
}
