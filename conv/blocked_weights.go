package conv

import "crema/asm"

// The gradient of the weights of a blocked convolution: for each panel of
// filters and 16 channels, the sums of all taps over the pixels of all images.
// Rows of the output gradient are taken in small bands that stay in the nearest
// cache while the channels of a task pass by.

const (
	// blockedBand is how many pixels a band has at most, if it has more than one
	// row.
	blockedBand = 128
	// blockedRuns is how many sums, each of a run of rows, there are at least if
	// there are as many rows, so that many workers have something to do: their
	// number depends on the shape alone.
	blockedRuns = 64
	// blockedTiles bounds the elements of the sums of a task.
	blockedTiles = 1 << 16
)

// blockedGradient is what the gradient of the weights needs beside the rest.
type blockedGradient struct {
	sums   []float32 // runs × panels × blocks × taps × 16 × panel
	runs   int
	chunks int // of the blocks of channels
}

// gradient adds the gradient of the weights of the group to out.
func (t *blocked) gradient() {
	t.list()
	f := &t.phases[0]
	f.line = (f.cols-1)*t.step[1] + f.maxX - f.minX + 1
	panels, blocks, taps := ceilDiv(t.k, t.panel), t.c/Lanes, len(f.taps)
	each := taps * Lanes * t.panel
	t.chunks = ceilDiv(blocks, max(1, blockedTiles/each))
	t.runs = min(ceilDiv(blockedRuns, panels*t.chunks), t.p.s.N*f.rows)
	if t.runs > 1 {
		// As many chunks as give the same number of tasks with fewer runs.
		t.chunks = min(blocks, ceilDiv(blockedRuns, panels))
		t.runs = min(ceilDiv(blockedRuns, panels*t.chunks), t.p.s.N*f.rows)
	}
	sums, buf := scratch.Get(t.runs * panels * blocks * each)
	t.sums = sums
	t.run(t.runs*panels*t.chunks, blockedSums)
	t.run(panels*blocks, blockedAddUps)
	scratch.Put(buf)
}

// sumPlace returns what a task sums: a run of rows of all images, a panel and
// some blocks of channels.
func (t *blocked) sumPlace(task int) (run, panel, lo, hi int) {
	run, task = task%t.runs, task/t.runs
	lo, hi = part(t.c/Lanes, t.chunks, task%t.chunks)
	return run, task / t.chunks, lo, hi
}

func (t *blocked) sumCost(task int) float64 {
	f := &t.phases[0]
	run, panel, lo, hi := t.sumPlace(task)
	r0, r1 := part(t.p.s.N*f.rows, t.runs, run)
	return float64((r1 - r0) * f.cols * (hi - lo) * Lanes * min(t.panel, t.k-panel*t.panel) * len(f.taps))
}

// sum computes the sums of a task.
func (t *blocked) sum(task int) {
	f := &t.phases[0]
	run, panel, first, last := t.sumPlace(task)
	k := panel * t.panel
	groups := min(t.panel, t.k-k) / Lanes
	taps, blocks := len(f.taps), t.c/Lanes
	each := taps * Lanes * t.panel
	sums := t.sums[((run*ceilDiv(t.k, t.panel)+panel)*blocks+first)*each:][:(last-first)*each]
	clear(sums)
	pix := t.outH * t.outW
	r := asm.BlockedRows{N: f.cols, LdR: f.cols * Lanes, LdG: pix * Lanes, LdX: t.step[1] * Lanes, Add: true}
	band := max(1, blockedBand/f.cols)
	line, y0, x0 := t.inW, 0, 0
	var patch []float32
	if !f.inside {
		line, x0 = f.line, f.minX
		p, buf := scratch.Get(((band-1)*t.step[0] + f.maxY - f.minY + 1) * line * Lanes)
		defer scratch.Put(buf)
		patch = p
	}
	r.LdQ = t.step[0] * line * Lanes
	from, to := part(t.p.s.N*f.rows, t.runs, run)
	for from < to {
		img, row := from/f.rows, from%f.rows
		n := min(band, f.rows-row, to-from)
		from += n
		dy := t.with[img*t.outAll+k*pix+row*f.cols*Lanes:]
		r.Rows = n
		flat := r
		if f.flat {
			flat.Rows, flat.N = 1, n*f.cols
		}
		for b := first; b < last; b++ {
			in := t.in[img*t.inAll+b*t.inH*t.inW*Lanes:]
			if f.inside {
				y0 = -row * t.step[0]
			} else {
				y0 = f.minY
				lines := (n-1)*t.step[0] + f.maxY - f.minY + 1
				fillBlocked(patch, lines, line, in, t.inH, t.inW, row*t.step[0]+f.minY, f.minX)
				in = patch
			}
			for i, tap := range f.taps {
				x := in[((tap.y-y0)*line+tap.x-x0)*Lanes:]
				t.kern.Weights(&flat, groups, dy, x, sums[(b-first)*each+i*Lanes*t.panel:])
			}
		}
	}
}

func (t *blocked) addCost(task int) float64 {
	return float64(t.runs * len(t.phases[0].taps) * Lanes * min(t.panel, t.k-task/(t.c/Lanes)*t.panel))
}

// addUp adds the sums of the runs, in their order, of a panel and 16 channels,
// and adds them to the gradient.
func (t *blocked) addUp(task int) {
	panels, blocks, taps := ceilDiv(t.k, t.panel), t.c/Lanes, len(t.phases[0].taps)
	panel, block := task/blocks, task%blocks
	each := taps * Lanes * t.panel
	total := t.sums[(panel*blocks+block)*each:][:each]
	for run := 1; run < t.runs; run++ {
		asm.Add(t.sums[((run*panels+panel)*blocks+block)*each:][:each], total)
	}
	k := panel * t.panel
	width := min(t.panel, t.k-k)
	for i := range taps {
		sums := total[i*Lanes*t.panel:]
		for c := range Lanes {
			row := sums[c*width:][:width]
			at := ((k*t.c)+block*Lanes+c)*taps + i
			for _, v := range row {
				t.out[at] += v
				at += t.c * taps
			}
		}
	}
}
