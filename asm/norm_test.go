package asm_test

import (
	"math"
	"testing"

	"crema/asm"
	"crema/internal/kerneltest"
	"crema/internal/race"
)

// laneVector is 16 different numbers.
func laneVector(seed uint64) *asm.LaneVector {
	var v asm.LaneVector
	kerneltest.Normals(seed, v[:])
	return &v
}

// TestLanewise compares the operations with numbers for 16 lanes, and those of
// local response normalization, on every instruction set with formulas written
// out, bit for bit, against protected pages.
func TestLanewise(t *testing.T) {
	a, b, c := laneVector(11), laneVector(12), laneVector(13)
	abs := func(x float32) float32 { return float32(math.Abs(float64(x))) }
	root := func(x float32) float32 { return float32(math.Sqrt(float64(x))) }
	ops := []struct {
		name string
		odd  bool // also on infinities and NaN
		run  func(v vectors)
		want func(l int, x, y, z float32) (float32, float32, float32)
	}{
		{"Affine", true, func(v vectors) { asm.Affine(a, b, v.x, v.y) },
			func(l int, x, y, z float32) (float32, float32, float32) { return x, float32(a[l]*x) + b[l], z }},
		{"Affine in place", true, func(v vectors) { asm.Affine(a, b, v.x, v.x) },
			func(l int, x, y, z float32) (float32, float32, float32) { return float32(a[l]*x) + b[l], y, z }},
		{"Standardize", true, func(v vectors) { asm.Standardize(a, b, v.x, v.y, v.z) },
			func(l int, x, y, z float32) (float32, float32, float32) {
				s := (x - a[l]) * b[l]
				return x, s, s
			}},
		{"Standardize in place", true, func(v vectors) { asm.Standardize(a, b, v.x, v.x, v.x) },
			func(l int, x, y, z float32) (float32, float32, float32) { return (x - a[l]) * b[l], y, z }},
		{"StandardizeBackward", true, func(v vectors) { asm.StandardizeBackward(a, b, c, v.x, v.y, v.z) },
			func(l int, x, y, z float32) (float32, float32, float32) {
				return x, y, (y - a[l] - float32(x*b[l])) * c[l]
			}},
		{"StandardizeBackward in place", true, func(v vectors) { asm.StandardizeBackward(a, b, c, v.x, v.y, v.y) },
			func(l int, x, y, z float32) (float32, float32, float32) {
				return x, (y - a[l] - float32(x*b[l])) * c[l], z
			}},
		{"LaneReLU", false, func(v vectors) { asm.LaneReLU(a, v.x, v.y) },
			func(l int, x, y, z float32) (float32, float32, float32) {
				if x > 0 {
					return x, x, z
				}
				return x, a[l] * x, z
			}},
		{"LaneReLUBackward", true, func(v vectors) { asm.LaneReLUBackward(a, v.x, v.y, v.z) },
			func(l int, x, y, z float32) (float32, float32, float32) {
				if x > 0 {
					return x, y, y
				}
				return x, y, a[l] * y
			}},
		{"Product", true, func(v vectors) { asm.Product(v.x, v.y, v.z) },
			func(l int, x, y, z float32) (float32, float32, float32) { return x, y, x * y }},
		{"Product in place", true, func(v vectors) { asm.Product(v.x, v.y, v.y) },
			func(l int, x, y, z float32) (float32, float32, float32) { return x, x * y, z }},
		{"PowerMinus34", true, func(v vectors) { asm.PowerMinus34(v.x, v.y) },
			func(l int, x, y, z float32) (float32, float32, float32) {
				return x, 1 / (root(x) * root(root(x))), z
			}},
		{"LRNRatios", true, func(v vectors) { asm.LRNRatios(v.x, v.y, v.x, v.z, v.z, v.x) },
			func(l int, x, y, z float32) (float32, float32, float32) {
				return z * x * y / x, y, z * x
			}},
		{"SubtractProduct", true, func(v vectors) { asm.SubtractProduct(1.7, v.x, v.y, v.z) },
			func(l int, x, y, z float32) (float32, float32, float32) { return x, y, z - float32(1.7*x*y) }},
		{"PowerMinus34 in place", false, func(v vectors) {
			for i, x := range v.x {
				v.x[i] = abs(x)
			}
			asm.PowerMinus34(v.x, v.x)
		}, func(l int, x, y, z float32) (float32, float32, float32) {
			return 1 / (root(abs(x)) * root(root(abs(x)))), y, z
		}},
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, op := range ops {
			t.Run(op.name, func(t *testing.T) {
				for _, atEnd := range []bool{true, false} {
					for _, n := range []int{0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 63, 64, 65, 130, 20000} {
						v, w := newVectors(t, n, atEnd, op.odd), newVectors(t, n, atEnd, op.odd)
						op.run(v)
						for i := range n {
							w.x[i], w.y[i], w.z[i] = op.want(i%asm.Lanes, w.x[i], w.y[i], w.z[i])
						}
						for _, s := range []struct {
							name      string
							got, want []float32
						}{{"x", v.x, w.x}, {"y", v.y, w.y}, {"z", v.z, w.z}} {
							for i := range s.got {
								g, w := s.got[i], s.want[i]
								if math.Float32bits(g) != math.Float32bits(w) && (g == g || w == w) {
									t.Fatalf("n=%d: %s[%d] is %v, not %v", n, s.name, i, g, w)
								}
							}
						}
					}
				}
			})
		}
	})
}

