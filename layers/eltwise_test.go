package layers

import (
	"log/slog"
	"strings"
	"testing"

	"crema/tensor"
)

func TestEltwise(t *testing.T) {
	a, b, c := blobOf(shape(4), 1, -2, 3, 0), blobOf(shape(4), 1, 5, -1, 0), blobOf(shape(4), 1, 5, 7, 2)
	for _, k := range []struct {
		param  string
		bottom []*tensor.Blob
		want   []float32
		dx     [][]float32 // for a gradient of 1, 2, 3, 4
	}{
		{``, blobs(a, b), []float32{2, 3, 2, 0}, [][]float32{{1, 2, 3, 4}, {1, 2, 3, 4}}},
		{`coeff: 2 coeff: -1 coeff: 1`, blobs(a, b, c), []float32{2, -4, 14, 2}, [][]float32{{2, 4, 6, 8}, {-1, -2, -3, -4}, {1, 2, 3, 4}}},
		{`operation: PROD`, blobs(a, b, c), []float32{1, -50, -21, 0}, [][]float32{{1, 50, -21, 0}, {1, -20, 63, 0}, {1, -20, -9, 0}}},
		{`operation: PROD stable_prod_grad: false`, blobs(a, b), []float32{1, -10, -3, 0}, [][]float32{{1, 10, -3, 0}, {1, -4, 9, 0}}},
		{`operation: MAX`, blobs(a, b), []float32{1, 5, 3, 0}, [][]float32{{0, 0, 3, 0}, {1, 2, 0, 4}}},
		{`operation: MAX`, blobs(a, b, c), []float32{1, 5, 7, 2}, [][]float32{{0, 0, 0, 0}, {1, 2, 0, 0}, {0, 0, 3, 4}}},
	} {
		l, top := newLayer(t, testContext(train), `type: "Eltwise" eltwise_param { `+k.param+` }`, k.bottom, 1)
		forward(t, l, k.bottom, top)
		equal(t, k.param, top[0].Data(), k.want...)
		copy(top[0].Diff(), []float32{1, 2, 3, 4})
		backward(t, l, k.bottom, top)
		for i, x := range k.bottom {
			equal(t, k.param+" gradient", x.Diff(), k.dx[i]...)
		}
	}
}

func TestEltwiseGradient(t *testing.T) {
	x := blobs(distinctBlob(1, 0.1, 2, 3, 2), distinctBlob(2, 0.11, 2, 3, 2), distinctBlob(3, 0.13, 2, 3, 2))
	for _, param := range []string{``, `coeff: 0.5 coeff: -2 coeff: 1`, `operation: PROD`, `operation: PROD stable_prod_grad: false`, `operation: MAX`} {
		checkGradient(t, gradCheck{}, `type: "Eltwise" eltwise_param { `+param+` }`, x, 1)
	}
}

func TestEltwisePasses(t *testing.T) {
	for _, param := range []string{`coeff: 0.5 coeff: -2 coeff: 1`, `operation: PROD`, `operation: MAX`} {
		x := randomBlobs([][]int{{3, 19, 900}, {3, 19, 900}, {3, 19, 900}})
		checkPasses(t, `type: "Eltwise" eltwise_param { `+param+` }`, x, 1)
	}
}

func TestEltwiseBlocked(t *testing.T) {
	x := blobs(randomBlob(1, 2, 32, 3, 5), randomBlob(2, 2, 32, 3, 5))
	for _, param := range []string{``, `operation: PROD`, `operation: MAX`} {
		checkBlocked(t, `type: "Eltwise" eltwise_param { `+param+` }`, x, 1)
	}
}

func TestEltwiseErrors(t *testing.T) {
	a, b := randomBlob(1, 2, 3), randomBlob(2, 2, 3)
	wantError(t, train, `type: "Eltwise"`, blobs(a), 1, "at least 2 bottom")
	wantError(t, train, `type: "Eltwise"`, blobs(a, b, tensor.New(3, 2)), 1, "bottoms must have the same shape: bottom 0 is 2×3, bottom 2 is 3×2")
	wantError(t, train, `type: "Eltwise" eltwise_param { coeff: 1 }`, blobs(a, b), 1, "1 coeff values for 2 bottom blobs")
	wantError(t, train, `type: "Eltwise" eltwise_param { operation: PROD coeff: 1 coeff: 1 }`, blobs(a, b), 1, "coeff is only for SUM")
	l, _ := newLayer(t, testContext(train), `type: "Eltwise"`, blobs(a, b), 1)
	if err := l.Reshape(blobs(a, b), blobs(a)); err == nil || !strings.Contains(err.Error(), "in place") {
		t.Errorf("in-place computation: %v", err)
	}
	// Caffe runs this one, without a word.
	var log strings.Builder
	ctx := testContext(train)
	ctx.Log = slog.New(slog.NewTextHandler(&log, nil))
	newLayer(t, ctx, `name: "m" type: "Eltwise" eltwise_param { operation: MAX coeff: 1 coeff: 2 }`, blobs(a, b), 1)
	if !strings.Contains(log.String(), "Layer m: coeff is only for SUM: ignored") {
		t.Errorf("log: %q", log.String())
	}
}
