package layers

import (
	"crema/internal/rng"
	"crema/prototxt/caffepb"
)

// stochasticPooling is pooling with a position: how many masks were drawn.
type stochasticPooling struct{ *pooling }

// draw takes an element of each window of a plane, for TRAIN.
func (l *pooling) draw(x, y []float32, p int) {
	x, y = plane(x, l.in, p), plane(y, l.out, p)
	mask := plane(l.mask, l.out, p)
	src := rng.Source(l.ctx.Seed, l.p.GetName(), l.forwards, uint64(p))
	i := 0
	for oh := range l.out[0] {
		h0, h1, _ := l.window(0, oh)
		for ow := range l.out[1] {
			w0, w1, _ := l.window(1, ow)
			var sum float32
			for h := h0; h < h1; h++ {
				for w := w0; w < w1; w++ {
					sum += x[h*l.in[1]+w]
				}
			}
			// In (0, 1], so that an element of value 0 is drawn only if all
			// are.
			limit := float32(src.Uint64()>>40+1) / (1 << 24) * sum
			at := -1
			sum = 0
		scan:
			for h := h0; h < h1; h++ {
				for w := w0; w < w1; w++ {
					// Negative sums and NaN may pass by every element: then it
					// is the last.
					at = h*l.in[1] + w
					if sum += x[at]; sum >= limit {
						break scan
					}
				}
			}
			y[i], mask[i] = 0, int32(at)
			if at >= 0 {
				y[i] = x[at]
			}
			i++
		}
	}
}

// expect takes the mean of each window, for TEST.
func (l *pooling) expect(x, y []float32, p int) {
	x, y = plane(x, l.in, p), plane(y, l.out, p)
	i := 0
	for oh := range l.out[0] {
		h0, h1, _ := l.window(0, oh)
		for ow := range l.out[1] {
			w0, w1, _ := l.window(1, ow)
			var sum, squares float32
			for h := h0; h < h1; h++ {
				for w := w0; w < w1; w++ {
					v := x[h*l.in[1]+w]
					sum += v
					squares += v * v
				}
			}
			y[i] = 0
			if sum > 0 {
				y[i] = squares / sum
			}
			i++
		}
	}
}

// Cursor implements Stateful.
func (l stochasticPooling) Cursor() *caffepb.LayerCursor { return forwardsCursor(l.p, l.forwards) }

// SetCursor implements Stateful.
func (l stochasticPooling) SetCursor(c *caffepb.LayerCursor) error {
	l.forwards = c.GetForwards()
	return nil
}
