package doctor

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/data"
	"crema/data/synth"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// The VGG-16 of a person whose training made no progress: what must be found in
// its files.
var stuckRules = map[string]Severity{
	"signal-vanishes": Warning, "missing-nonlinearity": Warning, "rate-high": Warning, "rate-underflow": Warning, "snapshot-never": Warning,
	"mean-scale-order": Note,
}

func wantStuck(t *testing.T, fs []Finding) {
	t.Helper()
	for rule, sev := range stuckRules {
		i := slices.IndexFunc(fs, func(f Finding) bool { return f.Rule == rule })
		if i < 0 {
			t.Errorf("%s is not found", rule)
		} else if fs[i].Severity < sev {
			t.Errorf("%s is a %v", rule, fs[i].Severity)
		}
	}
	for _, r := range grave(fs) {
		if _, ok := stuckRules[r]; !ok && r != "test-wraps" && r != "test-part" {
			t.Errorf("false alarm: %s", r)
		}
	}
	if t.Failed() {
		t.Log("\n" + text(fs))
	}
	for _, f := range fs {
		switch f.Rule {
		case "signal-vanishes":
			for _, want := range []string{"layer.conv1*.convolution_param.weight_filler.type=msra", "layer.fc6.inner_product_param.weight_filler.type=msra"} {
				if !slices.Contains(f.Set, want) {
					t.Errorf("no --set %s in %q", want, f.Set)
				}
			}
			if !strings.Contains(f.What, "16 layers") || !strings.Contains(f.What, " a layer") {
				t.Errorf("no factor per layer: %s", f.What)
			}
		case "missing-nonlinearity":
			if !strings.Contains(f.What, "conv5_3") {
				t.Error(f.What)
			}
		case "rate-underflow":
			if !strings.Contains(f.What, "4400000") {
				t.Errorf("not the iteration the rate is 0 from: %s", f.What)
			}
		}
	}
}

func TestStuckVGG(t *testing.T) {
	const dir = "../models/es_vgg"
	fs := open(t, Inputs{Solver: dir + "/solver.prototxt", ResolvePath: under("..")})
	wantStuck(t, fs)
	if f := fs[0]; f.Rule != "signal-vanishes" {
		t.Errorf("the first finding is %s", f.Rule)
	}
	for _, rule := range []string{"source-missing", "test-part"} {
		if !has(fs, rule) {
			t.Errorf("without data, %s is not said", rule)
		}
	}
	// What is advised removes what is found.
	var sets []string
	for _, f := range fs {
		if f.Rule != "test-part" {
			sets = append(sets, f.Set...)
		}
	}
	o, err := prototxt.ParseOverrides(sets)
	if err != nil {
		t.Fatal(err)
	}
	fs = open(t, Inputs{Solver: dir + "/solver.prototxt", ResolvePath: under(".."), Sets: o})
	if err := o.Unused(); err != nil {
		t.Error(err)
	}
	if g := grave(fs); !slices.Equal(g, []string{"missing-nonlinearity"}) {
		t.Errorf("after the edits there still is %v", g)
	}
}

// TestStuckVGGPhotos looks at the same files with photographs.
func TestStuckVGGPhotos(t *testing.T) {
	shared := os.Getenv("CREMA_SHARED")
	if shared == "" {
		t.Skip("CREMA_SHARED is not set")
	}
	w := world{t.TempDir()}
	photos := filepath.Join(shared, "data", "photos")
	if _, err := data.ConvertImages(context.Background(), photos, filepath.Join(photos, "list.txt"), w.path("db"),
		data.ConvertOptions{Backend: data.LMDB, ResizeWidth: 256, ResizeHeight: 256}); err != nil {
		t.Fatal(err)
	}
	mean := w.mean(t, w.path("db"), "mean.binaryproto")
	fs := open(t, Inputs{Solver: filepath.Join(shared, "seed", "solver.prototxt"), ResolvePath: func(p string) string {
		switch {
		case strings.HasSuffix(p, "lmdb"):
			return w.path("db")
		case strings.HasSuffix(p, "mean.binaryproto"):
			return mean
		case filepath.IsAbs(p):
			return p
		}
		return filepath.Join("..", p)
	}})
	fs = slices.DeleteFunc(fs, func(f Finding) bool { return f.Rule == "tests-training-set" }) // only here they are the same
	wantStuck(t, fs)
	if !has(fs, "test-wraps") {
		t.Error("6000 pictures of 1000 tested, and not a word")
	}
}

