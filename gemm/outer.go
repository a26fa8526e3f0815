package gemm

import (
	"sync"

	"crema/asm"
	"crema/internal/par"
)

// A Step holds the scalars of an update by stochastic gradient descent:
//
//	h = Rate·(g + Decay·w) + Momentum·h
//	w = w − h
type Step struct{ Rate, Decay, Momentum float32 }

// MaxOuterRank is the largest k that SGDOuter takes.
const MaxOuterRank = asm.MaxOuterRank

// SGDOuter makes a step of the m×n matrix w, with history h, both dense, by the
// gradient aᵀ·b, which is not stored:
//
//	a: k×m, row stride lda
//	b: k×n, row stride ldb    1 ≤ k ≤ MaxOuterRank
//
// w and h are read and written once, and get the bits that Sgemm into zeros and
// asm.SGDUpdate would give them, for any number of workers.
func SGDOuter(s Step, m, n, k int, a []float32, lda int, b []float32, ldb int, h, w []float32) {
	if m < 0 || n < 0 {
		panic("gemm: negative size")
	}
	if k < 1 || k > MaxOuterRank {
		panic("gemm: rank out of range")
	}
	if m == 0 || n == 0 {
		return
	}
	checkMatrix(k, m, a, lda)
	checkMatrix(k, n, b, ldb)
	checkMatrix(m, n, h, n)
	checkMatrix(m, n, w, n)
	j := getOuterJob()
	*j = outerJob{step: s, m: m, n: n, k: k, a: a, lda: lda, h: h, w: w}
	if m*n*k <= serial {
		j.threads = 1
	}
	j.split()
	var buf *par.Buffer
	j.ldb = spread(n)
	j.b, buf = apart(k*j.ldb, w)
	for p := range k {
		copy(j.b[p*j.ldb:][:n], b[p*ldb:])
	}
	par.Run(j.threads, j.tasks, j)
	packing.Put(buf)
	putOuterJob(j)
}

type outerJob struct {
	step     Step
	m, n, k  int
	threads  int // 0: all, until split
	tasks    int
	a, b     []float32 // b is a copy
	lda, ldb int
	h, w     []float32
}

var outerJobs struct {
	sync.Mutex
	free []*outerJob
}

func getOuterJob() *outerJob {
	outerJobs.Lock()
	defer outerJobs.Unlock()
	if n := len(outerJobs.free); n > 0 {
		j := outerJobs.free[n-1]
		outerJobs.free = outerJobs.free[:n-1]
		return j
	}
	return new(outerJob)
}

// putOuterJob keeps j for another call, without holding on to the operands.
func putOuterJob(j *outerJob) {
	*j = outerJob{}
	outerJobs.Lock()
	outerJobs.free = append(outerJobs.free, j)
	outerJobs.Unlock()
}

// split cuts the rows into tasks.
func (j *outerJob) split() {
	if j.threads <= 0 {
		j.threads = par.Threads()
	}
	j.tasks = min(ceilDiv(j.m, asm.OuterRows), tasksPerWorker*j.threads)
}

// rows returns the rows of a task.
func (j *outerJob) rows(task int) (lo, hi int) {
	lo, hi = part(ceilDiv(j.m, asm.OuterRows), j.tasks, spreadTask(task, j.tasks, j.threads))
	return lo * asm.OuterRows, min(hi*asm.OuterRows, j.m)
}

// Do makes the step of one part of the rows.
func (j *outerJob) Do(task int) {
	lo, hi := j.rows(task)
	var a [asm.MaxOuterRank * asm.OuterRows]float32
	for i := lo; i < hi; i += asm.OuterRows {
		rows := min(asm.OuterRows, hi-i)
		for p := range j.k {
			copy(a[p*rows:(p+1)*rows], j.a[p*j.lda+i:])
		}
		asm.SGDOuter(j.step.Rate, j.step.Decay, j.step.Momentum, j.k, rows, j.n, a[:], j.b, j.ldb, j.h[i*j.n:], j.w[i*j.n:], j.n)
	}
}
