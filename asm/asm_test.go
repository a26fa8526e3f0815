package asm_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"crema/asm"
	"crema/internal/kerneltest"
	"crema/internal/race"
)

func TestSelect(t *testing.T) {
	was := asm.ISA()
	t.Cleanup(func() {
		if err := asm.Select(was); err != nil {
			t.Error(err)
		}
	})
	names := asm.Available()
	if names[0] != "generic" {
		t.Errorf("Available() = %v, does not begin with generic", names)
	}
	for _, n := range names {
		if err := asm.Select(n); err != nil {
			t.Error(err)
		}
		if asm.ISA() != n || !strings.HasSuffix(strings.ToLower(asm.Sgemm().Name), n) {
			t.Errorf("after Select(%q): ISA %s, kernel %s", n, asm.ISA(), asm.Sgemm().Name)
		}
	}
	for _, n := range []string{"", "sse9", "AVX2"} {
		if err := asm.Select(n); err == nil {
			t.Errorf("Select(%q) succeeded", n)
		}
	}
	for _, n := range []string{"avx2", "avx512"} {
		if !slices.Contains(names, n) {
			if err := asm.Select(n); err == nil || !strings.Contains(err.Error(), "not available") {
				t.Errorf("Select(%q) on a machine without it: %v", n, err)
			}
		}
	}
	if asm.ISA() != names[len(names)-1] {
		t.Errorf("a failed Select changed the ISA to %s", asm.ISA())
	}
}

// TestEnvironment starts this test program again with CREMA_ISA set.
func TestEnvironment(t *testing.T) {
	if os.Getenv("ASM_TEST_CHILD") != "" {
		fmt.Printf("isa=%s err=%v\n", asm.ISA(), asm.EnvError())
		return
	}
	best := asm.Available()[len(asm.Available())-1]
	for value, want := range map[string]string{
		"":        "isa=" + best + " err=<nil>",
		"generic": "isa=generic err=<nil>",
		"vax":     "isa=" + best + ` err=CREMA_ISA: unknown instruction set "vax"`,
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestEnvironment$", "-test.v")
		cmd.Env = append(os.Environ(), "ASM_TEST_CHILD=1", asm.EnvVar+"="+value)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !strings.Contains(string(out), want) {
			t.Errorf("%s=%q: got %s, not %s", asm.EnvVar, value, out, want)
		}
	}
}

// TestTile computes every tile size from operands that end, and then begin, at
// protected pages.
func TestTile(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Sgemm()
		for _, atEnd := range []bool{true, false} {
			for _, kc := range []int{0, 1, 2, 3, 4, 5, 8, 17} {
				a := kerneltest.Guarded(t, k.MR*kc, atEnd)
				b := kerneltest.Guarded(t, k.NR*kc, atEnd)
				kerneltest.Integers(1, b)
				for mr := 1; mr <= k.MR; mr++ {
					pa := a[:mr*kc]
					if atEnd {
						pa = a[len(a)-mr*kc:]
					}
					kerneltest.Integers(uint64(mr), pa)
					for nr := 1; nr <= k.NR; nr++ {
						if nr > 3 && nr < k.NR-1 && nr%5 != 0 {
							continue
						}
						tile(t, k, mr, nr, kc, pa, b, atEnd)
					}
				}
			}
		}
	})
}

