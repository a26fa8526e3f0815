package graph

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// buildError builds the net of a file in a phase and returns the located error.
func buildError(t *testing.T, text string, phase caffepb.Phase, o Options) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "net.prototxt")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	np, src, err := prototxt.ReadNetPos(path)
	if err != nil {
		t.Fatal(err)
	}
	src.File = "net.prototxt"
	SetState(np, phase, 0, nil)
	n, err := New(np, o)
	if err == nil {
		n.Close()
		return nil
	}
	return Locate(src, err)
}

func TestBuildErrors(t *testing.T) {
	const data = `layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
`
	for _, c := range []struct {
		name, net string
		phase     caffepb.Phase
		want      string
	}{
		{"only a name", `name: "x"`, caffepb.Phase_TRAIN, "net.prototxt: TRAIN net: the net has no layers"},
		{"all left out", `layer { name: "a" type: "Input" top: "a" include { phase: TEST } }`, caffepb.Phase_TRAIN,
			"net.prototxt: TRAIN net: the net has no layers: the include and exclude rules leave out all 1"},
		{"both kinds of rules", `layer { name: "a" type: "Input" top: "a" include { phase: TEST } exclude { phase: TRAIN } }`, caffepb.Phase_TRAIN,
			`net.prototxt:1:1: TRAIN net: layer "a" (Input): has both include and exclude rules`},
		{"left out by a rule", `layer { name: "data" type: "Input" top: "data" top: "label" include { phase: TRAIN } }
layer { name: "s" type: "Silence" bottom: "label" }`, caffepb.Phase_TEST,
			`net.prototxt:2:1: TEST net: layer "s" (Silence): unknown bottom blob "label"; layer "data" makes it, but its rule include { phase: TRAIN } leaves it out of the TEST net`},
		{"left out by two rules", `layer { name: "data" type: "Input" top: "data" include { phase: TRAIN stage: "a" } include { phase: TEST stage: "b" } }
layer { name: "s" type: "Silence" bottom: "data" }`, caffepb.Phase_TRAIN,
			`its rules include { phase: TRAIN stage: "a" } include { phase: TEST stage: "b" } leave it out of the TRAIN net`},
		{"excluded", `layer { name: "data" type: "Input" top: "data" exclude { phase: TEST } }
layer { name: "s" type: "Silence" bottom: "data" }`, caffepb.Phase_TEST, `its rule exclude { phase: TEST } leaves it out of the TEST net`},
		{"comes later", data + `layer { name: "r" type: "ReLU" bottom: "b" top: "c" } layer { name: "q" type: "ReLU" bottom: "data" top: "b" }`, caffepb.Phase_TRAIN,
			`net.prototxt:2:1: TRAIN net: layer "r" (ReLU): unknown bottom blob "b"; layer "q" makes it, but comes later: move it up`},
		{"a loop", data + `layer { name: "r" type: "ReLU" bottom: "b" top: "b" }`, caffepb.Phase_TRAIN, `unknown bottom blob "b"; the layer itself makes it: a loop`},
		{"misspelt", data + `layer { name: "r" type: "ReLU" bottom: "dta" top: "b" }`, caffepb.Phase_TRAIN, `unknown bottom blob "dta"; did you mean "data"?`},
		{"nowhere", data + `layer { name: "r" type: "ReLU" bottom: "fc8\n" top: "b" }`, caffepb.Phase_TRAIN, `unknown bottom blob "fc8\n"; no layer makes it`},
		{"twice", data + `layer { name: "more" type: "Input" top: "data" input_param { shape { dim: 1 } } }`, caffepb.Phase_TRAIN,
			`net.prototxt:2:1: TRAIN net: layer "more" (Input): top blob "data" is produced by more than one layer: "data" makes it, too; rename one, or give each layer an include rule`},
		{"in place on what others read", data + `layer { name: "r" type: "ReLU" bottom: "data" top: "data" } layer { name: "s" type: "Silence" bottom: "data" }
layer { name: "q" type: "ReLU" bottom: "data" top: "data" }`, caffepb.Phase_TRAIN,
			`net.prototxt:3:1: TRAIN net: layer "q" (ReLU): cannot work in place on blob "data", which other layers read as well: give the top another name`},
		{"unknown types", data + `layer { name: "p1" type: "Permute" bottom: "data" top: "p1" }
layer { name: "r" type: "Relu" bottom: "data" top: "r" }
layer { name: "p2" type: "Permute" bottom: "data" top: "p2" }
layer { name: "roi" type: "ROIPooling" bottom: "nothing" top: "roi" include { phase: TEST } }
layer { name: "p3" type: "Permute" bottom: "data" top: "p3" }`, caffepb.Phase_TEST,
			`net.prototxt:2:1: TEST net: layer "p1" (Permute): unknown layer type "Permute" of SSD (github.com/weiliu89/caffe, branch ssd), not of Caffe; so are "p2" (net.prototxt:4:1), "p3" (net.prototxt:6:1)
net.prototxt:3:1: TEST net: layer "r" (Relu): unknown layer type "Relu" (did you mean "ReLU"?)
net.prototxt:5:1: TEST net: layer "roi" (ROIPooling): unknown layer type "ROIPooling" of Fast and Faster R-CNN (github.com/rbgirshick/caffe-fast-rcnn), not of Caffe`},
		{"no such type", data + `layer { name: "x" type: "Bogusness" bottom: "data" top: "x" }`, caffepb.Phase_TEST, "layer \"x\" (Bogusness): unknown layer type \"Bogusness\" (known: AbsVal, "},
		{"the old form", `input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4
layers { name: "a" type: RELU bottom: "data" top: "a" }
layers { name: "b" type: RELU bottom: "c" top: "b" }`, caffepb.Phase_TRAIN, `net.prototxt:3:1: TRAIN net: layer "b" (ReLU): unknown bottom blob "c"`},
	} {
		err := buildError(t, c.net, c.phase, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", c.name, err, c.want)
		}
	}
	err := buildError(t, data+`layer { name: "x" type: "Bogusness" bottom: "data" top: "x" }`, caffepb.Phase_TEST, Options{Title: "TEST net #1"})
	var in *LayerError
	if !errors.As(err, &in) || in.Net != "TEST net #1" || in.Layer != "x" || in.Index != 1 {
		t.Errorf("%v, %+v", err, in)
	}
}

