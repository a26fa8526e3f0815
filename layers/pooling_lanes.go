package layers

import (
	"math"

	"crema/asm"
	"crema/internal/par"
	"crema/tensor"
)

// Pooling of blocked blobs: a block is an image of pixels of 16 channels, and
// results are those of each channel's plane by itself, to the bit.

// lanesHalves reports whether the windows are 2×2 with stride 2, for which there
// are kernels. A last window may reach beyond an image of odd size, and a last
// row or column be in no window.
func (l *pooling) lanesHalves() bool {
	two := [2]int{2, 2}
	return l.kernel == two && l.stride == two && l.pad == [2]int{} && l.out[1] <= widestHalves
}

// lanesRows calls do for every row of windows of a blob.
func (l *pooling) lanesRows(bottom *tensor.Blob, from, to []float32, do func(l *pooling, from, to []float32, p int)) {
	blocks := bottom.CountRange(0, 2) / tensor.Lanes
	work := l.out[1] * min(l.kernel[0], l.in[0]) * min(l.kernel[1], l.in[1])
	l.parts(blocks*l.out[0], work*tensor.Lanes, from, to, do)
}

func (l *pooling) needChosen(top *tensor.Blob) {
	if n := top.Count() / 4; cap(l.chosen) < n {
		l.chosen = make([]uint16, n)
	} else {
		l.chosen = l.chosen[:n]
	}
}

// row returns row r of the blocks of a blob of which size gives the images.
func row[T any](s []T, size [2]int, r, lanes int) []T {
	n := size[1] * lanes
	return s[r*n : (r+1)*n]
}

// rows returns the upper row of the windows in row p of all, as a row of the
// bottom, and the lower one, which is the same at the end of an odd height.
func (l *pooling) rows(p int) (upper, lower int) {
	r := 2 * (p % l.out[0])
	first := p / l.out[0] * l.in[0]
	return first + r, first + min(r+1, l.in[0]-1)
}

func (l *pooling) lanesHalvesMaximum(x, y []float32, p int) {
	const lanes = tensor.Lanes
	upper, lower := l.rows(p)
	x0, x1 := row(x, l.in, upper, lanes), row(x, l.in, lower, lanes)
	y, chosen := row(y, l.out, p, lanes), row(l.chosen, l.out, p, 4)
	whole := l.in[1] / 2
	asm.MaxPool2Lanes(x0, x1, y[:whole*lanes], chosen[:whole*4])
	if whole < l.out[1] {
		// A window of one column: as if that came twice. Of equals the first
		// is chosen, so the gradient never goes to the second.
		var e0, e1 [2 * lanes]float32
		for i := range 2 {
			copy(e0[i*lanes:], x0[2*whole*lanes:])
			copy(e1[i*lanes:], x1[2*whole*lanes:])
		}
		asm.MaxPool2Lanes(e0[:], e1[:], y[whole*lanes:], chosen[whole*4:])
	}
}

// poolScratch has what is computed along with something else and not wanted: rows
// of gradients that no pixel takes, maxima of which only the places count.
var poolScratch par.Pool

func (l *pooling) lanesHalvesBackward(dy, dx []float32, p int) {
	const lanes = tensor.Lanes
	upper, lower := l.rows(p)
	dy, chosen := row(dy, l.out, p, lanes), row(l.chosen, l.out, p, 4)
	d0, d1 := row(dx, l.in, upper, lanes), row(dx, l.in, lower, lanes)
	if upper == lower {
		var buf *par.Buffer
		d1, buf = poolScratch.Get(len(d0))
		defer poolScratch.Put(buf)
	}
	whole := l.in[1] / 2
	asm.MaxPool2LanesBackward(dy[:whole*lanes], chosen[:whole*4], d0, d1)
	switch {
	case whole < l.out[1]:
		var e0, e1 [2 * lanes]float32
		asm.MaxPool2LanesBackward(dy[whole*lanes:], chosen[whole*4:], e0[:], e1[:])
		copy(d0[2*whole*lanes:], e0[:lanes])
		copy(d1[2*whole*lanes:], e1[:lanes])
	default:
		clear(d0[2*whole*lanes:])
		clear(d1[2*whole*lanes:])
	}
	if p%l.out[0] == l.out[0]-1 && 2*l.out[0] < l.in[0] {
		clear(row(dx, l.in, lower+1, lanes))
	}
}