func tile(t *testing.T, k *asm.Kernel, mr, nr, kc int, a, b []float32, atEnd bool) {
	t.Helper()
	const gap = 3
	ldc := nr + gap
	whole := kerneltest.Shared(t, k.MR*(k.NR+gap), atEnd)
	n := (mr-1)*ldc + nr
	c := whole[:n]
	if atEnd {
		c = whole[len(whole)-n:]
	}
	for _, acc := range []bool{false, true} {
		want := make([]float32, n)
		for i := range c {
			c[i] = float32(i % 50)
			if !acc && i%ldc < nr {
				c[i] = kerneltest.NaN
			}
			want[i] = c[i]
		}
		const alpha = 2
		for i := range mr {
			for j := range nr {
				var s float32
				for p := range kc {
					s += a[p*mr+i] * b[p*k.NR+j]
				}
				if acc {
					want[i*ldc+j] += alpha * s
				} else {
					want[i*ldc+j] = alpha * s
				}
			}
		}
		k.Tile(mr, nr, kc, alpha, a, b, c, ldc, acc)
		for i := range c {
			if c[i] != want[i] {
				t.Fatalf("mr=%d nr=%d kc=%d acc=%v: c[%d] = %v, not %v", mr, nr, kc, acc, i, c[i], want[i])
			}
		}
	}
}

// TestTilePack computes tiles that pack an operand on the way, of every height,
// and compares the panels with those packed apart and the tiles with Tile.
func TestTilePack(t *testing.T) {
	if race.Enabled {
		t.Skip("about values and bounds, and slow under the race detector")
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Sgemm()
		const gap, alpha = 3, 2
		for _, atEnd := range []bool{true, false} {
			for _, kc := range []int{1, 3, 4, 5, 4*k.MR + 1} {
				for mr := 1; mr <= k.MR; mr++ {
					lda, ldb := mr+gap, k.NR+gap
					ldc := k.NR + gap
					ta, rb := kerneltest.Guarded(t, (kc-1)*lda+mr, atEnd), kerneltest.Guarded(t, (kc-1)*ldb+k.NR, atEnd)
					ap, bp := kerneltest.Guarded(t, mr*kc, atEnd), kerneltest.Guarded(t, k.NR*kc, atEnd)
					c := kerneltest.Guarded(t, (mr-1)*ldc+k.NR, atEnd)
					kerneltest.Normals(1, ta)
					kerneltest.Normals(2, rb)
					wantA, wantB, want := make([]float32, len(ap)), make([]float32, len(bp)), make([]float32, len(c))
					asm.PackRows(kc, mr, 0, mr, ta, 0, lda, wantA, mr)
					asm.PackRows(kc, k.NR, 0, k.NR, rb, 0, ldb, wantB, k.NR)
					for _, acc := range []bool{false, true} {
						for _, which := range []string{"A", "B"} {
							kerneltest.Fill(want, 5)
							kerneltest.Fill(c, 5)
							k.Tile(mr, k.NR, kc, alpha, wantA, wantB, want, ldc, acc)
							name := fmt.Sprintf("%s of %d, kc=%d acc=%v", which, mr, kc, acc)
							if which == "A" {
								k.TilePackA(mr, kc, alpha, ta, lda, ap, wantB, c, ldc, acc)
								kerneltest.Same(t, "panel "+name, ap, wantA)
							} else {
								k.TilePackB(mr, kc, alpha, wantA, rb, ldb, bp, c, ldc, acc)
								kerneltest.Same(t, "panel "+name, bp, wantB)
							}
							kerneltest.Same(t, "tile "+name, c, want)
						}
					}
				}
			}
		}
	})
}