// TestLaneReLUNaN checks that a NaN stays one, and what infinities give.
func TestLaneReLUNaN(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		x := make([]float32, 40)
		for i := range x {
			x[i] = kerneltest.NaN
		}
		x[3] = float32(math.Inf(1))
		y := make([]float32, len(x))
		slope := asm.Splat(0.25)
		asm.LaneReLU(&slope, x, y)
		for i, v := range y {
			if (v == v) != (i == 3) {
				t.Fatalf("element %d is %v", i, v)
			}
		}
	})
}

func TestLaneSums(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, atEnd := range []bool{true, false} {
			for _, n := range []int{0, 1, 15, 16, 17, 31, 32, 33, 1<<14 + 16, 50001} {
				v := newVectors(t, n, atEnd, false)
				var sum, dot, wantSum, wantDot [asm.Lanes]float64
				sum[3], wantSum[3], dot[5], wantDot[5] = 2, 2, 7, 7
				asm.LaneSums(v.x, v.y, &sum, &dot)
				for i, x := range v.x {
					wantSum[i%asm.Lanes] += float64(x)
					wantDot[i%asm.Lanes] += float64(x) * float64(v.y[i])
				}
				if sum != wantSum || dot != wantDot {
					t.Fatalf("n=%d: %v, %v; not %v, %v", n, sum, dot, wantSum, wantDot)
				}
			}
		}
	})
}

func TestLanewisePanics(t *testing.T) {
	v := laneVector(1)
	x, y := make([]float32, 4), make([]float32, 5)
	var s [asm.Lanes]float64
	for name, f := range map[string]func(){
		"Affine":                func() { asm.Affine(v, v, x, y) },
		"Standardize":           func() { asm.Standardize(v, v, x, y, x) },
		"Standardize keep":      func() { asm.Standardize(v, v, x, x, y) },
		"StandardizeBackward":   func() { asm.StandardizeBackward(v, v, v, y, x, x) },
		"StandardizeBackward 2": func() { asm.StandardizeBackward(v, v, v, x, x, y) },
		"LaneReLU":              func() { asm.LaneReLU(v, x, y) },
		"LaneReLUBackward":      func() { asm.LaneReLUBackward(v, x, y, x) },
		"LaneReLUBackward 2":    func() { asm.LaneReLUBackward(v, x, x, y) },
		"LaneSums":              func() { asm.LaneSums(x, y, &s, &s) },
		"Product":               func() { asm.Product(x, y, x) },
		"Product 2":             func() { asm.Product(x, x, y) },
		"PowerMinus34":          func() { asm.PowerMinus34(x, y) },
		"LRNRatios":             func() { asm.LRNRatios(y, x, x, x, x, x) },
		"LRNRatios 2":           func() { asm.LRNRatios(x, x, x, x, x, y) },
		"SubtractProduct":       func() { asm.SubtractProduct(1, y, x, x) },
		"SubtractProduct 2":     func() { asm.SubtractProduct(1, x, y, x) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestLanewiseNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector's calls let operands escape")
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		if n := testing.AllocsPerRun(10, func() {
			var x, y [100]float32
			var s, d [asm.Lanes]float64
			v := asm.Splat(2)
			asm.Affine(&v, &v, x[:], y[:])
			asm.Standardize(&v, &v, x[:], y[:], x[:])
			asm.StandardizeBackward(&v, &v, &v, x[:], y[:], y[:])
			asm.LaneReLU(&v, x[:], y[:])
			asm.LaneReLUBackward(&v, x[:], y[:], y[:])
			asm.LaneSums(x[:], y[:], &s, &d)
			asm.Product(x[:], y[:], y[:])
			asm.PowerMinus34(x[:], y[:])
			asm.SubtractProduct(1, x[:], x[:], y[:])
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