// TestOtherData: a test net whose pictures have other channels or another size
// says so.
func TestOtherData(t *testing.T) {
	const net = `layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "f" type: "InnerProduct" bottom: "c" top: "f" inner_product_param { num_output: 2 } }`
	train := build(t, input("data", 1, 3, 8, 8)+net, caffepb.Phase_TRAIN, Options{})
	for _, c := range []struct {
		name  string
		shape []int
		want  string
	}{
		{"grey", []int{1, 1, 8, 8}, `layer "c" (Convolution): cannot share parameter 0: its shape is 2×1×3×3, in the net it is shared with 2×3×3×3; ` +
			`data layer "data" gives pictures of 1×8×8 here (channels×height×width), there of 3×8×8: make both grey or both coloured`},
		{"larger", []int{1, 3, 9, 9}, `there of 3×8×8: give both the same crop_size`},
		{"both", []int{1, 1, 9, 9}, "convert_imageset --gray for databases) and give both the same crop_size"},
	} {
		err := buildError(t, input("data", c.shape...)+net, caffepb.Phase_TEST, Options{ShareParams: train})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", c.name, err, c.want)
		}
	}
}

func TestChangedConstants(t *testing.T) {
	for _, c := range []struct {
		name, filler, layer string
		phase               caffepb.Phase
		warns               bool
	}{
		{"a power", `data_filler { type: "constant" value: 2 }`, `type: "Power" power_param { scale: 2 }`, caffepb.Phase_TRAIN, true},
		{"no filler", ``, `type: "Sigmoid"`, caffepb.Phase_TRAIN, true},
		{"filled anew", `data_filler { type: "gaussian" }`, `type: "Power" power_param { scale: 2 }`, caffepb.Phase_TRAIN, false},
		{"a ReLU", ``, `type: "ReLU"`, caffepb.Phase_TRAIN, false},
		{"a leaky ReLU", ``, `type: "ReLU" relu_param { negative_slope: 0.1 }`, caffepb.Phase_TRAIN, true},
		{"dropout", ``, `type: "Dropout"`, caffepb.Phase_TRAIN, true},
		{"dropout that is off", ``, `type: "Dropout"`, caffepb.Phase_TEST, false},
	} {
		log, lines := logged()
		build(t, `layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } `+c.filler+` } }
layer { name: "l" bottom: "x" top: "x" `+c.layer+` }`, c.phase, Options{Log: log})
		if got := strings.Contains(lines.String(), "fills only once"); got != c.warns {
			t.Errorf("%s: warned %v\n%s", c.name, got, lines)
		}
	}
	log, lines := logged()
	build(t, `layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } }
layer { name: "l" type: "Sigmoid" bottom: "x" top: "y" }`, caffepb.Phase_TRAIN, Options{Log: log})
	if strings.Contains(lines.String(), "fills only once") {
		t.Errorf("another top:\n%s", lines)
	}
}

// Of a blob that is not there, the error names the one that may be meant, and
// those that the file has.
func TestNoBlob(t *testing.T) {
	n := build(t, images(3, 8, 8)+rectified("c1", "data", 4)+conv3("a", "c1", 4)+conv3("b", "c1", 4), caffepb.Phase_TEST, Options{})
	for name, want := range map[string]string{
		"dta":  `the net has no blob "dta" (did you mean "data"?); its blobs: data, label, c1, a, b`,
		"pool": `the net has no blob "pool"; its blobs: data, label, c1, a, b`,
	} {
		if got := n.NoBlob(name).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
