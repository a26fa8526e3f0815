package conv

import (
	"math"
	"unsafe"

	"crema/asm"
	"crema/internal/par"
)

// Direct convolution, for few input channels: all taps of an output pixel are
// summed in registers at once (package asm's DirectKernel).
//
// A task takes a band of rows of an image. It copies what they see of the image
// into a patch with the border of zeros, small enough for the nearest cache.
// For the gradient of the weights each band gives sums of its own, and their
// number depends on the shape alone.

// Bounds of bands, chosen by measurement.
const (
	// directPatch is how many elements a patch has at most, if a band has more
	// than one row.
	directPatch = 7500
	// directRows is how many rows a band of a weight gradient has at most:
	// enough that sums stay in registers for long.
	directRows = 8
	// directPiece is how many elements of the output gradient are multiplied
	// by all taps at a time.
	directPiece = 1 << 15
	// directSums bounds the elements of the sums of all bands.
	directSums = 1 << 22
	// directStream is the size of NCHW output from which it is stored past the
	// caches, which could not hold it until it is used.
	directStream = 1 << 22
	// directCall bounds the taps times pixels of a call of a kernel.
	directCall = 1 << 17
)

// directAccepts holds for what the algorithm can do. Patches of more channels
// would not stay in the nearest cache.
func directAccepts(s *Shape, d Direction) bool {
	return d != BackwardData && s.Group == 1 && s.C <= 16
}

// directPays holds where panels of other algorithms are mostly empty.
func directPays(s *Shape, _ Direction) bool { return s.C <= 4 && s.K >= 16 }

func directLayouts(p *Plan, _ Direction) bool {
	return p.in == NCHW && (p.out == NCHW || p.s.K%Lanes == 0)
}

// direct is the job of one call.
type direct struct {
	p    *Plan
	a    args
	kern *asm.DirectKernel

	patch
	rows  int   // of a band, at most
	bands int   // of an image
	lines int   // input rows of a band, for each channel
	off   []int // of the taps in a patch

	// Forward: filters in the order of the kernels, biases, the rest of the
	// last panel zero.
	filters, bias []float32
	panel         int // filters of a panel
	floor         float32
	stream        bool

	// Weights: the sums of each band, taps × width. The last tap is that of the
	// biases, if they are wanted. width is the number of filters, rounded up to
	// streams of a kernel call. A stream is a filter, or a group of 16 in the
	// blocked layout, with so many elements a pixel.
	sums           []float32
	taps, width    int
	adders         int // tasks that add them up
	streams, pixel int

	loop directLoop
}

// A directLoop is what a task of a loop does, and what it costs.
type directLoop struct {
	do   func(t *direct, task int)
	cost func(t *direct, task int) float64
}

var (
	directPack     = directLoop{(*direct).pack, (*direct).packed}
	directPixels   = directLoop{(*direct).pixels, (*direct).products}
	directLanes    = directLoop{(*direct).lanes, (*direct).products}
	directGradient = directLoop{(*direct).gradient, (*direct).products}
	directAdd      = directLoop{(*direct).add, (*direct).addends}
)

var directs freeList[direct]

// Do does one task.
func (t *direct) Do(task int) { t.loop.do(t, task) }

func (t *direct) cost(task int) float64 { return t.loop.cost(t, task) }

func (t *direct) run(tasks int, loop directLoop) {
	t.loop = loop
	t.p.spread(tasks, t)
}

// products is the cost of a band.
func (t *direct) products(task int) float64 {
	_, lo, hi := t.band(task)
	return float64(hi-lo) * float64(t.p.ow*len(t.off)*t.p.s.K)
}

// addends is the cost of adding up some taps.
func (t *direct) addends(task int) float64 {
	lo, hi := part(t.taps, t.adders, task)
	return float64((hi - lo) * t.p.s.N * t.bands * t.width)
}

// directGroup computes the output or the gradient of the weights.
func directGroup(p *Plan, d Direction, _ int, a args) {
	t := directs.get()
	*t = direct{p: p, a: a, kern: asm.Direct(), off: t.off[:0]}
	if d == Forward {
		t.forward()
	} else {
		t.weights()
	}
	*t = direct{off: t.off}
	directs.put(t)
}

