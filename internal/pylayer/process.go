package pylayer

import (
	"bufio"
	"context"
	"embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"crema/internal/glog"
)

// EnvPython is the environment variable that names the Python to use.
const EnvPython = "CREMA_PYTHON"

// defaultGrace is how long a process may take to end by itself.
const defaultGrace = 2 * time.Second

//go:embed python/boot.py python/server.py all:python/caffe
var files embed.FS

// Options say how to run layers. The zero value is the default.
type Options struct {
	// Dirs are folders in which modules are looked for after those of
	// PYTHONPATH and before Python's own.
	Dirs []string
	// Seed is what the modules random and numpy.random begin with.
	Seed uint64
	// Types is what caffe.layer_type_list returns.
	Types []string
	// Log receives what the layers print; nil drops it.
	Log *slog.Logger
	// Grace is how long the process may take to end by itself; 0 is two
	// seconds.
	Grace time.Duration
}

// A Process runs the layers of one net.
type Process struct {
	o      Options
	layers []*Layer
	err    error // why it cannot be used any more, or could not start

	python   string // the program, as it was found; "" before the start
	cmd      *exec.Cmd
	requests *os.File
	replies  *os.File
	life     *os.File // closed when the group has been killed
	in       *bufio.Reader
	out      []byte         // the frame that is being made
	head     [headSize]byte // of the last reply
	body     []byte         // of it
	ended    chan struct{}  // closed when the process has ended; cmd.ProcessState is set
	logged   chan struct{}  // closed when all output is in the log
	output   *os.File
	tail     tail
}

// New returns a process that starts when its first layer is loaded.
func New(o Options) *Process {
	if o.Log == nil {
		o.Log = glog.Discard
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	return &Process{o: o}
}

// find returns the program to start.
func find() (string, error) {
	const install = "install them (Debian, Ubuntu: apt-get install python3-numpy) or name another Python in " + EnvPython
	name := os.Getenv(EnvPython)
	if name == "" {
		path, err := exec.LookPath("python3")
		if err != nil {
			return "", fmt.Errorf("layers in Python need python3 with numpy, and PATH has no python3: %s", install)
		}
		return path, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s=%s: there is no such program: give the path of a python3 that has numpy", EnvPython, name)
	}
	return path, nil
}

// start starts the process and waits until it is ready for layers.
func (p *Process) start() (err error) {
	if p.cmd != nil || p.err != nil {
		return p.err
	}
	defer func() {
		if err != nil {
			p.err = err
		}
	}()
	if p.python, err = find(); err != nil {
		return err
	}
	memory, err := shared.open()
	if err != nil {
		return err
	}
	boot, err := files.ReadFile("python/boot.py")
	if err != nil {
		return err
	}
	var theirs [4]*os.File // requests, replies, life, output
	for i, ours := range []**os.File{&p.requests, &p.replies, &p.life, &p.output} {
		r, w, err := os.Pipe()
		if err != nil {
			closeFiles(append(theirs[:], p.requests, p.replies, p.life, p.output)...)
			return fmt.Errorf("pipes to Python: %w", err)
		}
		if i == 0 || i == 2 {
			*ours, theirs[i] = w, r
		} else {
			*ours, theirs[i] = r, w
		}
	}
	cmd := exec.Command(p.python, "-c", string(boot))
	cmd.ExtraFiles = []*os.File{theirs[0], theirs[1], memory, theirs[2]}
	cmd.Stdout, cmd.Stderr = theirs[3], theirs[3]
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		closeFiles(append(theirs[:], p.requests, p.replies, p.life, p.output)...)
		return fmt.Errorf("cannot start %s for Python layers: %w", p.python, err)
	}
	closeFiles(theirs[:]...)
	p.cmd = cmd
	p.in = bufio.NewReader(p.replies)
	p.ended, p.logged = make(chan struct{}), make(chan struct{})
	go p.log()
	go func() {
		_ = cmd.Wait() // the state says more
		// Processes that it forked may still have the pipe open: there will be
		// no end of file. What it wrote at last is there to be read.
		_ = p.replies.SetReadDeadline(time.Now().Add(patience))
		close(p.ended)
	}()
	return p.greet()
}

// patience is how long to wait for what an ended process has left in a pipe.
const patience = 50 * time.Millisecond

