package conv

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"crema/asm"
	"crema/internal/kerneltest"
	"crema/internal/race"
	"crema/internal/ref"
)

var shapes = []Shape{
	{N: 1, C: 1, H: 1, W: 1, K: 1, R: 1, S: 1},
	{N: 2, C: 3, H: 9, W: 11, K: 5, R: 3, S: 3, PadH: 1, PadW: 1},
	{N: 3, C: 16, H: 14, W: 14, K: 33, R: 3, S: 3, PadH: 1, PadW: 1},
	{N: 2, C: 64, H: 5, W: 70, K: 15, R: 3, S: 3, PadH: 1, PadW: 1},
	{N: 2, C: 50, H: 6, W: 7, K: 29, R: 1, S: 1},
	{N: 2, C: 6, H: 7, W: 7, K: 4, R: 1, S: 1, StrideH: 2, StrideW: 2},
	{N: 1, C: 4, H: 8, W: 9, K: 4, R: 1, S: 1, PadH: 2, PadW: 1},
	{N: 2, C: 3, H: 31, W: 29, K: 8, R: 11, S: 11, StrideH: 4, StrideW: 4},
	{N: 2, C: 8, H: 13, W: 10, K: 12, R: 5, S: 5, PadH: 2, PadW: 2, Group: 2},
	{N: 1, C: 6, H: 12, W: 12, K: 6, R: 3, S: 3, PadH: 1, PadW: 1, Group: 6},
	{N: 2, C: 6, H: 12, W: 9, K: 12, R: 3, S: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1, Group: 6},
	{N: 2, C: 4, H: 15, W: 13, K: 3, R: 3, S: 2, StrideH: 3, StrideW: 2, PadH: 2, PadW: 0, DilationH: 2, DilationW: 3},
	{N: 1, C: 5, H: 20, W: 17, K: 7, R: 3, S: 3, PadH: 4, PadW: 4, DilationH: 4, DilationW: 4},
	{N: 2, C: 3, H: 10, W: 10, K: 2, R: 2, S: 5, PadH: 6, PadW: 7},
	{N: 1, C: 2, H: 3, W: 40, K: 3, R: 3, S: 7, StrideH: 1, StrideW: 3, PadH: 0, PadW: 3},
	{N: 1, C: 70, H: 4, W: 4, K: 20, R: 3, S: 3, PadH: 1, PadW: 1},
	{N: 1, C: 8, H: 20, W: 20, K: 3, R: 2, S: 2, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1},
	{N: 1, C: 20, H: 37, W: 37, K: 9, R: 3, S: 3, StrideH: 2, StrideW: 2},
}

func (s Shape) String() string {
	return fmt.Sprintf("n%d_c%d_%dx%d_k%d_%dx%d_s%dx%d_p%dx%d_d%dx%d_g%d", s.N, s.C, s.H, s.W, s.K, s.R, s.S, s.StrideH, s.StrideW, s.PadH, s.PadW, s.DilationH, s.DilationW, s.Group)
}

// operands are the arrays of one convolution.
type operands struct{ x, w, bias, dy, y, dx, dw, db []float32 }

func newOperands(p *Plan, fill func(uint64, []float32)) operands {
	o := operands{
		x: make([]float32, p.inputSize()), w: make([]float32, p.weightSize()), bias: make([]float32, p.s.K),
		dy: make([]float32, p.outputSize()), y: make([]float32, p.outputSize()), dx: make([]float32, p.inputSize()),
		dw: make([]float32, p.weightSize()), db: make([]float32, p.s.K),
	}
	fill(1, o.x)
	fill(2, o.w)
	fill(3, o.bias)
	fill(4, o.dy)
	// Forward and BackwardData overwrite whatever is there.
	kerneltest.Fill(o.y, kerneltest.NaN)
	kerneltest.Fill(o.dx, kerneltest.NaN)
	return o
}