// TestTileRows computes tiles from rows of A that are not packed and compares
// them with Tile.
func TestTileRows(t *testing.T) {
	if race.Enabled {
		t.Skip("about values and bounds, and slow under the race detector")
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Sgemm()
		if k.Low == 0 {
			return
		}
		const gap, alpha = 3, 2
		for _, atEnd := range []bool{true, false} {
			for _, kc := range []int{1, 3, 4, 5, 4*k.MR + 1} {
				b := kerneltest.Guarded(t, k.NR*kc, atEnd)
				kerneltest.Normals(2, b)
				for mr := k.Low; mr <= k.MR; mr++ {
					lda := kc + gap
					a := kerneltest.Guarded(t, (mr-1)*lda+kc, atEnd)
					kerneltest.Normals(1, a)
					panel := make([]float32, mr*kc)
					asm.Transpose(mr, kc, a, lda, panel, mr)
					for nr := 1; nr <= k.NR; nr++ {
						ldc := nr + gap
						c := kerneltest.Guarded(t, (mr-1)*ldc+nr, atEnd)
						want := make([]float32, len(c))
						for _, acc := range []bool{false, true} {
							kerneltest.Fill(want, 5)
							kerneltest.Fill(c, 5)
							k.Tile(mr, nr, kc, alpha, panel, b, want, ldc, acc)
							k.TileRows(mr, nr, kc, alpha, a, a[mr*kc/2:], lda, b, c, ldc, acc)
							kerneltest.Same(t, fmt.Sprintf("%d×%d, kc=%d acc=%v", mr, nr, kc, acc), c, want)
						}
					}
				}
			}
		}
	})
}

func TestTilePanics(t *testing.T) {
	k := asm.Sgemm()
	full := make([]float32, 4*k.MR*k.NR)
	for name, f := range map[string]func(){
		"mr 0":    func() { k.Tile(0, 1, 1, 1, full, full, full, k.NR, false) },
		"mr":      func() { k.Tile(k.MR+1, 1, 1, 1, full, full, full, k.NR, false) },
		"nr":      func() { k.Tile(1, k.NR+1, 1, 1, full, full, full, 2*k.NR, false) },
		"kc":      func() { k.Tile(1, 1, -1, 1, full, full, full, k.NR, false) },
		"short a": func() { k.Tile(2, 1, 3, 1, full[:5], full, full, k.NR, false) },
		"short b": func() { k.Tile(1, 1, 2, 1, full, full[:2*k.NR-1], full, k.NR, false) },
		"short c": func() { k.Tile(2, 2, 1, 1, full, full, full[:k.NR+1], k.NR, false) },
		"ldc":     func() { k.Tile(1, 2, 1, 1, full, full, full, 1, false) },
		"A depth": func() { k.TilePackA(1, 0, 1, full, 1, full, full, full, k.NR, false) },
		"A":       func() { k.TilePackA(2, 3, 1, full[:5], 2, full, full, full, k.NR, false) },
		"A panel": func() { k.TilePackA(2, 3, 1, full, 2, full[:5], full, full, k.NR, false) },
		"B depth": func() { k.TilePackB(1, 0, 1, full, full, 1, full, full, k.NR, false) },
		"B":       func() { k.TilePackB(1, 2, 1, full, full[:2*k.NR-1], k.NR, full, full, k.NR, false) },
		"B panel": func() { k.TilePackB(1, 2, 1, full, full, k.NR, full[:2*k.NR-1], full, k.NR, false) },
		"A low":   func() { k.TileRows(k.Low-1, 1, 1, 1, full, nil, 1, full, full, k.NR, false) },
		"A rows":  func() { k.TileRows(k.MR, 1, 3, 1, full[:3*k.MR-1], nil, 3, full, full, k.NR, false) },
		"rows":    func() { asm.PackRows(2, 4, 0, 4, full[:8], 1, 4, full, 4) },
		"rows lo": func() { asm.PackRows(1, 4, 0, 4, full, -1, 4, full, 4) },
		"width":   func() { asm.PackRows(1, asm.MaxNR+1, 0, 1, full, 0, 1, full, 1) },
		"transp":  func() { asm.Transpose(3, 3, full[:8], 3, full, 3) },
		"axpy":    func() { asm.Axpy(1, full[:2], full[:3]) },
		"dot":     func() { asm.Dot(full[:2], full[:3]) },
		"sgd":     func() { asm.SGDUpdate(1, 1, 1, full[:2], full[:2], full[:3]) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "asm: ") {
					t.Errorf("recovered %q", s)
				}
			}()
			f()
			t.Error("did not panic")
		})
	}
}

