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
				k.Input(n, &asm.WinoPixels{Data: src, LD: lds}, dst, ldt, ldp, stream)
				each(t, "input", bt, true, dst, func(tile, r, c, lane int) float32 { return src[r*lds+(4*tile+c)*l+lane] })

				src = slice(3*lds + 4*n*l)
				var sums [l]float32
				kerneltest.Normals(6, sums[:])
				was := sums
				k.Gradient(n, &asm.WinoPixels{Data: src, LD: lds}, dst, ldt, ldp, &sums, stream)
				each(t, "gradient", a, false, dst, func(tile, r, c, lane int) float32 { return src[r*lds+(4*tile+c)*l+lane] })
				for lane, got := range sums {
					want, scale := float64(was[lane]), math.Abs(float64(was[lane]))
					for i := range 16 * n {
						v := float64(src[i/(4*n)*lds+i%(4*n)*l+lane])
						want += v
						scale += math.Abs(v)
					}
					near(t, "sum", got, want, scale)
				}

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
					k.Output(n, m, ldt, ldp, &bias, low, &asm.WinoPixels{Data: dst, LD: lds}, stream)
					for tile := range n {
						for i := range 16 * l {
							r, c, lane := i/l/4, i/l%4, i%l
							v, scale := sandwich(at, r, c, func(r, c int) float32 { return m[(6*r+c)*ldp+tile*ldt+lane] })
							near(t, "output", dst[r*lds+(4*tile+c)*l+lane], max(v+float64(bias[lane]), float64(low)), scale+1)
						}
					}
				}
				nan := append([]float32(nil), m...)
				nan[7] = kerneltest.NaN // lane 7 of a point that all pixels depend on
				k.Output(n, nan, ldt, ldp, &bias, 0, &asm.WinoPixels{Data: dst, LD: lds}, false)
				if v := dst[7]; v == v {
					t.Fatalf("NaN became %v", v)
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

// winoStrip returns the pixels of n tiles as rows of a strip, with zeros outside.
func winoStrip(x *asm.WinoPixels, n, edge int) ([]float32, int) {
	const l = asm.WinoLanes
	cols := 4*n + edge - 4
	strip := make([]float32, edge*cols*l)
	for r := x.Top; r < edge-x.Bottom; r++ {
		for c := x.Left; c < cols-x.Right; c++ {
			for lane := range l {
				at := (r-x.Top)*x.LD + (c-x.Left)*l + lane
				strip[(r*cols+c)*l+lane] = x.Data[at]
			}
		}
	}
	return strip, cols * l
}

// TestWinoBorders holds transforms of tiles that lie partly outside an image, with
// pixels between protected pages, to those of tiles with zeros there.
func TestWinoBorders(t *testing.T) {
	const l = asm.WinoLanes
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Wino()
		check := func(edge, n int, stream, atEnd bool, x asm.WinoPixels) {
			rows, cols := edge-x.Top-x.Bottom, 4*n+edge-4-x.Left-x.Right
			if rows < 1 || cols < 1 {
				return
			}
			x.LD = (cols + 1) * l
			size := (rows-1)*x.LD + cols*l
			x.Data = kerneltest.Shared(t, size, atEnd)
			kerneltest.Normals(1, x.Data)
			ldt := 2 * l
			ldp := n*ldt + l
			var got, want [2][]float32
			for i := range got {
				got[i], want[i] = make([]float32, asm.WinoPoints*ldp), make([]float32, asm.WinoPoints*ldp)
			}
			strip, lds := winoStrip(&x, n, edge)
			whole := asm.WinoPixels{Data: strip, LD: lds}
			what := fmt.Sprintf("edge=%d n=%d stream=%v: %d rows and %d columns inside after %d and %d", edge, n, stream, rows, cols, x.Top, x.Left)
			if edge == 6 {
				k.Input(n, &whole, want[0], ldt, ldp, false)
				k.Input(n, &x, got[0], ldt, ldp, stream)
			} else {
				var sums, wantSums [l]float32
				k.Gradient(n, &whole, want[0], ldt, ldp, &wantSums, false)
				k.Gradient(n, &x, got[0], ldt, ldp, &sums, stream)
				kerneltest.Same(t, what+": sums", sums[:], wantSums[:])
				k.Gradient(n, &x, got[1], ldt, ldp, nil, stream)
				kerneltest.Same(t, what+": without sums", got[1], want[0])
			}
			kerneltest.Same(t, what, got[0], want[0])
		}
		for _, edge := range []int{6, 4} {
			for _, n := range []int{1, 2, 3, 5} {
				for v := range edge * edge {
					for h := range 5 * 9 {
						check(edge, n, (v+h)%2 == 1, (v+h)%3 == 1, asm.WinoPixels{Top: v / edge, Bottom: v % edge, Left: h % 5, Right: h / 5})
					}
				}
			}
		}
	})
}

