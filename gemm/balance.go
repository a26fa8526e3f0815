package gemm

import "crema/internal/par"

// Balance returns how evenly Sgemm of such a product is spread over a number of
// workers: the work of the busiest over the mean, at least 1. The work is
// counted, in multiply-adds, by the tasks that a call would run, each of which
// goes to the worker that is free first.
func Balance(transA, transB Transpose, m, n, k, workers int) float64 {
	if m <= 0 || n <= 0 {
		return 1
	}
	j := &job{transA: transA, transB: transB, m: m, n: n, k: k, threads: max(workers, 1)}
	if j.turned() {
		j.turn()
	}
	var tasks int
	var cost func(task int) float64
	switch {
	case j.skinny():
		j.splitSkinny()
		columns := j.rankColumns
		if j.phase == dotPhase {
			columns = j.dotColumns
		}
		tasks, cost = j.colGroups, func(task int) float64 {
			j0, j1 := columns(task)
			return float64(j1 - j0)
		}
	case j.deep():
		j.splitDeep()
		tasks, cost = j.tasks, func(task int) float64 {
			first, end := part(j.runs, j.tasks, task)
			lo, _ := j.depths(first)
			_, hi := j.depths(end - 1)
			return float64(hi - lo)
		}
	default:
		j.split()
		tasks, cost = j.rowGroups*j.colGroups, func(task int) float64 {
			i0, i1, j0, j1 := j.part(task)
			return float64(max(j.cost(i1-i0, j1-j0), 0))
		}
	}
	return ratio(par.Balance(j.threads, tasks, cost))
}

// SGDOuterBalance is the same of SGDOuter.
func SGDOuterBalance(m, n, k, workers int) float64 {
	j := outerJob{m: m, n: n, k: k, threads: max(workers, 1)}
	j.split()
	return ratio(par.Balance(j.threads, j.tasks, func(task int) float64 {
		lo, hi := j.rows(task)
		return float64(hi - lo)
	}))
}

func ratio(most, mean float64) float64 {
	if mean == 0 {
		return 1
	}
	return most / mean
}
