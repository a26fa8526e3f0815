package watch

import (
	"math"
	"slices"
)

// A row is what is kept of an iteration.
type row struct {
	iter                                         int
	loss, smoothed, rate, seconds, images, waits float64
}

// maxRows is how many rows a course keeps.
const maxRows = 4096

// A course is the thinned list of a run's rows. Of every stretch of stride
// iterations it has the two rows of the lowest and the highest loss; while
// stride is 1, it has all.
type course struct {
	rows    []row
	stride  int
	pending []row // of the stretch that is not complete
}

// add appends a row and reports whether that thinned those before.
func (c *course) add(r row) (thinned bool) {
	if c.stride <= 1 {
		c.rows = append(c.rows, r)
	} else {
		c.pending = append(c.pending, r)
		if len(c.pending) < c.stride {
			return false
		}
		c.rows = append(c.rows, extremes(c.pending)...)
		c.pending = c.pending[:0]
	}
	if len(c.rows) < maxRows {
		return false
	}
	// While all rows are kept, a stretch of two has both.
	c.stride = max(2, c.stride) * 2
	kept := make([]row, 0, maxRows)
	for part := range slices.Chunk(c.rows, 4) {
		kept = append(kept, extremes(part)...)
	}
	c.rows = kept
	return true
}

// extremes returns the rows with the lowest and the highest loss, in their
// order; what is not finite is the highest.
func extremes(rows []row) []row {
	if len(rows) <= 2 {
		return rows
	}
	key := func(i int) float64 {
		if l := rows[i].loss; !math.IsNaN(l) {
			return l
		}
		return math.Inf(1)
	}
	low, high := 0, len(rows)-1
	for i := range rows {
		if key(i) < key(low) {
			low = i
		}
		if key(i) > key(high) {
			high = i
		}
	}
	if low == high { // the last is both only if all are equal
		low = 0
	}
	return []row{rows[min(low, high)], rows[max(low, high)]}
}

// cut drops the rows from iteration iter on and reports whether there were any.
func (c *course) cut(iter int) bool {
	from := func(r row) bool { return r.iter >= iter }
	n := len(c.rows) + len(c.pending)
	if i := slices.IndexFunc(c.rows, from); i >= 0 {
		c.rows = c.rows[:i]
	}
	if i := slices.IndexFunc(c.pending, from); i >= 0 {
		c.pending = c.pending[:i]
	}
	return len(c.rows)+len(c.pending) < n
}

// columns puts the rows after iteration since into s.
func (s *Series) columns(rows []row, since int) {
	for i, r := range rows {
		if r.iter > since {
			rows = rows[i:]
			break
		}
		if i == len(rows)-1 {
			rows = nil
		}
	}
	n := len(rows)
	s.Iter = make([]int, n)
	all := make(Column, 6*n)
	s.Loss, s.Smoothed, s.Rate = all[:n:n], all[n:2*n:2*n], all[2*n:3*n:3*n]
	s.Seconds, s.ImagesPerSecond, s.WaitShare = all[3*n:4*n:4*n], all[4*n:5*n:5*n], all[5*n:]
	for i, r := range rows {
		s.Iter[i] = r.iter
		s.Loss[i], s.Smoothed[i], s.Rate[i] = r.loss, r.smoothed, r.rate
		s.Seconds[i], s.ImagesPerSecond[i], s.WaitShare[i] = r.seconds, r.images, r.waits
	}
}

// maxSamples and maxTests are how many samples of the layers and how many
// results of a test net's output are kept; of more, every second.
const (
	maxSamples = 512
	maxTests   = 2048
)

// A sample is what one look at the layers gave.
type sample struct {
	iter   int
	layers []Layer
}

// A testCourse is the list of one test net output's values.
type testCourse struct {
	net    int
	name   string
	iters  []int
	values []float64
	seen   int
	thin   int // how often the list was thinned
}

func (t *testCourse) add(iter int, v float64) (thinned bool) {
	if t.seen++; (t.seen-1)%(1<<t.thin) != 0 {
		return false
	}
	t.iters, t.values = append(t.iters, iter), append(t.values, v)
	if len(t.iters) < maxTests {
		return false
	}
	t.thin++
	t.iters, t.values = everySecond(t.iters), everySecond(t.values)
	return true
}

// everySecond returns a new slice of the elements 0, 2, 4…
func everySecond[T any](s []T) []T {
	out := make([]T, 0, len(s))
	for i := 0; i < len(s); i += 2 {
		out = append(out, s[i])
	}
	return out
}