// TestSignalAgainstCaffe compares predictions with the RMS of activations that
// Caffe computed in the same nets from 1000 photographs.
func TestSignalAgainstCaffe(t *testing.T) {
	const slack = 2.5 // depth multiplies errors: this is 1.06 a layer
	for _, c := range []struct {
		name string
		sets []string
		want map[string]float64 // by the top's name, behind the ReLU
	}{
		{"as it is", nil, map[string]float64{"conv1_1": 0.18, "conv3_3": 0.030, "conv5_3": 0.0068, "fc8": 0.028}},
		{"no scale", []string{"layer.data.transform_param.scale="}, map[string]float64{"conv1_1": 46, "conv3_3": 7.6, "conv5_3": 1.74, "fc8": 1.78}},
		{"msra", []string{"layer.conv*.convolution_param.weight_filler.type=msra", "layer.fc*.inner_product_param.weight_filler.type=msra"},
			map[string]float64{"conv1_1": 0.24, "conv3_3": 0.21, "conv5_3": 0.34, "fc8": 1.03}},
		{"std on xavier", []string{"layer.conv*.convolution_param.weight_filler.std=0.1"}, map[string]float64{"conv3_3": 0.030, "fc8": 0.028}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := prototxt.ParseOverrides(c.sets)
			if err != nil {
				t.Fatal(err)
			}
			k, err := Open(Inputs{Model: "../models/es_vgg/train_val.prototxt", Sets: o})
			if err != nil {
				t.Fatal(err)
			}
			k.Check(context.Background())
			got := map[string]float64{}
			for _, l := range k.Train.layers {
				for _, b := range l.tops {
					got[b.name] = b.signal.rms()
				}
			}
			for name, want := range c.want {
				if r := got[name] / want; !(r > 1.0/slack && r < slack) {
					t.Errorf("%s: predicted %.3g, Caffe has %.3g", name, got[name], want)
				}
			}
		})
	}
}

// TestThrough checks the quadrature against what is known in closed form.
func TestThrough(t *testing.T) {
	relu := leaky(0)
	for _, c := range []struct {
		name      string
		in        signal
		f         func(float64) float64
		rms, mean float64
		share     float64 // of the variance between pictures
	}{
		{"half of the square", signal{known: true, image: 4}, relu, math.Sqrt2, 2 / math.Sqrt(2*math.Pi), 1 - 1/math.Pi},
		{"all alike", signal{known: true, fixed: 4}, relu, math.Sqrt2, 2 / math.Sqrt(2*math.Pi), 0},
		// Arc-cosine kernel of degree 1 at a correlation of 1/2 (Cho and Saul 2009).
		{"correlated", signal{known: true, fixed: 0.5, image: 0.5}, relu, math.Sqrt(0.5), 1 / math.Sqrt(2*math.Pi),
			1 - (math.Sqrt(0.75)+0.5*(math.Pi-math.Pi/3))/math.Pi},
		{"linear", signal{known: true, mean: 1, fixed: 2, image: 3}, leaky(1), math.Sqrt(5), 1, 0.6},
		{"always on", signal{known: true, mean: 50, fixed: 2501, image: 1}, relu, math.Sqrt(2502), 50, 1.0 / 2502},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.in.through(c.f)
			if math.Abs(s.rms()-c.rms) > 2e-3*c.rms || math.Abs(s.mean-c.mean) > 2e-3*c.rms || math.Abs(s.image-c.share*c.rms*c.rms) > 5e-3*c.rms*c.rms {
				t.Errorf("rms %g mean %g image %g, want %g, %g, %g", s.rms(), s.mean, s.image, c.rms, c.mean, c.share*c.rms*c.rms)
			}
		})
	}
}

