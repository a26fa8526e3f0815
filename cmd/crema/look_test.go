package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const trainOnly = `name: "t"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN } transform_param { crop_size: 8 } data_param { source: "/none/train_lmdb" batch_size: 4 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
`

func TestNetInfo(t *testing.T) {
	vgg := filepath.Join("..", "..", "models", "es_vgg", "train_val.prototxt")
	for _, args := range [][]string{{vgg}, {"--model", vgg, "--phase=TRAIN"}} {
		r := mustCrema(t, append([]string{"net_info"}, args...)...)
		for _, want := range []string{"138,357,544", "15,470,264,320", "conv5_3 ", "15.5 G for each of 6 items (axis 0 of data)", "TRAIN 694 MiB: values 349 MiB, gradients 345 MiB", "TEST  349 MiB", "assumed pictures of 3 channels"} {
			if !strings.Contains(r.out, want) {
				t.Errorf("%q: no %q in\n%s", args, want, r.out)
			}
		}
		if has := strings.Contains(r.out, "accuracytop1"); has != (len(args) == 1) {
			t.Errorf("%q: wrong phase", args)
		}
	}

	r := mustCrema(t, "net_info", vgg, "--json", "--set", "layer.data@TEST.data_param.batch_size=2")
	var report netReport
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Phases) != 2 || report.Phases[0].Phase != "TEST" || report.Phases[0].Batch != 2 || report.Phases[0].MACs != 2*15470264320 || report.Phases[1].Batch != 6 {
		t.Errorf("%d phases, the first: %s, batch %d, %d multiply-adds", len(report.Phases), report.Phases[0].Phase, report.Phases[0].Batch, report.Phases[0].MACs)
	}

	// A net for training only is shown in that phase.
	file := writeFile(t, t.TempDir(), "net.prototxt", trainOnly)
	if r := mustCrema(t, "net_info", file); !strings.Contains(r.out, "phase          TRAIN") || strings.Contains(r.out, "TEST") {
		t.Errorf("got\n%s", r.out)
	}
	r = mustCrema(t, "net_info", file, "-shape", "data=7x1x2x2", "-shape=label=7")
	if !strings.Contains(r.out, "data 7×1×2×2, label 7") || strings.Contains(r.out, "assumed") {
		t.Errorf("with shapes: got\n%s", r.out)
	}
}

func TestNetInfoErrors(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, dir, "net.prototxt", trainOnly)
	noCrop := writeFile(t, dir, "nocrop.prototxt", strings.Replace(trainOnly, "crop_size: 8", "", 1))
	strange := writeFile(t, dir, "strange.prototxt", trainOnly+`layer { name: "w" type: "Wonder" bottom: "ip" top: "w" }`)
	for _, c := range []struct {
		name   string
		args   []string
		status int
		words  []string
	}{
		{"no model", nil, 2, []string{"-model"}},
		{"two models", []string{file, file}, 2, []string{"unexpected argument", file}},
		{"missing file", []string{"none.prototxt"}, 1, []string{"none.prototxt", "no such file"}},
		{"phase", []string{file, "-phase=test"}, 2, []string{"-phase=test", "TRAIN or TEST"}},
		{"other phase", []string{file, "-phase=TEST"}, 1, []string{file + ":3:1", `"ip"`, `unknown bottom blob "data"`}},
		{"shape flag", []string{file, "-shape", "data"}, 2, []string{"data=1x3x224x224"}},
		{"shape that is none", []string{file, "-shape", "data=1x0"}, 2, []string{`"0"`}},
		{"shape of no blob", []string{file, "-shape", "ip=1x2"}, 1, []string{`"ip"`}},
		{"no data", []string{noCrop}, 1, []string{noCrop + ":2:1", `"data"`, "/none/train_lmdb", "-shape data="}},
		{"unknown type", []string{strange}, 1, []string{strange + ":5:1", `"Wonder"`}},
		{"set that matches nothing", []string{file, "--set", "layer.q.relu_param.negative_slope=1"}, 1, []string{"layer.q"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, crema(append([]string{"net_info"}, c.args...)...), c.status, c.words...)
		})
	}
}

