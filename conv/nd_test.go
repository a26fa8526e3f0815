package conv

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"crema/internal/kerneltest"
	"crema/internal/race"
)

// triple is a shape of three spatial axes, all of whose sizes are the given.
func triple(n, c, k, group, in, kernel, stride, pad, dilation int) ShapeND {
	all := func(v int) []int { return []int{v, v, v} }
	return ShapeND{n, c, k, group, all(in), all(kernel), all(stride), all(pad), all(dilation)}
}

var shapesND = []ShapeND{
	triple(2, 3, 5, 1, 6, 3, 1, 1, 1),
	triple(1, 4, 6, 2, 7, 3, 2, 1, 1),
	triple(2, 2, 3, 1, 5, 1, 1, 0, 1),
	triple(1, 3, 3, 3, 6, 3, 1, 1, 1),
	triple(1, 2, 3, 1, 9, 3, 1, 2, 2),
	triple(1, 2, 2, 1, 4, 2, 3, 5, 1),
	triple(1, 40, 20, 1, 5, 3, 1, 1, 1),
	{2, 3, 4, 1, []int{5, 6, 40}, []int{1, 3, 3}, []int{1, 1, 1}, []int{0, 1, 1}, []int{1, 1, 1}},
	{1, 3, 4, 1, []int{7, 6, 5}, []int{3, 2, 2}, []int{2, 1, 1}, []int{1, 0, 2}, []int{1, 2, 1}},
	{1, 3, 4, 1, []int{4, 6, 9}, []int{2, 2, 5}, []int{1, 1, 3}, []int{0, 1, 4}, []int{2, 1, 1}},
	{1, 2, 3, 1, []int{3, 4, 5, 6}, []int{2, 3, 2, 3}, []int{1, 2, 1, 1}, []int{1, 0, 0, 1}, []int{1, 1, 2, 1}},
}

func planND(t testing.TB, s ShapeND, o Options) *Plan {
	t.Helper()
	p, err := NewPlanND(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// box calls f with every index of a box of these sizes, the last fastest, and
// its number.
func box(sizes []int, f func(index []int, number int)) {
	total := 1
	for _, n := range sizes {
		total *= n
	}
	index := make([]int, len(sizes))
	for number := range total {
		rest := number
		for a := len(sizes) - 1; a >= 0; a-- {
			index[a], rest = rest%sizes[a], rest/sizes[a]
		}
		f(index, number)
	}
}

func volume(v []int) int {
	n := 1
	for _, x := range v {
		n *= x
	}
	return n
}

// out is the output's spatial sizes by the definition.
func (s ShapeND) out() []int {
	var out []int
	for a, in := range s.In {
		n := 0
		for at := -s.Pad[a]; at+s.Dilation[a]*(s.Kernel[a]-1) < in+s.Pad[a]; at += s.Stride[a] {
			n++
		}
		out = append(out, n)
	}
	return out
}

// eachTap calls f for every output pixel and tap that meets an input pixel,
// with their numbers, those of taps and pixels in an image's channel.
func (s ShapeND) eachTap(f func(pixel, tap, input int)) {
	box(s.out(), func(o []int, pixel int) {
		box(s.Kernel, func(k []int, tap int) {
			input := 0
			for a, in := range s.In {
				at := o[a]*s.Stride[a] - s.Pad[a] + k[a]*s.Dilation[a]
				if at < 0 || at >= in {
					return
				}
				input = input*in + at
			}
			f(pixel, tap, input)
		})
	})
}

// referenceND is reference by the definition.
func referenceND(s ShapeND, o operands) expected {
	e := expected{y: make([]float64, len(o.y)), dx: make([]float64, len(o.dx)), dw: make([]float64, len(o.dw)), db: make([]float64, len(o.db))}
	pixels, taps, size := volume(s.out()), volume(s.Kernel), volume(s.In)
	kg, cg := s.K/s.Group, s.C/s.Group
	s.eachTap(func(pixel, tap, input int) {
		for n := range s.N {
			for k := range s.K {
				for c := range cg {
					y, w, x := (n*s.K+k)*pixels+pixel, (k*cg+c)*taps+tap, (n*s.C+k/kg*cg+c)*size+input
					e.y[y] += float64(o.x[x]) * float64(o.w[w])
					e.dx[x] += float64(o.dy[y]) * float64(o.w[w])
					e.dw[w] += float64(o.dy[y]) * float64(o.x[x])
				}
			}
		}
	})
	for i := range e.y {
		k := i / pixels % s.K
		e.y[i] += float64(o.bias[k])
		e.db[k] += float64(o.dy[i])
	}
	return e
}

func TestNDAgainstReference(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, s := range shapesND {
			for _, algo := range []string{"", "winograd", "depthwise", "direct", "implicit", "col2im"} {
				t.Run(fmt.Sprintf("%v/%s", s, algo), func(t *testing.T) {
					p := planND(t, s, Options{Algorithm: algo})
					for d := range numDirections {
						if a := p.Algorithm(d); !slices.Contains([]string{"1x1", "implicit", "col2im"}, a) {
							t.Fatalf("%v by %s", d, a)
						}
					}
					if p.OutH()*p.OutW() != volume(s.out()) {
						t.Fatalf("output is %d×%d, not %v", p.OutH(), p.OutW(), s.out())
					}
					for _, exact := range []bool{true, false} {
						fill := kerneltest.Normals
						if exact {
							fill = kerneltest.Integers
						}
						o := newOperands(p, fill)
						o.run(p)
						referenceND(s, o).check(t, p, o, exact)
					}
				})
			}
		}
	})
}

