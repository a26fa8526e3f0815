//go:build unix

package graph

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"crema/internal/pytest"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/encoding/prototext"
)

// pythonDir has the layers.
const pythonDir = "../layers/testdata/python"

// inPython is a layer of class c in testdata/python/examples.py, or in another
// module.
func inPython(name, class, bottoms, tops, param, rest string) string {
	s := "layer { type: 'Python' name: '" + name + "' "
	for _, b := range strings.Fields(bottoms) {
		s += "bottom: '" + b + "' "
	}
	for _, b := range strings.Fields(tops) {
		s += "top: '" + b + "' "
	}
	module, class, ok := strings.Cut(class, ".")
	if !ok {
		module, class = "examples", module
	}
	return s + "python_param { module: '" + module + "' layer: '" + class + "' param_str: '" + param + "' } " + rest + "}\n"
}

// TestPythonLayout checks that Python layers between blocked convolutions see
// NCHW, also in place, and that the results are those without passes.
func TestPythonLayout(t *testing.T) {
	pytest.Need(t)
	text := input("data", 2, 16, 6, 6) +
		rectified("a", "data", 32) + conv3("b", "a", 32) +
		inPython("p", "Double", "b", "p", "", "") +
		conv3("c", "p", 32) +
		inPython("q", "Double", "c", "c", "", "") +
		conv3("d", "c", 16) + rectified("e", "d", 16) +
		inPython("s", "EuclideanLoss", "e data", "s", "", "loss_weight: 2 ")
	o := off
	o.Dir = pythonDir
	want := build(t, text, caffepb.Phase_TRAIN, o)
	got := build(t, text, caffepb.Phase_TRAIN, Options{Dir: pythonDir})
	blocked := false
	for _, l := range got.Layers() {
		for _, b := range append(slices.Clone(l.Bottoms), l.Tops...) {
			blocked = blocked || b.Layout() == tensor.Blocked
			if l.Type == "Python" && b.Layout() != tensor.NCHW {
				t.Errorf("layer %s sees a blob that is %v", l.Name, b.Layout())
			}
		}
	}
	if !blocked {
		t.Log("this CPU's convolutions keep all blobs in NCHW")
	}
	for round := range 3 {
		var losses [2]float32
		for i, n := range []*Net{want, got} {
			for j := range n.Blob("data").Data() {
				n.Blob("data").Data()[j] = float32((j*7+round)%11) - 5
			}
			var err error
			if losses[i], err = n.Forward(); err != nil {
				t.Fatal(err)
			}
			n.ClearParamDiffs()
			if err := n.Backward(); err != nil {
				t.Fatal(err)
			}
		}
		if d := losses[1] - losses[0]; losses[0] == 0 || d*d > 1e-10*losses[0]*losses[0] {
			t.Errorf("loss %v, want %v", losses[1], losses[0])
		}
		for i, p := range got.Params() {
			w := want.Params()[i].Blob.Gradients()
			var scale float32
			for _, v := range w {
				scale = max(scale, v, -v)
			}
			for j, v := range p.Blob.Gradients() {
				if d := v - w[j]; max(d, -d) > 1e-4*scale {
					t.Fatalf("gradient of %s %s: %v, want %v", p.Layer, p.Name, v, w[j])
				}
			}
		}
	}
}

// TestPythonBackward checks which gradients a Python layer is asked for.
func TestPythonBackward(t *testing.T) {
	pytest.Need(t)
	down := func(rest string) string {
		return inPython("down", "checks.Down", "a b", "down", "", "loss_weight: 1 "+rest)
	}
	for name, c := range map[string]struct {
		text string
		a, b float32 // 0: backward does not touch it
	}{
		"nothing learns": {input("a", 2, 3) + input("b", 2, 3) + down(""), 0, 0},
		"force_backward": {"force_backward: true " + input("a", 2, 3) + input("b", 2, 3) + down(""), 11, 11},
		"one learns":     {input("x", 2, 3) + inPython("a", "Linear", "x", "a", "3", "") + input("b", 2, 3) + down(""), 11, 10},
		"not propagated": {input("x", 2, 3) + inPython("a", "Linear", "x", "a", "3", "") + inPython("b", "Linear", "x", "b", "3", "") + down("propagate_down: false propagate_down: true"), 10, 11},
		"lr_mult 0":      {input("x", 2, 3) + inPython("a", "Linear", "x", "a", "3", "param { lr_mult: 0 } param { lr_mult: 0 }") + inPython("b", "Linear", "x", "b", "3", "") + down(""), 10, 11},
		"without a loss": {input("x", 2, 3) + inPython("a", "Linear", "x", "a", "3", "") + input("b", 2, 3) + strings.Replace(down(""), "loss_weight: 1", "", 1), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := build(t, c.text, caffepb.Phase_TRAIN, Options{Dir: pythonDir})
			if _, err := n.Forward(); err != nil {
				t.Fatal(err)
			}
			if err := n.Backward(); err != nil {
				t.Fatal(err)
			}
			if a, b := n.Blob("a").Diff()[0], n.Blob("b").Diff()[0]; a != c.a || b != c.b {
				t.Errorf("gradients %v and %v, want %v and %v", a, b, c.a, c.b)
			}
		})
	}
}

