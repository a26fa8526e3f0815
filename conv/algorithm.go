package conv

import (
	"sync"

	"crema/internal/par"
)

// An algorithm computes one or more directions.
type algorithm struct {
	name    string
	accepts func(s *Shape, d Direction) bool
	// pays holds where the algorithm is worth it, if it is not so everywhere:
	// elsewhere it must be forced.
	pays func(s *Shape, d Direction) bool
	// layouts holds where the plan's layouts suit. If it is nil, both must be
	// NCHW.
	layouts func(p *Plan, d Direction) bool
	// anyAxes says that the algorithm can do more than two spatial axes: it
	// finds its pixels by columns only.
	anyAxes bool
	// fused says that group applies ReLU forward, takes the gradient where
	// args.y > 0 backward if the plan has a ReLU, and adds to args.db. For other
	// algorithms run does all this before or after.
	fused bool
	// rectifies says that group applies ReLU forward, though it is not fused, and
	// takes an output gradient in the plan's layout.
	rectifies bool
	// group computes direction d of group g, or if whole is set, of all groups.
	group func(p *Plan, d Direction, g int, a args)
	whole bool
	// filters returns what args.u is to be for these weights, in u if that is
	// long enough, or nil; it may be nil itself.
	filters func(p *Plan, w, u []float32) []float32
}

// fits reports whether a can work in the plan's layouts.
func (a *algorithm) fits(p *Plan, d Direction) bool {
	if a.layouts == nil {
		return p.in == NCHW && p.out == NCHW
	}
	return a.layouts(p, d)
}

// unblocks holds where run can bring the output gradient from the blocked layout
// into the other: the first convolution of a net may write blocked output,
// though the gradient of its input is seldom asked for.
func unblocks(p *Plan, d Direction) bool {
	return p.in == NCHW && (p.out == NCHW || d == BackwardData && p.s.K%Lanes == 0)
}

// args are the operands of a direction.
type args struct {
	in   []float32 // x; for BackwardData dy
	with []float32 // w; for BackwardWeights dy
	bias []float32 // of Forward, or nil
	out  []float32 // y, dx or dw
	y    []float32 // for a gradient if the plan has a ReLU
	db   []float32 // of BackwardWeights, or nil
	u    []float32 // of Forward: kept filters, or nil
}

// algorithms in order of preference.
var algorithms = [...]algorithm{
	{name: "1x1", accepts: func(s *Shape, _ Direction) bool { return pointwise(s) }, anyAxes: true, group: implicitGroup},
	{name: "depthwise", accepts: depthwiseAccepts, pays: depthwisePays, fused: true, group: depthwiseGroup, whole: true},
	{name: "direct", accepts: directAccepts, pays: directPays, layouts: directLayouts, fused: true, group: directGroup},
	{name: "winograd", accepts: winogradAccepts, pays: winogradPays, layouts: winogradLayouts, fused: true, group: winogradGroup, filters: winogradFilters},
	{name: "blocked", accepts: blockedAccepts, layouts: blockedLayouts, rectifies: true, group: blockedGroup, filters: blockedFilters},
	{name: "implicit", accepts: func(s *Shape, d Direction) bool { return d != BackwardData || s.StrideH == 1 && s.StrideW == 1 }, layouts: unblocks, anyAxes: true, group: implicitGroup},
	{name: "col2im", accepts: func(s *Shape, d Direction) bool { return d == BackwardData }, layouts: unblocks, anyAxes: true, group: col2imGroup},
}

// pointwise reports whether each output pixel depends on one input pixel, the
// one at its own place.
func pointwise(s *Shape) bool {
	return s.R == 1 && s.S == 1 && s.StrideH == 1 && s.StrideW == 1 && s.PadH == 0 && s.PadW == 0
}

// run computes a direction: what the algorithm does, and the passes over
// activations that it leaves to others.
func (p *Plan) run(d Direction, a args) {
	if p.s.N == 0 {
		return
	}
	if p.algos[d].fused {
		p.groups(d, a)
		return
	}
	own := p.algos[d].rectifies
	if !own {
		a.u = nil
	}
	if d == BackwardData && p.out == Blocked && !own {
		dy, buf := scratch.Get(p.outputSize())
		defer scratch.Put(buf)
		p.unblock(a.y, a.in, dy)
		a.in = dy
		p.groups(d, a)
		return
	}
	switch {
	case d == Forward:
		p.groups(d, a)
		if p.relu && !own {
			p.rectify(a.out)
		}
		return
	case !p.relu:
		p.groups(d, a)
		if a.db != nil {
			p.biases(a.with, nil, a.db)
		}
		return
	}
	dy := &a.in
	if d == BackwardWeights {
		dy = &a.with
	}
	masked, buf := scratch.Get(p.outputSize())
	p.mask(a.y, *dy, masked)
	*dy = masked
	p.groups(d, a)
	if a.db != nil {
		p.sums(masked, a.db)
	}
	scratch.Put(buf)
}

// groups computes the groups: one after the other, each by all workers, or if
// there are many, each by one worker.
func (p *Plan) groups(d Direction, a args) {
	algo := p.algos[d]
	switch {
	case algo.whole:
		algo.group(p, d, 0, a)
		return
	case p.s.Group < tasksEach*p.workers():
		for g := range p.s.Group {
			algo.group(p, d, g, a)
		}
		return
	}
	j := groupJobs.get()
	*j = groupJob{p, d, a}
	p.spread(p.s.Group, j)
	*j = groupJob{}
	groupJobs.put(j)
}

// groupJob does one group per task.
type groupJob struct {
	p *Plan
	d Direction
	a args
}

var groupJobs freeList[groupJob]

func (j *groupJob) Do(g int) { j.p.algos[j.d].group(j.p, j.d, g, j.a) }

// cost is the same for all groups.
func (j *groupJob) cost(int) float64 { return 1 }

// A freeList keeps structures between calls. (A sync.Pool would lose them at
// every garbage collection.)
type freeList[T any] struct {
	mu   sync.Mutex
	free []*T
}

func (l *freeList[T]) get() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		x := l.free[n-1]
		l.free = l.free[:n-1]
		return x
	}
	return new(T)
}

func (l *freeList[T]) put(x *T) {
	l.mu.Lock()
	l.free = append(l.free, x)
	l.mu.Unlock()
}

// scratch is the memory for packed columns, tiles of output and gradients.
var scratch par.Pool

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// part returns the range of part i when n things are cut into equal parts.
func part(n, parts, i int) (lo, hi int) { return n * i / parts, n * (i + 1) / parts }