// TestNDIsND plans shapes of up to two axes as what they are.
func TestNDIsND(t *testing.T) {
	for _, c := range []struct {
		nd   ShapeND
		want Shape
	}{
		{ShapeND{N: 2, C: 4, K: 6, Group: 2}, Shape{N: 2, C: 4, K: 6, Group: 2, H: 1, W: 1, R: 1, S: 1}},
		{ShapeND{2, 4, 6, 1, []int{9}, []int{3}, []int{2}, []int{1}, []int{2}}, Shape{N: 2, C: 4, K: 6, H: 1, W: 9, R: 1, S: 3, StrideW: 2, PadW: 1, DilationW: 2}},
		{ShapeND{2, 4, 6, 1, []int{8, 9}, []int{2, 3}, []int{1, 2}, []int{0, 1}, []int{3, 2}}, Shape{N: 2, C: 4, K: 6, H: 8, W: 9, R: 2, S: 3, StrideW: 2, PadW: 1, DilationH: 3, DilationW: 2}},
	} {
		if got, want := planND(t, c.nd, Options{}).Shape(), plan(t, c.want, Options{}).Shape(); got != want {
			t.Errorf("%v: %v, want %v", c.nd, got, want)
		}
	}
}

func TestNDSameBitsForAnyThreads(t *testing.T) {
	for _, s := range shapesND {
		p := planND(t, s, Options{})
		want := newOperands(p, kerneltest.Normals)
		atThreads(1, func() { want.run(p) })
		for _, threads := range []int{2, 7} {
			got := newOperands(p, kerneltest.Normals)
			atThreads(threads, func() { got.run(p) })
			kerneltest.Same(t, fmt.Sprint(s, " y"), got.y, want.y)
			kerneltest.Same(t, fmt.Sprint(s, " dx"), got.dx, want.dx)
			kerneltest.Same(t, fmt.Sprint(s, " dw"), got.dw, want.dw)
			kerneltest.Same(t, fmt.Sprint(s, " db"), got.db, want.db)
		}
	}
}

func TestNDErrors(t *testing.T) {
	for name, change := range map[string]func(s *ShapeND){
		"axes":              func(s *ShapeND) { s.Kernel = s.Kernel[1:] },
		"no channels":       func(s *ShapeND) { s.C = 0 },
		"negative pad":      func(s *ShapeND) { s.Pad[1] = -1 },
		"negative stride":   func(s *ShapeND) { s.Stride[0] = -1 },
		"negative dilation": func(s *ShapeND) { s.Dilation[2] = -1 },
		"group":             func(s *ShapeND) { s.Group = 3 },
		"filter too large":  func(s *ShapeND) { s.Kernel[0] = 12 },
		"dilated too large": func(s *ShapeND) { s.Dilation[2] = 6 },
		"last too large":    func(s *ShapeND) { s.Kernel[2] = 12 },
		"many rows":         func(s *ShapeND) { s.In[0], s.In[1] = 1<<20, 1<<20 },
		"many rows of taps": func(s *ShapeND) { s.In[0], s.Kernel[0], s.Pad[0] = 1<<20, 1<<20, 1<<20 },
	} {
		t.Run(name, func(t *testing.T) {
			s := triple(1, 4, 6, 2, 7, 3, 2, 1, 1)
			change(&s)
			if _, err := NewPlanND(s, Options{}); !errors.Is(err, ErrShape) {
				t.Errorf("error is %v", err)
			}
		})
	}
	s := triple(1, 16, 16, 1, 7, 3, 1, 1, 1)
	if _, err := NewPlanND(s, Options{In: Blocked, Out: Blocked}); !errors.Is(err, ErrLayout) {
		t.Errorf("blocked: %v", err)
	}
}

