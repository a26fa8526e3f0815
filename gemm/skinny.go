package gemm

import (
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
	// skinnyDepth is the part of a row of B that is multiplied at a time when B
	// is transposed; that much of six rows of A stays in the level-1 cache.
	skinnyDepth = 1024
	// skinnyWidth is the most of a row of C that is summed at a time otherwise:
	// six such rows stay in the level-2 cache, with the rows of B that are
	// prefetched.
	skinnyWidth = 1 << 12
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
// first: rows one after the other if B is transposed; else in groups of as many
// columns as rows of B are added at a time.
func (j *job) runSkinny() {
	j.ldr = spread(j.k)
	rows, buf := packing.Get(j.m * j.ldr)
	at := func(i, p int) float32 {
		if j.transA {
			return j.alpha * j.a[p*j.lda+i]
		}
		return j.alpha * j.a[i*j.lda+p]
	}
	if j.transB {
		for i := range j.m {
			for p := range j.k {
				rows[i*j.ldr+p] = at(i, p)
			}
		}
	} else {
		j.depth = asm.RankDepth()
		for p := range j.k {
			first := p - p%j.depth
			width := min(j.depth, j.k-first)
			for i := range j.m {
				rows[first*j.m+i*width+p-first] = at(i, p)
			}
		}
	}
	j.rows = rows
	j.splitSkinny()
	par.Run(j.threads, j.colGroups, j)
	j.rows = nil
	packing.Put(buf)
}

// splitSkinny cuts the columns of a skinny product into tasks.
func (j *job) splitSkinny() {
	if j.transB {
		j.phase = dotPhase
		j.colGroups = min(ceilDiv(j.n, 4), 256)
		return
	}
	j.phase = rankPhase
	j.colGroups = ceilDiv(j.n, skinnyWidth)
	threads := j.threads
	if threads <= 0 {
		threads = par.Threads()
	}
	j.colGroups = ceilDiv(j.colGroups, threads) * threads
}

// dotColumns returns the columns of a task that computes dot products.
func (j *job) dotColumns(task int) (j0, j1 int) {
	lo, hi := part(ceilDiv(j.n, 4), j.colGroups, task)
	return 4 * lo, min(4*hi, j.n)
}

// rankColumns returns the columns of a task that adds rows.
func (j *job) rankColumns(task int) (j0, j1 int) {
	const unit = 32
	lo, hi := part(ceilDiv(j.n, unit), j.colGroups, task)
	return lo * unit, min(hi*unit, j.n)
}

// dots computes columns of C as dot products of rows of A and of the stored B,
// four rows of B at a time.
func (j *job) dots(task int) {
	j0, j1 := j.dotColumns(task)
	j.scale(0, j.m, j0, j1)
	var sums [4 * asm.MaxDotRows]float32
	for q := j0; q < j1; q += 4 {
		// The last four may overlap the ones before them: what is computed
		// twice is added once.
		first := min(q, j.n-4)
		for p := 0; p < j.k; p += skinnyDepth {
			kc := min(skinnyDepth, j.k-p)
			next := j.b[first*j.ldb+p+kc:]
			if p+kc == j.k {
				next = j.b[min(q+4, j.n-4)*j.ldb:]
			}
			for i := 0; i < j.m; i += asm.MaxDotRows {
				h := min(asm.MaxDotRows, j.m-i)
				asm.DotRows(h, kc, j.rows[i*j.ldr+p:], j.ldr, j.b[first*j.ldb+p:], j.ldb, next, &sums)
				for r := range h {
					row := j.c[(i+r)*j.ldc+first:][:4]
					for s := q - first; s < 4; s++ {
						row[s] += sums[4*r+s]
					}
				}
			}
		}
	}
}

// ranks computes a part of C, which stays in cache in a copy, by adding a few
// rows of B at a time.
func (j *job) ranks(task int) {
	const unit = 32
	lo, hi := part(ceilDiv(j.n, unit), j.colGroups, task)
	j0 := lo * unit
	n := min(hi*unit, j.n) - j0
	ldc := spread(n)
	c, buf := packing.Get(j.m * ldc)
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

// spread returns a distance for rows of n elements: an odd number of cache
// lines. Of rows that are a power of two apart, as the layers of nets have them,
// elements one below the other meet in one set of the level-1 cache, which holds
// few of them.
func spread(n int) int {
	const line = 64 / 4
	return (ceilDiv(n, line) | 1) * line
}
