package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/data/synth"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// quiet wants a case without findings of warning or above, and few notes.
func quiet(t *testing.T, fs []Finding) {
	t.Helper()
	if len(grave(fs)) > 0 {
		t.Errorf("false alarm:\n%s", text(fs))
	}
	notes := map[string]bool{}
	for _, f := range fs {
		notes[f.Rule] = true
	}
	if len(notes) > 5 {
		t.Errorf("%d kinds of notes:\n%s", len(notes), text(fs))
	}
}

const (
	sgd = `momentum: 0.9 snapshot: 5000 snapshot_prefix: "run" test_interval: 500 display: 100 `
	// cifarSolver and imagenetSolver have the figures that Caffe's examples made
	// known.
	cifarSolver    = sgd + `base_lr: 0.001 weight_decay: 0.004 lr_policy: "fixed" max_iter: 60000 test_iter: 10`
	imagenetSolver = sgd + `base_lr: 0.01 weight_decay: 0.0005 lr_policy: "step" gamma: 0.1 stepsize: 100000 max_iter: 450000 test_iter: 2`
	cifarMean      = "mean_file: MEAN"
	photoMeans     = "mirror: true crop_size: 227 mean_value: 104 mean_value: 117 mean_value: 123"
)

// alexnet is the net of Krizhevsky et al. 2012 as it is known in Caffe; B stands
// for the bias of every second layer and of the inner products.
const alexnet = "conv,96,11,4,0,gaussian:0.01,0 relu lrn max,3,2 conv,256,5,1,2,gaussian:0.01,B,2 relu lrn max,3,2 " +
	"conv,384,3,1,1,gaussian:0.01,0 relu conv,384,3,1,1,gaussian:0.01,B,2 relu conv,256,3,1,1,gaussian:0.01,B,2 relu max,3,2 " +
	"ip,4096,gaussian:0.005,B relu drop ip,4096,gaussian:0.005,B relu drop ip,1000,gaussian:0.01,0 loss"

