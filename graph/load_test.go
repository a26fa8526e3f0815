package graph

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/prototxt"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// logged returns a logger and what it wrote.
func logged() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

const tinyInput = `layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
`

func tinyConv(name, bottom, extra string) string {
	return fmt.Sprintf(`layer { name: %q type: "Convolution" bottom: %q top: %[1]q convolution_param { num_output: 5 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } %[3]s } }
`, name, bottom, extra)
}

func tinyFC(name, bottom string, outputs int) string {
	return fmt.Sprintf(`layer { name: %q type: "InnerProduct" bottom: %q top: %[1]q inner_product_param { num_output: %[3]d } }
`, name, bottom, outputs)
}

// savedNet writes the fresh weights of a net and returns the net and the file.
func savedNet(t *testing.T, text string) (*Net, string) {
	t.Helper()
	n := build(t, text, caffepb.Phase_TRAIN, Options{Seed: 7})
	for i, p := range n.Params() {
		for j, d := 0, p.Blob.Data(); j < len(d); j++ {
			d[j] = float32(i) + float32(j)/1024
		}
	}
	path := filepath.Join(t.TempDir(), "w.caffemodel")
	if err := n.SaveWeights(path, false); err != nil {
		t.Fatal(err)
	}
	return n, path
}

func TestLoadSummary(t *testing.T) {
	old, path := savedNet(t, tinyInput+tinyConv("conv1", "data", "")+tinyConv("conv2", "conv1", "")+tinyFC("fc", "conv2", 7))
	for _, c := range []struct {
		name, net string
		o         LoadOptions
		want      []string // of the log, in this order
		not       string
	}{
		{"all", tinyInput + tinyConv("conv1", "data", "") + tinyConv("conv2", "conv1", "") + tinyFC("fc", "conv2", 7), LoadOptions{},
			[]string{"level=INFO msg=\"Loaded the parameters of 3 of 3 layers (937 of 937 values)\""}, "level=WARN"},
		{"a new last layer", tinyInput + tinyConv("conv1", "data", "") + tinyConv("conv2", "conv1", "") + tinyFC("fc_new", "conv2", 3), LoadOptions{},
			[]string{"Ignoring source layer fc", "Loaded the parameters of 2 of 3 layers (370 of 613 values)",
				"level=WARN", `1 layer of the net got no weights from the file; what fills them stays: \"fc_new\" (constant 0)`,
				"level=INFO", `1 layer of the file went nowhere: \"fc\" (InnerProduct 7×80, 7)`}, "By their shapes"},
		{"another name", tinyInput + tinyConv("first", "data", "") + tinyConv("conv2", "first", "") + tinyFC("fc", "conv2", 7), LoadOptions{},
			[]string{"2 of 3 layers", `\"first\" (xavier)`, "By their shapes", "--weights-map first=conv1 would load them"}, ""},
		{"the most similar names", tinyInput + tinyConv("net/conv1", "data", "") + tinyConv("net/conv2", "net/conv1", "") + tinyFC("fc", "net/conv2", 7), LoadOptions{},
			[]string{"--weights-map net/conv1=conv1,net/conv2=conv2 would"}, ""},
		{"another name, mapped", tinyInput + tinyConv("first", "data", "") + tinyConv("conv2", "first", "") + tinyFC("fc", "conv2", 7), LoadOptions{From: map[string]string{"first": "conv1"}},
			[]string{"3 of 3 layers"}, "level=WARN"},
		{"one for two", tinyInput + tinyConv("a", "data", "") + tinyConv("b", "data", ""), LoadOptions{From: map[string]string{"a": "conv1", "b": "conv1"}},
			[]string{"2 of 2 layers"}, "level=WARN"},
		{"none for one", tinyInput + tinyConv("conv1", "data", "") + tinyFC("fc", "conv1", 3), LoadOptions{From: map[string]string{"fc": ""}},
			[]string{"1 of 2 layers", `\"fc\" (constant 0)`}, ""},
		{"nothing, wanted so", tinyInput + tinyConv("a", "data", ""), LoadOptions{Any: true},
			[]string{"Loaded the parameters of 0 of 1 layer (0 of 140 values)", "--weights-map a=conv1"}, ""},
		{"nothing to load", tinyInput, LoadOptions{}, []string{"Ignoring source layer conv1"}, "Loaded"},
		{"values of its own", tinyInput + tinyConv("conv1", "data", "") + strings.Replace(tinyFC("mine", "conv1", 1), "inner_product_param",
			"blobs { shape { dim: 1 dim: 80 } data: ["+strings.Repeat("1,", 79)+"1] } blobs { shape { dim: 1 } data: 2 } inner_product_param", 1), LoadOptions{},
			[]string{"Loaded the parameters of 2 of 2 layers"}, "level=WARN"},
		{"shared by name", tinyInput + strings.Replace(tinyConv("conv1", "data", ""), "top", `param { name: "w" } param { name: "b" } top`, 1) +
			strings.Replace(tinyConv("twin", "data", ""), "top", `param { name: "w" } param { name: "b" } top`, 1), LoadOptions{},
			[]string{"Loaded the parameters of 2 of 2 layers (140 of 140 values)"}, "level=WARN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, lines := logged()
			n := build(t, c.net, caffepb.Phase_TRAIN, Options{Seed: 1, Log: log})
			lines.Reset()
			if err := n.LoadFiles([]string{path}, c.o); err != nil {
				t.Fatal(err)
			}
			rest := lines.String()
			for _, w := range c.want {
				_, after, ok := strings.Cut(rest, w)
				if !ok {
					t.Fatalf("the log has no %s:\n%s", w, lines)
				}
				rest = after
			}
			if c.not != "" && strings.Contains(lines.String(), c.not) {
				t.Errorf("the log has %s:\n%s", c.not, lines)
			}
			for _, l := range n.Layers() {
				from := l.Name
				if m, ok := c.o.From[l.Name]; ok {
					from = m
				}
				if src := old.node(from); src != nil && len(l.Layer.Params()) == len(src.Layer.Params()) {
					for i, p := range l.Layer.Params() {
						if !slices.Equal(p.ReadData(), src.Layer.Params()[i].ReadData()) {
							t.Errorf("parameter %d of %q is not that of %q", i, l.Name, from)
						}
					}
				}
			}
		})
	}
}

