package conv

// Im2col writes the windows of x (N×C×H×W) that output pixels see as columns:
// cols is N×(C·R·S)×OutH×OutW, a row for each tap of a channel, channels before
// taps. Filters, groups and ReLU have no part in it; layouts must be NCHW. cols
// must not overlap x.
func (p *Plan) Im2col(x, cols []float32) {
	p.windows(x, cols, (*windowPass).gather)
}

// Col2im is the gradient of Im2col: it sets each pixel of x to the sum of the
// elements of cols that Im2col would take from it.
func (p *Plan) Col2im(cols, x []float32) {
	p.windows(x, cols, (*windowPass).scatter)
}

func (p *Plan) windows(x, cols []float32, do func(j *windowPass, task int)) {
	s := &p.s
	if p.in != NCHW || p.out != NCHW {
		panic("conv: columns of blocked arrays")
	}
	if len(x) < p.inputSize() || len(cols) < s.N*s.C*s.R*s.S*p.oh*p.ow {
		panic(errShort)
	}
	j := windowPasses.get()
	*j = windowPass{p, p.forwardColumns(), x, cols, do}
	p.spread(s.N*s.C, j)
	*j = windowPass{}
	windowPasses.put(j)
}

// windowPass is the job of Im2col or Col2im: one channel of an image per task.
type windowPass struct {
	p       *Plan
	g       columns
	x, cols []float32
	do      func(j *windowPass, task int)
}

var windowPasses freeList[windowPass]

// Do does one task.
func (j *windowPass) Do(task int) { j.do(j, task) }

// cost is the same for all tasks.
func (j *windowPass) cost(int) float64 { return 1 }

// parts returns the plane of a task and its columns, tap after tap.
func (j *windowPass) parts(task int) (plane, cols []float32, taps, pixels int) {
	size := j.g.h * j.g.w
	taps, pixels = j.g.r*j.g.s, j.g.oh*j.g.ow
	return j.x[task*size:][:size], j.cols[task*taps*pixels:][:taps*pixels], taps, pixels
}

func (j *windowPass) gather(task int) {
	g := &j.g
	plane, cols, taps, _ := j.parts(task)
	for rs := range taps {
		for oy := range g.oh {
			iy, ix, lo, hi := g.source(rs, oy, 0, g.ow)
			row := cols[:g.ow]
			switch {
			case hi == lo:
				clear(row)
			case g.strideW == 1:
				clear(row[:lo])
				copy(row[lo:hi], plane[iy*g.w+ix+lo:])
				clear(row[hi:])
			default:
				gatherRows(1, g.ow, lo, hi, plane, iy*g.w+ix, g.strideW, 0, row, g.ow)
			}
			cols = cols[g.ow:]
		}
	}
}

func (j *windowPass) scatter(task int) {
	plane, cols, taps, pixels := j.parts(task)
	clear(plane)
	for rs := range taps {
		j.g.add(cols[rs*pixels:][:pixels], 0, rs, plane)
	}
}
