package conv

import (
	"crema/asm"
	"crema/internal/par"
)

// Winograd convolution F(4×4,3×3); package asm's WinoKernel has the algebra.
//
// A source of c channels is cut into tiles of 6×6 pixels that overlap by two;
// its transform V has 36 points for each tile and channel. The filters'
// transform U has as many for each channel and filter. At each point M = V·U is
// a product of matrices, tiles × channels × filters, and the transform of M
// gives 4×4 pixels of the target.
//
// Channels go through the transforms 16 at a time, the lanes of vectors; a
// strip of the image is brought into that order, with its border of zeros, just
// before, and the target leaves it just after its transform.
//
// Tiles are taken as rectangles of an image. Where U is small, a task takes
// some rectangles through all three steps, with V and M in its cache. Where it
// is large, each step is a loop of its own over the workers, for as many
// rectangles as fit in the shared cache, so that every point of U is read once
// or twice. The gradient of the weights is done like that always: V of the input
// and the transform Z of the output gradient, then at each point Vᵀ·Z, a sum over
// tiles that is continued from one lot of rectangles to the next.
const (
	winoTile = 4            // pixels of the target on a side
	winoEdge = winoTile + 2 // and of the source
	winoTaps = 9

	// Elements added to the distance of points: a power of two there would put
	// all 36 vectors that a transform writes into the same set of a cache.
	winoSkew = 5 * asm.WinoLanes

	// winoDepth cuts sums over channels: a longer panel of U crowds
	// the nearest caches.
	winoDepth = 256
)

// winogradAccepts holds for what the algorithm can do.
func winogradAccepts(s *Shape, _ Direction) bool {
	return s.R == 3 && s.S == 3 && s.StrideH == 1 && s.StrideW == 1 && s.DilationH == 1 && s.DilationW == 1 &&
		s.Group == 1 && s.PadH <= 2 && s.PadW <= 2
}

// winogradPays holds where it is faster: not where vectors of channels or tiles
// are mostly empty, nor for so few tiles that transforming the filters takes
// most of the time.
func winogradPays(s *Shape, d Direction) bool {
	h, w := s.H, s.W
	if d != BackwardData {
		h, w = h+2*s.PadH-2, w+2*s.PadW-2
	}
	return s.C >= 16 && s.K >= 16 && h >= 3 && w >= 3 && s.N*ceilDiv(h, winoTile)*ceilDiv(w, winoTile) >= 4
}

// winograd is the job of one call.
type winograd struct {
	p    *Plan
	d    Direction
	kern *asm.WinoKernel
	// The convolution as computed: of the input gradient, the source is the
	// output gradient.
	c, h, w    int // source
	k, oh, ow  int // target
	padH, padW int

	in, with, bias, out []float32

	gridH, gridW  int // rectangles of an image
	th, tw        int // tiles of an image
	lot           int // rectangles that are in memory together
	lo, hi, tiles int // the present lot
	accumulate    bool

	u, v, m matrices
	phase   func(t *winograd, task int)
	groups  int // of tasks in the present phase
}

// matrices are 36 matrices, one for each point. Each is kept either by rows, ld
// apart, or as panels of columns.
type matrices struct {
	data  []float32
	buf   *par.Buffer
	point int // elements from one matrix to the next
	ld    int
	panel int // elements from one panel to the next; 0: rows
}

// at returns the matrices from the given element on.
func (m *matrices) at(point, row, col, nr int) []float32 {
	if m.panel == 0 {
		return m.data[point*m.point+row*m.ld+col:]
	}
	return m.data[point*m.point+col/nr*m.panel+row*m.ld+col%nr:]
}

// byRows and byPanels give the shape of a matrix whose columns are rounded up
// to whole panels.
func byRows(rows, cols, nr int) matrices {
	// Rows of a power of two would be in few sets of the first-level cache.
	ld := roundUp(cols, nr) + asm.WinoLanes
	return matrices{point: rows*ld + winoSkew, ld: ld}
}

func byPanels(rows, cols, nr int) matrices {
	return matrices{point: rows*roundUp(cols, nr) + winoSkew, ld: nr, panel: rows * nr}
}

