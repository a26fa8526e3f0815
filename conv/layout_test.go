package conv

import (
	"errors"
	"fmt"
	"testing"

	"crema/internal/kerneltest"
	"crema/internal/race"
	"crema/internal/ref"
)

// reorder returns x (n×c×pixels) in layout l, or if back x, which is in layout l,
// in NCHW.
func reorder(l Layout, n, c, pixels int, x []float32, back bool) []float32 {
	y := append([]float32(nil), x...)
	if l == NCHW {
		return y
	}
	for i := range n * c * pixels {
		img, ch, px := i/(c*pixels), i/pixels%c, i%pixels
		j := ((img*c/Lanes+ch/Lanes)*pixels+px)*Lanes + ch%Lanes
		if back {
			y[i] = x[j]
		} else {
			y[j] = x[i]
		}
	}
	return y
}

// in returns a copy of NCHW operands with activations in p's layouts, between
// protected pages.
func (o operands) in(t *testing.T, p *Plan, atEnd bool) operands {
	in, out := p.s.C, p.s.K
	for _, f := range []struct {
		x      *[]float32
		l      Layout
		c, pix int
	}{
		{&o.x, p.in, in, p.s.H * p.s.W}, {&o.dx, p.in, in, p.s.H * p.s.W}, {&o.y, p.out, out, p.oh * p.ow}, {&o.dy, p.out, out, p.oh * p.ow},
		{&o.w, NCHW, 0, 0}, {&o.bias, NCHW, 0, 0}, {&o.dw, NCHW, 0, 0}, {&o.db, NCHW, 0, 0},
	} {
		g := kerneltest.Guarded(t, len(*f.x), atEnd)
		copy(g, reorder(f.l, p.s.N, f.c, f.pix, *f.x, false))
		*f.x = g
	}
	return o
}

// back returns activations of p's layouts as NCHW.
func (o operands) back(p *Plan) operands {
	o.y = reorder(p.out, p.s.N, p.s.K, p.oh*p.ow, o.y, true)
	o.dx = reorder(p.in, p.s.N, p.s.C, p.s.H*p.s.W, o.dx, true)
	return o
}

// rectified returns what p, which has a ReLU, should compute, by a plan without
// one: y of o with its negative elements gone, and the gradients of dy without
// the elements that belong to them.
func rectified(plain *Plan, o operands) operands {
	plain.Forward(o.x, o.w, o.bias, o.y)
	o.dy = append([]float32(nil), o.dy...)
	for i, v := range o.y {
		if v <= 0 {
			o.y[i], o.dy[i] = 0, 0
		}
	}
	plain.BackwardData(o.dy, nil, o.w, o.dx)
	plain.BackwardWeights(o.x, o.dy, nil, o.dw, nil)
	return o
}

// runWithReLU runs all directions, the gradient of the biases with that of the
// weights.
func (o *operands) runWithReLU(p *Plan) {
	p.Forward(o.x, o.w, o.bias, o.y)
	p.BackwardData(o.dy, o.y, o.w, o.dx)
	p.BackwardWeights(o.x, o.dy, o.y, o.dw, o.db)
}

// TestReLU compares plans with a ReLU with those without, for every algorithm.
func TestReLU(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, s := range shapes {
			for _, algo := range []string{"", "winograd", "implicit", "col2im"} {
				p, plain := plan(t, s, Options{Algorithm: algo, ReLU: true}), plan(t, s, Options{Algorithm: algo})
				t.Run(fmt.Sprintf("%v/%s", p.Shape(), algo), func(t *testing.T) {
					want := rectified(plain, newOperands(p, kerneltest.Normals))
					got := newOperands(p, kerneltest.Normals)
					got.runWithReLU(p)
					kerneltest.Same(t, "y", got.y, want.y)
					kerneltest.Same(t, "dx", got.dx, want.dx)
					kerneltest.Same(t, "dw", got.dw, want.dw)
					db := ref.ConvBackwardBias(ref.Conv(p.Shape()), want.dy)
					kerneltest.Close(t, "db", got.db, db, kerneltest.Bound(p.s.N*p.oh*p.ow))
					clear(got.db)
					p.BackwardBias(got.dy, got.y, got.db)
					kerneltest.Close(t, "db alone", got.db, db, kerneltest.Bound(p.s.N*p.oh*p.ow))
				})
			}
		}
	})
}

// blockedShapes are 3×3 convolutions of whole groups of lanes, on images
// narrower and wider than what is read from a strip.
var blockedShapes = []Shape{
	{N: 2, C: 16, H: 5, W: 6, K: 16, PadH: 1, PadW: 1},
	{N: 3, C: 32, H: 14, W: 14, K: 48, PadH: 1, PadW: 1},
	{N: 2, C: 16, H: 17, W: 38, K: 16, PadH: 0, PadW: 0},
	{N: 1, C: 16, H: 12, W: 57, K: 32, PadH: 2, PadW: 1},
	{N: 2, C: 48, H: 28, W: 29, K: 16, PadH: 1, PadW: 2},
}

var layoutPairs = [][2]Layout{{Blocked, Blocked}, {NCHW, Blocked}, {Blocked, NCHW}, {NCHW, NCHW}}

