package conv

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"crema/asm"
	"crema/internal/par"
)

// A Shape describes the convolution of N images of C×H×W pixels with K filters
// of (C/Group)×R×S. Strides, dilations and Group of 0 mean 1.
type Shape struct {
	N, C, H, W           int // images, input channels, height, width
	K, R, S              int // filters (output channels), their height and width
	StrideH, StrideW     int
	PadH, PadW           int // zeros on each side
	DilationH, DilationW int
	Group                int // channels and filters are cut into groups, each convolved by itself
}

// A Direction is one of the three passes over a convolution.
type Direction int

// The passes: output from input, input gradient and weight gradient from
// output gradient.
const (
	Forward Direction = iota
	BackwardData
	BackwardWeights
	numDirections
)

func (d Direction) String() string {
	return [...]string{"forward", "backward-data", "backward-weights"}[d]
}

// Options tune a plan; the zero value is the default.
type Options struct {
	// Algorithm forces the algorithm of this name in every direction that it
	// can do. Empty: what CREMA_CONV says, or the best.
	Algorithm string
	// Threads is the number of workers; 0 is GOMAXPROCS.
	Threads int
}

// envVar is the environment variable that forces an algorithm.
const envVar = "CREMA_CONV"

// ErrShape is wrapped by the errors of NewPlan about shapes.
var ErrShape = errors.New("invalid convolution shape")

// A Plan computes convolutions of one shape. It may be used from several
// goroutines at once.
type Plan struct {
	s       Shape
	oh, ow  int
	threads int
	algos   [numDirections]*algorithm
}

// NewPlan checks the shape and chooses algorithms. The output is
// (H+2·PadH−(DilationH·(R−1)+1))/StrideH+1 pixels high, rounded down, and
// likewise wide, as in Caffe (conv_layer.cpp); it must have at least one pixel.
func NewPlan(s Shape, opts Options) (*Plan, error) {
	for _, v := range []*int{&s.StrideH, &s.StrideW, &s.DilationH, &s.DilationW, &s.Group} {
		if *v == 0 {
			*v = 1
		}
	}
	for _, f := range []struct {
		name     string
		v, least int
	}{
		{"N", s.N, 0}, {"C", s.C, 1}, {"H", s.H, 1}, {"W", s.W, 1}, {"K", s.K, 1}, {"R", s.R, 1}, {"S", s.S, 1},
		{"StrideH", s.StrideH, 1}, {"StrideW", s.StrideW, 1}, {"PadH", s.PadH, 0}, {"PadW", s.PadW, 0},
		{"DilationH", s.DilationH, 1}, {"DilationW", s.DilationW, 1}, {"Group", s.Group, 1},
	} {
		if f.v < f.least || f.v > math.MaxInt32 {
			return nil, fmt.Errorf("conv: %w: %s is %d", ErrShape, f.name, f.v)
		}
	}
	if s.C%s.Group != 0 || s.K%s.Group != 0 {
		return nil, fmt.Errorf("conv: %w: %d channels and %d filters do not divide into %d groups", ErrShape, s.C, s.K, s.Group)
	}
	extentH, extentW := s.DilationH*(s.R-1)+1, s.DilationW*(s.S-1)+1
	if s.H+2*s.PadH < extentH || s.W+2*s.PadW < extentW {
		return nil, fmt.Errorf("conv: %w: a filter of %d×%d pixels does not fit in %d×%d with padding", ErrShape, extentH, extentW, s.H+2*s.PadH, s.W+2*s.PadW)
	}
	p := &Plan{
		s:       s,
		oh:      (s.H+2*s.PadH-extentH)/s.StrideH + 1,
		ow:      (s.W+2*s.PadW-extentW)/s.StrideW + 1,
		threads: opts.Threads,
	}
	for _, dims := range [][]int{{s.N, s.C, s.H, s.W}, {s.N, s.K, p.oh, p.ow}, {s.K, s.C / s.Group, s.R, s.S}} {
		n := 1
		for _, d := range dims {
			if d > 0 && n > math.MaxInt32/d {
				return nil, fmt.Errorf("conv: %w: more than %d elements", ErrShape, math.MaxInt32)
			}
			n *= d
		}
	}
	name, from := opts.Algorithm, "Options.Algorithm"
	if name == "" {
		name, from = os.Getenv(envVar), envVar
	}
	if err := p.choose(name); err != nil {
		return nil, fmt.Errorf("conv: %s: %w", from, err)
	}
	return p, nil
}