// TestPythonShared shares parameters between two layers of a net, and between
// nets that each have a process.
func TestPythonShared(t *testing.T) {
	pytest.Need(t)
	const params = "param { name: 'w' } param { name: 'b' } "
	text := input("x", 2, 3) + inPython("one", "Linear", "x", "one", "3", params) + inPython("two", "Linear", "one", "two", "3", params) +
		inPython("sum", "EuclideanLoss", "two x", "sum", "", "loss_weight: 1 ")
	n := build(t, text, caffepb.Phase_TRAIN, Options{Dir: pythonDir})
	if len(n.Params()) != 2 || !n.Params()[0].Shared {
		t.Fatalf("%d parameters", len(n.Params()))
	}
	m := build(t, text, caffepb.Phase_TEST, Options{Dir: pythonDir, ShareParams: n})
	w := n.Params()[0].Blob
	for round := range 3 {
		copy(n.Blob("x").Data(), []float32{1, 2, 3, 4, 5, 6})
		copy(m.Blob("x").Data(), []float32{1, 2, 3, 4, 5, 6})
		clear(w.Data())
		for i := range 3 {
			w.Data()[4*i] = float32(round + 1)
		}
		clear(n.Params()[1].Blob.Data())
		n.ClearParamDiffs()
		loss, err := n.Forward()
		if err != nil {
			t.Fatal(err)
		}
		same, err := m.Forward()
		if err != nil {
			t.Fatal(err)
		}
		r := float32((round + 1) * (round + 1))
		if want := (r - 1) * (r - 1) * 91 / 4; loss != want || same != want {
			t.Errorf("losses %v and %v, want %v", loss, same, want)
		}
		if err := n.Backward(); err != nil {
			t.Fatal(err)
		}
		// Both layers add to it: twice x'x·(r-1)·(round+1) / 2.
		if got, want := w.Diff()[0], 17*(r-1)*float32(round+1); got != want {
			t.Errorf("gradient %v, want %v", got, want)
		}
	}
}

// TestPythonShapes runs layers behind one whose forward decides its top's shape.
func TestPythonShapes(t *testing.T) {
	pytest.Need(t)
	n := build(t, input("x", 6)+inPython("found", "Positive", "x", "found", "", "")+layer("ReLU", "relu", "found", "")+
		inPython("double", "Double", "relu", "double", "", ""), caffepb.Phase_TRAIN, Options{Dir: pythonDir})
	for _, k := range []int{2, 6, 0, 3} {
		for i := range 6 {
			n.Blob("x").Data()[i] = float32(k - i)
		}
		if _, err := n.Forward(); err != nil {
			t.Fatal(err)
		}
		out := n.Blob("double")
		if !out.HasShape(k) || k > 0 && out.ReadData()[0] != float32(2*k) {
			t.Errorf("%d values: %v of shape %v", k, out.ReadData(), out.Shape())
		}
	}
}

// atOnce is messages for several goroutines.
type atOnce struct {
	sync.Mutex
	messages
}

func (a *atOnce) Handle(ctx context.Context, r slog.Record) error {
	a.Lock()
	defer a.Unlock()
	return a.messages.Handle(ctx, r)
}

// TestPythonClose checks that a net's process ends with it, also when the net
// cannot be built.
func TestPythonClose(t *testing.T) {
	pytest.Need(t)
	for _, broken := range []bool{false, true} {
		var lines []string
		text := inPython("pid", "checks.Pid", "", "pid", "", "")
		if broken {
			text += inPython("no", "nowhere.No", "", "no", "", "")
		}
		np := &caffepb.NetParameter{}
		if err := prototext.Unmarshal([]byte(text), np); err != nil {
			t.Fatal(err)
		}
		n, err := New(np, Options{Dir: pythonDir, Log: slog.New(&atOnce{messages: messages{slog.DiscardHandler, &lines}})})
		if (err != nil) != broken {
			t.Fatal(err)
		}
		if err == nil {
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		} else if want := `layer "no" (Python): class No of Python module "nowhere": ModuleNotFoundError`; !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %s", err, want)
		}
		i := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, "this is process ") })
		if i < 0 {
			t.Fatalf("the layer has not told its process: %q", lines)
		}
		pid, err := strconv.Atoi(strings.TrimPrefix(lines[i], "this is process "))
		if err != nil {
			t.Fatal(err)
		}
		for syscall.Kill(pid, 0) == nil {
			time.Sleep(time.Millisecond)
		}
	}
}
