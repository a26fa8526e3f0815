package conv

import (
	"crema/asm"
	"crema/gemm"
	"crema/internal/par"
)

// Winograd convolution F(4×4,3×3): a tile of 4×4 output pixels is computed
// from 6×6 input pixels as 36 products instead of 144, between transforms of
// tile, filter and result (asm.WinoInput and its siblings have the matrices).
// Over channels and filters the products become 36 matrix products
//
//	M[p] = U[p]·V[p]	K×tiles = K×C · C×tiles
//
// one for each point p of a transformed tile. The input gradient is the same
// convolution of the output gradient with the filters turned round; the weight
// gradient is dU[p] = dM[p]·V[p]ᵀ, summed over blocks of tiles in order.
//
// Tiles are taken in blocks of whole tile rows, counted through all images, so
// that V and M of a block stay in cache. Lanes of the transforms are the tiles
// of a row: pixels 4t+j of a line of the image become lane t of column j.
const (
	winoSide   = 6 // of a transformed tile
	winoPoints = winoSide * winoSide
	winoOut    = 4 // side of a tile of output
	winoTaps   = 9
)

// winogradAccepts says where it is used: 3×3 filters moved by single pixels,
// and channels and pixels enough that the products outweigh the transforms.
func winogradAccepts(s *Shape, d Direction) bool {
	oh, ow := s.H+2*s.PadH-2, s.W+2*s.PadW-2
	return s.R == 3 && s.S == 3 && s.StrideH == 1 && s.StrideW == 1 && s.DilationH == 1 && s.DilationW == 1 && s.Group == 1 &&
		s.PadH <= 2 && s.PadW <= 2 && s.C >= 16 && s.K >= 16 && oh >= winoOut && ow >= winoOut
}

// winograd is the job of one call.
type winograd struct {
	p *Plan
	d Direction
	// The convolution computed: source of c channels of h×w, target of k
	// channels of oh×ow.
	c, h, w, k, oh, ow, padH, padW int

	in, with, bias, out []float32

	th, tw     int // tiles in a column and a row of the target
	rows       int // tile rows in a block
	tileRows   int // in all
	row0, row1 int // of the present block
	v, m       []float32
	sums       []float32 // dU
	left       [winoPoints]gemm.Packed
	groups     int // tasks a phase is cut into
	rowGroups  int // of each point's product
	phase      func(t *winograd, task int)
}

var winograds freeList[winograd]

// Do does one task of the present phase.
func (t *winograd) Do(task int) { t.phase(t, task) }

func (t *winograd) run(tasks int, phase func(*winograd, int)) {
	t.phase, t.groups = phase, tasks
	par.Run(t.p.threads, tasks, t)
}

// winogradGroup computes direction d; there is one group.
func winogradGroup(p *Plan, d Direction, _ int, in, with, bias, out []float32) {
	t := winograds.get()
	s := &p.s
	*t = winograd{p: p, d: d, in: in, with: with, bias: bias, out: out,
		c: s.C, h: s.H, w: s.W, k: s.K, oh: p.oh, ow: p.ow, padH: s.PadH, padW: s.PadW, left: t.left}
	if d == BackwardData {
		t.c, t.h, t.w, t.k, t.oh, t.ow = s.K, p.oh, p.ow, s.C, s.H, s.W
		t.padH, t.padW = 2-s.PadH, 2-s.PadW
	}
	t.th, t.tw = ceilDiv(t.oh, winoOut), ceilDiv(t.ow, winoOut)
	t.tileRows = s.N * t.th
	if d == BackwardWeights {
		t.weights()
	} else {
		t.images()
	}
	*t = winograd{left: t.left}
	winograds.put(t)
}

// winoDepth and winoTileDepth are how many products are summed at a time, over
// channels and over tiles: the error of a transformed sum is multiplied by the
// transform back, so it must be small.
var (
	winoDepth     = 64
	winoTileDepth = 384
)

// winoSizes are the sizes of blocks, in elements of V and M together: what a
// worker takes by itself (2.5 MB), if the filters are few enough (elements of
// U, 3 MB) that every worker can stream them, and what all workers share
// (16 MB). They are part of the order of the sums, not of the machine. A
// variable, because tests make blocks small.
var winoSizes = struct{ private, few, shared int }{5 << 17, 3 << 18, 4 << 20}

// leastTiles is the fewest tiles of a block: narrower products are slow.
const leastTiles = 48

