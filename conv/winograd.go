package conv

import (
	"math"

	"crema/asm"
	"crema/internal/hugepage"
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
// Channels go through the transforms 16 at a time, the lanes of vectors, as the
// layout Blocked has them. A row of tiles is read and written where it lies. From
// NCHW, and where a ReLU masks pixels, a strip of them is first brought into that
// order, with zeros around the image.
//
// Tiles are taken as rectangles of an image. What is near when it is needed
// depends on the shape:
//
//   - Where there are not too many channels and filters, a task takes a block of
//     tiles through all steps. V of the block stays in the worker's own cache.
//     A panel of filters, two vectors, goes through all 36 products and straight
//     on to the transform of the target, so that M is one panel wide, and the
//     panels of U stream by. Meanwhile the next block's pixels are asked for.
//   - Elsewhere V of many tiles is made by all workers and then only read: a task
//     takes a panel of filters through the other steps, so that what is written
//     again and again, U and M of a panel, is always in the same worker's caches.
//   - If the panels cannot be shared out evenly among the workers, each step is a
//     loop of all workers over some tiles: V, U, then the products, a point a
//     task, and the transforms of M. Where U is too large for the shared cache, it
//     is made a part of the filters at a time, for many more tiles.
//
// The gradient of the weights has the transform Z of the output gradient in the
// place of U, and at each point the product Vᵀ·Z, whose terms are tiles. The
// tiles are cut into chunks whose sums are transformed back by themselves and
// then added to the gradient, in order. Where there are not too many channels
// and filters, a task does a chunk. Elsewhere V of a chunk is made by all workers
// and a task takes a panel of filters through the other steps, its sums for some
// channels at a time, which stay in the worker's own cache; or, if the panels
// cannot be shared out evenly, each step is a loop, with Z of a part of the
// filters at a time.
const (
	winoTile = 4            // pixels of the target on a side
	winoEdge = winoTile + 2 // and of the source
	winoTaps = 9

	// Elements added to the distance of points: a power of two there would put
	// all 36 vectors that a transform writes into the same set of a cache.
	winoSkew = 5 * asm.WinoLanes
)

// winogradAccepts holds for what the algorithm can do.
func winogradAccepts(s *Shape, _ Direction) bool {
	return s.R == 3 && s.S == 3 && s.StrideH == 1 && s.StrideW == 1 && s.DilationH == 1 && s.DilationW == 1 &&
		s.PadH <= 2 && s.PadW <= 2
}

// winogradPays holds where it is faster: not where vectors of channels or tiles
// are mostly empty, nor for so few tiles that transforming the filters takes
// most of the time.
func winogradPays(s *Shape, d Direction) bool {
	h, w := s.H, s.W
	if d != BackwardData {
		h, w = h+2*s.PadH-2, w+2*s.PadW-2
	}
	return s.C/s.Group >= 16 && s.K/s.Group >= 16 && h >= 3 && w >= 3 && s.N*ceilDiv(h, winoTile)*ceilDiv(w, winoTile) >= 4
}

// winogradLayouts holds where groups of lanes are whole.
func winogradLayouts(p *Plan, _ Direction) bool {
	s := &p.s
	return (p.in == NCHW || s.C/s.Group%Lanes == 0) && (p.out == NCHW || s.K/s.Group%Lanes == 0)
}

// winograd is the job of one call.
type winograd struct {
	p    *Plan
	d    Direction
	kern *asm.WinoKernel
	// The convolution as computed, of one group: of the input gradient, the
	// source is the output gradient. An image has allC and allK channels.
	c, h, w    int // source
	k, oh, ow  int // target
	allC, allK int
	padH, padW int
	from, to   Layout // of source and target

	args
	low    float32 // least value of the target
	stream bool    // whether the target is written past the caches

	rectH, rectW  int // tiles of a rectangle, at most
	gridH, gridW  int // rectangles of an image
	th, tw        int // tiles of an image
	lot           int // rectangles that are in memory together, or of a task
	block         int // rectangles whose terms are added up in one go
	lo, hi, tiles int // the present lot

	u, v, m matrices
	loop    winoLoop
	groups  int // of tasks in the present loop
	slices  int // and of these
	chunks  int
	k0, kn  int // filters of the present U or Z

	parts    []float32 // gradients of chunks
	biasSums []float32 // of rectangles
}

// matrices are 36 matrices, one for each point, as panels of columns.
type matrices struct {
	data  []float32
	buf   *par.Buffer
	width int // columns of a panel
	panel int // elements from one panel to the next
	point int // and from one matrix to the next
}

// panels gives the shape of matrices whose columns are rounded up to whole
// panels.
func panels(rows, cols, width int) matrices {
	return matrices{width: width, panel: rows * width, point: rows*roundUp(cols, width) + winoSkew}
}

// offset returns where the given element is.
func (m *matrices) offset(point, row, col int) int {
	return point*m.point + col/m.width*m.panel + row*m.width + col%m.width
}

// at returns the matrices from the given element on.
func (m *matrices) at(point, row, col int) []float32 { return m.data[m.offset(point, row, col):] }

func (m *matrices) size() int { return asm.WinoPoints * m.point }

func (m *matrices) alloc() { m.data, m.buf = scratch.Get(m.size()) }

func (m *matrices) release() {
	if m.buf != nil {
		scratch.Put(m.buf)
	}
	*m = matrices{}
}

func roundUp(n, to int) int { return ceilDiv(n, to) * to }

var winograds freeList[winograd]

// Do does one task of the present loop.
func (t *winograd) Do(task int) { t.loop.do(t, task) }

func (t *winograd) cost(task int) float64 { return t.loop.cost(t, task) }

func (t *winograd) run(tasks int, loop winoLoop) {
	t.loop = loop
	t.p.spread(tasks, t)
}

// winogradGroup computes a direction of one group.
func winogradGroup(p *Plan, d Direction, g int, a args) {
	t := winograds.get()
	t.prepare(p, d)
	s := &p.s
	x, y, w := g*s.C/s.Group*s.H*s.W, g*s.K/s.Group*p.oh*p.ow, g*p.weightSize()/s.Group
	switch d {
	case Forward:
		t.args = args{in: from(a.in, x), with: from(a.with, w), bias: from(a.bias, g*t.k), out: from(a.out, y), u: a.u}
	case BackwardData:
		t.args = args{in: from(a.in, y), y: from(a.y, y), with: from(a.with, w), out: from(a.out, x)}
	case BackwardWeights:
		t.args = args{in: from(a.in, x), with: from(a.with, y), y: from(a.y, y), out: from(a.out, w), db: from(a.db, g*t.k)}
	}
	if !p.relu {
		t.y = nil
	}
	if d == BackwardWeights {
		t.weights()
	} else {
		t.target()
	}
	*t = winograd{}
	winograds.put(t)
}

// winogradFilters returns U in u or, if that is too short, in new memory; or nil
// where tasks make their own.
func winogradFilters(p *Plan, w, u []float32) []float32 {
	if p.s.Group > 1 || p.s.C*p.s.K > winoSizes.fused {
		return nil
	}
	t := winograds.get()
	t.prepare(p, Forward)
	t.with = w
	t.u = panels(roundUp(t.c, asm.WinoLanes), t.k, t.kern.NR)
	if len(u) < t.u.size() {
		u = hugepage.Make(t.u.size())
	}
	t.u.data = u
	t.kn = t.k
	t.transformFilters()
	*t = winograd{}
	winograds.put(t)
	return u
}

func (t *winograd) prepare(p *Plan, d Direction) {
	s := &p.s
	*t = winograd{
		p: p, d: d, kern: asm.Wino(), c: s.C / s.Group, h: s.H, w: s.W, k: s.K / s.Group, oh: p.oh, ow: p.ow, padH: s.PadH, padW: s.PadW,
		from: p.in, to: p.out, low: float32(math.Inf(-1)),
	}
	switch {
	case d == BackwardData:
		t.c, t.h, t.w, t.k, t.oh, t.ow = t.k, p.oh, p.ow, t.c, s.H, s.W
		t.padH, t.padW = 2-s.PadH, 2-s.PadW
		t.from, t.to = p.out, p.in
	case d == Forward && p.relu:
		t.low = 0
	}
	t.allC, t.allK = t.c*s.Group, t.k*s.Group
	t.th, t.tw = ceilDiv(t.oh, winoTile), ceilDiv(t.ow, winoTile)
	t.stream = s.N*t.k*t.oh*t.ow >= winoSizes.stream
}

// winoSizes were chosen by measurement; tests change them.
var winoSizes = struct {
	rect    int // tiles of a rectangle, at most
	stream  int // elements of a target that is not to be kept in a cache
	streamV int // and elements of V or Z
	fused   int // up to so many channels times filters, a task does all steps
	own     int // elements of V of such a task
	// Where all workers share V and U: if U has at most so many elements, it is
	// made whole, and V has some tiles at a time; else part of U is made, for
	// more tiles, or all.
	wholeU, lot     int
	partU, largeLot int // elements of U and of V
	sharedV         int // elements of V that tasks share which make their own U; 0: none do
	channels        int // channels that are added up in one go, a multiple of 16

	gradients int // up to so many channels times filters, a task does a chunk
	unit      int // tiles whose terms are added up in one go, in such a task
	near      int // up to so many channels times filters, half as many
	chunks    int // of these, at most
	chunk     int // tiles of a chunk, at least
	depth     int // tiles of a chunk elsewhere, at most; V has largeLot elements at most
	// Channels whose sums a task that takes a panel of filters has in memory
	// together, a multiple of 32; 0: no task takes a panel.
	sumChannels int
}{
	rect: 56, stream: 2 << 20, streamV: 2 << 20, fused: 128 * 256, own: 1 << 17, wholeU: 36 * 256 * 256, lot: 1 << 20, partU: 36 * 64 * 512, largeLot: 6 << 20, sharedV: 6 << 20, channels: 512,

	gradients: 128 * 128, unit: 56, near: 64 * 64, chunks: 12, chunk: 112, depth: 640, sumChannels: 64,
}

// grid cuts images into rectangles of at most some tiles and returns how many
// rectangles make size tiles.
func (t *winograd) grid(tiles, size int) int {
	tiles = max(tiles, 1)
	switch {
	case t.th*t.tw <= tiles:
		t.gridH, t.gridW = 1, 1
	case t.tw <= tiles:
		t.gridH, t.gridW = ceilDiv(t.th, tiles/t.tw), 1
	default:
		t.gridH, t.gridW = t.th, ceilDiv(t.tw, tiles)
	}
	t.rectH, t.rectW = ceilDiv(t.th, t.gridH), ceilDiv(t.tw, t.gridW)
	return max(size/(t.rectH*t.rectW), 1)
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
func (t *winograd) count(lo, hi int) int { return t.before(hi) - t.before(lo) }

// before returns the tiles of rectangles before i.
func (t *winograd) before(i int) int {
	r := t.rect(i)
	return (r.img*t.th+r.y0)*t.tw + (r.y1-r.y0)*r.x0
}

// maxTiles is the largest number of tiles of lot rectangles.
func (t *winograd) maxTiles(lot int) int {
	return min(lot*t.rectH*t.rectW, t.p.s.N*t.th*t.tw)
}

// lanes returns how many groups of lanes n channels take.
func lanes(n int) int { return ceilDiv(n, asm.WinoLanes) }

// many reports whether tasks keep all workers busy.
func (t *winograd) many(tasks int) bool {
	return t.p.workers() == 1 || tasks >= tasksEach*t.p.workers()
}

// even reports whether the workers have about the same number of tasks, at most
// an eighth more than the mean.
func (t *winograd) even(tasks int) bool {
	w := t.p.workers()
	return 8*w*ceilDiv(tasks, w) <= 9*tasks
}

// target computes the output, or the input gradient.
func (t *winograd) target() {
	nr := t.kern.NR
	kept := t.args.u != nil
	t.u = panels(roundUp(t.c, asm.WinoLanes), t.k, nr)
	if kept {
		t.u.data = t.args.u
	}
	if t.c*t.k <= winoSizes.fused {
		tiles := max(winoSizes.own/(asm.WinoPoints*t.c), 1)
		t.lot = t.grid(min(tiles, winoSizes.rect), tiles)
		t.kn = t.k
		if tasks := ceilDiv(t.rects(), t.lot); t.many(tasks) {
			if !kept {
				t.u.alloc()
				t.transformFilters()
			}
			t.groups = min(tasks, 2*tasksEach*t.p.workers())
			t.run(t.groups, winoFused)
			t.u.release()
			return
		}
	}
	if !t.owned() {
		t.shared()
	}
}

// owned computes the target with tasks that take a panel of filters each through
// all steps, for some tiles at a time, whose V they share. It does nothing and
// returns false where the panels cannot be shared out evenly among the workers.
func (t *winograd) owned() bool {
	nr := t.kern.NR
	t.groups = ceilDiv(t.k, nr)
	if winoSizes.sharedV == 0 || !t.even(t.groups) {
		return false
	}
	t.grid(winoSizes.rect, 0)
	// Of few channels, M of a panel would be larger than V.
	channels := max(t.c, 4*nr)
	t.chunks = min(ceilDiv(t.p.s.N*t.th*t.tw*channels*asm.WinoPoints, winoSizes.sharedV), t.rects())
	t.v = panels(t.maxTiles(ceilDiv(t.rects(), t.chunks)), t.c, asm.WinoLanes)
	t.v.alloc()
	for i := range t.chunks {
		t.lo, t.hi = part(t.rects(), t.chunks, i)
		t.tiles = t.count(t.lo, t.hi)
		t.run((t.hi-t.lo)*lanes(t.c), winoInput)
		t.run(t.groups, winoPanel)
	}
	t.v.release()
	return true
}

// ownPanel computes a panel of filters of the lot.
func (t *winograd) ownPanel(task int) {
	nr := t.kern.NR
	k0 := task * nr
	u, m := t.u, panels(t.tiles, nr, nr)
	m.alloc()
	col := k0
	if t.args.u == nil {
		u, col = panels(roundUp(t.c, asm.WinoLanes), nr, nr), 0
		u.alloc()
		for c := 0; c < t.c; c += winoChannels {
			for j := 0; j < nr; j += asm.WinoLanes {
				t.filters(k0+j, c, &u, j)
			}
		}
	}
	for p := range asm.WinoPoints {
		t.product(p, 0, t.tiles, &t.v, &u, col, &m, 0)
	}
	for j := 0; j < min(nr, t.k-k0); j += asm.WinoLanes {
		for i := t.lo; i < t.hi; i++ {
			t.output(i, t.count(t.lo, i), (k0+j)/asm.WinoLanes, &m, j)
		}
	}
	m.release()
	if t.args.u == nil {
		u.release()
	}
}

// shared computes the target step by step for some tiles and filters at a time.
func (t *winograd) shared() {
	nr := t.kern.NR
	kept := t.args.u != nil
	t.grid(winoSizes.rect, 0)
	filters, lot := roundUp(t.k, nr), winoSizes.lot
	if asm.WinoPoints*t.c*filters > winoSizes.wholeU {
		filters = min(max(winoSizes.partU/(asm.WinoPoints*t.c)/nr, 1)*nr, filters)
		lot = winoSizes.largeLot
	}
	t.lot = max(lot/(asm.WinoPoints*t.c)/(t.rectH*t.rectW), 1)
	tiles := t.maxTiles(t.lot)
	t.v, t.m = panels(tiles, t.c, asm.WinoLanes), panels(tiles, filters, nr)
	t.v.alloc()
	t.m.alloc()
	if !kept {
		t.u = panels(roundUp(t.c, asm.WinoLanes), filters, nr)
		t.u.alloc()
	}
	for t.lo = 0; t.lo < t.rects(); t.lo = t.hi {
		t.hi = min(t.lo+t.lot, t.rects())
		t.tiles = t.count(t.lo, t.hi)
		t.run((t.hi-t.lo)*lanes(t.c), winoInput)
		for t.k0 = 0; t.k0 < t.k; t.k0 += t.kn {
			t.kn = min(filters, t.k-t.k0)
			if !kept && (filters < t.k || t.lo == 0) {
				t.transformFilters()
			}
			t.split(ceilDiv(t.tiles, winoRows))
			t.run(asm.WinoPoints*t.groups*t.slices, winoProduct)
			t.groups = lanes(t.kn)
			t.run((t.hi-t.lo)*t.groups, winoOutput)
		}
	}
	t.m.release()
	t.v.release()
	t.u.release()
}

// winoChannels is how many channels of filters are transformed in one go.
const winoChannels = 32

// split cuts the products at a point into groups of panels of columns, and into
// slices of rows, of which there are at most so many, if else there would be too
// few tasks for the workers.
func (t *winograd) split(most int) {
	t.groups, t.slices = 1, 1
	if !t.many(asm.WinoPoints) {
		t.groups = ceilDiv(t.kn, t.kern.NR)
		t.slices = min(ceilDiv(tasksEach*t.p.workers(), asm.WinoPoints*t.groups), most)
	}
}

// piece returns point, group and slice of a task.
func (t *winograd) piece(task int) (point, group, slice int) {
	task, slice = task/t.slices, task%t.slices
	return task / t.groups, task % t.groups, slice
}
