// Package summary describes many values by a few.
package summary

import "math"

// A Summary describes a set of values. Non-finite values are counted and
// otherwise left out of all figures.
type Summary struct {
	// Count is the number of values looked at, finite or not.
	Count int `json:"count"`
	// NaN and Inf count the values that are not finite.
	NaN int `json:"nan,omitempty"`
	Inf int `json:"inf,omitempty"`
	// Min, Max, Mean and RMS (the root of the mean square) are of the finite
	// values, 0 if there are none.
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
	RMS  float64 `json:"rms"`
	// Zero and Negative are the shares of the finite values that are 0 and
	// below 0.
	Zero     float64 `json:"zero"`
	Negative float64 `json:"negative"`
}

// Std returns the standard deviation.
func (s Summary) Std() float64 {
	return math.Sqrt(max(0, s.RMS*s.RMS-s.Mean*s.Mean))
}

// Finite reports whether all values were.
func (s Summary) Finite() bool { return s.NaN == 0 && s.Inf == 0 }

// chunk is how many values in a row Of reads when it does not read all: a few
// cache lines, so that memory is read no faster than it must be.
const chunk = 64

// Of describes v. If limit > 0 and v is longer, it looks only at about limit of
// the values, in runs spread evenly over v.
func Of(v []float32, limit int) Summary {
	var a accumulator
	Each(v, limit, a.add)
	return a.summary()
}

// Each calls f with the parts of v that Of looks at.
func Each(v []float32, limit int, f func([]float32)) {
	if limit <= 0 || len(v) <= limit {
		f(v)
		return
	}
	runs := max(1, limit/chunk)
	for i := range runs {
		lo := int(int64(i) * int64(len(v)-chunk) / int64(max(1, runs-1)))
		lo = min(lo, len(v)-chunk)
		f(v[lo : lo+chunk])
	}
}

type accumulator struct {
	n, nan, inf, zero, negative int
	min, max                    float32
	sum, squares                float64
}

func (a *accumulator) add(v []float32) {
	if len(v) == 0 {
		return
	}
	if a.n == a.nan+a.inf {
		a.min, a.max = float32(math.Inf(1)), float32(math.Inf(-1))
	}
	a.n += len(v)
	for _, x := range v {
		// The bits of ±0, and of what is not finite, without branches on floats.
		switch b := math.Float32bits(x) &^ (1 << 31); {
		case b == 0:
			a.zero++
		case b > 0x7f800000:
			a.nan++
			continue
		case b == 0x7f800000:
			a.inf++
			continue
		case x < 0:
			a.negative++
		}
		a.min, a.max = min(a.min, x), max(a.max, x)
		a.sum += float64(x)
		a.squares += float64(x) * float64(x)
	}
}

func (a *accumulator) summary() Summary {
	s := Summary{Count: a.n, NaN: a.nan, Inf: a.inf}
	n := a.n - a.nan - a.inf
	if n == 0 {
		return s
	}
	f := float64(n)
	s.Min, s.Max = float64(a.min), float64(a.max)
	s.Mean, s.RMS = a.sum/f, math.Sqrt(a.squares/f)
	s.Zero, s.Negative = float64(a.zero)/f, float64(a.negative)/f
	return s
}

// A Histogram counts values in bins of equal width: bin i has those in
// [Low + i·Width, Low + (i+1)·Width), the last bin also the largest value.
type Histogram struct {
	Low    float64 `json:"low"`
	Width  float64 `json:"width"`
	Counts []int   `json:"counts"`
}

// HistogramOf counts the finite values among those of v that Of looks at in
// the given number of bins between the smallest and the largest.
func HistogramOf(v []float32, limit, bins int) Histogram {
	s := Of(v, limit)
	h := Histogram{Low: s.Min, Width: (s.Max - s.Min) / float64(bins), Counts: make([]int, bins)}
	Each(v, limit, func(part []float32) {
		for _, x := range part {
			x := float64(x)
			if math.IsNaN(x) || math.IsInf(x, 0) {
				continue
			}
			i := 0
			if h.Width > 0 {
				i = min(int((x-h.Low)/h.Width), bins-1)
			}
			h.Counts[i]++
		}
	})
	return h
}
