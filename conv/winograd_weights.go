package conv

import (
	"crema/asm"
	"crema/internal/par"
)

// weights adds the gradient of the weights, and that of the biases.
func (t *winograd) weights() {
	nr := t.kern.NR
	all := t.p.s.N * t.th * t.tw
	small := t.c*t.k <= winoSizes.gradients
	if small {
		unit := winoSizes.unit
		if t.c*t.k <= winoSizes.near {
			unit /= 2
		}
		t.block = t.grid(min(unit, winoSizes.rect), unit)
		t.chunks = max(min(winoSizes.chunks, all/winoSizes.chunk), 1)
	} else {
		t.grid(winoSizes.rect, 0)
		t.block = t.rects()
		t.chunks = max(ceilDiv(all*t.c*asm.WinoPoints, winoSizes.largeLot), ceilDiv(all, winoSizes.depth))
	}
	t.chunks = min(t.chunks, t.rects())
	var sums *par.Buffer
	if t.db != nil {
		t.biasSums, sums = scratch.Get(t.rects() * roundUp(t.k, asm.WinoLanes))
	}
	if small && t.even(t.chunks) {
		var buf *par.Buffer
		t.parts, buf = scratch.Get(t.chunks * t.weightSize())
		t.run(t.chunks, winoChunk)
		t.run(t.k, winoAddParts)
		scratch.Put(buf)
	} else {
		most := t.maxTiles(ceilDiv(t.rects(), t.chunks))
		t.v = panels(most, t.c, nr)
		t.v.alloc()
		byPanels := winoSizes.sumChannels > 0 && t.even(ceilDiv(t.k, nr))
		filters := min(roundUp(max(winoSizes.partU/(asm.WinoPoints*t.c), most), nr), roundUp(t.k, nr))
		if !byPanels {
			t.m, t.u = panels(most, filters, nr), panels(t.c, filters, nr)
			t.m.alloc()
			t.u.alloc()
		}
		for i := range t.chunks {
			t.lo, t.hi = part(t.rects(), t.chunks, i)
			t.tiles = t.count(t.lo, t.hi)
			t.run((t.hi-t.lo)*lanes(t.c), winoInput)
			if byPanels {
				t.run(ceilDiv(t.k, nr), winoPanelSums)
				continue
			}
			for t.k0 = 0; t.k0 < t.k; t.k0 += t.kn {
				t.kn = min(filters, t.k-t.k0)
				t.groups = lanes(roundUp(t.kn, nr))
				t.run((t.hi-t.lo)*t.groups, winoGradient)
				t.split(ceilDiv(t.c, nr))
				t.run(asm.WinoPoints*t.groups*t.slices, winoSums)
				t.groups = ceilDiv(t.kn, nr)
				t.run(t.groups*ceilDiv(t.c, winoChannels), winoTapSums)
			}
		}
		t.u.release()
		t.m.release()
		t.v.release()
	}
	if t.db != nil {
		t.run(lanes(t.k), winoBiases)
		scratch.Put(sums)
	}
}

// panelSums computes a chunk's gradient of a panel of filters.
func (t *winograd) panelSums(task int) {
	nr := t.kern.NR
	k0 := task * nr
	z, u := panels(t.tiles, nr, nr), panels(min(t.c, winoSizes.sumChannels), nr, nr)
	z.alloc()
	u.alloc()
	for g := range nr / asm.WinoLanes {
		for i := t.lo; i < t.hi; i++ {
			t.gradient(i, t.count(t.lo, i), k0/asm.WinoLanes+g, g*asm.WinoLanes, &z)
		}
	}
	for c := 0; c < t.c; c += winoSizes.sumChannels {
		nc := min(winoSizes.sumChannels, t.c-c)
		for p := range asm.WinoPoints {
			for i := 0; i < nc; i += nr {
				next := t.v.offset(p, 0, c+i+nr)
				if i+nr >= nc {
					next = t.v.offset(p+1, 0, c)
				}
				t.sums(p, c+i, next, &z, 0, &u, i)
			}
		}
		for i := 0; i < nc; i += winoChannels {
			for j := 0; j < min(nr, t.k-k0); j += asm.WinoLanes {
				t.taps(k0+j, c+i, min(winoChannels, nc-i), &u, i, j, t.out, true)
			}
		}
	}
	z.release()
	u.release()
}

