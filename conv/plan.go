package conv

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"crema/asm"
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

// A Layout is an order of the elements of activations.
type Layout uint8

const (
	// NCHW is N×C×H×W.
	NCHW Layout = iota
	// Blocked is N×(C/16)×H×W×16: a pixel's next 16 channels are neighbours,
	// so that they are one or two vectors. C must be a multiple of 16; the
	// number of elements is that of NCHW.
	Blocked
)

// Lanes is the number of channels that Blocked keeps together.
const Lanes = asm.WinoLanes

func (l Layout) String() string { return [...]string{"NCHW", "blocked"}[l] }

// Options tune a plan; the zero value is the default.
type Options struct {
	// Algorithm forces the algorithm of this name in every direction that it
	// can do. Empty: what CREMA_CONV says, or the best.
	Algorithm string
	// Threads is the number of workers; 0 is GOMAXPROCS.
	Threads int
	// In is the layout of x and dx, Out that of y and dy. Weights and biases
	// have only one.
	In, Out Layout
	// ReLU says that the convolution is followed by max(0, ·): Forward computes
	// y = max(0, convolution + bias), and the gradients are taken from dy where
	// y > 0 and from 0 elsewhere.
	ReLU bool
}

// envVar is the environment variable that forces an algorithm.
const envVar = "CREMA_CONV"

// ErrShape is wrapped by the errors of NewPlan about shapes.
var ErrShape = errors.New("invalid convolution shape")

// ErrLayout is wrapped by the errors of NewPlan about layouts: the convolution
// must be done on NCHW arrays.
var ErrLayout = errors.New("no convolution in these layouts")

// A Plan computes convolutions of one shape. It may be used from several
// goroutines at once.
type Plan struct {
	s       Shape // with more than two spatial axes: see NewPlanND
	oh, ow  int
	rows    []int32 // for these, of forwardColumns
	turned  []int32 // and of dataColumns
	threads int
	in, out Layout
	relu    bool
	algos   [numDirections]*algorithm
	tally   *tally // if set, work is counted and not done
}

// NewPlan checks the shape and chooses algorithms. The output is
// (H+2·PadH−(DilationH·(R−1)+1))/StrideH+1 pixels high, rounded down, and
// likewise wide, as in Caffe (conv_layer.cpp); it must have at least one pixel.
//
// The error wraps ErrShape for an impossible shape and ErrLayout if one of the
// layouts is Blocked and the convolution cannot be done so, is not worth it
// forward, or is to be done by an algorithm that only takes NCHW. On NCHW
// arrays every convolution can be done.
func NewPlan(s Shape, opts Options) (*Plan, error) {
	h, oh, err := axis{s.H, s.R, s.StrideH, s.PadH, s.DilationH}.check("H", "R", "StrideH", "PadH", "DilationH")
	if err != nil {
		return nil, err
	}
	w, ow, err := axis{s.W, s.S, s.StrideW, s.PadW, s.DilationW}.check("W", "S", "StrideW", "PadW", "DilationW")
	if err != nil {
		return nil, err
	}
	s.StrideH, s.StrideW, s.DilationH, s.DilationW = h.stride, w.stride, h.dilation, w.dilation
	return newPlan(Plan{s: s, oh: oh, ow: ow}, opts)
}

