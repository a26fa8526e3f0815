package conv

import (
	"fmt"
	"math"
	"testing"

	"crema/internal/kerneltest"
	"crema/internal/ref"
)

// TestWinogradBlocks forces many small blocks, private and shared, and sizes
// that do not divide into tiles, between protected pages.
func TestWinogradBlocks(t *testing.T) {
	was := winoSizes
	defer func() { winoSizes = was }()
	winoSizes.private, winoSizes.shared = 1, 1
	shapes := []Shape{
		{N: 3, C: 16, H: 21, W: 34, K: 17, PadH: 1, PadW: 1},
		{N: 2, C: 19, H: 6, W: 7, K: 16, PadH: 0, PadW: 2},
		{N: 5, C: 16, H: 9, W: 5, K: 33, PadH: 2, PadW: 1},
		{N: 2, C: 17, H: 4, W: 100, K: 16, PadH: 1, PadW: 1},
		{N: 13, C: 16, H: 8, W: 8, K: 16, PadH: 1, PadW: 1},
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, s := range shapes {
			s.R, s.S = 3, 3
			for _, few := range []int{0, math.MaxInt} {
				winoSizes.few = few
				p := plan(t, s, Options{Algorithm: "winograd"})
				for d := range numDirections {
					if a := p.Algorithm(d); a != "winograd" {
						t.Fatalf("%v %v: algorithm %s", s, d, a)
					}
				}
				for _, fill := range []func(uint64, []float32){kerneltest.Normals, kerneltest.Integers} {
					o := newOperands(p, fill)
					for _, a := range []*[]float32{&o.x, &o.w, &o.dy, &o.y, &o.dx, &o.dw} {
						g := kerneltest.Guarded(t, len(*a), few == 0)
						copy(g, *a)
						*a = g
					}
					want := reference(p, o)
					o.run(p)
					ints := fmt.Sprintf("%p", fill) == fmt.Sprintf("%p", kerneltest.Integers)
					want.check(t, p, o, ints)
				}
			}
		}
	})
}

// termByTerm convolves in float32, adding one product after the other: what
// "direct" means when errors are compared. (The implicit algorithm cuts its
// sums and is more exact than that.)
func termByTerm(s *Shape, d Direction, in, with, out []float32) {
	clear(out)
	for n := range s.N {
		for k := range s.K {
			for y := range s.H {
				for x := range s.W {
					var sum float32
					for c := range s.C {
						for r := range 9 {
							i, j := y+r/3-1, x+r%3-1
							if i < 0 || j < 0 || i >= s.H || j >= s.W {
								continue
							}
							at, w, o := ((n*s.C+c)*s.H+i)*s.W+j, (k*s.C+c)*9+r, ((n*s.K+k)*s.H+y)*s.W+x
							switch d {
							case Forward:
								sum += in[at] * with[w]
							case BackwardData:
								out[at] += in[o] * with[w]
							case BackwardWeights:
								out[w] += in[at] * with[o]
							}
						}
					}
					if d == Forward {
						out[((n*s.K+k)*s.H+y)*s.W+x] = sum
					}
				}
			}
		}
	}
}

// TestWinogradError holds Winograd's error, as a root mean square over all
// elements, to 2.5 times that of the direct sum for output and input gradient,
// and to 5 times for the weights.
func TestWinogradError(t *testing.T) {
	if testing.Short() {
		t.Skip("a long test")
	}
	rms := func(got []float32, want []float64) float64 {
		var e, s float64
		for i, w := range want {
			d := float64(got[i]) - w
			e += d * d
			s += w * w
		}
		return math.Sqrt(e / s)
	}
	for _, s := range []Shape{
		{N: 1, C: 256, H: 16, W: 16, K: 128},
		{N: 4, C: 32, H: 48, W: 48, K: 32},
	} {
		s.R, s.S, s.PadH, s.PadW = 3, 3, 1, 1
		p := plan(t, s, Options{Algorithm: "winograd"})
		o := newOperands(p, kerneltest.Normals)
		r := ref.Conv(p.Shape())
		for _, c := range []struct {
			d        Direction
			limit    float64
			in, with []float32
			want     []float64
			run      func(out []float32)
		}{
			{Forward, 2.5, o.x, o.w, ref.ConvForward(r, o.x, o.w, make([]float32, s.K)), func(out []float32) { p.Forward(o.x, o.w, nil, out) }},
			{BackwardData, 2.5, o.dy, o.w, ref.ConvBackwardData(r, o.dy, o.w), func(out []float32) { p.BackwardData(o.dy, o.w, out) }},
			{BackwardWeights, 5, o.x, o.dy, ref.ConvBackwardWeights(r, o.x, o.dy), func(out []float32) { p.BackwardWeights(o.x, o.dy, out) }},
		} {
			got := make([]float32, len(c.want))
			termByTerm(&s, c.d, c.in, c.with, got)
			direct := rms(got, c.want)
			kerneltest.EachISA(t, func(t *testing.T) {
				clear(got)
				c.run(got)
				e := rms(got, c.want)
				t.Logf("%v %v: direct %.2g, winograd %.2g, %.2f times", s, c.d, direct, e, e/direct)
				if !(e <= c.limit*direct) {
					t.Errorf("%v %v: error %.2g is %.2f times the direct sum's, more than %g", s, c.d, e, e/direct, c.limit)
				}
			})
		}
	}
}