// TestLoadReshaped turns a fully connected layer into the convolution that does
// its work.
func TestLoadReshaped(t *testing.T) {
	fc, path := savedNet(t, tinyInput+tinyFC("fc", "data", 7))
	conv := `layer { name: %q type: "Convolution" bottom: "data" top: "y" convolution_param { num_output: %d kernel_size: 4 } }`
	n := build(t, tinyInput+fmt.Sprintf(conv, "fc", 7), caffepb.Phase_TEST, Options{})
	err := n.LoadWeights(path)
	if err == nil || !strings.Contains(err.Error(), "its shape is 7×48 in the file, 7×3×4×4 in the net") || !strings.Contains(err.Error(), "--weights-map fc=fc,") {
		t.Fatalf("not asked for: %v", err)
	}
	if err := n.LoadFiles([]string{path}, LoadOptions{From: map[string]string{"fc": "fc"}}); err != nil {
		t.Fatal(err)
	}
	for _, net := range []*Net{fc, n} {
		for i, d := 0, net.Blob("data").Data(); i < len(d); i++ {
			d[i] = float32(i % 7)
		}
		if _, err := net.Forward(); err != nil {
			t.Fatal(err)
		}
	}
	a, b := fc.Blob("fc").Values(), n.Blob("y").Values()
	for i := range a {
		if d := a[i] - b[i]; d > 1e-3 || d < -1e-3 {
			t.Errorf("output %d: %g, as a convolution %g", i, a[i], b[i])
		}
	}
	// And back, under another name.
	_, path = savedNet(t, tinyInput+fmt.Sprintf(conv, "c", 7))
	if err := fc.LoadFiles([]string{path}, LoadOptions{From: map[string]string{"fc": "c"}}); err != nil {
		t.Error(err)
	}
	other := build(t, tinyInput+fmt.Sprintf(conv, "fc", 6), caffepb.Phase_TEST, Options{})
	if err := other.LoadFiles([]string{path}, LoadOptions{From: map[string]string{"fc": "c"}}); err == nil {
		t.Error("a layer of other outputs was loaded")
	}
}

