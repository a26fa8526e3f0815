package layers

import (
	"crema/asm"
	"crema/internal/par"
	"crema/tensor"
)

// A channelView sees a blob as outer × channels × inner, for layers that have
// numbers for each channel. It cuts the blob into pieces that are worked on
// separately; how depends on the shape and the layout only, so that sums over
// pieces have the same bits for any number of threads.
type channelView struct {
	outer, channels, inner int

	form     channelForm
	length   int // of a piece along what it is cut along
	segments int // pieces along that
	pieces   int
	perTask  int
	partials []float64 // what reductions leave: see sums
}

// A channelForm is where the elements of a channel lie.
type channelForm uint8

const (
	// inRows: inner elements lie side by side. A piece is of one channel.
	inRows channelForm = iota
	// inColumns: the channels do, as inner is 1. A piece is of up to
	// channelRun channels.
	inColumns
	// inLanes: as tensor.Blocked has it. A piece is of 16 channels.
	inLanes
)

// channelRun is the most elements that are computed with numbers for each of
// them at a time.
const channelRun = 64

// A channelPiece is runs of width elements each, whose beginnings are stride
// apart, n elements in all; the last run may be shorter. Element i of a run
// belongs to channel+i (inColumns), channel+i%16 (inLanes), channel (inRows,
// where there is one run).
type channelPiece struct {
	at, n, width, stride int
	channel              int
	part                 int // number of the piece among those with the same channels
}

// shape describes a blob of outer × channels × inner elements; blocked says that
// it lies in memory as tensor.Blocked has it.
func (v *channelView) shape(outer, channels, inner int, blocked bool) {
	if channels == 1 {
		outer, inner = 1, outer*inner
	}
	v.outer, v.channels, v.inner = outer, channels, inner
	switch {
	case blocked:
		v.form = inLanes
		v.cut(inner, elemGrain/tensor.Lanes)
		v.pieces = outer * (channels / tensor.Lanes) * v.segments
	case inner == 1 && channels > 1:
		v.form = inColumns
		v.cut(outer, elemGrain/channelRun)
		v.pieces = (channels + channelRun - 1) / channelRun * v.segments
	default:
		v.form = inRows
		v.cut(inner, elemGrain)
		v.pieces = outer * channels * v.segments
	}
	size := 0
	if v.pieces > 0 {
		size = max(outer*channels*inner/v.pieces, 1)
	}
	v.perTask = grainFor(size)
}

// cut sets how many pieces n is cut into.
func (v *channelView) cut(n, length int) {
	v.length, v.segments = length, (n+length-1)/length
}

// parts is the number of pieces that have the same channels.
func (v *channelView) parts() int {
	if v.form == inColumns {
		return v.segments
	}
	return v.outer * v.segments
}

// run does the job on all pieces. Do of the job calls each.
func (v *channelView) run(j par.Job) { par.Run(0, (v.pieces+v.perTask-1)/v.perTask, j) }

// each returns which pieces a task of run does.
func (v *channelView) each(task int) (lo, hi int) {
	return task * v.perTask, min((task+1)*v.perTask, v.pieces)
}

func (v *channelView) piece(i int) channelPiece {
	k, s := i/v.segments, i%v.segments
	switch v.form {
	case inLanes:
		blocks := v.channels / tensor.Lanes
		n := min(v.length, v.inner-s*v.length) * tensor.Lanes
		return channelPiece{(k*v.inner + s*v.length) * tensor.Lanes, n, channelRun, channelRun, k % blocks * tensor.Lanes, k/blocks*v.segments + s}
	case inColumns:
		c := k * channelRun
		width := min(channelRun, v.channels-c)
		return channelPiece{s*v.length*v.channels + c, width * min(v.length, v.outer-s*v.length), width, v.channels, c, s}
	default:
		n := min(v.length, v.inner-s*v.length)
		return channelPiece{k*v.inner + s*v.length, n, n, n, k % v.channels, k/v.channels*v.segments + s}
	}
}

// A channelVector is a number for each element of a run.
type channelVector [channelRun]float32

// vector sets to[i] to the number in s of the channel of element i of the
// piece's runs.
func (v *channelView) vector(to *channelVector, s []float32, p channelPiece) {
	s = s[p.channel:]
	if v.form == inColumns {
		copy(to[:p.width], s)
		return
	}
	for i := 0; i < channelRun; i += tensor.Lanes {
		copy(to[i:i+tensor.Lanes], s)
	}
}

// makePartials makes room for what n reductions leave.
func (v *channelView) makePartials(n int) {
	if size := n * v.parts() * v.channels; cap(v.partials) < size {
		v.partials = make([]float64, size)
	} else {
		v.partials = v.partials[:size]
	}
}

// partial returns where piece p leaves reduction k, one number for each of its
// channels.
func (v *channelView) partial(k int, p channelPiece) []float64 {
	return v.partials[(k*v.parts()+p.part)*v.channels+p.channel:]
}

