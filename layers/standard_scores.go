package layers

import (
	"crema/asm"
	"crema/tensor"
)

// standardScores computes y = (x − mean)·inverse with a mean and an inverse of a
// deviation for each of the channels of a view, and gradients: what BatchNorm and
// MVN have in common.
type standardScores struct {
	view          channelView
	mean, inverse []float32 // of the last forward pass
	// The y of the last forward pass that was to keep it: layers that compute in
	// place may have overwritten it since.
	kept            *tensor.Blob
	sums            [2][]float64
	meanDY, meanDot []float32 // of dy and dy·y, in backward
	pass            scoresPass
}

// scoresPass does something for all pieces.
type scoresPass struct {
	l          *standardScores
	do         func(l *standardScores, j *scoresPass, p channelPiece)
	x, y, keep []float32
	dy, dx     []float32
}

// Do implements par.Job.
func (j *scoresPass) Do(task int) {
	v := &j.l.view
	for i, end := v.each(task); i < end; i++ {
		j.do(j.l, j, v.piece(i))
	}
}

// shape sees blobs as outer × channels × inner.
func (l *standardScores) shape(outer, channels, inner int, blocked bool) {
	l.view.shape(outer, channels, inner, blocked)
	l.view.makePartials()
	if l.kept == nil {
		l.kept = tensor.New()
	}
	l.kept.Reshape(outer * channels * inner)
	if len(l.mean) == channels {
		return
	}
	for _, s := range []*[]float32{&l.mean, &l.inverse, &l.meanDY, &l.meanDot} {
		*s = make([]float32, channels)
	}
	for i := range l.sums {
		l.sums[i] = make([]float64, channels)
	}
}

func (l *standardScores) run(j scoresPass) {
	l.pass = j
	l.pass.l = l
	l.view.run(&l.pass)
	l.pass = scoresPass{}
}

// moments returns the mean and the variance of each channel of x, which is not
// empty. The slices are valid until the next call of any method.
func (l *standardScores) moments(x []float32) (mean, variance []float64) {
	l.run(scoresPass{do: (*standardScores).leaveMoments, x: x})
	mean, variance = l.sums[0], l.sums[1]
	l.view.sums(0, mean)
	l.view.sums(1, variance)
	n := float64(len(x) / len(mean))
	for c := range mean {
		mean[c] /= n
		// Rounding may leave a little below 0; a NaN stays.
		variance[c] = max(variance[c]/n-mean[c]*mean[c], 0)
	}
	return mean, variance
}

func (l *standardScores) leaveMoments(j *scoresPass, p channelPiece) { l.view.products(p, j.x, j.x) }

// forward computes y, which may be x. backward needs it to be kept.
func (l *standardScores) forward(x, y []float32, keep bool) {
	j := scoresPass{do: (*standardScores).values, x: x, y: y, keep: y}
	if keep {
		j.keep = l.kept.Data()
	}
	l.run(j)
}

func (l *standardScores) values(j *scoresPass, p channelPiece) {
	if l.view.form != inColumns {
		mean, inverse := l.view.lanes(l.mean, p), l.view.lanes(l.inverse, p)
		asm.Standardize(&mean, &inverse, j.x[p.at:p.at+p.n], j.y[p.at:p.at+p.n], j.keep[p.at:p.at+p.n])
		return
	}
	mean, inverse := l.mean[p.channel:][:p.width], l.inverse[p.channel:][:p.width]
	for at := p.at; at < p.at+p.n/p.width*p.stride; at += p.stride {
		x, y, keep := j.x[at:][:len(mean)], j.y[at:][:len(mean)], j.keep[at:][:len(mean)]
		for i, m := range mean {
			s := (x[i] - m) * inverse[i]
			y[i], keep[i] = s, s
		}
	}
}

// scale computes dx = dy·inverse, the gradient if mean and inverse do not depend
// on x. dx may be dy.
func (l *standardScores) scale(dy, dx []float32) {
	l.run(scoresPass{do: (*standardScores).scalePiece, dy: dy, dx: dx})
}

func (l *standardScores) scalePiece(j *scoresPass, p channelPiece) {
	l.view.affine(p, l.inverse, nil, j.dy, j.dx)
}

// backward computes dx = (dy − mean(dy) − y·mean(dy·y))·inverse, the gradient if
// they are those of x. dx may be dy.
func (l *standardScores) backward(dy, dx []float32) {
	y := l.kept.ReadData()
	l.run(scoresPass{do: (*standardScores).leaveSums, y: y, dy: dy})
	n := float64(len(dy) / max(len(l.mean), 1))
	for i, mean := range [][]float32{l.meanDY, l.meanDot} {
		l.view.sums(i, l.sums[i])
		for c, s := range l.sums[i] {
			mean[c] = float32(s / n)
		}
	}
	l.run(scoresPass{do: (*standardScores).gradient, y: y, dy: dy, dx: dx})
}

// subtractMean computes dx = dy − mean(dy), the gradient if only the mean is that
// of x. dx may be dy.
func (l *standardScores) subtractMean(dy, dx []float32) {
	l.run(scoresPass{do: (*standardScores).leaveTotals, dy: dy})
	l.view.sums(0, l.sums[0])
	n := float64(len(dy) / max(len(l.mean), 1))
	for c, s := range l.sums[0] {
		l.meanDY[c] = float32(-s / n)
	}
	l.run(scoresPass{do: (*standardScores).shift, dy: dy, dx: dx})
}

func (l *standardScores) leaveTotals(j *scoresPass, p channelPiece) {
	l.view.products(p, j.dy, j.dy)
}

func (l *standardScores) shift(j *scoresPass, p channelPiece) {
	l.view.affine(p, nil, l.meanDY, j.dy, j.dx)
}

func (l *standardScores) leaveSums(j *scoresPass, p channelPiece) { l.view.products(p, j.dy, j.y) }

func (l *standardScores) gradient(j *scoresPass, p channelPiece) {
	if l.view.form != inColumns {
		mean, dot, inverse := l.view.lanes(l.meanDY, p), l.view.lanes(l.meanDot, p), l.view.lanes(l.inverse, p)
		asm.StandardizeBackward(&mean, &dot, &inverse, j.y[p.at:p.at+p.n], j.dy[p.at:p.at+p.n], j.dx[p.at:p.at+p.n])
		return
	}
	mean, dot, inverse := l.meanDY[p.channel:][:p.width], l.meanDot[p.channel:][:p.width], l.inverse[p.channel:][:p.width]
	for at := p.at; at < p.at+p.n/p.width*p.stride; at += p.stride {
		y, dy, dx := j.y[at:][:len(mean)], j.dy[at:][:len(mean)], j.dx[at:][:len(mean)]
		for i, m := range mean {
			dx[i] = (dy[i] - m - float32(y[i]*dot[i])) * inverse[i]
		}
	}
}
