package layers

import (
	"math"
	"strings"
	"testing"

	"crema/tensor"
)

// labelBlob makes labels.
func labelBlob(s []int, v ...float32) *tensor.Blob { return blobOf(s, v...) }

func TestSoftmaxLossNormalization(t *testing.T) {
	// Equal scores of 4 classes: each position that counts costs log 4. There
	// are 3 × 2 positions; label 9 is ignored where that is said.
	for _, c := range []struct {
		param string
		want  float64 // in units of log 4
	}{
		{`loss_param { ignore_label: 9 }`, 4. / 4},
		{`loss_param { ignore_label: 9 normalization: VALID }`, 4. / 4},
		{`loss_param { ignore_label: 9 normalization: FULL }`, 4. / 6},
		{`loss_param { ignore_label: 9 normalization: BATCH_SIZE }`, 4. / 3},
		{`loss_param { ignore_label: 9 normalization: NONE }`, 4},
		{`loss_param { ignore_label: 9 normalize: true }`, 4. / 4},
		{`loss_param { ignore_label: 9 normalize: false }`, 4. / 3},
		// The newer field goes first.
		{`loss_param { ignore_label: 9 normalize: false normalization: FULL }`, 4. / 6},
	} {
		x, label := tensor.New(3, 4, 2), labelBlob(shape(3, 2), 0, 9, 1, 2, 9, 3)
		l, top := newLayer(t, testContext(train), `type: "SoftmaxWithLoss" `+c.param, blobs(x, label), 2)
		wantShape(t, "loss", top[0])
		wantShape(t, "probabilities", top[1], 3, 4, 2)
		forward(t, l, blobs(x, label), top)
		near(t, c.param, 1e-6, top[0].Data(), float32(c.want*math.Log(4)))
		near(t, c.param+" probabilities", 1e-7, top[1].Data()[:3], .25, .25, .25)
		top[0].Diff()[0] = 2
		if err := l.Backward(top, []bool{true, false}, blobs(x, label)); err != nil {
			t.Fatal(err)
		}
		// Position (0, 0) has label 0, position (0, 1) is ignored.
		w := float32(2 * c.want / 4)
		near(t, c.param+" gradient", 1e-6, x.Diff()[:8], -.75*w, 0, .25*w, 0, .25*w, 0, .25*w, 0)
	}
}

func TestSoftmaxLossAllIgnored(t *testing.T) {
	x, label := randomBlob(1, 2, 3), labelBlob(shape(2), -1, -1)
	l, top := newLayer(t, testContext(train), `type: "SoftmaxWithLoss" loss_param { ignore_label: -1 }`, blobs(x, label), 1)
	forward(t, l, blobs(x, label), top)
	equal(t, "loss", top[0].Data(), 0)
	top[0].Diff()[0] = 1
	if err := l.Backward(top, []bool{true, false}, blobs(x, label)); err != nil {
		t.Fatal(err)
	}
	equal(t, "gradient", x.Diff(), make([]float32, 6)...)
}

// A probability of 0 costs −log FLT_MIN, not infinity; NaN shows.
func TestSoftmaxLossExtremes(t *testing.T) {
	x, label := blobOf(shape(1, 2), 1000, 0), labelBlob(shape(1), 1)
	l, top := newLayer(t, testContext(train), `type: "SoftmaxWithLoss"`, blobs(x, label), 1)
	forward(t, l, blobs(x, label), top)
	near(t, "loss", 1e-4, top[0].Data(), float32(126*math.Ln2))
	x.Data()[0] = float32(math.NaN())
	forward(t, l, blobs(x, label), top)
	if v := top[0].Data()[0]; v == v {
		t.Errorf("the loss of NaN is %v", v)
	}
}

func TestSoftmaxLossGradient(t *testing.T) {
	for _, c := range []struct {
		param string
		x     *tensor.Blob
		label *tensor.Blob
	}{
		{``, randomBlob(1, 4, 5), labelBlob(shape(4), 0, 4, 2, 2)},
		{`loss_param { ignore_label: 2 }`, randomBlob(1, 4, 5), labelBlob(shape(4), 0, 4, 2, 2)},
		{`loss_param { normalization: NONE }`, randomBlob(1, 4, 5), labelBlob(shape(4, 1), 0, 4, 2, 2)},
		{`softmax_param { axis: -1 } loss_param { normalization: BATCH_SIZE }`, randomBlob(1, 2, 3, 4), labelBlob(shape(2, 3), 0, 3, 2, 1, 3, 0)},
		{`softmax_param { axis: 1 } loss_param { normalization: FULL }`, randomBlob(1, 2, 4, 3), labelBlob(shape(2, 3), 0, 3, 2, 1, 3, 0)},
	} {
		t.Run(c.param, func(t *testing.T) {
			checkGradient(t, gradCheck{skipBottom: []int{1}}, `type: "SoftmaxWithLoss" `+c.param, blobs(c.x, c.label), 1)
			checkGradient(t, gradCheck{skipBottom: []int{1}, skipTop: []int{1}}, `type: "SoftmaxWithLoss" `+c.param, blobs(c.x, c.label), 2)
		})
	}
}

func TestSoftmaxLossPasses(t *testing.T) {
	checkPasses(t, `type: "SoftmaxWithLoss"`, blobs(randomBlob(1, 3, 21, 40, 30), tensor.New(3, 40, 30)), 2, 1)
	checkPasses(t, `type: "SoftmaxWithLoss"`, blobs(randomBlob(1, 60, 1000), tensor.New(60)), 1, 1)
}

func TestSoftmaxLossErrors(t *testing.T) {
	wantError(t, train, `type: "SoftmaxWithLoss"`, blobs(tensor.New(2, 3), tensor.New(3)), 1, "same first dimension")
	wantError(t, train, `type: "SoftmaxWithLoss"`, blobs(tensor.New(2, 3, 4), tensor.New(2)), 1, "need 8 labels")
	wantError(t, train, `type: "SoftmaxWithLoss" softmax_param { axis: 3 }`, blobs(tensor.New(2, 3), tensor.New(2)), 1, "axis 3 out of range")
	wantError(t, train, `type: "SoftmaxWithLoss"`, blobs(tensor.New(), tensor.New()), 1, "same first dimension")
	for _, bad := range []float32{3, -1, float32(math.NaN()), float32(math.Inf(1))} {
		x, label := randomBlob(1, 2, 3), labelBlob(shape(2), 0, bad)
		l, top := newLayer(t, testContext(train), `type: "SoftmaxWithLoss"`, blobs(x, label), 1)
		err := l.Forward(blobs(x, label), top)
		if err == nil || !strings.Contains(err.Error(), "at position 1 is not a class: there are 3 (0 to 2)") {
			t.Errorf("label %v: %v", bad, err)
		}
	}
	x, label := randomBlob(1, 2, 3), tensor.New(2)
	l, top := newLayer(t, testContext(train), `type: "SoftmaxWithLoss"`, blobs(x, label), 1)
	forward(t, l, blobs(x, label), top)
	if err := l.Backward(top, []bool{true, true}, blobs(x, label)); err == nil || !strings.Contains(err.Error(), "labels") {
		t.Errorf("Backward to the labels: %v", err)
	}
}