// Zeros for strides, dilations and the group mean 1.
func TestNDDefaults(t *testing.T) {
	s := triple(1, 2, 3, 0, 5, 3, 0, 1, 0)
	p := planND(t, s, Options{})
	o := newOperands(p, kerneltest.Integers)
	o.run(p)
	referenceND(triple(1, 2, 3, 1, 5, 3, 1, 1, 1), o).check(t, p, o, true)
}

func TestShapeNDEqual(t *testing.T) {
	a := triple(1, 4, 6, 2, 7, 3, 2, 1, 1)
	if !a.Equal(triple(1, 4, 6, 2, 7, 3, 2, 1, 1)) {
		t.Error("equal shapes are not")
	}
	for i := range 9 {
		v := []int{1, 4, 6, 2, 7, 3, 2, 1, 1}
		v[i]++
		if a.Equal(triple(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8])) {
			t.Errorf("size %d makes no difference", i)
		}
	}
}

// TestIm2col compares columns with their definition, and Col2im with its.
func TestIm2col(t *testing.T) {
	all := slices.Clone(shapesND)
	all = append(all,
		ShapeND{2, 3, 1, 1, []int{9}, []int{3}, []int{2}, []int{1}, []int{2}},
		ShapeND{2, 3, 1, 1, []int{8, 9}, []int{2, 3}, []int{1, 2}, []int{0, 1}, []int{3, 2}},
		ShapeND{2, 2, 1, 1, []int{4, 5}, []int{3, 3}, []int{1, 1}, []int{4, 4}, []int{1, 1}},
		ShapeND{2, 3, 1, 1, []int{8, 9}, []int{1, 1}, []int{1, 1}, []int{0, 0}, []int{1, 1}},
		ShapeND{N: 2, C: 3, K: 1, Group: 1},
	)
	for _, s := range all {
		p := planND(t, s, Options{})
		pixels, taps, size := volume(s.out()), volume(s.Kernel), volume(s.In)
		x, cols := make([]float32, s.N*s.C*size), make([]float32, s.N*s.C*taps*pixels)
		kerneltest.Integers(1, x)
		kerneltest.Fill(cols, kerneltest.NaN)
		want, sum := make([]float32, len(cols)), make([]float64, len(x))
		s.eachTap(func(pixel, tap, input int) {
			for c := range s.N * s.C {
				want[(c*taps+tap)*pixels+pixel] = x[c*size+input]
				sum[c*size+input] += float64(x[c*size+input])
			}
		})
		p.Im2col(x, cols)
		kerneltest.Same(t, fmt.Sprint(s, " columns"), cols, want)
		back := make([]float32, len(x))
		kerneltest.Fill(back, kerneltest.NaN)
		p.Col2im(cols, back)
		kerneltest.Close(t, fmt.Sprint(s, " sums"), back, sum, 0)
		if !race.Enabled {
			if n := testing.AllocsPerRun(5, func() {
				p.Im2col(x, cols)
				p.Col2im(cols, back)
			}); n != 0 {
				t.Errorf("%v: %v allocations", s, n)
			}
		}
	}
	p := planND(t, shapesND[0], Options{})
	for _, f := range []func(){
		func() { p.Im2col(make([]float32, p.inputSize()-1), make([]float32, 1<<20)) },
		func() { p.Col2im(make([]float32, 10), make([]float32, p.inputSize())) },
	} {
		func() {
			defer func() {
				if recover() != errShort {
					t.Error("a short slice was taken")
				}
			}()
			f()
		}()
	}
}