// blockRows returns how many tile rows make a block of at most size elements
// (but at least leastTiles tiles): the number that wastes least of the widest
// kernel's panels over all blocks, and of equal ones the largest.
func (t *winograd) blockRows(size int) int {
	row := winoPoints * (t.c + t.k) * t.tw
	least := min(ceilDiv(leastTiles, t.tw), t.tileRows)
	most := max(min(size/row, t.tileRows), least)
	panels := func(rows int) int { return ceilDiv(rows*t.tw, asm.MaxNR) }
	best, fewest := 0, 0
	for n := most; n >= least; n-- {
		p := t.tileRows/n*panels(n) + panels(t.tileRows%n)
		if best == 0 || p < fewest {
			best, fewest = n, p
		}
	}
	return best
}

// images computes the output or the input gradient.
func (t *winograd) images() {
	for p := range t.left {
		t.left[p].ResetDepth(t.k, t.c, winoDepth)
	}
	t.run(t.left[0].Panels(), (*winograd).filters)
	if winoPoints*t.c*t.k <= winoSizes.few {
		t.rows = t.blockRows(winoSizes.private)
		t.run(ceilDiv(t.tileRows, t.rows), (*winograd).block)
	} else {
		t.rows = t.blockRows(winoSizes.shared)
		tiles := t.rows * t.tw
		var vb, mb *par.Buffer
		t.v, vb = scratch.Get(winoPoints * t.c * tiles)
		t.m, mb = scratch.Get(winoPoints * t.k * tiles)
		t.rowGroups = t.split()
		for t.row0 = 0; t.row0 < t.tileRows; t.row0 = t.row1 {
			t.row1 = min(t.row0+t.rows, t.tileRows)
			t.run(t.chunks(t.c), (*winograd).sharedInput)
			t.run(winoPoints*t.rowGroups, (*winograd).sharedProduct)
			t.run(t.chunks(t.k), (*winograd).sharedOutput)
		}
		scratch.Put(mb)
		scratch.Put(vb)
	}
	for p := range t.left {
		t.left[p].Release()
	}
}

// chunks returns how many tasks the transforms of n channels are cut into.
func (t *winograd) chunks(n int) int { return min(n, 8*t.threads()) }

// split returns how many tasks each of the 36 products is cut into.
func (t *winograd) split() int { return min(ceilDiv(4*t.threads(), winoPoints), ceilDiv(t.k, 32)) }

func (t *winograd) threads() int {
	if t.p.threads > 0 {
		return t.p.threads
	}
	return par.Threads()
}

// filters packs the transforms of one panel of filters.
func (t *winograd) filters(panel int) {
	first, h := t.left[0].PanelRows(panel)
	depth := t.c
	taps, tbuf := scratch.Get(2 * winoTaps * depth)
	u, ubuf := scratch.Get(winoPoints * h * depth)
	turned := taps[winoTaps*depth:]
	for r := range h {
		src := taps
		if t.d == Forward {
			asm.Transpose(depth, winoTaps, t.with[(first+r)*depth*winoTaps:], winoTaps, taps, depth)
		} else {
			// Filter k of the forward pass is channel k here, turned round.
			asm.Transpose(depth, winoTaps, t.with[(first+r)*winoTaps:], t.k*winoTaps, taps, depth)
			for j := range winoTaps {
				copy(turned[j*depth:][:depth], taps[(winoTaps-1-j)*depth:])
			}
			src = turned
		}
		asm.WinoFilter(depth, src, 3*depth, depth, u[r*depth:], winoSide*h*depth, h*depth)
	}
	for p := range t.left {
		t.left[p].PackPanel(panel, u[p*h*depth:], depth)
	}
	scratch.Put(ubuf)
	scratch.Put(tbuf)
}

// block does a whole block of tiles in one task.
func (t *winograd) block(task int) {
	row0 := task * t.rows
	row1 := min(row0+t.rows, t.tileRows)
	tiles := (row1 - row0) * t.tw
	v, vb := scratch.Get(winoPoints * t.c * tiles)
	m, mb := scratch.Get(winoPoints * t.k * tiles)
	t.input(row0, row1, 0, t.c, v)
	for p := range t.left {
		t.product(p, tiles, 0, t.left[p].Panels(), v, m)
	}
	t.output(row0, row1, 0, t.k, m)
	scratch.Put(mb)
	scratch.Put(vb)
}

func (t *winograd) sharedInput(task int) {
	lo, hi := part(t.c, t.groups, task)
	t.input(t.row0, t.row1, lo, hi, t.v)
}

func (t *winograd) sharedProduct(task int) {
	p := task / t.rowGroups
	lo, hi := part(t.left[p].Panels(), t.rowGroups, task%t.rowGroups)
	t.product(p, (t.row1-t.row0)*t.tw, lo, hi, t.v, t.m)
}

