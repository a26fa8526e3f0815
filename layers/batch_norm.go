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
	scores   standardScores
}

func newBatchNorm(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	bp := p.GetBatchNormParam()
	l := &batchNorm{
		base:     newBase(p, ctx),
		global:   ctx.Phase == caffepb.Phase_TEST,
		fraction: bp.GetMovingAverageFraction(),
		eps:      float64(bp.GetEps()),
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
	zero := &caffepb.FillerParameter{}
	return l.makeParams(
		paramSpec{"mean", []int{c}, zero},
		paramSpec{"variance", []int{c}, zero},
		paramSpec{"scale factor", []int{1}, zero},
	)
}

func (l *batchNorm) Reshape(bottom, top []*tensor.Blob) error {
	b := bottom[0]
	if c := l.params[0].Count(); b.Axes() < 2 || b.Dim(1) != c {
		return fmt.Errorf("bottom %s does not have %d channels (axis 1), for which the statistics are", tensor.FormatShape(b.Shape()), c)
	}
	top[0].ReshapeLike(b)
	l.scores.shape(b.Dim(0), b.Dim(1), b.CountFrom(2), b.Layout() == tensor.Blocked)
	return nil
}

// Fit implements LayoutTaker.
func (l *batchNorm) Fit(in, out tensor.Layout) Fit { return sameLayout(in, out) }

func (l *batchNorm) Forward(bottom, top []*tensor.Blob) error {
	x := bottom[0].ReadData()
	if l.global {
		l.globalStatistics()
		l.scores.forward(x, top[0].Data(), false)
		return nil
	}
	if len(x) == 0 {
		return nil // a batch of none leaves no trace
	}
	l.batchStatistics(x)
	l.scores.forward(x, top[0].Data(), true)
	return nil
}

// globalStatistics takes mean and variance from the parameters.
func (l *batchNorm) globalStatistics() {
	factor := float64(l.params[2].ReadData()[0])
	if factor != 0 {
		factor = 1 / factor
	}
	mean, variance := l.params[0].ReadData(), l.params[1].ReadData()
	for c := range mean {
		l.scores.mean[c] = float32(factor * float64(mean[c]))
		l.scores.inverse[c] = float32(1 / math.Sqrt(factor*float64(variance[c])+l.eps))
	}
}

// batchStatistics takes them from x and adds them to the parameters.
func (l *batchNorm) batchStatistics(x []float32) {
	factor, mean, variance := l.params[2].Data(), l.params[0].Data(), l.params[1].Data()
	n := float64(len(x) / len(mean))
	factor[0] = factor[0]*l.fraction + 1
	means, variances := l.scores.moments(x)
	for c, mu := range means {
		l.scores.mean[c] = float32(mu)
		l.scores.inverse[c] = float32(1 / math.Sqrt(variances[c]+l.eps))
		mean[c] = float32(mu) + l.fraction*mean[c]
		variance[c] = float32(variances[c]*n/max(n-1, 1)) + l.fraction*variance[c]
	}
}

// Backward: dx = dy/√(variance + eps) for global statistics. Those of the batch
// depend on x, too.
func (l *batchNorm) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	switch {
	case !propagateDown[0]:
	case l.global:
		l.scores.scale(top[0].Diff(), bottom[0].Diff())
	default:
		l.scores.backward(top[0].Diff(), bottom[0].Diff())
	}
	return nil
}
