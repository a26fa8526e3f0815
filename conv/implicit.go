package conv

import (
	"crema/asm"
	"crema/gemm"
)

// implicitGroup computes one group by matrix products whose right operand is
// packed from the image.
func implicitGroup(p *Plan, d Direction, g int, a args) {
	t := products.get()
	if d == BackwardWeights {
		t.weights(p, g, a.in, a.with, a.out)
	} else {
		t.columns(p, d, g, a.in, a.with, a.bias, a.out)
	}
	*t = product{}
	products.put(t)
}

// product is the job of one group.
type product struct {
	p    *Plan
	d    Direction
	g    int
	cols columns
	left gemm.Packed
	loop productLoop

	in, with, bias, out []float32 // of the group: from its first channel or filter on
	packGroups          int
	rowGroups           int
	colGroups           int
	n                   int // columns of the product

	// Of the gradient of the weights: the pixels of this slice, and whether
	// there were some before.
	q0         int
	accumulate bool
}

// A productLoop is what a task of a loop does, and what it costs.
type productLoop struct {
	do   func(t *product, task int)
	cost func(t *product, task int) float64
}

var (
	productPackWeights  = productLoop{(*product).packWeights, (*product).packWeightsCost}
	productColumns      = productLoop{(*product).multiplyColumns, (*product).multiplyCost}
	productPackGradient = productLoop{(*product).packGradient, (*product).packGradientCost}
	productTransposed   = productLoop{(*product).multiplyTransposed, (*product).multiplyCost}
	productAdd          = productLoop{(*product).addWeights, (*product).addWeightsCost}
)

var products freeList[product]

// Do does one task of the present loop.
func (t *product) Do(task int) { t.loop.do(t, task) }

func (t *product) cost(task int) float64 { return t.loop.cost(t, task) }

func (t *product) run(tasks int, loop productLoop) {
	t.loop = loop
	t.p.spread(tasks, t)
}

// columns computes the output, or the input gradient: rows are the channels of
// the target, columns its pixels.
func (t *product) columns(p *Plan, d Direction, g int, in, with, bias, out []float32) {
	s := &p.s
	kg, cg := s.K/s.Group, s.C/s.Group
	t.p, t.d, t.g = p, d, g
	t.with = from(with, g*kg*cg*s.R*s.S)
	m := kg
	if d == Forward {
		t.cols = p.forwardColumns()
		t.in, t.out, t.bias = from(in, g*cg*s.H*s.W), from(out, g*kg*p.oh*p.ow), from(bias, g*kg)
	} else {
		m = cg
		t.cols = p.dataColumns()
		t.in, t.out = from(in, g*kg*p.oh*p.ow), from(out, g*cg*s.H*s.W)
	}
	t.n = s.N * t.cols.oh * t.cols.ow
	t.left.Reset(m, t.cols.rows())
	t.packGroups = min(t.left.Panels(), 32)
	t.rowGroups, t.colGroups = t.left.Split(t.n, p.workers())
	t.run(t.packGroups, productPackWeights)
	t.run(t.rowGroups*t.colGroups, productColumns)
	t.left.Release()
}

// packWeightsCost is what packing some panels costs: each element once.
func (t *product) packWeightsCost(task int) float64 {
	lo, hi := part(t.left.Panels(), t.packGroups, task)
	n := 0
	for i := lo; i < hi; i++ {
		_, rows := t.left.PanelRows(i)
		n += rows
	}
	return float64(n * t.cols.rows())
}

// packGradientCost is the same of a block of the output gradient.
func (t *product) packGradientCost(b int) float64 {
	_, kc := t.left.Block(b)
	last, rows := t.left.PanelRows(t.left.Panels() - 1)
	return float64(kc * (last + rows))
}

func (t *product) addWeightsCost(int) float64 { return float64(t.n) }

// piece returns the panels of rows lo ≤ i < hi of a task that multiplies, the
// number of their rows, and its columns j0 ≤ j < j0+n.
func (t *product) piece(task int) (lo, hi, rows, j0, n int) {
	nr := t.left.Width()
	lo, hi = part(t.left.Panels(), t.rowGroups, task%t.rowGroups)
	jlo, jhi := part(ceilDiv(t.n, nr), t.colGroups, task/t.rowGroups)
	first, _ := t.left.PanelRows(lo)
	last, h := t.left.PanelRows(hi - 1)
	return lo, hi, last + h - first, jlo * nr, min(jhi*nr, t.n) - jlo*nr
}

// multiplyCost is the cost of a task that multiplies.
func (t *product) multiplyCost(task int) float64 {
	_, _, rows, _, n := t.piece(task)
	depth := 0
	for b := range t.left.Blocks() {
		_, kc := t.left.Block(b)
		depth += kc
	}
	return float64(n*depth) * float64(rows+1) // once more to pack the columns
}

