package gemm

import (
	"sync"

	"crema/asm"
)

// Transpose says whether an operand is used as it is stored or transposed.
type Transpose bool

// The two ways to use an operand.
const (
	NoTrans Transpose = false
	Trans   Transpose = true
)

// serial is the number of multiply-adds below which a product is not worth
// waking other workers for.
const serial = 1 << 18

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
	*j = job{transA: transA, transB: transB, m: m, n: n, k: k, alpha: alpha, a: a, lda: lda, b: b, ldb: ldb, beta: beta, c: c, ldc: ldc}
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

	phase     phase
	rowGroups int
	colGroups int
	cut       blocking
	scratch   []float32 // for the packed operands of all parts, if there are few
	rows      []float32 // op(A) of a skinny product, in blocks of columns
	depth     int       // columns of a block
	runs      int       // of the depth of a deep product: see there
	tasks     int       // that do them
	sums      []float32 // the product over each
}

type phase int

const (
	blockPhase phase = iota
	dotPhase         // skinny products: see there
	rankPhase
	deepPhase
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
	if j.turned() {
		j.runTurned()
		return
	}
	j.multiply()
}

func (j *job) multiply() {
	if j.skinny() {
		j.runSkinny()
		return
	}
	if j.deep() {
		j.runDeep()
		return
	}
	j.phase = blockPhase
	j.runBlocks()
}

// turned reports whether the product is computed as its transpose,
// Cᵀ = op(B)ᵀ·op(A)ᵀ: because its few columns would fill the last panel of B
// badly and its rows will not, or because then the larger operand need not be
// packed. It must be so deep, and C so small, that it costs little to transpose C.
// Products that do not pack B are not turned.
func (j *job) turned() bool {
	const deep, small = 128, 1 << 18
	if j.skinny() || j.k < deep || j.m*j.n > small {
		return false
	}
	half := asm.Sgemm().NR / 2 // the width of a narrow tile
	whole := func(n int) int { return ceilDiv(n, half) * half }
	// Reading A where it lies is better even if some columns of the panel are
	// empty: fewer if there are few rows to transpose and B need not be.
	direct := func(j *job) bool {
		const fewRows = 256
		most := 10
		if j.m < fewRows && !bool(j.transB) {
			most = 9
		}
		return j.direct() && 8*whole(j.n) <= most*j.n
	}
	t := *j
	t.turn()
	return !direct(j) && (direct(&t) || 8*whole(j.n)*j.m > 9*whole(j.m)*j.n)
}

// turn makes the product its transpose, but for C.
func (j *job) turn() {
	j.transA, j.transB = !j.transB, !j.transA
	j.m, j.n = j.n, j.m
	j.a, j.b = j.b, j.a
	j.lda, j.ldb = j.ldb, j.lda
}

// runTurned computes the transpose of the product and transposes it.
func (j *job) runTurned() {
	c, ldc := j.c, j.ldc
	j.turn()
	t, buf := packing.Get(j.m * j.n)
	j.c, j.ldc = t, j.n
	if j.beta != 0 {
		asm.Transpose(j.n, j.m, c, ldc, t, j.n)
	}
	j.multiply()
	asm.Transpose(j.m, j.n, t, j.n, c, ldc)
	packing.Put(buf)
}

// Do does one task of the present phase.
func (j *job) Do(task int) {
	switch j.phase {
	case blockPhase:
		j.block(task)
	case dotPhase:
		j.dots(task)
	case rankPhase:
		j.ranks(task)
	case deepPhase:
		j.someRuns(task)
	}
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