func (t *winograd) sharedOutput(task int) {
	lo, hi := part(t.k, t.groups, task)
	t.output(t.row0, t.row1, lo, hi, t.m)
}

// segment returns the image tile row r is in, its number there, and how many
// tile rows up to end follow in the same image.
func (t *winograd) segment(r, end int) (img, ty, n int) {
	img, ty = r/t.th, r%t.th
	return img, ty, min(t.th-ty, end-r)
}

// input transforms channels lo ≤ c < hi of tile rows row0 ≤ r < row1 into v:
// 36 points × channels × tiles.
func (t *winograd) input(row0, row1, lo, hi int, v []float32) {
	tiles := (row1 - row0) * t.tw
	most := min(row1-row0, t.th)
	// One column beyond the last tile has the two pixels it shares with it.
	cols := t.tw + 1
	size := (winoOut*most + 2) * cols * winoOut
	lines, lbuf := scratch.Get(size)
	phases, pbuf := scratch.Get(size)
	for c := lo; c < hi; c++ {
		for r := row0; r < row1; {
			img, ty, n := t.segment(r, row1)
			height := winoOut*n + 2
			t.lines(t.in[(img*t.c+c)*t.h*t.w:], t.h, t.w, winoOut*ty-t.padH, height, t.padW, winoOut*cols, lines)
			asm.Transpose(height*cols, winoOut, lines, winoOut, phases, height*cols)
			for i := range n {
				asm.WinoInput(t.tw, phases[winoOut*i*cols:], cols, height*cols,
					v[c*tiles+(r+i-row0)*t.tw:], winoSide*t.c*tiles, t.c*tiles)
			}
			r += n
		}
	}
	scratch.Put(pbuf)
	scratch.Put(lbuf)
}

// lines copies height lines of an h×w image from line y on, which may be
// negative or beyond the end, into lines of width elements, pad zeros first
// and zeros behind.
func (t *winograd) lines(x []float32, h, w, y, height, pad, width int, dst []float32) {
	n := min(w, width-pad)
	for i := range height {
		line := dst[i*width:][:width]
		if y+i < 0 || y+i >= h {
			clear(line)
			continue
		}
		clear(line[:pad])
		copy(line[pad:], x[(y+i)*w:][:n])
		clear(line[pad+n:])
	}
}

// product multiplies panels lo ≤ i < hi of point p with the tiles of v into m.
func (t *winograd) product(p, tiles, lo, hi int, v, m []float32) {
	left := &t.left[p]
	nr := left.Width()
	width := left.BlockWidth()
	bp, buf := scratch.Get(left.PanelSize(min(width, tiles)))
	first, _ := left.PanelRows(lo)
	v = v[p*t.c*tiles:]
	m = m[(p*t.k+first)*tiles:]
	for j0 := 0; j0 < tiles; j0 += width {
		n := min(width, tiles-j0)
		for b := range left.Blocks() {
			p0, kc := left.Block(b)
			for j := 0; j < n; j += nr {
				asm.PackRows(kc, nr, 0, min(nr, n-j), v, p0*tiles+j0+j, tiles, bp[j*kc:], nr)
			}
			left.Multiply(b, lo, hi, 1, bp, n, m[j0:], tiles, b > 0)
		}
	}
	scratch.Put(buf)
}

// output transforms channels lo ≤ k < hi of the tiles in m and stores them.
func (t *winograd) output(row0, row1, lo, hi int, m []float32) {
	tiles := (row1 - row0) * t.tw
	most := min(row1-row0, t.th)
	size := most * winoOut * winoOut * t.tw
	phases, pbuf := scratch.Get(size)
	lines, lbuf := scratch.Get(size)
	for k := lo; k < hi; k++ {
		for r := row0; r < row1; {
			img, ty, n := t.segment(r, row1)
			column := n * winoOut * t.tw // all lines of one of the four columns
			for i := range n {
				asm.WinoOutput(t.tw, m[k*tiles+(r+i-row0)*t.tw:], winoSide*t.k*tiles, t.k*tiles,
					phases[i*winoOut*t.tw:], t.tw, column)
			}
			asm.Transpose(winoOut, column, phases, column, lines, winoOut)
			if t.bias != nil {
				asm.AddScalar(t.bias[k], lines[:winoOut*column])
			}
			y := t.out[((img*t.k+k)*t.oh+winoOut*ty)*t.ow:]
			for i := range min(winoOut*n, t.oh-winoOut*ty) {
				copy(y[i*t.ow:][:t.ow], lines[i*winoOut*t.tw:])
			}
			r += n
		}
	}
	scratch.Put(lbuf)
	scratch.Put(pbuf)
}