func (o *operands) run(p *Plan) {
	p.Forward(o.x, o.w, o.bias, o.y)
	p.BackwardData(o.dy, nil, o.w, o.dx)
	p.BackwardWeights(o.x, o.dy, nil, o.dw, nil)
	p.BackwardBias(o.dy, nil, o.db)
}

func plan(t testing.TB, s Shape, o Options) *Plan {
	t.Helper()
	p, err := NewPlan(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// expected are the reference results for the operands of one shape.
type expected struct{ y, plain, dx, dw, db []float64 }

func reference(p *Plan, o operands) expected {
	r := ref.Conv(p.Shape())
	e := expected{
		y: ref.ConvForward(r, o.x, o.w, o.bias), dx: ref.ConvBackwardData(r, o.dy, o.w),
		dw: ref.ConvBackwardWeights(r, o.x, o.dy), db: ref.ConvBackwardBias(r, o.dy),
	}
	e.plain = append(e.plain, e.y...)
	for i := range e.plain {
		e.plain[i] -= float64(o.bias[i/(p.oh*p.ow)%p.s.K])
	}
	return e
}

func (e expected) check(t *testing.T, p *Plan, o operands, exact bool) {
	t.Helper()
	s := &p.s
	taps := s.R * s.S / s.Group
	kerneltest.Close(t, "y", o.y, e.y, bound(p, Forward, s.C*taps+1, exact))
	kerneltest.Close(t, "dx", o.dx, e.dx, bound(p, BackwardData, s.K*taps, exact))
	kerneltest.Close(t, "dw", o.dw, e.dw, bound(p, BackwardWeights, s.N*p.oh*p.ow, exact))
	db := kerneltest.Bound(s.N * p.oh * p.ow)
	if exact {
		db = 0
	}
	kerneltest.Close(t, "db", o.db, e.db, db)
}

// bound is how far a sum of k products may be from the exact one: of normal
// numbers as kerneltest.Bound says, of integers not at all. Winograd's
// transforms round whatever goes in, a few times more in the worst element
// (TestWinogradError measures how much on the whole); the integers of these
// tests are up to 4 in magnitude, their products 7 times normal ones'.
func bound(p *Plan, d Direction, k int, integers bool) float64 {
	switch {
	case p.Algorithm(d) != "winograd" && integers:
		return 0
	case p.Algorithm(d) != "winograd":
		return kerneltest.Bound(k)
	case integers:
		return 7 * 4 * kerneltest.Bound(max(k, 64))
	default:
		return 4 * kerneltest.Bound(max(k, 64))
	}
}

func TestAgainstReference(t *testing.T) {
	type both struct{ integers, normals expected }
	references := map[Shape]both{}
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, s := range shapes {
			want, ok := references[s]
			if !ok {
				p := plan(t, s, Options{})
				want = both{reference(p, newOperands(p, kerneltest.Integers)), reference(p, newOperands(p, kerneltest.Normals))}
				references[s] = want
			}
			for _, algo := range []string{"", "winograd", "implicit", "col2im"} {
				p := plan(t, s, Options{Algorithm: algo})
				t.Run(fmt.Sprintf("%v/%s", p.Shape(), algo), func(t *testing.T) {
					if h, w := ref.Conv(p.Shape()).Out(); h != p.OutH() || w != p.OutW() {
						t.Fatalf("output is %d×%d, not %d×%d", p.OutH(), p.OutW(), h, w)
					}
					o := newOperands(p, kerneltest.Normals)
					o.run(p)
					want.normals.check(t, p, o, false)
					o = newOperands(p, kerneltest.Integers)
					o.run(p)
					want.integers.check(t, p, o, true)

					// Bias is optional; gradients of parameters add up.
					p.Forward(o.x, o.w, nil, o.y)
					kerneltest.Close(t, "y without bias", o.y, want.integers.plain, bound(p, Forward, s.C*9, true))
					once := append([]float32(nil), o.dw...)
					p.BackwardWeights(o.x, o.dy, nil, o.dw, nil)
					for i, v := range once {
						if o.dw[i] != 2*v {
							t.Fatalf("dw[%d] is %v and then %v", i, v, o.dw[i])
						}
					}
				})
			}
		}
	})
}

