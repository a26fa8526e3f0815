package layers

import (
	"math"
	"testing"

	"crema/tensor"
)

func TestMultinomialLogisticLoss(t *testing.T) {
	p, label := blobOf(shape(3, 2), 0.25, 0.75, 0.5, 0.5, 0, 1), labelBlob(shape(3, 1), 1, 0, 0)
	l, top := newLayer(t, testContext(train), `type: "MultinomialLogisticLoss"`, blobs(p, label), 1)
	wantShape(t, "loss", top[0])
	forward(t, l, blobs(p, label), top)
	near(t, "loss", 1e-5, top[0].Data(), float32(-(math.Log(.75)+math.Log(.5)+math.Log(1e-20))/3))
	top[0].Diff()[0] = 3
	copy(p.Diff(), []float32{7, 7, 7, 7, 7, 7})
	if err := l.Backward(top, []bool{true, false}, blobs(p, label)); err != nil {
		t.Fatal(err)
	}
	equal(t, "gradient", p.Diff(), 0, -1/float32(.75), -2, 0, -1/float32(1e-20), 0)
	p.Data()[1] = float32(math.NaN())
	forward(t, l, blobs(p, label), top)
	if v := top[0].Data()[0]; v == v {
		t.Errorf("the loss of NaN is %v", v)
	}
}

func TestMultinomialLogisticLossGradient(t *testing.T) {
	p := randomBlob(1, 3, 2, 2)
	for i, v := range p.Data() {
		p.Data()[i] = 0.4 + 0.1*max(min(v, 1), -1)
	}
	checkGradient(t, gradCheck{skipBottom: []int{1}, step: 1e-3}, `type: "MultinomialLogisticLoss"`, blobs(p, labelBlob(shape(3), 0, 3, 1)), 1)
}

func TestMultinomialLogisticLossPasses(t *testing.T) {
	checkPasses(t, `type: "MultinomialLogisticLoss"`, blobs(randomBlob(1, 90, 1000), tensor.New(90)), 1, 1)
}

func TestMultinomialLogisticLossErrors(t *testing.T) {
	const text = `type: "MultinomialLogisticLoss"`
	wantError(t, train, text, blobs(tensor.New(2, 3), tensor.New(3)), 1, "same first dimension")
	wantError(t, train, text, blobs(tensor.New(2, 3), tensor.New(2, 2)), 1, "one label for each of 2 records")
	wantForwardError(t, text, blobs(tensor.New(2, 3), labelBlob(shape(2), 0, 3)), "label 3 at position 1 is not a class")
	wantBackwardError(t, text, blobs(tensor.New(2, 3), tensor.New(2)), 1, 1, "cannot propagate to the labels")
}
