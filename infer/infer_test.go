package infer

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"crema/data"
	"crema/graph"
	"crema/netinfo"
	"crema/prototxt"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// picture makes a picture of planes of the given values.
func picture(c, h, w int, pix ...byte) *data.Image {
	if len(pix) != c*h*w {
		panic("wrong number of samples")
	}
	return &data.Image{C: c, H: h, W: w, Pix: pix}
}

// counting is a picture of blue, green and red 3×4 with the samples 0 to 35.
func counting() *data.Image {
	pix := make([]byte, 36)
	for i := range pix {
		pix[i] = byte(i)
	}
	return picture(3, 3, 4, pix...)
}

func run(t *testing.T, p Preprocessor, im *data.Image) []float32 {
	t.Helper()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	dst := make([]float32, p.Crops()*p.C*p.H*p.W)
	if err := p.Picture(dst, im); err != nil {
		t.Fatal(err)
	}
	return dst
}

func TestPicture(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Preprocessor
		im   *data.Image
		want []float32
	}{
		{"centre", Preprocessor{C: 3, H: 2, W: 1, ImageH: 3, ImageW: 4}, counting(), []float32{1, 5, 13, 17, 25, 29}},
		{"red first", Preprocessor{C: 3, H: 1, W: 1, ImageH: 3, ImageW: 4, ChannelSwap: []int{0, 1, 2}}, counting(), []float32{29, 17, 5}},
		{"one channel thrice", Preprocessor{C: 3, H: 1, W: 1, ImageH: 3, ImageW: 4, ChannelSwap: []int{1, 1, 1}}, counting(), []float32{17, 17, 17}},
		{"means and scales", Preprocessor{C: 3, H: 1, W: 1, ImageH: 3, ImageW: 4, RawScale: 510, MeanValues: []float32{1, 2, 3}, InputScale: 0.5}, counting(), []float32{4.5, 16, 27.5}},
		{"a mean for all", Preprocessor{C: 3, H: 1, W: 1, ImageH: 3, ImageW: 4, MeanValues: []float32{5}}, counting(), []float32{0, 12, 24}},
		{"grey", Preprocessor{C: 1, H: 1, W: 2, MeanValues: []float32{1}}, picture(1, 1, 2, 7, 9), []float32{6, 8}},
		{"ten crops", Preprocessor{C: 1, H: 1, W: 2, ImageH: 2, ImageW: 3, Oversample: true}, picture(1, 2, 3, 1, 2, 3, 4, 5, 6),
			[]float32{1, 2, 2, 3, 4, 5, 5, 6, 1, 2, 2, 1, 3, 2, 5, 4, 6, 5, 2, 1}},
		{"the mean is cropped, too", Preprocessor{C: 1, H: 1, W: 2, ImageH: 2, ImageW: 3, Oversample: true, MeanImage: []float32{1, 2, 3, 4, 5, 6}}, picture(1, 2, 3, 1, 2, 3, 4, 5, 7),
			[]float32{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := run(t, c.p, c.im); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestSkimage compares with skimage.transform.resize (0.19.3, mode constant,
// without anti-aliasing) between Caffe's two steps of resize_image.
func TestSkimage(t *testing.T) {
	im := picture(1, 3, 4, 10, 50, 90, 250, 0, 30, 200, 100, 70, 60, 20, 40)
	for _, c := range []struct {
		h, w int
		want []float32
	}{
		{2, 3, []float32{13.75, 81.25, 196.6667, 52.5, 58.75, 56.6667}},
		{5, 6, []float32{6.6667, 24, 45.3333, 66.6667, 136, 166.6667, 5, 24, 57.3333, 118.6667, 162, 158.3333, 0, 15, 58.3333, 171.6667, 150, 83.3333,
			35, 45, 55.3333, 84.6667, 78, 53.3333, 46.6667, 52, 42.6667, 21.3333, 24, 26.6667}},
		{3, 4, []float32{10, 50, 90, 250, 0, 30, 200, 100, 70, 60, 20, 40}},
	} {
		got := run(t, Preprocessor{C: 1, H: c.h, W: c.w, Interpolation: Skimage}, im)
		for i, v := range got {
			if math.Abs(float64(v-c.want[i])) > 1e-3 {
				t.Errorf("%d×%d: value %d is %v, want %v", c.h, c.w, i, v, c.want[i])
			}
		}
	}
	// Edges are mixed with the least value, which need not be 0.
	if got := run(t, Preprocessor{C: 1, H: 1, W: 4, Interpolation: Skimage}, picture(1, 1, 2, 100, 200)); !slices.Equal(got, []float32{100, 125, 175, 175}) {
		t.Errorf("of 100 and 200: %v", got)
	}
}

// TestOpenCV: pictures are resized as those of databases are.
func TestOpenCV(t *testing.T) {
	im := counting()
	var r data.Image
	data.Resize(&r, im, 5, 3)
	got := run(t, Preprocessor{C: 3, H: 5, W: 3}, im)
	for i, v := range r.Pix {
		if got[i] != float32(v) {
			t.Fatalf("value %d is %v, want %d", i, got[i], v)
		}
	}
}

func TestPreprocessorErrors(t *testing.T) {
	for want, p := range map[string]Preprocessor{
		"has 4 channels":        {C: 4, H: 1, W: 1},
		"of 0×1 pixels":         {C: 3, W: 1},
		"smaller than":          {C: 3, H: 4, W: 4, ImageH: 8, ImageW: 3},
		"no order of channels":  {C: 1, H: 1, W: 1, ChannelSwap: []int{0}},
		"is not three of 0, 1":  {C: 3, H: 1, W: 1, ChannelSwap: []int{2, 1, 3}},
		"2 mean values":         {C: 3, H: 1, W: 1, MeanValues: []float32{1, 2}},
		"the mean has 2 values": {C: 1, H: 1, W: 1, MeanImage: []float32{1, 2}},
		"three of 0, 1 and 2":   {C: 3, H: 1, W: 1, ChannelSwap: []int{0, 1}},
	} {
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", p, err, want)
		}
	}
}

func TestMean(t *testing.T) {
	dir := t.TempDir()
	bp := filepath.Join(dir, "mean.binaryproto")
	if err := prototxt.WriteBinary(bp, &caffepb.BlobProto{Num: proto.Int32(1), Channels: proto.Int32(3), Height: proto.Int32(1), Width: proto.Int32(2), Data: []float32{1, 3, 5, 7, 9, 11}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file    string
		c, h, w int
		means   []float32
	}{
		{bp, 3, 1, 2, []float32{2, 6, 10}},
		{"../npy/testdata/mean_f8.npy", 3, 2, 2, []float32{1.5, 5.5, 9.5}},
		{"../npy/testdata/channels_f4.npy", 3, 1, 1, []float32{1, 2, 3}},
	} {
		m, err := ReadMean(c.file)
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if m.C != c.c || m.H != c.h || m.W != c.w || !slices.Equal(m.ChannelMeans(), c.means) {
			t.Errorf("%s: %d×%d×%d, means %v", c.file, m.C, m.H, m.W, m.ChannelMeans())
		}
	}
	for file, want := range map[string]string{"../npy/testdata/fortran.npy": "column-major", "../npy/testdata/integers.npy": `"<i8"`, "testdata/none.npy": "no such file", "infer.go": "infer.go"} {
		if _, err := ReadMean(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
	broken := filepath.Join(dir, "broken.npy")
	b, err := os.ReadFile("../npy/testdata/mean_f8.npy")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 5, 60, len(b) - 1} {
		if err := os.WriteFile(broken, b[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadMean(broken); err == nil || !strings.Contains(err.Error(), broken) {
			t.Errorf("%d bytes of a file: %v", n, err)
		}
	}

	// A mean as large as the pictures counts pixel by pixel, others by channel.
	m, err := ReadMean("../npy/testdata/mean_f8.npy")
	if err != nil {
		t.Fatal(err)
	}
	p := Preprocessor{C: 3, H: 1, W: 1, ImageH: 2, ImageW: 2}
	if note, err := p.SetMean(m); err != nil || note != "" || len(p.MeanImage) != 12 {
		t.Errorf("of the pictures' size: %q, %v", note, err)
	}
	p = Preprocessor{C: 3, H: 1, W: 1, ImageH: 3, ImageW: 2}
	if note, err := p.SetMean(m); err != nil || !strings.Contains(note, "[1.5 5.5 9.5]") || p.MeanImage != nil {
		t.Errorf("of another size: %q, %v", note, err)
	}
	p.C = 1
	if _, err := p.SetMean(m); err == nil {
		t.Error("of other channels: no error")
	}
}

func TestTop(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		scores []float32
		k      int
		want   []int
	}{
		{[]float32{1, 3, 2, 3}, 3, []int{1, 3, 2}},
		{[]float32{nan, -1, nan}, 9, []int{1, 0, 2}},
		{nil, 5, []int{}},
	} {
		if got := Top(c.scores, c.k); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.scores, got, c.want)
		}
	}
}

func build(t *testing.T, text string) *graph.Net {
	t.Helper()
	np := &caffepb.NetParameter{}
	if err := prototxt.UnmarshalText("net", []byte(text), np); err != nil {
		t.Fatal(err)
	}
	graph.SetState(np, caffepb.Phase_TEST, 0, nil)
	net, err := graph.New(np, graph.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { net.Close() })
	return net
}

const small = `layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 7 dim: 3 dim: 2 dim: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "pool" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE global_pooling: true } }
layer { name: "prob" type: "Softmax" bottom: "p" top: "prob" }
`

// TestClassifier: pictures get the same scores whatever else is in the batch, and
// those of ten crops are their mean.
func TestClassifier(t *testing.T) {
	c, err := New(build(t, small), "")
	if err != nil {
		t.Fatal(err)
	}
	if c.Classes != 4 || c.Output != "prob" || c.Pre.H != 2 {
		t.Errorf("%d classes of %q, input of %d rows", c.Classes, c.Output, c.Pre.H)
	}
	c.Pre.ImageH, c.Pre.ImageW = 3, 4
	a, b := counting(), picture(3, 1, 1, 200, 100, 50)
	both, err := c.Classify([]*data.Image{a, b})
	if err != nil {
		t.Fatal(err)
	}
	alone, err := c.Classify([]*data.Image{b})
	if err != nil {
		t.Fatal(err)
	}
	if len(both) != 2 || !slices.Equal(both[1], alone[0]) || slices.Equal(both[0], both[1]) {
		t.Errorf("together %v, alone %v", both, alone)
	}
	c.Pre.Oversample = true
	crops, err := c.Crops([]*data.Image{a})
	if err != nil {
		t.Fatal(err)
	}
	ten, err := c.Classify([]*data.Image{a})
	if err != nil {
		t.Fatal(err)
	}
	if len(crops) != 10 || !slices.Equal(crops[4], both[0]) {
		t.Errorf("%d crops, the fifth %v, the centre %v", len(crops), crops[4], both[0])
	}
	for k := range ten[0] {
		sum := 0.0
		for _, s := range crops {
			sum += float64(s[k])
		}
		if math.Abs(float64(ten[0][k])-sum/10) > 1e-6 {
			t.Errorf("class %d: %v, mean %v", k, ten[0][k], sum/10)
		}
	}
	if none, err := c.Classify(nil); err != nil || len(none) != 0 {
		t.Errorf("no pictures: %v, %v", none, err)
	}
	if _, err := c.Classify([]*data.Image{picture(1, 1, 1, 3)}); err == nil {
		t.Error("a grey picture: no error")
	}
}

func TestNotClassifier(t *testing.T) {
	two := small + `layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip" inner_product_param { num_output: 2 } }`
	for _, c := range []struct{ name, net, output, want string }{
		{"no input", `layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 3 dim: 2 dim: 2 } } }`, "", `layer "d" (DummyData)`},
		{"two inputs", strings.Replace(small, `top: "x"`, `top: "x" top: "y"`, 1), "", "the inputs x, y"},
		{"no picture", `layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }`, "", "2×3"},
		{"four channels", `layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 dim: 1 dim: 1 } } }`, "", "4 channels"},
		{"unknown blob", small, "q", `"q"`},
		{"a score for each pixel", small, "c", "7×4×2×2"},
		{"two outputs without Softmax", strings.Replace(two, `"Softmax"`, `"ReLU"`, 1), "", "the outputs ip, prob"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := New(build(t, c.net), c.output); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if c, err := New(build(t, two), ""); err != nil || c.Output != "prob" {
		t.Errorf("a Softmax among the outputs: %v", err)
	}
	if _, err := New(build(t, small), "c"); !errors.Is(err, ErrNotClassifier) {
		t.Errorf("%v is not ErrNotClassifier", err)
	}
}

func TestDeploy(t *testing.T) {
	const train = `name: "n"
layer { name: "data" type: "Data" top: "x" top: "label" include { phase: TRAIN } }
layer { name: "data" type: "Data" top: "x" top: "label" include { phase: TEST } transform_param { crop_size: 2 scale: 0.5 mean_value: 3 } data_param { source: "/none" batch_size: 5 } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "one" type: "Power" bottom: "label" top: "one" }
layer { name: "pool" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE global_pooling: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "p" bottom: "one" top: "loss" softmax_param { axis: 1 } }
layer { name: "acc" type: "Accuracy" bottom: "p" bottom: "label" top: "acc" include { phase: TEST } }
layer { name: "sum" type: "Eltwise" bottom: "acc" bottom: "acc" top: "sum" }
`
	np := &caffepb.NetParameter{}
	if err := prototxt.UnmarshalText("net", []byte(train), np); err != nil {
		t.Fatal(err)
	}
	graph.SetState(np, caffepb.Phase_TEST, 0, nil)
	d, tp, notes, err := Deploy(np)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range d.Layer {
		got = append(got, fmt.Sprint(l.GetName(), " ", l.GetType(), " ", l.Bottom, l.Top))
	}
	if want := []string{"data Data [] [x]", "conv Convolution [x] [c]", "pool Pooling [c] [p]", "loss Softmax [p] [loss]"}; !slices.Equal(got, want) {
		t.Errorf("layers %q, want %q", got, want)
	}
	if tp.GetScale() != 0.5 || len(notes) != 5 {
		t.Errorf("scale %v, notes %q", tp.GetScale(), notes)
	}
	if len(np.Layer) != 8 || len(np.Layer[1].Top) != 2 {
		t.Error("the net itself was changed")
	}
	// What comes out can be run where the data are not.
	if d, _, err = netinfo.Sources(d, netinfo.SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	net, err := graph.New(d, graph.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	if c, err := New(net, ""); err != nil || c.Output != "loss" || c.Classes != 4 || c.Pre.H != 2 {
		t.Errorf("%+v, %v", c, err)
	}

	np = &caffepb.NetParameter{}
	if err := prototxt.UnmarshalText("net", []byte(small), np); err != nil {
		t.Fatal(err)
	}
	if d, tp, notes, err := Deploy(np); err != nil || d != np || tp != nil || notes != nil {
		t.Errorf("a net to be used: changed (%q, %v)", notes, err)
	}
}

func TestListImages(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"b.JPG", "a.png", "notes.txt", "sub/c.png"} {
		p := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	in := func(names ...string) (out []string) {
		for _, n := range names {
			out = append(out, filepath.Join(dir, n))
		}
		return out
	}
	got, err := ListImages(in("notes.txt", "."))
	if err != nil || !slices.Equal(got, in("notes.txt", "a.png", "b.JPG")) {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"none", "empty"} {
		if _, err := ListImages(in(bad)); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	ims, errs := ReadImages(in("a.png", "none.png"), data.Color)
	if ims[0] != nil || errs[0] == nil || ims[1] != nil || errs[1] == nil {
		t.Errorf("%v, %v", ims, errs)
	}
}

// TestGolden compares with the scores of Caffe's Classifier for photographs: of
// each of ten crops, of their mean, and of the centre.
func TestGolden(t *testing.T) {
	shared := os.Getenv("CREMA_SHARED")
	if shared == "" {
		t.Skip("CREMA_SHARED, the folder of the large data sets, is not set")
	}
	zoo := filepath.Join(shared, "zoo", "squeezenet")
	np, err := prototxt.ReadNet(filepath.Join(zoo, "deploy.prototxt"))
	if err != nil {
		t.Fatal(err)
	}
	graph.SetState(np, caffepb.Phase_TEST, 0, nil)
	net, err := graph.New(np, graph.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	if err := net.LoadWeights(filepath.Join(zoo, "squeezenet.caffemodel")); err != nil {
		t.Fatal(err)
	}
	c, err := New(net, "")
	if err != nil {
		t.Fatal(err)
	}
	c.Pre.ImageH, c.Pre.ImageW, c.Pre.MeanValues = 256, 256, []float32{104, 117, 123}
	compared := 0
	check := func(what string, got, want []float32) {
		t.Helper()
		var largest float64
		for _, v := range want {
			largest = max(largest, math.Abs(float64(v)))
		}
		for k, v := range want {
			// The scores are recorded with five digits.
			if math.Abs(float64(got[k]-v)) > 1e-4*largest {
				t.Fatalf("%s, class %d: %v, want %v", what, k, got[k], v)
			}
		}
		compared++
	}
	for _, over := range []bool{true, false} {
		c.Pre.Oversample = over
		file, columns := "ten_crops.tsv", 3
		if !over {
			file, columns = "centre_crop.tsv", 2
		}
		rows := readTable(t, filepath.Join("..", "testdata", "golden", "tools", "classify", file), columns)
		crops, means := map[string][][]float32{}, map[string][]float32{}
		for _, r := range rows {
			image := r[0]
			if crops[image] == nil {
				ims, errs := ReadImages([]string{filepath.Join(shared, "data", "photos", image)}, c.Pre.Mode())
				if errs[0] != nil {
					t.Fatal(errs[0])
				}
				if crops[image], err = c.Crops(ims); err != nil {
					t.Fatal(err)
				}
				mean, err := c.Classify(ims)
				if err != nil {
					t.Fatal(err)
				}
				means[image] = mean[0]
			}
			want := numbers(t, r[columns-1])
			if crop, err := strconv.Atoi(r[1]); over && err == nil {
				check(image+" crop "+r[1], crops[image][crop], want)
			} else {
				check(image, means[image], want)
			}
		}
	}
	if compared != 3*11+3 {
		t.Errorf("%d lines were compared", compared)
	}
}

// readTable reads lines of columns between tabs, without the heading.
func readTable(t *testing.T, path string, columns int) (rows [][]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		r := strings.Split(s.Text(), "\t")
		if len(r) != columns {
			t.Fatalf("%s: a line of %d columns", path, len(r))
		}
		rows = append(rows, r)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return rows[1:]
}

func numbers(t *testing.T, s string) (out []float32) {
	t.Helper()
	for f := range strings.FieldsSeq(s) {
		v, err := strconv.ParseFloat(f, 32)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, float32(v))
	}
	return out
}
