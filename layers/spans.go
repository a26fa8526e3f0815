package layers

import "crema/internal/par"

// spans is a loop over n items that a layer keeps, so that its passes allocate
// nothing: do is called for ranges of grain items, from several goroutines. L is
// the layer, and do a method expression of it; a closure would be allocated.
type spans[L any] struct {
	layer    L
	do       func(l L, lo, hi int)
	n, grain int
}

// Do implements par.Job.
func (s *spans[L]) Do(task int) { s.do(s.layer, task*s.grain, min((task+1)*s.grain, s.n)) }

// run does the loop. What do uses must be reachable from the layer.
func (s *spans[L]) run(l L, n, grain int, do func(l L, lo, hi int)) {
	*s = spans[L]{l, do, n, max(grain, 1)}
	par.Run(0, (n+s.grain-1)/s.grain, s)
	*s = spans[L]{}
}