// sums computes the sums over a chunk at point p of the panel of channels from c
// on and the panel of filters from k of z on, and writes them to u from (row, k)
// on. Meanwhile the panel of V at offset next, the one to come, is fetched.
func (t *winograd) sums(p, c, next int, z *matrices, k int, u *matrices, row int) {
	nr := t.kern.NR
	first := 0
	for at := t.lo; at < t.hi; at += t.block {
		n := t.count(at, min(at+t.block, t.hi))
		fetch := t.v.data[min(next+first*nr, len(t.v.data)-1):]
		t.outer(p, first, n, min(nr, t.c-c), &t.v, c, fetch, z, k, u, row, k, first > 0)
		first += n
	}
}

// chunk computes the gradient of a chunk.
func (t *winograd) chunk(task int) {
	nr := t.kern.NR
	lo, hi := part(t.rects(), t.chunks, task)
	most := t.maxTiles(t.block)
	v, z, u := panels(most, t.c, nr), panels(most, t.k, nr), panels(t.c, t.k, nr)
	v.alloc()
	z.alloc()
	u.alloc()
	for at := lo; at < hi; at += t.block {
		end := min(at+t.block, hi)
		first := 0
		for i := at; i < end; i++ {
			for g := range lanes(t.c) {
				t.input(i, first, g, &v)
			}
			for g := range lanes(roundUp(t.k, nr)) {
				t.gradient(i, first, g, g*asm.WinoLanes, &z)
			}
			first += t.rect(i).tiles()
		}
		next := ahead{lo: end, hi: min(end+t.block, hi), steps: asm.WinoPoints * ceilDiv(t.k, nr)}
		if after := task + t.p.workers(); end == hi && after < t.chunks { // where the worker is likely to go on
			next.lo, next.hi = part(t.rects(), t.chunks, after)
			next.hi = min(next.lo+t.block, next.hi)
		}
		for p := range asm.WinoPoints {
			for k := 0; k < t.k; k += nr {
				for c := 0; c < t.c; c += nr {
					t.outer(p, 0, first, min(nr, t.c-c), &v, c, nil, &z, k, &u, c, k, at > lo)
				}
				t.prefetch(&next)
			}
		}
	}
	part := t.parts[task*t.weightSize():]
	for k := 0; k < t.k; k += asm.WinoLanes {
		for c := 0; c < t.c; c += winoChannels {
			t.taps(k, c, min(winoChannels, t.c-c), &u, c, k, part, false)
		}
	}
	u.release()
	z.release()
	v.release()
}

// weightSize is the number of weights of the group.
func (t *winograd) weightSize() int { return t.k * t.c * winoTaps }

// addParts adds the gradients of one filter in all chunks.
func (t *winograd) addParts(k int) {
	n := t.c * winoTaps
	for i := range t.chunks {
		asm.Add(t.parts[i*t.weightSize()+k*n:][:n], t.out[k*n:][:n])
	}
}

// gradient makes Z of group g of channels of rectangle i of the output
// gradient, from row first and column col of z on, and its sums.
func (t *winograd) gradient(i, first, g, col int, z *matrices) {
	const l = asm.WinoLanes
	r := t.rect(i)
	at := z.at(0, first, col)
	if g*l >= t.k { // the rest of a panel
		for p := range asm.WinoPoints {
			for i := range r.tiles() {
				clear(at[p*z.point+i*z.width:][:l])
			}
		}
		return
	}
	s := channels(t.to, t.with, t.y, r.img, t.allK, t.k, g, t.oh, t.ow)
	to := tiles{kern: t.kern, gradient: true, v: at, ldt: z.width, ldp: z.point, stream: z.size() >= winoSizes.streamV}
	if t.db == nil {
		to.rect(&s, r, 0, 0)
		return
	}
	var sums [l]float32
	to.sums = &sums
	to.rect(&s, r, 0, 0)
	copy(t.biasSums[i*roundUp(t.k, l)+g*l:], sums[:])
}