func (m *matrices) alloc() { m.data, m.buf = scratch.Get(asm.WinoPoints * m.point) }

func (m *matrices) release() {
	scratch.Put(m.buf)
	*m = matrices{}
}

func roundUp(n, to int) int { return ceilDiv(n, to) * to }

var winograds freeList[winograd]

// Do does one task of the present phase.
func (t *winograd) Do(task int) { t.phase(t, task) }

func (t *winograd) run(tasks int, phase func(*winograd, int)) {
	t.phase = phase
	par.Run(t.p.threads, tasks, t)
}

// winogradGroup computes a direction; there is only one group.
func winogradGroup(p *Plan, d Direction, _ int, in, with, bias, out []float32) {
	t := winograds.get()
	s := &p.s
	*t = winograd{
		p: p, d: d, kern: asm.Wino(), c: s.C, h: s.H, w: s.W, k: s.K, oh: p.oh, ow: p.ow, padH: s.PadH, padW: s.PadW,
		in: in, with: with, bias: bias, out: out,
	}
	if d == BackwardData {
		t.c, t.h, t.w, t.k, t.oh, t.ow = s.K, p.oh, p.ow, s.C, s.H, s.W
		t.padH, t.padW = 2-s.PadH, 2-s.PadW
	}
	t.th, t.tw = ceilDiv(t.oh, winoTile), ceilDiv(t.ow, winoTile)
	if d == BackwardWeights {
		t.weights()
	} else {
		t.target()
	}
	*t = winograd{}
	winograds.put(t)
}

// winoSizes were chosen by measurement; tests change them.
var winoSizes = struct {
	wide   int // tiles in a row of a rectangle, at most
	few    int // up to so many channels times filters, sizes are those for few
	fused  int // the same for tasks that do all steps
	block  int // tiles of such a task
	staged int // tiles of a lot whose steps are loops of their own
	// Tiles of a lot of a weight gradient, for few and for many channels.
	lot, largeLot int
	panel         int // tiles of all images for tasks by panels of filters
	depth         int // longest sum of a weight gradient in one go
}{
	wide: 56, few: 128 * 128, fused: 256 * 256, block: 28, staged: 300, lot: 160, largeLot: 600, panel: 128, depth: 320,
}

// grid cuts images into rectangles of some tiles tiles and returns how many
// rectangles make size tiles.
func (t *winograd) grid(tiles, size int) int {
	if t.th*t.tw <= tiles {
		t.gridH, t.gridW = 1, 1
	} else {
		t.gridW = ceilDiv(t.tw, winoSizes.wide)
		t.gridH = min(ceilDiv(t.th, max(tiles/ceilDiv(t.tw, t.gridW), 1)), t.th)
	}
	return max(size/(ceilDiv(t.th, t.gridH)*ceilDiv(t.tw, t.gridW)), 1)
}

// rects is the number of rectangles of all images.
func (t *winograd) rects() int { return t.p.s.N * t.gridH * t.gridW }

// A rect is a rectangle of tiles of one image.
type rect struct{ img, y0, y1, x0, x1 int }

func (t *winograd) rect(i int) rect {
	r := rect{img: i / (t.gridH * t.gridW)}
	i %= t.gridH * t.gridW
	r.y0, r.y1 = part(t.th, t.gridH, i/t.gridW)
	r.x0, r.x1 = part(t.tw, t.gridW, i%t.gridW)
	return r
}

func (r rect) tiles() int { return (r.y1 - r.y0) * (r.x1 - r.x0) }

// count returns the tiles of rectangles lo ≤ i < hi.
func (t *winograd) count(lo, hi int) int {
	n := 0
	for i := lo; i < hi; i++ {
		n += t.rect(i).tiles()
	}
	return n
}

// maxTiles is the largest number of tiles of lot rectangles.
func (t *winograd) maxTiles(lot int) int {
	return min(lot*ceilDiv(t.th, t.gridH)*ceilDiv(t.tw, t.gridW), t.p.s.N*t.th*t.tw)
}

