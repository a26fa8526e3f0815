package layers

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"crema/tensor"
)

func TestParamsFilled(t *testing.T) {
	const text = `type: "InnerProduct" name: "%" inner_product_param { num_output: 4 weight_filler { type: "gaussian" } bias_filler { type: "gaussian" } }`
	params := func(ctx *Context, name string) []*tensor.Blob {
		l, _ := newLayer(t, ctx, strings.ReplaceAll(text, "%", name), blobs(tensor.New(1, 1)), 1)
		return l.Params()
	}
	a := params(testContext(train), "a")
	if equalValues(a[0].Data(), a[1].Data()) {
		t.Error("weights and bias are filled from one stream")
	}
	equal(t, "the same layer again", params(testContext(test), "a")[0].Data(), a[0].Data()...)
	if equalValues(params(testContext(train), "b")[0].Data(), a[0].Data()) {
		t.Error("a layer of another name has the same weights")
	}
	ctx := testContext(train)
	ctx.Seed++
	if equalValues(params(ctx, "a")[0].Data(), a[0].Data()) {
		t.Error("another seed gives the same weights")
	}
	ctx.NoFill = true
	p := params(ctx, "a")
	equal(t, "NoFill", p[0].Data(), 0, 0, 0, 0)
	wantShape(t, "weights with NoFill", p[0], 4, 1)
}

func equalValues(a, b []float32) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestParamsGiven(t *testing.T) {
	const text = `type: "InnerProduct" inner_product_param { num_output: 2 } `
	x := blobs(tensor.New(1, 2))
	for _, given := range []string{
		`blobs { shape { dim: 2 dim: 2 } data: [1, 2, 3, 4] } blobs { shape { dim: 2 } data: [5, 6] }`,
		`blobs { num: 1 channels: 1 height: 2 width: 2 data: [1, 2, 3, 4] } blobs { num: 1 channels: 1 height: 1 width: 2 double_data: [5, 6] }`,
	} {
		l, _ := newLayer(t, testContext(train), text+given, x, 1)
		equal(t, "weights", l.Params()[0].Data(), 1, 2, 3, 4)
		equal(t, "bias", l.Params()[1].Data(), 5, 6)
	}
	for given, want := range map[string]string{
		`blobs { shape { dim: 2 dim: 2 } data: [1, 2, 3, 4] }`:                           "holds 1 parameter blobs, not 2",
		`blobs { shape { dim: 4 } data: [1, 2, 3, 4] } blobs { }`:                        "weight: stored shape is 4, expected 2×2",
		`blobs { shape { dim: 2 dim: 2 } data: [1, 2, 3] } blobs { }`:                    "weight: 3 values are stored",
		`blobs { num: 2 channels: 1 height: 1 width: 2 data: [1, 2, 3, 4] } blobs { }`:   "weight: stored shape is 2×1×1×2",
		`blobs { shape { dim: 2 dim: -2 } data: [1, 2, 3, 4] } blobs { }`:                "dim -2 is outside",
		`blobs { shape { dim: 2 dim: 2 } data: [1, 2, 3, 4] } blobs { shape { dim: 1 }}`: "bias: stored shape is 1",
	} {
		wantError(t, train, text+given, x, 1, want)
	}
}

// Fields of other layer types are not refused but reported.
func TestUnusedFields(t *testing.T) {
	var log bytes.Buffer
	ctx := testContext(train)
	ctx.Log = slog.New(slog.NewTextHandler(&log, nil))
	newLayer(t, ctx, `type: "ReLU" name: "r" relu_param {} loss_weight: 0 param {}`, blobs(tensor.New(1)), 1)
	if log.Len() > 0 {
		t.Errorf("a ReLU that is well was reported: %s", log.String())
	}
	newLayer(t, ctx, `type: "ReLU" name: "r" relu_param {} pooling_param { stride: 2 }`, blobs(tensor.New(1)), 1)
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "Layer r of type ReLU does not use pooling_param: ignored") {
		t.Errorf("log is %q", got)
	}
}

func TestTypesRegistered(t *testing.T) {
	for _, name := range []string{
		"Accuracy", "ArgMax", "BatchReindex", "Concat", "ContrastiveLoss", "Convolution", "Crop", "Dropout", "DummyData",
		"Embed", "EuclideanLoss", "Filter", "Flatten", "HingeLoss", "InfogainLoss", "InnerProduct", "Input",
		"MemoryData", "MultinomialLogisticLoss", "Parameter", "Pooling", "ReLU", "Reduction", "Reshape", "SPP",
		"SigmoidCrossEntropyLoss", "Silence", "Slice", "Softmax", "SoftmaxWithLoss", "Split", "Tile",
	} {
		if _, err := Lookup(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := Lookup("Relu"); err == nil || !strings.Contains(err.Error(), "ReLU") {
		t.Errorf("unknown type: %v", err)
	}
}
