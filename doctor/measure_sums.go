package doctor

import (
	"math"

	"crema/internal/summary"
	"crema/tensor"
)

// sampled returns a copy of a spread sample of a blob's values.
func sampled(b *tensor.Blob) []float32 {
	var s []float32
	summary.Each(b.ReadData(), weightSample, func(v []float32) { s = append(s, v...) })
	return s
}

// merge makes a describe the values of both.
func merge(a *summary.Summary, b summary.Summary) {
	na, nb := a.Count-a.NaN-a.Inf, b.Count-b.NaN-b.Inf
	switch {
	case nb == 0:
	case na == 0:
		a.Min, a.Max, a.Mean, a.RMS, a.Zero, a.Negative = b.Min, b.Max, b.Mean, b.RMS, b.Zero, b.Negative
	default:
		wa, wb := float64(na)/float64(na+nb), float64(nb)/float64(na+nb)
		a.Min, a.Max = min(a.Min, b.Min), max(a.Max, b.Max)
		a.Mean = wa*a.Mean + wb*b.Mean
		a.RMS = math.Sqrt(wa*a.RMS*a.RMS + wb*b.RMS*b.RMS)
		a.Zero = wa*a.Zero + wb*b.Zero
		a.Negative = wa*a.Negative + wb*b.Negative
	}
	a.Count, a.NaN, a.Inf = a.Count+b.Count, a.NaN+b.NaN, a.Inf+b.Inf
}

// imageSums follows a sample of a blob's elements from image to image.
type imageSums struct {
	at           []int // offsets within an image
	sum, squares []float64
	n            int
}

// add takes in a batch of images that lie one after the other in v.
func (s *imageSums) add(v []float32, images int) {
	size := len(v) / images
	if s.at == nil {
		n := min(size, positions)
		for i := range n {
			s.at = append(s.at, int(int64(i)*int64(size)/int64(n)))
		}
		s.sum, s.squares = make([]float64, n), make([]float64, n)
	}
	for i := range images {
		row := v[i*size : (i+1)*size]
		for k, at := range s.at {
			if at >= len(row) {
				continue
			}
			x := float64(row[at])
			s.sum[k] += x
			s.squares[k] += x * x
		}
	}
	s.n += images
}

// deviation returns the root of the mean variance, and the same as a share of
// the RMS; NaN with fewer than two images.
func (s *imageSums) deviation() (across, share Number) {
	if s == nil || s.n < 2 || len(s.at) == 0 {
		return Number(math.NaN()), Number(math.NaN())
	}
	var variance, square float64
	n := float64(s.n)
	for k, sum := range s.sum {
		variance += max(0, s.squares[k]-sum*sum/n) / (n - 1)
		square += s.squares[k] / n
	}
	if square == 0 {
		return 0, 0
	}
	return Number(math.Sqrt(variance / float64(len(s.sum)))), Number(math.Sqrt(variance / square))
}
