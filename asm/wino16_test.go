package asm_test

import (
	"fmt"
	"math"
	"testing"

	"crema/asm"
	"crema/internal/kerneltest"
)

// winoMatrices derives Bᵀ, A and G of F(4×4,3×3) from the interpolation points:
// row i of Bᵀ has the coefficients of the product of x−q over the points q but
// the i-th, A and G the powers of the i-th, G divided by the value of that
// product there.
func winoMatrices() (bt, a, g [][]float64) {
	points := []float64{0, 5. / 8, -5. / 8, 3. / 2, -3. / 2}
	product := func(skip int) []float64 {
		c := []float64{1, 0, 0, 0, 0, 0}
		for j, q := range points {
			if j == skip {
				continue
			}
			for k := 5; k >= 0; k-- {
				c[k] *= -q
				if k > 0 {
					c[k] += c[k-1]
				}
			}
		}
		return c
	}
	for i, x := range points {
		c := product(i)
		v := 0.0
		for k := 5; k >= 0; k-- {
			v = v*x + c[k]
		}
		bt = append(bt, c)
		a = append(a, []float64{1, x, x * x, x * x * x})
		g = append(g, []float64{1 / v, x / v, x * x / v})
	}
	return append(bt, product(-1)), append(a, []float64{0, 0, 0, 1}), append(g, []float64{0, 0, 1})
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

// sandwich returns element (i, j) of m·x·mᵀ and the sum of magnitudes.
func sandwich(m [][]float64, i, j int, x func(r, c int) float32) (v, scale float64) {
	for r, p := range m[i] {
		for c, q := range m[j] {
			y := p * q * float64(x(r, c))
			v += y
			scale += math.Abs(y)
		}
	}
	return v, scale
}

// TestWinoTransforms compares the transforms with their definition, on operands
// between protected pages.
func TestWinoTransforms(t *testing.T) {
	const l = asm.WinoLanes
	bt, a, g := winoMatrices()
	at, gt := transposed(a), transposed(g)
	near := func(t *testing.T, what string, got float32, want, scale float64) {
		t.Helper()
		if !(math.Abs(float64(got)-want) <= 1e-6*scale) {
			t.Fatalf("%s is %v, not %v", what, got, want)
		}
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Wino()
		for _, atEnd := range []bool{true, false} {
			for i, n := range []int{1, 1, 2, 2, 5, 5} {
				stream := i%2 == 1
				slice := func(size int) []float32 {
					s := kerneltest.Guarded(t, size, atEnd)
					kerneltest.Normals(uint64(size), s)
					return s
				}
				// The transform of filters may have a sign for each row and
				// column that the input's undoes.
				sign := []float64{1, -1, -1, 1, 1, 1}
				ldt, ldp := l+3, n*(l+3)+5
				if stream { // whole lines
					ldt, ldp = 2*l, n*2*l+l
				}
				expanded := 35*ldp + (n-1)*ldt + l
				each := func(t *testing.T, what string, m [][]float64, signs bool, dst []float32, pixel func(tile, r, c, lane int) float32) {
					t.Helper()
					for tile := range n {
						for p := range asm.WinoPoints {
							for lane := range l {
								v, scale := sandwich(m, p/6, p%6, func(r, c int) float32 { return pixel(tile, r, c, lane) })
								if signs {
									v *= sign[p/6] * sign[p%6]
								}
								near(t, fmt.Sprintf("%s: point %d of tile %d, lane %d", what, p, tile, lane), dst[p*ldp+tile*ldt+lane], v, scale)
							}
						}
					}
				}
				lds := (4*n + 3) * l
				src, dst := slice(5*lds+(4*n+2)*l), slice(expanded)
				k.Input(n, src, lds, dst, ldt, ldp, stream)
				each(t, "input", bt, true, dst, func(tile, r, c, lane int) float32 { return src[r*lds+(4*tile+c)*l+lane] })

				src = slice(3*lds + 4*n*l)
				k.Gradient(n, src, lds, dst, ldt, ldp, stream)
				each(t, "gradient", a, false, dst, func(tile, r, c, lane int) float32 { return src[r*lds+(4*tile+c)*l+lane] })

				for _, ldc := range []int{l, l + 1, -l} {
					step := max(ldc, -ldc)
					next := 9*step + 1
					src = slice((n-1)*next + 8*step + l)
					off := max(-8*ldc, 0)
					k.Filter(n, src, off, ldc, next, dst, ldt, ldp)
					each(t, "filter", g, true, dst, func(tile, r, c, lane int) float32 { return src[off+tile*next+(3*r+c)*ldc+lane] })
				}

				m := slice(expanded)
				var bias [l]float32
				kerneltest.Normals(5, bias[:])
				lds = 4*n*l + 16
				dst = slice(3*lds + 4*n*l)
				for _, low := range []float32{float32(math.Inf(-1)), 0, 0.25} {
					k.Output(n, m, ldt, ldp, &bias, low, dst, lds, stream)
					for tile := range n {
						for i := range 16 * l {
							r, c, lane := i/l/4, i/l%4, i%l
							v, scale := sandwich(at, r, c, func(r, c int) float32 { return m[(6*r+c)*ldp+tile*ldt+lane] })
							near(t, "output", dst[r*lds+(4*tile+c)*l+lane], max(v+float64(bias[lane]), float64(low)), scale+1)
						}
					}
				}
				was := m[7]
				m[7] = kerneltest.NaN // lane 7 of a point that all pixels depend on
				k.Output(n, m, ldt, ldp, &bias, 0, dst, lds, false)
				if v := dst[7]; v == v {
					t.Fatalf("NaN became %v", v)
				}
				m[7] = was

				for _, n := range []int{0, n, 4 * n, 4*n + 3} {
					src := slice(n * l)
					var sums [l]float32
					kerneltest.Fill(sums[:], kerneltest.NaN)
					k.Sums(n, src, &sums)
					for lane := range l {
						var v, scale float64
						for i := range n {
							v += float64(src[i*l+lane])
							scale += math.Abs(float64(src[i*l+lane]))
						}
						near(t, "sum", sums[lane], v, scale)
					}
				}
				// The same signs again, once in all.
				gs := make([][]float64, 3)
				for i := range gs {
					for j, v := range gt[i] {
						gs[i] = append(gs[i], v*sign[j])
					}
				}
				dst = slice(9 * n * l)
				k.Weights(n, m, ldt, ldp, dst)
				for i := range dst {
					tile, tap, lane := i/l/9, i/l%9, i%l
					v, scale := sandwich(gs, tap/3, tap%3, func(r, c int) float32 { return m[(6*r+c)*ldp+tile*ldt+lane] })
					near(t, "weights", dst[i], v, scale)
				}
			}
		}
	})
}