func TestSameBitsForAnyThreads(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, s := range shapes {
			p := plan(t, s, Options{})
			want := newOperands(p, kerneltest.Normals)
			atThreads(1, func() { want.run(p) })
			for _, threads := range []int{2, 3, 7} {
				got := newOperands(p, kerneltest.Normals)
				atThreads(threads, func() { got.run(p) })
				what := fmt.Sprintf("%v, %d threads: ", p.Shape(), threads)
				kerneltest.Same(t, what+"y", got.y, want.y)
				kerneltest.Same(t, what+"dx", got.dx, want.dx)
				kerneltest.Same(t, what+"dw", got.dw, want.dw)
				kerneltest.Same(t, what+"db", got.db, want.db)
			}
		}
	})
}

func atThreads(n int, f func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
	f()
}

func TestGuarded(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, atEnd := range []bool{true, false} {
			for _, s := range shapes {
				p := plan(t, s, Options{})
				heap := newOperands(p, kerneltest.Integers)
				o := heap
				for _, f := range []*[]float32{&o.x, &o.w, &o.bias, &o.dy, &o.y, &o.dx, &o.dw, &o.db} {
					g := kerneltest.Guarded(t, len(*f), atEnd)
					copy(g, *f)
					*f = g
				}
				heap.run(p)
				o.run(p)
				kerneltest.Same(t, "y", o.y, heap.y)
				kerneltest.Same(t, "dx", o.dx, heap.dx)
				kerneltest.Same(t, "dw", o.dw, heap.dw)
				kerneltest.Same(t, "db", o.db, heap.db)
			}
		}
	})
}

// TestWeightSlices has so many output pixels that their gradient is packed in
// several slices.
func TestWeightSlices(t *testing.T) {
	s := Shape{N: 3, C: 1, H: 250, W: 240, K: 40, R: 1, S: 2, PadW: 1}
	p := plan(t, s, Options{})
	if p.outputSize() <= maxPacked {
		t.Fatal("shape is too small for this test")
	}
	o := newOperands(p, kerneltest.Integers)
	p.BackwardWeights(o.x, o.dy, nil, o.dw, nil)
	kerneltest.Close(t, "dw", o.dw, ref.ConvBackwardWeights(ref.Conv(p.Shape()), o.x, o.dy), 0)
}

func TestNoImages(t *testing.T) {
	p := plan(t, Shape{C: 2, H: 5, W: 5, K: 3, R: 3, S: 3, Group: 1}, Options{})
	db := make([]float32, 3)
	dw := make([]float32, p.weightSize())
	p.Forward(nil, dw, db, nil)
	p.BackwardData(nil, nil, dw, nil)
	p.BackwardWeights(nil, nil, nil, dw, nil)
	p.BackwardBias(nil, nil, db)
}

func TestOutputSize(t *testing.T) {
	for _, c := range []struct{ in, filter, stride, pad, dilation, out int }{
		{224, 3, 1, 1, 1, 224}, {227, 11, 4, 0, 1, 55}, {8, 3, 2, 0, 1, 3}, {7, 3, 2, 1, 1, 4}, {9, 3, 2, 0, 3, 2}, {3, 3, 5, 0, 1, 1},
	} {
		p := plan(t, Shape{N: 1, C: 1, H: c.in, W: c.in, K: 1, R: c.filter, S: c.filter, StrideH: c.stride, StrideW: c.stride,
			PadH: c.pad, PadW: c.pad, DilationH: c.dilation, DilationW: c.dilation}, Options{})
		if p.OutH() != c.out || p.OutW() != c.out {
			t.Errorf("%+v: output is %d×%d", c, p.OutH(), p.OutW())
		}
	}
}

