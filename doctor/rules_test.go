package doctor

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/data"
	"crema/data/synth"
	"crema/models"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// A world is a folder with data sets, nets and solvers.
type world struct{ dir string }

func (w world) path(name string) string { return filepath.Join(w.dir, name) }

// draw stores n drawn pictures as an LMDB and returns its path; label maps the
// number of a picture and its label to the label stored.
func (w world) draw(t *testing.T, name string, shape synth.Shape, n int, label func(i, label int) int) string {
	t.Helper()
	set, err := synth.NewDigits(shape, 1)
	if err != nil {
		t.Fatal(err)
	}
	d := set.NewDrawer()
	pix := make([]byte, shape.Bytes())
	return w.store(t, name, n, func(i int) *caffepb.Datum {
		l := d.Draw(name, i, pix)
		if label != nil {
			l = label(i, l)
		}
		return &caffepb.Datum{Channels: proto.Int32(int32(shape.Channels)), Height: proto.Int32(int32(shape.Height)),
			Width: proto.Int32(int32(shape.Width)), Data: pix, Label: proto.Int32(int32(l))}
	})
}

// mean stores the mean of a database and, divided by 255, that of fractions.
func (w world) mean(t *testing.T, db, name string) string {
	t.Helper()
	m, err := data.ComputeMean(context.Background(), db, data.LMDB, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := prototxt.WriteBinary(w.path(name), m); err != nil {
		t.Fatal(err)
	}
	for i := range m.Data {
		m.Data[i] /= 255
	}
	if err := prototxt.WriteBinary(w.path("tiny_"+name), m); err != nil {
		t.Fatal(err)
	}
	return w.path(name)
}

// A patient is a healthy solver with its net and data, to be made ill.
type patient struct {
	world
	shape  synth.Shape
	solver *caffepb.SolverParameter
	net    *caffepb.NetParameter
}

func (p *patient) clone() *patient {
	return &patient{p.world, p.shape, proto.CloneOf(p.solver), proto.CloneOf(p.net)}
}

// check writes the files and returns what is found, given the values of --set.
func (p *patient) check(t *testing.T, sets ...string) []Finding {
	t.Helper()
	o, err := prototxt.ParseOverrides(sets)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	net, sol := filepath.Join(dir, "net.prototxt"), filepath.Join(dir, "solver.prototxt")
	p.solver.Net = proto.String(net)
	for name, m := range map[string]proto.Message{net: p.net, sol: p.solver} {
		if err := os.WriteFile(name, prototxt.MarshalText(m), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Open(Inputs{Solver: sol, Sets: o})
	if err == nil {
		err = o.Unused()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.Check(context.Background())
}

// data returns the data layers, that of TRAIN first.
func (p *patient) data() []*caffepb.LayerParameter {
	var out []*caffepb.LayerParameter
	for _, l := range p.net.Layer {
		if l.GetType() == "Data" {
			out = append(out, l)
		}
	}
	return out
}

// transforms calls f for the transform_param of each data layer.
func (p *patient) transforms(f func(*caffepb.TransformationParameter)) {
	for _, l := range p.data() {
		if l.TransformParam == nil {
			l.TransformParam = &caffepb.TransformationParameter{}
		}
		f(l.TransformParam)
	}
}

// weights returns the layers with weights.
func (p *patient) weights() []*caffepb.LayerParameter {
	var out []*caffepb.LayerParameter
	for _, l := range p.net.Layer {
		if l.GetType() == "Convolution" || l.GetType() == "InnerProduct" {
			out = append(out, l)
		}
	}
	return out
}

func (p *patient) last() *caffepb.LayerParameter {
	w := p.weights()
	return w[len(w)-1]
}

// fill sets the weight fillers of all layers.
func (p *patient) fill(text string) {
	for _, l := range p.weights() {
		f := &caffepb.FillerParameter{}
		if text == "" {
			f = nil
		} else if err := prototxt.UnmarshalText("filler", []byte(text), f); err != nil {
			panic(err)
		}
		if q := l.ConvolutionParam; q != nil {
			q.WeightFiller = f
		} else {
			l.InnerProductParam.WeightFiller = f
		}
	}
}

// find returns the first layer of a type.
func (p *patient) find(kind string) *caffepb.LayerParameter {
	for _, l := range p.net.Layer {
		if l.GetType() == kind {
			return l
		}
	}
	return nil
}

// remove takes out the layers that match.
func (p *patient) remove(match func(*caffepb.LayerParameter) bool) {
	p.net.Layer = slices.DeleteFunc(p.net.Layer, match)
}

// insert puts a layer, given as text, before the first loss.
func (p *patient) insert(text string) {
	l := &caffepb.LayerParameter{}
	if err := prototxt.UnmarshalText("layer", []byte(text), l); err != nil {
		panic(err)
	}
	i := slices.IndexFunc(p.net.Layer, func(l *caffepb.LayerParameter) bool { return l.GetType() == "SoftmaxWithLoss" })
	p.net.Layer = slices.Insert(p.net.Layer, i, l)
}

// solve changes the solver by text.
func (p *patient) solve(text string) {
	s := &caffepb.SolverParameter{}
	if err := prototxt.UnmarshalText("solver", []byte(text), s); err != nil {
		panic(err)
	}
	if len(s.Stepvalue) > 0 {
		p.solver.Stepvalue = nil
	}
	if len(s.TestIter) > 0 {
		p.solver.TestIter = nil
	}
	proto.Merge(p.solver, s)
}

// parse reads a net and a solver from text.
func parse(t *testing.T, w world, shape synth.Shape, net, sol string) *patient {
	t.Helper()
	p := &patient{world: w, shape: shape, net: &caffepb.NetParameter{}, solver: &caffepb.SolverParameter{}}
	if err := prototxt.UnmarshalText("net", []byte(net), p.net); err != nil {
		t.Fatal(err)
	}
	if err := prototxt.UnmarshalText("solver", []byte(sol), p.solver); err != nil {
		t.Fatal(err)
	}
	if p.solver.SnapshotPrefix != nil {
		p.solver.SnapshotPrefix = proto.String(w.path("run"))
	}
	return p
}

// file reads a file of testdata, or of the models.
func file(t *testing.T, name string) string {
	t.Helper()
	b, err := models.Quickstart.ReadFile(name)
	if err != nil {
		if b, err = os.ReadFile(filepath.Join("testdata", name)); err != nil {
			t.Fatal(err)
		}
	}
	return string(b)
}

// quickstartPatient is the quickstart's net on its kind of data.
func quickstartPatient(t *testing.T, name string) *patient {
	w := world{t.TempDir()}
	shape := synth.Shape{Channels: 3, Height: 32, Width: 32}
	w.draw(t, "train_lmdb", shape, 640, nil)
	w.draw(t, "test_lmdb", shape, 2000, nil)
	w.mean(t, w.path("train_lmdb"), "mean.binaryproto")
	net := strings.ReplaceAll(file(t, "quickstart/"+name+"train_val.prototxt"), "crema-quickstart", w.dir)
	return parse(t, w, shape, net, file(t, "quickstart/"+name+"solver.prototxt"))
}

// lenetPatient is LeNet on pictures like MNIST's.
func lenetPatient(t *testing.T) *patient {
	w := world{t.TempDir()}
	shape := synth.Shape{Channels: 1, Height: 28, Width: 28}
	w.draw(t, "train_lmdb", shape, 640, nil)
	w.draw(t, "test_lmdb", shape, 1000, nil)
	w.mean(t, w.path("train_lmdb"), "mean.binaryproto")
	return parse(t, w, shape, strings.ReplaceAll(file(t, "lenet.prototxt"), "DIR", w.dir), file(t, "lenet_solver.prototxt"))
}

// build writes out a net that is given in short, a word for each layer, their
// names and tops being numbered:
//
//	conv,OUTPUTS,KERNEL,STRIDE,PAD,FILLER,BIAS[,GROUP]   ip,OUTPUTS,FILLER,BIAS
//	max,KERNEL,STRIDE   ave,KERNEL,STRIDE   global
//	relu   sigmoid   tanh   drop   lrn   bn (with a Scale layer)
//	loss (SoftmaxWithLoss and, in TEST, Accuracy)
//
// A FILLER is a type or gaussian:STD. head holds the data layers.
func build(head string, words string) string {
	var b strings.Builder
	b.WriteString(head)
	bottom := "data"
	for i, word := range strings.Fields(words) {
		a := strings.Split(word, ",")
		top := fmt.Sprintf("b%d", i)
		layer := func(kind, top, params string) {
			fmt.Fprintf(&b, "layer { name: \"l%d\" type: %q bottom: %q top: %q %s }\n", i, kind, bottom, top, params)
			bottom = top
		}
		fill := func(weight, bias string) string {
			kind, std, ok := strings.Cut(weight, ":")
			if ok {
				std = "std: " + std
			}
			return fmt.Sprintf("weight_filler { type: %q %s } bias_filler { type: \"constant\" value: %s }", kind, std, bias)
		}
		switch a[0] {
		case "conv":
			group := "1"
			if len(a) > 7 {
				group = a[7]
			}
			layer("Convolution", top, fmt.Sprintf("convolution_param { num_output: %s kernel_size: %s stride: %s pad: %s group: %s %s }", a[1], a[2], a[3], a[4], group, fill(a[5], a[6])))
		case "ip":
			layer("InnerProduct", top, fmt.Sprintf("inner_product_param { num_output: %s %s }", a[1], fill(a[2], a[3])))
		case "max", "ave":
			layer("Pooling", top, fmt.Sprintf("pooling_param { pool: %s kernel_size: %s stride: %s }", strings.ToUpper(a[0]), a[1], a[2]))
		case "global":
			layer("Pooling", top, "pooling_param { pool: AVE global_pooling: true }")
		case "relu", "sigmoid", "tanh", "drop":
			layer(map[string]string{"relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "TanH", "drop": "Dropout"}[a[0]], bottom, "")
		case "lrn":
			layer("LRN", top, "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }")
		case "bn":
			layer("BatchNorm", bottom, "")
			layer("Scale", bottom, "scale_param { bias_term: true }")
		case "loss":
			fmt.Fprintf(&b, "layer { name: \"loss%d\" type: \"SoftmaxWithLoss\" bottom: %q bottom: \"label\" top: \"loss%d\" }\n", i, bottom, i)
			fmt.Fprintf(&b, "layer { name: \"acc%d\" type: \"Accuracy\" bottom: %q bottom: \"label\" top: \"acc%d\" include { phase: TEST } }\n", i, bottom, i)
		default:
			panic(word)
		}
	}
	return b.String()
}

// heads returns data layers for both phases of a world that has a train_lmdb and
// a test_lmdb.
func (w world) heads(transform string, train, test int) string {
	var b strings.Builder
	for _, h := range []struct {
		phase, db string
		batch     int
	}{{"TRAIN", "train", train}, {"TEST", "test", test}} {
		fmt.Fprintf(&b, "layer { name: \"in\" type: \"Data\" top: \"data\" top: \"label\" include { phase: %s } transform_param { %s } data_param { source: %q batch_size: %d backend: LMDB } }\n",
			h.phase, strings.ReplaceAll(transform, "MEAN", strconv.Quote(w.path("mean.binaryproto"))), w.path(h.db+"_lmdb"), h.batch)
	}
	return b.String()
}

// vgg has the layers of VGG-16 (Simonyan and Zisserman 2014) with small inner
// products at the end; FILL stands for the filler.
var vgg = strings.Repeat("conv,64,3,1,1,FILL,0 relu ", 2) + "max,2,2 " + strings.Repeat("conv,128,3,1,1,FILL,0 relu ", 2) + "max,2,2 " +
	strings.Repeat("conv,256,3,1,1,FILL,0 relu ", 3) + "max,2,2 " + strings.Repeat("conv,512,3,1,1,FILL,0 relu ", 3) + "max,2,2 " +
	strings.Repeat("conv,512,3,1,1,FILL,0 relu ", 3) + "max,2,2 " + strings.Repeat("ip,256,FILL,0 relu drop ", 2) + "ip,10,FILL,0 loss"

func deepPatient(t *testing.T) *patient {
	w := world{t.TempDir()}
	shape := synth.Shape{Channels: 3, Height: 64, Width: 64}
	w.draw(t, "train_lmdb", shape, 400, nil)
	w.draw(t, "test_lmdb", shape, 200, nil)
	w.mean(t, w.path("train_lmdb"), "mean.binaryproto")
	return parse(t, w, shape, build(w.heads("scale: 0.015625 crop_size: 56 mean_file: MEAN", 20, 20), strings.ReplaceAll(vgg, "FILL", "msra")),
		`base_lr: 0.005 lr_policy: "step" gamma: 0.1 stepsize: 20000 max_iter: 60000 momentum: 0.9 weight_decay: 0.0005
test_iter: 10 test_interval: 1000 snapshot: 5000 snapshot_prefix: "run"`)
}

// grave returns the rules of the findings of warning or above.
func grave(fs []Finding) []string {
	var out []string
	for _, f := range fs {
		if f.Severity >= Warning && !slices.Contains(out, f.Rule) {
			out = append(out, f.Rule)
		}
	}
	return out
}

func has(fs []Finding, rule string) bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.Rule == rule })
}

// text prints findings for a failed test.
func text(fs []Finding) string {
	var b strings.Builder
	WriteText(&b, fs)
	return b.String()
}

// A fault makes a patient ill. Beside its rule, others may find what follows
// from it.
type fault struct {
	name, rule string
	follow     []string
	inject     func(t *testing.T, p *patient)
}

var faults = []fault{
	{"mean file divided by 255", "mean-range", []string{"mean-missing"}, func(_ *testing.T, p *patient) {
		p.transforms(func(q *caffepb.TransformationParameter) { q.MeanFile = proto.String(p.path("tiny_mean.binaryproto")) })
	}},
	{"mean value of fractions", "mean-range", nil, func(_ *testing.T, p *patient) {
		p.transforms(func(q *caffepb.TransformationParameter) { q.MeanFile, q.MeanValue = nil, []float32{0.45} })
	}},
	{"pixels unscaled and no mean", "mean-missing", []string{"signal-explodes"}, func(_ *testing.T, p *patient) {
		p.transforms(func(q *caffepb.TransformationParameter) { q.MeanFile, q.Scale = nil, nil })
	}},
	{"scaled twice", "input-range", []string{"signal-vanishes"}, func(_ *testing.T, p *patient) {
		p.transforms(func(q *caffepb.TransformationParameter) { q.Scale = proto.Float32(1.0 / 65536) })
	}},
	{"scale the wrong way", "input-range", []string{"signal-explodes"}, func(_ *testing.T, p *patient) {
		p.transforms(func(q *caffepb.TransformationParameter) { q.Scale = proto.Float32(255) })
	}},
	{"TEST not scaled", "train-test-differ", nil, func(_ *testing.T, p *patient) { p.data()[1].TransformParam.Scale = nil }},
	{"TEST without mean", "train-test-differ", nil, func(_ *testing.T, p *patient) {
		p.transforms(func(q *caffepb.TransformationParameter) { q.MeanFile = proto.String(p.path("mean.binaryproto")) })
		p.data()[1].TransformParam.MeanFile = nil
	}},
	{"TEST with another crop", "train-test-differ", []string{"pad", "crop-size"}, func(_ *testing.T, p *patient) {
		p.transforms(func(q *caffepb.TransformationParameter) { q.CropSize = proto.Uint32(24) })
		p.data()[1].TransformParam.CropSize = proto.Uint32(20)
	}},
	{"mean file of another size", "mean-size", []string{"train-test-differ"}, func(t *testing.T, p *patient) {
		w := world{t.TempDir()}
		db := w.draw(t, "db", synth.Shape{Channels: p.shape.Channels, Height: p.shape.Height + 1, Width: p.shape.Width}, 4, nil)
		p.transforms(func(q *caffepb.TransformationParameter) { q.MeanFile = proto.String(w.mean(t, db, "mean.binaryproto")) })
	}},
	{"crop larger than the pictures", "crop-size", nil, func(_ *testing.T, p *patient) {
		p.transforms(func(q *caffepb.TransformationParameter) { q.CropSize = proto.Uint32(80) })
	}},
	{"too few outputs", "label-range", nil, func(_ *testing.T, p *patient) { p.last().InnerProductParam.NumOutput = proto.Uint32(7) }},
	{"labels from 1", "label-range", nil, func(t *testing.T, p *patient) {
		p.data()[0].DataParam.Source = proto.String(world{t.TempDir()}.draw(t, "db", p.shape, 300, func(_, l int) int { return l + 1 }))
	}},
	{"a single label", "one-label", nil, func(t *testing.T, p *patient) {
		p.data()[0].DataParam.Source = proto.String(world{t.TempDir()}.draw(t, "db", p.shape, 300, func(_, _ int) int { return 0 }))
	}},
	{"sorted by label", "not-shuffled", nil, func(t *testing.T, p *patient) {
		p.data()[0].DataParam.Source = proto.String(world{t.TempDir()}.draw(t, "db", p.shape, 600, func(i, _ int) int { return i / 60 }))
	}},
	{"backend left out", "source-unreadable", nil, func(_ *testing.T, p *patient) {
		for _, l := range p.data() {
			l.DataParam.Backend = nil
		}
	}},
	{"tested on the training set", "tests-training-set", []string{"test-wraps", "test-part"}, func(_ *testing.T, p *patient) {
		p.data()[1].DataParam.Source = p.data()[0].DataParam.Source
	}},
	{"tiny fillers", "signal-vanishes", nil, func(_ *testing.T, p *patient) { p.fill(`type: "gaussian" std: 0.0001`) }},
	{"huge fillers", "signal-explodes", nil, func(_ *testing.T, p *patient) { p.fill(`type: "gaussian" std: 1`) }},
	{"uniform without limits", "signal-explodes", nil, func(_ *testing.T, p *patient) { p.fill(`type: "uniform"`) }},
	{"no fillers", "constant-weights", nil, func(_ *testing.T, p *patient) { p.fill("") }},
	{"equal weights", "constant-weights", nil, func(_ *testing.T, p *patient) { p.fill(`value: 0.1`) }},
	{"std on xavier", "filler-field", []string{"signal-vanishes"}, func(_ *testing.T, p *patient) { p.fill(`type: "xavier" std: 0.1`) }},
	{"unknown filler", "unknown-filler", nil, func(_ *testing.T, p *patient) { p.fill(`type: "glorot"`) }},
	{"no nonlinearity behind a convolution", "missing-nonlinearity", []string{"no-nonlinearity"}, func(_ *testing.T, p *patient) {
		n := 0
		p.remove(func(l *caffepb.LayerParameter) bool {
			if l.GetType() == "ReLU" {
				n++
			}
			return l.GetType() == "ReLU" && n == 4
		})
		if n < 4 {
			t := p.find("ReLU")
			p.remove(func(l *caffepb.LayerParameter) bool { return l == t })
		}
	}},
	{"no nonlinearity at all", "no-nonlinearity", []string{"signal-explodes"}, func(_ *testing.T, p *patient) {
		p.remove(func(l *caffepb.LayerParameter) bool { return l.GetType() == "ReLU" })
	}},
	{"two inner products in a row", "linear-pair", nil, func(_ *testing.T, p *patient) {
		l := proto.CloneOf(p.last())
		l.Name, l.Top = proto.String("extra"), []string{"extra"}
		l.Bottom = []string{p.last().Top[0]}
		i := slices.Index(p.net.Layer, p.last())
		p.net.Layer = slices.Insert(p.net.Layer, i+1, l)
		for _, l := range p.net.Layer {
			if l.GetType() == "SoftmaxWithLoss" || l.GetType() == "Accuracy" {
				l.Bottom[0] = "extra"
			}
		}
	}},
	{"softmax twice", "softmax-twice", nil, func(_ *testing.T, p *patient) {
		p.insert(fmt.Sprintf("name: \"prob\" type: \"Softmax\" bottom: %q top: \"prob\"", p.last().Top[0]))
		p.find("SoftmaxWithLoss").Bottom[0] = "prob"
	}},
	{"scores rectified", "activation-before-loss", nil, func(_ *testing.T, p *patient) {
		p.insert(fmt.Sprintf("name: \"rl\" type: \"ReLU\" bottom: %q top: %q", p.last().Top[0], p.last().Top[0]))
	}},
	{"scores dropped", "dropout-after-classifier", nil, func(_ *testing.T, p *patient) {
		p.insert(fmt.Sprintf("name: \"dl\" type: \"Dropout\" bottom: %q top: %q", p.last().Top[0], p.last().Top[0]))
	}},
	{"nearly all dropped", "dropout-ratio", nil, func(_ *testing.T, p *patient) {
		top := p.weights()[len(p.weights())-2].Top[0]
		i := slices.Index(p.net.Layer, p.last())
		l := &caffepb.LayerParameter{Name: proto.String("drop"), Type: proto.String("Dropout"), Bottom: []string{top}, Top: []string{top},
			DropoutParam: &caffepb.DropoutParameter{DropoutRatio: proto.Float32(0.99)}}
		p.net.Layer = slices.Insert(p.net.Layer, i, l)
	}},
	{"top-k of all classes", "top-k", nil, func(_ *testing.T, p *patient) {
		p.find("Accuracy").AccuracyParam = &caffepb.AccuracyParameter{TopK: proto.Uint32(10)}
	}},
	{"loss in TEST only", "no-loss", []string{"test-part"}, func(_ *testing.T, p *patient) {
		p.find("SoftmaxWithLoss").Include = []*caffepb.NetStateRule{{Phase: caffepb.Phase_TEST.Enum()}}
	}},
	{"loss_weight 0", "loss-weight", nil, func(_ *testing.T, p *patient) { p.find("SoftmaxWithLoss").LossWeight = []float32{0} }},
	{"everything frozen", "frozen", nil, func(_ *testing.T, p *patient) {
		for _, l := range p.weights() {
			l.Param = []*caffepb.ParamSpec{{LrMult: proto.Float32(0)}, {LrMult: proto.Float32(0)}}
		}
	}},
	{"first layer frozen at random", "frozen", nil, func(_ *testing.T, p *patient) {
		p.weights()[0].Param = []*caffepb.ParamSpec{{LrMult: proto.Float32(0)}, {LrMult: proto.Float32(0)}}
	}},
	{"gradient stopped", "gradient-stopped", nil, func(_ *testing.T, p *patient) { p.last().PropagateDown = []bool{false} }},
	{"a wrong bottom bypasses a layer", "not-in-the-loss", []string{"test-part", "pool-stride-missing"}, func(_ *testing.T, p *patient) {
		w := p.weights()
		before := w[len(w)-2]
		for _, l := range p.net.Layer {
			if l.GetType() == "ReLU" && l.Bottom[0] == before.Top[0] || l.GetType() == "Dropout" && l.Bottom[0] == before.Top[0] {
				l.Bottom = []string{before.Bottom[0]}
				l.Top = []string{before.Bottom[0]}
			}
		}
		p.last().Bottom = before.Bottom
	}},
	{"names taken twice", "layer-names", nil, func(_ *testing.T, p *patient) { p.weights()[1].Name = p.weights()[0].Name }},
	{"a blob misspelt", "unknown-blob", []string{"not-in-the-loss"}, func(_ *testing.T, p *patient) { p.last().Bottom[0] = "mispelt" }},
	{"a type misspelt", "unknown-type", []string{"not-in-the-loss", "missing-nonlinearity", "no-nonlinearity"}, func(_ *testing.T, p *patient) { p.find("ReLU").Type = proto.String("Relu") }},
	{"pooling without stride", "pool-stride-missing", nil, func(_ *testing.T, p *patient) { p.find("Pooling").PoolingParam.Stride = nil }},
	{"kernel larger than its map", "kernel-too-large", []string{"stride-skips"}, func(_ *testing.T, p *patient) {
		for _, l := range p.weights() {
			if q := l.ConvolutionParam; q != nil {
				q.Stride = []uint32{4}
				q.Pad = nil
			}
		}
	}},
	{"a message of another type", "layer-field", nil, func(_ *testing.T, p *patient) {
		p.weights()[0].PoolingParam = &caffepb.PoolingParameter{Stride: proto.Uint32(2)}
	}},
	{"gamma with a fixed rate", "lr-policy-field", []string{"steps-never-reached"}, func(_ *testing.T, p *patient) {
		p.solver.Power, p.solver.Stepsize = nil, nil
		p.solve(`lr_policy: "fixed" gamma: 0.1`)
	}},
	{"stepvalue with step", "lr-policy-field", []string{"rate-underflow"}, func(_ *testing.T, p *patient) {
		p.solver.Power = nil
		p.solve(`lr_policy: "step" gamma: 0.1 stepsize: 500 stepvalue: 700`)
	}},
	{"steps after the end", "steps-never-reached", nil, func(_ *testing.T, p *patient) {
		p.solver.Power = nil
		p.solve(`lr_policy: "step" gamma: 0.1 stepsize: 1000000`)
	}},
	{"stepvalues not in order", "steps-unsorted", nil, func(_ *testing.T, p *patient) {
		p.solver.Power, p.solver.Stepsize = nil, nil
		p.solve(`lr_policy: "multistep" gamma: 0.1 stepvalue: 900 stepvalue: 600`)
	}},
	{"gamma left out", "rate-underflow", nil, func(_ *testing.T, p *patient) {
		p.solver.Power, p.solver.Gamma = nil, nil
		p.solve(`lr_policy: "step" stepsize: 300`)
	}},
	{"rate falls too fast", "rate-underflow", nil, func(_ *testing.T, p *patient) {
		p.solver.Power, p.solver.Stepsize = nil, nil
		p.solve(`lr_policy: "exp" gamma: 0.9`)
	}},
	{"rate grows", "rate-grows", nil, func(_ *testing.T, p *patient) {
		p.solver.Power = nil
		p.solve(`lr_policy: "step" gamma: 10 stepsize: 500`)
	}},
	{"rate a hundredfold", "rate-high", nil, func(_ *testing.T, p *patient) { p.solver.BaseLr = proto.Float32(100 * p.solver.GetBaseLr()) }},
	{"plain rate for Adam", "rate-high", []string{"solver-refused"}, func(_ *testing.T, p *patient) { p.solve(`type: "Adam" base_lr: 0.1`) }},
	{"no rate", "rate-zero", nil, func(_ *testing.T, p *patient) { p.solver.BaseLr = nil }},
	{"momentum 1", "momentum-range", nil, func(_ *testing.T, p *patient) { p.solve("momentum: 1") }},
	{"momentum with AdaGrad", "solver-refused", nil, func(_ *testing.T, p *patient) { p.solve(`type: "AdaGrad" momentum: 0.9`) }},
	{"momentum2 with SGD", "solver-field", nil, func(_ *testing.T, p *patient) { p.solve("momentum2: 0.999") }},
	{"weights decay at once", "weight-decay", nil, func(_ *testing.T, p *patient) { p.solve("weight_decay: 0.5") }},
	{"gradients clipped away", "clip-tiny", nil, func(_ *testing.T, p *patient) { p.solve("clip_gradients: 0") }},
	{"a part of the test set", "test-part", nil, func(_ *testing.T, p *patient) { p.solve("test_iter: 2") }},
	{"the test set many times", "test-wraps", nil, func(_ *testing.T, p *patient) { p.solve("test_iter: 100") }},
	{"nothing kept", "snapshot-never", nil, func(_ *testing.T, p *patient) {
		p.solver.Snapshot = nil
		p.solve("snapshot_after_train: false")
	}},
	{"nothing kept before the end", "snapshot-never", []string{"steps-never-reached"}, func(_ *testing.T, p *patient) {
		p.solver.Snapshot = nil
		p.solve("max_iter: 50000")
	}},
	{"snapshots into nowhere", "snapshot-folder", nil, func(_ *testing.T, p *patient) { p.solver.SnapshotPrefix = proto.String(p.path("no/such/run")) }},
}

// more faults are made in the quickstart's net alone: they are rarer, of nets of
// another form, or only worth a note.
var more = []fault{
	{"statistics of nothing", "batch-statistics", nil, func(_ *testing.T, p *patient) {
		p.after(p.weights()[0], `name: "bn" type: "BatchNorm" batch_norm_param { use_global_stats: true }`)
	}},
	{"a batch of one", "batch-statistics", []string{"rate-high"}, func(_ *testing.T, p *patient) {
		p.data()[0].DataParam.BatchSize = proto.Uint32(1)
		w := p.weights()
		p.after(w[len(w)-2], `name: "bn" type: "BatchNorm"`)
	}},
	{"one bias without decay", "bias-decay", nil, func(_ *testing.T, p *patient) {
		p.weights()[0].Param = []*caffepb.ParamSpec{{}, {DecayMult: proto.Float32(0)}}
	}},
	{"images not there", "images-missing", nil, func(t *testing.T, p *patient) {
		list := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(list, []byte("a.jpg 1\nb.jpg 2\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		d := p.data()[0]
		d.Type, d.DataParam = proto.String("ImageData"), nil
		d.ImageDataParam = &caffepb.ImageDataParameter{Source: proto.String(list), BatchSize: proto.Uint32(64), NewHeight: proto.Uint32(32), NewWidth: proto.Uint32(32)}
	}},
	{"pictures cut off", "images-damaged", nil, func(t *testing.T, p *patient) {
		m := image.NewRGBA(image.Rect(0, 0, 32, 32))
		for i := range m.Pix {
			m.Pix[i] = byte(i * i)
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, nil); err != nil {
			t.Fatal(err)
		}
		p.data()[0].DataParam.Source = proto.String(world{t.TempDir()}.store(t, "db", 30, func(i int) *caffepb.Datum {
			file := b.Bytes()
			if i%5 == 0 {
				file = file[:len(file)-50]
			}
			return &caffepb.Datum{Encoded: proto.Bool(true), Label: proto.Int32(int32(i % 10)), Data: file}
		}))
	}},
	{"pictures of several sizes", "picture-sizes", nil, func(t *testing.T, p *patient) {
		p.data()[0].DataParam.Source = proto.String(world{t.TempDir()}.store(t, "db", 30, func(i int) *caffepb.Datum {
			h := 32 + i%2
			return &caffepb.Datum{Channels: proto.Int32(3), Height: proto.Int32(int32(h)), Width: proto.Int32(32), Label: proto.Int32(int32(i % 10)),
				Data: slices.Repeat([]byte{80, 128, 255, 77}, 3*h*8)}
		}))
	}},
	{"means in the order of RGB", "mean-order", nil, func(t *testing.T, p *patient) {
		db := world{t.TempDir()}.store(t, "db", 60, func(i int) *caffepb.Datum {
			d := &caffepb.Datum{Channels: proto.Int32(3), Height: proto.Int32(32), Width: proto.Int32(32), Label: proto.Int32(int32(i % 10))}
			for j := range 3 * 32 * 32 {
				d.Data = append(d.Data, byte(50+40*(j/1024)+(i*j)%60)) // blue 80, green 120, red 160
			}
			return d
		})
		p.data()[0].DataParam.Source = proto.String(db)
		p.transforms(func(q *caffepb.TransformationParameter) { q.MeanFile, q.MeanValue = nil, []float32{160, 120, 80} })
	}},
	{"a map of one pixel", "mostly-padding", []string{"odd-padding", "signal-vanishes"}, func(_ *testing.T, p *patient) {
		p.find("Pooling").PoolingParam = &caffepb.PoolingParameter{GlobalPooling: proto.Bool(true)}
	}},
	{"include and exclude", "net-refused", []string{"no-loss"}, func(_ *testing.T, p *patient) {
		p.data()[0].Exclude = []*caffepb.NetStateRule{{}}
	}},
	{"no max_iter", "no-iterations", nil, func(_ *testing.T, p *patient) { p.solver.MaxIter = nil }},
	{"one pad left out", "odd-padding", nil, func(_ *testing.T, p *patient) { p.weights()[2].ConvolutionParam.Pad = nil }},
	{"lr_mult below 0", "rate-multiplier", nil, func(_ *testing.T, p *patient) {
		p.weights()[1].Param = []*caffepb.ParamSpec{{LrMult: proto.Float32(-1)}}
	}},
	{"a rate of nothing", "rate-tiny", nil, func(_ *testing.T, p *patient) { p.solve("base_lr: 1e-8") }},
	{"snapshots without end", "snapshot-often", nil, func(_ *testing.T, p *patient) { p.solve("snapshot: 1 max_iter: 1000000 test_interval: 1000") }},
	{"a loss of probabilities without any", "softmax-missing", nil, func(_ *testing.T, p *patient) {
		p.find("SoftmaxWithLoss").Type = proto.String("MultinomialLogisticLoss")
	}},
	{"steps of 1", "steps-do-nothing", nil, func(_ *testing.T, p *patient) {
		p.solver.Power = nil
		p.solve(`lr_policy: "step" gamma: 1 stepsize: 100`)
	}},
	{"windows far apart", "stride-skips", []string{"mostly-padding", "kernel-too-large", "pool-stride-missing"}, func(_ *testing.T, p *patient) {
		p.find("Pooling").PoolingParam.Stride = proto.Uint32(3)
	}},
	{"tests after the end", "test-interval", nil, func(_ *testing.T, p *patient) { p.solve("test_interval: 5000") }},
	{"TEST mirrored", "test-mirror", nil, func(_ *testing.T, p *patient) { p.data()[1].TransformParam.Mirror = proto.Bool(true) }},
	{"a type of Caffe's that is not here", "type-not-here", []string{"not-in-the-loss"}, func(t *testing.T, p *patient) {
		// No real one: sooner or later it is here.
		paramsOf["Missing"] = nil
		t.Cleanup(func() { delete(paramsOf, "Missing") })
		p.insert(`name: "m" type: "Missing" bottom: "pool1" top: "m"`)
	}},
	{"outputs for no label", "unused-outputs", nil, func(_ *testing.T, p *patient) { p.last().InnerProductParam.NumOutput = proto.Uint32(1000) }},
	{"data not there", "source-missing", nil, func(_ *testing.T, p *patient) {
		p.data()[0].DataParam.Source = proto.String(p.path("nowhere"))
	}},
	{"test_iter of 0", "test-nothing", nil, func(_ *testing.T, p *patient) { p.solver.TestIter = []int32{0} }},
	{"a type of a fork", "unknown-type", []string{"not-in-the-loss"}, func(_ *testing.T, p *patient) {
		p.insert(`name: "n" type: "Normalize" bottom: "pool1" top: "n"`)
	}},
	{"a broken mean file", "source-unreadable", nil, func(t *testing.T, p *patient) {
		name := filepath.Join(t.TempDir(), "mean")
		if err := os.WriteFile(name, []byte("no mean"), 0o666); err != nil {
			t.Fatal(err)
		}
		p.transforms(func(q *caffepb.TransformationParameter) { q.MeanFile = proto.String(name) })
	}},
	{"images not shuffled", "not-shuffled", []string{"images-missing"}, func(t *testing.T, p *patient) {
		list := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(list, []byte(strings.Repeat("a.jpg 1\n", 400)+strings.Repeat("b.jpg 2\n", 400)), 0o666); err != nil {
			t.Fatal(err)
		}
		d := p.data()[0]
		d.Type, d.DataParam = proto.String("ImageData"), nil
		d.ImageDataParam = &caffepb.ImageDataParameter{Source: proto.String(list), BatchSize: proto.Uint32(64), NewHeight: proto.Uint32(32), NewWidth: proto.Uint32(32)}
	}},
}

// after puts a layer that works in place behind another one.
func (p *patient) after(l *caffepb.LayerParameter, text string) {
	n := &caffepb.LayerParameter{}
	if err := prototxt.UnmarshalText("layer", []byte(text), n); err != nil {
		panic(err)
	}
	n.Bottom, n.Top = l.Top[:1], l.Top[:1]
	p.net.Layer = slices.Insert(p.net.Layer, slices.Index(p.net.Layer, l)+1, n)
}

// store writes n records as an LMDB and returns its path.
func (w world) store(t *testing.T, name string, n int, record func(i int) *caffepb.Datum) string {
	t.Helper()
	db, err := data.CreateDB(w.path(name), data.LMDB)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		b, err := proto.Marshal(record(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Put(fmt.Appendf(nil, "%08d", i), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Commit(); err != nil {
		t.Fatal(err)
	}
	return w.path(name)
}

// TestFaults makes three healthy nets ill, in one way at a time, and wants each
// illness found by its rule and nothing made of it that does not follow.
func TestFaults(t *testing.T) {
	for _, net := range []struct {
		name string
		p    *patient
	}{{"quickstart", quickstartPatient(t, "")}, {"lenet", lenetPatient(t)}, {"deep", deepPatient(t)}} {
		if fs := net.p.clone().check(t); len(grave(fs)) > 0 {
			t.Fatalf("%s as it is:\n%s", net.name, text(fs))
		}
		for _, f := range faults {
			t.Run(net.name+"/"+f.name, func(t *testing.T) { diagnose(t, net.p.clone(), f) })
		}
	}
}

func TestMoreFaults(t *testing.T) {
	p := quickstartPatient(t, "")
	for _, f := range more {
		t.Run(f.name, func(t *testing.T) { diagnose(t, p.clone(), f) })
	}
}

// diagnose wants a fault found where it is, nothing made of it that does not
// follow, and its edit to mend it.
func diagnose(t *testing.T, p *patient, f fault) {
	f.inject(t, p)
	fs := p.check(t)
	if !has(fs, f.rule) && !(slices.Contains(f.follow, "no-nonlinearity") && has(fs, "no-nonlinearity")) {
		t.Fatalf("not found: %s; instead\n%s", f.rule, text(fs))
	}
	var sets []string
	for _, g := range fs {
		if g.Rule == f.rule {
			sets = append(sets, g.Set...)
			if g.Where == "" || g.What == "" || g.Why == "" {
				t.Errorf("it does not say where, what or why: %+v", g)
			}
		}
	}
	for _, r := range grave(fs) {
		if r != f.rule && !slices.Contains(f.follow, r) {
			t.Errorf("also found: %s\n%s", r, text(fs))
		}
	}
	if len(sets) == 0 {
		return
	}
	if left := p.check(t, sets...); has(left, f.rule) {
		t.Errorf("--set %s does not mend it:\n%s", sets, text(left))
	}
}

// TestRulesAreListed wants every rule in the documentation and injected above.
func TestRulesAreListed(t *testing.T) {
	doc, err := os.ReadFile("../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, f := range append(faults, more...) {
		tested[f.rule] = true
	}
	for _, f := range layerFaults {
		tested[f.rule] = true
	}
	tested["infogain-matrix"] = true // TestInfogainMatrix
	for rule := range stuckRules {
		tested[rule] = true
	}
	files, err := filepath.Glob("rules*.go")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`(?:\.(?:in|of|fillerFinding)\(|\bRule: |f\.Rule, f\.Severity = )"([a-z-]+)"`)
	n := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllStringSubmatch(string(src), -1) {
			n++
			if !strings.Contains(string(doc), "`"+m[1]+"`") {
				t.Errorf("docs/doctor.md does not list %s", m[1])
			}
			if !tested[m[1]] {
				t.Errorf("no fault shows %s", m[1])
			}
		}
	}
	if n < 60 {
		t.Errorf("only %d rules found", n)
	}
	if files, err = filepath.Glob("measure_rules*.go"); err != nil || len(files) < 2 {
		t.Fatalf("%d files (%v)", len(files), err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllStringSubmatch(string(src), -1) {
			if !strings.Contains(string(doc), "`"+m[1]+"`") {
				t.Errorf("docs/doctor.md does not list %s", m[1])
			}
		}
	}
}
