package gemm

import (
	"unsafe"

	"crema/asm"
	"crema/internal/par"
)

// Products of a few rows with at least skinnySize elements of B (more than
// caches near the core hold) are limited by reading B: those of up to dotRows
// rows if B is transposed. Otherwise C is read and written for every four or eight
// rows of B, and more than rankRows rows are faster with B packed.
const (
	dotRows    = 16
	rankRows   = 8
	skinnySize = 1 << 18
	// skinnyStrip is how many elements of A and of four rows of B are multiplied
	// before others, when B is transposed: half a level-2 cache of a megabyte.
	skinnyStrip = 1 << 17
	// skinnyWidth is the most of a row of C that is summed at a time otherwise:
	// six such rows stay in the level-2 cache.
	skinnyWidth = 1 << 14
)

// skinny reports whether the product is done without packing B. The portable
// kernels are limited by arithmetic in any case.
func (j *job) skinny() bool {
	most := rankRows
	if j.transB {
		most = dotRows
	}
	return j.m <= most && j.n >= 64 && j.k >= 16 && j.n*j.k >= skinnySize && asm.ISA() != "generic"
}

// runSkinny spreads parts of C over the workers. op(A), alpha in it, is copied
// first, to where the kernels have it: in blocks of so many columns, the rows of a
// block one after the other.
func (j *job) runSkinny() {
	j.depth = dotBlock
	k := ceilDiv(j.k, dotBlock) * dotBlock
	if !j.transB {
		j.depth = asm.RankDepth()
		k = j.k
	}
	rows, buf := packing.Get(j.m * k)
	for p := 0; p < j.k; p += j.depth {
		width := min(j.depth, j.k-p) // of the last block the width is its stride
		ld := width
		if j.transB {
			ld = dotBlock
		}
		for i := range j.m {
			to := rows[p*j.m+i*ld:][:width]
			if j.transA {
				for q := range to {
					to[q] = j.alpha * j.a[(p+q)*j.lda+i]
				}
				continue
			}
			from := j.a[i*j.lda+p:][:width]
			if j.alpha == 1 {
				copy(to, from)
				continue
			}
			for q, v := range from {
				to[q] = j.alpha * v
			}
		}
	}
	j.rows = rows
	j.splitSkinny()
	par.Run(j.threads, j.colGroups, j)
	j.rows = nil
	packing.Put(buf)
}

// dotBlock is the number of columns in a block of A for asm.DotRows.
const dotBlock = 16

// splitSkinny cuts the columns of a skinny product into tasks.
func (j *job) splitSkinny() {
	if j.threads <= 0 {
		j.threads = par.Threads()
	}
	if j.transB {
		j.phase = dotPhase
		j.colGroups = min(ceilDiv(j.n, 4), tasksPerWorker*j.threads)
		return
	}
	j.phase = rankPhase
	j.colGroups = ceilDiv(j.n, skinnyWidth)
	j.colGroups = ceilDiv(j.colGroups, j.threads) * j.threads
}

// tasksPerWorker is how many parts of a large matrix each worker gets: enough to
// even out what one is slower, and large, as every part begins with a jump.
const tasksPerWorker = 16

// spreadTask returns the part that a task takes, so that workers that advance at
// the same pace go through parts of the matrix that are far apart, each from one
// to the next.
func spreadTask(task, tasks, workers int) int {
	each := tasks / workers
	if task >= each*workers {
		return task
	}
	return task%workers*each + task/workers
}

// dotColumns returns the columns of a task that computes dot products.
func (j *job) dotColumns(task int) (j0, j1 int) {
	lo, hi := part(ceilDiv(j.n, 4), j.colGroups, spreadTask(task, j.colGroups, j.threads))
	return 4 * lo, min(4*hi, j.n)
}

// rankColumns returns the columns of a task that adds rows.
func (j *job) rankColumns(task int) (j0, j1 int) {
	const unit = 32
	lo, hi := part(ceilDiv(j.n, unit), j.colGroups, task)
	return lo * unit, min(hi*unit, j.n)
}

