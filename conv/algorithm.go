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
	// group computes direction d of group g. in is the first operand of the
	// Plan's method, with the second.
	group func(p *Plan, d Direction, g int, in, with, bias, out []float32)
}

// algorithms in order of preference.
var algorithms = [...]algorithm{
	{"1x1", func(s *Shape, _ Direction) bool { return pointwise(s) }, nil, implicitGroup},
	{"winograd", winogradAccepts, winogradPays, winogradGroup},
	{"implicit", func(s *Shape, d Direction) bool { return d != BackwardData || s.StrideH == 1 && s.StrideW == 1 }, nil, implicitGroup},
	{"col2im", func(s *Shape, d Direction) bool { return d == BackwardData }, nil, col2imGroup},
}

// pointwise reports whether each output pixel depends on one input pixel, the
// one at its own place.
func pointwise(s *Shape) bool {
	return s.R == 1 && s.S == 1 && s.StrideH == 1 && s.StrideW == 1 && s.PadH == 0 && s.PadW == 0
}

// run spreads the groups over the workers; each spreads its own work over
// those that are free.
func (p *Plan) run(d Direction, in, with, bias, out []float32) {
	if p.s.N == 0 {
		return
	}
	if p.s.Group == 1 {
		p.algos[d].group(p, d, 0, in, with, bias, out)
		return
	}
	j := groupJobs.get()
	*j = groupJob{p, d, in, with, bias, out}
	par.Run(p.threads, p.s.Group, j)
	*j = groupJob{}
	groupJobs.put(j)
}

// groupJob does one group per task.
type groupJob struct {
	p                   *Plan
	d                   Direction
	in, with, bias, out []float32
}

var groupJobs freeList[groupJob]

func (j *groupJob) Do(g int) { j.p.algos[j.d].group(j.p, j.d, g, j.in, j.with, j.bias, j.out) }

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
