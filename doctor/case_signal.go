package doctor

import (
	"math"

	"crema/prototxt/caffepb"
)

// A signal describes what a blob holds in a net with fresh weights, over its
// units and over pictures: the mean over both, the mean square of what is the
// same for all pictures, and the variance between pictures. Only the latter can
// be learned from.
type signal struct {
	known        bool
	mean         float64 // part of fixed
	fixed, image float64
}

// rms returns the root of the mean square.
func (s signal) rms() float64 { return math.Sqrt(s.fixed + s.image) }

// imageRMS returns the RMS of what differs between pictures.
func (s signal) imageRMS() float64 { return math.Sqrt(s.image) }

// times returns the signal multiplied by f.
func (s signal) times(f float64) signal {
	return signal{s.known, s.mean * f, s.fixed * f * f, s.image * f * f}
}

// Max pooling over a few neighbours, whose values in images and in their
// features are much alike, raises the RMS by about this factor (measured in
// VGG-16 and smaller nets), averaging over n of them keeps about n^-0.3 of the
// variance.
const (
	maxPoolGain   = 1.15
	avePoolFallen = 0.3
)

// followSignal works out what each blob of the net holds before training, with
// the mean-field theory of nets with random weights: a layer's outputs before
// its nonlinearity are taken as normally distributed, with the variance that its
// fillers give (Poole et al. 2016, Schoenholz et al. 2017). Behind a layer whose
// effect is not known nothing is.
func (c *Case) followSignal(n *Net) {
	for _, l := range n.layers {
		if len(l.tops) == 0 {
			continue
		}
		s := c.signalOf(l)
		if l.GetType() == "Split" || l.GetType() == "Slice" {
			for _, t := range l.tops {
				t.signal = s
			}
		}
		l.tops[0].signal = s
	}
}

// signalOf returns the signal of l's first top.
func (c *Case) signalOf(l *layer) signal {
	if in, ok := c.input(l); ok {
		return in.signal
	}
	if len(l.bottoms) == 0 {
		return signal{}
	}
	in := l.bottoms[0].signal
	for _, b := range l.bottoms {
		if !b.signal.known && (l.GetType() == "Eltwise" || l.GetType() == "Concat") {
			return signal{}
		}
	}
	if f := activation(l); f != nil {
		return in.through(f)
	}
	if !in.known {
		if l.GetType() == "BatchNorm" {
			return signal{known: true, image: 1}
		}
		return signal{}
	}
	if w, ok := weightsOf(l); ok {
		if l.interpolates() && w.groups == w.outputs {
			return in // it only makes maps larger
		}
		return in.weighed(l, w)
	}
	switch l.GetType() {
	case "Split", "Slice", "Dropout", "Flatten", "Reshape", "Crop", "Tile":
		return in
	case "Pooling":
		return in.pooled(l)
	case "BatchNorm", "MVN":
		return signal{known: true, image: 1}
	case "LRN":
		p := l.GetLrnParam()
		return in.times(math.Pow(float64(p.GetK())+float64(p.GetAlpha())*(in.fixed+in.image), -float64(p.GetBeta())))
	case "Scale":
		if len(l.bottoms) > 1 {
			return signal{}
		}
		f := 1.0
		if p := l.GetScaleParam().GetFiller(); p != nil {
			mean, variance, ok := fillerMoments(p, 0, 0, 1)
			if !ok {
				return signal{}
			}
			f = math.Sqrt(mean*mean + variance)
		}
		return in.times(f)
	case "Power":
		p := l.GetPowerParam()
		if p.GetPower() != 1 {
			return signal{}
		}
		out := in.times(float64(p.GetScale()))
		return out.shifted(float64(p.GetShift()))
	case "Concat":
		return mixed(l.bottoms)
	case "Eltwise":
		return combined(l)
	}
	return signal{}
}

// shifted adds a constant to every unit.
func (s signal) shifted(by float64) signal {
	s.fixed += by*by + 2*by*s.mean
	s.mean += by
	return s
}

