package netinfo

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/data"
	"crema/graph"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

// parse reads a net and puts it into a phase.
func parse(t *testing.T, text string, phase caffepb.Phase) *caffepb.NetParameter {
	t.Helper()
	np := &caffepb.NetParameter{}
	if err := prototxt.UnmarshalText("net", []byte(text), np); err != nil {
		t.Fatal(err)
	}
	graph.SetState(np, phase, 0, nil)
	return np
}

func of(t *testing.T, text string, phase caffepb.Phase, o SourceOptions) *Info {
	t.Helper()
	i, err := Of(parse(t, text, phase), o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func input(name string, dims ...string) string {
	return `layer { name: "` + name + `" type: "Input" top: "` + name + `" input_param { shape { dim: ` + strings.Join(dims, " dim: ") + ` } } }
`
}

// TestMACs counts by hand.
func TestMACs(t *testing.T) {
	for _, c := range []struct {
		name, net, layer   string
		macs, params, stat int64
	}{
		{"convolution", input("x", "2", "6", "9", "8") + `layer { name: "y" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 group: 2 } }`,
			"y", 2 * 4 * 5 * 4 * 3 * 9, 4*3*9 + 4, 0},
		{"two bottoms", input("x", "1", "1", "3", "3") + input("z", "1", "1", "3", "3") + `layer { name: "y" type: "Convolution" bottom: "x" bottom: "z" top: "y" top: "v" convolution_param { num_output: 2 kernel_size: 3 bias_term: false } }`,
			"y", 2 * 2 * 9, 2 * 9, 0},
		{"deconvolution", input("x", "1", "4", "5", "5") + `layer { name: "y" type: "Deconvolution" bottom: "x" top: "y" convolution_param { num_output: 6 kernel_size: 4 stride: 2 group: 2 } }`,
			"y", 4 * 25 * 3 * 16, 4*3*16 + 6, 0},
		{"fully connected", input("x", "3", "2", "5") + `layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 7 transpose: true } }`,
			"y", 3 * 10 * 7, 70 + 7, 0},
		{"by the last axis", input("x", "3", "2", "5") + `layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 7 axis: -1 } }`,
			"y", 6 * 5 * 7, 35 + 7, 0},
		{"pooling", input("x", "1", "1", "4", "4") + `layer { name: "y" type: "Pooling" bottom: "x" top: "y" pooling_param { kernel_size: 2 } }`,
			"y", 0, 0, 0},
		{"LSTM", input("x", "5", "2", "3") + input("cont", "5", "2") + input("s", "2", "4") + `layer { name: "y" type: "LSTM" bottom: "x" bottom: "cont" bottom: "s" top: "y" recurrent_param { num_output: 6 } }`,
			"y", 10*(24*3+24*6) + 2*24*4, 24*3 + 24 + 24*4 + 24*6, 0},
		{"LSTM with its state", input("x", "5", "2", "3") + input("cont", "5", "2") + input("h", "1", "2", "6") + input("c", "1", "2", "6") +
			`layer { name: "y" type: "LSTM" bottom: "x" bottom: "cont" bottom: "h" bottom: "c" top: "y" top: "hT" top: "cT" recurrent_param { num_output: 6 expose_hidden: true } }`,
			"y", 10 * (24*3 + 24*6), 24*3 + 24 + 24*6, 0},
		{"RNN", input("x", "5", "2", "3") + input("cont", "5", "2") + `layer { name: "y" type: "RNN" bottom: "x" bottom: "cont" top: "y" recurrent_param { num_output: 6 } }`,
			"y", 10 * (6*3 + 6*6 + 6*6), 6*3 + 6 + 36 + 36 + 6, 0},
		{"batch norm", input("x", "1", "3", "4", "4") + `layer { name: "y" type: "BatchNorm" bottom: "x" top: "y" }`,
			"y", 0, 0, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := of(t, c.net, caffepb.Phase_TEST, SourceOptions{})
			l := i.Layers[len(i.Layers)-1]
			if l.Name != c.layer || l.MACs != c.macs || l.Parameters != c.params || l.Statistics != c.stat {
				t.Errorf("%s: %d multiply-adds, %d parameters, %d statistics; want %d, %d, %d", l.Name, l.MACs, l.Parameters, l.Statistics, c.macs, c.params, c.stat)
			}
			if i.MACs != c.macs || i.Parameters != c.params {
				t.Errorf("the net: %d multiply-adds, %d parameters", i.MACs, i.Parameters)
			}
		})
	}
}

// TestVGG looks at what surrounds the figures; models has those that are
// published.
func TestVGG(t *testing.T) {
	np, err := prototxt.ReadNet("../models/es_vgg/train_val.prototxt")
	if err != nil {
		t.Fatal(err)
	}
	graph.SetState(np, caffepb.Phase_TRAIN, 0, nil)
	i, err := Of(np, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if i.Batch != 6 || i.MACs != 6*15470264320 {
		t.Errorf("batch %d, %d multiply-adds", i.Batch, i.MACs)
	}
	if l := i.Layers[0]; l.Type != "Data" || !slices.Equal(l.Tops[0].Shape, []int{6, 3, 224, 224}) || !slices.Equal(l.Tops[1].Shape, []int{6}) {
		t.Errorf("first layer: %+v", l)
	}
	if len(i.Notes) != 1 || !strings.Contains(i.Notes[0], "assumed pictures of 3 channels") {
		t.Errorf("notes: %q", i.Notes)
	}
}

const branches = `
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 4 } } }
layer { name: "c1" type: "Convolution" bottom: "x" top: "c1" param { name: "w" } convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2" convolution_param { num_output: 16 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "f" type: "Flatten" bottom: "c2" top: "f" }
layer { name: "d" type: "Dropout" bottom: "f" top: "f" }
layer { name: "ip" type: "InnerProduct" bottom: "f" top: "ip" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "ip2" type: "InnerProduct" bottom: "p1" top: "ip2" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "c3" type: "Convolution" bottom: "x" top: "c3" param { name: "w" } propagate_down: false convolution_param { num_output: 16 kernel_size: 3 pad: 1 } }
layer { name: "q" type: "Silence" bottom: "c3" }
layer { name: "l1" type: "SoftmaxWithLoss" bottom: "ip" bottom: "t" top: "l1" }
layer { name: "l2" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "t" top: "l2" loss_weight: 0.3 }
layer { name: "a" type: "Accuracy" bottom: "ip" bottom: "t" top: "a" include { phase: TEST } }
`

// TestMemory runs nets with splits, in-place layers and shared blobs and compares
// the memory that their blobs then have with what was foretold.
func TestMemory(t *testing.T) {
	t.Run("branches", func(t *testing.T) {
		np := parse(t, branches, caffepb.Phase_TRAIN)
		checkMemory(t, np, caffepb.Phase_TRAIN)
		checkMemory(t, np, caffepb.Phase_TEST)
		i, err := Of(np, SourceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range i.Layers {
			if l.Type == "Split" || len(l.Bottoms) > 0 && strings.Contains(l.Bottoms[0].Name, "split") {
				t.Errorf("layer %q shows a split that the net inserted: %+v", l.Name, l.Bottoms)
			}
			// It shares its weights, but has a bias of its own.
			if l.Name == "c3" && l.Parameters != 16 {
				t.Errorf("c3 has %d parameters of its own, want its 16 biases", l.Parameters)
			}
		}
	})
	nets, err := filepath.Glob("../testdata/golden/layers/net_*/net.prototxt")
	if err != nil || len(nets) < 8 {
		t.Fatalf("%d recorded nets, %v", len(nets), err)
	}
	for _, file := range nets {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			np, err := prototxt.ReadNet(file)
			if err != nil {
				t.Fatal(err)
			}
			checkMemory(t, np, caffepb.Phase_TRAIN)
		})
	}
}

func checkMemory(t *testing.T, np *caffepb.NetParameter, phase caffepb.Phase) {
	t.Helper()
	np = proto.CloneOf(np)
	graph.SetState(np, phase, 0, nil)
	i, err := Of(np, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	net, err := graph.New(np, graph.Options{Seed: 1, NoLayout: true, NoFuse: true})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	if _, err := net.Forward(); err != nil {
		t.Fatal(err)
	}
	if err := net.Backward(); err != nil {
		t.Fatal(err)
	}
	var values, grads []*tensor.Blob
	var valueBytes, gradBytes int64
	for _, n := range net.Layers() {
		for _, b := range n.Tops {
			if fresh(&values, b, (*tensor.Blob).SharesData) {
				valueBytes += 4 * int64(b.Count())
			}
			if b.HasDiff() && fresh(&grads, b, (*tensor.Blob).SharesDiff) {
				gradBytes += 4 * int64(b.Count())
			}
		}
	}
	if i.ValueBytes != valueBytes || i.GradientBytes != gradBytes {
		t.Errorf("%v: %d and %d bytes foretold, %d and %d used", phase, i.ValueBytes, i.GradientBytes, valueBytes, gradBytes)
	}
	if gradBytes == 0 {
		t.Errorf("%v: no gradients", phase)
	}
}

// TestNothingFilled: weights of many gigabytes cost nothing.
func TestNothingFilled(t *testing.T) {
	i := of(t, input("x", "64", "40000")+`layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 50000 weight_filler { type: "xavier" } } }
layer { name: "z" type: "InnerProduct" bottom: "y" top: "z" inner_product_param { num_output: 40000 weight_filler { type: "gaussian" } } }`, caffepb.Phase_TRAIN, SourceOptions{})
	if want := int64(2*40000*50000 + 90000); i.Parameters != want {
		t.Errorf("%d parameters, want %d", i.Parameters, want)
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "db")
	w, err := data.CreateDB(db, data.LMDB)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Put([]byte("0"), []byte("\x08\x02\x10\x05\x18\x07\x22\x46"+strings.Repeat("x", 70))); err != nil { // a Datum of 2×5×7
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "list.txt")
	if err := os.WriteFile(list, []byte("none.jpg 1\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	const tops = ` top: "x" top: "t" `
	for _, c := range []struct {
		name, layer string
		shapes      map[string][]int
		want        []int
		note, err   string
	}{
		{name: "first record", layer: `type: "Data"` + tops + `data_param { source: "/old/db" backend: LMDB batch_size: 3 }`, want: []int{3, 2, 5, 7}},
		{name: "and a crop", layer: `type: "Data"` + tops + `transform_param { crop_size: 4 } data_param { source: "/old/db" backend: LMDB batch_size: 3 }`, want: []int{3, 2, 4, 4}},
		{name: "no data, a crop and a mean", layer: `type: "Data"` + tops + `transform_param { crop_size: 4 mean_value: 1 mean_value: 2 } data_param { source: "/none" backend: LMDB batch_size: 3 }`, want: []int{3, 2, 4, 4}, note: "assumed pictures of 2 channels: its source /none cannot be read (no such file or directory)"},
		{name: "no data, a mean picture", layer: `type: "Data"` + tops + `transform_param { mean_file: "/golden/photos_mean.binaryproto" } data_param { source: "/none" backend: LMDB batch_size: 3 }`, want: []int{3, 3, 40, 48}},
		{name: "no data, a crop and a mean picture", layer: `type: "Data"` + tops + `transform_param { crop_size: 4 mean_file: "/golden/photos_mean.binaryproto" } data_param { source: "/none" backend: LMDB batch_size: 3 }`, want: []int{3, 3, 4, 4}},
		{name: "no data, grey", layer: `type: "Data"` + tops + `transform_param { crop_size: 4 force_gray: true } data_param { source: "/none" batch_size: 3 }`, want: []int{3, 1, 4, 4}, note: "1 channels"},
		{name: "no data", layer: `type: "Data"` + tops + `data_param { source: "/none" backend: LMDB batch_size: 3 }`, err: `"/none": no such file or directory): give it, such as -shape x=3x3x224x224 -shape t=3`},
		{name: "no data, shapes given", layer: `type: "Data"` + tops + `data_param { source: "/none" batch_size: 3 }`, shapes: map[string][]int{"x": {9, 8}, "t": {9}}, want: []int{9, 8}},
		{name: "no batch size", layer: `type: "Data"` + tops + `transform_param { crop_size: 4 } data_param { source: "/none" }`, err: "batch_size must be positive"},
		{name: "wrong kind of database", layer: `type: "Data"` + tops + `data_param { source: "/old/db" batch_size: 3 }`, err: "set backend to LMDB"},
		{name: "pictures, resized", layer: `type: "ImageData"` + tops + `image_data_param { source: "/none" batch_size: 3 new_height: 6 new_width: 5 is_color: false }`, want: []int{3, 1, 6, 5}},
		{name: "pictures, not there", layer: `type: "ImageData"` + tops + `image_data_param { source: "/old/list.txt" root_folder: "/old/" batch_size: 3 }`, err: filepath.Join(dir, "none.jpg")},
		{name: "HDF5", layer: `type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "/golden/features_train_list.txt" batch_size: 3 }`, want: []int{3, 12}},
		{name: "HDF5, no such dataset", layer: `type: "HDF5Data"` + tops + `hdf5_data_param { source: "/golden/features_train_list.txt" batch_size: 3 }`, err: `give it, such as -shape x=`},
		{name: "an input's shape given", layer: `type: "Input"` + tops + `input_param { shape { dim: 2 dim: 2 } }`, shapes: map[string][]int{"x": {5, 2}}, want: []int{5, 2}},
		{name: "one of two given", layer: `type: "Data"` + tops + `transform_param { crop_size: 4 } data_param { source: "/none" batch_size: 3 }`, shapes: map[string][]int{"x": {1, 3, 9, 9}}, want: []int{1, 3, 9, 9}, note: "assumed"},
		{name: "a blob that is not there", layer: `type: "Input"` + tops + `input_param { shape { dim: 2 } }`, shapes: map[string][]int{"q": {5}}, err: `blob "q"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			np := parse(t, `layer { name: "in" `+c.layer+` }`, caffepb.Phase_TRAIN)
			i, err := Of(np, SourceOptions{Shapes: c.shapes, ResolvePath: func(p string) string {
				if strings.HasSuffix(p, ".h5") { // named in the list
					p = "/golden/" + p
				}
				return strings.NewReplacer("/old/", dir+"/", "/golden/", "../testdata/golden/runs/").Replace(p)
			}})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := i.Inputs[0].Shape; !slices.Equal(got, c.want) || i.Batch != c.want[0] {
				t.Errorf("shape %v, batch %d; want %v", got, i.Batch, c.want)
			}
			if notes := strings.Join(i.Notes, "\n"); !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
				t.Errorf("notes %q, want %q", notes, c.note)
			}
		})
	}
}

// TestNoData: layers of both phases are looked at only in theirs.
func TestNoData(t *testing.T) {
	text := `layer { name: "in" type: "Data" top: "x" include { phase: TRAIN } data_param { source: "/none" batch_size: 3 } }
layer { name: "in" type: "Input" top: "x" include { phase: TEST } input_param { shape { dim: 3 } } }
layer { name: "s" type: "Silence" bottom: "x" }`
	of(t, text, caffepb.Phase_TEST, SourceOptions{})
	if _, err := Of(parse(t, text, caffepb.Phase_TRAIN), SourceOptions{}); err == nil {
		t.Error("TRAIN: no error")
	}
}

func TestTable(t *testing.T) {
	i := of(t, branches, caffepb.Phase_TEST, SourceOptions{})
	var b bytes.Buffer
	if err := i.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if !strings.HasPrefix(lines[0], "layer  type ") || len(lines) != len(i.Layers)+3 {
		t.Fatalf("got\n%s", b.String())
	}
	find := func(name string) []string {
		for _, l := range lines {
			if f := strings.Fields(l); len(f) > 0 && f[0] == name {
				return f
			}
		}
		t.Fatalf("no line for %s in\n%s", name, b.String())
		return nil
	}
	// Multiply-adds are of one of four items.
	for name, want := range map[string]string{
		"c1":    "c1 Convolution 3×3, pad 1 4×16×8×8 448 27,648 16.0 KiB",
		"p1":    "p1 Pooling max, 2×2, stride 2 4×16×4×4 - - 4.00 KiB",
		"r1":    "r1 ReLU 4×16×8×8 - - -",
		"total": "total 7,146 78,080 55.2 KiB",
	} {
		if got := strings.Join(find(name), " "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -999: "-999"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %s", n, got)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1.00 k", 12345: "12.3 k", 999499: "999 k", 999500: "1.00 M", 3857973248: "3.86 G"} {
		if got := Short(n); got != want {
			t.Errorf("Short(%d) = %s", n, got)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "0.98 KiB", 1 << 20: "1.00 MiB", 3 << 29: "1.50 GiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s", n, got)
		}
	}
}

func TestGeometry(t *testing.T) {
	for layer, want := range map[string]string{
		`type: "Convolution" convolution_param { num_output: 4 kernel_h: 1 kernel_w: 3 stride_h: 2 stride_w: 1 }`:                 "1×3, stride 2×1",
		`type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 dilation: 2 group: 2 pad: 2 }`:                      "3×3, pad 2, dilation 2, group 2",
		`type: "Pooling" pooling_param { pool: AVE global_pooling: true }`:                                                        "ave, global",
		`type: "Pooling" pooling_param { kernel_h: 2 kernel_w: 3 stride: 2 pad_h: 1 pad_w: 0 }`:                                   "max, 2×3, stride 2, pad 1×0",
		`type: "Dropout" dropout_param { dropout_ratio: 0.25 }`:                                                                   "ratio 0.25",
		`type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 kernel_size: 5 stride: 1 stride: 2 pad: 0 pad: 0 }`: "3×5, stride 1×2",
	} {
		i := of(t, input("x", "1", "4", "8", "8")+`layer { name: "y" bottom: "x" top: "y" `+layer+` }`, caffepb.Phase_TEST, SourceOptions{})
		if got := i.Layers[1].Geometry; got != want {
			t.Errorf("%s: %q, want %q", layer, got, want)
		}
	}
}

// TestOutline: a net of unknown types has layers and blobs all the same.
func TestOutline(t *testing.T) {
	i, err := Outline(parse(t, `layer { name: "a" type: "Wonder" top: "x" } layer { name: "b" type: "Wonder" bottom: "x" top: "y" include { phase: TEST } }`, caffepb.Phase_TRAIN))
	if err != nil || len(i.Layers) != 1 || i.Layers[0].Tops[0].Name != "x" {
		t.Errorf("%+v, %v", i, err)
	}
}