func TestPackRows(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, atEnd := range []bool{true, false} {
			for _, n := range []int{1, 2, 5, 10} {
				for _, width := range []int{1, 3, 4, 6, 8, 13, 14, 16, 17, 31, 32} {
					for _, cut := range [][2]int{{0, width}, {1, width}, {0, width - 1}, {width / 2, width/2 + 1}, {width, width}} {
						lo, hi := min(cut[0], width), min(cut[1], width)
						hi = max(hi, lo)
						// A panel's rows are next to each other.
						lds, ldd := hi-lo+3, width+2*(n%2)
						// What is read begins and ends with the slice.
						src := kerneltest.Shared(t, 2048, atEnd)[:max((n-1)*lds+hi-lo, 0)]
						dst := kerneltest.Guarded(t, (n-1)*ldd+width, atEnd)
						if atEnd {
							src = kerneltest.Shared(t, 2048, atEnd)
							src = src[len(src)-max((n-1)*lds+hi-lo, 0):]
						}
						kerneltest.Integers(3, src)
						kerneltest.Fill(dst, 99)
						asm.PackRows(n, width, lo, hi, src, -lo, lds, dst, ldd)
						for i, v := range dst {
							r, c := i/ldd, i%ldd
							want := float32(99)
							if c < width {
								want = 0
							}
							if c >= lo && c < hi {
								want = src[r*lds+c-lo]
							}
							if v != want {
								t.Fatalf("n=%d width=%d lo=%d hi=%d: (%d,%d) is %v, not %v", n, width, lo, hi, r, c, v, want)
							}
						}
					}
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, atEnd := range []bool{true, false} {
			for rows := 1; rows <= 33; rows++ {
				for i, cols := range []int{1, 2, 7, 15, 16, 17, 33, 1, 4, 5, 16, 21, 34} {
					lds, ldd := cols+1, rows
					if i < 7 { // else a panel's columns, next to each other
						ldd += 2
					}
					src := kerneltest.Guarded(t, (rows-1)*lds+cols, atEnd)
					dst := kerneltest.Guarded(t, (cols-1)*ldd+rows, atEnd)
					for i := range src {
						src[i] = float32(i)
					}
					kerneltest.Fill(dst, -1)
					asm.Transpose(rows, cols, src, lds, dst, ldd)
					for i, v := range dst {
						c, r := i/ldd, i%ldd
						want := float32(-1)
						if r < rows {
							want = float32(r*lds + c)
						}
						if v != want {
							t.Fatalf("%d×%d: dst[%d] is %v, not %v", rows, cols, i, v, want)
						}
					}
				}
			}
		}
	})
}

// vectors are the arguments of the vector operations.
type vectors struct{ x, y, z []float32 }

// special are values at which comparisons and signs matter.
var special = []float32{0, float32(math.Copysign(0, -1)), kerneltest.NaN, float32(math.Inf(1)), float32(math.Inf(-1)), 1e-40, -1e-40}

func newVectors(t *testing.T, n int, atEnd, odd bool) vectors {
	v := vectors{kerneltest.Guarded(t, n, atEnd), kerneltest.Guarded(t, n, atEnd), kerneltest.Guarded(t, n, atEnd)}
	kerneltest.Normals(1, v.x)
	kerneltest.Normals(2, v.y)
	kerneltest.Normals(3, v.z)
	if odd {
		for i := range n {
			if i%3 == 0 {
				v.x[i] = special[i/3%len(special)]
			}
		}
	}
	return v
}

// TestVectorOps compares every instruction set with formulas written out, bit
// for bit.
func TestVectorOps(t *testing.T) {
	ops := []struct {
		name string
		odd  bool // also on infinities and NaN
		run  func(v vectors)
		want func(x, y, z float32) (float32, float32, float32)
	}{
		{"Axpy", false, func(v vectors) { asm.Axpy(-0.3, v.x, v.y) },
			func(x, y, z float32) (float32, float32, float32) { return x, y + float32(-0.3*x), z }},
		{"Add", false, func(v vectors) { asm.Add(v.x, v.y) },
			func(x, y, z float32) (float32, float32, float32) { return x, y + x, z }},
		{"Scal", true, func(v vectors) { asm.Scal(1.7, v.x) },
			func(x, y, z float32) (float32, float32, float32) { return x * 1.7, y, z }},
		{"AddScalar", true, func(v vectors) { asm.AddScalar(1.7, v.x) },
			func(x, y, z float32) (float32, float32, float32) { return x + 1.7, y, z }},
		{"ReLU", true, func(v vectors) { asm.ReLU(0, v.x, v.y) },
			func(x, y, z float32) (float32, float32, float32) {
				switch {
				case x > 0:
					return x, x, z
				case x < 0 && !math.IsInf(float64(x), -1):
					return x, 0, z
				case math.IsInf(float64(x), -1): // 0·−Inf, as in Caffe
					return x, kerneltest.NaN, z
				}
				return x, x + 0*x, z
			}},
		{"ReLU leaky in place", false, func(v vectors) { asm.ReLU(0.1, v.x, v.x) },
			func(x, y, z float32) (float32, float32, float32) {
				if x < 0 {
					x = 0.1 * x
				}
				return x, y, z
			}},
		{"ReLUBackward", true, func(v vectors) { asm.ReLUBackward(0.25, v.x, v.y, v.z) },
			func(x, y, z float32) (float32, float32, float32) {
				if x > 0 {
					return x, y, y
				}
				return x, y, 0.25 * y
			}},
		{"SGDUpdate", false, func(v vectors) { asm.SGDUpdate(0.01, 0.0005, 0.9, v.x, v.y, v.z) },
			func(g, h, w float32) (float32, float32, float32) {
				d := float32(0.0005 * w)
				s := float32(0.01 * (g + d))
				h = float32(0.9*h) + s
				return g, h, w - h
			}},
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, op := range ops {
			t.Run(op.name, func(t *testing.T) {
				for _, atEnd := range []bool{true, false} {
					for _, n := range []int{0, 1, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 130, 20000} {
						v, w := newVectors(t, n, atEnd, op.odd), newVectors(t, n, atEnd, op.odd)
						op.run(v)
						for i := range n {
							w.x[i], w.y[i], w.z[i] = op.want(w.x[i], w.y[i], w.z[i])
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

func TestReductions(t *testing.T) {
	type result struct{ dot, sumsq, sum, asum float64 }
	first := map[int]result{}
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, n := range []int{0, 1, 63, 64, 65, 127, 129, 1 << 14, 1<<14 + 1, 50001} {
			v := newVectors(t, n, true, false)
			got := result{asm.Dot(v.x, v.y), asm.Sumsq(v.x), asm.Sum(v.x), asm.Asum(v.x)}
			var want result
			for i, x := range v.x {
				want.dot += float64(x) * float64(v.y[i])
				want.sumsq += float64(x) * float64(x)
				want.sum += float64(x)
				want.asum += math.Abs(float64(x))
			}
			bound := 2 * kerneltest.Bound(n)
			for _, c := range [][2]float64{{got.dot, want.dot}, {got.sumsq, want.sumsq}, {got.sum, want.sum}, {got.asum, want.asum}} {
				if d := math.Abs(c[0] - c[1]); !(d <= bound) {
					t.Errorf("n=%d: %v, not %v", n, got, want)
					break
				}
			}
			if f, ok := first[n]; !ok {
				first[n] = got
			} else if f != got {
				t.Errorf("n=%d: %v, but %v on another instruction set", n, got, f)
			}
		}
	})
}

func TestNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector's calls let operands escape")
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Sgemm()
		got := testing.AllocsPerRun(10, func() {
			// On the stack, unless a kernel lets them escape.
			var a, b, c [64 * asm.MaxNR]float32
			k.Tile(k.MR, k.NR-1, 3, 1, a[:], b[:], c[:], asm.MaxNR, true)
			k.Tile(k.MR, max(k.NR/4-1, 1), 3, 1, a[:], b[:], c[:], asm.MaxNR, true)
			k.TilePackA(k.MR, 3, 1, a[:], k.MR, a[100:], b[:], c[:], asm.MaxNR, true)
			k.TilePackB(k.MR, 3, 1, a[:], b[:], k.NR, b[100:], c[:], asm.MaxNR, true)
			asm.Exp(a[:], b[:])
			asm.PackRows(2, k.NR, 0, k.NR, a[:], 0, k.NR, b[:], k.NR)
			asm.Transpose(5, 6, a[:], 6, b[:], 5)
			asm.SGDUpdate(1, 1, 1, a[:], b[:], c[:])
			asm.ReLUBackward(0, a[:], b[:], c[:])
			if asm.Dot(a[:], b[:]) < 0 {
				t.Error("negative")
			}
		})
		if got != 0 {
			t.Errorf("%v allocations", got)
		}
	})
}

func TestSkinny(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, atEnd := range []bool{true, false} {
			for m := 1; m <= 8; m++ {
				// 600 and 1100 are more than is prefetched, 4700 more than
				// Rank gives to assembly at a time.
				for _, k := range []int{0, 1, 15, 16, 17, 32, 33, 64, 131, 600, 1100, 4700} {
					ldx, ldw := k+1, k+2
					x := kerneltest.Guarded(t, (m-1)*ldx+k, atEnd)
					w := kerneltest.Guarded(t, 3*ldw+k, atEnd)
					kerneltest.Integers(1, x)
					kerneltest.Integers(2, w)
					if m <= asm.MaxDotRows {
						const block = 16
						step := block*m + 3
						packed := kerneltest.Guarded(t, max((k+block-1)/block-1, 0)*step+block*m, atEnd)
						kerneltest.Fill(packed, kerneltest.NaN)
						for i := range m {
							for p := range k {
								packed[p/block*step+block*i+p%block] = x[i*ldx+p]
							}
						}
						var out [4 * asm.MaxDotRows]float32
						kerneltest.Fill(out[:], kerneltest.NaN)
						asm.DotRows(m, k, packed, step, w, ldw, w, &out)
						for i := range m {
							for j := range 4 {
								var want float32
								for p := range k {
									want += x[i*ldx+p] * w[j*ldw+p]
								}
								if out[4*i+j] != want {
									t.Fatalf("DotRows m=%d k=%d: (%d,%d) is %v, not %v", m, k, i, j, out[4*i+j], want)
								}
							}
						}
					}

					// The same memory as C and B of a rank-4 update k wide.
					a := kerneltest.Guarded(t, 4*m, atEnd)
					kerneltest.Integers(3, a)
					want := append([]float32(nil), x...)
					for i := range m {
						for j := range k {
							for p := range 4 {
								want[i*ldx+j] += a[4*i+p] * w[p*ldw+j]
							}
						}
					}
					asm.Rank4(m, k, a, w, ldw, x, ldx)
					kerneltest.Same(t, fmt.Sprintf("Rank4 m=%d n=%d", m, k), x, want)

					a = kerneltest.Guarded(t, 8*m, atEnd)
					kerneltest.Integers(4, a)
					w = kerneltest.Guarded(t, 7*ldw+k, atEnd)
					kerneltest.Integers(5, w)
					for i := range m {
						for j := range k {
							for p := range 8 {
								want[i*ldx+j] += a[8*i+p] * w[p*ldw+j]
							}
						}
					}
					asm.Rank8(m, k, a, w, ldw, x, ldx)
					kerneltest.Same(t, fmt.Sprintf("Rank8 m=%d n=%d", m, k), x, want)
				}
			}
		}
	})
}
