package par

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// counter counts how often each task was done.
type counter struct {
	n    []atomic.Int32
	body func(task int)
}

func (c *counter) Do(task int) {
	c.n[task].Add(1)
	if c.body != nil {
		c.body(task)
	}
}

func (c *counter) check(t *testing.T, times int32) {
	t.Helper()
	for i := range c.n {
		if got := c.n[i].Load(); got != times {
			t.Errorf("task %d of %d done %d times, not %d", i, len(c.n), got, times)
		}
	}
}

func atThreads(n int, f func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
	f()
}

func TestRunDoesEachTaskOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		atThreads(threads, func() {
			for _, limit := range []int{0, 1, 2, 100} {
				for _, tasks := range []int{0, 1, 2, 7, 1000} {
					c := &counter{n: make([]atomic.Int32, tasks)}
					Run(limit, tasks, c)
					c.check(t, 1)
				}
			}
		})
	}
}

func TestRunLimit(t *testing.T) {
	atThreads(4, func() {
		var now, most atomic.Int32
		c := &counter{n: make([]atomic.Int32, 50), body: func(int) {
			v := now.Add(1)
			for m := most.Load(); v > m && !most.CompareAndSwap(m, v); m = most.Load() {
			}
			time.Sleep(time.Millisecond / 4)
			now.Add(-1)
		}}
		Run(2, 50, c)
		c.check(t, 1)
		if m := most.Load(); m > 2 {
			t.Errorf("%d workers at once, asked for at most 2", m)
		}
	})
}

// TestRunConcurrently starts loops from many goroutines and within tasks: none
// may wait for a worker that never comes.
func TestRunConcurrently(t *testing.T) {
	atThreads(3, func() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					inner := &counter{n: make([]atomic.Int32, 20)}
					outer := &counter{n: make([]atomic.Int32, 5), body: func(int) { Run(0, 20, inner) }}
					Run(0, 5, outer)
					outer.check(t, 1)
					inner.check(t, 5)
				}
			})
		}
		wg.Wait()
	})
}

func TestForCoversRange(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		atThreads(threads, func() {
			for _, n := range []int{0, 1, 2, 9, 100} {
				for _, grain := range []int{0, 1, 30, 1000} {
					seen := make([]atomic.Int32, n)
					For(n, grain, func(lo, hi int) {
						if hi-lo < min(grain, n) {
							t.Errorf("For(%d, %d): range %d to %d", n, grain, lo, hi)
						}
						for i := lo; i < hi; i++ {
							seen[i].Add(1)
						}
					})
					for i := range seen {
						if seen[i].Load() != 1 {
							t.Errorf("For(%d, %d): %d done %d times", n, grain, i, seen[i].Load())
						}
					}
				}
			}
		})
	}
}

func TestPool(t *testing.T) {
	var p Pool
	a, ba := p.Get(100)
	b, bb := p.Get(1000)
	for _, s := range [][]float32{a, b} {
		if r := uintptr(unsafe.Pointer(unsafe.SliceData(s))) % 64; r != 0 {
			t.Errorf("address is %d past a multiple of 64", r)
		}
	}
	if len(a) != 100 || len(b) != 1000 {
		t.Fatalf("lengths %d and %d", len(a), len(b))
	}
	p.Put(bb)
	p.Put(ba)
	// The smallest that fits is reused, not the first.
	if c, bc := p.Get(50); bc != ba || len(c) != 50 {
		t.Error("Get(50) did not reuse the buffer of 100")
	} else {
		p.Put(bc)
	}
	if c, bc := p.Get(500); bc != bb || len(c) != 500 {
		t.Error("Get(500) did not reuse the buffer of 1000")
	} else {
		p.Put(bc)
	}
	if n := testing.AllocsPerRun(20, func() {
		_, x := p.Get(100)
		_, y := p.Get(900)
		p.Put(x)
		p.Put(y)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestBalance(t *testing.T) {
	equal := func(int) float64 { return 2 }
	for _, c := range []struct {
		workers, tasks int
		cost           func(int) float64
		most, mean     float64
	}{
		{4, 8, equal, 4, 4},
		{4, 9, equal, 6, 4.5},
		{4, 1, equal, 2, 0.5},
		{3, 0, equal, 0, 0},
		{0, 3, equal, 6, 6},
		// The worker of the long task takes no other.
		{2, 5, func(t int) float64 { return []float64{4, 1, 1, 1, 1}[t] }, 4, 4},
		{2, 5, func(t int) float64 { return []float64{1, 1, 1, 1, 4}[t] }, 6, 4},
	} {
		if most, mean := Balance(c.workers, c.tasks, c.cost); most != c.most || mean != c.mean {
			t.Errorf("%d tasks on %d workers: %v and %v, not %v and %v", c.tasks, c.workers, most, mean, c.most, c.mean)
		}
	}
}
