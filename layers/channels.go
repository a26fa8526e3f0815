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

// channelRun is the most channels of a piece of columns.
const channelRun = 64

// A channelPiece is n elements: side by side from at on, those of one channel
// (inRows), or pixels of the 16 from channel on (inLanes); or inColumns, rows of
// width elements, stride apart, of the channels from channel on.
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
		return channelPiece{at: (k*v.inner + s*v.length) * tensor.Lanes, n: n, channel: k % blocks * tensor.Lanes, part: k/blocks*v.segments + s}
	case inColumns:
		c := k * channelRun
		width := min(channelRun, v.channels-c)
		return channelPiece{s*v.length*v.channels + c, width * min(v.length, v.outer-s*v.length), width, v.channels, c, s}
	default:
		n := min(v.length, v.inner-s*v.length)
		return channelPiece{at: k*v.inner + s*v.length, n: n, channel: k % v.channels, part: k/v.channels*v.segments + s}
	}
}

// lanes returns the numbers in s of the channels of a piece that is not of
// columns.
func (v *channelView) lanes(s []float32, p channelPiece) asm.LaneVector {
	if v.form == inLanes {
		return asm.LaneVector(s[p.channel:])
	}
	return asm.Splat(s[p.channel])
}

// makePartials makes room for what reductions leave.
func (v *channelView) makePartials() {
	if size := 2 * v.parts() * v.channels; cap(v.partials) < size {
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

// sums sets to to reduction k of each channel, summed over the pieces.
func (v *channelView) sums(k int, to []float64) {
	clear(to)
	for part := range v.parts() {
		for c, s := range v.partials[(k*v.parts()+part)*v.channels:][:v.channels] {
			to[c] += s
		}
	}
}

// products leaves, as reductions 0 and 1, the sums of x and of x·y, which may be
// the same. They are float64, in which products of float32 are exact.
func (v *channelView) products(p channelPiece, x, y []float32) {
	if v.form != inColumns {
		var sum, dot [tensor.Lanes]float64
		asm.LaneSums(x[p.at:p.at+p.n], y[p.at:p.at+p.n], &sum, &dot)
		v.leave(p, &sum, &dot)
		return
	}
	var sum, dot [channelRun]float64
	for at := p.at; at < p.at+p.n/p.width*p.stride; at += p.stride {
		x := x[at : at+p.width]
		y, sum, dot := y[at:][:len(x)], sum[:len(x)], dot[:len(x)]
		for i, a := range x {
			sum[i] += float64(a)
			dot[i] += float64(a) * float64(y[i])
		}
	}
	copy(v.partial(0, p), sum[:p.width])
	copy(v.partial(1, p), dot[:p.width])
}

// leave leaves the sums of the lanes of a piece that is not of columns as
// reductions 0 and 1.
func (v *channelView) leave(p channelPiece, sum, dot *[tensor.Lanes]float64) {
	for k, s := range []*[tensor.Lanes]float64{sum, dot} {
		to := v.partial(k, p)
		if v.form == inLanes {
			copy(to, s[:])
			continue
		}
		var total float64
		for _, x := range s {
			total += x
		}
		to[0] = total
	}
}

// affine computes y = a·x + b with numbers a and b of each channel; a nil is all
// 1, b nil all 0. x and y may be the same.
func (v *channelView) affine(p channelPiece, a, b, x, y []float32) {
	if v.form != inColumns {
		av, bv := asm.Splat(1), asm.LaneVector{}
		if a != nil {
			av = v.lanes(a, p)
		}
		if b != nil {
			bv = v.lanes(b, p)
		}
		asm.Affine(&av, &bv, x[p.at:p.at+p.n], y[p.at:p.at+p.n])
		return
	}
	for at := p.at; at < p.at+p.n/p.width*p.stride; at += p.stride {
		x := x[at : at+p.width]
		y := y[at:][:len(x)]
		switch {
		case a == nil && b == nil:
			copy(y, x)
		case a == nil:
			b := b[p.channel:][:len(x)]
			for i, x := range x {
				y[i] = x + b[i]
			}
		case b == nil:
			a := a[p.channel:][:len(x)]
			for i, x := range x {
				y[i] = a[i] * x
			}
		default:
			a, b := a[p.channel:][:len(x)], b[p.channel:][:len(x)]
			for i, x := range x {
				y[i] = float32(a[i]*x) + b[i]
			}
		}
	}
}

// copy copies a piece.
func (v *channelView) copy(p channelPiece, from, to []float32) {
	if v.form != inColumns {
		copy(to[p.at:p.at+p.n], from[p.at:])
		return
	}
	for at := p.at; at < p.at+p.n/p.width*p.stride; at += p.stride {
		copy(to[at:at+p.width], from[at:])
	}
}
