package conv

import (
	"fmt"
	"math"
	"testing"

	"crema/internal/kerneltest"
	"crema/internal/race"
	"crema/internal/ref"
)

// winogradSchemes are sizes that force each way of dividing the work, in small
// pieces.
var winogradSchemes = map[string]func(){
	"default": func() {},
	"fused": func() {
		winoSizes.fused, winoSizes.own, winoSizes.rect, winoSizes.stream = math.MaxInt, 36*16*4, 4, 0
		winoSizes.gradients, winoSizes.unit, winoSizes.chunks, winoSizes.chunk = math.MaxInt, 5, 7, 6
	},
	"owned": func() {
		winoSizes.fused, winoSizes.rect, winoSizes.sharedV = 0, 7, 36*16*20
		winoSizes.gradients, winoSizes.depth, winoSizes.largeLot, winoSizes.sumChannels = 0, 9, 36*16*20, 32
	},
	"shared": func() {
		winoSizes.sharedV, winoSizes.sumChannels = 0, 0
		winoSizes.fused, winoSizes.rect, winoSizes.wholeU, winoSizes.partU, winoSizes.lot, winoSizes.largeLot = 0, 7, 36*24*32, 36*16*40, 36*16*20, 36*16*20
		winoSizes.gradients, winoSizes.depth, winoSizes.streamV = 0, 9, 0
	},
}

// eachScheme runs f with each of them.
func eachScheme(t *testing.T, f func(t *testing.T)) {
	was := winoSizes
	defer func() { winoSizes = was }()
	for name, change := range winogradSchemes {
		winoSizes = was
		change()
		t.Run("scheme="+name, f)
	}
}

var winogradShapes = []Shape{
	{N: 1, C: 1, H: 1, W: 1, K: 1, PadH: 1, PadW: 1},
	{N: 2, C: 3, H: 9, W: 11, K: 5, PadH: 1, PadW: 1},
	{N: 3, C: 16, H: 21, W: 34, K: 17, PadH: 1, PadW: 1},
	{N: 2, C: 19, H: 6, W: 7, K: 16, PadH: 0, PadW: 2},
	{N: 5, C: 33, H: 9, W: 5, K: 33, PadH: 2, PadW: 1},
	{N: 7, C: 17, H: 3, W: 3, K: 40, PadH: 0, PadW: 0},
	{N: 1, C: 4, H: 4, W: 70, K: 130, PadH: 1, PadW: 0},
	{N: 2, C: 130, H: 8, W: 8, K: 3, PadH: 2, PadW: 2},
	{N: 3, C: 16, H: 12, W: 56, K: 130, PadH: 1, PadW: 1},
	{N: 1, C: 530, H: 4, W: 5, K: 6, PadH: 1, PadW: 1},
}

func winogradPlan(t testing.TB, s Shape, o Options) *Plan {
	t.Helper()
	s.R, s.S = 3, 3
	o.Algorithm = "winograd"
	p := plan(t, s, o)
	for d := range numDirections {
		if a := p.Algorithm(d); a != "winograd" {
			t.Fatalf("%v %v: algorithm is %s", p.Shape(), d, a)
		}
	}
	return p
}

// TestWinogradSchemes compares every scheme and instruction set with the
// reference, on operands between protected pages, and numbers of workers with
// each other.
func TestWinogradSchemes(t *testing.T) {
	for _, s := range winogradShapes {
		p := winogradPlan(t, s, Options{})
		heap := newOperands(p, kerneltest.Normals)
		want := reference(p, heap)
		kerneltest.EachISA(t, func(t *testing.T) {
			var first *operands
			eachScheme(t, func(t *testing.T) {
				for _, atEnd := range []bool{true, false} {
					o := heap
					for _, f := range []*[]float32{&o.x, &o.w, &o.bias, &o.dy, &o.y, &o.dx, &o.dw, &o.db} {
						g := kerneltest.Guarded(t, len(*f), atEnd)
						copy(g, *f)
						*f = g
					}
					atThreads(map[bool]int{true: 1, false: 3}[atEnd], func() { o.run(p) })
					want.check(t, p, o, false)
					if first == nil {
						kept := o
						kept.y, kept.dx = append([]float32(nil), o.y...), append([]float32(nil), o.dx...)
						first = &kept
					}
					// However the work is divided, these are the same sums.
					kerneltest.Same(t, "y", o.y, first.y)
					kerneltest.Same(t, "dx", o.dx, first.dx)
				}
			})
		})
	}
}

func TestWinogradSameBitsForAnyThreads(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		eachScheme(t, func(t *testing.T) {
			for _, s := range winogradShapes[2:] {
				p := winogradPlan(t, s, Options{})
				want := newOperands(p, kerneltest.Normals)
				atThreads(1, func() { want.run(p) })
				for _, threads := range []int{2, 7} {
					got := newOperands(p, kerneltest.Normals)
					atThreads(threads, func() { got.run(p) })
					kerneltest.Same(t, "y", got.y, want.y)
					kerneltest.Same(t, "dx", got.dx, want.dx)
					kerneltest.Same(t, "dw", got.dw, want.dw)
					kerneltest.Same(t, "db", got.db, want.db)
				}
			}
		})
	})
}