// TestHealthy looks at settings that are known to learn, most of them published.
func TestHealthy(t *testing.T) {
	lenet := lenetPatient(t)
	small := quickstartPatient(t, "")
	big := world{t.TempDir()}
	shape := synth.Shape{Channels: 3, Height: 256, Width: 256}
	spread := func(i, _ int) int { return i * 333 % 1000 }
	big.draw(t, "train_lmdb", shape, 60, spread)
	big.draw(t, "test_lmdb", shape, 40, spread)
	big.mean(t, big.path("train_lmdb"), "mean.binaryproto")

	squeeze := "conv,96,7,2,0,xavier,0 relu max,3,2 "
	for i, n := range []string{"16,64", "16,64", "32,128", "32,128", "48,192", "48,192", "64,256", "64,256"} {
		a, b, _ := strings.Cut(n, ",")
		squeeze += fmt.Sprintf("conv,%s,1,1,0,xavier,0 relu conv,%s,3,1,1,xavier,0 relu ", a, b)
		if i == 2 || i == 6 {
			squeeze += "max,3,2 "
		}
	}
	squeeze += "drop conv,1000,1,1,0,gaussian:0.01,0 relu global loss"

	for _, c := range []struct {
		name string
		p    *patient
		edit string // of the solver
	}{
		{"quickstart", small, ""},
		{"quickstart, linear", quickstartPatient(t, "linear_"), ""},
		{"quickstart, xavier", parse(t, small.world, small.shape, strings.ReplaceAll(string(prototxt.MarshalText(small.net)), "msra", "xavier"), string(prototxt.MarshalText(small.solver))), ""},
		{"lenet", lenet, ""},
		{"lenet, Adam", lenet, `type: "Adam" base_lr: 0.001 momentum2: 0.999 lr_policy: "fixed"`},
		{"lenet, AdaDelta", lenet, `type: "AdaDelta" base_lr: 1 momentum: 0.95 delta: 1e-6 lr_policy: "fixed"`},
		{"lenet, RMSProp", lenet, `type: "RMSProp" momentum: 0 rms_decay: 0.98`},
		{"lenet, Nesterov", lenet, `type: "Nesterov" momentum: 0.95`},
		{"lenet, AdaGrad", lenet, `type: "AdaGrad" momentum: 0 lr_policy: "fixed"`},
		{"lenet, multistep", lenet, `lr_policy: "multistep" gamma: 0.9 stepvalue: 5000 stepvalue: 7000 stepvalue: 9500`},
		{"lenet, L1", lenet, `regularization_type: "L1" weight_decay: 0.0001`},
		{"cifar, quick", parse(t, small.world, small.shape, build(small.heads(cifarMean, 100, 200), "conv,32,5,1,2,gaussian:0.0001,0 max,3,2 relu "+
			"conv,32,5,1,2,gaussian:0.01,0 relu ave,3,2 conv,64,5,1,2,gaussian:0.01,0 relu ave,3,2 ip,64,gaussian:0.1,0 ip,10,gaussian:0.1,0 loss"), cifarSolver), ""},
		{"cifar, full", parse(t, small.world, small.shape, build(small.heads(cifarMean, 100, 200), "conv,32,5,1,2,gaussian:0.0001,0 max,3,2 relu lrn "+
			"conv,32,5,1,2,gaussian:0.01,0 relu ave,3,2 lrn conv,64,5,1,2,gaussian:0.01,0 relu ave,3,2 ip,10,gaussian:0.01,0 loss"), cifarSolver), ""},
		{"cifar, sigmoids and batch norm", parse(t, small.world, small.shape, build(small.heads(cifarMean, 100, 200), "conv,32,5,1,2,gaussian:0.0001,0 max,3,2 bn sigmoid "+
			"conv,32,5,1,2,gaussian:0.01,0 bn sigmoid ave,3,2 conv,64,5,1,2,gaussian:0.01,0 bn sigmoid ave,3,2 ip,10,gaussian:0.01,0 loss"), cifarSolver), ""},
		{"tanh", parse(t, lenet.world, lenet.shape, build(lenet.heads("scale: 0.0078125 mean_value: 127", 50, 100), "conv,16,5,1,0,xavier,0 tanh ave,2,2 "+
			"conv,32,5,1,0,xavier,0 tanh ave,2,2 ip,100,xavier,0 tanh ip,10,xavier,0 loss"), cifarSolver), ""},
		{"alexnet", parse(t, big, shape, build(big.heads("mirror: true crop_size: 227 mean_file: MEAN", 256, 20), strings.ReplaceAll(alexnet, "B", "0.1")), imagenetSolver), ""},
		{"alexnet, biases of 1", parse(t, big, shape, build(big.heads(photoMeans, 256, 20), strings.ReplaceAll(alexnet, "B", "1")), imagenetSolver), ""},
		{"squeezenet", parse(t, big, shape, build(big.heads(photoMeans, 32, 20), squeeze), imagenetSolver), `iter_size: 16 base_lr: 0.04 lr_policy: "poly" power: 1`},
		{"vgg, msra", deepPatient(t), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.p.clone()
			if strings.Contains(c.edit, "lr_policy") {
				p.solver.Gamma, p.solver.Power, p.solver.Stepsize = nil, nil, nil
			}
			p.solve(c.edit)
			for _, l := range p.data()[1:] {
				if l.TransformParam != nil {
					l.TransformParam.Mirror = nil
				}
			}
			quiet(t, p.check(t))
		})
	}
}