// leave folds what the elements of a run have summed up to one number for each
// channel and leaves them as reduction k of the piece.
func (v *channelView) leave(k int, p channelPiece, sum *[channelRun]float64) {
	to := v.partial(k, p)
	if v.form == inColumns {
		copy(to, sum[:p.width])
		return
	}
	for i := range tensor.Lanes {
		to[i] = (sum[i] + sum[i+tensor.Lanes]) + (sum[i+2*tensor.Lanes] + sum[i+3*tensor.Lanes])
	}
}

// sums sets to to reduction k of each channel, summed over the pieces.
func (v *channelView) sums(k int, to []float64) {
	clear(to)
	for part := range v.parts() {
		for c, s := range v.partials[(k*v.parts()+part)*v.channels:][:v.channels] {
			to[c] += s
		}
	}
}

// moments leaves the sums of x as reduction 0 and those of x² as reduction 1.
// They are float64, in which the squares are exact.
func (v *channelView) moments(p channelPiece, x []float32) {
	if v.form != inRows {
		v.products(p, x, x)
		return
	}
	x = x[p.at : p.at+p.n]
	// Two sums of each, so that an addition need not wait for the one before.
	var s0, s1, q0, q1 float64
	for len(x) >= 2 {
		a, b := float64(x[0]), float64(x[1])
		s0 += a
		s1 += b
		q0 += a * a
		q1 += b * b
		x = x[2:]
	}
	for _, a := range x {
		s0 += float64(a)
		q0 += float64(a) * float64(a)
	}
	v.partial(0, p)[0] = s0 + s1
	v.partial(1, p)[0] = q0 + q1
}

// products leaves the sums of x as reduction 0 and those of x·y as reduction 1.
func (v *channelView) products(p channelPiece, x, y []float32) {
	if v.form == inRows {
		v.partial(0, p)[0] = asm.Sum(x[p.at : p.at+p.n])
		v.partial(1, p)[0] = asm.Dot(x[p.at:p.at+p.n], y[p.at:p.at+p.n])
		return
	}
	var sum, dot [channelRun]float64
	for at, left := p.at, p.n; left > 0; at, left = at+p.stride, left-p.width {
		w := min(p.width, left)
		x := x[at : at+w]
		y, sum, dot := y[at:][:len(x)], sum[:len(x)], dot[:len(x)]
		for i, a := range x {
			sum[i] += float64(a)
			dot[i] += float64(a) * float64(y[i])
		}
	}
	v.leave(0, p, &sum)
	v.leave(1, p, &dot)
}

// totals leaves the sums of x as reduction 0.
func (v *channelView) totals(p channelPiece, x []float32) {
	if v.form == inRows {
		v.partial(0, p)[0] = asm.Sum(x[p.at : p.at+p.n])
		return
	}
	var sum [channelRun]float64
	for at, left := p.at, p.n; left > 0; at, left = at+p.stride, left-p.width {
		x := x[at : at+min(p.width, left)]
		sum := sum[:len(x)]
		for i, a := range x {
			sum[i] += float64(a)
		}
	}
	v.leave(0, p, &sum)
}

// copy copies a piece.
func (v *channelView) copy(p channelPiece, from, to []float32) {
	if p.width == p.stride {
		copy(to[p.at:p.at+p.n], from[p.at:])
		return
	}
	for at, left := p.at, p.n; left > 0; at, left = at+p.stride, left-p.width {
		copy(to[at:at+min(p.width, left)], from[at:])
	}
}

// affine computes y = a·x + b with numbers a and b of each channel; a nil is
// all 1, b nil all 0, not both. x and y may be the same.
func (v *channelView) affine(p channelPiece, a, b, x, y []float32) {
	if v.form == inRows {
		x := x[p.at : p.at+p.n]
		y := y[p.at:][:len(x)]
		switch {
		case a == nil:
			b := b[p.channel]
			for i, x := range x {
				y[i] = x + b
			}
		case b == nil:
			a := a[p.channel]
			for i, x := range x {
				y[i] = a * x
			}
		default:
			a, b := a[p.channel], b[p.channel]
			for i, x := range x {
				y[i] = a*x + b
			}
		}
		return
	}
	var av, bv channelVector
	if a != nil {
		v.vector(&av, a, p)
	}
	if b != nil {
		v.vector(&bv, b, p)
	}
	for at, left := p.at, p.n; left > 0; at, left = at+p.stride, left-p.width {
		w := min(p.width, left)
		x := x[at : at+w]
		y, av, bv := y[at:][:len(x)], av[:len(x)], bv[:len(x)]
		switch {
		case a == nil:
			for i, x := range x {
				y[i] = x + bv[i]
			}
		case b == nil:
			for i, x := range x {
				y[i] = av[i] * x
			}
		default:
			for i, x := range x {
				y[i] = av[i]*x + bv[i]
			}
		}
	}
}
