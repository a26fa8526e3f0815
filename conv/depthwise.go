package conv

import (
	"math"

	"crema/asm"
	"crema/internal/par"
)

// Depthwise convolution: as many groups as channels and filters, so that each
// filter sees one channel. A task takes some bands of rows of planes, each
// through a patch in the nearest cache (package asm's DirectKernel.Plane).
//
// The gradient of the input is the convolution of the output gradient, with
// zeros between its pixels if the stride is above 1, with the filters turned
// round.

const (
	// depthwisePatch is how many elements a patch has at most, if a band has
	// more than one row.
	depthwisePatch = 4096
	// depthwiseTask is how many products a task has at least, if there are
	// enough for all workers.
	depthwiseTask = 1 << 18
)

func depthwiseAccepts(s *Shape, _ Direction) bool {
	return s.Group == s.C && s.K == s.C && s.C > 1
}

// depthwisePays leaves the gradient of the input of large strides to others:
// most of what it multiplies then are the zeros between pixels, StrideH·StrideW
// times as many products as there are. Kernels as wide as two strides, as they
// enlarge an image, took as long as with col2im at 8×8.
func depthwisePays(s *Shape, d Direction) bool {
	return d != BackwardData || s.StrideH*s.StrideW < 64
}

// depthwise is the job of one call. Its source and target are x and y, or dy
// and dx.
type depthwise struct {
	p    *Plan
	d    Direction
	a    args
	kern *asm.DirectKernel

	patch
	h, w, th, tw            int // source, target
	stepH, padH, apartH     int // as patch has them for columns
	rows, bands, lines, ldx int // as in direct; ldx is from row to row of the target
	off                     []int
	each                    int // bands of a task
	floor                   float32
	filters                 []float32 // in the order of off

	// Weights: the sums of each band, so many for each.
	sums []float32
	wide int

	loop depthwiseLoop
}

// A depthwiseLoop is what a task of a loop does, and what it costs.
type depthwiseLoop struct {
	do   func(t *depthwise, task int)
	cost func(t *depthwise, task int) float64
}

var (
	depthwiseTurn     = depthwiseLoop{(*depthwise).turn, (*depthwise).turned}
	depthwiseConvolve = depthwiseLoop{(*depthwise).convolve, (*depthwise).products}
	depthwiseGradient = depthwiseLoop{(*depthwise).gradient, (*depthwise).products}
	depthwiseAdd      = depthwiseLoop{(*depthwise).add, (*depthwise).addends}
)

var depthwises freeList[depthwise]

// depthwiseGroup computes a direction for all groups.
func depthwiseGroup(p *Plan, d Direction, _ int, a args) {
	s := &p.s
	t := depthwises.get()
	*t = depthwise{p: p, d: d, a: a, kern: asm.Direct(), off: t.off[:0], floor: float32(math.Inf(-1))}
	extentH, extentW := s.DilationH*(s.R-1)+1, s.DilationW*(s.S-1)+1
	if d == BackwardData {
		t.h, t.w, t.th, t.tw = p.oh, p.ow, s.H, s.W
		t.stepH, t.padH, t.apartH = 1, extentH-1-s.PadH, s.StrideH
		t.patch = patch{pad: extentW - 1 - s.PadW, stride: 1, apart: s.StrideW}
	} else {
		t.h, t.w, t.th, t.tw = s.H, s.W, p.oh, p.ow
		t.stepH, t.padH, t.apartH = s.StrideH, s.PadH, 1
		t.patch = patch{pad: s.PadW, stride: s.StrideW, apart: 1}
		if p.relu {
			t.floor = 0
		}
	}
	t.shape(t.tw, extentW, asm.DirectSlack)
	rows := max(1, min(t.th, (depthwisePatch/t.line-extentH)/t.stepH+1))
	t.bands = ceilDiv(t.th, rows)
	t.rows = ceilDiv(t.th, t.bands)
	t.lines = (t.rows-1)*t.stepH + extentH
	t.ldx = t.stepH * t.line
	for r := range s.R {
		for q := range s.S {
			t.off = append(t.off, r*s.DilationH*t.line+t.tap(q*s.DilationW))
		}
	}
	planes := s.N * s.C
	work := t.rows * t.tw * len(t.off)
	t.each = max(1, min(ceilDiv(depthwiseTask, work), planes*t.bands/(tasksEach*p.workers())))
	if d == BackwardWeights {
		t.weights()
	} else {
		t.target()
	}
	*t = depthwise{off: t.off}
	depthwises.put(t)
}

// target computes the output or the gradient of the input.
func (t *depthwise) target() {
	t.filters = t.a.with
	var buf *par.Buffer
	if t.d == BackwardData {
		t.filters, buf = scratch.Get(t.p.s.C * len(t.off))
		t.run(t.p.s.C, depthwiseTurn)
	}
	t.run(t.tasks(), depthwiseConvolve)
	if buf != nil {
		scratch.Put(buf)
	}
}

// all is the number of bands of all planes.
func (t *depthwise) all() int { return t.p.s.N * t.p.s.C * t.bands }

func (t *depthwise) tasks() int { return ceilDiv(t.all(), t.each) }

// Do does one task.
func (t *depthwise) Do(task int) { t.loop.do(t, task) }

func (t *depthwise) cost(task int) float64 { return t.loop.cost(t, task) }

func (t *depthwise) run(tasks int, loop depthwiseLoop) {
	t.loop = loop
	t.p.spread(tasks, t)
}

