package gemm

import (
	"crema/asm"
	"crema/internal/par"
)

// Of a deep product with a small C, workers that shared C among them would each
// pack all of an operand. So the depth is cut into runs, whose products are then
// added up, in order. How many there are depends on the shape only, and so does
// the result.
const (
	deepSmall = 1 << 12 // elements of C, at most
	deepRun   = 1 << 10 // depth of a run, at least
	fewRuns   = 8       // at least
	manyRuns  = 32      // at most
)

// deep reports whether the product is cut so.
func (j *job) deep() bool { return j.m*j.n <= deepSmall && j.k >= fewRuns*deepRun }

// splitDeep chooses the runs and the tasks, which do some each.
func (j *job) splitDeep() {
	j.phase = deepPhase
	j.runs = min(j.k/deepRun, manyRuns)
	if j.threads <= 0 {
		j.threads = par.Threads()
	}
	j.tasks = min(j.runs, j.threads)
}

// depths returns the range of run i. It begins with a cache line.
func (j *job) depths(i int) (lo, hi int) {
	lo, hi = part(ceilDiv(j.k, line), j.runs, i)
	return lo * line, min(hi*line, j.k)
}

// runDeep computes the product.
func (j *job) runDeep() {
	j.splitDeep()
	j.rowGroups, j.colGroups = 1, 1
	lo, hi := j.depths(0)
	j.cut = j.blocking(asm.Sgemm(), j.m, j.n, hi-lo+line)
	var buf, sums *par.Buffer
	j.scratch, buf = packing.Get(j.tasks * (j.cut.sizeA + j.cut.sizeB))
	j.sums, sums = packing.Get(j.runs * j.m * j.n)
	par.Run(j.threads, j.tasks, j)
	j.scale(0, j.m, 0, j.n)
	for r := range j.runs {
		for i := range j.m {
			asm.Add(j.sums[(r*j.m+i)*j.n:][:j.n], j.c[i*j.ldc:][:j.n])
		}
	}
	j.scratch, j.sums = nil, nil
	packing.Put(buf)
	packing.Put(sums)
}

// someRuns computes the products over the runs of a task.
func (j *job) someRuns(task int) {
	one := *j
	one.beta, one.ldc = 0, j.n
	t := tiles{job: &one, kern: asm.Sgemm()}
	t.panelsAt(j.scratch[task*(j.cut.sizeA+j.cut.sizeB):])
	first, end := part(j.runs, j.tasks, task)
	for r := first; r < end; r++ {
		one.c = j.sums[r*j.m*j.n:][:j.m*j.n]
		lo, hi := j.depths(r)
		t.product(lo, hi, 0, j.m, 0, j.n)
	}
}
