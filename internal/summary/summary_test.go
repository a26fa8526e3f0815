package summary

import (
	"math"
	"testing"
)

func TestOf(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name string
		v    []float32
		want Summary
	}{
		{"empty", nil, Summary{}},
		{"one", []float32{-3}, Summary{Count: 1, Min: -3, Max: -3, Mean: -3, RMS: 3, Negative: 1}},
		{"mixed", []float32{0, 3, -4, 0, 5, 0, float32(math.Copysign(0, -1)), -2},
			Summary{Count: 8, Min: -4, Max: 5, Mean: 0.25, RMS: math.Sqrt(54. / 8), Zero: 0.5, Negative: 0.25}},
		{"not finite", []float32{nan, 2, inf, -inf, 4}, Summary{Count: 5, NaN: 1, Inf: 2, Min: 2, Max: 4, Mean: 3, RMS: math.Sqrt(10)}},
		{"only NaN", []float32{nan, nan}, Summary{Count: 2, NaN: 2}},
	} {
		if got := Of(c.v, 0); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestSampled checks that a sample reaches both ends and describes the whole.
func TestSampled(t *testing.T) {
	v := make([]float32, 1_000_003)
	for i := range v {
		v[i] = float32(math.Sin(float64(i)))
	}
	v[0], v[len(v)-1] = -9, 9
	s := Of(v, 1<<14)
	if s.Count != 1<<14 || s.Min != -9 || s.Max != 9 {
		t.Errorf("looked at %d values between %g and %g, want %d between -9 and 9", s.Count, s.Min, s.Max, 1<<14)
	}
	if math.Abs(s.RMS-math.Sqrt(0.5)) > 0.01 || math.Abs(s.Mean) > 0.01 {
		t.Errorf("RMS %g and mean %g, want about %g and 0", s.RMS, s.Mean, math.Sqrt(0.5))
	}
}

func TestHistogram(t *testing.T) {
	h := HistogramOf([]float32{0, 1, 1.5, 2, 4, float32(math.NaN())}, 0, 4)
	want := []int{1, 2, 1, 1}
	for i, n := range h.Counts {
		if n != want[i] {
			t.Fatalf("counts %v, want %v", h.Counts, want)
		}
	}
	if h := HistogramOf([]float32{7, 7}, 0, 3); h.Counts[0] != 2 || h.Width != 0 {
		t.Errorf("equal values: %+v", h)
	}
}