func TestPlanErrors(t *testing.T) {
	good := Shape{N: 1, C: 4, H: 8, W: 8, K: 4, R: 3, S: 3}
	for name, change := range map[string]func(s *Shape){
		"no channels":       func(s *Shape) { s.C = 0 },
		"negative images":   func(s *Shape) { s.N = -1 },
		"negative pad":      func(s *Shape) { s.PadW = -1 },
		"negative stride":   func(s *Shape) { s.StrideH = -2 },
		"negative dilation": func(s *Shape) { s.DilationH = -1 },
		"group of channels": func(s *Shape) { s.Group = 3 },
		"group of filters":  func(s *Shape) { s.Group = 4; s.K = 6 },
		"filter too large":  func(s *Shape) { s.R = 9 },
		"dilated too large": func(s *Shape) { s.DilationW = 4 },
		"too many elements": func(s *Shape) { s.N = 1 << 30 },
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			change(&s)
			if _, err := NewPlan(s, Options{}); !errors.Is(err, ErrShape) {
				t.Errorf("error is %v", err)
			}
		})
	}
	if _, err := NewPlan(good, Options{Algorithm: "magic"}); err == nil || errors.Is(err, ErrShape) {
		t.Errorf("error for an unknown algorithm is %v", err)
	}
}

func TestAlgorithmChoice(t *testing.T) {
	three := Shape{N: 1, C: 4, H: 8, W: 8, K: 4, R: 3, S: 3}
	strided := three
	strided.StrideW = 2
	one := Shape{N: 1, C: 4, H: 8, W: 8, K: 4, R: 1, S: 1}
	for _, c := range []struct {
		s           Shape
		forced, env string
		want        [numDirections]string
	}{
		{three, "", "", [...]string{"implicit", "implicit", "implicit"}},
		{strided, "", "", [...]string{"implicit", "col2im", "implicit"}},
		{one, "", "", [...]string{"1x1", "1x1", "1x1"}},
		{one, "implicit", "", [...]string{"implicit", "implicit", "implicit"}},
		{three, "col2im", "", [...]string{"implicit", "col2im", "implicit"}},
		{three, "", "col2im", [...]string{"implicit", "col2im", "implicit"}},
		{one, "implicit", "col2im", [...]string{"implicit", "implicit", "implicit"}},
		{strided, "1x1", "", [...]string{"implicit", "col2im", "implicit"}},
	} {
		t.Setenv(envVar, c.env)
		p := plan(t, c.s, Options{Algorithm: c.forced})
		for d, want := range c.want {
			if got := p.Algorithm(Direction(d)); got != want {
				t.Errorf("%v, forced %q, environment %q: %v by %s, not %s", p.Shape(), c.forced, c.env, Direction(d), got, want)
			}
		}
	}
	t.Setenv(envVar, "magic")
	if _, err := NewPlan(one, Options{}); err == nil {
		t.Error("unknown algorithm in the environment accepted")
	}
}

func TestShortSlicesPanic(t *testing.T) {
	p := plan(t, Shape{N: 1, C: 2, H: 5, W: 5, K: 3, R: 3, S: 3}, Options{})
	o := newOperands(p, kerneltest.Integers)
	short := func(x []float32) []float32 { return x[:len(x)-1] }
	for i, f := range []func(){
		func() { p.Forward(short(o.x), o.w, o.bias, o.y) },
		func() { p.Forward(o.x, short(o.w), o.bias, o.y) },
		func() { p.Forward(o.x, o.w, short(o.bias), o.y) },
		func() { p.Forward(o.x, o.w, o.bias, short(o.y)) },
		func() { p.BackwardData(short(o.dy), nil, o.w, o.dx) },
		func() { p.BackwardData(o.dy, nil, o.w, short(o.dx)) },
		func() { p.BackwardWeights(o.x, o.dy, nil, short(o.dw), nil) },
		func() { p.BackwardBias(o.dy, nil, short(o.db)) },
	} {
		func() {
			defer func() {
				if recover() != errShort {
					t.Errorf("call %d did not panic as it should", i)
				}
			}()
			f()
		}()
	}
}

func TestNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	for _, s := range []Shape{
		{N: 2, C: 16, H: 14, W: 14, K: 33, R: 3, S: 3, PadH: 1, PadW: 1},
		{N: 2, C: 8, H: 13, W: 10, K: 12, R: 5, S: 5, StrideH: 2, StrideW: 2, Group: 2},
	} {
		p := plan(t, s, Options{})
		o := newOperands(p, kerneltest.Normals)
		if n := testing.AllocsPerRun(5, func() { o.run(p) }); n != 0 {
			t.Errorf("%v: %v allocations on one thread", p.Shape(), n)
		}
	}
}

// TestSharedPlan uses one plan from several goroutines.
func TestSharedPlan(t *testing.T) {
	p := plan(t, shapes[2], Options{})
	want := newOperands(p, kerneltest.Normals)
	want.run(p)
	var wg sync.WaitGroup
	results := make([]operands, 4)
	for i := range results {
		results[i] = newOperands(p, kerneltest.Normals)
		wg.Go(func() { results[i].run(p) })
	}
	wg.Wait()
	for _, r := range results {
		kerneltest.Same(t, "y", r.y, want.y)
		kerneltest.Same(t, "dx", r.dx, want.dx)
		kerneltest.Same(t, "dw", r.dw, want.dw)
	}
}

// vgg are the shapes of VGG-16's convolutions: 3×3, padded by one.
var vgg = []struct {
	name    string
	c, k, h int
}{
	{"conv1_1", 3, 64, 224}, {"conv1_2", 64, 64, 224}, {"conv2_1", 64, 128, 112}, {"conv2_2", 128, 128, 112},
	{"conv3_1", 128, 256, 56}, {"conv3_2", 256, 256, 56}, {"conv4_1", 256, 512, 28}, {"conv4_2", 512, 512, 28}, {"conv5", 512, 512, 14},
}

func BenchmarkConv(b *testing.B) {
	was := asm.ISA()
	defer func() {
		if err := asm.Select(was); err != nil {
			b.Fatal(err)
		}
	}()
	const batch = 6
	for _, isa := range asm.Available() {
		if err := asm.Select(isa); err != nil {
			b.Fatal(err)
		}
		for _, l := range vgg {
			for _, layout := range []Layout{Blocked, NCHW} {
				for _, d := range []Direction{Forward, BackwardData, BackwardWeights} {
					for _, threads := range []int{1, 2} {
						if threads > runtime.NumCPU() {
							continue
						}
						b.Run(fmt.Sprintf("isa=%s/shape=%s/layout=%v/direction=%v/threads=%d", isa, l.name, layout, d, threads), func(b *testing.B) {
							benchmarkConv(b, Shape{N: batch, C: l.c, H: l.h, W: l.h, K: l.k, R: 3, S: 3, PadH: 1, PadW: 1}, layout, d, threads)
						})
					}
				}
			}
		}
	}
}

// benchmarkConv times a direction with the activations in a layout, but for
// inputs of few channels.
func benchmarkConv(b *testing.B, s Shape, layout Layout, d Direction, threads int) {
	opts := Options{Threads: threads, In: layout, Out: layout}
	if s.C%Lanes != 0 {
		opts.In = NCHW
	}
	p := plan(b, s, opts)
	o := newOperands(p, kerneltest.Integers)
	for b.Loop() {
		switch d {
		case Forward:
			p.Forward(o.x, o.w, o.bias, o.y)
		case BackwardData:
			p.BackwardData(o.dy, nil, o.w, o.dx)
		case BackwardWeights:
			p.BackwardWeights(o.x, o.dy, nil, o.dw, o.db)
		}
	}
	flops := 2 * float64(p.outputSize()) * float64(s.C*9) * float64(b.N)
	b.ReportMetric(flops/float64(b.Elapsed().Nanoseconds()), "GFLOPS")
}
