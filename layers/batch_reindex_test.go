package layers

import (
	"testing"

	"crema/tensor"
)

func TestBatchReindex(t *testing.T) {
	x := blobOf(shape(3, 2), 1, 2, 3, 4, 5, 6)
	bottom := blobs(x, blobOf(shape(4), 2, 0.75, 2, 0))
	l, top := newLayer(t, testContext(train), `type: "BatchReindex"`, bottom, 1)
	wantShape(t, "top", top[0], 4, 2)
	forward(t, l, bottom, top)
	equal(t, "top", top[0].Data(), 5, 6, 1, 2, 5, 6, 1, 2)
	copy(top[0].Diff(), []float32{1, 2, 3, 4, 5, 6, 7, 8})
	copy(x.Diff(), []float32{9, 9, 9, 9, 9, 9})
	if err := l.Backward(top, []bool{true, false}, bottom); err != nil {
		t.Fatal(err)
	}
	equal(t, "gradient", x.Diff(), 10, 12, 0, 0, 6, 8)
}

// No index makes a top of no records.
func TestBatchReindexNone(t *testing.T) {
	bottom := blobs(randomBlob(1, 3, 2), tensor.New(0))
	l, top := newLayer(t, testContext(train), `type: "BatchReindex"`, bottom, 1)
	wantShape(t, "top", top[0], 0, 2)
	forward(t, l, bottom, top)
	bottom[0].Diff()[0] = 9
	if err := l.Backward(top, []bool{true, false}, bottom); err != nil {
		t.Fatal(err)
	}
	equal(t, "gradient", bottom[0].Diff(), make([]float32, 6)...)
}

func TestBatchReindexGradient(t *testing.T) {
	checkGradient(t, gradCheck{skipBottom: []int{1}}, `type: "BatchReindex"`, blobs(randomBlob(1, 3, 2, 2), blobOf(shape(4), 2, 0, 2, 2)), 1)
}

func TestBatchReindexPasses(t *testing.T) {
	indices := tensor.New(50)
	for i := range indices.Data() {
		indices.Data()[i] = float32(i * i % 30)
	}
	checkPasses(t, `type: "BatchReindex"`, blobs(randomBlob(1, 30, 16, 20, 17), indices), 1, 1)
	checkPasses(t, `type: "BatchReindex"`, blobs(randomBlob(1, 30), indices), 1, 1)
}

func TestBatchReindexErrors(t *testing.T) {
	const text = `type: "BatchReindex"`
	wantError(t, train, text, blobs(tensor.New(2, 3), tensor.New(2, 1)), 1, "must have one axis, not shape 2×1")
	wantError(t, train, text, blobs(tensor.New(), tensor.New(2)), 1, "it is a scalar")
	wantForwardError(t, text, blobs(tensor.New(2, 3), blobOf(shape(2), 0, 2)), "there are 2 records: index 2 at position 1 is outside 0 to 1")
	wantForwardError(t, text, blobs(tensor.New(2, 3), blobOf(shape(2), -1, 0)), "index -1 at position 0")
	wantForwardError(t, text, blobs(tensor.New(0, 3), blobOf(shape(1), 0)), "there are 0 records")
	wantBackwardError(t, text, blobs(tensor.New(2, 3), tensor.New(2)), 1, 1, "cannot propagate to the indices")
	x := blobs(tensor.New(2, 3), tensor.New(2))
	l, _ := newLayer(t, testContext(train), text, x, 1)
	if err := l.Reshape(x, x[:1]); err == nil {
		t.Error("in-place computation was accepted")
	}
}
