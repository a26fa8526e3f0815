package gemm

import (
	"crema/asm"
	"crema/internal/cpu"
	"crema/internal/par"
)

// packedRows bounds the elements of A that are packed at a time when C is made
// row by row (4 MB): they lie in the level-3 cache.
const packedRows = 1 << 20

// shallow is the depth up to which transposing a panel of B takes as long as a
// tile or two.
const shallow = 64

// brief is the number of multiply-adds up to which a product is over before it
// pays that a worker that is held up leaves tasks to the others: some
// milliseconds.
const brief = 1 << 29

// contended reports whether the rows of A compete for the same lines of the
// level-1 cache, which has cacheWays for addresses a multiple of pageSize apart.
func (j *job) contended() bool { return j.lda*4%pageSize == 0 }

const (
	pageSize  = 4096
	cacheWays = 8
)

// direct reports whether A is read where it lies: it is not transposed and used
// for one panel of B only. Of very few columns, reading it so takes longer.
func (j *job) direct() bool {
	const few = 8
	kern := asm.Sgemm()
	return kern.Low > 0 && !bool(j.transA) && few < j.n && j.n <= kern.NR && j.m >= kern.Low
}

// split cuts the product into tasks, rowGroups × colGroups parts of C that are
// about equal. Each packs the parts of A and B it needs, so the fewer the
// better; but with several for each worker a late one matters less, if the
// product takes long. The choice does not change the result.
func (j *job) split() {
	threads := j.threads
	if threads <= 0 {
		threads = par.Threads()
	}
	j.rowGroups, j.colGroups = 1, 1
	if threads == 1 {
		return
	}
	nr := asm.Sgemm().NR
	// longest is what a worker does if it takes as many of r×c tasks as any.
	longest := func(r, c int) int {
		return j.cost(ceilDiv(j.m, r), ceilDiv(ceilDiv(j.n, c), nr)*nr) * ceilDiv(r*c, threads)
	}
	type cut struct{ work, r, c int }
	var cuts [3]cut
	var least int
	for i := range cuts {
		each := 4 >> i
		if j.m*j.n*j.k <= brief {
			each = 1 << i
		}
		tasks, best := each*threads, &cuts[i]
		for r := 1; r <= tasks; r++ {
			c := tasks / r
			if r*c != tasks {
				continue
			}
			// Parts one below the other share no cache lines of C. But each would
			// transpose all of B.
			if w := longest(r, c); best.work == 0 || w < best.work || w == best.work && !bool(j.transB) {
				*best = cut{w, r, c}
			}
		}
		if least == 0 || best.work < least {
			least = best.work
		}
	}
	for _, c := range cuts {
		if c.work <= least+least/100 {
			j.rowGroups, j.colGroups = c.r, c.c
			break
		}
	}
	// Columns go in whole panels, of which there may be too few for parts of
	// about one size: then each part is one, and rows are cut further.
	uneven := func(r, c int) bool { return 4*longest(r, c)*threads > 5*r*c*j.cost(j.m/r, j.n/c) }
	if !uneven(j.rowGroups, j.colGroups) {
		return
	}
	panels, best := ceilDiv(j.n, nr), 0
	for r := 1; r <= min(4*threads, j.m); r++ {
		if w := longest(r, panels); !uneven(r, panels) && (best == 0 || w < best) {
			best, j.rowGroups, j.colGroups = w, r, panels
		}
	}
}

// cost estimates the time of m×n elements of C for each of k: that of 16
// multiply-adds is 8, that of packing an element of A 6, as its short columns are
// far apart, or 5 if they are transposed; that of B, which tiles pack on the way,
// 1, or 5 if it is transposed. A that is not packed costs nothing.
func (j *job) cost(m, n int) int {
	const onTheWay, copying, transposition = 1, 6, 5
	a, b := transposition, onTheWay
	switch {
	case bool(j.transA):
		a = copying
	case j.direct():
		a = 0
	}
	if j.transB {
		b = transposition
	}
	return m*n/2 + m*a + n*b
}

// part returns the rows i0 ≤ i < i1 and columns j0 ≤ j < j1 of a part of C.
func (j *job) part(task int) (i0, i1, j0, j1 int) {
	nr := asm.Sgemm().NR
	i0, i1 = part(j.m, j.rowGroups, task%j.rowGroups)
	jlo, jhi := part(ceilDiv(j.n, nr), j.colGroups, task/j.rowGroups)
	return i0, i1, jlo * nr, min(jhi*nr, j.n)
}

// blocking is how each part of C is cut further.
type blocking struct {
	depth     int  // rows of B at a time
	byRows    bool // the order: see the package's documentation
	rowBlocks int  // blocks of rows
	width     int  // columns of a packed block of B
	direct    bool // A is not packed
	height    int  // most rows of a tile
	once      bool // which is all columns: no panel of A is used again
	// Elements of packed A and B, whole cache lines.
	sizeA, sizeB int
}

