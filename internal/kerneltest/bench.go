package kerneltest

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"crema/asm"
)

// EachBench is EachISA for benchmarks.
func EachBench(b *testing.B, f func(b *testing.B)) {
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
		b.Run("isa="+isa, f)
	}
}

// ReportFlops reports the speed of a benchmark whose turns are so many
// floating-point operations each, on so many threads: GFLOPS, and the
// percentage of what a loop of fused multiply-adds on registers reaches.
func ReportFlops(b *testing.B, flops float64, threads int) {
	speed := flops * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(speed/1e9, "GFLOPS")
	if p := limit("peak "+asm.ISA(), threads, peak); p > 0 {
		b.ReportMetric(100*speed/p, "%peak")
	}
}

// ReportBytes reports the speed of a benchmark whose turns move so many bytes
// each, on so many threads: GB/s, and the percentage of the speed at which an
// array is read that fits no cache. What stays in caches exceeds that.
func ReportBytes(b *testing.B, bytes float64, threads int) {
	speed := bytes * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(speed/1e9, "GB/s")
	b.ReportMetric(100*speed/limit("read", threads, read), "%read")
}

type limitKey struct {
	name    string
	threads int
}

var limits = map[limitKey]float64{}

// limit measures a speed once.
func limit(name string, threads int, measure func(threads int) float64) float64 {
	k := limitKey{name, threads}
	v, ok := limits[k]
	if !ok {
		v = measure(threads)
		limits[k] = v
	}
	return v
}

// peak returns the floating-point operations a second, 0 if unknown.
func peak(threads int) float64 {
	const turns = 1 << 19 // some milliseconds
	loop, flops := PeakLoop(asm.ISA())
	if loop == nil {
		return 0
	}
	return flops * turns * float64(threads) / fastest(threads, func(int) { loop(turns) })
}

// read returns the bytes a second.
func read(threads int) float64 {
	const n = 64 << 20 // floats
	x := make([]float32, n)
	Fill(x, 1) // fresh pages are all the same page
	return 4 * n / fastest(threads, func(i int) { asm.Asum(x[n*i/threads : n*(i+1)/threads]) })
}

// fastest returns the seconds of the fastest of some runs of f on so many
// threads at once.
func fastest(threads int, f func(thread int)) float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
	best := time.Duration(1 << 62)
	for range 10 {
		start := time.Now()
		var wg sync.WaitGroup
		for i := 1; i < threads; i++ {
			wg.Go(func() { f(i) })
		}
		f(0)
		wg.Wait()
		best = min(best, time.Since(start))
	}
	return best.Seconds()
}