// TestWinoTiles computes every height of tile on operands between protected
// pages.
func TestWinoTiles(t *testing.T) {
	const l = asm.WinoLanes
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Wino()
		for _, atEnd := range []bool{true, false} {
			for _, kc := range []int{1, 2, 3, 4, 7, 16, 32, 48, 68, 128} {
				b := kerneltest.Guarded(t, kc*k.NR, atEnd)
				kerneltest.Integers(2, b)
				most := max(3*k.MR, k.NR)
				whole := kerneltest.Guarded(t, kc*(most+3), atEnd)
				for _, rows := range []bool{true, false} {
					for mr := 1; mr <= map[bool]int{true: k.MR, false: k.MC}[rows]; mr++ {
						for _, blocks := range []int{1, 2, 3} {
							m := blocks * mr
							lda, ldc := m*l+5, k.NR+2
							size := (kc/l-1)*lda + m*l
							at := func(i, p int) int { return p/l*lda + i*l + p%l }
							if !rows {
								size = (kc-1)*k.NR + m
								at = func(i, p int) int { return p*k.NR + i }
							}
							if m > most || rows && kc%l != 0 || !rows && m > k.NR {
								continue
							}
							for _, acc := range []bool{false, true} {
								a, c := whole[:size], kerneltest.Shared(t, (m-1)*ldc+k.NR, atEnd)
								if atEnd {
									a = whole[len(whole)-size:]
								}
								kerneltest.Integers(1, a)
								kerneltest.Integers(3, c)
								want := append([]float32(nil), c...)
								for i := range m {
									for j := range k.NR {
										if !acc {
											want[i*ldc+j], c[i*ldc+j] = 0, kerneltest.NaN
										}
										for p := range kc {
											want[i*ldc+j] += a[at(i, p)] * b[p*k.NR+j]
										}
									}
								}
								if rows {
									k.Rows(blocks, mr, kc/l, a, lda, b, c, ldc, acc)
								} else {
									k.Cols(blocks, mr, kc, a, b, c, ldc, acc)
								}
								kerneltest.Same(t, fmt.Sprintf("rows=%v blocks=%d mr=%d kc=%d acc=%v", rows, blocks, mr, kc, acc), c, want)
							}
						}
					}
				}
			}
		}
	})
}