// blocking fits parts of up to m×n elements and a depth of k.
func (j *job) blocking(kern *asm.Kernel, m, n, k int) blocking {
	lines := func(n int) int { return ceilDiv(n, line) * line }
	b := blocking{depth: depthOf(k, kern.KC), height: kern.MR}
	if j.direct() && j.m/j.rowGroups >= kern.Low {
		b.direct, b.rowBlocks, b.sizeB = true, 1, lines(kern.NR*b.depth)
		if j.contended() {
			b.height = min(b.height, cacheWays-1)
		}
		return b
	}
	near := cpu.L2() / 2 / 4 // elements of a block that is to stay in the level-2 cache
	// If C is made by columns B is packed for every block of rows, which costs
	// little unless it is transposed; then A may as well pass by, above all if it
	// can be packed on the way. Of a tall product, A is most to pack. In a shallow
	// one the transposition of B is best done without tiles in between.
	b.byRows = bool(j.transB) && (bool(j.transA) || m*b.depth > near || k <= shallow) || bool(j.transA) && m >= 2*n
	if !b.byRows {
		b.rowBlocks, b.width = ceilDiv(m*b.depth, near), kern.NR
		b.sizeA, b.sizeB = lines(ceilDiv(m, b.rowBlocks)*b.depth), lines(kern.NR*b.depth)
		return b
	}
	b.rowBlocks = ceilDiv(m*b.depth, packedRows)
	b.width = ceilDiv(ceilDiv(n, ceilDiv(n*b.depth, near)), kern.NR) * kern.NR
	rows := ceilDiv(m, b.rowBlocks)
	if b.once = b.width >= n; b.once {
		b.rowBlocks, rows = 1, kern.MR
	}
	b.sizeA, b.sizeB = lines(rows*b.depth), lines(b.width*b.depth)
	return b
}

// runBlocks computes the product.
func (j *job) runBlocks() {
	j.split()
	kern := asm.Sgemm()
	tasks := j.rowGroups * j.colGroups
	panels := ceilDiv(ceilDiv(j.n, kern.NR), j.colGroups)
	j.cut = j.blocking(kern, ceilDiv(j.m, j.rowGroups), panels*kern.NR, j.k)
	var buf *par.Buffer
	if tasks <= par.Threads() {
		// A worker that does the same task as before finds its panels' memory in
		// the cache of its core.
		j.scratch, buf = packing.Get(tasks * (j.cut.sizeA + j.cut.sizeB))
	}
	par.Run(j.threads, tasks, j)
	if buf != nil {
		j.scratch = nil
		packing.Put(buf)
	}
}

// block computes one part of C, in one of two orders.
func (j *job) block(task int) {
	t := tiles{job: j, kern: asm.Sgemm()}
	cut := &j.cut
	i0, i1, j0, j1 := j.part(task)
	m, n := i1-i0, j1-j0
	if m == 0 || n <= 0 {
		return
	}
	if j.beta != 0 && j.beta != 1 {
		j.scale(i0, i1, j0, j1)
	}
	panels := j.scratch
	var buf *par.Buffer
	if panels == nil {
		panels, buf = packing.Get(cut.sizeA + cut.sizeB)
	} else {
		panels = panels[task*(cut.sizeA+cut.sizeB):]
	}
	t.panelsAt(panels)
	t.product(0, j.k, i0, m, j0, n)
	if buf != nil {
		packing.Put(buf)
	}
}

// panelsAt has the panels in the given memory.
func (t *tiles) panelsAt(x []float32) {
	t.ap, t.bp = x[:t.cut.sizeA], x[t.cut.sizeA:][:t.cut.sizeB]
}

// product computes m×n elements of C, from (i0, j0) on, over the depth from p0 to
// p1-1.
func (t *tiles) product(p0, p1, i0, m, j0, n int) {
	cut := &t.cut
	for t.p0 = p0; t.p0 < p1; t.p0 += cut.depth {
		t.kc = min(cut.depth, p1-t.p0)
		t.acc = t.p0 > p0 || t.beta != 0
		for b := range cut.rowBlocks {
			lo, hi := part(m, cut.rowBlocks, b)
			t.i0, t.m = i0+lo, hi-lo
			t.panels = ceilDiv(t.m, cut.height)
			switch {
			case cut.direct:
				t.panelOfB(j0, n)
			case cut.byRows:
				for q := 0; q < n; q += cut.width {
					t.rows(j0+q, min(cut.width, n-q), q == 0)
				}
			default:
				t.columns(j0, n)
			}
		}
	}
}

// tiles are the tiles of some rows of C, for a block of depth.
type tiles struct {
	*job
	kern   *asm.Kernel
	p0, kc int // the depth
	i0, m  int // the rows
	panels int // of A, over which the rows are spread evenly
	ap, bp []float32
	acc    bool // C has a value
}

