package layers

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "BatchNorm",
		New:     newBatchNorm,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// batchNorm gives every channel (axis 1) mean 0 and variance 1 (Caffe's
// batch_norm_layer.cpp): y = (x − mean)/√(variance + eps), also in place. Mean
// and variance are those of the batch, or with use_global_stats the moving
// averages that earlier batches left in the parameters. Those are three blobs:
// the sums of means and of variances (by m−1, m being the number of values), of
// C values each, and the sum of their weights, by which both are divided; if it
// is 0, mean and variance are 0. A forward pass with the batch's own statistics
// multiplies all three by moving_average_fraction and adds mean, variance and 1.
//
// The parameters are not learned: lr_mult is 0 unless given, and must be 0 if
// given. Fields of batch_norm_param:
//
//	use_global_stats (in the TEST phase)
//	moving_average_fraction (0.999)
//	eps (1e-5)
type batchNorm struct {
	base
	global   bool
	fraction float32
	eps      float64
	view     channelView
	// What the last Forward subtracted from each channel and multiplied it by.
	mean, inverse   []float32
	normalized      *tensor.Blob // the last top, unless global: later layers may overwrite it
	sums            [2][]float64
	meanDY, meanDot []float32 // of dy and dy·y, in Backward
	pass            batchNormPass
}

// batchNormPass does something for all pieces of x.
type batchNormPass struct {
	l                *batchNorm
	do               func(l *batchNorm, j *batchNormPass, p channelPiece)
	x, y, normalized []float32
}

// Do implements par.Job.
func (j *batchNormPass) Do(task int) {
	v := &j.l.view
	for i, end := v.each(task); i < end; i++ {
		j.do(j.l, j, v.piece(i))
	}
}

func newBatchNorm(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	bp := p.GetBatchNormParam()
	l := &batchNorm{
		base:       newBase(p, ctx),
		global:     ctx.Phase == caffepb.Phase_TEST,
		fraction:   bp.GetMovingAverageFraction(),
		eps:        float64(bp.GetEps()),
		normalized: tensor.New(),
	}
	if bp != nil && bp.UseGlobalStats != nil {
		l.global = bp.GetUseGlobalStats()
	}
	for i, s := range p.GetParam() {
		if s.GetLrMult() != 0 {
			return nil, fmt.Errorf("param %d: lr_mult must be 0, not %g: the parameters of BatchNorm are statistics of the data, which are not learned", i, s.GetLrMult())
		}
	}
	if f := bp.GetMovingAverageFraction(); !(f >= 0) || math.IsInf(float64(f), 0) {
		return nil, fmt.Errorf("batch_norm_param: moving_average_fraction must be 0 or more, not %g", f)
	}
	if e := bp.GetEps(); !(e >= 0) || math.IsInf(float64(e), 0) {
		return nil, fmt.Errorf("batch_norm_param: eps must be 0 or more, not %g", e)
	}
	l.warnUnused("batch_norm_param")
	return l, nil
}

// ParamSpecs implements ParamSpecifier.
func (l *batchNorm) ParamSpecs() []*caffepb.ParamSpec {
	specs := append([]*caffepb.ParamSpec(nil), l.p.GetParam()...)
	for len(specs) < len(l.params) {
		specs = append(specs, &caffepb.ParamSpec{LrMult: proto.Float32(0)})
	}
	return specs
}

// Setup creates the statistics, of no batch yet.
func (l *batchNorm) Setup(bottom, _ []*tensor.Blob) error {
	if bottom[0].Axes() < 2 {
		return fmt.Errorf("bottom %s has no channels (axis 1)", tensor.FormatShape(bottom[0].Shape()))
	}
	c := bottom[0].Dim(1)
	if c == 0 {
		return errors.New("the bottom has 0 channels")
	}
	for _, s := range []*[]float32{&l.mean, &l.inverse, &l.meanDY, &l.meanDot} {
		*s = make([]float32, c)
	}
	for i := range l.sums {
		l.sums[i] = make([]float64, c)
	}
	zero := &caffepb.FillerParameter{}
	return l.makeParams(
		paramSpec{"mean", []int{c}, zero},
		paramSpec{"variance", []int{c}, zero},
		paramSpec{"scale factor", []int{1}, zero},
	)
}

func (l *batchNorm) Reshape(bottom, top []*tensor.Blob) error {
	b := bottom[0]
	if b.Axes() < 2 || b.Dim(1) != len(l.mean) {
		return fmt.Errorf("bottom %s does not have %d channels (axis 1), for which the statistics are", tensor.FormatShape(b.Shape()), len(l.mean))
	}
	top[0].ReshapeLike(b)
	l.view.shape(b, b.Dim(0), b.Dim(1), b.CountFrom(2))
	if !l.global {
		l.normalized.ReshapeLike(b)
		l.view.makePartials(2)
	}
	return nil
}

// Fit implements LayoutTaker.
func (l *batchNorm) Fit(in, out tensor.Layout) Fit { return sameLayout(in, out) }

func (l *batchNorm) Forward(bottom, top []*tensor.Blob) error {
	x := bottom[0].ReadData()
	if l.global {
		l.globalStatistics()
		l.run(batchNormPass{do: (*batchNorm).normalize, x: x, y: top[0].Data()})
		return nil
	}
	if len(x) == 0 {
		return nil // a batch of none leaves no trace
	}
	l.run(batchNormPass{do: (*batchNorm).moments, x: x})
	l.batchStatistics(len(x) / len(l.mean))
	l.run(batchNormPass{do: (*batchNorm).normalize, x: x, y: top[0].Data(), normalized: l.normalized.Data()})
	return nil
}