func TestDrawNet(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, dir, "net.prototxt", trainOnly)
	svg, dot := filepath.Join(dir, "n.svg"), filepath.Join(dir, "n.dot")
	r := mustCrema(t, "draw_net", file, svg, "--phase", "TRAIN")
	if text := readFile(t, svg); !strings.Contains(text, "4×3×8×8") || !strings.Contains(text, "SoftmaxWithLoss") {
		t.Errorf("the drawing lacks a shape or a layer:\n%s", text)
	}
	if !strings.Contains(r.err, "assumed pictures of 3 channels") {
		t.Errorf("the log does not say what was assumed: %s", r.err)
	}
	mustCrema(t, "draw_net", "--rankdir=LR", "--model", file, dot)
	if text := readFile(t, dot); !strings.Contains(text, "rankdir=LR") || !strings.Contains(text, "965 parameters") {
		t.Errorf("got\n%s", text)
	}
	// A net whose shapes cannot be known is drawn without.
	strange := writeFile(t, dir, "strange.prototxt", trainOnly+`layer { name: "w" type: "Wonder" bottom: "ip" top: "w" }`)
	r = mustCrema(t, "draw_net", strange, svg)
	if text := readFile(t, svg); !strings.Contains(text, "Wonder") || strings.Contains(text, "×") || !strings.Contains(r.err, "drawn without shapes") {
		t.Errorf("an unknown type: log %s, drawing\n%s", r.err, text)
	}

	for _, c := range []struct {
		name   string
		args   []string
		status int
		words  []string
	}{
		{"no output", []string{file}, 2, []string{"MODEL OUTPUT_FILE"}},
		{"kind of file", []string{file, "n.pdf"}, 2, []string{"n.pdf", ".svg"}},
		{"direction", []string{file, svg, "-rankdir=UP"}, 2, []string{"-rankdir", "UP", "LR"}},
		{"missing model", []string{"none.prototxt", svg}, 1, []string{"none.prototxt"}},
		{"missing folder", []string{file, filepath.Join(dir, "none", "n.svg")}, 1, []string{"none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, crema(append([]string{"draw_net"}, c.args...)...), c.status, c.words...)
		})
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseLog(t *testing.T) {
	log := golden(t, "runs", "solver", "sgd_step", "log.txt")
	dir := filepath.Join(t.TempDir(), "made", "anew")
	mustCrema(t, "parse_log", log, dir, "--delimiter=;", "--verbose")
	for ext, want := range map[string]string{".train": "NumIters;Seconds;LearningRate;loss\r\n0.0;0.031823;0.006;2.5462\r\n", ".test": "NumIters;Seconds;LearningRate;acc1;acc5;loss\r\n"} {
		if text := readFile(t, filepath.Join(dir, "log.txt"+ext)); !strings.HasPrefix(text, want) {
			t.Errorf("%s begins with\n%s", ext, text[:min(200, len(text))])
		}
	}
	// A log of crema's own, twice: the second half is what a resumed run adds.
	own := mustCrema(t, "net_info", writeFile(t, t.TempDir(), "net.prototxt", trainOnly)).out
	notLog := writeFile(t, dir, "own.log", own)
	twice := writeFile(t, dir, "twice.log", readFile(t, log)+readFile(t, log))
	mustCrema(t, "parse_log", twice, dir)
	all := strings.Count(readFile(t, filepath.Join(dir, "twice.log.test")), "\n")
	mustCrema(t, "parse_log", twice, dir, "--drop_repeated")
	if once := strings.Count(readFile(t, filepath.Join(dir, "twice.log.test")), "\n"); all != 9 || once != 5 {
		t.Errorf("%d and %d lines of tests, want 9 and 5", all, once)
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		words  []string
	}{
		{"no log", nil, 2, []string{"LOG [OUTPUT_FOLDER]"}},
		{"delimiter", []string{log, dir, "--delimiter=ab"}, 2, []string{"-delimiter", "one character"}},
		{"missing", []string{"none.log", dir}, 1, []string{"none.log"}},
		{"no log of training", []string{notLog, dir}, 1, []string{notLog, "not the log of a training run"}},
		{"folder is a file", []string{log, notLog}, 1, []string{notLog}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, crema(append([]string{"parse_log"}, c.args...)...), c.status, c.words...)
		})
	}
}

// TestParseOwnLog: crema's own log of a run gives the same rows as the program's
// checks read from it.
func TestParseOwnLog(t *testing.T) {
	t.Chdir(golden(t, "runs"))
	dir := t.TempDir()
	r := mustCrema(t, trainArgs(dir, initWeights, "--set", "max_iter=3")...)
	log := writeFile(t, dir, "run.log", r.err)
	mustCrema(t, "parse_log", log, dir)
	rows := parseLog(t, r.err)
	lines := strings.Split(readFile(t, log+".train"), "\r\n")
	if len(lines) != 5 || len(rows["train loss"]) != 3 {
		t.Errorf("%d lines, of %d displays:\n%s", len(lines), len(rows["train loss"]), strings.Join(lines, "\n"))
	}
}

func TestPlotLog(t *testing.T) {
	log := golden(t, "runs", "solver", "sgd_step", "log.txt")
	dir := t.TempDir()
	svg := filepath.Join(dir, "p.svg")
	mustCrema(t, "plot_log", svg, log)
	text := readFile(t, svg)
	for _, want := range []string{"log.txt: loss", "accuracy", "learning rate", "test acc5", "iteration"} {
		if !strings.Contains(text, want) {
			t.Errorf("the picture lacks %q", want)
		}
	}
	other := writeFile(t, dir, "b/log.txt", readFile(t, log))
	mustCrema(t, "plot_log", svg, log, other, "--show=acc1", "--seconds", "--smooth=2", "--logy")
	if text := readFile(t, svg); !strings.Contains(text, other+" test acc1") || !strings.Contains(text, "seconds") || strings.Contains(text, "learning rate") {
		t.Error("two logs of one name: the picture does not tell them apart, or shows more than was asked for")
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		words  []string
	}{
		{"no log", []string{svg}, 2, []string{"OUTPUT_FILE LOG..."}},
		{"the log first", []string{log, svg}, 2, []string{log, ".svg or .png"}},
		{"missing log", []string{svg, "none.log"}, 1, []string{"none.log"}},
		{"smooth", []string{svg, log, "-smooth=0"}, 2, []string{"-smooth=0"}},
		{"unknown output", []string{svg, log, "-show=acc1,acc2"}, 1, []string{`"acc2"`, "acc5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, crema(append([]string{"plot_log"}, c.args...)...), c.status, c.words...)
		})
	}
}
