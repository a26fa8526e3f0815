package conv

import "crema/gemm"

// scatterWidth is how many output pixels are multiplied at a time. It decides
// the order in which contributions are added to a pixel, so it is a constant,
// whatever the caches.
const scatterWidth = 256

// col2imGroup computes the input gradient of one group for any stride.
func col2imGroup(p *Plan, _ Direction, g int, a args) {
	dy, w, dx := a.in, a.with, a.out
	s := &p.s
	kg, cg, taps := s.K/s.Group, s.C/s.Group, s.R*s.S
	t := scatters.get()
	t.p = p
	t.dy, t.dx = from(dy, g*kg*p.oh*p.ow), from(dx, g*cg*s.H*s.W)
	t.left.Reset(cg*taps, kg)
	if p.tally == nil {
		t.left.PackTransposed(0, t.left.Panels(), w[g*kg*cg*taps:], cg*taps)
	}
	// Channels of an image are split only so far that all workers have work.
	t.channelGroups = min(cg, ceilDiv(tasksEach*p.workers(), s.N*s.Group))
	p.spread(s.N*t.channelGroups, t)
	t.left.Release()
	*t = scatter{}
	scatters.put(t)
}

// scatter is the job of one group. Rows of the product are the channels and
// taps, columns the output pixels of one image.
type scatter struct {
	p             *Plan
	left          gemm.Packed
	dy, dx        []float32
	channelGroups int
}

var scatters freeList[scatter]

func (t *scatter) cost(task int) float64 {
	s := &t.p.s
	c0, c1 := part(s.C/s.Group, t.channelGroups, task%t.channelGroups)
	return float64((c1-c0)*s.R*s.S*(s.K/s.Group)) * float64(t.p.oh*t.p.ow)
}

// Do computes some channels of one image.
func (t *scatter) Do(task int) {
	p, s := t.p, &t.p.s
	kg, cg, taps := s.K/s.Group, s.C/s.Group, s.R*s.S
	pix := p.oh * p.ow
	img := task / t.channelGroups
	c0, c1 := part(cg, t.channelGroups, task%t.channelGroups)
	dx := t.dx[img*s.C*s.H*s.W:]
	clear(dx[c0*s.H*s.W : c1*s.H*s.W])

	// The panels that hold rows of these channels; some rows of the first and
	// last may belong to others and are left out afterwards.
	_, mr := t.left.PanelRows(0)
	lo, hi := c0*taps/mr, ceilDiv(c1*taps, mr)
	first := lo * mr
	last, h := t.left.PanelRows(hi - 1)

	// One pixel per column: the output gradient as it lies.
	grad := columns{c: kg, h: 1, w: pix, image: s.K * pix, oh: 1, ow: pix, r: 1, s: 1, strideH: 1, strideW: 1, stepH: 1, stepW: 1}
	cols := p.forwardColumns()
	nr := t.left.Width()
	bp, bbuf := scratch.Get(t.left.PanelSize(scatterWidth))
	tile, tbuf := scratch.Get((last + h - first) * scatterWidth)
	for q0 := 0; q0 < pix; q0 += scatterWidth {
		n := min(scatterWidth, pix-q0)
		for b := range t.left.Blocks() {
			p0, kc := t.left.Block(b)
			grad.pack(t.dy[img*s.K*pix:], nr, p0, kc, q0, n, bp)
			t.left.Multiply(b, lo, hi, 1, bp, n, tile, scatterWidth, b > 0)
		}
		for row := c0 * taps; row < c1*taps; row++ {
			c, rs := row/taps, row%taps
			cols.add(tile[(row-first)*scatterWidth:][:n], q0, rs, dx[c*s.H*s.W:][:s.H*s.W])
		}
	}
	scratch.Put(tbuf)
	scratch.Put(bbuf)
}
