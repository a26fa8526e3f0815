package conv

import (
	"errors"
	"fmt"
	"testing"

	"crema/internal/kerneltest"
	"crema/internal/race"
	"crema/internal/ref"
)

// directShapes are first layers, small and large, and what may go wrong there.
var directShapes = []Shape{
	{N: 1, C: 1, H: 1, W: 1, K: 1, R: 1, S: 1},
	{N: 2, C: 3, H: 9, W: 50, K: 16, R: 3, S: 3, PadH: 1, PadW: 1},
	{N: 2, C: 3, H: 24, W: 32, K: 64, R: 3, S: 3, PadH: 1, PadW: 1},
	{N: 1, C: 3, H: 23, W: 23, K: 32, R: 7, S: 7, StrideH: 2, StrideW: 2, PadH: 3, PadW: 3},
	{N: 2, C: 3, H: 31, W: 29, K: 96, R: 11, S: 11, StrideH: 4, StrideW: 4},
	{N: 1, C: 4, H: 9, W: 19, K: 5, R: 3, S: 3},
	{N: 1, C: 1, H: 28, W: 28, K: 20, R: 5, S: 5},
	{N: 2, C: 2, H: 6, W: 5, K: 3, R: 2, S: 5, PadH: 6, PadW: 7},
	{N: 1, C: 2, H: 12, W: 13, K: 48, R: 3, S: 2, StrideH: 1, StrideW: 3, PadH: 2, DilationH: 2, DilationW: 4},
	{N: 1, C: 2, H: 12, W: 13, K: 16, R: 2, S: 2, StrideH: 3, StrideW: 5, PadH: 1, PadW: 2},
	{N: 1, C: 16, H: 4, W: 17, K: 33, R: 3, S: 3, PadH: 1, PadW: 1},
	{N: 1, C: 3, H: 3, W: 3, K: 80, R: 3, S: 3, PadH: 1, PadW: 1},
	{N: 1, C: 3, H: 3, W: 600, K: 16, R: 9, S: 16, PadH: 4},
}

// checkForced compares what the named algorithm computes with the reference, in
// the directions that it can do, with and without a ReLU, from and to arrays
// that end and begin at protected pages, and on any number of threads.
func checkForced(t *testing.T, s Shape, algorithm string, layout Layout) {
	opts := Options{Algorithm: algorithm, Out: layout}
	plain := plan(t, s, opts)
	s = plain.Shape()
	opts.ReLU = true
	for fill, values := range map[string]func(uint64, []float32){"integers": kerneltest.Integers, "normals": kerneltest.Normals} {
		o := newOperands(plain, values)
		want := reference(plain, o)
		limit := func(k int) float64 {
			if fill == "integers" {
				return 0
			}
			return kerneltest.Bound(k)
		}
		pix := plain.oh * plain.ow
		// Of the pixels of y a third is zero, as behind a ReLU.
		masked := make([]float32, len(o.y))
		for i := range o.y {
			o.y[i] = float32(i % 3)
			if i%3 > 0 {
				masked[i] = o.dy[i]
			}
		}
		r := ref.Conv(s)
		maskedDX, maskedDW, maskedDB := ref.ConvBackwardData(r, masked, o.w), ref.ConvBackwardWeights(r, o.x, masked), ref.ConvBackwardBias(r, masked)
		dy, y := reorder(layout, s.N, s.K, pix, o.dy, false), reorder(layout, s.N, s.K, pix, o.y, false)
		for _, relu := range []bool{false, true} {
			opts.ReLU = relu
			p := plan(t, s, opts)
			wantY, wantDX, wantDW, wantDB := want.y, want.dx, want.dw, want.db
			if relu {
				wantY, wantDX, wantDW, wantDB = make([]float64, len(want.y)), maskedDX, maskedDW, maskedDB
				for i, v := range want.y {
					wantY[i] = max(v, 0)
				}
			}
			var first [][]float32
			for i, threads := range []int{1, 2, 5} {
				atEnd := i != 1
				guard := func(x []float32) []float32 {
					g := kerneltest.Guarded(t, len(x), atEnd)
					copy(g, x)
					return g
				}
				x, w, bias := guard(o.x), guard(o.w), guard(o.bias)
				gy, gdy := guard(y), guard(dy)
				out, dx, dw, db := guard(o.y), guard(o.dx), guard(o.dw), guard(o.db)
				kerneltest.Fill(out, kerneltest.NaN)
				atThreads(threads, func() {
					p.Forward(x, w, bias, out)
					p.BackwardData(gdy, gy, w, dx)
					p.BackwardWeights(x, gdy, gy, dw, db)
				})
				what := fmt.Sprintf("%s, ReLU %v, %d threads: ", fill, relu, threads)
				for j, a := range [][]float32{out, dx, dw, db} {
					if i == 0 {
						first = append(first, append([]float32(nil), a...))
					} else {
						kerneltest.Same(t, what+[]string{"y", "dx", "dw", "db"}[j], a, first[j])
					}
				}
				got := reorder(layout, s.N, s.K, pix, out, true)
				taps := s.R * s.S / s.Group
				if p.Algorithm(Forward) == algorithm {
					kerneltest.Close(t, what+"y", got, wantY, limit(s.C*taps+1))
				}
				if a := p.Algorithm(BackwardData); a == algorithm || a == "col2im" {
					kerneltest.Close(t, what+"dx", dx, wantDX, limit(s.K*taps))
				}
				if p.Algorithm(BackwardWeights) == algorithm {
					kerneltest.Close(t, what+"dw", dw, wantDW, limit(s.N*pix))
					kerneltest.Close(t, what+"db", db, wantDB, limit(s.N*pix))
					// Without the biases, the weights are the same, and add up.
					atThreads(threads, func() { p.BackwardWeights(x, gdy, gy, dw, nil) })
					for i, v := range dw {
						if fill == "integers" && float64(v) != 2*wantDW[i] {
							t.Fatalf("%sdw[%d] is %v after two calls that add %v", what, i, v, wantDW[i])
						}
					}
				}
			}
		}
	}
}