// cut cuts images into bands of at most so many rows, and shapes patches.
func (t *direct) cut(rows int) {
	p, s := t.p, &t.p.s
	t.bands = ceilDiv(p.oh, rows)
	t.rows = ceilDiv(p.oh, t.bands)
	t.lines = t.seen(0, t.rows)
	t.patch = patch{pad: s.PadW, stride: s.StrideW, apart: 1}
	t.shape(p.ow, s.DilationW*(s.S-1)+1, asm.DirectSlack)
	t.off = t.off[:0]
	for c := range s.C {
		for r := range s.R {
			for q := range s.S {
				t.off = append(t.off, (c*t.lines+r*s.DilationH)*t.line+t.tap(q*s.DilationW))
			}
		}
	}
}

// patchSize is the number of elements of a patch.
func (t *direct) patchSize() int { return t.p.s.C * t.lines * t.line }

// band returns image and rows of a task.
func (t *direct) band(task int) (img, lo, hi int) {
	lo, hi = part(t.p.oh, t.bands, task%t.bands)
	return task / t.bands, lo, hi
}

// seen is how many rows of the input, the zeros around it among them, rows
// lo ≤ oy < hi see.
func (t *direct) seen(lo, hi int) int {
	s := &t.p.s
	return (hi-lo-1)*s.StrideH + s.DilationH*(s.R-1) + 1
}

// fillBand copies into a patch what rows lo ≤ oy < hi see of an image.
func (t *direct) fillBand(img, lo, hi int, patch []float32) {
	s := &t.p.s
	lines := t.seen(lo, hi)
	for c := range s.C {
		for i := range lines {
			var row []float32 // zeros above and below the image
			if y := lo*s.StrideH - s.PadH + i; y >= 0 && y < s.H {
				row = t.a.in[((img*s.C+c)*s.H+y)*s.W:][:s.W]
			}
			t.fill(row, patch[(c*t.lines+i)*t.line:])
		}
	}
}

// A coming band is fetched from memory before its turn.
type coming struct {
	img, lo, hi int // no rows if there is none
	c           int // next channel of the input
	y, rows     int // what is seen of it
}

// coming returns the band that the worker of a task will probably do next.
func (t *direct) coming(task int) coming {
	s := &t.p.s
	task += t.p.workers()
	if task >= s.N*t.bands {
		return coming{c: s.C}
	}
	var b coming
	b.img, b.lo, b.hi = t.band(task)
	top := b.lo*s.StrideH - s.PadH
	b.y = max(top, 0)
	b.rows = min(top+t.seen(b.lo, b.hi), s.H) - b.y
	if b.rows <= 0 { // zeros around the image
		b.c = s.C
	}
	return b
}

// channel returns what a coming band sees of the next channel, nothing behind
// the last.
func (t *direct) channel(b *coming) []float32 {
	s := &t.p.s
	if b.c == s.C {
		return nil
	}
	b.c++
	return t.a.in[((b.img*s.C+b.c-1)*s.H+b.y)*s.W:][:b.rows*s.W]
}

// forward computes the output. Bands are cut for the number of workers too:
// rows do not depend on each other.
func (t *direct) forward() {
	p, s := t.p, &t.p.s
	t.floor = float32(math.Inf(-1))
	if p.relu {
		t.floor = 0
	}
	t.cut(directBand(p))
	t.panel = t.kern.Panel
	if p.out == Blocked {
		t.panel = t.kern.Blocks * Lanes
	}
	filters := roundUp(s.K, t.panel)
	var fbuf, bbuf *par.Buffer
	t.filters, fbuf = scratch.Get(filters * len(t.off))
	t.bias, bbuf = scratch.Get(filters)
	clear(t.bias)
	copy(t.bias, t.a.bias[:min(len(t.a.bias), s.K)])
	t.run(filters/t.panel, directPack)
	if p.out == Blocked {
		t.run(s.N*t.bands, directLanes)
	} else {
		t.stream = aligned(t.a.out) && p.outputSize() >= directStream && p.ow%asm.WinoLanes == 0
		t.run(s.N*t.bands, directPixels)
	}
	scratch.Put(bbuf)
	scratch.Put(fbuf)
}

// pack brings a panel of filters into the order of the kernel.
func (t *direct) pack(task int) {
	k, taps := task*t.panel, len(t.off)
	n, width := min(t.panel, t.p.s.K-k), t.panel
	if t.p.out == Blocked {
		width = n // panels that are not full are narrower
	}
	to := t.filters[k*taps:][:width*taps]
	if n < width {
		clear(to)
	}
	asm.Transpose(n, taps, t.a.with[k*taps:], taps, to, width)
}