// panel returns the first row of panel i of A, its height and its place.
func (t *tiles) panel(i int) (first, height int, dst []float32) {
	lo, hi := part(t.m, t.panels, i)
	first, height, dst = t.i0+lo, hi-lo, t.ap
	if !t.cut.once {
		dst = dst[lo*t.kc:]
	}
	return first, height, dst
}

// panelOfB computes n columns of C from j0 on, at most a panel of B, from the
// rows of A where they lie.
func (t *tiles) panelOfB(j0, n int) {
	t.packB(j0, n)
	for p := range t.panels {
		lo, hi := part(t.m, t.panels, p)
		i := t.i0 + lo
		next := (t.i0+hi)*t.lda + t.p0
		if p == t.panels-1 {
			next = t.i0*t.lda + t.p0 + t.kc
		}
		t.kern.TileRows(hi-lo, n, t.kc, t.alpha, t.a[i*t.lda+t.p0:], t.a[min(next, len(t.a)):], t.lda, t.bp, t.c[i*t.ldc+j0:], t.ldc, t.acc)
	}
}

// columns computes n columns of C from j0 on, a panel of B after the other,
// while all panels of A stay in the level-2 cache. B is packed while the tile
// of the first rows is computed.
func (t *tiles) columns(j0, n int) {
	t.packA()
	nr := t.kern.NR
	for q := j0; q < j0+n; q += nr {
		width := min(nr, j0+n-q)
		done := 0
		if !t.transB && width == nr {
			i, h, ap := t.panel(0)
			t.kern.TilePackB(h, t.kc, t.alpha, ap, t.b[t.p0*t.ldb+q:], t.ldb, t.bp, t.c[i*t.ldc+q:], t.ldc, t.acc)
			done = 1
		} else {
			t.packB(q, width)
		}
		for p := done; p < t.panels; p++ {
			i, h, ap := t.panel(p)
			t.kern.Tile(h, width, t.kc, t.alpha, ap, t.bp, t.c[i*t.ldc+q:], t.ldc, t.acc)
		}
	}
}

// rows computes n columns of C from j0 on, a panel of A after the other, while
// all panels of B stay in the level-2 cache. A is packed if it is not yet, while
// the tile of the first columns is computed if it is stored transposed.
func (t *tiles) rows(j0, n int, first bool) {
	t.packB(j0, n)
	nr := t.kern.NR
	for p := range t.panels {
		i, h, ap := t.panel(p)
		done := 0
		switch {
		case !first:
		case t.transA == NoTrans:
			asm.Transpose(h, t.kc, t.a[i*t.lda+t.p0:], t.lda, ap, h)
		case n < nr:
			asm.PackRows(t.kc, h, 0, h, t.a, t.p0*t.lda+i, t.lda, ap, h)
		default:
			t.kern.TilePackA(h, t.kc, t.alpha, t.a[t.p0*t.lda+i:], t.lda, ap, t.bp, t.c[i*t.ldc+j0:], t.ldc, t.acc)
			done = nr
		}
		for q := done; q < n; q += nr {
			t.kern.Tile(h, min(nr, n-q), t.kc, t.alpha, ap, t.bp[q*t.kc:], t.c[i*t.ldc+j0+q:], t.ldc, t.acc)
		}
	}
}

// packA packs all panels of A.
func (t *tiles) packA() {
	if !t.transA {
		for p := range t.panels {
			i, h, dst := t.panel(p)
			asm.Transpose(h, t.kc, t.a[i*t.lda+t.p0:], t.lda, dst, h)
		}
		return
	}
	// Rows are far apart: take some at a time for all panels, so that few pages
	// are in use.
	for s := 0; s < t.kc; s += rowStep {
		n := min(rowStep, t.kc-s)
		for p := range t.panels {
			i, h, dst := t.panel(p)
			asm.PackRows(n, h, 0, h, t.a, (t.p0+s)*t.lda+i, t.lda, dst[s*h:], h)
		}
	}
}

// packB packs n columns of B from j0 on.
func (t *tiles) packB(j0, n int) {
	nr := t.kern.NR
	if t.transB {
		for q := 0; q < n; q += nr {
			asm.Transpose(min(nr, n-q), t.kc, t.b[(j0+q)*t.ldb+t.p0:], t.ldb, t.bp[q*t.kc:], nr)
		}
		return
	}
	for s := 0; s < t.kc; s += rowStep { // see packA
		rows := min(rowStep, t.kc-s)
		for q := 0; q < n; q += nr {
			asm.PackRows(rows, nr, 0, min(nr, n-q), t.b, (t.p0+s)*t.ldb+j0+q, t.ldb, t.bp[q*t.kc+s*nr:], nr)
		}
	}
}

// part returns the range of part i when n things are cut into equal parts.
func part(n, parts, i int) (lo, hi int) { return n * i / parts, n * (i + 1) / parts }