func TestDirect(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, s := range directShapes {
			for _, layout := range []Layout{NCHW, Blocked} {
				t.Run(fmt.Sprintf("%v/%v", s, layout), func(t *testing.T) {
					if layout == Blocked && s.K%Lanes != 0 {
						if _, err := NewPlan(s, Options{Algorithm: "direct", Out: layout}); !errors.Is(err, ErrLayout) {
							t.Fatalf("error is %v", err)
						}
						return
					}
					checkForced(t, s, "direct", layout)
				})
			}
		}
	})
}

// TestDirectStreamed computes outputs that are stored past the caches.
func TestDirectStreamed(t *testing.T) {
	s := Shape{N: 1, C: 1, H: 256, W: 256, K: 80, R: 3, S: 3, PadH: 1, PadW: 1}
	for _, layout := range []Layout{NCHW, Blocked} {
		p := plan(t, s, Options{Algorithm: "direct", Out: layout})
		if p.outputSize() < directStream {
			t.Fatal("shape is too small for this test")
		}
		o := newOperands(p, kerneltest.Integers)
		y, buf := scratch.Get(p.outputSize())
		p.Forward(o.x, o.w, o.bias, y)
		kerneltest.Close(t, "y", reorder(layout, s.N, s.K, p.oh*p.ow, y, true), ref.ConvForward(ref.Conv(p.Shape()), o.x, o.w, o.bias), 0)
		scratch.Put(buf)
	}
}

// TestDirectChoice: first layers are computed directly, others not.
func TestDirectChoice(t *testing.T) {
	first := Shape{N: 6, C: 3, H: 224, W: 224, K: 64, R: 3, S: 3, PadH: 1, PadW: 1}
	few, deep := first, first
	few.K = 8
	deep.C = 64
	for _, c := range []struct {
		s    Shape
		out  Layout
		want bool
	}{{first, NCHW, true}, {first, Blocked, true}, {few, NCHW, false}, {deep, NCHW, false}} {
		p := plan(t, c.s, Options{Out: c.out})
		for _, d := range []Direction{Forward, BackwardWeights} {
			if got := p.Algorithm(d) == "direct"; got != c.want {
				t.Errorf("%v, %v, %v by %s", p.Shape(), c.out, d, p.Algorithm(d))
			}
		}
	}
}

func TestDirectNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	for _, layout := range []Layout{NCHW, Blocked} {
		p := plan(t, directShapes[2], Options{Algorithm: "direct", Out: layout, ReLU: true})
		o := newOperands(p, kerneltest.Normals)
		if n := testing.AllocsPerRun(5, func() {
			p.Forward(o.x, o.w, o.bias, o.y)
			p.BackwardWeights(o.x, o.dy, o.y, o.dw, o.db)
		}); n != 0 {
			t.Errorf("%v: %v allocations", layout, n)
		}
	}
}
