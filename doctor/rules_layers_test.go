package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/data/synth"
	"crema/hdf5"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// A healthyNet is a small net of one of the kinds that are in use, in full: DIR
// stands for the folder of its data.
type healthyNet struct {
	name, net, solver string
	store             func(t *testing.T, w world)
}

const (
	dataLayer = `layer { name: "in" type: "Data" top: "data" top: "label" include { phase: PHASE } transform_param { scale: 0.0078125 mean_value: 127 }
  data_param { source: "DIR/SET_lmdb" batch_size: 20 backend: LMDB } }
`
	healthySolver = `base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0001 max_iter: 1000 test_iter: 5 test_interval: 100 snapshot: 500 snapshot_prefix: "DIR/run"`
)

// both writes a data layer for TRAIN and for TEST.
func both(text string) string {
	in := func(phase, set string) string {
		return strings.ReplaceAll(strings.ReplaceAll(text, "PHASE", phase), "SET", set)
	}
	return in("TRAIN", "train") + in("TEST", "test")
}

func conv(name, bottom, rest string) string {
	return `layer { name: "` + name + `" type: "Convolution" bottom: "` + bottom + `" top: "` + name + `" convolution_param { weight_filler { type: "msra" } ` + rest + " } }\n"
}

// normed is a convolution with BatchNorm and Scale; more follows in place.
func normed(name, bottom, rest string) string {
	return conv(name, bottom, "bias_term: false "+rest) +
		`layer { name: "` + name + `_bn" type: "BatchNorm" bottom: "` + name + `" top: "` + name + `" batch_norm_param { eps: 1e-5 } }
layer { name: "` + name + `_scale" type: "Scale" bottom: "` + name + `" top: "` + name + `" scale_param { bias_term: true } }
`
}

func relu(name string) string {
	return `layer { name: "` + name + `_relu" type: "ReLU" bottom: "` + name + `" top: "` + name + "\" }\n"
}

const ends = `layer { name: "loss" type: "SoftmaxWithLoss" bottom: "class" bottom: "label" top: "loss" }
layer { name: "acc" type: "Accuracy" bottom: "class" bottom: "label" top: "acc" include { phase: TEST } }
`

var residual = healthyNet{"residual", both(dataLayer) +
	normed("c1", "data", "num_output: 8 kernel_size: 3 pad: 1 stride: 2") + relu("c1") +
	normed("a1", "c1", "num_output: 8 kernel_size: 3 pad: 1") + relu("a1") + normed("a2", "a1", "num_output: 8 kernel_size: 3 pad: 1") +
	`layer { name: "a" type: "Eltwise" bottom: "c1" bottom: "a2" top: "a" }
` + relu("a") +
	normed("s", "a", "num_output: 16 kernel_size: 1 stride: 2") +
	normed("b1", "a", "num_output: 16 kernel_size: 3 pad: 1 stride: 2") + relu("b1") + normed("b2", "b1", "num_output: 16 kernel_size: 3 pad: 1") +
	`layer { name: "b" type: "Eltwise" bottom: "s" bottom: "b2" top: "b" }
` + relu("b") +
	`layer { name: "pool" type: "Pooling" bottom: "b" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "class" type: "InnerProduct" bottom: "pool" top: "class" inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
` + ends, healthySolver, func(t *testing.T, w world) {
	w.draw(t, "train_lmdb", synth.Shape{Channels: 3, Height: 32, Width: 32}, 200, nil)
	w.draw(t, "test_lmdb", synth.Shape{Channels: 3, Height: 32, Width: 32}, 100, nil)
}}