// lanes returns how many groups of lanes n channels take.
func lanes(n int) int { return ceilDiv(n, asm.WinoLanes) }

// target computes the output, or the input gradient.
func (t *winograd) target() {
	nr := t.kern.NR
	panels := ceilDiv(t.k, nr)
	block := winoSizes.block
	if t.c*t.k > winoSizes.few {
		block *= 2
	}
	t.lot = t.grid(block, block)
	if t.p.s.N*t.th*t.tw <= winoSizes.panel && panels >= winoTasks*t.threads() {
		t.hi = t.rects()
		t.tiles = t.count(0, t.hi)
		t.v = byRows(t.tiles, t.c, nr)
		t.v.alloc()
		t.run(t.hi*lanes(t.c), (*winograd).stagedInput)
		t.run(panels, (*winograd).panel)
		t.v.release()
		return
	}
	t.u = byPanels(t.c, t.k, nr)
	t.u.alloc()
	t.groups = lanes(roundUp(t.k, nr))
	t.run(t.groups*ceilDiv(t.c, winoChannels), (*winograd).stagedFilters)
	if tasks := ceilDiv(t.rects(), t.lot); t.c*t.k <= winoSizes.fused && (tasks >= winoTasks*t.threads() || t.threads() == 1) {
		t.run(tasks, (*winograd).fused)
	} else {
		t.lot = t.grid(winoSizes.block, winoSizes.staged)
		most := t.maxTiles(t.lot)
		t.v, t.m = byRows(most, t.c, nr), byRows(most, t.k, nr)
		t.v.alloc()
		t.m.alloc()
		for t.lo = 0; t.lo < t.rects(); t.lo = t.hi {
			t.hi = min(t.lo+t.lot, t.rects())
			t.tiles = t.count(t.lo, t.hi)
			t.run((t.hi-t.lo)*lanes(t.c), (*winograd).stagedInput)
			t.groups = panels
			t.run(asm.WinoPoints*panels, (*winograd).stagedProduct)
			t.run((t.hi-t.lo)*lanes(t.k), (*winograd).stagedOutput)
		}
		t.m.release()
		t.v.release()
	}
	t.u.release()
}

// winoTasks is how many tasks there are to be for each worker if they are
// large.
const winoTasks = 4

func (t *winograd) threads() int {
	if n := t.p.threads; n > 0 {
		return min(n, par.Threads())
	}
	return par.Threads()
}

// winoChannels is how many channels of filters are transformed in one go.
const winoChannels = 32

// filters transforms 16 filters, some channels of them. col is the column of
// the first in u.
func (t *winograd) filters(k0, c0 int, u *matrices, col int) {
	const l = asm.WinoLanes
	nk, nc := max(min(l, t.k-k0), 0), min(winoChannels, t.c-c0)
	taps, buf := scratch.Get(winoChannels * winoTaps * l)
	if nk < l {
		clear(taps)
	}
	off, step := 0, l
	switch {
	case nk == 0: // the rest of a panel
	case t.d == Forward:
		asm.Transpose(nk, winoTaps*nc, t.with[(k0*t.c+c0)*winoTaps:], winoTaps*t.c, taps, l)
	default:
		// The filters' channels are filters here, and they are turned round.
		for c := range nc {
			asm.Transpose(nk, winoTaps, t.with[((c0+c)*t.k+k0)*winoTaps:], winoTaps, taps[c*winoTaps*l:], l)
		}
		off, step = (winoTaps-1)*l, -l
	}
	t.kern.Filter(nc, taps, off, step, winoTaps*l, u.at(0, c0, col, t.kern.NR), u.ld, u.point)
	scratch.Put(buf)
}

func (t *winograd) stagedFilters(task int) {
	k0 := task % t.groups * asm.WinoLanes
	t.filters(k0, task/t.groups*winoChannels, &t.u, k0)
}

