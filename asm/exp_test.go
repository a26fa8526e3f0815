package asm_test

import (
	"math"
	"testing"

	"crema/asm"
	"crema/internal/kerneltest"
	"crema/internal/race"
)

// TestExp compares with the function in float64, over floats of all signs and
// exponents and where results begin and end, and every instruction set with the
// portable kernel, bit for bit.
func TestExp(t *testing.T) {
	step := uint64(4099) // a prime: all low bits occur
	if race.Enabled {
		step *= 101
	}
	var x []float32
	for bits := uint64(0); bits < 1<<32; bits += step {
		x = append(x, math.Float32frombits(uint32(bits)))
	}
	for _, at := range []float32{0, 88.722839, 88.02969, -87.336548, -103.27893, -103.97208} {
		b := math.Float32bits(at)
		for d := range uint32(200) {
			x = append(x, math.Float32frombits(b+d), math.Float32frombits(b-d))
		}
	}
	x = append(x, special...)
	var first []float32
	kerneltest.EachISA(t, func(t *testing.T) {
		y := make([]float32, len(x))
		asm.Exp(x, y)
		for i, v := range x {
			want := math.Exp(float64(v))
			got := float64(y[i])
			switch rounded := float32(want); {
			case want != want:
				if got == got {
					t.Fatalf("exp(%v) is %v", v, got)
				}
			case math.IsInf(float64(rounded), 0) || math.IsInf(got, 0):
				// Within 2 units of the largest number is as good.
				if d := want/math.MaxFloat32 - 1; !(d > -2*0x1p-23) || got < math.MaxFloat32 && d > 2*0x1p-23 {
					t.Fatalf("exp(%v) is %v, not %v", v, got, want)
				}
			default:
				unit := max(math.Abs(float64(math.Nextafter32(rounded, 2*rounded)-rounded)), 0x1p-149)
				if !(math.Abs(got-want) <= 2*unit) {
					t.Fatalf("exp(%v) is %v, not %v: %v units", v, got, want, math.Abs(got-want)/unit)
				}
			}
		}
		if first == nil {
			first = y
		}
		for i := range y {
			if math.Float32bits(y[i]) != math.Float32bits(first[i]) && y[i] == y[i] {
				t.Fatalf("exp(%v) is %v, but %v on another instruction set", x[i], y[i], first[i])
			}
		}
	})
}

// TestSquash compares Sigmoid and Tanh with the functions in float64, over floats
// of all signs and exponents, and every instruction set with the portable kernels,
// bit for bit.
func TestSquash(t *testing.T) {
	step := uint64(8191) // a prime: all low bits occur
	if race.Enabled {
		step *= 101
	}
	var x []float32
	for bits := uint64(0); bits < 1<<32; bits += step {
		x = append(x, math.Float32frombits(uint32(bits)))
	}
	for _, at := range []float32{0, 1, 9.01, 16.6, 20, 40, 88.722839, 103.97208} {
		for d := range uint32(200) {
			for _, b := range []uint32{math.Float32bits(at) + d, math.Float32bits(at) - d} {
				x = append(x, math.Float32frombits(b), math.Float32frombits(b^1<<31))
			}
		}
	}
	x = append(x, special...)
	for _, f := range []struct {
		name  string
		run   func(x, y []float32)
		exact func(x float64) float64
		units float64
	}{
		{"sigmoid", asm.Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 3},
		{"tanh", asm.Tanh, math.Tanh, 4},
	} {
		var first []float32
		kerneltest.EachISA(t, func(t *testing.T) {
			y := make([]float32, len(x))
			f.run(x, y)
			for i, v := range x {
				want := f.exact(float64(v))
				got := float64(y[i])
				if want != want || got != got {
					if want == want || got == got {
						t.Fatalf("%s(%v) is %v", f.name, v, got)
					}
					continue
				}
				rounded := float32(want)
				unit := max(math.Abs(float64(math.Nextafter32(rounded, 2*rounded)-rounded)), 0x1p-149)
				if want < 0x1p-126 && want > 0 && f.name == "sigmoid" {
					unit = 0x1p-126 // exp(−x) is no float any more
				}
				if !(math.Abs(got-want) <= f.units*unit) {
					t.Fatalf("%s(%v) is %v, not %v: %v units", f.name, v, got, want, math.Abs(got-want)/unit)
				}
			}
			if first == nil {
				first = y
			}
			for i := range y {
				if math.Float32bits(y[i]) != math.Float32bits(first[i]) && y[i] == y[i] {
					t.Fatalf("%s(%v) is %v, but %v on another instruction set", f.name, x[i], y[i], first[i])
				}
			}
		})
	}
}

// TestExpGuarded computes slices of all lengths against protected pages, in
// place too.
func TestExpGuarded(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for name, f := range map[string]func(x, y []float32){"exp": asm.Exp, "sigmoid": asm.Sigmoid, "tanh": asm.Tanh} {
			for _, atEnd := range []bool{true, false} {
				for _, n := range []int{0, 1, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 130, 20000} {
					x, y := kerneltest.Guarded(t, n, atEnd), kerneltest.Guarded(t, n, atEnd)
					kerneltest.Normals(1, x)
					want := make([]float32, n)
					f(x, want)
					f(x, y)
					kerneltest.Same(t, name, y, want)
					f(x, x)
					kerneltest.Same(t, name+" in place", x, want)
				}
			}
		}
	})
}