// segmentation is a small net with labels for each pixel, of which some are to be
// left out.
var segmentation = healthyNet{"segmentation", both(strings.Replace(dataLayer, ` top: "label"`, "", 1)) +
	both(`layer { name: "labels" type: "Data" top: "label" include { phase: PHASE } data_param { source: "DIR/labels_SET_lmdb" batch_size: 20 backend: LMDB } }
`) +
	conv("c1", "data", "num_output: 8 kernel_size: 3 pad: 1") + relu("c1") +
	`layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param { kernel_size: 2 stride: 2 } }
` + conv("c2", "p1", "num_output: 16 kernel_size: 3 pad: 1") + relu("c2") +
	`layer { name: "p2" type: "Pooling" bottom: "c2" top: "p2" pooling_param { kernel_size: 2 stride: 2 } }
` + conv("c3", "p2", "num_output: 16 kernel_size: 3 pad: 1") + relu("c3") +
	`layer { name: "score" type: "Convolution" bottom: "c3" top: "score" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "up" type: "Deconvolution" bottom: "score" top: "up" param { lr_mult: 0 }
  convolution_param { num_output: 4 group: 4 kernel_size: 8 stride: 4 bias_term: false weight_filler { type: "bilinear" } } }
layer { name: "crop" type: "Crop" bottom: "up" bottom: "data" top: "class" crop_param { axis: 2 offset: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "class" bottom: "label" top: "loss" loss_param { ignore_label: 255 } }
layer { name: "acc" type: "Accuracy" bottom: "class" bottom: "label" top: "acc" include { phase: TEST } accuracy_param { ignore_label: 255 } }
`, healthySolver, func(t *testing.T, w world) {
	for _, set := range []string{"train", "test"} {
		w.draw(t, set+"_lmdb", synth.Shape{Channels: 3, Height: 32, Width: 32}, 100, nil)
		w.areas(t, "labels_"+set+"_lmdb", 100, func(i, y, x int) byte {
			if y == 0 || y == 31 {
				return 255
			}
			return byte((i + y/8 + x/8) % 4)
		})
	}
}}

// areas stores pictures of labels, 32×32.
func (w world) areas(t *testing.T, name string, n int, label func(i, y, x int) byte) string {
	return w.store(t, name, n, func(i int) *caffepb.Datum {
		d := &caffepb.Datum{Channels: proto.Int32(1), Height: proto.Int32(32), Width: proto.Int32(32)}
		for y := range 32 {
			for x := range 32 {
				d.Data = append(d.Data, label(i, y, x))
			}
		}
		return d
	})
}

func tower(suffix, bottom string) string {
	params := func(l string) string { return ` param { name: "` + l + `_w" } param { name: "` + l + `_b" } ` }
	ip := func(name, bottom, rest string) string {
		return `layer { name: "` + name + suffix + `" type: "InnerProduct" bottom: "` + bottom + `" top: "` + name + suffix + `"` + params(name) +
			`inner_product_param { ` + rest + ` weight_filler { type: "xavier" } } }
`
	}
	return `layer { name: "c` + suffix + `" type: "Convolution" bottom: "` + bottom + `" top: "c` + suffix + `"` + params("c") +
		`convolution_param { num_output: 8 kernel_size: 5 stride: 2 weight_filler { type: "msra" } } }
` + relu("c"+suffix) + ip("h", "c"+suffix, "num_output: 20") + relu("h"+suffix) + ip("feat", "h"+suffix, "num_output: 4")
}

var siamese = healthyNet{"siamese", both(`layer { name: "in" type: "Data" top: "pair" top: "alike" include { phase: PHASE } transform_param { scale: 0.00390625 }
  data_param { source: "DIR/SET_lmdb" batch_size: 20 backend: LMDB } }
`) + `layer { name: "slice" type: "Slice" bottom: "pair" top: "data" top: "data_p" slice_param { slice_point: 1 } }
` + tower("", "data") + tower("_p", "data_p") +
	`layer { name: "loss" type: "ContrastiveLoss" bottom: "feat" bottom: "feat_p" bottom: "alike" top: "loss" contrastive_loss_param { margin: 1 } }
`, healthySolver, func(t *testing.T, w world) {
	for _, set := range []string{"train", "test"} {
		w.pairs(t, set+"_lmdb", func(i, _ int) int { return i % 2 })
	}
}}