func TestWinogradChoice(t *testing.T) {
	t.Setenv(envVar, "")
	base := Shape{N: 1, C: 16, H: 8, W: 8, K: 16, R: 3, S: 3, PadH: 1, PadW: 1}
	for _, c := range []struct {
		name   string
		change func(s *Shape)
		forced string
		want   [numDirections]string
	}{
		{"usual", func(*Shape) {}, "", [...]string{"winograd", "winograd", "winograd"}},
		{"not wanted", func(*Shape) {}, "implicit", [...]string{"implicit", "implicit", "implicit"}},
		{"few channels", func(s *Shape) { s.C = 15 }, "", [...]string{"implicit", "implicit", "implicit"}},
		{"few channels, forced", func(s *Shape) { s.C = 1 }, "winograd", [...]string{"winograd", "winograd", "winograd"}},
		{"small output", func(s *Shape) { s.N, s.H, s.PadH = 4, 4, 0 }, "", [...]string{"implicit", "winograd", "implicit"}},
		{"stride", func(s *Shape) { s.StrideW = 2 }, "winograd", [...]string{"implicit", "col2im", "implicit"}},
		{"dilation", func(s *Shape) { s.DilationH = 2 }, "winograd", [...]string{"implicit", "implicit", "implicit"}},
		{"groups", func(s *Shape) { s.Group = 2 }, "winograd", [...]string{"winograd", "winograd", "winograd"}},
		{"small groups", func(s *Shape) { s.Group = 2 }, "", [...]string{"implicit", "implicit", "implicit"}},
		{"wide border", func(s *Shape) { s.PadW = 3 }, "winograd", [...]string{"implicit", "implicit", "implicit"}},
		{"other filter", func(s *Shape) { s.R = 5 }, "winograd", [...]string{"implicit", "implicit", "implicit"}},
	} {
		s := base
		c.change(&s)
		p := plan(t, s, Options{Algorithm: c.forced})
		for d, want := range c.want {
			if got := p.Algorithm(Direction(d)); got != want {
				t.Errorf("%s: %v by %s, not %s", c.name, Direction(d), got, want)
			}
		}
	}
}

func TestWinogradNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	eachScheme(t, func(t *testing.T) {
		p := winogradPlan(t, winogradShapes[2], Options{})
		o := newOperands(p, kerneltest.Normals)
		if n := testing.AllocsPerRun(5, func() { o.run(p) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// relativeError is the root mean square of the difference over that of want.
func relativeError(got []float32, want []float64) float64 {
	var e, s float64
	for i, w := range want {
		d := float64(got[i]) - w
		e += d * d
		s += w * w
	}
	return math.Sqrt(e / s)
}

// relativeErrors returns the error of p in every direction, on standard normal
// numbers.
func relativeErrors(p *Plan, want expected) [numDirections]float64 {
	o := newOperands(p, kerneltest.Normals)
	o.run(p)
	return [numDirections]float64{relativeError(o.y, want.y), relativeError(o.dx, want.dx), relativeError(o.dw, want.dw)}
}

// TestWinogradError holds the error against float64 to 2.5 times that of the
// implicit algorithm for output and input gradient, and to 5 times for the
// weights.
func TestWinogradError(t *testing.T) {
	for _, s := range []Shape{
		{N: 1, C: 256, H: 16, W: 16, K: 64, PadH: 1, PadW: 1},
		{N: 1, C: 64, H: 12, W: 12, K: 256, PadH: 1, PadW: 1},
		{N: 2, C: 16, H: 64, W: 64, K: 32, PadH: 1, PadW: 1},
	} {
		p := winogradPlan(t, s, Options{})
		q := plan(t, p.Shape(), Options{Algorithm: "implicit"})
		want := reference(p, newOperands(p, kerneltest.Normals))
		kerneltest.EachISA(t, func(t *testing.T) {
			limits := [numDirections]float64{2.5, 2.5, 5}
			direct, winograd := relativeErrors(q, want), relativeErrors(p, want)
			for d, limit := range limits {
				ratio := winograd[d] / direct[d]
				t.Logf("%v %v: direct %.2g, winograd %.2g, %.2f times", s, Direction(d), direct[d], winograd[d], ratio)
				if !(ratio <= limit) {
					t.Errorf("%v %v: error %.2g is %.2f times direct's, more than %v", s, Direction(d), winograd[d], ratio, limit)
				}
			}
		})
	}
}

// BenchmarkWinogradError reports the errors for the layers of VGG-16, one image.
// An error depends on what is summed over, so only 16 of the other channels are
// computed.
func BenchmarkWinogradError(b *testing.B) {
	for _, l := range vgg[1:] {
		for d := range numDirections {
			b.Run(fmt.Sprintf("shape=%s/direction=%v", l.name, d), func(b *testing.B) {
				s := Shape{N: 1, C: l.c, H: l.h, W: l.h, K: l.k, R: 3, S: 3, PadH: 1, PadW: 1}
				if d != Forward {
					s.C = 16
				}
				if d != BackwardData {
					s.K = 16
				}
				p, q := winogradPlan(b, s, Options{}), plan(b, s, Options{Algorithm: "implicit"})
				o := newOperands(p, kerneltest.Normals)
				var want []float64
				var out []float32
				compute := func(p *Plan) {
					switch d {
					case Forward:
						out = o.y
						p.Forward(o.x, o.w, nil, out)
					case BackwardData:
						out = o.dx
						p.BackwardData(o.dy, nil, o.w, out)
					case BackwardWeights:
						out = o.dw
						clear(out)
						p.BackwardWeights(o.x, o.dy, nil, out, nil)
					}
				}
				switch r := ref.Conv(p.Shape()); d {
				case Forward:
					want = ref.ConvForward(r, o.x, o.w, nil)
				case BackwardData:
					want = ref.ConvBackwardData(r, o.dy, o.w)
				case BackwardWeights:
					want = ref.ConvBackwardWeights(r, o.x, o.dy)
				}
				compute(q)
				direct := relativeError(out, want)
				for b.Loop() {
					compute(p)
				}
				winograd := relativeError(out, want)
				b.ReportMetric(winograd*1e7, "e-7")
				b.ReportMetric(direct*1e7, "direct-e-7")
				b.ReportMetric(winograd/direct, "ratio")
			})
		}
	}
}
