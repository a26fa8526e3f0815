package gemm

import (
	"crema/asm"
	"crema/internal/cpu"
	"crema/internal/par"
)

// A Packed is an m×k matrix laid out as panels for a micro-kernel, the left
// operand of a product. The depth is cut into blocks of at most KC; a block
// holds the panels of all rows one after the other. Rows are spread evenly
// over panels, so the last is at most a little lower.
type Packed struct {
	kern  *asm.Kernel
	m, k  int
	mr    int // height of all panels but the last
	depth int // of all blocks but the last
	data  []float32
	buf   *par.Buffer
}

// packing is the scratch memory of packed operands.
var packing par.Pool

// Reset prepares p for an m×k matrix (m, k > 0), whose content is undefined
// until all its panels are packed. Release gives the memory back.
func (p *Packed) Reset(m, k int) {
	kern := asm.Sgemm()
	p.kern, p.m, p.k = kern, m, k
	p.mr = ceilDiv(m, ceilDiv(m, kern.MR))
	p.depth = depthOf(k, kern.KC)
	p.data, p.buf = packing.Get(m * k)
}

// Release gives the memory of p back.
func (p *Packed) Release() {
	packing.Put(p.buf)
	p.data, p.buf = nil, nil
}

// Panels returns the number of panels of rows.
func (p *Packed) Panels() int { return ceilDiv(p.m, p.mr) }

// Blocks returns the number of blocks of depth.
func (p *Packed) Blocks() int { return ceilDiv(p.k, p.depth) }

// Block returns the first row of block b of B and their number.
func (p *Packed) Block(b int) (first, n int) {
	first = b * p.depth
	return first, min(p.depth, p.k-first)
}

// Width returns the width of a panel of B.
func (p *Packed) Width() int { return p.kern.NR }

// Panel returns the memory of panel i of block b, column after column, and its
// height; Panel and Block tell what belongs there.
func (p *Packed) Panel(b, i int) (dst []float32, height int) {
	p0, kc := p.Block(b)
	i0, h := p.PanelRows(i)
	return p.data[p0*p.m+i0*kc:][:h*kc], h
}

// PanelRows returns the first row of panel i and how many it has.
func (p *Packed) PanelRows(i int) (first, n int) {
	first = i * p.mr
	return first, min(p.mr, p.m-first)
}

// PackPanel packs panel i of all blocks; a holds its rows, lda apart.
func (p *Packed) PackPanel(i int, a []float32, lda int) {
	for b := range p.Blocks() {
		p0, kc := p.Block(b)
		dst, h := p.Panel(b, i)
		asm.Transpose(h, kc, a[p0:], lda, dst, h)
	}
}

// PackTransposed packs panels lo ≤ i < hi of all blocks from the transpose of
// the matrix, k×m with row stride lda.
func (p *Packed) PackTransposed(lo, hi int, a []float32, lda int) {
	for b := range p.Blocks() {
		p0, kc := p.Block(b)
		// Rows are far apart: take some at a time for all panels, so that few
		// pages are in use.
		for s := 0; s < kc; s += rowStep {
			n := min(rowStep, kc-s)
			for i := lo; i < hi; i++ {
				dst, h := p.Panel(b, i)
				i0, _ := p.PanelRows(i)
				asm.PackRows(n, h, 0, h, a, (p0+s)*lda+i0, lda, dst[s*h:], h)
			}
		}
	}
}

// rowStep is how many rows of a wide matrix are packed at a time.
const rowStep = 32

// Multiply adds to (accumulate) or assigns to C alpha times the product of
// panels lo ≤ i < hi of block b and the packed columns bp, n wide. c starts at
// the first row of panel lo and the first of these columns.
func (p *Packed) Multiply(b, lo, hi int, alpha float32, bp []float32, n int, c []float32, ldc int, accumulate bool) {
	_, kc := p.Block(b)
	nr := p.kern.NR
	base, _ := p.PanelRows(lo)
	for i := lo; i < hi; i++ {
		ap, h := p.Panel(b, i)
		i0, _ := p.PanelRows(i)
		for j := 0; j < n; j += nr {
			p.kern.Tile(h, min(nr, n-j), kc, alpha, ap, bp[j*kc:], c[(i0-base)*ldc+j:], ldc, accumulate)
		}
	}
}

// Split chooses how to cut the product with n columns into tasks: groups of
// panels of rows times groups of panels of columns. There are several for each
// worker, so that a late one matters little, but not so small that packing
// costs too much. The choice does not change the result.
func (p *Packed) Split(n, threads int) (rowGroups, colGroups int) {
	if threads <= 0 {
		threads = par.Threads()
	}
	rows, cols := p.Panels(), ceilDiv(n, p.kern.NR)
	colGroups = ceilDiv(cols, p.BlockWidth()/p.kern.NR)
	if threads == 1 {
		return 1, colGroups
	}
	const enough = 4 // tasks per worker
	// Every group of rows packs its columns of B itself: at least 16 panels
	// share them.
	rowGroups = max(1, min(ceilDiv(enough*threads, colGroups), rows/16))
	if want := ceilDiv(enough*threads, rowGroups); colGroups < want {
		colGroups = max(colGroups, min(want, ceilDiv(cols, 2)))
	}
	if colGroups*rowGroups < threads {
		rowGroups = max(rowGroups, min(rows, ceilDiv(threads, colGroups)))
	}
	return rowGroups, colGroups
}

// BlockWidth returns how many columns of B, a multiple of Width, make a block
// that takes half of the level-2 cache.
func (p *Packed) BlockWidth() int {
	nr := p.kern.NR
	return max(cpu.L2()/2/4/p.kern.KC/nr, 1) * nr
}

// PanelSize returns the number of elements a packed block of n columns takes.
func (p *Packed) PanelSize(n int) int { return ceilDiv(n, p.kern.NR) * p.kern.NR * p.depth }

// line is the number of elements in a cache line.
const line = 64 / 4

// depthOf cuts a depth of k evenly into blocks of at most most. They begin with
// cache lines: of rows that lie a large power of two apart, of which the cache
// holds few lines, each is then read once.
func depthOf(k, most int) int {
	return min(ceilDiv(ceilDiv(k, ceilDiv(k, most)), line)*line, most)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