func closeFiles(fs ...*os.File) error {
	var errs []error
	for _, f := range fs {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// greet sends what the process begins with and takes in what it says of itself.
func (p *Process) greet() error {
	server, err := files.ReadFile("python/server.py")
	if err != nil {
		return err
	}
	caffe := map[string]string{}
	err = fs.WalkDir(files, "python/caffe", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(path)
		caffe[strings.TrimPrefix(path, "python/")] = string(text)
		return err
	})
	if err != nil {
		return err
	}
	d := doing{kind: kindInit}
	if _, err := p.requests.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(server)))); err != nil {
		return p.died(d)
	}
	if _, err := p.requests.Write(server); err != nil {
		return p.died(d)
	}
	body, err := json.Marshal(map[string]any{
		"files": caffe, "dirs": orEmpty(p.o.Dirs), "types": orEmpty(p.o.Types),
		"seed": p.o.Seed, "grace": p.o.Grace.Seconds(),
	})
	if err != nil {
		return err
	}
	p.begin(kindInit)
	p.out = append(p.out, body...)
	if err := p.send(d); err != nil {
		return err
	}
	kind, body, err := p.receive(d)
	if err != nil {
		return err
	}
	var said struct{ Python, Executable, Numpy, Missing string }
	if err := json.Unmarshal(body, &said); err != nil {
		return fmt.Errorf("%s: %w", p.python, err)
	}
	if kind != kindDone {
		where := "install it (" + said.Executable + " -m pip install numpy; Debian, Ubuntu: apt-get install python3-numpy for /usr/bin/python3) or name another Python in " + EnvPython
		if other := WithNumpy(p.python); other != "" {
			where = "set " + EnvPython + "=" + other + ", which has it, or install it (" + said.Executable + " -m pip install numpy)"
		}
		return fmt.Errorf("layers in Python need numpy, which %s (Python %s) cannot import (%s): %s", p.python, said.Python, said.Missing, where)
	}
	glog.Infof(p.o.Log, "Python layers run in %s (Python %s, numpy %s)", said.Executable, said.Python, said.Numpy)
	return nil
}

// WithNumpy returns a python3 that has numpy, but not the given one: of PATH, or
// the system's. It returns "" if there is none.
func WithNumpy(except string) string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin") {
		path, err := exec.LookPath(filepath.Join(dir, "python3"))
		if err != nil || path == except {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err = exec.CommandContext(ctx, path, "-c", "import numpy").Run()
		cancel()
		if err == nil {
			return path
		}
	}
	return ""
}

// orEmpty is s with an empty list for nil, which JSON writes as null.
func orEmpty(s []string) []string { return append([]string{}, s...) }

// died returns the error for a process that has ended, or closed its pipes, in the
// middle of a request. The process is of no use after it.
func (p *Process) died(d doing) error {
	if p.err != nil {
		return p.err
	}
	select {
	case <-p.ended:
	case <-time.After(p.o.Grace):
		return p.broken(errors.New("closed its pipes"), d)
	}
	return p.broken(fmt.Errorf("ended (%s)", p.cmd.ProcessState), d)
}

// broken ends the process for what it did in the middle of a request, and returns
// the error that says so.
func (p *Process) broken(what error, d doing) error {
	if p.err != nil {
		return p.err
	}
	_ = killGroup(p.cmd.Process)
	p.stopLog()
	p.err = fmt.Errorf("%s: %w while %s", p.python, what, d)
	if t := p.tail.String(); t != "" {
		p.err = fmt.Errorf("%w; its last output:\n%s", p.err, t)
	}
	return p.err
}

// Close ends the process, if it was started, and moves the blobs of its layers
// back to ordinary memory. Closing twice is no error.
func (p *Process) Close() error {
	for _, l := range p.layers {
		l.release()
	}
	p.layers = nil
	cmd := p.cmd
	if cmd == nil {
		p.err = errClosed
		return nil
	}
	p.cmd, p.err = nil, errClosed
	p.requests.Close() // it waits for the end of this pipe
	select {
	case <-p.ended:
	case <-time.After(p.o.Grace):
		glog.Warnf(p.o.Log, "%s has not ended after %v: it is killed", p.python, p.o.Grace)
	}
	// Also when it has ended by itself: what it started and left behind.
	_ = killGroup(cmd.Process)
	<-p.ended
	p.stopLog()
	return closeFiles(p.replies, p.life, p.output)
}

var errClosed = errors.New("the net's Python process was closed")
