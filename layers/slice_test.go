package layers

import (
	"strings"
	"testing"

	"crema/tensor"
)

func TestSlice(t *testing.T) {
	x := blobOf(shape(2, 3, 2), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	for _, c := range []struct {
		param string
		want  [][]float32
		shape [][]int
	}{
		{``, [][]float32{{1, 2, 7, 8}, {3, 4, 9, 10}, {5, 6, 11, 12}}, [][]int{{2, 1, 2}, {2, 1, 2}, {2, 1, 2}}},
		{`slice_point: 2`, [][]float32{{1, 2, 3, 4, 7, 8, 9, 10}, {5, 6, 11, 12}}, [][]int{{2, 2, 2}, {2, 1, 2}}},
		{`slice_point: 3 axis: -2`, [][]float32{x.Data(), {}}, [][]int{{2, 3, 2}, {2, 0, 2}}},
		{`slice_dim: 0`, [][]float32{{1, 2, 3, 4, 5, 6}, {7, 8, 9, 10, 11, 12}}, [][]int{{1, 3, 2}, {1, 3, 2}}},
		{`axis: 2`, [][]float32{{1, 3, 5, 7, 9, 11}, {2, 4, 6, 8, 10, 12}}, [][]int{{2, 3, 1}, {2, 3, 1}}},
	} {
		l, top := newLayer(t, testContext(train), `type: "Slice" slice_param {`+c.param+`}`, blobs(x), len(c.want))
		forward(t, l, blobs(x), top)
		for i, y := range top {
			wantShape(t, c.param, y, c.shape[i]...)
			equal(t, c.param, y.Data(), c.want[i]...)
		}
	}
}

// A top that nobody propagates to has no gradient: it counts as zero.
func TestSliceWithoutGradient(t *testing.T) {
	x := randomBlob(1, 2, 3)
	l, top := newLayer(t, testContext(train), `type: "Slice"`, blobs(x), 3)
	copy(top[1].Diff(), []float32{4, 5})
	copy(x.Diff(), []float32{9, 9, 9, 9, 9, 9})
	backward(t, l, blobs(x), top)
	equal(t, "gradient", x.Diff(), 0, 4, 0, 0, 5, 0)
	if top[0].HasDiff() {
		t.Error("Backward allocated a gradient that nobody asked for")
	}
}

func TestSliceOne(t *testing.T) {
	checkView(t, `type: "Slice"`)
	// In place it is the identity.
	x := blobs(randomBlob(1, 2, 3))
	l, _ := newLayer(t, testContext(train), `type: "Slice"`, x, 1)
	if err := l.Reshape(x, x); err != nil {
		t.Error(err)
	}
}

func TestSliceGradient(t *testing.T) {
	for _, param := range []string{``, `slice_param { slice_point: 1 slice_point: 2 }`, `slice_param { axis: 0 slice_point: 1 slice_point: 2 }`, `slice_param { axis: -1 }`} {
		checkGradient(t, gradCheck{}, `type: "Slice" `+param, blobs(randomBlob(1, 3, 3, 3)), 3)
	}
}

func TestSlicePasses(t *testing.T) {
	checkPasses(t, `type: "Slice" slice_param { slice_point: 16 }`, blobs(randomBlob(1, 3, 64, 40, 37)), 2)
	checkPasses(t, `type: "Slice" slice_param { axis: 3 slice_point: 1 }`, blobs(randomBlob(1, 3, 16, 40, 30)), 2)
}

func TestSliceBlocked(t *testing.T) {
	checkBlocked(t, `type: "Slice" slice_param { slice_point: 16 slice_point: 48 }`, blobs(randomBlob(1, 2, 96, 5, 7)), 3)
	checkBlocked(t, `type: "Slice" slice_param { axis: 0 slice_point: 2 }`, blobs(randomBlob(1, 5, 32, 5, 7)), 2)
	checkBlocked(t, `type: "Slice" slice_param { axis: 2 slice_point: 1 }`, blobs(randomBlob(1, 2, 32, 5, 7)), 2)
	checkBlocked(t, `type: "Slice" slice_param { axis: -1 slice_point: 3 }`, blobs(randomBlob(1, 2, 32, 5, 7)), 2)
	checkBlocked(t, `type: "Slice"`, blobs(randomBlob(1, 2, 16, 5, 7)), 1)
}

func TestSliceErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2, 6, 4))
	wantError(t, train, `type: "Slice" slice_param { axis: 1 slice_dim: 1 }`, x, 2, "either axis or slice_dim")
	wantError(t, train, `type: "Slice" slice_param { axis: 3 }`, x, 2, "axis 3 out of range")
	wantError(t, train, `type: "Slice" slice_param { slice_dim: 4294967295 }`, x, 2, "slice_dim: axis 4294967295 out of range")
	wantError(t, train, `type: "Slice"`, x, 4, "length 6 is not a multiple of the number of tops, 4")
	wantError(t, train, `type: "Slice" slice_param { slice_point: 2 }`, x, 3, "3 tops need 2 values of slice_point, not 1")
	wantError(t, train, `type: "Slice" slice_param { slice_point: 0 }`, x, 2, "slice_point 0 must be more than")
	wantError(t, train, `type: "Slice" slice_param { slice_point: 3 slice_point: 3 }`, x, 3, "slice_point 3 must be more than the one before (3)")
	wantError(t, train, `type: "Slice" slice_param { slice_point: 7 }`, x, 2, "at most the length, 6")
	l, top := newLayer(t, testContext(train), `type: "Slice"`, x, 2)
	if err := l.Reshape(x, blobs(top[0], x[0])); err == nil {
		t.Error("in-place computation was accepted")
	}
	// A bottom that changes so that a top no longer is of whole blocks.
	b := blobs(tensor.New(2, 64, 3, 3))
	l, top = newLayer(t, testContext(train), `type: "Slice"`, b, 4)
	for _, y := range append(top, b...) {
		y.SetLayout(tensor.Blocked)
	}
	b[0].Reshape(2, 32, 3, 3)
	if err := l.Reshape(b, top); err == nil || !strings.Contains(err.Error(), "multiple of 16") {
		t.Errorf("tops of 8 channels: %v", err)
	}
}
