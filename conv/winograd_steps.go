package conv

import "crema/asm"

// transformFilters makes U of t.kn filters from t.k0 on.
func (t *winograd) transformFilters() {
	t.groups = ceilDiv(t.kn, t.kern.NR)
	t.run(t.groups*ceilDiv(t.c, winoChannels), winoFilters)
}

// panelFilters transforms a panel of filters, some channels of them.
func (t *winograd) panelFilters(task int) {
	k, c := task%t.groups*t.kern.NR, task/t.groups*winoChannels
	for j := k; j < k+t.kern.NR; j += asm.WinoLanes {
		t.filters(t.k0+j, c, &t.u, j)
	}
}

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
	t.kern.Filter(nc, taps, off, step, winoTaps*l, u.at(0, c0, col), u.width, u.point)
	for c := c0 + nc; c%l != 0; c++ {
		for p := range asm.WinoPoints {
			clear(u.at(p, c, col)[:l])
		}
	}
	scratch.Put(buf)
}

// fused does all steps for some rectangles, a lot at a time.
func (t *winograd) fused(task int) {
	from, to := part(t.rects(), t.groups, task)
	nr := t.kern.NR
	v, m := panels(t.maxTiles(t.lot), t.c, asm.WinoLanes), panels(t.maxTiles(t.lot), nr, nr)
	v.alloc()
	m.alloc()
	for lo := from; lo < to; lo += t.lot {
		hi := min(lo+t.lot, to)
		for g := range lanes(t.c) {
			first := 0
			for i := lo; i < hi; i++ {
				t.input(i, first, g, &v)
				first += t.rect(i).tiles()
			}
		}
		n := t.count(lo, hi)
		next := ahead{lo: hi, hi: min(hi+t.lot, to), steps: asm.WinoPoints * ceilDiv(t.k, nr)}
		for j := 0; j < t.k; j += nr {
			for p := range asm.WinoPoints {
				t.product(p, 0, n, &v, &t.u, j, &m, 0)
				t.prefetch(&next)
			}
			for g := 0; g < nr && j+g < t.k; g += asm.WinoLanes {
				first := 0
				for i := lo; i < hi; i++ {
					t.output(i, first, (j+g)/asm.WinoLanes, &m, g)
					first += t.rect(i).tiles()
				}
			}
		}
	}
	m.release()
	v.release()
}

// ahead are the rectangles that a task comes to next. Their pixels are asked for
// in small parts while products are computed, which need no memory: at the time
// of the transforms they are near.
type ahead struct {
	lo, hi      int
	step, steps int
}

// prefetch does a step.
func (t *winograd) prefetch(a *ahead) {
	if t.d == BackwardWeights {
		t.prefetchSource(a, t.from, t.in, t.c, t.h, t.w, 2, t.padH, t.padW)
		t.prefetchSource(a, t.to, t.with, t.k, t.oh, t.ow, 0, 0, 0)
		t.prefetchSource(a, t.to, t.y, t.k, t.oh, t.ow, 0, 0, 0)
	} else {
		t.prefetchSource(a, t.from, t.in, t.c, t.h, t.w, 2, t.padH, t.padW)
		t.prefetchSource(a, t.from, t.y, t.c, t.h, t.w, 2, t.padH, t.padW)
	}
	a.step++
}

// prefetchSource asks for the present part of the rows of x, c×h×w, that
// rectangles start with, but for the first ones, which the rectangles above end
// with.
func (t *winograd) prefetchSource(a *ahead, l Layout, x []float32, c, h, w, halo, padH, padW int) {
	if x == nil || l != Blocked {
		return
	}
	rows := winoTile * t.rectH
	each := rows * lanes(c)
	lo, hi := part((a.hi-a.lo)*each, a.steps, a.step)
	for i := lo; i < hi; i++ {
		r := t.rect(a.lo + i/each)
		g, row := i%each/rows, i%rows
		y := winoTile*r.y0 + halo - padH + row
		x0 := max(winoTile*r.x0-padW, 0)
		x1 := min(winoTile*r.x1+padW, w)
		if y < h && x0 < x1 {
			off := (r.img*c*t.p.s.Group/asm.WinoLanes+g)*h*w + y*w
			t.kern.Prefetch(x[(off+x0)*asm.WinoLanes : (off+x1)*asm.WinoLanes])
		}
	}
}