// pairs stores 100 pairs of drawn pictures, two channels each.
func (w world) pairs(t *testing.T, name string, label func(i, label int) int) {
	set, err := synth.NewDigits(synth.Shape{Channels: 1, Height: 16, Width: 16}, 1)
	if err != nil {
		t.Fatal(err)
	}
	d := set.NewDrawer()
	w.store(t, name, 100, func(i int) *caffepb.Datum {
		pix := make([]byte, 2*256)
		l := d.Draw(name, i, pix[:256])
		d.Draw(name, i+100, pix[256:])
		return &caffepb.Datum{Channels: proto.Int32(2), Height: proto.Int32(16), Width: proto.Int32(16), Data: pix, Label: proto.Int32(int32(label(i, l)))}
	})
}

var autoencoder = healthyNet{"autoencoder", both(`layer { name: "in" type: "Data" top: "data" include { phase: PHASE } transform_param { scale: 0.00390625 }
  data_param { source: "DIR/SET_lmdb" batch_size: 20 backend: LMDB } }
`) + `layer { name: "flat" type: "Flatten" bottom: "data" top: "flat" }
layer { name: "e1" type: "InnerProduct" bottom: "flat" top: "e1" inner_product_param { num_output: 100 weight_filler { type: "xavier" } } }
layer { name: "s1" type: "Sigmoid" bottom: "e1" top: "s1" }
layer { name: "code" type: "InnerProduct" bottom: "s1" top: "code" inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "d1" type: "InnerProduct" bottom: "code" top: "d1" inner_product_param { num_output: 100 weight_filler { type: "xavier" } } }
layer { name: "s2" type: "Sigmoid" bottom: "d1" top: "s2" }
layer { name: "d2" type: "InnerProduct" bottom: "s2" top: "d2" inner_product_param { num_output: 256 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "d2" bottom: "flat" top: "loss" }
layer { name: "out" type: "Sigmoid" bottom: "d2" top: "out" }
layer { name: "l2" type: "EuclideanLoss" bottom: "out" bottom: "flat" top: "l2" loss_weight: 0 }
`, healthySolver, func(t *testing.T, w world) {
	for _, set := range []string{"train", "test"} {
		w.draw(t, set+"_lmdb", synth.Shape{Channels: 1, Height: 16, Width: 16}, 100, nil)
	}
}}

// attributes says of each picture which of some things are on it.
var attributes = healthyNet{"attributes", both(dataLayer) +
	conv("c1", "data", "num_output: 8 kernel_size: 5 stride: 2") + relu("c1") +
	`layer { name: "class" type: "InnerProduct" bottom: "c1" top: "class" inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "class" bottom: "label" top: "loss" }
`, healthySolver, func(t *testing.T, w world) {
	for _, set := range []string{"train", "test"} {
		w.draw(t, set+"_lmdb", synth.Shape{Channels: 1, Height: 16, Width: 16}, 100, func(i, _ int) int { return i % 2 })
	}
}}

// language learns what follows in sequences of 9 words.
var language = healthyNet{"language", both(`layer { name: "in" type: "HDF5Data" top: "word" top: "cont" top: "next" include { phase: PHASE } hdf5_data_param { source: "DIR/SET.txt" batch_size: 6 } }
`) + `layer { name: "embed" type: "Embed" bottom: "word" top: "embed" embed_param { input_dim: 9 num_output: 8 bias_term: false weight_filler { type: "uniform" min: -0.5 max: 0.5 } } }
layer { name: "lstm" type: "LSTM" bottom: "embed" bottom: "cont" top: "lstm" recurrent_param { num_output: 14 weight_filler { type: "uniform" min: -0.3 max: 0.3 } } }
layer { name: "class" type: "InnerProduct" bottom: "lstm" top: "class" inner_product_param { num_output: 9 axis: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "class" bottom: "next" top: "loss" softmax_param { axis: 2 } }
layer { name: "acc" type: "Accuracy" bottom: "class" bottom: "next" top: "acc" include { phase: TEST } accuracy_param { axis: 2 } }
`, "clip_gradients: 10 " + healthySolver, func(t *testing.T, w world) {
	for _, set := range []string{"train", "test"} {
		w.sentences(t, set, func(step, stream int) float32 {
			if step%6 == 0 {
				return 0
			}
			return 1
		})
	}
}}