// TestHealthyPretrained looks at nets whose fillers would never learn, and need
// not.
func TestHealthyPretrained(t *testing.T) {
	p := deepPatient(t)
	p.fill(`type: "gaussian" std: 0.0001`)
	for _, l := range p.weights()[:4] {
		l.Param = append(l.Param, frozenParam(), frozenParam())
	}
	p.solver.Weights = []string{"vgg.caffemodel"}
	quiet(t, p.check(t))
	p.solver.Weights = nil
	if fs := p.check(t); !has(fs, "signal-vanishes") || !has(fs, "frozen") {
		t.Errorf("without the weights:\n%s", text(fs))
	}
}

func frozenParam() *caffepb.ParamSpec { return &caffepb.ParamSpec{LrMult: proto.Float32(0)} }

// TestHealthyGolden looks at the solvers of the recorded runs, which begin with
// trained weights.
func TestHealthyGolden(t *testing.T) {
	const root = "../testdata/golden/runs"
	files, err := filepath.Glob(root + "/solver/*/solver.prototxt")
	if err != nil || len(files) < 13 {
		t.Fatalf("%d solvers in %s (%v)", len(files), root, err)
	}
	for _, f := range files {
		t.Run(filepath.Base(filepath.Dir(f)), func(t *testing.T) {
			quiet(t, open(t, Inputs{Solver: f, Weights: filepath.Join(filepath.Dir(f), "init.caffemodel"), ResolvePath: under(root)}))
		})
	}
}

// TestHealthyModels looks at the solvers of models, whose data are not there.
func TestHealthyModels(t *testing.T) {
	files, err := filepath.Glob("../models/*/*solver.prototxt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d solvers (%v)", len(files), err)
	}
	resolve := under("..")
	for _, f := range files {
		dir := filepath.Base(filepath.Dir(f))
		if dir == "es_vgg" {
			continue // it is there because it does not learn: see TestStuckVGG
		}
		t.Run(dir+"/"+filepath.Base(f), func(t *testing.T) {
			drawn := t.TempDir()
			quiet(t, open(t, Inputs{Solver: f, ResolvePath: func(p string) string {
				if in, ok := strings.CutPrefix(p, "drawn/"); ok {
					return filepath.Join(drawn, in)
				}
				return resolve(strings.Replace(p, "crema-quickstart/", "models/quickstart/", 1))
			}}))
		})
	}
}

// under resolves relative paths from a folder.
func under(root string) func(string) string {
	return func(p string) string {
		if filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(root, p)
	}
}

func open(t *testing.T, in Inputs) []Finding {
	t.Helper()
	c, err := Open(in)
	if err != nil {
		t.Fatal(err)
	}
	return c.Check(context.Background())
}

// TestHealthyPublished looks at the models and examples of a checkout of Caffe,
// in the folder that CREMA_CAFFE names. Their data sets are not there.
func TestHealthyPublished(t *testing.T) {
	root := os.Getenv("CREMA_CAFFE")
	if root == "" {
		t.Skip("CREMA_CAFFE names no checkout of Caffe")
	}
	n := 0
	for _, pattern := range []string{"models/*/*solver.prototxt", "examples/*/*solver*.prototxt"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "lenet_auto_solver.prototxt") {
				continue // its nets are made by a notebook
			}
			n++
			t.Run(strings.TrimPrefix(f, root), func(t *testing.T) { quiet(t, open(t, Inputs{Solver: f, ResolvePath: under(root)})) })
		}
	}
	if n < 20 {
		t.Errorf("only %d solvers in %s", n, root)
	}
}

// TestHealthyZoo looks at the trained models of the folder zoo in CREMA_SHARED.
func TestHealthyZoo(t *testing.T) {
	shared := os.Getenv("CREMA_SHARED")
	if shared == "" {
		t.Skip("CREMA_SHARED is not set")
	}
	for _, model := range []string{"lenet_v1/lenet_train_test.prototxt", "lenet_v1/lenet.prototxt", "squeezenet/train_val.prototxt", "squeezenet/deploy.prototxt"} {
		t.Run(model, func(t *testing.T) { quiet(t, open(t, Inputs{Model: filepath.Join(shared, "zoo", model)})) })
	}
}