// mixed returns the signal of units of several blobs together.
func mixed(bs []*blob) signal {
	out, all := signal{known: true}, 0.0
	for _, b := range bs {
		n := 1.0
		if len(b.shape) > 1 && b.shape[1] > 0 {
			n = float64(b.shape[1])
		}
		all += n
		out.mean += n * b.signal.mean
		out.fixed += n * b.signal.fixed
		out.image += n * b.signal.image
	}
	out.mean, out.fixed, out.image = out.mean/all, out.fixed/all, out.image/all
	return out
}

// combined returns the signal of an element-wise sum; that of a product or a
// maximum is not followed.
func combined(l *layer) signal {
	p := l.GetEltwiseParam()
	if p.GetOperation() != caffepb.EltwiseParameter_SUM {
		return signal{}
	}
	out := signal{known: true}
	spread := 0.0 // of the fixed parts about their means, which are not correlated
	for i, b := range l.bottoms {
		f := 1.0
		if i < len(p.Coeff) {
			f = float64(p.Coeff[i])
		}
		s := b.signal.times(f)
		out.mean += s.mean
		spread += s.fixed - s.mean*s.mean
		out.image += s.image
	}
	out.fixed = out.mean*out.mean + spread
	return out
}

// weighed returns the signal behind a layer with fresh weights.
func (s signal) weighed(l *layer, w weighing) signal {
	mean, variance, ok := fillerMoments(w.weight, w.fanIn, w.fanOut, w.outputs)
	out := signal{known: true}
	switch {
	case ok && w.reach > 0:
		n := w.reach * inside(l)
		// What sums with weights of one sign varies together, between pictures
		// as between units.
		out = signal{true, mean * n * s.mean, n * variance * s.fixed, n*variance*s.image + mean*mean*n*n*s.image/10}
		out.fixed += out.mean * out.mean
	case w.weight.GetType() == "xavier" || w.weight.GetType() == "msra":
		// Their gain does not depend on the fan-in they divide by.
		if w.weight.GetVarianceNorm() != caffepb.FillerParameter_FAN_IN {
			return signal{}
		}
		g := inside(l)
		if w.weight.GetType() == "msra" {
			g *= 2
		}
		out = signal{true, 0, g * s.fixed, g * s.image}
	default:
		return signal{}
	}
	if w.hasBias {
		b, v, ok := fillerMoments(w.bias, 0, 0, 0)
		if !ok {
			return signal{}
		}
		out = out.shifted(b)
		out.fixed += v
	}
	return out
}

// inside returns the share of a convolution's taps that lie inside the picture
// and not in its padding, on average over positions.
func inside(l *layer) float64 {
	in := l.bottoms[0].shape
	if l.GetType() != "Convolution" || len(in) != 4 || len(l.tops) == 0 || len(l.tops[0].shape) != 4 {
		return 1
	}
	h, w := convWindows(l.GetConvolutionParam())
	share := 1.0
	for i, v := range []window{h, w} {
		size, out := in[2+i], l.tops[0].shape[2+i]
		if size <= 0 || out <= 0 {
			return 1
		}
		taps := 0
		for y := range out {
			for k := range v.kernel {
				if p := y*v.stride - v.pad + k*v.dilation; p >= 0 && p < size {
					taps++
				}
			}
		}
		share *= float64(taps) / float64(out*v.kernel)
	}
	return share
}

// pooled returns the signal behind a pooling layer.
func (s signal) pooled(l *layer) signal {
	p := l.GetPoolingParam()
	in := l.bottoms[0].shape
	if p.GetGlobalPooling() && len(in) != 4 {
		return signal{}
	}
	h, w := poolWindows(p, in)
	n := float64(h.kernel * w.kernel)
	if n <= 1 {
		return s
	}
	if p.GetPool() == caffepb.PoolingParameter_AVE {
		s.image *= math.Pow(n, -avePoolFallen)
		return s
	}
	all := (s.fixed + s.image) * (maxPoolGain*maxPoolGain - 1)
	up := math.Sqrt(s.mean*s.mean+all/2) - s.mean
	s = s.shifted(up)
	s.image += all / 2
	return s
}

