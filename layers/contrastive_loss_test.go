package layers

import (
	"testing"

	"crema/tensor"
)

func TestContrastiveLoss(t *testing.T) {
	// Distances 5, 5, 1, 0; similar: the first (0.5 is cut off to 0) and third.
	a := blobOf(shape(4, 2), 3, 4, 3, 4, 1, 0, 2, 2)
	b := blobOf(shape(4, 2, 1, 1), 0, 0, 0, 0, 0, 0, 2, 2)
	y := blobOf(shape(4, 1), 1, 0.5, -2, 0)
	for _, c := range []struct {
		param string
		want  float32
		da    []float32 // times 4
	}{
		{``, (25 + 0 + 1 + 1) / 8., []float32{3, 4, 0, 0, 1, 0, 0, 0}},
		{`margin: 10`, (25 + 25 + 1 + 100) / 8., []float32{3, 4, -3, -4, 1, 0, 0, 0}},
		{`margin: 10 legacy_version: true`, (25 + 0 + 1 + 10) / 8., []float32{3, 4, 0, 0, 1, 0, 0, 0}},
		{`margin: 30 legacy_version: true`, (25 + 5 + 1 + 30) / 8., []float32{3, 4, -3, -4, 1, 0, 0, 0}},
	} {
		bottom := blobs(a, b, y)
		l, top := newLayer(t, testContext(train), `type: "ContrastiveLoss" contrastive_loss_param {`+c.param+`}`, bottom, 1)
		wantShape(t, "loss", top[0])
		forward(t, l, bottom, top)
		near(t, c.param, 1e-6, top[0].Data(), c.want)
		top[0].Diff()[0] = 4
		y.Diff()[2] = 9
		backward(t, l, bottom, top)
		near(t, c.param+" gradient", 1e-4, a.Diff(), c.da...)
		for i, v := range a.Diff() {
			if b.Diff()[i] != -v {
				t.Errorf("%s: gradients %v and %v", c.param, a.Diff(), b.Diff())
				break
			}
		}
		equal(t, c.param+" gradient of the labels", y.Diff(), 0, 0, 0, 0)
	}
}

func TestContrastiveLossGradient(t *testing.T) {
	y := blobOf(shape(5), 1, 0, 0, 1, 0)
	for _, param := range []string{``, `margin: 3`, `margin: 3 legacy_version: true`} {
		checkGradient(t, gradCheck{skipBottom: []int{2}}, `type: "ContrastiveLoss" contrastive_loss_param {`+param+`}`, blobs(randomBlob(1, 5, 3), randomBlob(2, 5, 3), y), 1)
	}
}

func TestContrastiveLossPasses(t *testing.T) {
	y := randomBlob(3, 700)
	checkPasses(t, `type: "ContrastiveLoss" contrastive_loss_param { margin: 15 }`, blobs(randomBlob(1, 700, 100), randomBlob(2, 700, 100), y), 1, 2)
}

func TestContrastiveLossErrors(t *testing.T) {
	const text = `type: "ContrastiveLoss"`
	wantError(t, train, text, blobs(tensor.New(2, 3), tensor.New(3, 3), tensor.New(2)), 1, "same first dimension")
	wantError(t, train, text, blobs(tensor.New(2, 3), tensor.New(2, 4), tensor.New(2)), 1, "vectors of the same length")
	wantError(t, train, text, blobs(tensor.New(2, 3, 2, 1), tensor.New(2, 3, 2, 1), tensor.New(2)), 1, "flatten them")
	wantError(t, train, text, blobs(tensor.New(2, 3), tensor.New(2, 3), tensor.New(2, 2)), 1, "one label for each of 2 pairs")
	wantError(t, train, text, blobs(tensor.New(), tensor.New(), tensor.New()), 1, "same first dimension")
}
