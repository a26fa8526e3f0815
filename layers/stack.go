package layers

import (
	"crema/internal/par"
	"crema/tensor"
)

// A stack is how a blob, the whole, is made of parts one after another along an
// axis: in memory, rows of the whole are a run of each part.
type stack struct {
	rows   int
	widths []int // of each part's run
	width  int   // their sum
	pass   runsPass
}

// shape describes parts of the given extents along the axis of the whole, all
// in its layout.
func (s *stack) shape(whole *tensor.Blob, axis int, extents []int) {
	s.rows = whole.CountRange(0, axis)
	inner := whole.CountFrom(axis + 1)
	if whole.Layout() == tensor.Blocked && axis > 1 {
		// The lanes of a block are the innermost axis. Along the channels the
		// runs are those of NCHW, as every part is of whole blocks.
		s.rows /= tensor.Lanes
		inner *= tensor.Lanes
	}
	s.widths, s.width = s.widths[:0], 0
	for _, e := range extents {
		s.widths = append(s.widths, e*inner)
		s.width += e * inner
	}
}

// join copies part i to its place in the whole.
func (s *stack) join(whole []float32, i int, part []float32) {
	s.run(runsPass{from: part, fromStep: s.widths[i], to: whole[s.offset(i):], toStep: s.width, width: s.widths[i]})
}

// cut copies part i out of the whole.
func (s *stack) cut(whole []float32, i int, part []float32) {
	s.run(runsPass{from: whole[s.offset(i):], fromStep: s.width, to: part, toStep: s.widths[i], width: s.widths[i]})
}

// zero clears part i of the whole.
func (s *stack) zero(whole []float32, i int) {
	s.run(runsPass{to: whole[s.offset(i):], toStep: s.width, width: s.widths[i]})
}

// offset is where the first run of part i begins, at most the end of a row.
func (s *stack) offset(i int) int {
	if s.rows == 0 {
		return 0
	}
	n := 0
	for _, w := range s.widths[:i] {
		n += w
	}
	return n
}

func (s *stack) run(j runsPass) {
	j.n = s.rows * j.width
	s.pass.run(j)
}

// runsPass copies runs of width elements, n elements in all, whose beginnings
// are a step apart; it clears them where from is nil.
type runsPass struct {
	from, to         []float32
	fromStep, toStep int
	width, n         int
}

// run does what c says.
func (j *runsPass) run(c runsPass) {
	*j = c
	par.Run(0, elemTasks(j.n), j)
	*j = runsPass{}
}

// clear sets all of s to zero.
func (j *runsPass) clear(s []float32) { j.run(runsPass{to: s, width: len(s), n: len(s)}) }

// Do implements par.Job.
func (j *runsPass) Do(task int) {
	lo, hi := elemRange(j.n, task)
	for row, at := lo/j.width, lo%j.width; lo < hi; row, at = row+1, 0 {
		n := min(j.width-at, hi-lo)
		to := j.to[row*j.toStep+at:][:n]
		if j.from == nil {
			clear(to)
		} else {
			copy(to, j.from[row*j.fromStep+at:])
		}
		lo += n
	}
}