// fillerMoments returns mean and variance of the values that a filler gives a
// blob of so many outputs; false if they are not known.
func fillerMoments(p *caffepb.FillerParameter, fanIn, fanOut, outputs int) (mean, variance float64, ok bool) {
	switch p.GetType() {
	case "constant":
		return float64(p.GetValue()), 0, true
	case "uniform":
		lo, hi := float64(p.GetMin()), float64(p.GetMax())
		return (lo + hi) / 2, (hi - lo) * (hi - lo) / 12, true
	case "gaussian":
		mean, sd := float64(p.GetMean()), float64(p.GetStd())
		if s := float64(p.GetSparse()); s >= 0 && outputs > 0 {
			keep := min(1, s/float64(outputs))
			return keep * mean, keep*(sd*sd+mean*mean) - keep*keep*mean*mean, true
		}
		return mean, sd * sd, true
	case "xavier", "msra":
		n := float64(fanIn)
		switch p.GetVarianceNorm() {
		case caffepb.FillerParameter_FAN_OUT:
			n = float64(fanOut)
		case caffepb.FillerParameter_AVERAGE:
			n = float64(fanIn+fanOut) / 2
		}
		if fanIn == 0 || n == 0 {
			return 0, 0, false
		}
		if p.GetType() == "msra" {
			return 0, 2 / n, true
		}
		return 0, 1 / n, true
	case "positive_unitball":
		if fanIn == 0 {
			return 0, 0, false
		}
		n := float64(fanIn)
		return 1 / n, 1 / (3 * n * n), true
	}
	return 0, 0, false
}

// activation returns the nonlinearity that a layer applies to each element,
// nil if it is none.
func activation(l *layer) func(float64) float64 {
	switch l.GetType() {
	case "ReLU":
		return leaky(float64(l.GetReluParam().GetNegativeSlope()))
	case "PReLU":
		slope := 0.25
		if p := l.GetPreluParam().GetFiller(); p != nil {
			slope = float64(p.GetValue())
		}
		return leaky(slope)
	case "ELU":
		a := float64(l.GetEluParam().GetAlpha())
		return func(x float64) float64 {
			if x > 0 {
				return x
			}
			return a * math.Expm1(x)
		}
	case "Sigmoid":
		return func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	case "TanH":
		return math.Tanh
	case "BNLL":
		return func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
	case "AbsVal":
		return math.Abs
	case "Swish":
		b := float64(l.GetSwishParam().GetBeta())
		return func(x float64) float64 { return x / (1 + math.Exp(-b*x)) }
	case "Clip":
		lo, hi := float64(l.GetClipParam().GetMin()), float64(l.GetClipParam().GetMax())
		return func(x float64) float64 { return max(lo, min(hi, x)) }
	}
	return nil
}

func leaky(slope float64) func(float64) float64 {
	return func(x float64) float64 {
		if x > 0 {
			return x
		}
		return slope * x
	}
}

// quadrature has points and weights for means over a standard normal
// distribution.
var quadrature = func() (q [][2]float64) {
	const reach, step = 6, 0.1
	sum := 0.0
	for x := -float64(reach); x <= reach; x += step {
		w := math.Exp(-x * x / 2)
		q = append(q, [2]float64{x, w})
		sum += w
	}
	for i := range q {
		q[i][1] /= sum
	}
	return q
}()

// through returns the signal behind a nonlinearity: a unit's mean over pictures
// is drawn for the unit, its value for the picture.
func (s signal) through(f func(float64) float64) signal {
	if !s.known {
		return s
	}
	out := signal{known: true}
	between := math.Sqrt(max(0, s.fixed-s.mean*s.mean))
	spread := s.imageRMS()
	for _, u := range quadrature {
		centre := s.mean + between*u[0]
		var m, sq float64
		for _, p := range quadrature {
			y := f(centre + spread*p[0])
			m += p[1] * y
			sq += p[1] * y * y
		}
		out.mean += u[1] * m
		out.fixed += u[1] * m * m
		out.image += u[1] * (sq - m*m)
		if between == 0 {
			out = signal{true, m, m * m, sq - m*m}
			break
		}
	}
	return out
}