// TestWinogradLayouts compares every combination of layouts, with and without a
// ReLU, on operands between protected pages and for different numbers of
// workers: the bits are the same.
func TestWinogradLayouts(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		eachScheme(t, func(t *testing.T) {
			for _, s := range blockedShapes {
				plain := winogradPlan(t, s, Options{})
				data := newOperands(plain, kerneltest.Normals)
				linear := newOperands(plain, kerneltest.Normals)
				linear.run(plain)
				rect := rectified(plain, newOperands(plain, kerneltest.Normals))
				for i, l := range layoutPairs {
					for _, relu := range []bool{false, true} {
						p := winogradPlan(t, s, Options{In: l[0], Out: l[1], ReLU: relu})
						want := linear
						if relu {
							want = rect
						}
						got := data.in(t, p, i%2 == 0)
						atThreads(1+i, func() { got.runWithReLU(p) })
						what := fmt.Sprintf("%v, %v to %v, ReLU %v: ", p.Shape(), l[0], l[1], relu)
						n := got.back(p)
						kerneltest.Same(t, what+"y", n.y, want.y)
						kerneltest.Same(t, what+"dx", n.dx, want.dx)
						kerneltest.Same(t, what+"dw", n.dw, want.dw)
						db := ref.ConvBackwardBias(ref.Conv(p.Shape()), want.dy)
						bound := kerneltest.Bound(p.s.N * p.oh * p.ow)
						kerneltest.Close(t, what+"db", n.db, db, bound)
						clear(got.db)
						p.BackwardBias(got.dy, got.y, got.db)
						kerneltest.Close(t, what+"db alone", got.db, db, bound)

						kerneltest.Fill(got.y, kerneltest.NaN)
						p.ForwardFilters(got.x, p.TransformFilters(got.w, nil), got.bias, got.y)
						kerneltest.Same(t, what+"y from kept filters", got.back(p).y, want.y)
					}
				}
			}
		})
	})
}

// TestFilters transforms filters again when weights have changed.
func TestFilters(t *testing.T) {
	for _, algo := range []string{"winograd", "implicit"} {
		p := plan(t, Shape{N: 2, C: 16, H: 9, W: 9, K: 17, R: 3, S: 3, PadH: 1, PadW: 1}, Options{Algorithm: algo})
		o := newOperands(p, kerneltest.Normals)
		f := p.TransformFilters(o.w, nil)
		kerneltest.Normals(7, o.w)
		if g := p.TransformFilters(o.w, f); g != f {
			t.Error("memory was not used again")
		}
		p.Forward(o.x, o.w, o.bias, o.y)
		y := make([]float32, len(o.y))
		p.ForwardFilters(o.x, f, o.bias, y)
		kerneltest.Same(t, algo, y, o.y)
		if race.Enabled {
			continue
		}
		if n := testing.AllocsPerRun(5, func() { p.TransformFilters(o.w, f); p.ForwardFilters(o.x, f, o.bias, y) }); n != 0 {
			t.Errorf("%s: %v allocations", algo, n)
		}
		other := plan(t, Shape{N: 1, C: 16, H: 9, W: 9, K: 17, R: 3, S: 3}, Options{})
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: filters of another plan taken", algo)
				}
			}()
			other.ForwardFilters(o.x, f, o.bias, y)
		}()
	}
}

func TestLayoutErrors(t *testing.T) {
	t.Setenv(envVar, "")
	base := Shape{N: 1, C: 32, H: 8, W: 8, K: 32, R: 3, S: 3, PadH: 1, PadW: 1}
	for _, c := range []struct {
		name    string
		change  func(s *Shape)
		in, out Layout
		forced  string
		ok      bool
	}{
		{"both", func(*Shape) {}, Blocked, Blocked, "", true},
		{"forced", func(*Shape) {}, Blocked, Blocked, "winograd", true},
		{"other algorithm", func(*Shape) {}, Blocked, NCHW, "implicit", false},
		{"algorithm for other shapes", func(*Shape) {}, Blocked, NCHW, "1x1", true},
		{"channels", func(s *Shape) { s.C = 33 }, Blocked, NCHW, "", false},
		{"channels of NCHW", func(s *Shape) { s.C = 33 }, NCHW, Blocked, "", true},
		{"filters", func(s *Shape) { s.K = 40 }, NCHW, Blocked, "", false},
		{"filters of NCHW", func(s *Shape) { s.K = 40 }, Blocked, NCHW, "", true},
		{"stride", func(s *Shape) { s.StrideH = 2 }, Blocked, NCHW, "", false},
		{"stride of both", func(s *Shape) { s.StrideH = 2 }, Blocked, Blocked, "", true},
		{"no use", func(s *Shape) { s.H = 2 }, Blocked, NCHW, "", false},
		{"no use of both", func(s *Shape) { s.H = 2 }, Blocked, Blocked, "", true},
	} {
		s := base
		c.change(&s)
		_, err := NewPlan(s, Options{In: c.in, Out: c.out, Algorithm: c.forced})
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrLayout) {
			t.Errorf("%s: error is %v", c.name, err)
		}
	}
}

func TestLayoutNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	eachScheme(t, func(t *testing.T) {
		for _, s := range blockedShapes {
			p := winogradPlan(t, s, Options{In: Blocked, Out: Blocked, ReLU: true})
			o := newOperands(p, kerneltest.Normals)
			if n := testing.AllocsPerRun(5, func() { o.runWithReLU(p) }); n != 0 {
				t.Errorf("%v: %v allocations", p.Shape(), n)
			}
		}
	})
	p := plan(t, shapes[2], Options{Algorithm: "implicit", ReLU: true})
	o := newOperands(p, kerneltest.Normals)
	if n := testing.AllocsPerRun(5, func() { o.runWithReLU(p) }); n != 0 {
		t.Errorf("implicit: %v allocations", n)
	}
}
