package conv

import (
	"math"

	"crema/asm"
	"crema/internal/hugepage"
	"crema/internal/par"
)

// Convolution of blocked arrays by any filters, for whole groups of 16 channels
// and filters: all taps of a tile of pixels and filters are summed in registers
// (package asm's BlockedKernel), with the input where it lies or, if filters
// reach out of the image, in a patch with the zeros around it.
//
// The gradient of the data is a convolution of the output gradient with the
// filters of the other order. If filters move by several pixels, the pixels of
// the input fall into phases: those of one meet the same taps.

// Bounds chosen by measurement.
const (
	// blockedPatch is how many elements the input of a band of rows has at most,
	// if it has more than one: half a level-2 cache of a megabyte.
	blockedPatch = 1 << 17
	// blockedPixels is how many pixels of a tile a band has at least.
	blockedPixels = 14
)

// blockedAccepts holds for what the algorithm can do.
func blockedAccepts(s *Shape, _ Direction) bool {
	return s.C/s.Group%Lanes == 0 && s.K/s.Group%Lanes == 0
}

func blockedLayouts(p *Plan, _ Direction) bool { return p.in == Blocked && p.out == Blocked }

// A blockedTap is a pixel of a filter: tap of the weights finds its input pixel
// y rows and x columns from where output pixels find theirs.
type blockedTap struct{ tap, y, x int }

// A blockedPhase is the part of the output whose pixels meet the same taps.
type blockedPhase struct {
	taps []blockedTap
	y, x int // of the first pixel in the output
	// The taps' extent.
	minY, maxY, minX, maxX int
	rows, cols             int // pixels
	filters                int // taps before those of this phase
	inside                 bool
	flat                   bool // all pixels are neighbours, in the input too
	bands, lines, line     int  // of the output; rows and columns of a patch
	off                    []int
}

// blocked is the job of one group.
type blocked struct {
	p     *Plan
	d     Direction
	kern  *asm.BlockedKernel
	floor float32

	in, with, bias, out []float32 // of the group

	// Channels of the source and of the target, their images, and how far their
	// pixels are apart: those of the source for neighbours in the target.
	c, k               int
	inH, inW, inAll    int // inAll: elements of all groups of an image
	outH, outW, outAll int
	step, stride       [2]int // in the source, in the target
	panel              int    // filters of a panel
	u                  []float32
	phases             []blockedPhase
	tapList            []blockedTap
	offs               []int
	parts              int // of the panels of a task
	loop               blockedLoop

	blockedGradient
}

// A blockedLoop is what a task of a loop does, and what it costs.
type blockedLoop struct {
	do   func(t *blocked, task int)
	cost func(t *blocked, task int) float64
}

var (
	blockedPack   = blockedLoop{(*blocked).pack, (*blocked).packed}
	blockedPixel  = blockedLoop{(*blocked).pixels, (*blocked).products}
	blockedSums   = blockedLoop{(*blocked).sum, (*blocked).sumCost}
	blockedAddUps = blockedLoop{(*blocked).addUp, (*blocked).addCost}
)

var blockeds freeList[blocked]

// Do does one task.
func (t *blocked) Do(task int) { t.loop.do(t, task) }

func (t *blocked) cost(task int) float64 { return t.loop.cost(t, task) }

func (t *blocked) run(tasks int, loop blockedLoop) {
	t.loop = loop
	t.p.spread(tasks, t)
}

// keep empties t for the next use, but for the memory of its lists.
func (t *blocked) keep() {
	for i := range t.phases {
		t.phases[i].taps = nil
	}
	*t = blocked{phases: t.phases[:0], tapList: t.tapList[:0], offs: t.offs[:0]}
	blockeds.put(t)
}

