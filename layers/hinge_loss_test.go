package layers

import (
	"math"
	"testing"

	"crema/tensor"
)

func TestHingeLoss(t *testing.T) {
	// 1 − s·x is 1.5, 0, 2.5 / 0, −0.5, 3.
	x, label := blobOf(shape(2, 3), -0.5, -1, 1.5, -1, 1.5, 2), labelBlob(shape(2, 1), 0, 1)
	for _, c := range []struct {
		param string
		want  float32
		dx    []float32 // for a weight of 2
	}{
		{``, 3.5, []float32{-1, 0, 1, 0, 0, 1}},
		{`hinge_loss_param { norm: L1 }`, 3.5, []float32{-1, 0, 1, 0, 0, 1}},
		{`hinge_loss_param { norm: L2 }`, (2.25 + 6.25 + 9) / 2, []float32{-3, 0, 5, 0, 0, 6}},
	} {
		l, top := newLayer(t, testContext(train), `type: "HingeLoss" `+c.param, blobs(x, label), 1)
		wantShape(t, "loss", top[0])
		forward(t, l, blobs(x, label), top)
		equal(t, c.param, top[0].Data(), c.want)
		top[0].Diff()[0] = 2
		if err := l.Backward(top, []bool{true, false}, blobs(x, label)); err != nil {
			t.Fatal(err)
		}
		equal(t, c.param+" gradient", x.Diff(), c.dx...)
	}
	// A net that diverges must show it.
	x.Data()[4] = float32(math.NaN())
	l, top := newLayer(t, testContext(train), `type: "HingeLoss"`, blobs(x, label), 1)
	forward(t, l, blobs(x, label), top)
	if v := top[0].Data()[0]; v == v {
		t.Errorf("the loss of NaN is %v", v)
	}
}

func TestHingeLossGradient(t *testing.T) {
	for _, param := range []string{`norm: L1`, `norm: L2`} {
		checkGradient(t, gradCheck{skipBottom: []int{1}}, `type: "HingeLoss" hinge_loss_param {`+param+`}`,
			blobs(distinctBlob(1, 0.1, 3, 4, 2), labelBlob(shape(3), 0, 7, 3)), 1)
	}
}

func TestHingeLossPasses(t *testing.T) {
	label := tensor.New(90)
	for i := range label.Data() {
		label.Data()[i] = float32(i)
	}
	checkPasses(t, `type: "HingeLoss" hinge_loss_param { norm: L2 }`, blobs(randomBlob(1, 90, 1000), label), 1, 1)
}

func TestHingeLossErrors(t *testing.T) {
	const text = `type: "HingeLoss"`
	wantError(t, train, text, blobs(tensor.New(2, 3), tensor.New(3)), 1, "same first dimension")
	wantError(t, train, text, blobs(tensor.New(2, 3), tensor.New(2, 2)), 1, "one label for each of 2 records")
	wantForwardError(t, text, blobs(tensor.New(2, 3), labelBlob(shape(2), 0, 3)), "label 3 at position 1 is not a class: there are 3 (0 to 2)")
	wantForwardError(t, text, blobs(tensor.New(2, 3), labelBlob(shape(2), -1, 0)), "label -1 at position 0 is not a class")
	wantBackwardError(t, text, blobs(tensor.New(2, 3), tensor.New(2)), 1, 1, "cannot propagate to the labels")
	p := parseLayer(t, text+` hinge_loss_param { norm: L1 }`)
	odd := p.GetHingeLossParam().GetNorm() + 7
	p.HingeLossParam.Norm = &odd
	if _, err := newHingeLoss(p, testContext(train)); err == nil {
		t.Error("an unknown norm was accepted")
	}
}
