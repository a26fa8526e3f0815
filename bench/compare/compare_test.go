package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"crema/asm"
)

// answers asks the server and returns what it says, one line a request.
func answers(t *testing.T, requests ...string) []string {
	t.Helper()
	var out strings.Builder
	if err := serve("../..", strings.NewReader(strings.Join(requests, "\n")), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(requests) {
		t.Fatalf("%d answers to %d requests", len(lines), len(requests))
	}
	return lines
}

func TestServe(t *testing.T) {
	requests := []string{
		"sgemm N T 5 7 9", "sgemm T N 5 7 9", "fc forward 6 32 48", "fc data 6 32 48", "fc update 6 32 48",
		"conv forward 1 3 8 4 nchw", "conv data 1 16 8 16 blocked", "conv weights 2 16 8 16 blocked", "conv forward 1 3 8 4 blocked",
		"read 1000", "rmw 1000",
	}
	if loop, _ := peakLoop(asm.ISA()); loop != nil {
		requests = append(requests, "peak 1000")
	}
	for i, line := range answers(t, requests...) {
		first, note, ok := strings.Cut(line, "\t")
		if s, err := strconv.ParseFloat(first, 64); err != nil || s <= 0 || !ok || note == "" {
			t.Errorf("%s: %q", requests[i], line)
		}
	}
}

func TestServeErrors(t *testing.T) {
	requests := []string{"", "sgemm", "sgemm N N 1 2", "sgemm N N 0 1 1", "sgemm N N x 1 1", "fc sideways 1 2 3", "conv up 1 2 3 4 nchw", "conv forward 1 2 3 nchw", "conv forward 1 2 3 4", "vgg train", "peak 1 2", "dance 1"}
	for i, line := range answers(t, requests...) {
		if !strings.HasPrefix(line, "error\t") {
			t.Errorf("%q: %q", requests[i], line)
		}
	}
}

// Medians are kept by the name of the task, so it must tell them apart.
func TestTaskNames(t *testing.T) {
	o := &options{full: true}
	for _, p := range []*part{parts["sgemm"], parts["fc"], parts["conv"]} {
		names := map[string]bool{}
		for _, task := range p.tasks(o) {
			if names[task.name] {
				t.Errorf("%s: two tasks are named %q", p.title, task.name)
			}
			names[task.name] = true
			if _, ok := task.request[ours]; !ok && task.def == "" {
				t.Errorf("%s: crema is asked nothing", task.name)
			}
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("OPENBLAS_CORETYPE", "HASWELL")
	t.Setenv("CREMA_ISA", "generic")
	t.Setenv("OMP_NUM_THREADS", "64")
	env := environment(2, "")
	for _, v := range env {
		if strings.HasPrefix(v, "OPENBLAS_CORETYPE") || strings.HasPrefix(v, "CREMA_ISA") || v == "OMP_NUM_THREADS=64" {
			t.Errorf("%s was not removed", v)
		}
	}
	for _, want := range []string{"OMP_NUM_THREADS=2", "OPENBLAS_NUM_THREADS=2", "GOMAXPROCS=2"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if env := environment(1, "avx2"); !slices.Contains(env, "OPENBLAS_CORETYPE=HASWELL") || !slices.Contains(env, "CREMA_ISA=avx2") {
		t.Error("avx2 does not hold the programs to AVX2")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.in, got, c.want)
		}
	}
}

// fake returns results in which crema takes 1 s, the first peer 2 s and the
// second 3 s for everything.
func fake(tasks []task, peers ...string) *results {
	r := &results{title: "test", threads: 1, programs: append([]string{ours}, peers...), tasks: tasks,
		seconds: map[string]map[string]float64{}, notes: map[string]map[string]string{}, peak: 1e12}
	for _, t := range tasks {
		r.seconds[t.name], r.notes[t.name] = map[string]float64{}, map[string]string{}
		for i, p := range r.programs {
			r.seconds[t.name][p], r.notes[t.name][p] = float64(i+1), "by "+p
		}
	}
	return r
}

func TestTables(t *testing.T) {
	o := &options{full: true}
	for name, want := range map[string][]string{
		"sgemm": {"squares 2.00, VGG-16's shapes 2.00.", "| geometric mean | 2.00 | 2.00 | 2.00 | 2.00 |", "| 2048 NN | 17 | 9 | 6 | 2 | 2.00 |"},
		"fc":    {"| fc6 read | 1000.00 |", "| fc7 read-modify-write | 1000.00 |", "| fc6 weights + update | 1000.00 | 2000.00 | 3000.00 | 2.00 | 1.6 | 100 |", "| fc7 forward |"},
		"conv":  {"| conv5_1 weights |", "by crema; by oneDNN", "ratios: 2.00, forward 2.00, data 2.00, weights 2.00.", "crema 38.000 s, oneDNN 76.000 s"},
		"vgg":   {"| crema | 1.000 | 1.000 | 1.000 | by crema |", "| fastest PyTorch over crema | 2.00 | 2.00 | 2.00 |"},
	} {
		p := parts[name]
		peers := []string{"OpenBLAS", "oneDNN"}
		switch name {
		case "conv":
			peers = []string{"oneDNN"}
		case "vgg":
			peers = []string{settings[0].name, settings[1].name}
		}
		r := fake(p.tasks(o), peers...)
		var b strings.Builder
		p.table(&b, o, r)
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: no %q in\n%s", name, w, b.String())
			}
		}
		if p.plot != nil {
			c, err := p.plot(r)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "img", name+".svg")
			if err := savePlot(c, file); err != nil {
				t.Fatal(err)
			}
			if svg, err := os.ReadFile(file); err != nil || !strings.Contains(string(svg), "FMA peak") {
				t.Errorf("%s: no plot with a peak in it: %v", name, err)
			}
		}
	}
}

func TestReplaceBlock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	const doc = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n"
	if err := os.WriteFile(file, []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again: the markers stay
		if err := replaceBlock(file, "x", "\nnew\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if want := "a\n<!-- bench:x -->\n\nnew\n\n<!-- /bench:x -->\nb\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if err := replaceBlock(file, "y", ""); err == nil || !strings.Contains(err.Error(), "bench:y") {
		t.Errorf("error for a missing block is %v", err)
	}
}

// TestDocument wants a block for every part in the document itself.
func TestDocument(t *testing.T) {
	for name := range parts {
		if err := checkBlock("../../docs/performance.md", name); err != nil {
			t.Error(err)
		}
	}
}

// TestMain lets the test binary be a program that answers, for TestAsk.
func TestMain(m *testing.M) {
	if os.Getenv("COMPARE_TEST_SERVE") != "" {
		if err := serve("../..", os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestAsk(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := start("self", append(os.Environ(), "COMPARE_TEST_SERVE=1"), self)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := p.ask("sgemm N N 3 4 5"); err != nil || a.seconds <= 0 || a.note != asm.Sgemm().Name {
		t.Errorf("answer %v, %v", a, err)
	}
	if _, err := p.ask("dance 1"); err == nil || !strings.Contains(err.Error(), "unknown request") {
		t.Errorf("error %v", err)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if _, err := p.ask("read 10"); err == nil {
		t.Error("a program that ended answers")
	}
}
