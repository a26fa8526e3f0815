package par

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Threads returns the number of workers a loop is split over.
func Threads() int { return runtime.GOMAXPROCS(0) }

// A Job is a loop body: Do is called once for each 0 ≤ task < tasks. A pointer
// that is kept between loops makes Run free of allocations.
type Job interface{ Do(task int) }

// run is one loop in progress.
type run struct {
	job   Job
	tasks int64
	next  atomic.Int64 // first task nobody has taken
	out   atomic.Int32 // workers, the caller among them, that have not finished
	done  chan struct{}
}

func (r *run) work() {
	for {
		t := r.next.Add(1) - 1
		if t >= r.tasks {
			return
		}
		r.job.Do(int(t))
	}
}

var pool struct {
	sync.Mutex
	idle    []chan *run // each the inbox of a worker that waits
	workers int
	runs    []*run // not in use
}

// worker serves its inbox for the life of the program.
func worker(inbox chan *run) {
	for {
		r := receive(inbox)
		r.work()
		last := r.out.Add(-1) == 0
		pool.Lock()
		pool.idle = append(pool.idle, inbox)
		pool.Unlock()
		if last {
			r.done <- struct{}{}
		}
	}
}

// receive waits for a value, at first awake: loops often follow each other
// within microseconds, less than it takes to put a thread to sleep and wake it.
// It lets other goroutines run meanwhile.
func receive[T any](c chan T) T {
	const turns, polls = 32, 32 // some ten microseconds
	for range turns {
		for range polls {
			select {
			case v := <-c:
				return v
			default:
			}
		}
		runtime.Gosched()
	}
	return <-c
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
		r = &run{done: make(chan struct{}, 1)}
	}
	// Workers beyond GOMAXPROCS−1 would only take turns.
	for len(pool.idle) < helpers && pool.workers < Threads()-1 {
		inbox := make(chan *run, 1)
		pool.workers++
		pool.idle = append(pool.idle, inbox)
		go worker(inbox)
	}
	helpers = min(helpers, len(pool.idle))
	r.job, r.tasks = j, int64(tasks)
	r.next.Store(0)
	r.out.Store(int32(helpers) + 1)
	for range helpers {
		n := len(pool.idle) - 1
		pool.idle[n] <- r // never blocks: the inbox of an idle worker is empty
		pool.idle = pool.idle[:n]
	}
	pool.Unlock()

	r.work()
	if r.out.Add(-1) != 0 {
		receive(r.done)
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
