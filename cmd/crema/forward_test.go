package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/graph"
	"crema/tensor"
)

func readBlob(t *testing.T, path string) *tensor.Blob {
	t.Helper()
	b, err := graph.ReadBlobFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeBlob(t *testing.T, dir, name string, shape []int, values ...float32) string {
	t.Helper()
	b := tensor.New(shape...)
	if len(values) == 1 {
		for i := range b.Data() {
			b.Data()[i] = values[0]
		}
	} else if copy(b.Data(), values) != b.Count() {
		t.Fatalf("%d values for shape %v", len(values), shape)
	}
	p := filepath.Join(dir, name)
	if err := graph.WriteBlobFile(p, b, false); err != nil {
		t.Fatal(err)
	}
	return p
}

// maxErr is the largest difference relative to the largest magnitude wanted.
func maxErr(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var d, m float64
	for i := range want {
		m = max(m, math.Abs(float64(want[i])))
		e := math.Abs(float64(got[i]) - float64(want[i]))
		if !(e <= d) {
			d = e
		}
	}
	if m > 0 {
		d /= m
	}
	return d
}

// The recorded cases of several kinds through the command: inputs, weights,
// gradients of blobs and parameters, a net without backward pass.
func TestForwardGolden(t *testing.T) {
	for _, name := range []string{"conv_00", "ip_1", "relu_0", "softmaxloss_valid", "vgg_block", "accuracy_0"} {
		t.Run(name, func(t *testing.T) {
			dir, out := golden(t, "layers", name), t.TempDir()
			args := []string{"forward", "--model", filepath.Join(dir, "net.prototxt"), "--output", out, "--phase", "TRAIN", "--backward"}
			backward := true
			if name == "accuracy_0" {
				args, backward = append(args[:5], "--phase=TEST"), false
			}
			if w := filepath.Join(dir, "weights.caffemodel"); exists(w) {
				args = append(args, "--weights", w)
			}
			ins, err := filepath.Glob(filepath.Join(dir, "in", "*.binaryproto"))
			if err != nil || len(ins) == 0 {
				t.Fatalf("no inputs (%v)", err)
			}
			for _, f := range ins {
				args = append(args, "--input", strings.TrimSuffix(filepath.Base(f), ".binaryproto")+"="+f)
			}
			mustCrema(t, args...)
			compared := 0
			for sub, want := range map[string]string{"": "out", "params": "par"} {
				files, err := filepath.Glob(filepath.Join(dir, want, "*.binaryproto"))
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					w, g := readBlob(t, f), readBlob(t, filepath.Join(out, sub, filepath.Base(f)))
					if !slices.Equal(g.Shape(), w.Shape()) && name != "accuracy_0" {
						t.Errorf("%s: shape %v, want %v", filepath.Base(f), g.Shape(), w.Shape())
					}
					if e := maxErr(g.Data(), w.Data()); !(e <= 1e-4) {
						t.Errorf("%s: values off by %.2g", filepath.Base(f), e)
					}
					if !backward && g.HasDiff() {
						t.Errorf("%s has gradients without -backward", filepath.Base(f))
					}
					if e := maxErr(g.Diff(), w.Diff()); backward && !(e <= 1e-4) {
						t.Errorf("%s: gradients off by %.2g", filepath.Base(f), e)
					}
					compared++
				}
			}
			if compared == 0 {
				t.Error("nothing was compared")
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

const reluNet = `name: "n"
layer { name: "in" type: "Input" top: "in/x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "a/b" type: "InnerProduct" bottom: "in/x" top: "y"
  inner_product_param { num_output: 1 weight_filler { type: "constant" value: 1 } bias_filler { type: "constant" value: -2 } } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
`

// The net takes its input's shape; '/' becomes '_'; only -blobs are written.
func TestForwardInput(t *testing.T) {
	dir := t.TempDir()
	net := writeFile(t, dir, "net.prototxt", reluNet)
	in := writeBlob(t, dir, "in.binaryproto", []int{3, 2}, 1, 2, 0, 1, 4, 5)
	out := filepath.Join(dir, "deep", "out")
	r := mustCrema(t, "forward", "-model", net, "-input", "in/x="+in, "-iterations", "3", "-output", out)
	y := readBlob(t, filepath.Join(out, "y.binaryproto"))
	if !slices.Equal(y.Shape(), []int{3, 1}) || !slices.Equal(y.Data(), []float32{1, 0, 7}) {
		t.Errorf("y is %v of shape %v, want [1 0 7] of shape [3 1]", y.Data(), y.Shape())
	}
	if x := readBlob(t, filepath.Join(out, "in_x.binaryproto")); !slices.Equal(x.Data(), []float32{1, 2, 0, 1, 4, 5}) {
		t.Errorf("in_x is %v", x.Data())
	}
	for i, want := range [][]float32{{1, 1}, {-2}} {
		p := readBlob(t, filepath.Join(out, "params", "a_b_"+string(rune('0'+i))+".binaryproto"))
		if !slices.Equal(p.Data(), want) {
			t.Errorf("parameter %d is %v, want %v", i, p.Data(), want)
		}
	}
	if r.out != "" {
		t.Errorf("stdout has %q", r.out)
	}
	some := filepath.Join(dir, "some")
	mustCrema(t, "forward", "-model", net, "-input", "in/x="+in, "-blobs", "y", "-output", some)
	if exists(filepath.Join(some, "in_x.binaryproto")) || !exists(filepath.Join(some, "y.binaryproto")) {
		t.Error("-blobs y did not write y only")
	}
}

// An in-place layer on an input must not see its own output in the next pass.
func TestForwardInputIsSetAnew(t *testing.T) {
	dir := t.TempDir()
	net := writeFile(t, dir, "net.prototxt", `layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 } } }
layer { name: "relu" type: "ReLU" bottom: "x" top: "x" relu_param { negative_slope: 0.5 } }`)
	in := writeBlob(t, dir, "in.binaryproto", []int{2}, -8, 1)
	mustCrema(t, "forward", "-model", net, "-input", "x="+in, "-iterations", "3", "-output", dir)
	if x := readBlob(t, filepath.Join(dir, "x.binaryproto")); !slices.Equal(x.Data(), []float32{-4, 1}) {
		t.Errorf("x is %v, want [-4 1]", x.Data())
	}
}

// A net with its own data: with N iterations the last batch is written.
func TestForwardData(t *testing.T) {
	t.Chdir(golden(t, "runs"))
	out := t.TempDir()
	for i, want := range []string{"batch_0", "batch_1"} {
		mustCrema(t, "forward", "--model", "data/grey/net.prototxt", "--phase", "TEST", "--iterations", []string{"1", "2"}[i], "--output", out)
		for _, blob := range []string{"data", "label"} {
			w, g := readBlob(t, "data/grey/"+want+"_"+blob+".binaryproto"), readBlob(t, filepath.Join(out, blob+".binaryproto"))
			if e := maxErr(g.Data(), w.Data()); !(e <= 1e-6) {
				t.Errorf("%s, %s: off by %.2g", want, blob, e)
			}
		}
	}
}

func TestForwardSetAndDataRoot(t *testing.T) {
	dir := t.TempDir()
	runs := golden(t, "runs")
	net := writeFile(t, dir, "net.prototxt", `layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "/nowhere/digits_test_lmdb" batch_size: 7 backend: LMDB } }`)
	mustCrema(t, "forward", "--model", net, "--data-root", "/nowhere="+runs, "--set", "layer.d.data_param.batch_size=3", "--output", dir)
	if b := readBlob(t, filepath.Join(dir, "data.binaryproto")); !slices.Equal(b.Shape(), []int{3, 1, 28, 28}) {
		t.Errorf("data has shape %v, want 3×1×28×28", b.Shape())
	}
}

func TestForwardErrors(t *testing.T) {
	dir := t.TempDir()
	net := writeFile(t, dir, "net.prototxt", reluNet)
	broken := writeFile(t, dir, "broken.prototxt", "name: \"n\"\nlayer { nme: \"x\" }\n")
	badType := writeFile(t, dir, "bad_type.prototxt", "name: \"n\"\n\nlayer { name: \"a\" type: \"Convolutoin\" top: \"x\" }\n")
	clash := writeFile(t, dir, "clash.prototxt", `layer { name: "a" type: "Input" top: "a/b" top: "a_b" input_param { shape { dim: 1 } } }`)
	in := writeBlob(t, dir, "in.binaryproto", []int{1, 2}, 1)
	wrong := writeBlob(t, dir, "wrong.binaryproto", []int{1, 3}, 1)
	out := filepath.Join(dir, "out")
	for _, c := range []struct {
		name   string
		args   []string
		status int
		words  []string
	}{
		{"no model", []string{"-output", out}, 2, []string{"-model"}},
		{"no output", []string{"-model", net}, 2, []string{"-output"}},
		{"unknown flag", []string{"-modle", net}, 2, []string{"-modle"}},
		{"stray argument", []string{"-model", net, "-output", out, "stray"}, 2, []string{`"stray"`}},
		{"phase", []string{"-model", net, "-output", out, "-phase", "train"}, 2, []string{"-phase=train", "TRAIN or TEST"}},
		{"iterations", []string{"-model", net, "-output", out, "-iterations", "0"}, 2, []string{"-iterations=0"}},
		{"threads", []string{"-model", net, "-output", out, "-threads=-1"}, 2, []string{"-threads=-1"}},
		{"input syntax", []string{"-model", net, "-output", out, "-input", "x"}, 2, []string{"BLOB=FILE"}},
		{"input twice", []string{"-model", net, "-output", out, "-input", "x=a", "-input", "x=b"}, 2, []string{`"x"`, "twice"}},
		{"set syntax", []string{"-model", net, "-output", out, "-set", "max_iter"}, 2, []string{"max_iter"}},
		{"data root syntax", []string{"-model", net, "-output", out, "-data-root", "x"}, 2, []string{"data-root"}},
		{"missing file", []string{"-model", net + "x", "-output", out}, 1, []string{net + "x", "no such file"}},
		{"unknown field", []string{"-model", broken, "-output", out}, 1, []string{broken + ":2:9", "nme"}},
		{"unknown layer type", []string{"-model", badType, "-output", out}, 1, []string{badType + ":3:1", `"a"`, "Convolutoin", `did you mean "Convolution"`}},
		{"unknown blob", []string{"-model", net, "-output", out, "-input", "z=" + in}, 1, []string{`"z"`, "in/x"}},
		{"computed blob", []string{"-model", net, "-output", out, "-input", "y=" + in}, 1, []string{`"y"`, "in/x"}},
		{"missing input file", []string{"-model", net, "-output", out, "-input", "in/x=" + in + "x"}, 1, []string{in + "x"}},
		{"input that is no blob", []string{"-model", net, "-output", out, "-input", "in/x=" + net}, 1, []string{net}},
		{"shape that does not fit", []string{"-model", net, "-output", out, "-input", "in/x=" + wrong}, 1, []string{net, `"a/b"`}},
		{"unknown output blob", []string{"-model", net, "-output", out, "-blobs", "y,q"}, 1, []string{`"q"`, "in/x, y"}},
		{"one file for two", []string{"-model", clash, "-output", out}, 1, []string{`"a/b"`, `"a_b"`, "a_b.binaryproto"}},
		{"missing weights", []string{"-model", net, "-output", out, "-weights", "none.caffemodel"}, 1, []string{"none.caffemodel"}},
		{"set that matches nothing", []string{"-model", net, "-output", out, "-set", "layer.q.relu_param.negative_slope=1"}, 1, []string{"layer.q.relu_param.negative_slope=1"}},
		{"output under a file", []string{"-model", net, "-output", filepath.Join(net, "x")}, 1, []string{net}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, crema(append([]string{"forward"}, c.args...)...), c.status, c.words...)
		})
	}
}
