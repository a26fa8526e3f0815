package par

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Threads returns the number of workers a loop is split over.
func Threads() int { return runtime.GOMAXPROCS(0) }

// A Job is a loop body: Do is called once for each 0 ≤ task < tasks. A pointer
// that is kept between loops makes Run free of allocations.
type Job interface{ Do(task int) }

// run is one loop in progress.
type run struct {
	job     Job
	tasks   int64
	workers int           // the caller among them, at most 64; each begins with the task of its number
	begun   atomic.Uint64 // bit i: task i < workers is taken
	next    atomic.Int64  // first of the other tasks nobody has taken
	out     atomic.Int32  // workers, the caller among them, that have not finished
	done    signal        // that all have, if the caller was not the last
}

// work does tasks as the worker of a number. The first is always the same: in
// loops that are repeated, what it needs is in the cache of its core.
func (r *run) work(number int) {
	if number < r.workers {
		r.begin(number)
	}
	for {
		t := r.next.Add(1) - 1
		if t >= r.tasks {
			break
		}
		r.job.Do(int(t))
	}
	// The first tasks of those who are late.
	for i := range r.workers {
		r.begin(i)
	}
}

// begin does a worker's first task if nobody has taken it.
func (r *run) begin(number int) {
	if bit := uint64(1) << number; r.begun.Or(bit)&bit == 0 {
		r.job.Do(number)
	}
}

var pool struct {
	sync.Mutex
	idle    []*worker
	workers int
	runs    []*run // not in use
}

// A worker waits for loops to take part in for the life of the program.
type worker struct {
	run    *run // valid between the signal and the end of the run
	number int  // in the run
	call   signal
}

func (w *worker) serve() {
	for {
		w.call.wait()
		r := w.run
		r.work(w.number)
		pool.Lock()
		pool.idle = append(pool.idle, w)
		pool.Unlock()
		if r.out.Add(-1) == 0 {
			r.done.send()
		}
	}
}

// A signal is sent by one goroutine and waited for by another, in turn.
type signal struct {
	state atomic.Uint32
	wake  chan struct{}
}

// What a signal's state may be.
const (
	pending uint32 = iota
	asleep         // pending, and the waiter wants to be woken
	sent
)

func newSignal() signal { return signal{wake: make(chan struct{}, 1)} }

func (s *signal) send() {
	if s.state.Swap(sent) == asleep {
		s.wake <- struct{}{}
	}
}

// wait waits, at first awake: loops follow each other within microseconds, while
// putting a thread to sleep and waking it takes up to a hundred. A worker that
// sleeps too soon is late for the next loop; then the others sleep before it is
// done, and so on. Meanwhile other goroutines get their turn, and where there are
// fewer cores than workers, it sleeps at once.
func (s *signal) wait() {
	const (
		patience = 300 * time.Microsecond
		polls    = 2000 // a microsecond
	)
	patient := Threads() <= runtime.NumCPU()
	for start := time.Now(); patient && time.Since(start) < patience; runtime.Gosched() {
		for range polls {
			if s.state.Load() == sent {
				s.state.Store(pending)
				return
			}
		}
	}
	if s.state.CompareAndSwap(pending, asleep) {
		<-s.wake
	}
	s.state.Store(pending)
}

// Run calls j.Do for every task on at most threads workers (0: Threads()) and
// returns when all are done.
func Run(threads, tasks int, j Job) {
	if threads <= 0 || threads > Threads() {
		threads = Threads()
	}
	helpers := min(threads, tasks) - 1
	if helpers <= 0 {
		for t := range tasks {
			j.Do(t)
		}
		return
	}
	pool.Lock()
	var r *run
	if n := len(pool.runs); n > 0 {
		r, pool.runs = pool.runs[n-1], pool.runs[:n-1]
	} else {
		r = &run{done: newSignal()}
	}
	// Workers beyond GOMAXPROCS−1 would only take turns.
	for len(pool.idle) < helpers && pool.workers < Threads()-1 {
		w := &worker{call: newSignal()}
		pool.workers++
		pool.idle = append(pool.idle, w)
		go w.serve()
	}
	helpers = min(helpers, len(pool.idle))
	r.job, r.tasks = j, int64(tasks)
	r.workers = min(helpers+1, 64)
	r.begun.Store(0)
	r.next.Store(int64(r.workers))
	r.out.Store(int32(helpers) + 1)
	for i := range helpers {
		n := len(pool.idle) - 1
		w := pool.idle[n]
		pool.idle = pool.idle[:n]
		w.run, w.number = r, i+1
		w.call.send()
	}
	pool.Unlock()

	r.work(0)
	if r.out.Add(-1) != 0 {
		r.done.wait()
	}
	r.job = nil
	pool.Lock()
	pool.runs = append(pool.runs, r)
	pool.Unlock()
}

// ranges is the job of For.
type ranges struct {
	n, parts int
	f        func(lo, hi int)
}

func (r *ranges) Do(i int) { r.f(r.n*i/r.parts, r.n*(i+1)/r.parts) }

// For calls f(lo, hi) for consecutive ranges that cover 0 ≤ i < n, at most one
// range per worker, each at least grain long (unless n is less). It returns when
// all are done. Ranges run concurrently: f must write only what belongs
// to its range, so that results do not depend on the number of workers.
func For(n, grain int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	grain = max(grain, 1)
	w := min(Threads(), n/grain)
	if w <= 1 {
		f(0, n)
		return
	}
	Run(w, w, &ranges{n, w, f})
}