// TestWinoPrefetch: asking for memory is harmless, whole lines or not.
func TestWinoPrefetch(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, atEnd := range []bool{true, false} {
			for _, n := range []int{0, 1, 15, 16, 17, 100} {
				asm.Wino().Prefetch(kerneltest.Guarded(t, n, atEnd))
			}
		}
	})
}

func TestWinoPanics(t *testing.T) {
	k := asm.Wino()
	full := make([]float32, 40*asm.WinoPoints*asm.WinoLanes)
	var bias [asm.WinoLanes]float32
	for name, f := range map[string]func(){
		"rows mr":   func() { k.Rows(1, k.MR+1, 1, full, 1, full, full, k.NR, false) },
		"rows a":    func() { k.Rows(1, 2, 3, full[:95], 32, full, full, k.NR, false) },
		"rows b":    func() { k.Rows(1, 1, 2, full, 16, full[:32*k.NR-1], full, k.NR, false) },
		"rows c":    func() { k.Rows(2, 1, 1, full, 1, full, full[:2*k.NR-1], k.NR, false) },
		"cols a":    func() { k.Cols(1, 2, 2, full[:k.NR+1], full, full, k.NR, false) },
		"cols n":    func() { k.Cols(k.NR, 2, 1, full, full, full, k.NR, false) },
		"cols mr":   func() { k.Cols(1, 0, 1, full, full, full, k.NR, false) },
		"input src": func() { k.Input(1, full[:5*96+95], 96, full, 16, 16, false) },
		"input dst": func() { k.Input(1, full, 96, full[:36*16-1], 16, 16, false) },
		"gradient":  func() { k.Gradient(1, full[:4*64-1], 64, full, 16, 16, false) },
		"filter":    func() { k.Filter(1, full, 127, -16, 0, full, 16, 16) },
		"output":    func() { k.Output(1, full, 16, 16, &bias, 0, full[:4*64-1], 64, false) },
		"sums":      func() { k.Sums(3, full[:3*16-1], &bias) },
		"weights":   func() { k.Weights(1, full, 16, 16, full[:9*16-1]) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if s, ok := recover().(string); !ok || s == "" {
					t.Errorf("recovered %q", s)
				}
			}()
			f()
			t.Error("did not panic")
		})
	}
}

func BenchmarkWino(b *testing.B) {
	const n, l, ldp = 14, asm.WinoLanes, 28*80 + 80
	src, dst := make([]float32, 1<<17), make([]float32, 1<<17)
	var bias [l]float32
	was := asm.ISA()
	defer func() {
		if err := asm.Select(was); err != nil {
			b.Fatal(err)
		}
	}()
	for _, isa := range asm.Available() {
		if err := asm.Select(isa); err != nil {
			b.Fatal(err)
		}
		k := asm.Wino()
		for name, f := range map[string]func(){
			"input":    func() { k.Input(n, src, 58*l, dst, 80, ldp, false) },
			"gradient": func() { k.Gradient(n, src, 56*l, dst, 80, ldp, false) },
			"filter":   func() { k.Filter(n, src, 0, l, 9*l, dst, 80, ldp) },
			"output":   func() { k.Output(n, src, 80, ldp, &bias, 0, dst, 56*l, false) },
			"sums":     func() { k.Sums(16*n, src, &bias) },
			"weights":  func() { k.Weights(n, src, 80, ldp, dst) },
		} {
			b.Run(fmt.Sprintf("isa=%s/transform=%s", isa, name), func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/tile")
			})
		}
		for _, kc := range []int{64, 256} {
			for name, f := range map[string]func() int{
				"rows": func() int { k.Rows(8, k.MR, kc/l, src, 60*l, src[1<<16:], dst, 80, false); return 8 * k.MR },
				"cols": func() int { k.Cols(k.NR/k.MC, k.MC, kc, src, src[1<<16:], dst, 80, true); return k.NR / k.MC * k.MC },
			} {
				b.Run(fmt.Sprintf("isa=%s/product=%s/kc=%d", isa, name, kc), func(b *testing.B) {
					mr := 0
					for b.Loop() {
						mr = f()
					}
					b.ReportMetric(2*float64(mr*kc*k.NR)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOPS")
				})
			}
		}
	}
}
