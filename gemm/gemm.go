package gemm

import (
	"sync"

	"crema/asm"
	"crema/internal/par"
)

// Transpose says whether an operand is used as it is stored or transposed.
type Transpose bool

// The two ways to use an operand.
const (
	NoTrans Transpose = false
	Trans   Transpose = true
)

const (
	// serial is the number of multiply-adds below which a product is not
	// worth waking other workers for.
	serial = 1 << 18
	// maxPacked bounds the elements of A that are packed at a time (16 MB).
	maxPacked = 1 << 22
)

// Sgemm computes C = alpha·op(A)·op(B) + beta·C, where op(X) is X or its
// transpose.
//
//	op(A): m×k   a holds A (row stride lda), m×k, or k×m if transA
//	op(B): k×n   b holds B (row stride ldb), k×n, or n×k if transB
//	C:     m×n   row stride ldc
//
// If beta is 0, C is not read. If alpha or k is 0, A and B are not read. c must
// not overlap a or b. Sgemm panics on sizes or slices that do not fit. It is
// BLAS level 3 SGEMM in row-major order.
func Sgemm(transA, transB Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	if m < 0 || n < 0 || k < 0 {
		panic("gemm: negative size")
	}
	if m == 0 || n == 0 {
		return
	}
	checkMatrix(m, n, c, ldc)
	product := k > 0 && alpha != 0
	if product {
		if transA {
			checkMatrix(k, m, a, lda)
		} else {
			checkMatrix(m, k, a, lda)
		}
		if transB {
			checkMatrix(n, k, b, ldb)
		} else {
			checkMatrix(k, n, b, ldb)
		}
	}
	j := getJob()
	*j = job{transA: transA, transB: transB, m: m, n: n, k: k, alpha: alpha, a: a, lda: lda, b: b, ldb: ldb, beta: beta, c: c, ldc: ldc, packed: j.packed}
	if m*n*max(k, 1) <= serial {
		j.threads = 1
	}
	if product {
		j.run()
	} else {
		j.scale(0, m, 0, n)
	}
	putJob(j)
}

func checkMatrix(rows, cols int, x []float32, ld int) {
	if ld < cols {
		panic("gemm: row stride below row length")
	}
	if len(x) < (rows-1)*ld+cols {
		panic("gemm: slice too short")
	}
}

// job is one call of Sgemm under way.
type job struct {
	transA, transB Transpose
	m, n, k        int
	alpha, beta    float32
	a, b, c        []float32
	lda, ldb, ldc  int
	threads        int // 0: all

	// The present slice of rows.
	packed     Packed
	row0       int
	phase      phase
	packGroups int
	rowGroups  int
	colGroups  int
	rows       []float32 // op(A) of a skinny product
	depth      int       // rows of B that are added at a time, if B is not transposed
}

type phase int

const (
	packPhase phase = iota
	multiplyPhase
	dotPhase // skinny products: see there
	rankPhase
)

var jobs struct {
	sync.Mutex
	free []*job
}

func getJob() *job {
	jobs.Lock()
	defer jobs.Unlock()
	if n := len(jobs.free); n > 0 {
		j := jobs.free[n-1]
		jobs.free = jobs.free[:n-1]
		return j
	}
	return new(job)
}

// putJob keeps j for another call, without holding on to the operands.
func putJob(j *job) {
	j.a, j.b, j.c = nil, nil, nil
	jobs.Lock()
	jobs.free = append(jobs.free, j)
	jobs.Unlock()
}

func (j *job) run() {
	if j.skinny() {
		j.runSkinny()
		return
	}
	slices := min(ceilDiv(j.m*j.k, maxPacked), j.m)
	rows := ceilDiv(j.m, slices)
	for j.row0 = 0; j.row0 < j.m; j.row0 += rows {
		m := min(rows, j.m-j.row0)
		j.packed.Reset(m, j.k)
		j.rowGroups, j.colGroups = j.packed.Split(j.n, j.threads)
		j.packGroups = min(j.packed.Panels(), 32)
		j.phase = packPhase
		par.Run(j.threads, j.packGroups, j)
		j.phase = multiplyPhase
		par.Run(j.threads, j.rowGroups*j.colGroups, j)
		j.packed.Release()
	}
}

// Do does one task of the present phase.
func (j *job) Do(task int) {
	switch j.phase {
	case dotPhase:
		j.dots(task)
		return
	case rankPhase:
		j.ranks(task)
		return
	}
	p := &j.packed
	rowPanels := p.Panels()
	if j.phase == packPhase {
		lo, hi := part(rowPanels, j.packGroups, task)
		if j.transA {
			p.PackTransposed(lo, hi, j.a[j.row0:], j.lda)
			return
		}
		for i := lo; i < hi; i++ {
			i0, _ := p.PanelRows(i)
			p.PackPanel(i, j.a[(j.row0+i0)*j.lda:], j.lda)
		}
		return
	}
	nr := p.Width()
	lo, hi := part(rowPanels, j.rowGroups, task%j.rowGroups)
	jlo, jhi := part(ceilDiv(j.n, nr), j.colGroups, task/j.rowGroups)
	j0 := jlo * nr
	n := min(jhi*nr, j.n) - j0
	i0, i1 := j.row0+lo*p.mr, j.row0+min(hi*p.mr, p.m)
	if j.beta != 0 && j.beta != 1 {
		j.scale(i0, i1, j0, j0+n)
	}
	bp, buf := packing.Get(p.PanelSize(n))
	c := j.c[i0*j.ldc+j0:]
	for b := range p.Blocks() {
		p0, kc := p.Block(b)
		packB(nr, j.transB, j.b, j.ldb, p0, kc, j0, n, bp)
		p.Multiply(b, lo, hi, j.alpha, bp, n, c, j.ldc, b > 0 || j.beta != 0)
	}
	packing.Put(buf)
}

// scale multiplies a part of C by beta.
func (j *job) scale(i0, i1, j0, j1 int) {
	if j.beta == 1 {
		return
	}
	for i := i0; i < i1; i++ {
		row := j.c[i*j.ldc+j0 : i*j.ldc+j1]
		if j.beta == 0 {
			clear(row)
		} else {
			asm.Scal(j.beta, row)
		}
	}
}

// part returns the range of part i when n things are cut into equal parts.
func part(n, parts, i int) (lo, hi int) { return n * i / parts, n * (i + 1) / parts }
