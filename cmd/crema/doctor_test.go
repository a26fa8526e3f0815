package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// doctorCase writes a small solver and net over drawn digits into a new working
// directory.
func doctorCase(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	mustCrema(t, "synth", "--shape=3x16x16", "--classes=10", "--count=60", "--output=d")
	files := map[string]string{
		"net.prototxt": `name: "small"
layer { name: "in" type: "Data" top: "data" top: "label" include { phase: TRAIN } transform_param { scale: 0.00390625 } data_param { source: "d/train_lmdb" backend: LMDB batch_size: 10 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
`,
		"solver.prototxt": `net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 100 snapshot: 50 snapshot_prefix: "s"`,
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDoctor(t *testing.T) {
	doctorCase(t)
	r := mustCrema(t, "doctor", "--solver=solver.prototxt", "--batches=2", "--plot=m.svg")
	for _, want := range []string{"Measured \"small\" on 20 images", "conv (ReLU)", "guessing gives ln 10"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	if b, err := os.ReadFile("m.svg"); err != nil || !strings.Contains(string(b), "<svg") {
		t.Errorf("chart: %v", err)
	}
	r = mustCrema(t, "doctor", "--solver=solver.prototxt", "--set=base_lr=100", "--json")
	var report struct {
		Findings []struct {
			Rule  string
			Where string
		}
		Measurement struct{ Images int }
	}
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("%v in\n%s", err, r.out)
	}
	found := false
	for _, f := range report.Findings {
		found = found || f.Rule == "measured-update-too-large" && strings.Contains(f.Where, "net.prototxt:")
	}
	if !found || report.Measurement.Images == 0 {
		t.Errorf("report %+v", report)
	}
	r = mustCrema(t, "doctor", "--solver=solver.prototxt", "--nomeasure", "--json")
	if strings.Contains(r.out, `"measurement"`) || !strings.Contains(r.out, `"findings"`) {
		t.Errorf("without a measurement:\n%s", r.out)
	}
	if err := os.WriteFile("deploy.prototxt", []byte(`name: "d" layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } } layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := mustCrema(t, "doctor", "--model=deploy.prototxt"); !strings.Contains(r.out, "Not measured") {
		t.Errorf("a net without data:\n%s", r.out)
	}
	if r := mustCrema(t, "doctor", "--model=net.prototxt"); !strings.Contains(r.out, "Measured") {
		t.Errorf("a model alone:\n%s", r.out)
	}
}

func TestDoctorExperiments(t *testing.T) {
	doctorCase(t)
	r := mustCrema(t, "doctor", "--solver=solver.prototxt", "--lr-find", "--iterations=40", "--plot=lr.png")
	if !strings.Contains(r.out, "range test") || !exists("lr.png") {
		t.Errorf("range test:\n%s", r.out)
	}
	mustCrema(t, "doctor", "--solver=solver.prototxt", "--lsuv=unit.caffemodel")
	mustCrema(t, "train", "--solver=solver.prototxt", "--weights=unit.caffemodel", "--set=max_iter=1", "--set=snapshot=0")
	if testing.Short() {
		t.Skip("experiments take a while")
	}
	r = mustCrema(t, "doctor", "--solver=solver.prototxt", "--try", "--budget=0.15", "--images=20", "--seeds=1", "--set=random_seed=2",
		"--variant=slow: --set base_lr=1e-9", "--out=out/dir")
	if !strings.Contains(r.out, "as is") || !strings.Contains(r.out, "slow") || !strings.Contains(r.err, "an iteration takes") {
		t.Errorf("experiments:\n%s\n%s", r.out, r.err)
	}
	for _, f := range []string{"try.json", "try.txt", "try.svg", "try.png"} {
		if !exists(filepath.Join("out/dir", f)) {
			t.Errorf("no %s", f)
		}
	}
}

// TestDoctorRefuses checks that what cannot be done is said in one line.
func TestDoctorRefuses(t *testing.T) {
	doctorCase(t)
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"nothing", nil, 2, "needs -solver or -model"},
		{"no such solver", []string{"--solver=none.prototxt"}, 1, "none.prototxt"},
		{"both starts", []string{"--solver=solver.prototxt", "--weights=a", "--snapshot=b"}, 2, "not both"},
		{"snapshot alone", []string{"--model=net.prototxt", "--snapshot=b"}, 2, "needs -solver"},
		{"experiment on a snapshot", []string{"--solver=solver.prototxt", "--snapshot=b", "--try"}, 2, "-snapshot is for measuring"},
		{"chart of what", []string{"--solver=solver.prototxt", "--plot=a.svg", "--nomeasure"}, 2, "-nomeasure"},
		{"kind of chart", []string{"--solver=solver.prototxt", "--plot=a.pdf"}, 2, ".svg or .png"},
		{"batches", []string{"--solver=solver.prototxt", "--batches=-1"}, 2, "-batches=-1"},
		{"set", []string{"--solver=solver.prototxt", "--set=base_l=1"}, 2, "did you mean base_lr"},
		{"unused set", []string{"--solver=solver.prototxt", "--set=layer.x.type=y"}, 1, `no layer is named "x"`},
		{"weights", []string{"--solver=solver.prototxt", "--weights=none.caffemodel"}, 1, "none.caffemodel"},
		{"data", []string{"--solver=solver.prototxt", "--data-root=d=nowhere"}, 1, "nowhere"},
		{"two modes", []string{"--solver=solver.prototxt", "--try", "--lr-find"}, 2, "one of"},
		{"try without a solver", []string{"--model=net.prototxt", "--try"}, 2, "need -solver"},
		{"variant", []string{"--solver=solver.prototxt", "--try", "--variant=x"}, 2, "no name"},
		{"variant of no layer", []string{"--solver=solver.prototxt", "--try", "--variant=x: --set layer.y.type=z", "--budget=0.05"}, 1, `variant "x"`},
		{"out without try", []string{"--solver=solver.prototxt", "--out=x"}, 2, "go with -try"},
		{"budget", []string{"--solver=solver.prototxt", "--try", "--budget=0"}, 2, "-budget=0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := crema(append([]string{"doctor"}, c.args...)...)
			if r.status != c.status || !strings.Contains(r.lastLine(), c.want) {
				t.Errorf("status %d, %q; want %d, …%s", r.status, r.lastLine(), c.status, c.want)
			}
		})
	}
}
