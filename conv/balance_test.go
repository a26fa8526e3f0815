package conv

import (
	"testing"

	"crema/internal/kerneltest"
)

// TestBalance: the busiest of 2 to 32 workers has at most a quarter more to do
// than the mean, in every direction of VGG-16's convolutions.
func TestBalance(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, batch := range []int{6, 32} {
			for _, l := range vgg {
				s := Shape{N: batch, C: l.c, H: l.h, W: l.h, K: l.k, R: 3, S: 3, PadH: 1, PadW: 1}
				opts := Options{In: Blocked, Out: Blocked}
				if s.C%Lanes != 0 {
					opts.In = NCHW
				}
				p := plan(t, s, opts)
				for d := range numDirections {
					for workers := 2; workers <= 32; workers++ {
						if b := p.Balance(d, workers); b < 1-1e-9 || b > 1.25 {
							t.Errorf("%s, batch %d, %v by %s, %d workers: %.3f", l.name, batch, d, p.Algorithm(d), workers, b)
						}
					}
				}
			}
		}
	})
}

// TestBalanceOfOthers: whatever the shape, counting ends and is at least 1, and
// one worker is never ahead of himself.
func TestBalanceOfOthers(t *testing.T) {
	for _, list := range [][]Shape{shapes, directShapes, depthwiseShapes} {
		for _, s := range list {
			for _, algorithm := range []string{"", "implicit", "direct", "depthwise", "winograd"} {
				p := plan(t, s, Options{Algorithm: algorithm})
				for d := range numDirections {
					if b := p.Balance(d, 1); b < 1-1e-9 || b > 1+1e-9 {
						t.Errorf("%v: %v on one worker: %v", p.Shape(), d, b)
					}
					if b := p.Balance(d, 5); b < 1-1e-9 || b > 5+1e-9 {
						t.Errorf("%v: %v on five workers: %v", p.Shape(), d, b)
					}
				}
			}
		}
	}
	p := plan(t, Shape{C: 3, H: 5, W: 5, K: 2, R: 3, S: 3}, Options{})
	if b := p.Balance(Forward, 4); b != 1 {
		t.Errorf("no images: %v", b)
	}
}
