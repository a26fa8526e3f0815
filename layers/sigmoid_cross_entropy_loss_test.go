package layers

import (
	"math"
	"testing"

	"crema/tensor"
)

func TestSigmoidCrossEntropyLoss(t *testing.T) {
	x := blobOf(shape(2, 3), -1, 0, 2, -3, 0.5, 1)
	target := blobOf(shape(2, 3, 1), 0, 1, 0.25, -0.5, 7, 1)
	for _, c := range []struct {
		param   string
		ignore  func(t float64) bool
		divisor float64
	}{
		{``, nil, 2},
		{`loss_param { normalization: NONE }`, nil, 1},
		{`loss_param { normalization: FULL }`, nil, 6},
		{`loss_param { normalization: VALID }`, nil, 6},
		{`loss_param { normalize: true }`, nil, 6},
		{`loss_param { normalize: false }`, nil, 2},
		// Fractions are cut off before the comparison: −0.5, 0, 0.25.
		{`loss_param { ignore_label: 0 normalize: true }`, func(t float64) bool { return t > -1 && t < 1 }, 3},
		{`loss_param { ignore_label: 7 normalization: FULL }`, func(t float64) bool { return t == 7 }, 6},
	} {
		l, top := newLayer(t, testContext(train), `type: "SigmoidCrossEntropyLoss" `+c.param, blobs(x, target), 1)
		wantShape(t, "loss", top[0])
		forward(t, l, blobs(x, target), top)
		top[0].Diff()[0] = 3
		if err := l.Backward(top, []bool{true, false}, blobs(x, target)); err != nil {
			t.Fatal(err)
		}
		var loss float64
		dx := make([]float32, 6)
		for i, v := range x.Data() {
			tv := float64(target.Data()[i])
			if c.ignore != nil && c.ignore(tv) {
				continue
			}
			s := 1 / (1 + math.Exp(-float64(v)))
			loss -= tv*math.Log(s) + (1-tv)*math.Log(1-s)
			dx[i] = float32(3 * (s - tv) / c.divisor)
		}
		near(t, c.param, 1e-6, top[0].Data(), float32(loss/c.divisor))
		near(t, c.param+" gradient", 1e-6, x.Diff(), dx...)
	}
}

// Large scores neither overflow nor hide NaN.
func TestSigmoidCrossEntropyLossExtremes(t *testing.T) {
	x, target := blobOf(shape(1, 4), 1000, -1000, 1000, -1000), blobOf(shape(1, 4), 1, 0, 0, 1)
	l, top := newLayer(t, testContext(train), `type: "SigmoidCrossEntropyLoss"`, blobs(x, target), 1)
	forward(t, l, blobs(x, target), top)
	equal(t, "loss", top[0].Data(), 2000)
	top[0].Diff()[0] = 1
	if err := l.Backward(top, []bool{true, false}, blobs(x, target)); err != nil {
		t.Fatal(err)
	}
	equal(t, "gradient", x.Diff(), 0, 0, 1, -1)
	x.Data()[0] = float32(math.NaN())
	forward(t, l, blobs(x, target), top)
	if v := top[0].Data()[0]; v == v {
		t.Errorf("the loss of NaN is %v", v)
	}
}

func TestSigmoidCrossEntropyLossGradient(t *testing.T) {
	target := blobOf(shape(3, 4), 0, 1, 0.5, 1, 1, 1, 0, 0, 0.25, 0, 1, 0)
	for _, param := range []string{``, `loss_param { normalization: VALID ignore_label: 1 }`} {
		checkGradient(t, gradCheck{skipBottom: []int{1}}, `type: "SigmoidCrossEntropyLoss" `+param, blobs(randomBlob(1, 3, 4), target), 1)
	}
}

func TestSigmoidCrossEntropyLossPasses(t *testing.T) {
	const n = 3*lossChunk + 301
	checkPasses(t, `type: "SigmoidCrossEntropyLoss" loss_param { ignore_label: 1 normalize: true }`, blobs(randomBlob(1, 2, n), randomBlob(2, 2, n)), 1, 1)
}

func TestSigmoidCrossEntropyLossErrors(t *testing.T) {
	wantError(t, train, `type: "SigmoidCrossEntropyLoss"`, blobs(tensor.New(2, 3), tensor.New(3, 2)), 1, "same first dimension")
	wantError(t, train, `type: "SigmoidCrossEntropyLoss"`, blobs(tensor.New(2, 3), tensor.New(2)), 1, "a target for each value: bottoms are 2×3 and 2")
	wantBackwardError(t, `type: "SigmoidCrossEntropyLoss"`, blobs(tensor.New(2, 3), tensor.New(2, 3)), 1, 1, "cannot propagate to the labels")
}