func TestLoadErrors(t *testing.T) {
	_, path := savedNet(t, tinyInput+tinyConv("conv1", "data", "")+tinyFC("fc", "conv1", 7))
	dir := t.TempDir()
	bare := filepath.Join(dir, "bare.caffemodel")
	if err := prototxt.WriteBinary(bare, &caffepb.NetParameter{Name: proto.String("n"), Layer: []*caffepb.LayerParameter{{Name: proto.String("conv1")}}}); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.caffemodel")
	if err := prototxt.WriteBinary(empty, &caffepb.NetParameter{Name: proto.String("n"), Layer: []*caffepb.LayerParameter{{Name: proto.String("x")}}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, net, path string
		o               LoadOptions
		want            string
	}{
		{"shape", tinyInput + tinyConv("conv1", "data", "group: 1") + tinyFC("fc", "data", 7), path, LoadOptions{},
			`cannot copy parameter 0 of layer "fc": its shape is 7×80 in the file, 7×48 in the net; to learn this layer's parameters from scratch rather than copy them, rename the layer or give --weights-map fc=`},
		{"the net has no bias", tinyInput + tinyConv("conv1", "data", "bias_term: false"), path, LoadOptions{},
			`layer "conv1" (Convolution) has 1 parameter (5×3×3×3), in the file 2 (5×3×3×3, 5); the net's has bias_term: false, the file's a bias: set bias_term: true;`},
		{"no values", tinyInput + tinyConv("conv1", "data", ""), bare, LoadOptions{}, "the file has no values for it"},
		{"nothing matches", tinyInput + tinyConv("a", "data", "") + tinyFC("b", "data", 2), path, LoadOptions{},
			`nothing was loaded: of its 2 layers with parameters ("conv1", "fc") none has the name of one of the net's ("a", "b"); by their shapes, --weights-map a=conv1 would load some; --weights-any goes on without`},
		{"no weights at all", tinyInput + tinyConv("a", "data", ""), empty, LoadOptions{}, "no layer has parameters: it holds a net without trained weights"},
		{"map to nowhere", tinyInput + tinyConv("conv1", "data", ""), path, LoadOptions{From: map[string]string{"conv2": "conv1"}},
			`--weights-map conv2=conv1: the net has no layer "conv2" with parameters; those that have some: "conv1"`},
		{"map from nowhere", tinyInput + tinyConv("conv1", "data", "") + tinyFC("x", "data", 2), path, LoadOptions{From: map[string]string{"x": "y"}},
			`--weights-map x=y: there is no layer "y" in the weights; those with parameters that went nowhere: "fc"`},
		{"another kind", tinyInput, "load.go", LoadOptions{}, "this is a text file"},
		{"not there", tinyInput, filepath.Join(dir, "none"), LoadOptions{}, "no such file"},
	} {
		n := build(t, c.net, caffepb.Phase_TRAIN, Options{})
		before := n.Params()
		var was []float32
		if len(before) > 0 {
			was = slices.Clone(before[0].Blob.ReadData())
		}
		err := n.LoadFiles([]string{c.path}, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want …%s…", c.name, err, c.want)
		}
		if len(c.o.From) == 0 && was != nil && !slices.Equal(was, before[0].Blob.ReadData()) {
			t.Errorf("%s: something was copied", c.name)
		}
	}
	// A net that shares another's parameters need not find anything of its own.
	train := build(t, tinyInput+tinyConv("conv1", "data", ""), caffepb.Phase_TRAIN, Options{})
	test := build(t, tinyInput+tinyConv("conv1", "data", "")+tinyFC("probe", "conv1", 2), caffepb.Phase_TEST, Options{ShareParams: train})
	if err := test.LoadFiles([]string{empty}, LoadOptions{From: map[string]string{"other": "conv1"}}); err != nil {
		t.Errorf("a test net: %v", err)
	}
}

// TestLoadForkFields loads a file whose layers have fields that Caffe cannot
// read.
func TestLoadForkFields(t *testing.T) {
	old, path := savedNet(t, tinyInput+tinyConv("conv1", "data", ""))
	np := &caffepb.NetParameter{}
	if err := prototxt.ReadBinary(path, np); err != nil {
		t.Fatal(err)
	}
	for _, l := range np.Layer {
		// A message in the place of clip_param, without what that requires.
		l.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 148, protowire.BytesType), []byte{0x0d, 0, 0, 0x80, 0x3f}))
	}
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(np)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(b, &caffepb.NetParameter{}); err == nil {
		t.Fatal("Caffe's form reads it")
	}
	path = writeFile(t, b)
	n := build(t, tinyInput+tinyConv("conv1", "data", ""), caffepb.Phase_TRAIN, Options{})
	if err := n.LoadWeights(path); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(n.Params()[0].Blob.ReadData(), old.Params()[0].Blob.ReadData()) {
		t.Error("the weights differ")
	}
}

func writeFile(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.caffemodel")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