// blockedGroup computes direction d of group g.
func blockedGroup(p *Plan, d Direction, g int, a args) {
	t := blockeds.get()
	defer t.keep()
	t.prepare(p, d, g, a)
	if d == BackwardWeights {
		t.gradient()
		return
	}
	t.cut()
	var buf *par.Buffer
	if size := t.filterSize(); a.u != nil {
		t.u = a.u[g*size:][:size]
	} else {
		t.u, buf = scratch.Get(size)
		t.run(ceilDiv(t.k, t.panel), blockedPack)
	}
	var zeros *par.Buffer
	if t.bias == nil {
		t.bias, zeros = scratch.Get(t.k)
		clear(t.bias)
	}
	tasks := 0
	for i := range t.phases {
		tasks += p.s.N * t.phases[i].bands * t.parts
	}
	t.run(tasks, blockedPixel)
	if zeros != nil {
		scratch.Put(zeros)
	}
	if buf != nil {
		scratch.Put(buf)
	}
}

// blockedFilters packs the filters of all groups.
func blockedFilters(p *Plan, w, u []float32) []float32 {
	t := blockeds.get()
	defer t.keep()
	for g := range p.s.Group {
		t.prepare(p, Forward, g, args{with: w})
		t.list()
		size := t.filterSize()
		if g == 0 && len(u) < size*p.s.Group {
			u = hugepage.Make(size * p.s.Group)
		}
		t.u = u[g*size:][:size]
		t.run(ceilDiv(t.k, t.panel), blockedPack)
	}
	return u
}

// filterSize is how many elements the packed filters have.
func (t *blocked) filterSize() int { return t.c * t.k * t.p.s.R * t.p.s.S }

// prepare sets what depends on the direction.
func (t *blocked) prepare(p *Plan, d Direction, g int, a args) {
	s := &p.s
	cg, kg := s.C/s.Group, s.K/s.Group
	t.p, t.d, t.kern, t.floor = p, d, asm.Blocked(), float32(math.Inf(-1))
	x, y, w := g*cg*s.H*s.W, g*kg*p.oh*p.ow, g*kg*cg*s.R*s.S
	switch d {
	case Forward:
		t.in, t.with, t.out, t.bias = from(a.in, x), from(a.with, w), from(a.out, y), from(a.bias, g*kg)
		if p.relu {
			t.floor = 0
		}
	case BackwardData:
		t.in, t.with, t.out = from(a.in, y), from(a.with, w), from(a.out, x)
	default:
		t.in, t.with, t.out = from(a.in, x), from(a.with, y), from(a.out, w)
	}
	t.c, t.inH, t.inW, t.inAll = cg, s.H, s.W, s.C*s.H*s.W
	t.k, t.outH, t.outW, t.outAll = kg, p.oh, p.ow, s.K*p.oh*p.ow
	t.step, t.stride = [2]int{s.StrideH, s.StrideW}, [2]int{1, 1}
	if d == BackwardData {
		t.c, t.k, t.inH, t.outH, t.inW, t.outW = t.k, t.c, t.outH, t.inH, t.outW, t.inW
		t.inAll, t.outAll = t.outAll, t.inAll
		t.step, t.stride = t.stride, t.step
	}
	t.panel = t.kern.Groups * Lanes
}

// list lists the phases and their taps.
func (t *blocked) list() {
	s := &t.p.s
	t.tapList = t.tapList[:0]
	// The phases' slices are cut when the list is complete.
	t.phases = t.phases[:0]
	for y := range min(t.stride[0], t.outH) {
		for x := range min(t.stride[1], t.outW) {
			f := blockedPhase{y: y, x: x, rows: ceilDiv(t.outH-y, t.stride[0]), cols: ceilDiv(t.outW-x, t.stride[1]), filters: len(t.tapList)}
			for r := range s.R {
				for q := range s.S {
					tap := blockedTap{tap: r*s.S + q, y: r*s.DilationH - s.PadH, x: q*s.DilationW - s.PadW}
					if t.d == BackwardData {
						tap.y, tap.x = y-tap.y, x-tap.x
						if tap.y%t.stride[0] != 0 || tap.x%t.stride[1] != 0 {
							continue
						}
						tap.y, tap.x = tap.y/t.stride[0], tap.x/t.stride[1]
					}
					if n := len(t.tapList); n == f.filters {
						f.minY, f.maxY, f.minX, f.maxX = tap.y, tap.y, tap.x, tap.x
					}
					f.minY, f.maxY = min(f.minY, tap.y), max(f.maxY, tap.y)
					f.minX, f.maxX = min(f.minX, tap.x), max(f.maxX, tap.x)
					t.tapList = append(t.tapList, tap)
				}
			}
			f.inside = f.minY >= 0 && f.minX >= 0 && (f.rows-1)*t.step[0]+f.maxY < t.inH && (f.cols-1)*t.step[1]+f.maxX < t.inW
			f.flat = f.inside && t.step == [2]int{1, 1} && t.stride == [2]int{1, 1} && f.cols == t.inW && f.cols == t.outW
			t.phases = append(t.phases, f)
		}
	}
	for i := range t.phases {
		end := len(t.tapList)
		if i+1 < len(t.phases) {
			end = t.phases[i+1].filters
		}
		t.phases[i].taps = t.tapList[t.phases[i].filters:end]
	}
}