// weights adds the gradient of the weights.
func (t *winograd) weights() {
	t.rows = t.blockRows(winoSizes.shared)
	tiles := t.rows * t.tw
	var vb, mb, sb *par.Buffer
	t.v, vb = scratch.Get(winoPoints * t.c * tiles)
	t.m, mb = scratch.Get(winoPoints * t.k * tiles)
	t.sums, sb = scratch.Get(winoPoints * t.k * t.c)
	t.rowGroups = t.split()
	for t.row0 = 0; t.row0 < t.tileRows; t.row0 = t.row1 {
		t.row1 = min(t.row0+t.rows, t.tileRows)
		t.run(t.chunks(t.c), (*winograd).sharedInput)
		t.run(t.chunks(t.k), (*winograd).sharedGradient)
		t.run(winoPoints*t.rowGroups, (*winograd).sharedOuter)
	}
	t.run(t.k, (*winograd).addFilter)
	scratch.Put(sb)
	scratch.Put(mb)
	scratch.Put(vb)
}

// sharedGradient transforms some channels of the output gradient into m.
func (t *winograd) sharedGradient(task int) {
	lo, hi := part(t.k, t.groups, task)
	tiles := (t.row1 - t.row0) * t.tw
	most := min(t.row1-t.row0, t.th)
	size := most * winoOut * winoOut * t.tw
	lines, lbuf := scratch.Get(size)
	phases, pbuf := scratch.Get(size)
	for k := lo; k < hi; k++ {
		for r := t.row0; r < t.row1; {
			img, ty, n := t.segment(r, t.row1)
			height := winoOut * n
			t.lines(t.with[(img*t.k+k)*t.oh*t.ow:], t.oh, t.ow, winoOut*ty, height, 0, winoOut*t.tw, lines)
			asm.Transpose(height*t.tw, winoOut, lines, winoOut, phases, height*t.tw)
			for i := range n {
				asm.WinoGradient(t.tw, phases[winoOut*i*t.tw:], t.tw, height*t.tw,
					t.m[k*tiles+(r+i-t.row0)*t.tw:], winoSide*t.k*tiles, t.k*tiles)
			}
			r += n
		}
	}
	scratch.Put(pbuf)
	scratch.Put(lbuf)
}

// sharedOuter adds the present block of tiles to some rows of one point of dU.
func (t *winograd) sharedOuter(task int) {
	p := task / t.rowGroups
	lo, hi := part(t.k, t.rowGroups, task%t.rowGroups)
	if lo == hi {
		return
	}
	tiles := (t.row1 - t.row0) * t.tw
	var left gemm.Packed
	left.ResetDepth(hi-lo, tiles, winoTileDepth)
	m := t.m[(p*t.k+lo)*tiles:]
	for i := range left.Panels() {
		first, _ := left.PanelRows(i)
		left.PackPanel(i, m[first*tiles:], tiles)
	}
	nr, width := left.Width(), left.BlockWidth()
	bp, buf := scratch.Get(left.PanelSize(min(width, t.c)))
	v := t.v[p*t.c*tiles:]
	sums := t.sums[(p*t.k+lo)*t.c:]
	for j0 := 0; j0 < t.c; j0 += width {
		n := min(width, t.c-j0)
		for b := range left.Blocks() {
			p0, kc := left.Block(b)
			for j := 0; j < n; j += nr {
				asm.Transpose(min(nr, n-j), kc, v[(j0+j)*tiles+p0:], tiles, bp[j*kc:], nr)
			}
			left.Multiply(b, 0, left.Panels(), 1, bp, n, sums[j0:], t.c, b > 0 || t.row0 > 0)
		}
	}
	scratch.Put(buf)
	left.Release()
}

// addFilter transforms the sums of one filter back and adds them to the
// gradient of its weights.
func (t *winograd) addFilter(k int) {
	c := t.c
	taps, tbuf := scratch.Get(2 * winoTaps * c)
	asm.WinoFilterGradient(c, t.sums[k*c:], winoSide*t.k*c, t.k*c, taps, 3*c, c)
	row := taps[winoTaps*c:]
	asm.Transpose(winoTaps, c, taps, c, row, winoTaps)
	asm.Add(row[:winoTaps*c], t.out[k*c*winoTaps:][:winoTaps*c])
	scratch.Put(tbuf)
}