// newPlan makes a plan of one in which the spatial axes are settled.
func newPlan(p Plan, opts Options) (*Plan, error) {
	s := &p.s
	if s.Group == 0 {
		s.Group = 1
	}
	for _, f := range []struct {
		name     string
		v, least int
	}{{"N", s.N, 0}, {"C", s.C, 1}, {"K", s.K, 1}, {"Group", s.Group, 1}} {
		if err := inRange(f.name, f.v, f.least); err != nil {
			return nil, err
		}
	}
	if s.C%s.Group != 0 || s.K%s.Group != 0 {
		return nil, fmt.Errorf("conv: %w: %d channels and %d filters do not divide into %d groups", ErrShape, s.C, s.K, s.Group)
	}
	for _, dims := range [][]int{{s.N, s.C, s.H, s.W}, {s.N, s.K, p.oh, p.ow}, {s.K, s.C / s.Group, s.R, s.S}} {
		if !countable(dims...) {
			return nil, fmt.Errorf("conv: %w: more than %d elements", ErrShape, math.MaxInt32)
		}
	}
	p.threads, p.in, p.out, p.relu = opts.Threads, opts.In, opts.Out, opts.ReLU
	name, from := opts.Algorithm, "Options.Algorithm"
	if name == "" {
		name, from = os.Getenv(envVar), envVar
	}
	if err := p.choose(name); err != nil {
		return nil, fmt.Errorf("conv: %s: %w", from, err)
	}
	return &p, nil
}

// countable reports whether an array of these dimensions has at most
// math.MaxInt32 elements.
func countable(dims ...int) bool {
	n := 1
	for _, d := range dims {
		if d > 0 && n > math.MaxInt32/d {
			return false
		}
		n *= d
	}
	return true
}

func inRange(name string, v, least int) error {
	if v < least || v > math.MaxInt32 {
		return fmt.Errorf("conv: %w: %s is %d", ErrShape, name, v)
	}
	return nil
}

// An axis is the sizes of input and filters along a spatial axis.
type axis struct{ in, kernel, stride, pad, dilation int }

// check returns the axis with its defaults filled in, and how long the output
// is. The names are those of the sizes, for errors.
func (a axis) check(in, kernel, stride, pad, dilation string) (axis, int, error) {
	for _, v := range []*int{&a.stride, &a.dilation} {
		if *v == 0 {
			*v = 1
		}
	}
	for _, f := range []struct {
		name     string
		v, least int
	}{{in, a.in, 1}, {kernel, a.kernel, 1}, {stride, a.stride, 1}, {pad, a.pad, 0}, {dilation, a.dilation, 1}} {
		if err := inRange(f.name, f.v, f.least); err != nil {
			return a, 0, err
		}
	}
	extent, size := a.dilation*(a.kernel-1)+1, a.in+2*a.pad
	if size < extent {
		return a, 0, fmt.Errorf("conv: %w: a filter that spans %d pixels along %s does not fit in %d with padding", ErrShape, extent, in, size)
	}
	return a, (size-extent)/a.stride + 1, nil
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
		var able *algorithm // though it does not pay
		for i := range algorithms {
			a := &algorithms[i]
			if !a.accepts(&p.s, d) || p.rows != nil && !a.anyAxes {
				continue
			}
			fits := a.fits(p, d)
			if a.name == forced {
				if !fits {
					return p.layoutError(d)
				}
				p.algos[d] = a
				break
			}
			pays := a.pays == nil || a.pays(&p.s, d)
			if fits && pays && p.algos[d] == nil {
				p.algos[d] = a
			}
			if fits && able == nil {
				able = a
			}
		}
		if p.algos[d] == nil && d != Forward {
			p.algos[d] = able
		}
		if p.algos[d] == nil {
			return p.layoutError(d)
		}
	}
	return nil
}

func (p *Plan) layoutError(d Direction) error {
	return fmt.Errorf("%w: %v from %v to %v, %d to %d channels", ErrLayout, d, p.in, p.out, p.s.C, p.s.K)
}

// OutH returns the height of the output: the product of all its spatial axes but
// the last, whose size is OutW.
func (p *Plan) OutH() int { return p.oh }

// OutW returns the width of the output.
func (p *Plan) OutW() int { return p.ow }

// Algorithm returns the name of the algorithm of a direction.
func (p *Plan) Algorithm(d Direction) string { return p.algos[d].name }

// Shape returns the shape, with the defaults filled in; with more than two
// spatial axes, one that stands for it: see NewPlanND.
func (p *Plan) Shape() Shape { return p.s }

