package conv

import (
	"fmt"
	"testing"

	"crema/internal/kerneltest"
	"crema/internal/race"
	"crema/internal/ref"
)

// wholeShapes are convolutions of whole groups of lanes: every kind of filter,
// stride, padding, dilation and group that real nets have, and odder ones.
var wholeShapes = []Shape{
	{N: 2, C: 16, H: 5, W: 6, K: 16, R: 1, S: 1},
	{N: 2, C: 32, H: 14, W: 14, K: 48, R: 1, S: 1},
	{N: 3, C: 48, H: 7, W: 7, K: 80, R: 1, S: 1},
	{N: 2, C: 32, H: 9, W: 8, K: 32, R: 1, S: 1, StrideH: 2, StrideW: 2},
	{N: 1, C: 16, H: 9, W: 9, K: 16, R: 1, S: 1, StrideH: 3, StrideW: 2, PadH: 1, PadW: 2},
	{N: 2, C: 16, H: 28, W: 28, K: 32, R: 3, S: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1},
	{N: 1, C: 32, H: 12, W: 11, K: 16, R: 3, S: 3, StrideH: 2, StrideW: 1, PadH: 0, PadW: 1},
	{N: 2, C: 16, H: 7, W: 9, K: 48, R: 5, S: 5, PadH: 2, PadW: 2},
	{N: 1, C: 16, H: 8, W: 17, K: 16, R: 1, S: 7, PadW: 3},
	{N: 1, C: 16, H: 17, W: 8, K: 32, R: 7, S: 1, PadH: 3},
	{N: 1, C: 16, H: 13, W: 13, K: 16, R: 3, S: 3, DilationH: 2, DilationW: 3, PadH: 2, PadW: 3},
	{N: 1, C: 16, H: 16, W: 16, K: 16, R: 2, S: 2, StrideH: 2, StrideW: 2},
	{N: 1, C: 16, H: 5, W: 5, K: 16, R: 2, S: 2, PadH: 3, PadW: 4},
	{N: 1, C: 16, H: 20, W: 3, K: 16, R: 4, S: 3, StrideH: 3, StrideW: 3, PadH: 2, PadW: 1, DilationH: 2},
	{N: 2, C: 64, H: 6, W: 6, K: 96, R: 3, S: 3, PadH: 1, PadW: 1, Group: 2},
	{N: 1, C: 16 * 9, H: 4, W: 4, K: 16 * 9, R: 1, S: 1, Group: 9},
	{N: 9, C: 16, H: 1, W: 1, K: 32, R: 3, S: 3, PadH: 1, PadW: 1},
}

func wholePlan(t testing.TB, s Shape, relu bool) *Plan {
	return plan(t, s, Options{Algorithm: "blocked", In: Blocked, Out: Blocked, ReLU: relu})
}

// TestBlocked compares all directions with sums in float64, on operands between
// protected pages: of integers, which are exact, and of normal numbers.
func TestBlocked(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for i, s := range wholeShapes {
			p := wholePlan(t, s, false)
			t.Run(fmt.Sprint(p.Shape()), func(t *testing.T) {
				for _, exact := range []bool{true, false} {
					fill := kerneltest.Normals
					if exact {
						fill = kerneltest.Integers
					}
					plain := newOperands(p, fill)
					want := reference(p, plain)
					got := plain.in(t, p, i%2 == 0)
					got.run(p)
					o, taps, pixels := got.back(p), s.R*s.S, s.N*p.oh*p.ow
					kerneltest.Close(t, "y", o.y, want.y, bound(p, Forward, s.C/p.s.Group*taps+1, exact))
					kerneltest.Close(t, "dx", o.dx, want.dx, bound(p, BackwardData, s.K/p.s.Group*taps, exact))
					kerneltest.Close(t, "dw", o.dw, want.dw, bound(p, BackwardWeights, pixels, exact))
					kerneltest.Close(t, "db", o.db, want.db, bound(p, BackwardWeights, pixels, exact))
					p.Forward(got.x, got.w, nil, got.y)
					kerneltest.Close(t, "y without bias", got.back(p).y, want.plain, bound(p, Forward, s.C*s.R*s.S, exact))
				}
			})
		}
	})
}

