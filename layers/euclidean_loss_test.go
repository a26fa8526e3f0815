package layers

import (
	"testing"

	"crema/tensor"
)

func TestEuclideanLoss(t *testing.T) {
	// (1 + 4 + 9 + 16) / (2·2)
	a, b := blobOf(shape(2, 2), 1, 2, 3, 4), blobOf(shape(2, 1, 2), 0, 4, 0, 0)
	l, top := newLayer(t, testContext(train), `type: "EuclideanLoss"`, blobs(a, b), 1)
	wantShape(t, "loss", top[0])
	forward(t, l, blobs(a, b), top)
	equal(t, "loss", top[0].Data(), 7.5)
	top[0].Diff()[0] = 4
	backward(t, l, blobs(a, b), top)
	equal(t, "gradient", a.Diff(), 2, -4, 6, 8)
	equal(t, "gradient of the second", b.Diff(), -2, 4, -6, -8)
	a.Diff()[0] = 77
	if err := l.Backward(top, []bool{false, true}, blobs(a, b)); err != nil {
		t.Fatal(err)
	}
	if a.Diff()[0] != 77 {
		t.Error("Backward wrote a gradient that was not asked for")
	}
}

func TestEuclideanLossGradient(t *testing.T) {
	checkGradient(t, gradCheck{}, `type: "EuclideanLoss"`, blobs(randomBlob(1, 3, 2, 2), randomBlob(2, 3, 4)), 1)
}

// Caffe aborts on more than four axes; nothing speaks against them.
func TestEuclideanLossAxes(t *testing.T) {
	a, b := blobOf(shape(1, 1, 1, 1, 2), 1, 2), blobOf(shape(1, 2, 1, 1, 1), 3, 5)
	l, top := newLayer(t, testContext(train), `type: "EuclideanLoss"`, blobs(a, b), 1)
	forward(t, l, blobs(a, b), top)
	equal(t, "loss", top[0].Data(), 6.5)
}

func TestEuclideanLossPasses(t *testing.T) {
	checkPasses(t, `type: "EuclideanLoss"`, blobs(randomBlob(1, 7, 9000), randomBlob(2, 7, 9000)), 1)
}

func TestEuclideanLossErrors(t *testing.T) {
	wantError(t, train, `type: "EuclideanLoss"`, blobs(tensor.New(2, 3), tensor.New(3, 2)), 1, "same first dimension")
	wantError(t, train, `type: "EuclideanLoss"`, blobs(tensor.New(2, 3), tensor.New(2, 4)), 1, "equally many values")
}
