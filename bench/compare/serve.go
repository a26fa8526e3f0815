package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"crema/asm"
	"crema/conv"
	"crema/gemm"
	"crema/internal/hugepage"
)

// An operation is ready to run, with a note on how it is done.
type operation struct {
	run  func() error
	note func() string
}

// server answers requests with crema's own packages:
//
//	sgemm N|T N|T m n k
//	fc forward|data|update n in out
//	conv forward|data|weights n c h k blocked|nchw
//	vgg train|forward n
//	peak turns                 a loop of fused multiply-adds, on every thread
//	read floats                reading an array
//	rmw floats                 changing two arrays in place
type server struct {
	root     string
	operands [4][]float32
	plans    map[convShape]*conv.Plan
	vgg      vgg
}

// serve answers the requests of r until its end.
func serve(root string, r io.Reader, w io.Writer) (err error) {
	if err := asm.EnvError(); err != nil {
		return err
	}
	s := &server{root: root, plans: map[convShape]*conv.Plan{}}
	defer func() { err = errors.Join(err, s.vgg.close()) }()
	in := bufio.NewScanner(r)
	for in.Scan() {
		a, err := s.answer(in.Text())
		if err != nil {
			_, err = fmt.Fprintf(w, "error\t%s\n", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			_, err = fmt.Fprintf(w, "%.6g\t%s\n", a.seconds, a.note)
		}
		if err != nil {
			return err
		}
	}
	return in.Err()
}

func (s *server) answer(request string) (answer, error) {
	op, err := s.prepare(strings.Fields(request))
	if err != nil {
		return answer{}, err
	}
	// Not timed, as in peer.h.
	for begin := time.Now(); ; {
		if err := op.run(); err != nil {
			return answer{}, err
		}
		if time.Since(begin) >= 50*time.Millisecond {
			break
		}
	}
	sec, err := seconds(op.run)
	if err != nil {
		return answer{}, err
	}
	return answer{sec, op.note()}, nil
}

// seconds is the time of one run, measured as peer.h does.
func seconds(run func() error) (float64, error) {
	const enough = 10 * time.Millisecond
	once := func() (time.Duration, error) {
		t := time.Now()
		err := run()
		return time.Since(t), err
	}
	first, err := once()
	if err != nil || first > enough {
		return first.Seconds(), err
	}
	var all []time.Duration
	for spent := time.Duration(0); spent < enough; {
		d, err := once()
		if err != nil {
			return 0, err
		}
		all = append(all, d)
		spent += d
	}
	slices.Sort(all)
	return all[len(all)/2].Seconds(), nil
}

// floats returns n floats of operand number slot, as peer.h does, in memory as
// layers have it.
func (s *server) floats(slot, n int) []float32 {
	if len(s.operands[slot]) < n {
		s.operands[slot] = hugepage.Make(n)
		for i := range s.operands[slot] {
			s.operands[slot][i] = float32(i%9 - 4)
		}
	}
	return s.operands[slot][:n]
}

// numbers reads exactly n integers of 1 or more.
func numbers(args []string, n int) ([]int, error) {
	if len(args) != n {
		return nil, fmt.Errorf("want %d numbers, got %d", n, len(args))
	}
	v := make([]int, n)
	for i, a := range args {
		var err error
		if v[i], err = strconv.Atoi(a); err != nil || v[i] < 1 {
			return nil, fmt.Errorf("%q is not a positive number", a)
		}
	}
	return v, nil
}

func (s *server) prepare(f []string) (operation, error) {
	if len(f) < 2 {
		return operation{}, errors.New("request too short")
	}
	switch f[0] {
	case "sgemm":
		if len(f) != 6 {
			return operation{}, errors.New("want N|T N|T m n k")
		}
		v, err := numbers(f[3:], 3)
		if err != nil {
			return operation{}, err
		}
		return s.sgemm(f[1] == "T", f[2] == "T", v[0], v[1], v[2]), nil
	case "fc":
		v, err := numbers(f[2:], 3)
		if err != nil {
			return operation{}, err
		}
		return s.fc(f[1], v[0], v[1], v[2])
	case "conv":
		last := len(f) - 1
		if f[last] != "blocked" && f[last] != "nchw" {
			return operation{}, fmt.Errorf("unknown layout %q", f[last])
		}
		v, err := numbers(f[2:last], 4)
		if err != nil {
			return operation{}, err
		}
		return s.conv(f[1], convShape{v[0], v[1], v[2], v[3], f[last] == "blocked"})
	case "vgg":
		v, err := numbers(f[2:], 1)
		if err != nil {
			return operation{}, err
		}
		return s.vgg.prepare(s.root, f[1], v[0])
	}
	v, err := numbers(f[1:], 1)
	if err != nil {
		return operation{}, err
	}
	switch f[0] {
	case "peak":
		loop, _ := peakLoop(asm.ISA())
		if loop == nil {
			return operation{}, fmt.Errorf("no peak loop for %s", asm.ISA())
		}
		return plain(asm.ISA(), func() { onEach(func(int, int) { loop(v[0]) }) }), nil
	case "read":
		return s.read(v[0]), nil
	case "rmw":
		return s.rmw(v[0]), nil
	}
	return operation{}, fmt.Errorf("unknown request %q", f[0])
}

// plain is an operation that cannot fail.
func plain(note string, f func()) operation {
	return operation{func() error { f(); return nil }, func() string { return note }}
}

func (s *server) sgemm(ta, tb bool, m, n, k int) operation {
	a, b, c := s.floats(0, m*k), s.floats(1, k*n), s.floats(2, m*n)
	lda, ldb := k, n
	if ta {
		lda = m
	}
	if tb {
		ldb = k
	}
	return plain(asm.Sgemm().Name, func() {
		gemm.Sgemm(gemm.Transpose(ta), gemm.Transpose(tb), m, n, k, 1, a, lda, b, ldb, 0, c, n)
	})
}

// fc is a fully connected layer with weights out×in. The direction update is
// the gradient of the weights and the step of SGD with momentum and decay.
func (s *server) fc(direction string, n, in, out int) (operation, error) {
	x, y, w := s.floats(0, n*in), s.floats(2, n*out), s.floats(1, out*in)
	switch direction {
	case "forward":
		return plain("Sgemm", func() { gemm.Sgemm(gemm.NoTrans, gemm.Trans, n, out, in, 1, x, in, w, in, 0, y, out) }), nil
	case "data":
		return plain("Sgemm", func() { gemm.Sgemm(gemm.NoTrans, gemm.NoTrans, n, in, out, 1, y, out, w, in, 0, x, in) }), nil
	case "update":
		h := s.floats(3, out*in)
		step := gemm.Step{Rate: 1e-5, Decay: 5e-4, Momentum: 0.9}
		return plain("SGDOuter", func() { gemm.SGDOuter(step, out, in, n, y, out, x, in, h, w) }), nil
	}
	return operation{}, fmt.Errorf("unknown direction %q", direction)
}

// A convShape is a 3×3 convolution with padding 1 of n images of c×h×h pixels with
// k filters.
type convShape struct {
	n, c, h, k int
	blocked    bool
}

// plan returns a plan for activations in the layout that a net has them in
// there: blocked, but for the image itself, if there is an algorithm for it.
func (c convShape) plan() (*conv.Plan, error) {
	s := conv.Shape{N: c.n, C: c.c, H: c.h, W: c.h, K: c.k, R: 3, S: 3, PadH: 1, PadW: 1}
	if c.blocked {
		o := conv.Options{In: conv.Blocked, Out: conv.Blocked}
		if c.c%conv.Lanes != 0 {
			o.In = conv.NCHW
		}
		if p, err := conv.NewPlan(s, o); !errors.Is(err, conv.ErrLayout) {
			return p, err
		}
	}
	return conv.NewPlan(s, conv.Options{})
}

func (s *server) conv(direction string, c convShape) (operation, error) {
	p := s.plans[c]
	if p == nil {
		var err error
		if p, err = c.plan(); err != nil {
			return operation{}, err
		}
		s.plans[c] = p
	}
	n, h, k := c.n, c.h, c.k
	x, y, w := s.floats(0, n*c.c*h*h), s.floats(2, n*k*h*h), s.floats(1, k*c.c*9)
	bias := s.floats(3, k)
	switch direction {
	case "forward":
		return plain(p.Algorithm(conv.Forward), func() { p.Forward(x, w, bias, y) }), nil
	case "data":
		return plain(p.Algorithm(conv.BackwardData), func() { p.BackwardData(y, nil, w, x) }), nil
	case "weights":
		return plain(p.Algorithm(conv.BackwardWeights), func() { p.BackwardWeights(x, y, nil, w, bias) }), nil
	}
	return operation{}, fmt.Errorf("unknown direction %q", direction)
}

// read reads n floats once, each thread its part.
func (s *server) read(n int) operation {
	x := s.floats(1, n)
	return plain("Asum", func() {
		onEach(func(i, parts int) { asm.Asum(x[n*i/parts : n*(i+1)/parts]) })
	})
}

// rmw changes two arrays of n floats in place, a few kilobytes of one and of
// the other in turn, each thread its part.
func (s *server) rmw(n int) operation {
	x, y := s.floats(1, n), s.floats(3, n)
	return plain("Scal", func() {
		onEach(func(i, parts int) {
			const turn = 1 << 11
			for lo, end := n*i/parts, n*(i+1)/parts; lo < end; lo += turn {
				hi := min(lo+turn, end)
				asm.Scal(1, x[lo:hi])
				asm.Scal(1, y[lo:hi])
			}
		})
	})
}

// onEach runs f on every thread at once and waits.
func onEach(f func(i, parts int)) {
	n := threads()
	var wg sync.WaitGroup
	for i := 1; i < n; i++ {
		wg.Go(func() { f(i, n) })
	}
	f(0, n)
	wg.Wait()
}

// peakMemory is the largest resident size so far, as Linux tells it.
func peakMemory() string {
	b, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for line := range strings.Lines(string(b)) {
			var kib float64
			if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err == nil {
				return fmt.Sprintf("%.2f GiB", kib/(1<<20))
			}
		}
	}
	return "unknown"
}
