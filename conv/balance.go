package conv

import "crema/internal/par"

// A job is a loop over tasks.
type job interface {
	par.Job
	// cost is about how many multiply-adds a task takes.
	cost(task int) float64
}

// A tally adds up the work of loops, each of which ends before the next begins.
type tally struct{ most, mean float64 }

// spread has the workers do the tasks of a job, or counts their work for the
// plan's tally.
func (p *Plan) spread(tasks int, j job) {
	if p.tally == nil {
		par.Run(p.threads, tasks, j)
		return
	}
	most, mean := par.Balance(p.workers(), tasks, j.cost)
	p.tally.most += most
	p.tally.mean += mean
}

// workers is the number of workers. Without a tally there are never more than
// the processor has.
func (p *Plan) workers() int {
	if p.threads > 0 && p.tally != nil {
		return p.threads
	}
	if p.threads > 0 {
		return min(p.threads, par.Threads())
	}
	return par.Threads()
}

// tasksEach is how many tasks there are to be for each worker, so that none
// waits long for the others: with four, the busiest has at most a quarter more
// than the mean.
const tasksEach = 4

// Balance returns how evenly the work of a direction is spread over a number of
// workers: the work of the busiest over the mean, at least 1. The work is
// counted, in multiply-adds, by the loops that a call would run, each of whose
// tasks goes to the worker that is free first.
func (p *Plan) Balance(d Direction, workers int) float64 {
	if p.s.N == 0 {
		return 1
	}
	var t tally
	q := *p
	q.threads, q.tally = max(workers, 1), &t
	q.groups(d, args{})
	if t.mean == 0 {
		return 1
	}
	return t.most / t.mean
}

// from returns x from element i on, or nil.
func from(x []float32, i int) []float32 {
	if x == nil {
		return nil
	}
	return x[i:]
}
