//go:build unix

package pylayer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"crema/internal/pylayer"
	"crema/internal/pytest"
	"crema/tensor"
)

// A record is a log that keeps its lines.
type record struct {
	mu    sync.Mutex
	lines []string
}

func (r *record) Enabled(context.Context, slog.Level) bool { return true }
func (r *record) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *record) WithGroup(string) slog.Handler            { return r }
func (r *record) Handle(_ context.Context, line slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line.Message)
	return nil
}

// process returns a process that finds this package's test layers, and its log.
func process(t *testing.T) (*pylayer.Process, *record) {
	t.Helper()
	pytest.Need(t)
	r := &record{}
	p := pylayer.New(pylayer.Options{Dirs: []string{"testdata"}, Log: slog.New(r), Grace: time.Second, Types: []string{"Python", "ReLU"}})
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, r
}

// load loads a layer of testdata/probes.py.
func load(t *testing.T, p *pylayer.Process, class, param string, bottom, top []*tensor.Blob) *pylayer.Layer {
	t.Helper()
	l, err := p.Load(pylayer.Spec{Name: "l", Module: "probes", Class: class, ParamStr: param}, bottom, top)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// do runs Python statements in a process.
func do(t *testing.T, p *pylayer.Process, statements string) error {
	t.Helper()
	return load(t, p, "Do", statements, nil, nil).Forward(true, nil, nil)
}

func blobs(b ...*tensor.Blob) []*tensor.Blob { return b }

func TestForwardBackward(t *testing.T) {
	p, _ := process(t)
	x, y := tensor.New(2, 3), tensor.New()
	l := load(t, p, "Double", "", blobs(x), blobs(y))
	for round, shape := range [][]int{{2, 3}, {2, 3}, {5}, {}, {0, 4}, {300, 400}, {2, 3}} {
		x.Reshape(shape...)
		for i := range x.Data() {
			x.Data()[i] = float32(i + round)
		}
		if err := l.Forward(true, blobs(x), blobs(y)); err != nil {
			t.Fatal(err)
		}
		if !y.SameShape(x) {
			t.Fatalf("top has shape %v, bottom %v", y.Shape(), x.Shape())
		}
		for i, v := range y.ReadData() {
			if want := 2 * float32(i+round); v != want {
				t.Fatalf("shape %v: value %d is %v, want %v", shape, i, v, want)
			}
			y.Diff()[i] = -v
		}
		if err := l.Backward(blobs(y), []bool{true}, blobs(x)); err != nil {
			t.Fatal(err)
		}
		for i, v := range x.Diff() {
			if want := -4 * float32(i+round); v != want {
				t.Fatalf("shape %v: gradient %d is %v, want %v", shape, i, v, want)
			}
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if x.ReadData()[5] != 11 || y.ReadData()[5] != 22 || x.Diff()[5] != -44 {
		t.Error("blobs have not kept their values when the process was closed")
	}
	if err := l.Forward(true, blobs(x), blobs(y)); err == nil {
		t.Error("a layer of a closed process runs")
	}
}

// TestTwoProcesses runs layers that share a parameter in two processes.
func TestTwoProcesses(t *testing.T) {
	p, _ := process(t)
	q, _ := process(t)
	x, y, z := tensor.New(1), tensor.New(), tensor.New()
	x.Data()[0] = 1
	a := load(t, p, "Scale", "", blobs(x), blobs(y))
	b, err := q.Load(pylayer.Spec{Module: "probes", Class: "Scale", Phase: 1}, blobs(x), blobs(z))
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Params()) != 1 || len(b.Params()) != 1 || a.Params()[0].Axes() != 0 {
		t.Fatalf("parameters %v and %v", a.Params(), b.Params())
	}
	w := a.Params()[0]
	b.Params()[0].ShareData(w)
	for i := range 4 {
		version := w.Version()
		if err := a.Forward(true, blobs(x), blobs(y)); err != nil {
			t.Fatal(err)
		}
		if w.Version() == version {
			t.Error("a layer in TRAIN may have changed its parameter, but its version is the same")
		}
		version = w.Version()
		if err := b.Forward(true, blobs(x), blobs(z)); err != nil {
			t.Fatal(err)
		}
		if w.Version() != version {
			t.Error("a layer in TEST counts as having changed its parameter")
		}
		if y.ReadData()[0] != float32(3+i) || z.ReadData()[0] != float32(4+i) {
			t.Errorf("round %d: %v and %v", i, y.ReadData(), z.ReadData())
		}
		if i == 2 {
			// The owner of the memory goes first.
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	w.Data()[0] = 10
	if err := b.Forward(true, blobs(x), blobs(z)); err != nil || z.ReadData()[0] != 10 {
		t.Errorf("after the other process was closed: %v, error %v", z.ReadData(), err)
	}
}

// TestAllocations checks that calls allocate nothing once all blobs are where
// they stay.
func TestAllocations(t *testing.T) {
	p, _ := process(t)
	x, y := tensor.New(2, 3, 4, 5), tensor.New()
	l := load(t, p, "Double", "", blobs(x), blobs(y))
	bottom, top, down := blobs(x), blobs(y), []bool{true}
	run := func() {
		if err := l.Forward(true, bottom, top); err != nil {
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

// TestOutput checks that what layers print is in the log, whoever prints it.
func TestOutput(t *testing.T) {
	p, r := process(t)
	long := strings.Repeat("x", 100000)
	err := do(t, p, `
print("to stdout", 1.5)
print("to stderr", file=sys.stderr)
print("\u00e4\ud800")
print("in", end=" ")
print("pieces")
subprocess.run(["echo", "from a process"])
os.write(2, b"from below\n")
print("x" * 100000)
print("without an end", end="")
`)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{"to stdout 1.5", "to stderr", `ä\ud800`, "in pieces", "from a process", "from below", long, "without an end"}
	var got []string
	for _, l := range r.lines[1:] {
		if n := len(got); n > 0 && got[n-1][0] == 'x' && l[0] == 'x' {
			got[n-1] += l
		} else {
			got = append(got, l)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log has %.200q", got)
	}
	if !regexp.MustCompile(`^Python layers run in .*python.* \(Python 3\.\d+\.\d+, numpy \d`).MatchString(r.lines[0]) {
		t.Errorf("first line of the log: %q", r.lines[0])
	}
}

// TestModules runs the checks of testdata/old.py and pictures.py. What needs a
// package that is not there says so.
func TestModules(t *testing.T) {
	for _, c := range []struct{ module, class, works, lacks string }{
		{"old", "Old", "yaml.load works", "no yaml"},
		{"pictures", "Pictures", "load_image works", "no pillow"},
	} {
		t.Run(c.module, func(t *testing.T) {
			p, r := process(t)
			param := filepath.Join(t.TempDir(), "picture.png")
			if _, err := p.Load(pylayer.Spec{Module: c.module, Class: c.class, ParamStr: param}, nil, nil); err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			switch {
			case slices.Contains(r.lines, c.lacks):
				t.Skip("all but one check: " + c.lacks)
			case !slices.Contains(r.lines, c.works):
				t.Errorf("the log has %q", r.lines)
			}
		})
	}
}

// TestDeath ends the process in the middle of a forward pass.
func TestDeath(t *testing.T) {
	for name, c := range map[string]struct{ statements, want string }{
		"killed":   {"print('last words', flush=True); os.kill(os.getpid(), signal.SIGKILL)", "ended (signal: killed) while Do.forward ran; its last output:\n  last words"},
		"exit":     {"os._exit(3)", "ended (exit status 3) while Do.forward ran"},
		"crash":    {"import ctypes; ctypes.string_at(0)", `probes.py", line 46 in forward`},
		"forked":   {"os.fork() and os._exit(4); time.sleep(1e6)", "ended (exit status 4) while Do.forward ran"},
		"closed":   {"os.close(4)", "ended (exit status 1) while Do.forward ran"},
		"scribble": {"os.write(4, b'what is this? ' * 10); time.sleep(1e6)", "sent what crema cannot read"},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := process(t)
			err := do(t, p, c.statements)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if again := do2(p); again == nil || again.Error() != err.Error() {
				t.Errorf("the next layer gets error %v", again)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// do2 tries to load a layer.
func do2(p *pylayer.Process) error {
	_, err := p.Load(pylayer.Spec{Module: "probes", Class: "Do"}, nil, nil)
	return err
}

// TestExit checks that exit handlers run, and that a process that does not end,
// or leaves others behind, is killed.
func TestExit(t *testing.T) {
	t.Run("handlers", func(t *testing.T) {
		p, r := process(t)
		load(t, p, "DoAtExit", "print('good bye')", nil, nil)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(r.lines, "good bye") || strings.Contains(strings.Join(r.lines, "\n"), "killed") {
			t.Errorf("the log has %q", r.lines)
		}
	})
	for name, load := range map[string]func(t *testing.T, p *pylayer.Process){
		"handler hangs": func(t *testing.T, p *pylayer.Process) {
			load(t, p, "DoAtExit", "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1e6)", nil, nil)
		},
		"thread": func(t *testing.T, p *pylayer.Process) { load(t, p, "Thread", "", nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			p, r := process(t)
			load(t, p)
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if last := r.lines[len(r.lines)-1]; !strings.Contains(last, "has not ended after 1s: it is killed") {
				t.Errorf("the last line of the log is %q", last)
			}
		})
	}
	t.Run("child", func(t *testing.T) {
		p, _ := process(t)
		pids := tensor.New()
		l := load(t, p, "Child", "", nil, blobs(pids))
		if err := l.Forward(true, nil, blobs(pids)); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids.ReadData() {
			gone(t, int(pid))
		}
	})
}

// gone waits until a process is no more, or only a zombie that nobody has reaped.
func gone(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return
		}
		if s, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(s), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

// asCrema is set in the environment of this test binary when it plays crema.
const asCrema = "PYLAYER_TEST_FILE"

// TestParentKilled kills the process that has started Python while a layer
// hangs: Python must end, too.
func TestParentKilled(t *testing.T) {
	if file := os.Getenv(asCrema); file != "" {
		p := pylayer.New(pylayer.Options{Dirs: []string{"testdata"}, Grace: time.Second})
		l, err := p.Load(pylayer.Spec{Module: "probes", Class: "Hang", ParamStr: file}, nil, nil)
		if err == nil {
			err = l.Forward(true, nil, nil)
		}
		t.Fatal(err)
	}
	pytest.Need(t)
	file := filepath.Join(t.TempDir(), "pid")
	cmd := exec.Command(os.Args[0], "-test.run=^TestParentKilled$")
	cmd.Env = append(os.Environ(), asCrema+"="+file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var pid int
	for i := 0; ; i++ {
		if s, err := os.ReadFile(file); err == nil {
			if pid, err = strconv.Atoi(string(s)); err != nil {
				t.Fatal(err)
			}
			break
		}
		if i == 3000 {
			t.Fatal("the layer does not start to hang")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
}

// TestNoPython checks the errors for a Python that is not there or of no use.
func TestNoPython(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ python, want string }{
		"absent":      {"/nonexistent", "CREMA_PYTHON=/nonexistent: there is no such program"},
		"other":       {script("other", "echo what do you want; exit 7"), "ended (exit status 7) while it started; its last output:\n  what do you want"},
		"not in PATH": {"", "PATH has no python3: install them"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(pylayer.EnvPython, c.python)
			if c.python == "" {
				t.Setenv("PATH", dir)
			}
			p := pylayer.New(pylayer.Options{})
			err := do2(p)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("no numpy", func(t *testing.T) {
		pytest.Need(t)
		good := os.Getenv(pylayer.EnvPython)
		// A module numpy of this folder is what an old or broken one is like.
		if err := os.WriteFile(filepath.Join(dir, "numpy.py"), []byte("raise ImportError('numpy is broken')"), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PYTHONPATH", dir)
		p := pylayer.New(pylayer.Options{})
		defer p.Close()
		err := do2(p)
		for _, want := range []string{"layers in Python need numpy, which " + good + " (Python 3.", "cannot import (numpy is broken)", "-m pip install numpy", "CREMA_PYTHON"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		}
	})
}