// panel does all that remains for a panel of filters once V is there. So few
// tiles are worth it: U, large as it is, never leaves the cache.
func (t *winograd) panel(j int) {
	nr := t.kern.NR
	u, m := byPanels(t.c, nr, nr), byRows(t.tiles, nr, nr)
	u.alloc()
	m.alloc()
	for col := 0; col < nr; col += asm.WinoLanes {
		for c0 := 0; c0 < t.c; c0 += winoChannels {
			t.filters(j*nr+col, c0, &u, col)
		}
	}
	for p := range asm.WinoPoints {
		t.product(p, t.tiles, &t.v, &u, &m, 0)
	}
	for col := 0; col < nr && j*nr+col < t.k; col += asm.WinoLanes {
		first := 0
		for i := range t.hi {
			t.output(i, first, (j*nr+col)/asm.WinoLanes, &m, col)
			first += t.rect(i).tiles()
		}
	}
	m.release()
	u.release()
}

// fused does all steps for some rectangles.
func (t *winograd) fused(task int) {
	lo := task * t.lot
	hi := min(lo+t.lot, t.rects())
	tiles := t.count(lo, hi)
	nr := t.kern.NR
	most := t.maxTiles(t.lot)
	v, m := byRows(most, t.c, nr), byRows(most, t.k, nr)
	v.alloc()
	m.alloc()
	first := 0
	for i := lo; i < hi; i++ {
		for g := range lanes(t.c) {
			t.input(i, first, g, &v)
		}
		first += t.rect(i).tiles()
	}
	for p := range asm.WinoPoints {
		for j := 0; j < t.k; j += nr {
			t.product(p, tiles, &v, &t.u, &m, j)
		}
	}
	first = 0
	for i := lo; i < hi; i++ {
		for g := range lanes(t.k) {
			t.output(i, first, g, &m, g*asm.WinoLanes)
		}
		first += t.rect(i).tiles()
	}
	m.release()
	v.release()
}

func (t *winograd) stagedInput(task int) {
	n := lanes(t.c)
	i := t.lo + task/n
	t.input(i, t.count(t.lo, i), task%n, &t.v)
}

func (t *winograd) stagedProduct(task int) {
	t.product(task/t.groups, t.tiles, &t.v, &t.u, &t.m, task%t.groups*t.kern.NR)
}

func (t *winograd) stagedOutput(task int) {
	n := lanes(t.k)
	i := t.lo + task/n
	g := task % n
	t.output(i, t.count(t.lo, i), g, &t.m, g*asm.WinoLanes)
}

// strip brings 16 channels (nc of them there) of rows×cols pixels of an image
// of h×w from (y, x) on, which may lie outside, into dst: zeros outside the
// image. src starts at the first of the channels.
func strip(src []float32, nc, h, w, y, x, rows, cols int, dst []float32) {
	const l = asm.WinoLanes
	lo, hi := max(-x, 0), min(cols, w-x)
	if lo >= hi {
		lo, hi = cols, cols
	}
	for r := range rows {
		line := dst[r*cols*l:][:cols*l]
		if y+r < 0 || y+r >= h || lo == hi {
			clear(line)
			continue
		}
		clear(line[:lo*l])
		asm.Transpose(nc, hi-lo, src[(y+r)*w+x+lo:], h*w, line[lo*l:], l)
		clear(line[hi*l:])
	}
}

// input transforms group g of channels of rectangle i of the source. first is
// the place of its first tile in v.
func (t *winograd) input(i, first, g int, v *matrices) {
	const l = asm.WinoLanes
	r := t.rect(i)
	nx := r.x1 - r.x0
	rows, cols := winoTile*(r.y1-r.y0)+2, winoTile*nx+2
	s, buf := scratch.Get(rows * cols * l)
	if t.c-g*l < l {
		clear(s)
	}
	src := t.in[(r.img*t.c+g*l)*t.h*t.w:]
	strip(src, min(l, t.c-g*l), t.h, t.w, winoTile*r.y0-t.padH, winoTile*r.x0-t.padW, rows, cols, s)
	for y := range r.y1 - r.y0 {
		t.kern.Input(nx, s[winoTile*y*cols*l:], cols*l, v.at(0, first+y*nx, g*l, t.kern.NR), v.ld, v.point)
	}
	scratch.Put(buf)
}