// choose fills in the algorithm of each direction.
func (p *Plan) choose(forced string) error {
	known := forced == ""
	var names []string
	for i := range algorithms {
		known = known || algorithms[i].name == forced
		names = append(names, algorithms[i].name)
	}
	if !known {
		return fmt.Errorf("unknown algorithm %q (known: %s)", forced, strings.Join(names, ", "))
	}
	for d := range numDirections {
		for i := range algorithms {
			a := &algorithms[i]
			if !a.accepts(&p.s, d) {
				continue
			}
			if a.name == forced || p.algos[d] == nil && (a.pays == nil || a.pays(&p.s, d)) {
				p.algos[d] = a
			}
		}
	}
	return nil
}

// OutH returns the height of the output.
func (p *Plan) OutH() int { return p.oh }

// OutW returns the width of the output.
func (p *Plan) OutW() int { return p.ow }

// Algorithm returns the name of the algorithm of a direction.
func (p *Plan) Algorithm(d Direction) string { return p.algos[d].name }

// Shape returns the shape, with the defaults filled in.
func (p *Plan) Shape() Shape { return p.s }

func (p *Plan) inputSize() int  { return p.s.N * p.s.C * p.s.H * p.s.W }
func (p *Plan) outputSize() int { return p.s.N * p.s.K * p.oh * p.ow }
func (p *Plan) weightSize() int { return p.s.K * (p.s.C / p.s.Group) * p.s.R * p.s.S }

const errShort = "conv: slice too short"

// Forward computes y (N×K×OutH×OutW) from x (N×C×H×W), w (K×(C/Group)×R×S) and
// bias (K, or nil for none). y must not overlap the others. It panics if a
// slice is too short.
func (p *Plan) Forward(x, w, bias, y []float32) {
	if len(x) < p.inputSize() || len(w) < p.weightSize() || len(y) < p.outputSize() || bias != nil && len(bias) < p.s.K {
		panic(errShort)
	}
	p.run(Forward, x, w, bias, y)
}

// BackwardData computes the gradient dx (N×C×H×W) of the input from that of the
// output, dy (N×K×OutH×OutW), and w; dx is overwritten.
func (p *Plan) BackwardData(dy, w, dx []float32) {
	if len(dx) < p.inputSize() || len(w) < p.weightSize() || len(dy) < p.outputSize() {
		panic(errShort)
	}
	p.run(BackwardData, dy, w, nil, dx)
}

// BackwardWeights adds the gradient of the weights to dw (K×(C/Group)×R×S).
func (p *Plan) BackwardWeights(x, dy, dw []float32) {
	if len(x) < p.inputSize() || len(dw) < p.weightSize() || len(dy) < p.outputSize() {
		panic(errShort)
	}
	p.run(BackwardWeights, x, dy, nil, dw)
}

// BackwardBias adds the gradient of the biases to db (K): the sums of dy over
// images and pixels.
func (p *Plan) BackwardBias(dy, db []float32) {
	if len(db) < p.s.K || len(dy) < p.outputSize() {
		panic(errShort)
	}
	j := biasJobs.get()
	*j = biasJob{p, dy, db}
	par.Run(p.threads, p.s.K, j)
	*j = biasJob{}
	biasJobs.put(j)
}

// biasJob sums the gradient of one filter per task.
type biasJob struct {
	p      *Plan
	dy, db []float32
}

var biasJobs freeList[biasJob]

func (j *biasJob) Do(k int) {
	pix := j.p.oh * j.p.ow
	var t float64
	for n := range j.p.s.N {
		t += asm.Sum(j.dy[(n*j.p.s.K+k)*pix:][:pix])
	}
	j.db[k] += float32(t)
}
