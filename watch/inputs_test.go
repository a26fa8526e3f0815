package watch

import (
	"bytes"
	"image/png"
	"strings"
	"testing"

	"crema/graph"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// built builds a net from text; of DummyData layers, shapes are all there is.
func built(t *testing.T, text string) *graph.Net {
	t.Helper()
	np := &caffepb.NetParameter{}
	if err := prototxt.UnmarshalText("net", []byte(text), np); err != nil {
		t.Fatal(err)
	}
	graph.SetState(np, caffepb.Phase_TRAIN, 0, nil)
	net, err := graph.New(np, graph.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { net.Close() })
	return net
}

// dummy is a data layer that makes blobs of these shapes: "data:2x3x8x8".
func dummy(tops ...string) string {
	var names, shapes strings.Builder
	for _, t := range tops {
		name, dims, _ := strings.Cut(t, ":")
		names.WriteString(`top: "` + name + `" `)
		shapes.WriteString("shape { dim: " + strings.ReplaceAll(dims, "x", " dim: ") + " } ")
	}
	return `layer { name: "in" type: "DummyData" ` + names.String() + "dummy_data_param { " + shapes.String() + "} }\n"
}

const (
	convolution = `layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 3 kernel_size: 1 } }
`
	softmaxLoss = `layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }
`
)

// TestFindInputs checks what of a net is shown as images and as labels.
func TestFindInputs(t *testing.T) {
	for _, c := range []struct{ name, net, images, labels string }{
		{"images and labels of pixels", dummy("data:2x3x8x8", "label:2x1x8x8") + convolution + softmaxLoss, "data", "label"},
		{"labels first", dummy("label:2x1x8x8", "data:2x3x8x8") + convolution + softmaxLoss, "data", "label"},
		{"labels of three axes", dummy("label:2x8x8", "data:2x3x8x8") + convolution + softmaxLoss, "data", "label"},
		{"one label an image", dummy("data:2x3x8x8", "label:2") + `layer { name: "c" type: "InnerProduct" bottom: "data" top: "c" inner_product_param { num_output: 3 } }
` + softmaxLoss, "data", ""},
		{"vectors", dummy("data:4x7", "label:4") + `layer { name: "c" type: "InnerProduct" bottom: "data" top: "c" inner_product_param { num_output: 3 } }
` + softmaxLoss, "", ""},
		{"vectors of four axes", dummy("data:4x7x1x1", "label:4x1x1") + convolution + softmaxLoss, "", ""},
		{"an autoencoder", dummy("data:2x3x8x8") + convolution + `layer { name: "loss" type: "EuclideanLoss" bottom: "c" bottom: "data" top: "loss" }
`, "data", ""},
		{"images as targets", dummy("data:2x3x8x8", "clean:2x3x8x8") + convolution + `layer { name: "loss" type: "EuclideanLoss" bottom: "c" bottom: "clean" top: "loss" }
`, "data", ""},
		{"targets first", dummy("clean:2x3x8x8", "data:2x3x8x8") + convolution + `layer { name: "loss" type: "EuclideanLoss" bottom: "c" bottom: "clean" top: "loss" }
`, "data", ""},
		{"labels cut out of the data", dummy("both:2x4x8x8") + `layer { name: "s" type: "Slice" bottom: "both" top: "data" top: "label" slice_param { slice_point: 3 } }
` + convolution + softmaxLoss, "both", ""},
		{"sequences", dummy("word:5x4", "cont:5x4") + `layer { name: "e" type: "Embed" bottom: "word" top: "e" embed_param { input_dim: 3 num_output: 6 } }
layer { name: "l" type: "LSTM" bottom: "e" bottom: "cont" top: "l" recurrent_param { num_output: 3 } }
`, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			net := built(t, c.net)
			in, labels := findInputs(net, nil)
			if want := net.Blob(c.images); (in == nil) != (want == nil) || in != nil && in.top != want {
				t.Errorf("images %+v, want those of %q", in, c.images)
			}
			if want := net.Blob(c.labels); (labels == nil) != (want == nil) || labels != nil && labels.top != want {
				t.Errorf("labels %+v, want those of %q", labels, c.labels)
			}
		})
	}
}

