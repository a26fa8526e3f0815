package layers

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// matrixFile stores values as a BlobProto.
func matrixFile(t *testing.T, v ...float32) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "H.binaryproto")
	n := int64(len(v))
	if err := prototxt.WriteBinary(path, &caffepb.BlobProto{Data: v, Shape: &caffepb.BlobShape{Dim: []int64{n}}}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInfogainLoss(t *testing.T) {
	// Equal scores of 2 classes: each position costs log 2 times the sum of its
	// label's row. There are 3 × 2 positions.
	h := []float32{1, 2, 0, -0.5}
	source := fmt.Sprintf(` infogain_loss_param { source: %q }`, matrixFile(t, h...))
	for _, c := range []struct {
		param string
		want  float64 // in units of log 2
	}{
		{``, (3*3 - 3*0.5) / 6},
		{`loss_param { ignore_label: 1 }`, 3},
		{`loss_param { normalization: FULL ignore_label: 0 }`, -3 * 0.5 / 6},
		{`loss_param { normalization: BATCH_SIZE }`, 7.5 / 3},
		{`loss_param { normalization: NONE }`, 7.5},
	} {
		x, label := tensor.New(3, 2, 2), labelBlob(shape(3, 2), 0, 1, 1, 0, 0.5, 1.5)
		var losses, gradients [][]float32
		for _, bottom := range [][]*tensor.Blob{{x, label}, {x, label, blobOf(shape(2, 2), h...)}} {
			text := `type: "InfogainLoss" ` + c.param
			if len(bottom) == 2 {
				text += source
			}
			l, top := newLayer(t, testContext(train), text, bottom, 2)
			wantShape(t, "loss", top[0])
			wantShape(t, "probabilities", top[1], 3, 2, 2)
			forward(t, l, bottom, top)
			near(t, c.param, 1e-6, top[0].Data(), float32(c.want*math.Ln2))
			near(t, c.param+" probabilities", 1e-7, top[1].Data()[:3], .5, .5, .5)
			top[0].Diff()[0] = 1
			if err := l.Backward(top, []bool{true, false, false}[:len(bottom)], bottom); err != nil {
				t.Fatal(err)
			}
			losses, gradients = append(losses, clone(top[0].Data())), append(gradients, clone(x.Diff()))
		}
		equal(t, c.param+" by the third bottom", losses[1], losses[0]...)
		equal(t, c.param+" gradient by the third bottom", gradients[1], gradients[0]...)
	}
}

// With the identity it is the loss of SoftmaxWithLoss.
func TestInfogainLossIdentity(t *testing.T) {
	x, label := randomBlob(1, 4, 3, 5), labelBlob(shape(4, 5), 0, 1, 2, 0, 1, 2, 9, 0, 1, 2, 2, 2, 0, 0, 0, 1, 1, 1, 2, 2)
	id := blobOf(shape(3, 3), 1, 0, 0, 0, 1, 0, 0, 0, 1)
	pass := func(text string, bottom []*tensor.Blob) (float32, []float32) {
		l, top := newLayer(t, testContext(train), text+` loss_param { ignore_label: 9 }`, bottom, 1)
		forward(t, l, bottom, top)
		top[0].Diff()[0] = 1
		if err := l.Backward(top, []bool{true, false, false}[:len(bottom)], bottom); err != nil {
			t.Fatal(err)
		}
		return top[0].Data()[0], clone(x.Diff())
	}
	want, dwant := pass(`type: "SoftmaxWithLoss"`, blobs(x, label))
	got, d := pass(`type: "InfogainLoss"`, blobs(x, label, id))
	near(t, "loss", 1e-6, []float32{got}, want)
	near(t, "gradient", 1e-6, d, dwant...)
}

// A probability of 0 costs −log 1e-20, not infinity; NaN shows.
func TestInfogainLossExtremes(t *testing.T) {
	x, label, h := blobOf(shape(1, 2), 1000, 0), labelBlob(shape(1), 1), blobOf(shape(2, 2), 1, 0, 0, 1)
	l, top := newLayer(t, testContext(train), `type: "InfogainLoss"`, blobs(x, label, h), 1)
	forward(t, l, blobs(x, label, h), top)
	near(t, "loss", 1e-4, top[0].Data(), float32(-math.Log(1e-20)))
	x.Data()[0] = float32(math.NaN())
	forward(t, l, blobs(x, label, h), top)
	if v := top[0].Data()[0]; v == v {
		t.Errorf("the loss of NaN is %v", v)
	}
}

func TestInfogainLossGradient(t *testing.T) {
	h, label := randomBlob(3, 3, 3), labelBlob(shape(2, 4), 0, 1, 2, 2, 1, 0, 0, 0)
	for _, c := range []struct {
		param string
		x     *tensor.Blob
	}{
		{``, randomBlob(1, 2, 3, 4)},
		{`infogain_loss_param { axis: -1 } loss_param { ignore_label: 1 normalization: BATCH_SIZE }`, randomBlob(1, 2, 4, 3)},
	} {
		checkGradient(t, gradCheck{skipBottom: []int{1, 2}}, `type: "InfogainLoss" `+c.param, blobs(c.x, label, h), 1)
		checkGradient(t, gradCheck{skipBottom: []int{1, 2}, skipTop: []int{1}}, `type: "InfogainLoss" `+c.param, blobs(c.x, label, h), 2)
	}
}

func TestInfogainLossPasses(t *testing.T) {
	label := tensor.New(3, 40, 30)
	for i := range label.Data() {
		label.Data()[i] = float32(i % 21)
	}
	checkPasses(t, `type: "InfogainLoss" loss_param { ignore_label: 4 }`, blobs(randomBlob(1, 3, 21, 40, 30), label, randomBlob(2, 21, 21)), 2, 1, 2)
	checkPasses(t, `type: "InfogainLoss"`, blobs(randomBlob(1, 300, 50), tensor.New(300), randomBlob(2, 50, 50)), 1, 1, 2)
}

func TestInfogainLossErrors(t *testing.T) {
	const text = `type: "InfogainLoss" `
	x, label, h := tensor.New(2, 3), tensor.New(2), tensor.New(3, 3)
	two, three := blobs(x, label), blobs(x, label, h)
	wantError(t, train, text, two, 1, "source is required")
	wantError(t, train, text+`infogain_loss_param { source: "/nowhere/H" }`, two, 1, `source: "/nowhere/H": no such file`)
	four := matrixFile(t, 1, 2, 3, 4)
	wantError(t, train, fmt.Sprintf(`%s infogain_loss_param { source: %q }`, text, four), two, 1, "a row and a column for each of 3 classes, 9 values; source "+four+" has 4")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := prototxt.WriteBinary(empty, &caffepb.BlobProto{Shape: &caffepb.BlobShape{Dim: []int64{0}}}); err != nil {
		t.Fatal(err)
	}
	wantError(t, train, fmt.Sprintf(`%s infogain_loss_param { source: %q }`, text, empty), two, 1, "holds no values")
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("not a message"), 0o666); err != nil {
		t.Fatal(err)
	}
	wantError(t, train, fmt.Sprintf(`%s infogain_loss_param { source: %q }`, text, garbage), two, 1, fmt.Sprintf("source: %q: this is a text file", garbage))
	wantError(t, train, text, blobs(x, label, tensor.New(2, 2)), 1, "the third bottom has 4")
	wantError(t, train, text+`loss_param { normalize: true }`, three, 1, "use normalization")
	wantError(t, train, text+`infogain_loss_param { axis: 2 }`, three, 1, "axis 2 out of range")
	wantError(t, train, text, blobs(tensor.New(2, 3, 4), label, h), 1, "need 8 labels")
	wantError(t, train, text, blobs(x, tensor.New(3), h), 1, "same first dimension")
	wantForwardError(t, text, blobs(x, labelBlob(shape(2), 0, 3), h), "label 3 at position 1 is not a class")
	wantBackwardError(t, text, three, 1, 1, "cannot propagate to the labels")
	wantBackwardError(t, text, three, 1, 2, "cannot propagate to the matrix")

	var log bytes.Buffer
	ctx := testContext(train)
	ctx.Log = slog.New(slog.NewTextHandler(&log, nil))
	newLayer(t, ctx, text+`infogain_loss_param { source: "/nowhere/H" }`, three, 1)
	if !strings.Contains(log.String(), "source of infogain_loss_param is ignored") {
		t.Errorf("log is %q", log.String())
	}
}
