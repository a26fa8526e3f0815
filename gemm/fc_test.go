package gemm

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"crema/asm"
	"crema/internal/hugepage"
	"crema/internal/kerneltest"
	"crema/internal/par"
)

// BenchmarkFC measures VGG-16's fully connected layers at batch 6 in units of
// what limits them, passes over memory by kernels that do nothing else: a read
// of the weights for forward and data, and for the weights with their update a
// read and write of two arrays. The passes and the products take turns; the
// figures are the shortest times of each, in milliseconds, and the ratio.
func BenchmarkFC(b *testing.B) {
	const batch = 6
	for _, size := range [][2]int{{4096, 25088}, {4096, 4096}} {
		n, k := size[0], size[1]
		w, h := hugepage.Make(n*k), hugepage.Make(n*k) // as layers have them
		x, y := make([]float32, batch*k), make([]float32, batch*n)
		kerneltest.Normals(1, x)
		kerneltest.Normals(2, y)
		for i := range w {
			w[i], h[i] = 1e-3, 1e-3
		}
		read := func() {
			par.For(n, 1, func(lo, hi int) { asm.Sum(w[lo*k : hi*k]) })
		}
		modify := func() {
			par.For(n, 1, func(lo, hi int) {
				for i := lo; i < hi; i++ {
					asm.Scal(1, w[i*k:(i+1)*k])
					asm.Scal(1, h[i*k:(i+1)*k])
				}
			})
		}
		for _, c := range []struct {
			name      string
			pass, run func()
		}{
			{"forward", read, func() { Sgemm(NoTrans, Trans, batch, n, k, 1, x, k, w, k, 0, y, n) }},
			{"data", read, func() { Sgemm(NoTrans, NoTrans, batch, k, n, 1, y, n, w, k, 0, x, k) }},
			{"update", modify, func() { SGDOuter(Step{Rate: 1e-6, Momentum: 0.9}, n, k, batch, y, n, x, k, h, w) }},
		} {
			for threads := 1; threads <= min(2, runtime.NumCPU()); threads++ {
				b.Run(fmt.Sprintf("%dto%d/%s/threads=%d", k, n, c.name, threads), func(b *testing.B) {
					least := [2]time.Duration{1 << 62, 1 << 62}
					atThreads(threads, func() {
						for b.Loop() {
							for i, f := range []func(){c.pass, c.run} {
								start := time.Now()
								f()
								least[i] = min(least[i], time.Since(start))
							}
						}
					})
					b.ReportMetric(least[0].Seconds()*1e3, "ms/pass")
					b.ReportMetric(least[1].Seconds()*1e3, "ms/op")
					b.ReportMetric(100*least[0].Seconds()/least[1].Seconds(), "%ofpass")
				})
			}
		}
	}
}