// TestManyChannels: images of other channels than one or three stand side by
// side.
func TestManyChannels(t *testing.T) {
	for _, c := range []struct{ channels, width int }{{1, 5}, {3, 5}, {2, 5 + 2 + 5}, {6, 5 + 2 + 5}, {4, 4*5 + 3*2}, {32, 4*5 + 3*2}} {
		b := tensor.New(1, c.channels, 4, 5)
		v := b.Data()
		for i := range v {
			v[i] = float32(10 * (i / 20)) // 0, 10, 20, … by channel
		}
		in := &inputs{top: b, scale: 1, mean: []float32{5}}
		p := in.paint()[0]
		m, err := png.Decode(bytes.NewReader(p.PNG))
		if err != nil {
			t.Fatal(err)
		}
		if p.Width != c.width || p.Height != 4 {
			t.Errorf("%d channels: %d×%d", c.channels, p.Width, p.Height)
		}
		if c.channels != 6 && c.channels != 4 {
			continue
		}
		first, step := uint32(35), 7 // the second of 6 channels in threes: blue is channel 3
		if c.channels == 4 {
			first = 15
		}
		if _, _, blue, _ := m.At(step, 0).RGBA(); blue>>8 != first {
			t.Errorf("%d channels: the second part is %d, want %d", c.channels, blue>>8, first)
		}
	}
}

// TestLabelColors: each class has a colour of its own, those of PASCAL VOC.
func TestLabelColors(t *testing.T) {
	b := tensor.New(1, 1, 2, 2)
	copy(b.Data(), []float32{0, 1, 2, 255})
	p := (&labels{b}).paint()[0]
	m, err := png.Decode(bytes.NewReader(p.PNG))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][3]uint32{{0, 0, 0}, {128, 0, 0}, {0, 128, 0}, {224, 224, 192}} {
		r, g, bl, _ := m.At(i%2, i/2).RGBA()
		if got := [3]uint32{r >> 8, g >> 8, bl >> 8}; got != want {
			t.Errorf("pixel %d is %v, want %v", i, got, want)
		}
	}
	if p.Title != "labels 0: 0 1 2 255" {
		t.Errorf("title %q", p.Title)
	}
	seen := map[any]int{}
	for c := range 256 {
		if other, ok := seen[classColor(c)]; ok {
			t.Errorf("classes %d and %d have one colour", other, c)
		}
		seen[classColor(c)] = c
	}
}

// TestProbes: statistics are no weights, and labels, targets and indices no
// activations.
func TestProbes(t *testing.T) {
	net := built(t, dummy("label:2x1x8x8")+strings.Replace(dummy("data:2x3x8x8"), `"in"`, `"images"`, 1)+convolution+
		`layer { name: "bn" type: "BatchNorm" bottom: "c" top: "n" }
layer { name: "scale" type: "Scale" bottom: "n" top: "n" }
`+strings.Replace(softmaxLoss, `bottom: "c"`, `bottom: "n"`, 1)+
		strings.Replace(dummy("word:5x4"), `"in"`, `"words"`, 1)+`layer { name: "e" type: "Embed" bottom: "word" top: "e" embed_param { input_dim: 3 num_output: 6 } }
`)
	got := map[string][2]bool{}
	for _, p := range probes(net) {
		got[p.node.Name] = [2]bool{p.top != nil, p.weight != nil}
	}
	for name, want := range map[string][2]bool{"in": {false, false}, "images": {true, false}, "c": {true, true}, "bn": {false, false}, "scale": {true, true},
		"words": {false, false}, "e": {true, true}} {
		if got[name] != want {
			t.Errorf("%s: activation and weight %v, want %v", name, got[name], want)
		}
	}
}
