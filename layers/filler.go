package layers

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strings"

	"crema/internal/par"
	"crema/internal/rng"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// fillChunk is the number of consecutive elements that share a random stream.
// It is part of what a seed means: changing it changes every initial weight.
const fillChunk = 1 << 14

// A fillFunc fills the whole of a blob from the streams under key.
type fillFunc func(b *tensor.Blob, p *caffepb.FillerParameter, key uint64) error

var fillers = map[string]fillFunc{
	"constant":          fillConstant,
	"uniform":           fillUniform,
	"gaussian":          fillGaussian,
	"positive_unitball": fillPositiveUnitball,
	"xavier":            fillXavier,
	"msra":              fillMSRA,
	"bilinear":          fillBilinear,
}

// fill sets the values of a blob as a filler message says (Caffe's
// include/caffe/filler.hpp). Equal keys give equal values, on any number of
// threads. The fields read, by type (default "constant"):
//
//	constant           value (0)
//	uniform            min (0), max (1): U[min, max]
//	gaussian           mean (0), std (1), sparse (-1, dense): N(mean, std²);
//	                   with sparse ≥ 0 an element is kept with probability
//	                   sparse/shape[0] and zero otherwise
//	positive_unitball  U[0, 1], each slice along axis 0 scaled to sum 1
//	xavier             variance_norm (FAN_IN): U[±√(3/n)] (Glorot, Bengio 2010)
//	msra               variance_norm (FAN_IN): N(0, 2/n) (He et al. 2015)
//	bilinear           interpolation weights for a square 4-D kernel
//
// where n is the fan-in count/shape[0], the fan-out count/shape[1] (count for
// a vector) or their mean. A type does not read the fields of the others
// (xavier ignores std, as in Caffe), except that sparse is refused.
func fill(b *tensor.Blob, p *caffepb.FillerParameter, key uint64) error {
	if err := checkFiller(p); err != nil {
		return err
	}
	if b.Count() == 0 {
		return fmt.Errorf("%s filler: a blob of shape %s has no elements", p.GetType(), tensor.FormatShape(b.Shape()))
	}
	if err := fillers[p.GetType()](b, p, key); err != nil {
		return fmt.Errorf("%s filler: %w", p.GetType(), err)
	}
	return nil
}

// checkFiller reports what is wrong with a filler message whatever the blob.
func checkFiller(p *caffepb.FillerParameter) error {
	t := p.GetType()
	if fillers[t] == nil {
		var known []string
		for n := range fillers {
			known = append(known, n)
		}
		sort.Strings(known)
		return fmt.Errorf("unknown filler type %q (known: %s)", t, strings.Join(known, ", "))
	}
	// The negated comparisons also catch NaN.
	switch {
	case t != "gaussian" && p.GetSparse() != -1:
		return fmt.Errorf("%s filler: sparse is only for gaussian", t)
	case p.GetSparse() < -1:
		return fmt.Errorf("gaussian filler: sparse must be -1 or more, not %d", p.GetSparse())
	case t == "gaussian" && !(p.GetStd() > 0):
		return fmt.Errorf("gaussian filler: std must be positive, not %g", p.GetStd())
	case t == "uniform" && !(p.GetMin() <= p.GetMax()):
		return fmt.Errorf("uniform filler: min %g is greater than max %g", p.GetMin(), p.GetMax())
	}
	return nil
}

// fillRandom calls f on fixed chunks of the blob, each with the stream of its
// number, so that values do not depend on how chunks are spread over threads.
func fillRandom(b *tensor.Blob, key uint64, f func(dst []float32, r *rand.Rand)) {
	d := b.Data()
	par.For((len(d)+fillChunk-1)/fillChunk, 1, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			f(d[c*fillChunk:min((c+1)*fillChunk, len(d))], rng.New(key, "filler", uint64(c)))
		}
	})
}

func fillConstant(b *tensor.Blob, p *caffepb.FillerParameter, _ uint64) error {
	d, v := b.Data(), p.GetValue()
	par.For(len(d), elemGrain, func(lo, hi int) {
		for i := range d[lo:hi] {
			d[lo+i] = v
		}
	})
	return nil
}

