package gemm

import (
	"fmt"
	"strings"
	"testing"

	"crema/asm"
	"crema/internal/kerneltest"
	"crema/internal/race"
)

// TestSGDOuter wants the bits of the product and the step made one after the
// other, on one and on several threads.
func TestSGDOuter(t *testing.T) {
	s := Step{Rate: 0.01, Decay: 0.0005, Momentum: 0.9}
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, c := range [][3]int{{1, 1, 1}, {3, 7, 2}, {4, 32, 6}, {10, 800, 16}, {6, 40000, 16}, {50, 333, 16}, {257, 513, 6}, {1024, 100, 3}, {1, 70000, 1}} {
			m, n, k := c[0], c[1], c[2]
			lda, ldb := m+1, n+2
			a, b := make([]float32, (k-1)*lda+m), make([]float32, (k-1)*ldb+n)
			kerneltest.Normals(1, a)
			kerneltest.Normals(2, b)
			w, h := make([]float32, m*n), make([]float32, m*n)
			kerneltest.Normals(3, w)
			kerneltest.Normals(4, h)
			wantW, wantH, g := append([]float32(nil), w...), append([]float32(nil), h...), make([]float32, m*n)
			Sgemm(Trans, NoTrans, m, n, k, 1, a, lda, b, ldb, 1, g, n)
			asm.SGDUpdate(s.Rate, s.Decay, s.Momentum, g, wantH, wantW)
			for _, threads := range []int{1, 3} {
				w, h := append([]float32(nil), w...), append([]float32(nil), h...)
				atThreads(threads, func() { SGDOuter(s, m, n, k, a, lda, b, ldb, h, w) })
				what := fmt.Sprintf("%d×%d rank %d, %d threads", m, n, k, threads)
				kerneltest.Same(t, what+": w", w, wantW)
				kerneltest.Same(t, what+": h", h, wantH)
			}
		}
	})
}

func TestSGDOuterPanics(t *testing.T) {
	x := make([]float32, 100)
	for name, f := range map[string]func(){
		"negative": func() { SGDOuter(Step{}, -1, 1, 1, x, 1, x, 1, x, x) },
		"rank 0":   func() { SGDOuter(Step{}, 1, 1, 0, x, 1, x, 1, x, x) },
		"rank 17":  func() { SGDOuter(Step{}, 1, 1, 17, x, 1, x, 1, x, x) },
		"lda":      func() { SGDOuter(Step{}, 2, 1, 1, x, 1, x, 1, x, x) },
		"short w":  func() { SGDOuter(Step{}, 5, 5, 1, x, 5, x, 5, x, x[:24]) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "gemm: ") {
					t.Errorf("recovered %v", s)
				}
			}()
			f()
			t.Error("did not panic")
		})
	}
}

func TestSGDOuterNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	const m, n, k = 100, 1000, 6
	a, b, h, w := make([]float32, k*m), make([]float32, k*n), make([]float32, m*n), make([]float32, m*n)
	kerneltest.EachISA(t, func(t *testing.T) {
		const calls = 50
		if got := allocations(calls, func() { SGDOuter(Step{}, m, n, k, a, m, b, n, h, w) }); got >= calls {
			t.Errorf("%d allocations in %d calls", got, calls)
		}
	})
}