// product computes the panel of columns from col on of m at point p.
func (t *winograd) product(p, tiles int, v, u, m *matrices, col int) {
	nr := t.kern.NR
	blocks := ceilDiv(tiles, t.kern.MR)
	for i := range blocks {
		i0, i1 := part(tiles, blocks, i)
		c := m.at(p, i0, col, nr)
		for c0 := 0; c0 < t.c; c0 += winoDepth {
			t.kern.Rows(i1-i0, min(winoDepth, t.c-c0), v.at(p, i0, c0, nr), v.ld, u.at(p, c0, col, nr), c, m.ld, c0 > 0)
		}
	}
}

// output transforms group g of channels of rectangle i of the target, whose
// tiles are in m from row first and column col on.
func (t *winograd) output(i, first, g int, m *matrices, col int) {
	const l = asm.WinoLanes
	r := t.rect(i)
	nx := r.x1 - r.x0
	nk := min(l, t.k-g*l)
	var bias [l]float32
	if t.bias != nil {
		copy(bias[:], t.bias[g*l:][:nk])
	}
	rows, cols := winoTile*(r.y1-r.y0), winoTile*nx
	s, buf := scratch.Get(rows * cols * l)
	for y := range r.y1 - r.y0 {
		t.kern.Output(nx, m.at(0, first+y*nx, col, t.kern.NR), m.ld, m.point, &bias, s[winoTile*y*cols*l:], cols*l)
	}
	oy, ox := winoTile*r.y0, winoTile*r.x0
	rows, width := min(rows, t.oh-oy), min(cols, t.ow-ox)
	y := t.out[((r.img*t.k+g*l)*t.oh+oy)*t.ow+ox:]
	if width == t.ow && width == cols {
		asm.Transpose(rows*width, nk, s, l, y, t.oh*t.ow)
	} else {
		for i := range rows {
			asm.Transpose(width, nk, s[i*cols*l:], l, y[i*t.ow:], t.oh*t.ow)
		}
	}
	scratch.Put(buf)
}

// weights adds the gradient of the weights.
func (t *winograd) weights() {
	nr := t.kern.NR
	lot := winoSizes.largeLot
	if t.c*t.k <= winoSizes.few {
		lot = winoSizes.lot
	}
	t.lot = t.grid(winoSizes.block, lot)
	few := t.p.s.N*t.th*t.tw <= winoSizes.panel
	if few {
		t.lot = t.rects() // whatever the number of workers: lots are summed one by one
	}
	most := t.maxTiles(t.lot)
	t.v, t.m = byPanels(most, t.c, nr), byPanels(most, t.k, nr)
	t.v.alloc()
	t.m.alloc()
	pairs := ceilDiv(t.c, winoRows) * ceilDiv(t.k, nr)
	panel := few && pairs >= winoTasks*t.threads()
	if !panel {
		t.u = byRows(t.c, t.k, nr)
		t.u.alloc()
	}
	for t.lo = 0; t.lo < t.rects(); t.lo = t.hi {
		t.hi = min(t.lo+t.lot, t.rects())
		t.tiles = t.count(t.lo, t.hi)
		t.accumulate = t.lo > 0
		t.run((t.hi-t.lo)*(lanes(t.c)+lanes(roundUp(t.k, nr))), (*winograd).stagedGradients)
		t.groups = ceilDiv(t.k, nr)
		if !panel {
			t.run(asm.WinoPoints*t.groups, (*winograd).stagedOuter)
		}
	}
	if panel {
		t.run(pairs, (*winograd).panelWeights)
	} else {
		t.groups = lanes(t.k)
		t.run(t.groups*ceilDiv(t.c, winoChannels), (*winograd).stagedWeights)
		t.u.release()
	}
	t.m.release()
	t.v.release()
}

// winoRows is the number of channels of a task that computes a block of a
// weight gradient from V and Z of all tiles: its sums stay in cache.
const winoRows = 128