// sentences stores 24 time steps of 4 streams of words, and the words that
// follow; cont says where they go on.
func (w world) sentences(t *testing.T, set string, cont func(step, stream int) float32) {
	t.Helper()
	const steps, streams = 24, 4
	var word, next, goes []float32
	for s := range steps {
		for n := range streams {
			word = append(word, float32((s*(n+1)+n)%9))
			next = append(next, float32(((s+1)*(n+1)+n)%9))
			goes = append(goes, cont(s, n))
		}
	}
	w.tables(t, set, map[string][]float32{"word": word, "next": next, "cont": goes}, steps)
}

// tables stores datasets of that many rows each, and a list with their file.
func (w world) tables(t *testing.T, set string, tables map[string][]float32, rows int) {
	t.Helper()
	var b hdf5.Builder
	for name, v := range tables {
		dims := []int{rows}
		if n := len(v) / rows; n > 1 {
			dims = append(dims, n)
		}
		b.Floats(dims, v, name)
	}
	f, err := os.Create(w.path(set + ".h5"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path(set+".txt"), []byte(w.path(set+".h5")+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
}

var healthyNets = []healthyNet{residual, segmentation, siamese, autoencoder, attributes, language}

// patient makes a patient of the net, with its data.
func (h healthyNet) patient(t *testing.T) *patient {
	t.Helper()
	w := world{t.TempDir()}
	h.store(t, w)
	in := strings.NewReplacer("DIR", w.dir)
	return parse(t, w, synth.Shape{}, in.Replace(h.net), in.Replace(h.solver))
}

// A layerFault makes a net of one kind ill by changing its text.
type layerFault struct {
	name   string
	net    healthyNet
	rule   string
	follow []string
	// edits are pairs of texts: the first is replaced by the second wherever it
	// stands in the net, or else in the solver.
	edits []string
	store func(t *testing.T, w world) // changes the data
}

var layerFaults = []layerFault{
	{"learned statistics", residual, "batch-norm-learned", nil, []string{`batch_norm_param { eps: 1e-5 }`, `param { lr_mult: 1 } param { lr_mult: 1 } batch_norm_param { eps: 1e-5 }`}, nil},
	{"params without lr_mult", residual, "batch-norm-learned", nil, []string{`batch_norm_param { eps: 1e-5 }`, `param { decay_mult: 0 }`}, nil},
	{"all is kept", residual, "moving-average-fraction", nil, []string{`eps: 1e-5`, `moving_average_fraction: 1`}, nil},
	{"averages without end", residual, "moving-average-fraction", nil, []string{`eps: 1e-5`, `moving_average_fraction: 1.5`}, nil},
	{"next to nothing is kept", residual, "moving-average-fraction", nil, []string{`eps: 1e-5`, `moving_average_fraction: 0.001`}, nil},
	{"below 0", residual, "moving-average-fraction", nil, []string{`eps: 1e-5`, `moving_average_fraction: -0.9`}, nil},
	{"statistics of nothing", residual, "batch-statistics", []string{"signal-vanishes"}, []string{`eps: 1e-5`, `use_global_stats: true`}, nil},
	{"statistics of the test's batch", residual, "batch-statistics", nil, []string{`eps: 1e-5`, `use_global_stats: false`}, nil},
	{"batches of one", residual, "batch-statistics", []string{"rate-high", "test-part"}, []string{`batch_size: 20`, `batch_size: 1`}, nil},
	{"no Scale", residual, "batch-norm-scale", nil, []string{`layer { name: "a1_scale" type: "Scale" bottom: "a1" top: "a1" scale_param { bias_term: true } }`, ``}, nil},
	{"no shift", residual, "batch-norm-scale", nil, []string{`scale_param { bias_term: true }`, ``}, nil},
	{"scores of variance 1", residual, "batch-norm-scores", nil, []string{`layer { name: "loss"`, `layer { name: "bn" type: "BatchNorm" bottom: "class" top: "class" } layer { name: "loss"`}, nil},
	{"useless biases", residual, "bias-before-batch-norm", nil, []string{`bias_term: false`, ``}, nil},
	{"decay in a history", residual, "batch-norm-decay", nil, []string{`momentum: 0.9`, `type: "Adam" momentum: 0.9`, `base_lr: 0.01`, `base_lr: 0.001`}, nil},
	{"dropped before it", residual, "dropout-before-batch-norm", nil, []string{`layer { name: "a1_bn"`, `layer { name: "drop" type: "Dropout" bottom: "a1" top: "a1" } layer { name: "a1_bn"`}, nil},
	{"a norm of nothing", residual, "lrn-idle", nil, []string{`layer { name: "a" type: "Eltwise"`, `layer { name: "n" type: "LRN" bottom: "a2" top: "n" lrn_param { alpha: 0 } } layer { name: "si" type: "Silence" bottom: "n" } layer { name: "a" type: "Eltwise"`}, nil},
	{"branches that do not fit", residual, "net-refused", nil, []string{`num_output: 16 kernel_size: 3 pad: 1 }`, `num_output: 15 kernel_size: 3 pad: 1 }`}, nil},
	{"groups that do not divide", residual, "net-refused", nil, []string{`num_output: 16 kernel_size: 1`, `num_output: 16 group: 3 kernel_size: 1`}, nil},

	{"a sum over channels", segmentation, "bilinear-groups", nil, []string{`group: 4`, ``}, nil},
	{"interpolation learned", segmentation, "bilinear-learned", nil, []string{`lr_mult: 0`, ``}, nil},
	{"uneven interpolation", segmentation, "bilinear-kernel", nil, []string{`kernel_size: 8`, `kernel_size: 10`, `offset: 2`, `offset: 3`}, nil},
	{"another axis", segmentation, "class-axis", nil, []string{`loss_param { ignore_label: 255 }`, `loss_param { ignore_label: 255 } softmax_param { axis: 2 }`}, nil},
	{"maps of another size", segmentation, "class-axis", nil, []string{`bottom: "class" bottom: "label"`, `bottom: "score" bottom: "label"`}, nil},
	{"border counted", segmentation, "accuracy-ignore", []string{"label-range"}, []string{`accuracy_param { ignore_label: 255 }`, ``}, nil},
	{"border learned", segmentation, "label-range", nil, []string{`ignore_label: 255`, ``}, nil},
	{"classes without channels", segmentation, "label-range", nil, nil, func(t *testing.T, w world) {
		w.areas(t, "labels_train_lmdb", 100, func(i, y, x int) byte { return byte((i + y/8 + x/8) % 6) })
	}},
	{"all left out", segmentation, "all-ignored", nil, nil, func(t *testing.T, w world) {
		w.areas(t, "labels_train_lmdb", 100, func(i, y, x int) byte { return 255 })
	}},
	{"scaled labels", segmentation, "label-transform", nil, []string{`data_param { source: "DIR/labels`, `transform_param { scale: 0.0078125 mean_value: 127 } data_param { source: "DIR/labels`}, nil},
	{"mirrored pictures", segmentation, "label-transform", []string{"test-mirror"}, []string{`scale: 0.0078125 mean_value: 127`, `scale: 0.0078125 mean_value: 127 mirror: true`}, nil},
	{"a layer that is refused in TEST", segmentation, "net-refused", nil, []string{`layer { name: "acc"`, `layer { name: "r" type: "Reshape" bottom: "class" top: "r" reshape_param { shape { dim: 7 dim: 11 } } include { phase: TEST } } layer { name: "acc"`}, nil},

	{"classes in place of pairs", siamese, "label-range", nil, nil, func(t *testing.T, w world) {
		w.pairs(t, "train_lmdb", func(i, label int) int { return label })
	}},
	{"all alike", siamese, "one-label", nil, nil, func(t *testing.T, w world) {
		w.pairs(t, "train_lmdb", func(_, _ int) int { return 1 })
	}},
	{"no margin", siamese, "margin", nil, []string{`margin: 1`, `margin: 0`}, nil},
	{"two nets", siamese, "towers-apart", nil, []string{`name: "c_w"`, ``, `name: "c_b"`, ``, `name: "h_w"`, ``, `name: "h_b"`, ``, `name: "feat_w"`, ``, `name: "feat_b"`, ``}, nil},

	{"sigmoid twice", autoencoder, "sigmoid-twice", nil, []string{`type: "SigmoidCrossEntropyLoss" bottom: "d2"`, `type: "SigmoidCrossEntropyLoss" bottom: "out"`,
		`layer { name: "out" type: "Sigmoid" bottom: "d2" top: "out" }`, ``, `layer { name: "loss"`, `layer { name: "out" type: "Sigmoid" bottom: "d2" top: "out" } layer { name: "loss"`}, nil},
	{"scores rectified", autoencoder, "activation-before-loss", nil, []string{`layer { name: "loss"`, relu("d2") + `layer { name: "loss"`}, nil},
	{"classes as targets", attributes, "label-range", nil, nil, func(t *testing.T, w world) {
		w.draw(t, "train_lmdb", synth.Shape{Channels: 1, Height: 16, Width: 16}, 100, nil)
	}},

	{"no fillers", language, "constant-weights", nil, []string{`num_output: 14 weight_filler { type: "uniform" min: -0.3 max: 0.3 }`, `num_output: 14`}, nil},
	{"unlimited gradients", language, "clip-missing", nil, []string{`clip_gradients: 10`, ``}, nil},
	{"a step at a time", language, "one-time-step", []string{"test-part"}, []string{`batch_size: 6`, `batch_size: 1`}, nil},
	{"a filler of another type", language, "filler-field", nil, []string{`num_output: 14 weight_filler { type: "uniform"`, `num_output: 14 weight_filler { type: "xavier"`}, nil},
	{"frozen memory", language, "frozen", nil, []string{`recurrent_param {`, `param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 } recurrent_param {`}, nil},
	{"no list", language, "source-missing", nil, []string{`DIR/train.txt`, `DIR/nowhere.txt`}, nil},
	{"a broken list", language, "source-unreadable", nil, nil, func(t *testing.T, w world) {
		if err := os.WriteFile(w.path("train.h5"), []byte("nothing"), 0o666); err != nil {
			t.Fatal(err)
		}
	}},
}

// TestLayerFaults wants each fault found by its rule, nothing made of it that
// does not follow, and its edit to mend it.
func TestLayerFaults(t *testing.T) {
	for _, h := range healthyNets {
		t.Run(h.name, func(t *testing.T) { quiet(t, h.patient(t).check(t)) })
	}
	for _, f := range layerFaults {
		t.Run(f.net.name+"/"+f.name, func(t *testing.T) {
			p := f.edited(t).patient(t)
			diagnose(t, p, fault{f.name, f.rule, f.follow, func(t *testing.T, p *patient) {
				if f.store != nil {
					if f.net.name != "language" {
						removeAll(t, p.world, f.net.name)
					}
					f.store(t, p.world)
				}
			}})
		})
	}
}

// edited returns the net with the fault's edits.
func (f layerFault) edited(t *testing.T) healthyNet {
	t.Helper()
	h := f.net
	for i := 0; i < len(f.edits); i += 2 {
		old, text := f.edits[i], f.edits[i+1]
		switch {
		case strings.Contains(h.net, old):
			h.net = strings.ReplaceAll(h.net, old, text)
		case strings.Contains(h.solver, old):
			h.solver = strings.ReplaceAll(h.solver, old, text)
		default:
			t.Fatalf("no %q in the net or the solver", old)
		}
	}
	return h
}

// fillNet gives the weights of a case's train net fillers that suit them.
func fillNet(c *Case) {
	for _, l := range c.Train.Param.Layer {
		f := &caffepb.FillerParameter{Type: proto.String("xavier")}
		switch l.GetType() {
		case "Convolution", "Deconvolution":
			f.Type = proto.String("msra")
			l.ConvolutionParam.WeightFiller = f
		case "InnerProduct":
			l.InnerProductParam.WeightFiller = f
		case "Embed":
			l.EmbedParam.WeightFiller = f
		case "LSTM", "RNN":
			l.RecurrentParam.WeightFiller = f
		}
	}
}

// removeAll removes the databases that a fault writes anew.
func removeAll(t *testing.T, w world, net string) {
	t.Helper()
	name := "train_lmdb"
	if net == "segmentation" {
		name = "labels_train_lmdb"
	}
	if err := os.RemoveAll(w.path(name)); err != nil {
		t.Fatal(err)
	}
}

// TestInfogainMatrix judges matrices of InfogainLoss.
func TestInfogainMatrix(t *testing.T) {
	net := strings.Replace(residual.net, `type: "SoftmaxWithLoss" bottom: "class" bottom: "label" top: "loss"`,
		`type: "InfogainLoss" bottom: "class" bottom: "label" top: "loss" infogain_loss_param { source: "DIR/h" }`, 1)
	matrix := func(change func(h []float32)) []float32 {
		h := make([]float32, 100)
		for i := range 10 {
			h[11*i] = 1
		}
		change(h)
		return h
	}
	for _, c := range []struct {
		name, want string
		h          []float32
	}{
		{"identity", "", matrix(func([]float32) {})},
		{"weighted classes", "", matrix(func(h []float32) { h[33], h[44] = 0.1, 5 })},
		{"soft", "", matrix(func(h []float32) { h[1], h[10] = 0.3, 0.3 })},
		{"a row of zeros", "labels 4 are all 0", matrix(func(h []float32) { h[44] = 0 })},
		{"another class", "2 (5)", matrix(func(h []float32) { h[25] = 3 })},
		{"negative", "labels 7 have values below 0", matrix(func(h []float32) { h[71] = -1 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := healthyNet{net: net, solver: residual.solver, store: residual.store}.patient(t)
			if err := prototxt.WriteBinary(p.path("h"), &caffepb.BlobProto{Shape: blobShape([]int{1, 1, 10, 10}), Data: c.h}); err != nil {
				t.Fatal(err)
			}
			fs := p.check(t)
			if c.want == "" {
				quiet(t, fs)
				return
			}
			i := slices.IndexFunc(fs, func(f Finding) bool { return f.Rule == "infogain-matrix" })
			if i < 0 || !strings.Contains(fs[i].What, c.want) || len(grave(fs)) != 1 {
				t.Errorf("found:\n%s", text(fs))
			}
		})
	}
	p := healthyNet{net: net, solver: residual.solver, store: residual.store}.patient(t)
	if fs := p.check(t); !has(fs, "source-unreadable") || has(fs, "net-refused") {
		t.Errorf("without a file:\n%s", text(fs))
	}
}

// TestPoolOfOnePixel: pooling windows may reach beyond their maps.
func TestPoolOfOnePixel(t *testing.T) {
	name := filepath.Join(t.TempDir(), "net")
	if err := os.WriteFile(name, []byte(`layer { name: "in" type: "Input" top: "a" input_param { shape { dim: 1 dim: 3 dim: 1 dim: 1 } } }
layer { name: "p" type: "Pooling" bottom: "a" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
`), 0o666); err != nil {
		t.Fatal(err)
	}
	quiet(t, open(t, Inputs{Model: name}))
}