// uniform fills b from U[lo, hi].
func uniform(b *tensor.Blob, key uint64, lo, hi float64) {
	fillRandom(b, key, func(dst []float32, r *rand.Rand) {
		for i := range dst {
			dst[i] = float32(lo + (hi-lo)*r.Float64())
		}
	})
}

// gaussian fills b from N(mean, std²).
func gaussian(b *tensor.Blob, key uint64, mean, std float64) {
	fillRandom(b, key, func(dst []float32, r *rand.Rand) {
		for i := range dst {
			dst[i] = float32(mean + std*r.NormFloat64())
		}
	})
}

func fillUniform(b *tensor.Blob, p *caffepb.FillerParameter, key uint64) error {
	uniform(b, key, float64(p.GetMin()), float64(p.GetMax()))
	return nil
}

func fillGaussian(b *tensor.Blob, p *caffepb.FillerParameter, key uint64) error {
	mean, std := float64(p.GetMean()), float64(p.GetStd())
	if p.GetSparse() < 0 {
		gaussian(b, key, mean, std)
		return nil
	}
	if b.Axes() == 0 {
		return errors.New("sparse needs a blob with at least one axis")
	}
	keep := float64(p.GetSparse()) / float64(b.Dim(0))
	if keep > 1 {
		return fmt.Errorf("sparse is %d but the blob of shape %s has only %d outputs", p.GetSparse(), tensor.FormatShape(b.Shape()), b.Dim(0))
	}
	fillRandom(b, key, func(dst []float32, r *rand.Rand) {
		for i := range dst {
			v := float32(mean + std*r.NormFloat64())
			if r.Float64() >= keep {
				v = 0
			}
			dst[i] = v
		}
	})
	return nil
}

func fillPositiveUnitball(b *tensor.Blob, _ *caffepb.FillerParameter, key uint64) error {
	if b.Axes() == 0 {
		return errors.New("needs a blob with at least one axis")
	}
	uniform(b, key, 0, 1)
	d, dim := b.Data(), b.CountFrom(1)
	par.For(b.Dim(0), grainFor(dim), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := d[i*dim : (i+1)*dim]
			var sum float64
			for _, v := range row {
				sum += float64(v)
			}
			for j := range row {
				row[j] = float32(float64(row[j]) / sum)
			}
		}
	})
	return nil
}

// fan returns the n that xavier and msra divide by.
func fan(b *tensor.Blob, p *caffepb.FillerParameter) (float64, error) {
	if b.Axes() == 0 {
		return 0, errors.New("needs a blob with at least one axis")
	}
	in, out := b.Count()/b.Dim(0), b.Count()
	if b.Axes() > 1 {
		out = b.Count() / b.Dim(1)
	}
	switch p.GetVarianceNorm() {
	case caffepb.FillerParameter_FAN_IN:
		return float64(in), nil
	case caffepb.FillerParameter_FAN_OUT:
		return float64(out), nil
	case caffepb.FillerParameter_AVERAGE:
		return float64(in+out) / 2, nil
	}
	return 0, fmt.Errorf("unknown variance_norm %v", p.GetVarianceNorm())
}

func fillXavier(b *tensor.Blob, p *caffepb.FillerParameter, key uint64) error {
	n, err := fan(b, p)
	if err != nil {
		return err
	}
	s := math.Sqrt(3 / n)
	uniform(b, key, -s, s)
	return nil
}

func fillMSRA(b *tensor.Blob, p *caffepb.FillerParameter, key uint64) error {
	n, err := fan(b, p)
	if err != nil {
		return err
	}
	gaussian(b, key, 0, math.Sqrt(2/n))
	return nil
}

func fillBilinear(b *tensor.Blob, _ *caffepb.FillerParameter, _ uint64) error {
	if b.Axes() != 4 || b.Dim(2) != b.Dim(3) {
		return fmt.Errorf("needs a 4-D blob with a square kernel, not shape %s", tensor.FormatShape(b.Shape()))
	}
	d, k := b.Data(), b.Dim(3)
	f := float64((k + 1) / 2)
	c := float64(k-1) / (2 * f)
	tent := func(i int) float64 { return 1 - math.Abs(float64(i)/f-c) }
	for i := range d {
		d[i] = float32(tent(i%k) * tent(i/k%k))
	}
	return nil
}