// panelWeights computes such a block.
func (t *winograd) panelWeights(task int) {
	nr := t.kern.NR
	k0, c0 := task%t.groups*nr, task/t.groups*winoRows
	nc := min(winoRows, t.c-c0)
	u := byRows(nc, nr, nr)
	u.alloc()
	for p := range asm.WinoPoints {
		t.outer(p, k0, c0, nc, &u, 0, 0)
	}
	for k := 0; k < nr && k0+k < t.k; k += asm.WinoLanes {
		for c := 0; c < nc; c += winoChannels {
			t.addFilters(k0+k, c0+c, min(winoChannels, nc-c), &u, c, k)
		}
	}
	u.release()
}

// stagedGradients transforms a group of channels of a rectangle of the input,
// or of the output gradient.
func (t *winograd) stagedGradients(task int) {
	nc := lanes(t.c)
	n := nc + lanes(roundUp(t.k, t.kern.NR))
	i, g := t.lo+task/n, task%n
	first := t.count(t.lo, i)
	if g < nc {
		t.input(i, first, g, &t.v)
		return
	}
	g -= nc
	const l = asm.WinoLanes
	r := t.rect(i)
	nx := r.x1 - r.x0
	rows, cols := winoTile*(r.y1-r.y0), winoTile*nx
	s, buf := scratch.Get(rows * cols * l)
	nk := max(min(l, t.k-g*l), 0)
	if nk < l {
		clear(s)
	}
	if nk > 0 {
		strip(t.with[(r.img*t.k+g*l)*t.oh*t.ow:], nk, t.oh, t.ow, winoTile*r.y0, winoTile*r.x0, rows, cols, s)
	}
	for y := range r.y1 - r.y0 {
		t.kern.Gradient(nx, s[winoTile*y*cols*l:], cols*l, t.m.at(0, first+y*nx, g*l, t.kern.NR), t.m.ld, t.m.point)
	}
	scratch.Put(buf)
}

func (t *winograd) stagedOuter(task int) {
	k0 := task % t.groups * t.kern.NR
	t.outer(task/t.groups, k0, 0, t.c, &t.u, 0, k0)
}

// outer adds or assigns the sums over the present lot, at one point, for a
// panel of filters from k0 on and nc channels from c0 on, to u from (row, col)
// on.
func (t *winograd) outer(p, k0, c0, nc int, u *matrices, row, col int) {
	nr := t.kern.NR
	depths := ceilDiv(t.tiles, winoSizes.depth)
	for c := 0; c < nc; c += nr {
		n := min(nr, nc-c)
		blocks := ceilDiv(n, t.kern.MC)
		for i := range blocks {
			i0, i1 := part(n, blocks, i)
			to := u.at(p, row+c+i0, col, nr)
			for d := range depths {
				t0, t1 := part(t.tiles, depths, d)
				t.kern.Cols(i1-i0, t1-t0, t.v.at(p, t0, c0+c+i0, nr), t.m.at(p, t0, k0, nr), to, u.ld, t.accumulate || d > 0)
			}
		}
	}
}

func (t *winograd) stagedWeights(task int) {
	k0, c0 := task%t.groups*asm.WinoLanes, task/t.groups*winoChannels
	t.addFilters(k0, c0, min(winoChannels, t.c-c0), &t.u, c0, k0)
}

// addFilters transforms the sums of 16 filters from k0 on, nc channels of them
// from c0 on, back and adds them to the gradient. In u they are from (row, col)
// on.
func (t *winograd) addFilters(k0, c0, nc int, u *matrices, row, col int) {
	const l = asm.WinoLanes
	nk := min(l, t.k-k0)
	taps, buf := scratch.Get(2 * winoChannels * winoTaps * l)
	rows := taps[winoChannels*winoTaps*l:]
	t.kern.Weights(nc, u.at(0, row, col, t.kern.NR), u.ld, u.point, taps)
	n := winoTaps * nc
	asm.Transpose(n, nk, taps, l, rows, n)
	for k := range nk {
		asm.Add(rows[k*n:][:n], t.out[((k0+k)*t.c+c0)*winoTaps:][:n])
	}
	scratch.Put(buf)
}