// TestBlockedReLU compares plans with a ReLU with those without, and kept
// filters with those made for the call.
func TestBlockedReLU(t *testing.T) {
	for _, s := range wholeShapes {
		p, linear := wholePlan(t, s, true), wholePlan(t, s, false)
		want := rectified(linear, newOperands(p, kerneltest.Normals).in(t, linear, true))
		got := newOperands(p, kerneltest.Normals).in(t, p, false)
		got.runWithReLU(p)
		what := fmt.Sprint(p.Shape(), ": ")
		kerneltest.Same(t, what+"y", got.y, want.y)
		kerneltest.Same(t, what+"dx", got.dx, want.dx)
		kerneltest.Same(t, what+"dw", got.dw, want.dw)
		db := ref.ConvBackwardBias(ref.Conv(p.Shape()), reorder(Blocked, s.N, s.K, p.oh*p.ow, want.dy, true))
		kerneltest.Close(t, what+"db", got.db, db, kerneltest.Bound(s.N*p.oh*p.ow))

		kerneltest.Fill(got.y, kerneltest.NaN)
		f := p.TransformFilters(got.w, nil)
		p.ForwardFilters(got.x, f, got.bias, got.y)
		kerneltest.Same(t, what+"y from kept filters", got.y, want.y)
		if g := p.TransformFilters(got.w, f); g != f {
			t.Error("memory was not used again")
		}
	}
}

func TestBlockedSameBitsForAnyThreads(t *testing.T) {
	for _, s := range wholeShapes {
		p := wholePlan(t, s, true)
		want := newOperands(p, kerneltest.Normals).in(t, p, true)
		atThreads(1, func() { want.runWithReLU(p) })
		for _, threads := range []int{2, 4, 7} {
			got := newOperands(p, kerneltest.Normals).in(t, p, true)
			atThreads(threads, func() { got.runWithReLU(p) })
			kerneltest.Same(t, "y", got.y, want.y)
			kerneltest.Same(t, "dx", got.dx, want.dx)
			kerneltest.Same(t, "dw", got.dw, want.dw)
			kerneltest.Same(t, "db", got.db, want.db)
		}
	}
}

func TestBlockedNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	for _, s := range wholeShapes {
		p := wholePlan(t, s, true)
		o := newOperands(p, kerneltest.Normals)
		if n := testing.AllocsPerRun(5, func() { o.runWithReLU(p) }); n != 0 {
			t.Errorf("%v: %v allocations", p.Shape(), n)
		}
	}
}

// TestBlockedChoice wants it for blocked arrays where Winograd does not apply.
func TestBlockedChoice(t *testing.T) {
	t.Setenv(envVar, "")
	for _, s := range wholeShapes {
		p := plan(t, s, Options{In: Blocked, Out: Blocked})
		for _, d := range []Direction{Forward, BackwardData, BackwardWeights} {
			want := "blocked"
			if s := p.Shape(); winogradAccepts(&s, d) && winogradPays(&s, d) {
				want = "winograd"
			}
			if got := p.Algorithm(d); got != want {
				t.Errorf("%v %v: %s, want %s", p.Shape(), d, got, want)
			}
		}
	}
}

// TestBlockedBalance counts that workers share the work of shapes as real nets
// have them.
func TestBlockedBalance(t *testing.T) {
	for _, s := range []Shape{
		{N: 8, C: 256, H: 56, W: 56, K: 64, R: 1, S: 1},
		{N: 8, C: 2048, H: 7, W: 7, K: 512, R: 1, S: 1},
		{N: 1, C: 1024, H: 14, W: 14, K: 256, R: 1, S: 1},
		{N: 8, C: 128, H: 56, W: 56, K: 128, R: 3, S: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1},
		{N: 16, C: 32, H: 28, W: 28, K: 96, R: 5, S: 5, PadH: 2, PadW: 2},
	} {
		p := plan(t, s, Options{In: Blocked, Out: Blocked})
		for _, d := range []Direction{Forward, BackwardData, BackwardWeights} {
			for _, workers := range []int{2, 4, 8, 16} {
				if b := p.Balance(d, workers); b > 1.25 {
					t.Errorf("%v %v: the busiest of %d workers has %.2f of the mean", p.Shape(), d, workers, b)
				}
			}
		}
	}
}