func (p *Plan) inputSize() int  { return p.s.N * p.s.C * p.s.H * p.s.W }
func (p *Plan) outputSize() int { return p.s.N * p.s.K * p.oh * p.ow }
func (p *Plan) weightSize() int { return p.s.K * (p.s.C / p.s.Group) * p.s.R * p.s.S }

const errShort = "conv: slice too short"

// Forward computes y (N×K×OutH×OutW) from x (N×C×H×W), w (K×(C/Group)×R×S) and
// bias (K, or nil for none). y must not overlap the others. It panics if a
// slice is too short, as all methods do.
func (p *Plan) Forward(x, w, bias, y []float32) {
	p.checkForward(x, w, bias, y)
	p.run(Forward, args{in: x, with: w, bias: bias, out: y})
}

func (p *Plan) checkForward(x, w, bias, y []float32) {
	if len(x) < p.inputSize() || len(w) < p.weightSize() || len(y) < p.outputSize() || bias != nil && len(bias) < p.s.K {
		panic(errShort)
	}
}

// Filters are weights in the form in which a plan's Forward uses them.
type Filters struct {
	plan *Plan
	isa  string // that u was made for
	w    []float32
	u    []float32
}

// TransformFilters prepares w (K×(C/Group)×R×S) for ForwardFilters, in f or, if
// that is nil, in new memory. f refers to w. When w changes, or another
// instruction set is selected, it must be called again.
//
// Nothing is kept but w where the algorithm transforms no filters, or transforms
// them in less time than it takes to read what would be kept.
func (p *Plan) TransformFilters(w []float32, f *Filters) *Filters {
	if len(w) < p.weightSize() {
		panic(errShort)
	}
	if f == nil {
		f = &Filters{}
	}
	f.plan, f.isa, f.w = p, asm.ISA(), w
	if t := p.algos[Forward].filters; t != nil {
		f.u = t(p, w, f.u)
	}
	return f
}

// ForwardFilters is Forward with filters that were prepared by
// TransformFilters of the same plan; the result has the same bits.
func (p *Plan) ForwardFilters(x []float32, f *Filters, bias, y []float32) {
	if f.plan != p || f.isa != asm.ISA() {
		panic("conv: filters of another plan")
	}
	p.checkForward(x, f.w, bias, y)
	p.run(Forward, args{in: x, with: f.w, bias: bias, out: y, u: f.u})
}

// BackwardData computes the gradient dx (N×C×H×W) of the input from that of the
// output, dy (N×K×OutH×OutW), and w; dx is overwritten. y is what Forward
// computed, and is only read if Options.ReLU is set; otherwise it may be nil.
// dx must not overlap the others.
func (p *Plan) BackwardData(dy, y, w, dx []float32) {
	if len(dx) < p.inputSize() || len(w) < p.weightSize() {
		panic(errShort)
	}
	p.checkGradient(dy, y)
	p.run(BackwardData, args{in: dy, y: y, with: w, out: dx})
}

// BackwardWeights adds the gradient of the weights to dw (K×(C/Group)×R×S), and
// that of the biases to db (K) unless db is nil. It is cheaper so than by
// BackwardBias. y is as for BackwardData.
func (p *Plan) BackwardWeights(x, dy, y, dw, db []float32) {
	if len(x) < p.inputSize() || len(dw) < p.weightSize() || db != nil && len(db) < p.s.K {
		panic(errShort)
	}
	p.checkGradient(dy, y)
	p.run(BackwardWeights, args{in: x, with: dy, y: y, out: dw, db: db})
}

// BackwardBias adds the gradient of the biases to db (K): the sums of dy over
// images and pixels, with Options.ReLU those where y > 0. y is as for
// BackwardData.
func (p *Plan) BackwardBias(dy, y, db []float32) {
	if len(db) < p.s.K {
		panic(errShort)
	}
	p.checkGradient(dy, y)
	p.biases(dy, y, db)
}

func (p *Plan) checkGradient(dy, y []float32) {
	if n := p.outputSize(); len(dy) < n || p.relu && len(y) < n {
		panic(errShort)
	}
}