func (l *batchNorm) run(j batchNormPass) {
	l.pass = j
	l.pass.l = l
	l.view.run(&l.pass)
	l.pass = batchNormPass{}
}

// globalStatistics takes mean and inverse from the parameters.
func (l *batchNorm) globalStatistics() {
	factor := float64(l.params[2].ReadData()[0])
	if factor != 0 {
		factor = 1 / factor
	}
	mean, variance := l.params[0].ReadData(), l.params[1].ReadData()
	for c := range l.mean {
		l.mean[c] = float32(factor * float64(mean[c]))
		l.inverse[c] = float32(1 / math.Sqrt(factor*float64(variance[c])+l.eps))
	}
}

// batchStatistics takes mean and inverse from what moments left, of m values
// for each channel, and adds the batch to the parameters.
func (l *batchNorm) batchStatistics(m int) {
	l.view.sums(0, l.sums[0])
	l.view.sums(1, l.sums[1])
	factor, mean, variance := l.params[2].Data(), l.params[0].Data(), l.params[1].Data()
	factor[0] = factor[0]*l.fraction + 1
	n := float64(m)
	for c := range l.mean {
		mu := l.sums[0][c] / n
		// Rounding may leave a little below 0; a NaN stays.
		sigma2 := max(l.sums[1][c]/n-mu*mu, 0)
		l.mean[c] = float32(mu)
		l.inverse[c] = float32(1 / math.Sqrt(sigma2+l.eps))
		mean[c] = float32(mu) + l.fraction*mean[c]
		variance[c] = float32(sigma2*n/max(n-1, 1)) + l.fraction*variance[c]
	}
}

func (l *batchNorm) moments(j *batchNormPass, p channelPiece) { l.view.moments(p, j.x) }

// normalize computes y = (x − mean)·inverse, twice where it is to be kept.
func (l *batchNorm) normalize(j *batchNormPass, p channelPiece) {
	keep := j.normalized
	if keep == nil {
		keep = j.y
	}
	if l.view.form == inRows {
		x := j.x[p.at : p.at+p.n]
		y, keep := j.y[p.at:][:len(x)], keep[p.at:][:len(x)]
		mean, inverse := l.mean[p.channel], l.inverse[p.channel]
		for i, x := range x {
			n := (x - mean) * inverse
			y[i], keep[i] = n, n
		}
		return
	}
	var mv, iv channelVector
	l.view.vector(&mv, l.mean, p)
	l.view.vector(&iv, l.inverse, p)
	for at, left := p.at, p.n; left > 0; at, left = at+p.stride, left-p.width {
		x := j.x[at : at+min(p.width, left)]
		y, keep, mv, iv := j.y[at:][:len(x)], keep[at:][:len(x)], mv[:len(x)], iv[:len(x)]
		for i, x := range x {
			n := (x - mv[i]) * iv[i]
			y[i], keep[i] = n, n
		}
	}
}

// Backward: dx = dy·inverse for global statistics. Those of the batch depend on
// x: dx = (dy − mean(dy) − y·mean(dy·y))·inverse.
func (l *batchNorm) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	dy := top[0].Diff()
	if !propagateDown[0] || len(dy) == 0 {
		return nil
	}
	dx := bottom[0].Diff()
	if l.global {
		l.run(batchNormPass{do: (*batchNorm).scale, x: dy, y: dx})
		return nil
	}
	y := l.normalized.ReadData()
	l.run(batchNormPass{do: (*batchNorm).gradientSums, x: dy, normalized: y})
	n := float64(len(dy) / len(l.mean))
	for i, mean := range [][]float32{l.meanDY, l.meanDot} {
		l.view.sums(i, l.sums[i])
		for c, s := range l.sums[i] {
			mean[c] = float32(s / n)
		}
	}
	l.run(batchNormPass{do: (*batchNorm).gradient, x: dy, normalized: y, y: dx})
	return nil
}

func (l *batchNorm) scale(j *batchNormPass, p channelPiece) {
	l.view.affine(p, l.inverse, nil, j.x, j.y)
}

func (l *batchNorm) gradientSums(j *batchNormPass, p channelPiece) {
	l.view.products(p, j.x, j.normalized)
}

func (l *batchNorm) gradient(j *batchNormPass, p channelPiece) {
	if l.view.form == inRows {
		dy := j.x[p.at : p.at+p.n]
		dx, y := j.y[p.at:][:len(dy)], j.normalized[p.at:][:len(dy)]
		m, d, inverse := l.meanDY[p.channel], l.meanDot[p.channel], l.inverse[p.channel]
		for i, g := range dy {
			dx[i] = (g - m - y[i]*d) * inverse
		}
		return
	}
	var mv, dv, iv channelVector
	l.view.vector(&mv, l.meanDY, p)
	l.view.vector(&dv, l.meanDot, p)
	l.view.vector(&iv, l.inverse, p)
	for at, left := p.at, p.n; left > 0; at, left = at+p.stride, left-p.width {
		dy := j.x[at : at+min(p.width, left)]
		dx, y := j.y[at:][:len(dy)], j.normalized[at:][:len(dy)]
		mv, dv, iv := mv[:len(dy)], dv[:len(dy)], iv[:len(dy)]
		for i, g := range dy {
			dx[i] = (g - mv[i] - y[i]*dv[i]) * iv[i]
		}
	}
}
