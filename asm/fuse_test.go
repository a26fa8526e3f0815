package asm_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"crema/asm"
	"crema/internal/kerneltest"
	"crema/internal/race"
)

// TestSGDOuter wants the bits of a product of one micro-kernel tile after the
// other, in memory, followed by SGDUpdate.
func TestSGDOuter(t *testing.T) {
	const lr, decay, momentum = 0.01, 0.0005, 0.9
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Sgemm()
		for _, atEnd := range []bool{true, false} {
			for _, m := range []int{1, 2, 6, 15, 16} {
				for rows := 1; rows <= asm.OuterRows; rows++ {
					for _, n := range []int{0, 1, 15, 31, 32, 33, 64, 100, 4096 + 33} {
						ldx, ldw := n+1, n+2
						a := kerneltest.Shared(t, m*rows, atEnd)
						kerneltest.Normals(1, a)
						x := kerneltest.Shared(t, (m-1)*ldx+n, atEnd)
						kerneltest.Normals(2, x)
						w := kerneltest.Guarded(t, (rows-1)*ldw+n, atEnd)
						kerneltest.Normals(3, w)
						h := kerneltest.Guarded(t, (rows-1)*ldw+n, atEnd)
						kerneltest.Normals(4, h)
						wantW, wantH := append([]float32(nil), w...), append([]float32(nil), h...)

						g := make([]float32, n)
						ap, bp := make([]float32, m), make([]float32, m*k.NR)
						for i := range rows {
							for p := range m {
								ap[p] = a[p*rows+i]
							}
							for j := 0; j < n; j += k.NR {
								nr := min(k.NR, n-j)
								for p := range m {
									copy(bp[p*k.NR:], x[p*ldx+j:][:nr])
								}
								k.Tile(1, nr, m, 1, ap, bp, g[j:], nr, false)
							}
							at := i * ldw
							asm.SGDUpdate(lr, decay, momentum, g, wantH[at:at+n], wantW[at:at+n])
						}
						asm.SGDOuter(lr, decay, momentum, m, rows, n, a, x, ldx, h, w, ldw)
						what := fmt.Sprintf("m=%d rows=%d n=%d", m, rows, n)
						kerneltest.Same(t, what+": w", w, wantW)
						kerneltest.Same(t, what+": h", h, wantH)
					}
				}
			}
		}
	})
}

func TestSGDOuterNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector's calls let operands escape")
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		if got := testing.AllocsPerRun(10, func() {
			var a [12]float32
			var x, h, w [4 * 40]float32
			asm.SGDOuter(1, 1, 1, 4, 3, 37, a[:], x[:], 40, h[:], w[:], 40)
		}); got != 0 {
			t.Errorf("%v allocations", got)
		}
	})
}

// split calls f for equal parts of n on so many goroutines.
func split(threads, n int, f func(lo, hi int)) {
	var wg sync.WaitGroup
	for i := range threads {
		wg.Go(func() { f(n*i/threads, n*(i+1)/threads) })
	}
	wg.Wait()
}

// BenchmarkFC measures the step of VGG-16's fc6 at batch 6 beside what it is
// limited by: reading, and changing two arrays in place.
func BenchmarkFC(b *testing.B) {
	const m, rows, n = 6, 4096, 25088
	w, h, x := make([]float32, rows*n), make([]float32, rows*n), make([]float32, m*n)
	kerneltest.Normals(1, x)
	for i := range w {
		w[i], h[i] = 1e-3, 1e-3
	}
	for threads := 1; threads <= min(2, runtime.NumCPU()); threads++ {
		for _, c := range []struct {
			name  string
			bytes int
			run   func(lo, hi int)
		}{
			{"read", 4 * rows * n, func(lo, hi int) { asm.Sum(w[lo*n : hi*n]) }},
			{"modify", 16 * rows * n, func(lo, hi int) {
				for i := lo; i < hi; i++ {
					asm.Scal(1, w[i*n:][:n])
					asm.Scal(1, h[i*n:][:n])
				}
			}},
			{"step", 16 * rows * n, func(lo, hi int) {
				var a [m * asm.OuterRows]float32
				for i := lo; i+4 <= hi; i += 4 {
					asm.SGDOuter(1e-4, 5e-4, 0.9, m, 4, n, a[:], x, n, h[i*n:], w[i*n:], n)
				}
			}},
		} {
			b.Run(fmt.Sprintf("%s/threads=%d", c.name, threads), func(b *testing.B) {
				b.SetBytes(int64(c.bytes))
				for b.Loop() {
					split(threads, rows, c.run)
				}
			})
		}
	}
}
