package asm_test

import (
	"fmt"
	"math"
	"testing"

	"crema/asm"
	"crema/internal/kerneltest"
)

// winoMatrices are the transforms by their definition from the points, in
// float64.
func winoMatrices() map[string][][]float64 {
	points := []float64{0, 0.625, -0.625, 1.5, -1.5}
	bt, a, g := make([][]float64, 6), make([][]float64, 6), make([][]float64, 6)
	for i, t := range points {
		// Row i of Bᵀ has the coefficients of ∏(x−s) over the other points,
		// for ±t in the order that matches G and A: times ∏(t−s), which G
		// divides by.
		poly, n := []float64{1}, 1.0
		for j, s := range points {
			if j == i {
				continue
			}
			next := make([]float64, len(poly)+1)
			for k, c := range poly {
				next[k] -= s * c
				next[k+1] += c
			}
			poly = next
			n *= t - s
		}
		bt[i] = append(poly, 0)
		a[i] = []float64{1, t, t * t, t * t * t}
		g[i] = []float64{1 / n, t / n, t * t / n}
	}
	// ∞: the coefficients of ∏(x−s) over all points.
	poly := []float64{1}
	for _, s := range points {
		next := make([]float64, len(poly)+1)
		for k, c := range poly {
			next[k] -= s * c
			next[k+1] += c
		}
		poly = next
	}
	bt[5], a[5], g[5] = poly, []float64{0, 0, 0, 1}, []float64{0, 0, 1}
	return map[string][][]float64{"input": bt, "gradient": a, "output": transposed(a), "filter": g, "filterGradient": transposed(g)}
}

func transposed(m [][]float64) [][]float64 {
	t := make([][]float64, len(m[0]))
	for i := range t {
		for j := range m {
			t[i] = append(t[i], m[j][i])
		}
	}
	return t
}

// TestWino compares every transform with T·x·Tᵀ in float64, for lane counts
// around those of vectors, between protected pages.
func TestWino(t *testing.T) {
	funcs := map[string]func(int, []float32, int, int, []float32, int, int){
		"input": asm.WinoInput, "output": asm.WinoOutput, "gradient": asm.WinoGradient,
		"filter": asm.WinoFilter, "filterGradient": asm.WinoFilterGradient,
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		for name, m := range winoMatrices() {
			out, in := len(m), len(m[0])
			for _, n := range []int{1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 50} {
				for _, atEnd := range []bool{true, false} {
					s2, d2 := n+2, n+1
					s1, d1 := in*s2+1, out*d2
					size := (in-1)*(s1+s2) + n
					if name == "input" {
						size = 5*s1 + 3*s2 + n
					}
					src := kerneltest.Guarded(t, size, atEnd)
					dst := kerneltest.Guarded(t, (out-1)*(d1+d2)+n, atEnd)
					kerneltest.Normals(uint64(n), src)
					kerneltest.Fill(dst, 777)
					funcs[name](n, src, s1, s2, dst, d1, d2)
					written := map[int]bool{}
					for l := range n {
						x := func(i, j int) float64 {
							if name == "input" && j >= 4 {
								return float64(src[i*s1+(j-4)*s2+l+1])
							}
							return float64(src[i*s1+j*s2+l])
						}
						for i := range out {
							for j := range out {
								var want, scale float64
								for a := range in {
									for b := range in {
										v := m[i][a] * x(a, b) * m[j][b]
										want += v
										scale += math.Abs(v)
									}
								}
								at := i*d1 + j*d2 + l
								written[at] = true
								if got := float64(dst[at]); !(math.Abs(got-want) <= 2e-6*scale+1e-30) {
									t.Fatalf("%s, %d lanes, lane %d, element %d,%d: %v, want %v", name, n, l, i, j, got, want)
								}
							}
						}
					}
					for i, v := range dst {
						if !written[i] && v != 777 {
							t.Fatalf("%s, %d lanes: wrote element %d, which is not its own", name, n, i)
						}
					}
				}
			}
		}
	})
}

func BenchmarkWino(b *testing.B) {
	const n, stride = 56, 64
	src, dst := make([]float32, 40*stride), make([]float32, 40*stride)
	for _, isa := range asm.Available() {
		if err := asm.Select(isa); err != nil {
			b.Fatal(err)
		}
		for _, f := range []struct {
			name string
			call func()
		}{
			{"input", func() { asm.WinoInput(n, src, 4*stride, stride, dst, 6*stride, stride) }},
			{"output", func() { asm.WinoOutput(n, src, 6*stride, stride, dst, 4*stride, stride) }},
			{"gradient", func() { asm.WinoGradient(n, src, 4*stride, stride, dst, 6*stride, stride) }},
			{"filter", func() { asm.WinoFilter(n, src, 3*stride, stride, dst, 6*stride, stride) }},
			{"filterGradient", func() { asm.WinoFilterGradient(n, src, 6*stride, stride, dst, 3*stride, stride) }},
		} {
			b.Run(fmt.Sprintf("isa=%s/transform=%s", isa, f.name), func(b *testing.B) {
				for b.Loop() {
					f.call()
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mtiles/s")
			})
		}
	}
}