// turn turns a filter round.
func (t *depthwise) turn(c int) {
	taps := len(t.off)
	w, to := t.a.with[c*taps:][:taps], t.filters[c*taps:][:taps]
	for i, v := range w {
		to[taps-1-i] = v
	}
}

// turned is the cost of that.
func (t *depthwise) turned(int) float64 { return float64(len(t.off)) }

// products is the cost of some bands.
func (t *depthwise) products(task int) float64 {
	rows := 0
	for i := task * t.each; i < min((task+1)*t.each, t.all()); i++ {
		_, lo, hi := t.band(i)
		rows += hi - lo
	}
	return float64(rows * t.tw * len(t.off))
}

// addends is the cost of adding up the sums of a channel.
func (t *depthwise) addends(int) float64 { return float64(t.p.s.N * t.bands * t.wide) }

// band returns plane and rows of band i.
func (t *depthwise) band(i int) (plane, lo, hi int) {
	lo, hi = part(t.th, t.bands, i%t.bands)
	return i / t.bands, lo, hi
}

// fillBand makes the patch of rows lo ≤ y < hi of the target, from a plane of
// the source; from where y is above 0, unless that is nil.
func (t *depthwise) fillBand(plane, lo, hi int, src, y, patch []float32) {
	src = src[plane*t.h*t.w:]
	var masked []float32
	var buf *par.Buffer
	if y != nil {
		y = y[plane*t.h*t.w:]
		masked, buf = scratch.Get(t.w)
	}
	lines := t.lines - (t.rows-(hi-lo))*t.stepH
	for i := range lines {
		var row []float32
		if v := lo*t.stepH - t.padH + i; v >= 0 && v%t.apartH == 0 && v/t.apartH < t.h {
			at := v / t.apartH * t.w
			row = src[at:][:t.w]
			if y != nil {
				asm.ReLUBackward(0, y[at:][:t.w], row, masked)
				row = masked
			}
		}
		t.fill(row, patch[i*t.line:])
	}
	if buf != nil {
		scratch.Put(buf)
	}
}

// convolve computes some bands of the target.
func (t *depthwise) convolve(task int) {
	patch, buf := scratch.Get(t.lines * t.line)
	for i := task * t.each; i < min((task+1)*t.each, t.all()); i++ {
		plane, lo, hi := t.band(i)
		var y []float32
		if t.d == BackwardData && t.p.relu {
			y = t.a.y
		}
		t.fillBand(plane, lo, hi, t.a.in, y, patch)
		c := plane % t.p.s.C
		var bias [1]float32
		if t.a.bias != nil {
			bias[0] = t.a.bias[c]
		}
		r := asm.DirectRow{N: t.tw, Bias: bias[:], Floor: t.floor}
		t.kern.Plane(&r, hi-lo, patch, t.off, t.ldx, t.filters[c*len(t.off):], t.a.out[(plane*t.th+lo)*t.tw:], t.tw)
	}
	scratch.Put(buf)
}

// weights adds the gradients of the weights and of the biases. The kernel takes
// the taps for filters and the output gradient for the input of a single tap.
func (t *depthwise) weights() {
	if t.a.db != nil {
		t.off = append(t.off, t.lines*t.line) // the biases' tap, which always meets ones
	}
	t.wide = roundUp(len(t.off), asm.DirectFilters)
	var buf *par.Buffer
	t.sums, buf = scratch.Get(t.all() * t.wide)
	t.run(t.tasks(), depthwiseGradient)
	t.run(t.p.s.C, depthwiseAdd)
	scratch.Put(buf)
}

// gradient computes the sums of some bands.
func (t *depthwise) gradient(task int) {
	p := t.p
	size := t.lines * t.line
	patch, buf := scratch.Get(size + (t.rows-1)*t.ldx + t.phase)
	if t.a.db != nil {
		ones := patch[size:]
		for i := range ones {
			ones[i] = 1
		}
	}
	// Rows of the output gradient, with zeros behind them.
	ld := t.tw + asm.DirectSlack
	dy, dbuf := scratch.Get(t.rows * ld)
	var from [1]int
	for i := task * t.each; i < min((task+1)*t.each, t.all()); i++ {
		plane, lo, hi := t.band(i)
		t.fillBand(plane, lo, hi, t.a.in, nil, patch)
		for j := range hi - lo {
			row, at := dy[j*ld:][:ld], (plane*t.th+lo+j)*t.tw
			if p.relu {
				asm.ReLUBackward(0, t.a.y[at:][:t.tw], t.a.with[at:][:t.tw], row[:t.tw])
			} else {
				copy(row, t.a.with[at:][:t.tw])
			}
			clear(row[t.tw:])
		}
		r := asm.DirectRows{Rows: hi - lo, N: t.tw, LdY: t.ldx, LdX: ld}
		for tap := 0; tap < len(t.off); tap += len(r.From) {
			for f := range r.From {
				r.From[f] = t.off[min(tap+f, len(t.off)-1)]
			}
			t.kern.WeightsPixels(&r, patch, dy, from[:], t.sums[i*t.wide+tap:])
		}
	}
	scratch.Put(dbuf)
	scratch.Put(buf)
}

// add adds up the sums of one channel over the bands of all images.
func (t *depthwise) add(c int) {
	s := &t.p.s
	taps := s.R * s.S
	dw := t.a.out[c*taps:][:taps]
	for n := range s.N {
		for b := range t.bands {
			sums := t.sums[((n*s.C+c)*t.bands+b)*t.wide:]
			asm.Add(sums[:taps], dw)
			if t.a.db != nil {
				t.a.db[c] += sums[taps]
			}
		}
	}
}