// TestShapes compares inferred shapes with those known of published nets.
func TestShapes(t *testing.T) {
	head := `layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 227 dim: 227 } } }
`
	net := build(head, strings.ReplaceAll(alexnet, "B", "0")) + `
layer { name: "up" type: "Deconvolution" bottom: "data" top: "up" convolution_param { num_output: 3 kernel_size: 4 stride: 2 pad: 1 } }
layer { name: "wide" type: "Convolution" bottom: "data" top: "wide" convolution_param { num_output: 5 kernel_h: 3 kernel_w: 5 stride_h: 2 stride_w: 1 dilation: 2 } }
layer { name: "both" type: "Concat" bottom: "data" bottom: "data" top: "both" }
layer { name: "parts" type: "Slice" bottom: "both" top: "p1" top: "p2" slice_param { slice_point: 2 } }
layer { name: "flat" type: "Flatten" bottom: "p2" top: "flat" }
layer { name: "floor" type: "Pooling" bottom: "data" top: "floor" pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR } }
`
	name := filepath.Join(t.TempDir(), "net.prototxt")
	if err := os.WriteFile(name, []byte(net), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := Open(Inputs{Model: name})
	if err != nil {
		t.Fatal(err)
	}
	c.Check(context.Background())
	got := map[string]string{}
	for _, l := range c.Train.layers {
		for _, b := range l.tops {
			got[b.name] = fmt.Sprint(b.shape)
		}
	}
	for name, want := range map[string]string{
		"b0": "[2 96 55 55]", "b3": "[2 96 27 27]", "b4": "[2 256 27 27]", "b7": "[2 256 13 13]", "b14": "[2 256 6 6]", "b15": "[2 4096]", "b21": "[2 1000]",
		"up": "[2 3 454 454]", "wide": "[2 5 112 219]", "both": "[2 6 227 227]", "p1": "[2 2 227 227]", "p2": "[2 4 227 227]", "flat": "[2 206116]",
		"floor": "[2 3 113 113]",
	} {
		if got[name] != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
}

// TestPlaces checks that findings point to the right lines of all forms of nets.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return p
	}
	const modern = `input: "data"
input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a"
  inner_product_param { num_output: 5
    weight_filler { type: "xavier"
      std: 0.1 } } }
layer { name: "l" type: "EuclideanLoss" bottom: "a" bottom: "data" top: "l" }
`
	const old = `layers { name: "d" type: DUMMY_DATA top: "data" dummy_data_param { num: 1 channels: 3 height: 8 width: 8 } }
layers { name: "a" type: INNER_PRODUCT bottom: "data" top: "a"
  inner_product_param { num_output: 5
    weight_filler { type: "xavier"
      std: 0.1 } } }
layers { name: "l" type: EUCLIDEAN_LOSS bottom: "a" bottom: "data" top: "l" }
`
	for _, c := range []struct {
		name, net, sol, want string
	}{
		{"inputs", modern, `net: "NET" base_lr: 0.01 lr_policy: "fixed" max_iter: 10`, "inputs.net:6:7"},
		{"v1", old, `net: "NET" base_lr: 0.01 lr_policy: "fixed" max_iter: 10`, "v1.net:5:7"},
		{"within", "", "base_lr: 0.01 lr_policy: \"fixed\" max_iter: 10\nnet_param {\n" + old + "}", "within.sol:7:7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			net := write(c.name+".net", c.net)
			sol := write(c.name+".sol", strings.ReplaceAll(c.sol, "NET", net))
			fs := open(t, Inputs{Solver: sol})
			i := slices.IndexFunc(fs, func(f Finding) bool { return f.Rule == "filler-field" })
			if i < 0 {
				t.Fatalf("not found:\n%s", text(fs))
			}
			if want := filepath.Join(dir, c.want); fs[i].Where != want {
				t.Errorf("at %s, want %s", fs[i].Where, want)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return p
	}
	sets := func(s string) *prototxt.Overrides {
		o, err := prototxt.ParseOverrides([]string{s})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	net := write("net", `layer { name: "l" type: "Silence" }`)
	for _, c := range []struct {
		name string
		in   Inputs
		want string
	}{
		{"nothing given", Inputs{}, "neither"},
		{"no such solver", Inputs{Solver: filepath.Join(dir, "none")}, "none"},
		{"no such net", Inputs{Solver: write("s1", `net: "nowhere.prototxt"`)}, "nowhere.prototxt"},
		{"no net", Inputs{Solver: write("s2", "base_lr: 1")}, "names no net"},
		{"unknown field", Inputs{Model: write("n2", "layer { nam: \"x\" }")}, "n2:1:9"},
		{"index beyond the end", Inputs{Model: net, Sets: sets("layer.l.param[3].lr_mult=1")}, "index 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(c.in)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestNets checks which test nets a solver has, and what it refuses.
func TestNets(t *testing.T) {
	dir := t.TempDir()
	net := filepath.Join(dir, "net")
	if err := os.WriteFile(net, []byte(`layer { name: "a" type: "DummyData" top: "a" include { phase: TRAIN } }
layer { name: "b" type: "DummyData" top: "b" include { phase: TEST stage: "one" } }
layer { name: "c" type: "DummyData" top: "c" include { phase: TEST stage: "two" } }
`), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		want       []string // layers of the train net, then of the test nets
		refused    bool
	}{
		{"one file", `net: "NET" test_iter: 1 test_state { stage: "two" }`, []string{"a", "c"}, false},
		{"two states", `net: "NET" test_iter: 1 test_iter: 1 test_state { stage: "two" } test_state { stage: "one" }`, []string{"a", "c", "b"}, false},
		{"no tests", `net: "NET"`, []string{"a"}, false},
		{"too few test_iter", `train_net: "NET" test_net: "NET"`, []string{"a", ""}, true},
		{"too many", `train_net: "NET" test_iter: 4`, []string{"a"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			sol := filepath.Join(t.TempDir(), "sol")
			if err := os.WriteFile(sol, []byte(strings.ReplaceAll(c.text, "NET", net)+` test_interval: 1 base_lr: 0.1 lr_policy: "fixed" max_iter: 1`), 0o666); err != nil {
				t.Fatal(err)
			}
			k, err := Open(Inputs{Solver: sol})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, n := range k.nets() {
				got = append(got, strings.Join(names(n.layers), " "))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("nets %q, want %q", got, c.want)
			}
			if fs := k.Check(context.Background()); has(fs, "solver-refused") != c.refused {
				t.Errorf("refused: %v\n%s", !c.refused, text(fs))
			}
		})
	}
}

// TestSources checks what is learned of databases and lists.
func TestSources(t *testing.T) {
	w := world{t.TempDir()}
	shape := synth.Shape{Channels: 3, Height: 16, Width: 12}
	w.draw(t, "db", shape, 120, func(i, _ int) int { return i % 7 })
	scan := scanRecords
	load := func(text string) *records {
		p := &caffepb.LayerParameter{}
		if err := prototxt.UnmarshalText("layer", []byte(strings.ReplaceAll(text, "DIR", w.dir)), p); err != nil {
			t.Fatal(err)
		}
		c := &Case{scan: scan, in: Inputs{ResolvePath: func(p string) string { return p }}}
		l := &layer{LayerParameter: filledIn(p)}
		return c.loadSource(context.Background(), l)
	}
	r := load(`type: "Data" data_param { source: "DIR/db" backend: LMDB }`)
	if r.err != nil || r.total != 120 || !r.whole() || r.min != 0 || r.max != 6 || len(r.counts) != 7 || r.c != 3 || r.h != 16 || r.w != 12 || r.float {
		t.Errorf("database: %+v", r)
	}
	if r.pix.n < pictures || r.pix.max <= r.pix.min || r.pix.mean() < 20 || r.pix.mean() > 235 {
		t.Errorf("its pictures: %d, %g to %g", r.pix.n, r.pix.min, r.pix.max)
	}
	if r := load(`type: "Data" data_param { source: "DIR/none" backend: LMDB }`); !r.missing {
		t.Errorf("a database that is not there: %v", r.err)
	}
	if r := load(`type: "Data" data_param { source: "DIR/db" }`); r.err == nil || r.missing {
		t.Errorf("an LMDB as a LevelDB: %v", r.err)
	}
	// Of a larger one, records all over it.
	w.draw(t, "large", synth.Shape{Channels: 1, Height: 8, Width: 8}, 9000, func(i, _ int) int { return i / 1000 })
	scan = 100
	r = load(`type: "Data" data_param { source: "DIR/large" backend: LMDB }`)
	if r.err != nil || r.total != 9000 || r.read != 100+spreadPlaces*spreadRun || r.whole() || len(r.labels) != 100 || len(r.counts) != 9 || r.max != 8 {
		t.Errorf("large database: total %d, read %d, labels %d, kinds %d, to %d (%v)", r.total, r.read, len(r.labels), len(r.counts), r.max, r.err)
	}
	// A list with a picture that is not there.
	if _, err := data.ConvertImages(context.Background(), "../data/testdata/", "none", w.path("x"), data.ConvertOptions{}); err == nil {
		t.Fatal("no error")
	}
	list := w.path("list")
	if err := os.WriteFile(list, []byte("nowhere.jpg 3\nneither.jpg 5\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if r := load(`type: "ImageData" image_data_param { source: "DIR/list" root_folder: "DIR/" }`); r.err != nil || r.total != 2 || r.max != 5 || len(r.unread) != 2 {
		t.Errorf("list: %+v", r)
	}
}

// TestFloatRecords finds a mean of 0 to 255 under records of 0 to 1.
func TestFloatRecords(t *testing.T) {
	p := lenetPatient(t).clone()
	p.store(t, "float", 30, func(i int) *caffepb.Datum {
		v := make([]float32, 28*28)
		for j := range v {
			v[j] = float32((i*j)%100) / 100
		}
		return &caffepb.Datum{Channels: proto.Int32(1), Height: proto.Int32(28), Width: proto.Int32(28), FloatData: v, Label: proto.Int32(int32(i % 10))}
	})
	for _, l := range p.data() {
		l.DataParam.Source = proto.String(p.path("float"))
		l.TransformParam = &caffepb.TransformationParameter{MeanValue: []float32{120}}
	}
	fs := p.check(t)
	i := slices.IndexFunc(fs, func(f Finding) bool { return f.Rule == "mean-range" })
	if i < 0 || !strings.Contains(fs[i].Why, "drowns") || len(fs[i].Set) == 0 {
		t.Errorf("found:\n%s", text(fs))
	}
}

// TestSetAll checks that patterns meet no other layer.
func TestSetAll(t *testing.T) {
	n := &Net{Param: &caffepb.NetParameter{State: &caffepb.NetState{Phase: caffepb.Phase_TRAIN.Enum()}}}
	byName := map[string]*layer{}
	for i, name := range []string{"conv1", "conv2", "convert", "fc", "fc", "a*b", "a*c"} {
		p := &caffepb.LayerParameter{Name: proto.String(name)}
		n.Param.Layer = append(n.Param.Layer, p)
		byName[name] = &layer{LayerParameter: p, net: n, index: i}
	}
	for _, c := range []struct{ names, want string }{
		{"conv1 conv2 convert", "layer.c*.f=1"},
		{"conv1 conv2", "layer.conv1.f=1 layer.conv2.f=1"},
		{"conv1", "layer.conv1.f=1"},
		{"fc", "layer.fc@TRAIN.f=1"},
	} {
		var ls []*layer
		for _, name := range strings.Fields(c.names) {
			ls = append(ls, byName[name])
		}
		if got := strings.Join(setAll(ls, "f", "1"), " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.names, got, c.want)
		}
	}
}

// TestIncomplete clears every field of nets, one at a time, and wants findings
// or silence, never a panic.
func TestIncomplete(t *testing.T) {
	files, err := filepath.Glob("../testdata/golden/layers/*/net.prototxt")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d nets (%v)", len(files), err)
	}
	files = append(files, "testdata/lenet.prototxt", "../testdata/golden/runs/solver/sgd_step/net.prototxt")
	dir := t.TempDir()
	sol, name := filepath.Join(dir, "solver"), filepath.Join(dir, "net")
	if err := os.WriteFile(sol, []byte(`net: "`+name+`" base_lr: 0.01 lr_policy: "fixed" max_iter: 10 test_iter: 3 test_interval: 2`), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(f, func(t *testing.T) {
			whole, err := prototxt.ReadNet(f)
			if err != nil {
				t.Fatal(err)
			}
			built := map[string]built{}
			for i := 0; ; i++ {
				np := proto.CloneOf(whole)
				n := i
				if !clearField(np.ProtoReflect(), &n) {
					break
				}
				if err := os.WriteFile(name, prototxt.MarshalText(np), 0o666); err != nil {
					t.Fatal(err)
				}
				c, err := Open(Inputs{Solver: sol, ResolvePath: under("../testdata/golden/runs")})
				if err != nil {
					continue
				}
				c.built = built // most layers are the same each time
				c.Check(context.Background())
			}
		})
	}
}

// clearField clears the n-th field that is set in m and the messages in it,
// counting n down to it, and reports whether there is one.
func clearField(m protoreflect.Message, n *int) bool {
	done := false
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if *n == 0 {
			m.Clear(fd)
			done = true
			return false
		}
		*n--
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				done = done || clearField(v.List().Get(i).Message(), n)
			}
		default:
			done = clearField(v.Message(), n)
		}
		return !done
	})
	return done
}
