//go:build unix

package layers

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"crema/internal/pylayer"
	"crema/internal/pytest"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// pythonContext is a testContext with a Python process that finds the modules of
// testdata/python.
func pythonContext(t testing.TB, phase caffepb.Phase) *Context {
	t.Helper()
	pytest.Need(t)
	ctx := testContext(phase)
	ctx.Dir = "testdata/python"
	ctx.Python = NewPython(ctx)
	t.Cleanup(func() {
		if err := ctx.Python.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx
}

// pythonLayer is the definition of a layer of class c in a module.
func pythonLayer(module, class, param, rest string) string {
	return fmt.Sprintf(`type: "Python" python_param { module: %q layer: %q param_str: %q } %s`, module, class, param, rest)
}

// TestPythonEuclideanLoss compares with the layer type.
func TestPythonEuclideanLoss(t *testing.T) {
	ctx := pythonContext(t, train)
	a, b := randomBlob(1, 4, 3, 2), randomBlob(2, 4, 3, 2)
	c, d := randomBlob(1, 4, 3, 2), randomBlob(2, 4, 3, 2)
	want, wantTop := newLayer(t, ctx, `type: "EuclideanLoss"`, blobs(a, b), 1)
	got, gotTop := newLayer(t, ctx, pythonLayer("examples", "EuclideanLoss", "", ""), blobs(c, d), 1)
	for range 3 {
		forward(t, want, blobs(a, b), wantTop)
		forward(t, got, blobs(c, d), gotTop)
		near(t, "loss", 1e-6, gotTop[0].ReadData(), wantTop[0].ReadData()...)
		wantTop[0].Diff()[0], gotTop[0].Diff()[0] = 0.5, 0.5
		backward(t, want, blobs(a, b), wantTop)
		backward(t, got, blobs(c, d), gotTop)
		near(t, "gradient", 1e-6, c.Diff(), a.Diff()...)
		near(t, "gradient", 1e-6, d.Diff(), b.Diff()...)
		for i := range a.Data() {
			a.Data()[i], c.Data()[i] = a.Data()[i]/2, c.Data()[i]/2
		}
	}
	gradCheck{}.run(t, got, blobs(c, d), gotTop)

	// Another shape.
	c.Reshape(7)
	d.Reshape(7, 1)
	if err := got.Reshape(blobs(c, d), gotTop); err != nil {
		t.Fatal(err)
	}
	gradCheck{}.run(t, got, blobs(c, d), gotTop)
}

// TestPythonLinear checks a layer with parameters, new ones and those of the
// definition.
func TestPythonLinear(t *testing.T) {
	ctx := pythonContext(t, train)
	x := randomBlob(3, 3, 2, 2)
	l, top := newLayer(t, ctx, pythonLayer("examples", "Linear", "5", ""), blobs(x), 1)
	if p := l.Params(); len(p) != 2 || !p[0].HasShape(5, 4) || !p[1].HasShape(5) {
		t.Fatalf("parameters %v", p)
	}
	wantShape(t, "top", top[0], 3, 5)
	gradCheck{}.run(t, l, blobs(x), top)

	given := `blobs { shape { dim: 2 dim: 4 } data: [1, 2, 3, 4, 5, 6, 7, 8] } blobs { shape { dim: 2 } data: [9, 10] }`
	x = blobOf(shape(1, 4), 1, 1, 0, 0)
	l, top = newLayer(t, ctx, pythonLayer("examples", "Linear", "", given), blobs(x), 1)
	forward(t, l, blobs(x), top)
	equal(t, "with given parameters", top[0].ReadData(), 1+2+9, 5+6+10)
}

// TestPythonData checks batches without bottoms, and that the seed decides them.
func TestPythonData(t *testing.T) {
	batches := func(seed uint64) []float32 {
		ctx := testContext(train)
		pytest.Need(t)
		ctx.Dir, ctx.Seed = "testdata/python", seed
		l, top := newLayer(t, ctx, pythonLayer("examples", "RandomLine", `{"batch": 8, "weights": [1, 2], "bias": 0.5}`, ""), nil, 2)
		defer func() {
			if err := l.(*python).Close(); err != nil { // its own process
				t.Error(err)
			}
		}()
		wantShape(t, "x", top[0], 8, 2)
		wantShape(t, "y", top[1], 8, 1)
		var all []float32
		for range 3 {
			forward(t, l, nil, top)
			x := top[0].ReadData()
			for i, y := range top[1].ReadData() {
				near(t, "y", 1e-6, []float32{y}, x[2*i]+2*x[2*i+1]+0.5)
			}
			all = append(all, x...)
		}
		if l.(Waiter).Waited() <= 0 {
			t.Error("nobody waited for the data")
		}
		return all
	}
	a, b, c := batches(1), batches(1), batches(2)
	equal(t, "with the same seed", b, a...)
	if a[0] == c[0] || a[0] == a[16] {
		t.Error("different seeds or batches give the same values")
	}
}

// TestPythonCalls checks how often methods are called: reshape once when the
// layer is set up and once before every forward, as in Caffe.
func TestPythonCalls(t *testing.T) {
	ctx := pythonContext(t, train)
	x := tensor.New(1)
	l, top := newLayer(t, ctx, pythonLayer("checks", "Calls", "", ""), blobs(x), 1)
	forward(t, l, blobs(x), top)
	equal(t, "calls", top[0].ReadData(), 1, 2, 1, 0)
	x.Reshape(2)
	if err := l.Reshape(blobs(x), top); err != nil {
		t.Fatal(err)
	}
	forward(t, l, blobs(x), top)
	equal(t, "calls", top[0].ReadData(), 1, 3, 2, 0)
	backward(t, l, blobs(x), top)
	forward(t, l, blobs(x), top)
	equal(t, "calls", top[0].ReadData(), 1, 4, 3, 1)
}

// TestPythonBlobs runs the checks that stand in checks.py.
func TestPythonBlobs(t *testing.T) {
	ctx := pythonContext(t, test)
	a, b, c := tensor.New(2, 3, 4, 5), tensor.New(7), tensor.New(1, 2, 3, 4, 5)
	for i := range a.Data() {
		a.Data()[i] = float32(i)
	}
	l, top := newLayer(t, ctx, pythonLayer("checks", "Blobs", "a 'param' ä\n", ""), blobs(a, b, c), 1)
	wantShape(t, "top", top[0], 2)
	top[0].Diff()[0], top[0].Diff()[1] = 3, 4
	forward(t, l, blobs(a, b, c), top)
	equal(t, "top", top[0].ReadData(), 6, 7)
	if a.ReadData()[0] != 5 {
		t.Error("what the layer wrote into a bottom is not there")
	}
	if p := l.Params(); len(p) != 2 || !p[0].HasShape(2, 3) || !p[1].HasShape(5) {
		t.Errorf("parameters %v", l.Params())
	}
}

// TestPythonInPlace runs a layer whose top is its bottom, and one whose bottom
// shares its memory with other blobs.
func TestPythonInPlace(t *testing.T) {
	ctx := pythonContext(t, train)
	x := blobOf(shape(2), 1, 2)
	typ := parseLayer(t, pythonLayer("examples", "Double", "", ""))
	l, err := newPython(typ, ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Setup(blobs(x), blobs(x)), l.Reshape(blobs(x), blobs(x))); err != nil {
		t.Fatal(err)
	}
	forward(t, l, blobs(x), blobs(x))
	equal(t, "in place", x.ReadData(), 2, 4)
	copy(x.Diff(), []float32{1, 3})
	backward(t, l, blobs(x), blobs(x))
	equal(t, "gradient in place", x.Diff(), 2, 6)

	flat := tensor.New(2, 1)
	flat.ShareData(x)
	forward(t, l, blobs(x), blobs(x))
	equal(t, "a blob that shares the memory", flat.ReadData(), 4, 8)
	other := blobOf(shape(2), 5, 6)
	x.ShareData(other)
	l2, top := newLayer(t, ctx, pythonLayer("examples", "Double", "", ""), blobs(x), 1)
	forward(t, l2, blobs(x), top)
	equal(t, "after it shares other memory", top[0].ReadData(), 10, 12)
	equal(t, "what it shared before", flat.ReadData(), 4, 8)
}

// TestPythonResizes checks a top that forward reshapes, also to nothing.
func TestPythonResizes(t *testing.T) {
	ctx := pythonContext(t, train)
	x := blobOf(shape(4), 1, -1, 2, 3)
	l, top := newLayer(t, ctx, pythonLayer("examples", "Positive", "", ""), blobs(x), 1)
	forward(t, l, blobs(x), top)
	wantShape(t, "top", top[0], 3)
	equal(t, "top", top[0].ReadData(), 1, 2, 3)
	copy(top[0].Diff(), []float32{4, 5, 6})
	backward(t, l, blobs(x), top)
	equal(t, "gradient", x.Diff(), 4, 0, 5, 6)
	clear(x.Data())
	forward(t, l, blobs(x), top)
	wantShape(t, "top", top[0], 0)
	x.Reshape(200000)
	copy(x.Data(), randomBlob(5, 200000).ReadData())
	forward(t, l, blobs(x), top)
	n := 0
	for _, v := range x.ReadData() {
		if v > 0 {
			if n < top[0].Count() && top[0].ReadData()[n] != v {
				t.Fatalf("value %d is %v, want %v", n, top[0].ReadData()[n], v)
			}
			n++
		}
	}
	wantShape(t, "top", top[0], n)
}

func TestPythonPropagateDown(t *testing.T) {
	ctx := pythonContext(t, train)
	a, b := tensor.New(1), tensor.New(1)
	l, top := newLayer(t, ctx, `type: "Python" python_param { module: "checks" layer: "Down" share_in_parallel: true }`, blobs(a, b), 1)
	if err := l.Backward(top, []bool{false, true}, blobs(a, b)); err != nil {
		t.Fatal(err)
	}
	equal(t, "propagate_down", []float32{a.Diff()[0], b.Diff()[0]}, 10, 11)
}

// TestPythonErrors checks the message of each kind of failure.
func TestPythonErrors(t *testing.T) {
	ctx := pythonContext(t, train)
	for name, c := range map[string]struct {
		layer string
		want  []string
	}{
		"no module":   {`type: "Python"`, []string{"python_param: module is not set"}},
		"no layer":    {`type: "Python" python_param { module: "checks" }`, []string{"python_param: layer is not set"}},
		"unknown":     {pythonLayer("nowhere", "X", "", ""), []string{`class X of Python module "nowhere": ModuleNotFoundError: No module named 'nowhere'`, "'nowhere' (own modules are looked for in testdata/python, .)"}},
		"file name":   {pythonLayer("checks.py", "X", "", ""), []string{"without its .py"}},
		"no class":    {pythonLayer("checks", "Missing", "", ""), []string{"module 'checks'", "checks.py) has no class 'Missing'"}},
		"other class": {pythonLayer("checks", "NoLayer", "", ""), []string{"checks.NoLayer is not a subclass of caffe.Layer"}},
		"function":    {pythonLayer("checks", "function", "", ""), []string{"checks.function is not a subclass of caffe.Layer"}},
		"init":        {pythonLayer("checks", "InInit", "", ""), []string{"ValueError: not made", `checks.py", line`, "in __init__"}},
		"setup":       {pythonLayer("checks", "Fails", "setup", ""), []string{"Fails.setup: KeyError: 'in setup'\n  File", "in fail\n    raise KeyError"}},
		"reshape":     {pythonLayer("checks", "Fails", "reshape", ""), []string{"Fails.reshape: KeyError: 'in reshape'\n  File"}},
		"forward":     {pythonLayer("checks", "Fails", "forward", ""), []string{"Fails.forward: KeyError: 'in forward'\n  File"}},
		"backward":    {pythonLayer("checks", "Fails", "backward", ""), []string{"Fails.backward: KeyError: 'in backward'\n  File"}},
		"bare":        {pythonLayer("checks", "Bare", "", ""), []string{"Bare.forward: NotImplementedError: the class has no method forward(self, bottom, top)"}},
		"syntax":      {pythonLayer("unfinished", "Unfinished", "", ""), []string{"SyntaxError: ", `unfinished.py", line 4`}},
		"Python 2":    {pythonLayer("python2", "Old", "", ""), []string{"SyntaxError: Missing parentheses in call to 'print'", "this is Python 2 code, and this is Python 3.", "2to3 -w", `python2.py", line 6`, `print "in Python 2"`}},
		"package":     {pythonLayer("imports", "X", "", ""), []string{"No module named 'a_package_that_nobody_has'", "-m pip install a_package_that_nobody_has", `imports.py", line 2`}},
		"pycaffe":     {pythonLayer("pycaffe", "X", "", ""), []string{"cannot import name 'a_thing'", "crema's module caffe has what layers need, not all of pycaffe"}},

		"parameter":  {pythonLayer("checks", "Runs", "self.blobs[0].reshape(3)", ""), []string{"Runs.forward changed the shape of parameter 0 from 2 to 3: that works in setup only"}},
		"calls":      {pythonLayer("checks", "Runs", "1 / 0", ""), []string{"Runs.forward: ZeroDivisionError: division by zero\n  ... 5 calls\n"}},
		"exit":       {pythonLayer("checks", "Runs", "raise SystemExit(4)", ""), []string{"Runs.forward: SystemExit: 4"}},
		"interrupt":  {pythonLayer("checks", "Runs", "import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(60)", ""), []string{"KeyboardInterrupt"}},
		"lines":      {pythonLayer("checks", "Runs", "raise ValueError('one\\ntwo')", ""), []string{"ValueError: one\ntwo\n  ..."}},
		"xrange":     {pythonLayer("checks", "Runs", "xrange(3)", ""), []string{"name 'xrange' is not defined", "write range for xrange"}},
		"iteritems":  {pythonLayer("checks", "Runs", "{}.iteritems()", ""), []string{"write items for iteritems"}},
		"cPickle":    {pythonLayer("checks", "Runs", "import cPickle", ""), []string{"write pickle for cPickle"}},
		"division":   {pythonLayer("checks", "Runs", "top[0].reshape(6 / 2)", ""), []string{"an integer, not 3.0", "write // where"}},
		"attribute":  {pythonLayer("checks", "Runs", "caffe.no_such_thing", ""), []string{"module 'caffe' has no attribute 'no_such_thing'", "not all of pycaffe"}},
		"submodule":  {pythonLayer("checks", "Runs", "import caffe.proto.caffe_pb2", ""), []string{"No module named 'caffe.proto'", "not all of pycaffe"}},
		"other name": {pythonLayer("checks", "Runs", "no_such_name", ""), []string{"NameError: name 'no_such_name' is not defined\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := tensor.New(1)
			l, top, err := tryLayer(t, ctx, c.layer, blobs(x), 1)
			if err == nil {
				if err = l.Forward(blobs(x), top); err == nil {
					err = l.Backward(top, []bool{true}, blobs(x))
				}
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error\n%v\nwants %q", err, want)
				}
			}
			for _, not := range []string{"<crema>", "importlib", "^^^^^^^^^^^^^^^^^^^^^^^"} {
				if strings.Contains(err.Error(), not) {
					t.Errorf("error\n%v\nshows %q", err, not)
				}
			}
			// The process is of use still.
			if _, _, err := tryLayer(t, ctx, pythonLayer("examples", "Double", "", ""), blobs(x), 1); err != nil {
				t.Errorf("the next layer: %v", err)
			}
		})
	}
	_, _, err := tryLayer(t, ctx, pythonLayer("checks", "Fails", "setup", ""), nil, 1)
	var e *pylayer.Error
	if !errors.As(err, &e) || e.Where != "Fails.setup" || e.Message != "KeyError: 'in setup'" || len(e.Frames) != 2 {
		t.Errorf("error %#v", err)
	}
}

// TestPythonAllocations checks that the steady state allocates nothing.
func TestPythonAllocations(t *testing.T) {
	ctx := pythonContext(t, train)
	x := randomBlob(1, 3, 4)
	l, top := newLayer(t, ctx, pythonLayer("examples", "Linear", "5", ""), blobs(x), 1)
	bottom, down := blobs(x), []bool{true}
	run := func() {
		if err := l.Forward(bottom, top); err != nil {
			t.Fatal(err)
		}
		if err := l.Backward(top, down, bottom); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkPythonForward runs a small layer: what a call costs.
func BenchmarkPythonForward(b *testing.B) {
	ctx := pythonContext(b, train)
	p := &caffepb.LayerParameter{PythonParam: &caffepb.PythonParameter{}}
	p.PythonParam.Module, p.PythonParam.Layer = new("examples"), new("Double")
	l, err := newPython(p, ctx)
	if err != nil {
		b.Fatal(err)
	}
	x, y := tensor.New(16, 10), tensor.New()
	if err := errors.Join(l.Setup(blobs(x), blobs(y)), l.Reshape(blobs(x), blobs(y))); err != nil {
		b.Fatal(err)
	}
	bottom, top := blobs(x), blobs(y)
	for b.Loop() {
		if err := l.Forward(bottom, top); err != nil {
			b.Fatal(err)
		}
	}
}