// sharedGradient makes Z of a group of channels of a rectangle of the chunk.
func (t *winograd) sharedGradient(task int) {
	i, g := t.lo+task/t.groups, task%t.groups
	t.gradient(i, t.count(t.lo, i), t.k0/asm.WinoLanes+g, g*asm.WinoLanes, &t.m)
}

// sharedSums computes the sums over a chunk at one point, of all panels of Z or
// of one, and of all panels of V or of some.
func (t *winograd) sharedSums(task int) {
	nr := t.kern.NR
	p, group, slice := t.piece(task)
	for k := group * nr; k < t.kn; k += t.groups * nr {
		for c := slice * nr; c < t.c; c += t.slices * nr {
			t.sums(p, c, t.v.offset(p, 0, c+nr), &t.m, k, &t.u, c)
		}
	}
}

// sharedTaps adds a chunk's gradient of a panel of filters, some channels of
// them.
func (t *winograd) sharedTaps(task int) {
	k, c := task%t.groups*t.kern.NR, task/t.groups*winoChannels
	for j := k; j < min(k+t.kern.NR, t.kn); j += asm.WinoLanes {
		t.taps(t.k0+j, c, min(winoChannels, t.c-c), &t.u, c, j, t.out, true)
	}
}

// outer adds (acc) or assigns to u, from (row, col) on, the sums over n tiles
// from first on, at point p, of nc channels, at most a panel, from c of v and
// the panel from k of z. Meanwhile next is fetched.
func (t *winograd) outer(p, first, n, nc int, v *matrices, c int, next []float32, z *matrices, k int, u *matrices, row, col int, acc bool) {
	for i := 0; i < nc; {
		blocks, mr := evenly(nc-i, t.kern.MC)
		t.kern.Cols(blocks, mr, n, v.at(p, first, c+i), next, z.at(p, first, k), u.at(p, row+i, col), u.width, acc)
		i += blocks * mr
	}
}

// taps transforms the sums of 16 filters from k0 on, nc channels of them from c0
// on, back and adds them or assigns them to dw. In u they are from (row, col) on.
func (t *winograd) taps(k0, c0, nc int, u *matrices, row, col int, dw []float32, add bool) {
	const l = asm.WinoLanes
	nk := min(l, t.k-k0)
	taps, buf := scratch.Get(2 * winoChannels * winoTaps * l)
	t.kern.Weights(nc, u.at(0, row, col), u.width, u.point, taps)
	n, at := winoTaps*nc, (k0*t.c+c0)*winoTaps
	if !add {
		asm.Transpose(n, nk, taps, l, dw[at:], t.c*winoTaps)
		scratch.Put(buf)
		return
	}
	rows := taps[winoChannels*winoTaps*l:]
	asm.Transpose(n, nk, taps, l, rows, n)
	for k := range nk {
		asm.Add(rows[k*n:][:n], dw[at+k*t.c*winoTaps:][:n])
	}
	scratch.Put(buf)
}

// biases adds the sums of 16 filters over all rectangles to their gradient.
func (t *winograd) biases(g int) {
	const l = asm.WinoLanes
	var s [l]float64
	for i := range t.rects() {
		for j, v := range t.biasSums[i*roundUp(t.k, l)+g*l:][:l] {
			s[j] += float64(v)
		}
	}
	for j, v := range s[:min(l, t.k-g*l)] {
		t.db[g*l+j] += float32(v)
	}
}
