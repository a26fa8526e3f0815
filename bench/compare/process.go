package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// pause is how long a program that has answered may spin.
const pause = 60 * time.Millisecond

// A program is a running process that answers requests.
type program struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

// An answer is the time of a run and a note on how it was done.
type answer struct {
	seconds float64
	note    string
}

// steering are the beginnings of the environment variables that change how
// fast a program is.
var steering = []string{"OPENBLAS", "GOTO_", "OMP_", "GOMP_", "KMP_", "DNNL_", "ONEDNN_", "MKL", "ATEN_", "TORCH", "PYTORCH", "GLIBC_TUNABLES", "MALLOC_", "LD_PRELOAD", "CREMA_", "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG"}

// environment is the process's own without the variables that steer, and with
// those that set the threads and the instruction set.
func environment(threads int, isa string) []string {
	var env []string
vars:
	for _, v := range os.Environ() {
		for _, s := range steering {
			if strings.HasPrefix(v, s) {
				continue vars
			}
		}
		env = append(env, v)
	}
	n := strconv.Itoa(threads)
	env = append(env, "OMP_NUM_THREADS="+n, "OPENBLAS_NUM_THREADS="+n, "GOMAXPROCS="+n)
	if isa == "avx2" {
		env = append(env, "CREMA_ISA=avx2", "OPENBLAS_CORETYPE=HASWELL", "DNNL_MAX_CPU_ISA=AVX2", "ATEN_CPU_CAPABILITY=avx2")
	}
	return env
}

// start runs a program.
func start(name string, env []string, path string, args ...string) (*program, error) {
	p := &program{name: name, cmd: exec.Command(path, args...)}
	p.cmd.Env = env
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.out = bufio.NewScanner(out)
	return p, nil
}

// ask sends a request and waits for the answer.
func (p *program) ask(request string) (answer, error) {
	fail := func(err error) (answer, error) { return answer{}, fmt.Errorf("%s: %s: %w", p.name, request, err) }
	if _, err := fmt.Fprintln(p.in, request); err != nil {
		return fail(err)
	}
	if !p.out.Scan() {
		if err := p.out.Err(); err != nil {
			return fail(err)
		}
		return fail(io.ErrUnexpectedEOF)
	}
	first, note, _ := strings.Cut(p.out.Text(), "\t")
	if first == "error" {
		return fail(fmt.Errorf("%s", note))
	}
	s, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return fail(err)
	}
	return answer{s, note}, nil
}

// stop ends the program.
func (p *program) stop() error {
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// ours is the name of crema among the programs.
const ours = "crema"

// launcher starts programs.
type launcher struct {
	root string // of the checkout
	bin  string // where the C++ peers are built, and temporary files lie
	isa  string
}

// build compiles the C++ peers.
func (l *launcher) build() error {
	cmd := exec.Command(filepath.Join(l.root, "bench/peers/build.sh"), l.bin)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot build the peers (is bench/peers/install.sh done?): %w", err)
	}
	return nil
}

// A setting is a way to run PyTorch.
type setting struct {
	name, format string
	tuned        bool // malloc keeps memory, in huge pages
}

var settings = []setting{
	{"PyTorch NCHW", "contiguous", false},
	{"PyTorch NCHW, malloc tuned", "contiguous", true},
	{"PyTorch channels_last", "channels_last", false},
	{"PyTorch channels_last, malloc tuned", "channels_last", true},
}

// tunables make malloc keep its memory, in huge pages.
const tunables = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=8589934592"

// debianPython has Debian's packages, whatever other Python the path has.
const debianPython = "/usr/bin/python3"

// launch starts the programs of the given names, crema first.
func (l *launcher) launch(threads int, names []string) (ps []*program, err error) {
	defer func() {
		if err != nil {
			for _, p := range ps {
				p.stop()
			}
		}
	}()
	env := environment(threads, l.isa)
	add := func(p *program, err error) error {
		if err == nil {
			ps = append(ps, p)
		}
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := add(start(ours, append(env[:len(env):len(env)], "TMPDIR="+l.bin), self, "-serve", "-root", l.root)); err != nil {
		return ps, err
	}
	for _, name := range names {
		var err error
		switch name {
		case "OpenBLAS":
			err = add(start(name, env, filepath.Join(l.bin, "openblas")))
		case "oneDNN":
			err = add(start(name, env, filepath.Join(l.bin, "onednn")))
		default:
			for _, s := range settings {
				if s.name != name {
					continue
				}
				e := env
				if s.tuned {
					e = append(e[:len(e):len(e)], tunables)
				}
				err = add(start(name, e, debianPython, filepath.Join(l.root, "bench/peers/vgg.py"), s.format))
			}
		}
		if err != nil {
			return ps, err
		}
	}
	return ps, nil
}
