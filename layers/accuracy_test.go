package layers

import (
	"strings"
	"testing"

	"crema/tensor"
)

func TestAccuracy(t *testing.T) {
	x := blobOf(shape(5, 3),
		3, 2, 1, // label 0: best
		3, 2, 1, // label 1: second
		3, 2, 1, // label 2: third
		2, 2, 1, // label 0: tied with class 1, so second
		1, 1, 1) // label 2: tied with both, so third
	label := labelBlob(shape(5), 0, 1, 2, 0, 2)
	for _, c := range []struct {
		param    string
		want     float32
		perClass []float32
	}{
		{``, 1. / 5, []float32{.5, 0, 0}},
		{`top_k: 2`, 3. / 5, []float32{1, 1, 0}},
		{`top_k: 3`, 1, []float32{1, 1, 1}},
		{`ignore_label: 2`, 1. / 3, []float32{.5, 0, 0}},
		{`ignore_label: 2 top_k: 2`, 1, []float32{1, 1, 0}},
		{`ignore_label: 0 axis: -1`, 0, []float32{0, 0, 0}},
		{`ignore_label: 7`, 1. / 5, []float32{.5, 0, 0}},
	} {
		for tops := 1; tops <= 2; tops++ {
			l, top := newLayer(t, testContext(test), `type: "Accuracy" accuracy_param { `+c.param+` }`, blobs(x, label), tops)
			for range 2 { // counts begin anew each time
				forward(t, l, blobs(x, label), top)
			}
			wantShape(t, "accuracy", top[0])
			equal(t, c.param, top[0].Data(), c.want)
			if tops == 2 {
				equal(t, c.param+" per class", top[1].Data(), c.perClass...)
			}
		}
	}
}

func TestAccuracySpatial(t *testing.T) {
	// Two classes at 1 × 3 positions: scores of class 0, then of class 1.
	x := blobOf(shape(1, 2, 3), 1, 5, 2, 4, 3, 1)
	label := labelBlob(shape(1, 3), 1, 1, 0)
	l, top := newLayer(t, testContext(test), `type: "Accuracy"`, blobs(x, label), 2)
	forward(t, l, blobs(x, label), top)
	equal(t, "accuracy", top[0].Data(), 2./3)
	equal(t, "per class", top[1].Data(), 1, .5)
}

func TestAccuracyAllIgnored(t *testing.T) {
	x, label := randomBlob(1, 2, 3), labelBlob(shape(2), 255, 255)
	l, top := newLayer(t, testContext(test), `type: "Accuracy" accuracy_param { ignore_label: 255 }`, blobs(x, label), 1)
	forward(t, l, blobs(x, label), top)
	equal(t, "accuracy", top[0].Data(), 0)
}

func TestAccuracyErrors(t *testing.T) {
	wantError(t, test, `type: "Accuracy" accuracy_param { top_k: 4 }`, blobs(tensor.New(2, 3), tensor.New(2)), 1, "top_k is 4 but there are only 3 classes")
	wantError(t, test, `type: "Accuracy" accuracy_param { top_k: 0 }`, blobs(tensor.New(2, 3), tensor.New(2)), 1, "top_k must be between 1")
	wantError(t, test, `type: "Accuracy" accuracy_param { axis: 2 }`, blobs(tensor.New(2, 3), tensor.New(2)), 1, "axis 2 out of range")
	wantError(t, test, `type: "Accuracy"`, blobs(tensor.New(2, 3), tensor.New(3)), 1, "need 2 labels")
	x, label := randomBlob(1, 2, 3), labelBlob(shape(2), 0, 3)
	l, top := newLayer(t, testContext(test), `type: "Accuracy"`, blobs(x, label), 1)
	if err := l.Forward(blobs(x, label), top); err == nil || !strings.Contains(err.Error(), "label 3 at position 1 is not a class") {
		t.Errorf("label 3 of 3 classes: %v", err)
	}
	if err := l.Backward(top, []bool{true, false}, blobs(x, label)); err == nil {
		t.Error("Backward was accepted")
	}
	if err := l.Backward(top, []bool{false, false}, blobs(x, label)); err != nil {
		t.Errorf("Backward to nothing: %v", err)
	}
}