// block returns one block.
func block[T any](s []T, size [2]int, b int) []T {
	n := size[0] * size[1] * tensor.Lanes
	return s[b*n : (b+1)*n]
}

// pixel returns pixel i of a block.
func pixel[T any](s []T, i int) *[tensor.Lanes]T {
	return (*[tensor.Lanes]T)(s[i*tensor.Lanes:])
}

// lanesWindows calls do for windows that lie side by side: those of row p of all
// that are whole together, each that the edge of the image cuts off by itself.
// x is what is left of the block from the first pixel of the first window, at
// is its place in the block and o that of the first output in the blob; count is
// the size of a window in the padded image. Windows outside the image have no
// Rows or no Cols.
func (l *pooling) lanesWindows(x []float32, p int, do func(l *pooling, w asm.Windows, x []float32, at, o, n, count int, y []float32), y []float32) {
	x = block(x, l.in, p/l.out[0])
	h0, h1, ph := l.window(0, p%l.out[0])
	whole := min((l.pad[1]+l.stride[1]-1)/l.stride[1], l.out[1])
	end := min(max((l.in[1]+l.pad[1]-l.kernel[1]+l.stride[1])/l.stride[1], whole), l.out[1])
	for ow := 0; ow < l.out[1]; {
		n := 1
		if ow == whole && end > whole {
			n = end - whole
		}
		w0, w1, pw := l.window(1, ow)
		at := h0*l.in[1] + w0
		w := asm.Windows{Rows: h1 - h0, Cols: w1 - w0, Step: l.stride[1], Width: l.in[1]}
		do(l, w, x[min(at*tensor.Lanes, len(x)):], at, p*l.out[1]+ow, n, ph*pw, y[(p*l.out[1]+ow)*tensor.Lanes:][:n*tensor.Lanes])
		ow += n
	}
}

func (l *pooling) lanesMaximum(x, y []float32, p int) { l.lanesWindows(x, p, (*pooling).maxWindows, y) }

func (l *pooling) maxWindows(w asm.Windows, x []float32, at, o, n, _ int, y []float32) {
	var mask []int32
	if l.maskValid {
		mask = l.mask[o*tensor.Lanes:][:n*tensor.Lanes]
	}
	if w.Rows > 0 && w.Cols > 0 {
		asm.MaxPoolWindows(w, at, x, y, mask)
		return
	}
	for i := range y {
		y[i] = -math.MaxFloat32
	}
	for i := range mask {
		mask[i] = -1
	}
}

func (l *pooling) lanesScatter(dy, dx []float32, b int) {
	dy, dx = block(dy, l.out, b), block(dx, l.in, b)
	clear(dx)
	for i, at := range block(l.mask, l.out, b) {
		if at >= 0 {
			dx[int(at)*tensor.Lanes+i%tensor.Lanes] += dy[i]
		}
	}
}

func (l *pooling) lanesAverage(x, y []float32, p int) {
	l.lanesWindows(x, p, (*pooling).meanWindows, y)
}

func (l *pooling) meanWindows(w asm.Windows, x []float32, _, _, _, count int, y []float32) {
	if w.Rows > 0 && w.Cols > 0 {
		asm.MeanPoolWindows(w, float32(count), x, y)
	} else {
		clear(y)
	}
}

func (l *pooling) lanesAverageBackward(dy, dx []float32, b int) {
	dy, dx = block(dy, l.out, b), block(dx, l.in, b)
	clear(dx)
	i := 0
	for oh := range l.out[0] {
		h0, h1, ph := l.window(0, oh)
		for ow := range l.out[1] {
			w0, w1, pw := l.window(1, ow)
			if ph > 0 && pw > 0 {
				g := *pixel(dy, i)
				for c := range g {
					g[c] /= float32(ph * pw)
				}
				for h := h0; h < h1; h++ {
					for w := w0; w < w1; w++ {
						d := pixel(dx, h*l.in[1]+w)
						for c, v := range g {
							d[c] += v
						}
					}
				}
			}
			i++
		}
	}
}