// packed is the cost of packing a panel.
func (t *direct) packed(int) float64 { return float64(t.panel * len(t.off)) }

// directBand is how many rows a band of the output has at most.
func directBand(p *Plan) int {
	s := &p.s
	rows := max(1, s.N*p.oh/(tasksEach*p.workers()))
	line := (p.ow+s.S)*s.StrideW + asm.DirectSlack
	fixed := s.DilationH*(s.R-1) + 1
	return min(rows, max(1, (directPatch/(s.C*line)-fixed)/s.StrideH+1))
}

// chunk is how many pixels of a row a kernel computes in one call.
func (t *direct) chunk() int {
	const unit = 3 * asm.WinoLanes
	return max(1, directCall/len(t.off)/unit) * unit
}

// chunks is how many rows, and pixels of a row, a kernel computes in one call.
func (t *direct) chunks(rows int) (int, int) {
	chunk := t.chunk()
	if chunk < t.p.ow {
		return 1, chunk
	}
	return max(1, min(rows, directCall/(len(t.off)*t.p.ow))), t.p.ow
}

// pixels computes a band of NCHW output.
func (t *direct) pixels(task int) {
	p, s := t.p, &t.p.s
	img, lo, hi := t.band(task)
	patch, buf := scratch.Get(t.patchSize())
	t.fillBand(img, lo, hi, patch)
	r := asm.DirectRow{Floor: t.floor, Stream: t.stream}
	chunk := t.chunk()
	for k := 0; k < s.K; k += t.panel {
		filters := t.filters[k*len(t.off):]
		r.Bias = t.bias[k:]
		for oy := lo; oy < hi; oy++ {
			x := patch[(oy-lo)*s.StrideH*t.line:]
			y := t.a.out[((img*s.K+k)*p.oh+oy)*p.ow:]
			for i := 0; i < p.ow; i += chunk {
				r.N = min(chunk, p.ow-i)
				t.kern.Pixels(&r, min(t.panel, s.K-k), x[i:], t.off, filters, y[i:], p.oh*p.ow)
			}
		}
	}
	scratch.Put(buf)
}

// lanes computes a band of blocked output.
func (t *direct) lanes(task int) {
	p, s := t.p, &t.p.s
	img, lo, hi := t.band(task)
	patch, buf := scratch.Get(t.patchSize())
	t.fillBand(img, lo, hi, patch)
	r := asm.DirectBand{
		DirectRow: asm.DirectRow{Floor: t.floor},
		LdX:       s.StrideH * t.line, LdY: p.ow * Lanes, LdB: p.oh * p.ow * Lanes,
	}
	rows, chunk := t.chunks(hi - lo)
	next := t.coming(task)
	for k := 0; k < s.K; k += t.panel {
		filters := t.filters[k*len(t.off):]
		r.Bias = t.bias[k:]
		for oy := lo; oy < hi; oy += rows {
			r.Ahead = [2][]float32{t.channel(&next), t.channel(&next)}
			r.Rows = min(rows, hi-oy)
			x := patch[(oy-lo)*r.LdX:]
			y := t.a.out[(img*s.K+k)*p.oh*p.ow+oy*r.LdY:]
			for i := 0; i < p.ow; i += chunk {
				r.N = min(chunk, p.ow-i)
				t.kern.Lanes(&r, min(t.panel, s.K-k)/Lanes, x[i:], t.off, filters, y[i*Lanes:])
			}
		}
	}
	scratch.Put(buf)
}

// weights adds the gradients of the weights and of the biases. The latter are
// kept as those of a tap more.
func (t *direct) weights() {
	p, s := t.p, &t.p.s
	rows := s.N * p.oh
	each := (s.C*s.R*s.S + 1) * roundUp(s.K, directRound)
	t.cut(min(p.oh, max(min(directRows, rows/directBands), ceilDiv(rows*each, directSums), 1)))
	t.taps = len(t.off)
	if t.a.db != nil {
		t.taps++
	}
	t.streams, t.pixel = asm.DirectFilters, 1
	if p.out == Blocked {
		t.streams, t.pixel = t.kern.WeightBlocks, Lanes
	}
	t.width = roundUp(s.K, t.streams*t.pixel)
	var buf *par.Buffer
	t.sums, buf = scratch.Get(s.N * t.bands * t.taps * t.width)
	t.run(s.N*t.bands, directGradient)
	t.adders = min(t.taps, tasksEach*p.workers())
	t.run(t.adders, directAdd)
	scratch.Put(buf)
}