// sharedInput makes V of a group of channels of a rectangle of the lot.
func (t *winograd) sharedInput(task int) {
	n := lanes(t.c)
	i := t.lo + task/n
	t.input(i, t.count(t.lo, i), task%n, &t.v)
}

// sharedProduct multiplies a slice of V at one point, by all panels of U or by
// one.
func (t *winograd) sharedProduct(task int) {
	nr := t.kern.NR
	p, group, slice := t.piece(task)
	lo, hi := part(t.tiles, t.slices, slice)
	for j := group * nr; j < t.kn; j += t.groups * nr {
		col := j
		if t.args.u != nil {
			col += t.k0
		}
		t.product(p, lo, hi-lo, &t.v, &t.u, col, &t.m, j)
	}
}

// sharedOutput transforms a group of filters of a rectangle of the lot.
func (t *winograd) sharedOutput(task int) {
	i, g := t.lo+task/t.groups, task%t.groups
	t.output(i, t.count(t.lo, i), t.k0/asm.WinoLanes+g, &t.m, g*asm.WinoLanes)
}

// product computes, at point p, tiles rows of m from row first on, the panel of
// columns from mcol on, from those of v and the panel of u from column col on.
func (t *winograd) product(p, first, tiles int, v, u *matrices, col int, m *matrices, mcol int) {
	for c0 := 0; c0 < t.c; c0 += winoSizes.channels {
		groups := lanes(min(winoSizes.channels, t.c-c0))
		b := u.at(p, c0, col)
		for i := 0; i < tiles; {
			blocks, mr := evenly(tiles-i, t.kern.MR)
			blocks = min(blocks, winoRows/mr)
			t.kern.Rows(blocks, mr, groups, v.at(p, first+i, c0), v.panel, b, m.at(p, first+i, mcol), m.width, c0 > 0)
			i += blocks * mr
		}
	}
}

// winoRows is how many tiles are multiplied in one call at most.
const winoRows = 56

// evenly cuts n things into blocks of at most most: as few as there can be, or
// one more if then all are of one size. Else the first ones are one larger than
// the others. It returns the number of the first ones and their size.
func evenly(n, most int) (blocks, size int) {
	parts := ceilDiv(n, most)
	if n%parts != 0 && n%(parts+1) == 0 {
		parts++
	}
	size = ceilDiv(n, parts)
	return n - parts*(size-1), size
}

// input makes V of group g of channels of rectangle i of the source. first is
// the place of its first tile in v.
func (t *winograd) input(i, first, g int, v *matrices) {
	r := t.rect(i)
	x, mask := t.in, t.y
	if t.d == BackwardWeights {
		mask = nil
	}
	s := channels(t.from, x, mask, r.img, t.allC, t.c, g, t.h, t.w)
	to := tiles{kern: t.kern, v: v.at(0, first, g*asm.WinoLanes), ldt: v.width, ldp: v.point, stream: v.size() >= winoSizes.streamV}
	to.rect(&s, r, t.padH, t.padW)
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
	y := t.out[(r.img*t.allK+g*l)*t.oh*t.ow:]
	oy, ox := winoTile*r.y0, winoTile*r.x0
	rows, cols := winoTile*(r.y1-r.y0), winoTile*nx
	if t.to == Blocked {
		pixels := asm.WinoPixels{LD: t.ow * l, Right: max(ox+cols-t.ow, 0)}
		for i := range r.y1 - r.y0 {
			py := oy + winoTile*i
			pixels.Bottom = max(py+winoTile-t.oh, 0)
			pixels.Data = y[(py*t.ow+ox)*l:]
			t.kern.Output(nx, m.at(0, first+i*nx, col), m.width, m.point, &bias, t.low, &pixels, t.stream)
		}
		return
	}
	s, buf := scratch.Get(rows * cols * l)
	for y := range r.y1 - r.y0 {
		t.kern.Output(nx, m.at(0, first+y*nx, col), m.width, m.point, &bias, t.low, &asm.WinoPixels{Data: s[winoTile*y*cols*l:], LD: cols * l}, false)
	}
	rows, width := min(rows, t.oh-oy), min(cols, t.ow-ox)
	y = y[oy*t.ow+ox:]
	if width == t.ow && width == cols {
		asm.Transpose(rows*width, nk, s, l, y, t.oh*t.ow)
	} else {
		for i := range rows {
			asm.Transpose(width, nk, s[i*cols*l:], l, y[i*t.ow:], t.oh*t.ow)
		}
	}
	scratch.Put(buf)
}
