package layers

import (
	"testing"

	"crema/tensor"
)

func TestThreshold(t *testing.T) {
	for text, at := range map[string]float64{``: 0, `threshold_param { threshold: 0.5 }`: 0.5} {
		f := func(x float64) float64 {
			if x > at {
				return 1
			}
			return 0
		}
		testNeuron(t, `type: "Threshold" `+text, f, nil, -2, 2, 0, true)
	}
	x := blobOf(shape(3), 0.5, 1, -1)
	l, top := newLayer(t, testContext(train), `type: "Threshold" threshold_param { threshold: 0.5 }`, blobs(x), 1)
	if f := l.(LayoutTaker).Fit(tensor.Blocked, tensor.Blocked); f != Fits {
		t.Errorf("fit %v", f)
	}
	if err := l.Backward(top, []bool{true}, blobs(x)); err == nil {
		t.Error("propagated")
	}
	if err := l.Backward(top, []bool{false}, blobs(x)); err != nil {
		t.Error(err)
	}
	forward(t, l, blobs(x), blobs(x))
	equal(t, "in place", x.Data(), 0, 1, 0)
}