// packWeights packs some panels of the weights, taps before channels.
func (t *product) packWeights(task int) {
	s := &t.p.s
	kg, cg, taps := s.K/s.Group, s.C/s.Group, s.R*s.S
	k := t.cols.rows()
	lo, hi := part(t.left.Panels(), t.packGroups, task)
	_, height := t.left.PanelRows(0)
	rows, buf := scratch.Get(height * k)
	for i := lo; i < hi; i++ {
		first, n := t.left.PanelRows(i)
		for r := range n {
			if t.d == Forward {
				asm.Transpose(cg, taps, t.with[(first+r)*cg*taps:], taps, rows[r*k:], cg)
			} else {
				asm.Transpose(kg, taps, t.with[(first+r)*taps:], cg*taps, rows[r*k:], kg)
			}
		}
		t.left.PackPanel(i, rows, k)
	}
	scratch.Put(buf)
}

// multiplyColumns computes a block of the target in scratch memory and stores
// it. (The detour costs little, keeps the block in cache whatever the distance
// of its rows in the target, and lets a block span images.)
func (t *product) multiplyColumns(task int) {
	nr := t.left.Width()
	lo, hi, rows, q0, n := t.piece(task)
	first, _ := t.left.PanelRows(lo)
	bp, bbuf := scratch.Get(t.left.PanelSize(n))
	tile, tbuf := scratch.Get(rows * n)
	for b := range t.left.Blocks() {
		p0, kc := t.left.Block(b)
		t.cols.pack(t.in, nr, p0, kc, q0, n, bp)
		t.left.Multiply(b, lo, hi, 1, bp, n, tile, n, b > 0)
	}
	pix := t.cols.oh * t.cols.ow
	image := t.targetChannels() * pix
	for r := range rows {
		src := tile[r*n:][:n]
		if t.bias != nil {
			asm.AddScalar(t.bias[first+r], src)
		}
		for q := q0; len(src) > 0; {
			img, off := q/pix, q%pix
			w := copy(t.out[img*image+(first+r)*pix+off:][:pix-off], src)
			src = src[w:]
			q += w
		}
	}
	scratch.Put(tbuf)
	scratch.Put(bbuf)
}

// targetChannels is the number of channels of the target, all groups together.
func (t *product) targetChannels() int {
	if t.d == Forward {
		return t.p.s.K
	}
	return t.p.s.C
}

// maxPacked bounds how much of the output gradient is packed at a time, in
// elements (16 MB).
const maxPacked = 1 << 22

// weights adds the gradient of the weights to out: rows are filters, columns
// taps and channels, and the sum is over the pixels of all images in order, a
// slice of them at a time.
func (t *product) weights(p *Plan, g int, x, dy, dw []float32) {
	s := &p.s
	kg, cg := s.K/s.Group, s.C/s.Group
	t.p, t.d, t.g = p, BackwardWeights, g
	t.cols = p.forwardColumns()
	t.in, t.with = from(x, g*cg*s.H*s.W), from(dy, g*kg*p.oh*p.ow)
	t.n = t.cols.rows()
	pixels := s.N * t.cols.oh * t.cols.ow
	slices := min(ceilDiv(kg*pixels, maxPacked), pixels)
	depth := ceilDiv(pixels, slices)
	sums, buf := scratch.Get(kg * t.n)
	t.out = sums
	for t.q0 = 0; t.q0 < pixels; t.q0 += depth {
		t.left.Reset(kg, min(depth, pixels-t.q0))
		t.rowGroups, t.colGroups = t.left.Split(t.n, p.workers())
		t.accumulate = t.q0 > 0
		t.run(t.left.Blocks(), productPackGradient)
		t.run(t.rowGroups*t.colGroups, productTransposed)
		t.left.Release()
	}
	t.with = from(dw, g*kg*t.n)
	t.run(kg, productAdd)
	scratch.Put(buf)
}

// packGradient packs one block of pixels of the output gradient.
func (t *product) packGradient(b int) {
	pix := t.cols.oh * t.cols.ow
	image := t.p.s.K * pix
	p0, kc := t.left.Block(b)
	for i := range t.left.Panels() {
		dst, h := t.left.Panel(b, i)
		first, _ := t.left.PanelRows(i)
		for q := t.q0 + p0; len(dst) > 0; {
			img, off := q/pix, q%pix
			w := min(pix-off, t.q0+p0+kc-q)
			asm.Transpose(h, w, t.with[img*image+first*pix+off:], pix, dst, h)
			dst = dst[w*h:]
			q += w
		}
	}
}

func (t *product) multiplyTransposed(task int) {
	nr := t.left.Width()
	lo, hi, _, j0, n := t.piece(task)
	first, _ := t.left.PanelRows(lo)
	bp, buf := scratch.Get(t.left.PanelSize(n))
	for b := range t.left.Blocks() {
		p0, kc := t.left.Block(b)
		t.cols.packTransposed(t.in, nr, t.q0+p0, kc, j0, n, bp)
		t.left.Multiply(b, lo, hi, 1, bp, n, t.out[first*t.n+j0:], t.n, t.accumulate || b > 0)
	}
	scratch.Put(buf)
}

// addWeights puts the sums of one filter in the order of the weights and adds
// them.
func (t *product) addWeights(k int) {
	taps, cg := t.cols.r*t.cols.s, t.cols.c
	row, buf := scratch.Get(t.n)
	asm.Transpose(taps, cg, t.out[k*t.n:], cg, row, taps)
	asm.Add(row, t.with[k*t.n:][:t.n])
	scratch.Put(buf)
}