const (
	// directBands is how many bands a weight gradient has at least, if there
	// are as many rows.
	directBands = 64
	// directRound is a multiple of what kernels round the number of filters up
	// to, so that bands are the same on every instruction set.
	directRound = 64
)

// gradient computes the sums of a band.
func (t *direct) gradient(task int) {
	p, s := t.p, &t.p.s
	img, lo, hi := t.band(task)
	r := asm.DirectRows{N: p.ow, LdY: p.ow * t.pixel, LdX: s.StrideH * t.line, LdW: t.width}
	patch, buf := scratch.Get(t.patchSize())
	t.fillBand(img, lo, hi, patch)
	next := t.coming(task)
	// So many rows at a time that their part of the output gradient stays in
	// the level-2 cache.
	step := max(1, min(hi-lo, directPiece/(t.streams*r.LdY)))
	dy := t.a.with
	var masked []float32
	var mbuf *par.Buffer
	if p.relu {
		masked, mbuf = scratch.Get(t.streams * step * r.LdY)
		dy = masked
	}
	// Streams are filters, or groups of 16; those behind the last are the last.
	last := s.K/t.pixel - 1
	from := func(img, stream, oy int) int { return ((img*(last+1)+min(stream, last))*p.oh + oy) * r.LdY }
	calls := ceilDiv(t.taps, t.kern.Taps)
	for oy := lo; oy < hi; oy += step {
		r.Rows = min(step, hi-oy)
		r.Add = oy > lo
		n := r.Rows * r.LdY
		for first := 0; first <= last; first += t.streams {
			for i := range t.streams {
				at := from(img, first+i, oy)
				if p.relu {
					asm.ReLUBackward(0, t.a.y[at:][:n], t.a.with[at:][:n], masked[i*n:][:n])
					at = i * n
				}
				r.From[i] = at
			}
			// What comes next is fetched from memory meanwhile: a stream in each
			// call, and the image where there is room.
			stream, in, row, end := first+t.streams, img, oy, hi
			if stream > last {
				stream, row = 0, oy+r.Rows
			}
			if row == hi {
				in, row, end = next.img, next.lo, next.hi
			}
			sums := t.sums[task*t.taps*t.width+first*t.pixel:]
			for call := range calls {
				r.Ahead = [2][]float32{}
				if call < t.streams && row < end {
					at := from(in, stream+call, row)
					n := min(step, end-row) * r.LdY
					r.Ahead[0] = t.a.with[at:][:n]
					if p.relu {
						r.Ahead[1] = t.a.y[at:][:n]
					}
				}
				for i := range r.Ahead {
					if r.Ahead[i] == nil {
						r.Ahead[i] = t.channel(&next)
					}
				}
				t0, t1 := part(t.taps, calls, call)
				off := t.off[t0:min(t1, len(t.off))]
				r.Bias = t1 > len(t.off)
				x := patch[(oy-lo)*r.LdX:]
				if t.pixel == 1 {
					t.kern.WeightsPixels(&r, dy, x, off, sums[t0*t.width:])
				} else {
					t.kern.WeightsLanes(&r, dy, x, off, sums[t0*t.width:])
				}
			}
		}
	}
	if p.relu {
		scratch.Put(mbuf)
	}
	scratch.Put(buf)
}

// add adds up the sums of some taps over the bands.
func (t *direct) add(task int) {
	s := &t.p.s
	lo, hi := part(t.taps, t.adders, task)
	total, buf := scratch.Get((hi - lo) * t.width)
	clear(total)
	for band := range s.N * t.bands {
		asm.Add(t.sums[(band*t.taps+lo)*t.width:][:len(total)], total)
	}
	taps := s.C * s.R * s.S
	for tap := lo; tap < hi; tap++ {
		sums := total[(tap-lo)*t.width:][:s.K]
		if tap == taps {
			asm.Add(sums, t.a.db[:s.K])
			continue
		}
		for k, v := range sums {
			t.a.out[k*taps+tap] += v
		}
	}
	scratch.Put(buf)
}

// aligned reports whether x begins with a cache line.
func aligned(x []float32) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(x)))%64 == 0
}