// TestWinoOutputBorders holds tiles that lie partly outside an image between
// protected pages to whole ones, and what lies between rows to what was there.
func TestWinoOutputBorders(t *testing.T) {
	const l = asm.WinoLanes
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Wino()
		var bias [l]float32
		kerneltest.Normals(1, bias[:])
		for _, n := range []int{1, 2, 5} {
			for border := range 16 {
				bottom, right := border/4, border%4
				rows, cols := 4-bottom, 4*n-right
				m := make([]float32, asm.WinoPoints*n*l)
				kerneltest.Normals(2, m)
				whole, lds := make([]float32, 16*n*l), (cols+1)*l
				k.Output(n, m, l, n*l, &bias, 0, &asm.WinoPixels{Data: whole, LD: 4 * n * l}, false)
				for i := range 4 {
					got := kerneltest.Shared(t, (rows-1)*lds+cols*l, i/2 == 1)
					kerneltest.Fill(got, 7)
					want := append([]float32(nil), got...)
					for r := range rows {
						copy(want[r*lds:], whole[r*4*n*l:][:cols*l])
					}
					k.Output(n, m, l, n*l, &bias, 0, &asm.WinoPixels{Data: got, LD: lds, Bottom: bottom, Right: right}, i%2 == 1)
					kerneltest.Same(t, fmt.Sprintf("n=%d bottom=%d right=%d", n, bottom, right), got, want)
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
									k.Cols(blocks, mr, kc, a, nil, b, c, ldc, acc)
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
		"cols a":    func() { k.Cols(1, 2, 2, full[:k.NR+1], nil, full, full, k.NR, false) },
		"cols n":    func() { k.Cols(k.NR, 2, 1, full, nil, full, full, k.NR, false) },
		"cols mr":   func() { k.Cols(1, 0, 1, full, nil, full, full, k.NR, false) },
		"input src": func() { k.Input(1, &asm.WinoPixels{Data: full[:5*96+95], LD: 96}, full, 16, 16, false) },
		"input inside": func() {
			k.Input(1, &asm.WinoPixels{Data: full[:4*96+79], LD: 96, Top: 1, Right: 1}, full, 16, 16, false)
		},
		"input dst":    func() { k.Input(1, &asm.WinoPixels{Data: full, LD: 96}, full[:36*16-1], 16, 16, false) },
		"no rows":      func() { k.Input(1, &asm.WinoPixels{Data: full, LD: 96, Top: 2, Bottom: 4}, full, 16, 16, false) },
		"no columns":   func() { k.Input(1, &asm.WinoPixels{Data: full, LD: 96, Left: 2, Right: 4}, full, 16, 16, false) },
		"top":          func() { k.Input(1, &asm.WinoPixels{Data: full, LD: 96, Top: -1}, full, 16, 16, false) },
		"bottom":       func() { k.Gradient(1, &asm.WinoPixels{Data: full, LD: 96, Bottom: 4}, full, 16, 16, nil, false) },
		"left":         func() { k.Input(3, &asm.WinoPixels{Data: full, LD: 96, Left: 5}, full, 16, 16, false) },
		"right":        func() { k.Input(3, &asm.WinoPixels{Data: full, LD: 96, Right: 9}, full, 16, 16, false) },
		"gradient":     func() { k.Gradient(1, &asm.WinoPixels{Data: full[:4*64-1], LD: 64}, full, 16, 16, nil, false) },
		"filter":       func() { k.Filter(1, full, 127, -16, 0, full, 16, 16) },
		"output":       func() { k.Output(1, full, 16, 16, &bias, 0, &asm.WinoPixels{Data: full[:4*64-1], LD: 64}, false) },
		"output top":   func() { k.Output(1, full, 16, 16, &bias, 0, &asm.WinoPixels{Data: full, LD: 64, Top: 1}, false) },
		"output left":  func() { k.Output(2, full, 16, 16, &bias, 0, &asm.WinoPixels{Data: full, LD: 64, Left: 1}, false) },
		"output right": func() { k.Output(2, full, 16, 16, &bias, 0, &asm.WinoPixels{Data: full, LD: 64, Right: 4}, false) },
		"weights":      func() { k.Weights(1, full, 16, 16, full[:9*16-1]) },
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