// cut lists the phases and cuts them into bands, and the panels of filters into
// parts, so that there are enough tasks. That does not change results.
func (t *blocked) cut() {
	t.list()
	n := t.p.s.N
	want := tasksEach * t.p.workers()
	for i := range t.phases {
		f := &t.phases[i]
		// The rows of a band whose input, of all channels, is small enough.
		rows := f.rows
		if per := t.c * t.inW * t.step[0]; rows*per > blockedPatch {
			rows = max(1, (blockedPatch/t.c/t.inW-(f.maxY-f.minY))/t.step[0])
		}
		rows = max(rows, min(f.rows, ceilDiv(blockedPixels, f.cols)))
		f.bands = ceilDiv(f.rows, rows)
		if all := ceilDiv(want, n*len(t.phases)); f.bands < all {
			f.bands = max(f.bands, min(all, f.rows*f.cols/blockedPixels))
		}
	}
	panels := ceilDiv(t.k, t.panel)
	bands := 0
	for i := range t.phases {
		bands += t.phases[i].bands
	}
	t.parts = 1
	if n*bands < want {
		t.parts = min(panels, ceilDiv(want, n*bands))
	}
	t.offs = t.offs[:0]
	for i := range t.phases {
		f := &t.phases[i]
		f.lines = (ceilDiv(f.rows, f.bands)-1)*t.step[0] + f.maxY - f.minY + 1
		f.line = (f.cols-1)*t.step[1] + f.maxX - f.minX + 1
		block, line, y0, x0 := f.lines*f.line, f.line, f.minY, f.minX
		if f.inside {
			block, line, y0, x0 = t.inH*t.inW, t.inW, 0, 0
		}
		for _, tap := range f.taps {
			for b := range t.c / Lanes {
				t.offs = append(t.offs, (b*block+(tap.y-y0)*line+tap.x-x0)*Lanes)
			}
		}
	}
	rest := t.offs
	for i := range t.phases {
		n := len(t.phases[i].taps) * t.c / Lanes
		t.phases[i].off, rest = rest[:n], rest[n:]
	}
}

// pack brings a panel of filters into the order of the kernel: taps of all
// phases, channels of the source, filters.
func (t *blocked) pack(task int) {
	k0 := task * t.panel
	width := min(t.panel, t.k-k0)
	taps := t.p.s.R * t.p.s.S
	to := t.u[k0*t.c*taps:][:width*t.c*taps]
	if t.d == Forward {
		if taps == 1 {
			asm.Transpose(width, t.c, t.with[k0*t.c:], t.c, to, width)
			return
		}
		rows, buf := scratch.Get(width * t.c * taps)
		for r := range width {
			asm.Transpose(t.c, taps, t.with[(k0+r)*t.c*taps:], taps, rows[r*t.c*taps:], t.c)
		}
		asm.Transpose(width, t.c*taps, rows, t.c*taps, to, width)
		scratch.Put(buf)
		return
	}
	row, buf := scratch.Get(width * taps)
	for c := range t.c { // a filter of the convolution whose gradient this is
		asm.Transpose(width, taps, t.with[(c*t.k+k0)*taps:], taps, row, width)
		for i, tap := range t.tapList {
			copy(to[(i*t.c+c)*width:][:width], row[tap.tap*width:])
		}
	}
	scratch.Put(buf)
}