// dots computes columns of C as dot products of rows of A and of the stored B,
// four rows of B at a time: strip after strip of all of them, so that the strip
// of A stays in the level-2 cache, and that of four rows of B if there are so many
// rows of A that it is read again.
func (j *job) dots(task int) {
	j0, j1 := j.dotColumns(task)
	j.scale(0, j.m, j0, j1)
	strips := ceilDiv(j.k*(j.m+4), skinnyStrip)
	strip := ceilDiv(ceilDiv(j.k, strips), dotBlock) * dotBlock
	var sums [4 * asm.MaxDotRows]float32
	for p := 0; p < j.k; p += strip {
		kc := min(strip, j.k-p)
		for q := j0; q < j1; q += 4 {
			first := min(q, j.n-4)
			next := j.b[j.after(p, p+kc, q, j0, j1):]
			for i := 0; i < j.m; i += asm.MaxDotRows {
				h := min(asm.MaxDotRows, j.m-i)
				asm.DotRows(h, kc, j.rows[p*j.m+i*dotBlock:], j.m*dotBlock, j.b[first*j.ldb+p:], j.ldb, next, &sums)
				for r := range h {
					row, sum := (*[4]float32)(j.c[(i+r)*j.ldc+first:]), (*[4]float32)(sums[4*r:])
					// The last four may overlap the ones before them: what is
					// computed twice is added once.
					for s := q - first; s < 4; s++ {
						row[s] += sum[s]
					}
				}
			}
		}
	}
}

// after returns where in B dots goes on after the strip p0 to p1 of the four rows
// from q on, of rows j0 to j1: at the four rows below, the next strip or the next
// task.
func (j *job) after(p0, p1, q, j0, j1 int) int {
	switch {
	case q+4 < j1:
		return min(q+4, j.n-4)*j.ldb + p0
	case p1 < j.k:
		return min(j0, j.n-4)*j.ldb + p1
	}
	return min(j1, j.n-4) * j.ldb
}

// ranks computes a part of C, which stays in cache in a copy, by adding a few
// rows of B at a time.
func (j *job) ranks(task int) {
	const unit = 32
	lo, hi := part(ceilDiv(j.n, unit), j.colGroups, task)
	j0 := lo * unit
	n := min(hi*unit, j.n) - j0
	ldc := spread(n)
	c, buf := apart(j.m*ldc, j.b[j0:])
	j.scale(0, j.m, j0, j0+n)
	for i := range j.m {
		if j.beta == 0 {
			clear(c[i*ldc:][:n])
		} else {
			copy(c[i*ldc:][:n], j.c[i*j.ldc+j0:])
		}
	}
	p := 0
	for ; p+j.depth <= j.k; p += j.depth {
		a, b := j.rows[p*j.m:], j.b[p*j.ldb+j0:]
		if j.depth == 8 {
			asm.Rank8(j.m, n, a, b, j.ldb, c, ldc)
		} else {
			asm.Rank4(j.m, n, a, b, j.ldb, c, ldc)
		}
	}
	rest := j.k - p
	for i := range j.m {
		for r := range rest {
			asm.Axpy(j.rows[p*j.m+i*rest+r], j.b[(p+r)*j.ldb+j0:][:n], c[i*ldc:][:n])
		}
		copy(j.c[i*j.ldc+j0:][:n], c[i*ldc:])
	}
	packing.Put(buf)
}

// apart returns scratch memory of n elements for rows of [spread] length that are
// gone through along with some of x, which they shall not meet in the level-1
// cache: they begin a quarter of a page after x begins, in the offset in a page.
func apart(n int, x []float32) ([]float32, *par.Buffer) {
	const page = 4096 / 4
	s, buf := packing.Get(n + page)
	offset := func(s []float32) int { return int(uintptr(unsafe.Pointer(unsafe.SliceData(s)))/4) % page }
	skip := (offset(x) + page/4 - offset(s) + page) % page / line * line
	return s[skip:][:n], buf
}

// spread returns a distance for rows of n elements: an odd number of cache
// lines. Of rows that are a power of two apart, as the layers of nets have them,
// elements one below the other meet in one set of the level-1 cache, which holds
// few of them.
func spread(n int) int {
	return (ceilDiv(n, line) | 1) * line
}