// packed is the cost of packing a panel.
func (t *blocked) packed(task int) float64 {
	return float64(min(t.panel, t.k-task*t.panel) * t.c * t.p.s.R * t.p.s.S)
}

// place returns what a task computes: a band of a phase of an image, and some
// panels.
func (t *blocked) place(task int) (f *blockedPhase, img, lo, hi, first, last int) {
	part0 := task % t.parts
	task /= t.parts
	for i := range t.phases {
		f = &t.phases[i]
		if task < t.p.s.N*f.bands {
			break
		}
		task -= t.p.s.N * f.bands
	}
	lo, hi = part(f.rows, f.bands, task%f.bands)
	first, last = part(ceilDiv(t.k, t.panel), t.parts, part0)
	return f, task / f.bands, lo, hi, first, last
}

// products is the cost of a task.
func (t *blocked) products(task int) float64 {
	f, _, lo, hi, first, last := t.place(task)
	filters := min(last*t.panel, t.k) - first*t.panel
	return float64((hi - lo) * f.cols * filters * (len(f.taps)*t.c + 1))
}

// pixels computes a band.
func (t *blocked) pixels(task int) {
	f, img, lo, hi, first, last := t.place(task)
	in := t.in[img*t.inAll:]
	pitch := t.inW * Lanes * t.step[0] // of rows of the target in the source
	var buf *par.Buffer
	switch {
	case len(f.taps) == 0:
	case f.inside:
		in = in[lo*pitch:]
	default:
		var patch []float32
		patch, buf = scratch.Get(t.c * f.lines * f.line)
		y, x := lo*t.step[0]+f.minY, f.minX
		lines := (hi-lo-1)*t.step[0] + f.maxY - f.minY + 1
		for b := range t.c / Lanes {
			fillBlocked(patch[b*f.lines*f.line*Lanes:], lines, f.line, in[b*t.inH*t.inW*Lanes:], t.inH, t.inW, y, x)
		}
		in, pitch = patch, f.line*Lanes*t.step[0]
	}
	r := asm.BlockedRow{N: f.cols, LdX: t.step[1] * Lanes, LdY: t.stride[1] * Lanes, LdG: t.outH * t.outW * Lanes, Floor: t.floor}
	rows := hi - lo
	if f.flat {
		r.N, rows = rows*f.cols, 1
	}
	taps := t.p.s.R * t.p.s.S
	for i := first; i < last; i++ {
		k := i * t.panel
		width := min(t.panel, t.k-k)
		r.Bias = t.bias[k:]
		u := t.u[(k*taps+f.filters*width)*t.c:]
		y := t.out[img*t.outAll+(k*t.outH*t.outW)+((f.y+lo*t.stride[0])*t.outW+f.x)*Lanes:]
		for j := range rows {
			at := j * t.stride[0] * t.outW * Lanes
			if len(f.taps) == 0 {
				zeroBlocked(&r, width/Lanes, y[at:])
				continue
			}
			t.kern.Row(&r, width/Lanes, in[j*pitch:], f.off, u, y[at:])
		}
	}
	if buf != nil {
		scratch.Put(buf)
	}
}

// zeroBlocked clears the pixels that r describes.
func zeroBlocked(r *asm.BlockedRow, groups int, y []float32) {
	for g := range groups {
		for i := range r.N {
			clear(y[g*r.LdG+i*r.LdY:][:Lanes])
		}
	}
}

// fillBlocked makes a patch of lines rows of line pixels from row y and column x
// of 16 channels of an image of h×w pixels on, zeros outside of it.
func fillBlocked(patch []float32, lines, line int, in []float32, h, w, y, x int) {
	left := min(max(-x, 0), line)
	right := max(min(w-x, line), left)
	for i := range lines {
		to := patch[i*line*Lanes:][:line*Lanes]
		if row := y + i; row >= 0 && row < h {
			clear(to[:left*Lanes])
			if right > left {
				copy(to[left*Lanes:right*Lanes], in[(row*w+x+left)*Lanes:])
			}
			clear(to[right*Lanes:])
		} else {
			clear(to)
		}
	}
}
