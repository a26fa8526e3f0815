package plot

import (
	"math"
	"strconv"

	gplot "gonum.org/v1/plot"
)

// numbers marks a linear axis at round numbers.
type numbers struct{}

// Ticks implements gonum's Ticker.
func (numbers) Ticks(lo, hi float64) []gplot.Tick {
	step := roundStep((hi - lo) / 8)
	if !(step > 0) || math.IsInf(step, 0) {
		return nil
	}
	var ticks []gplot.Tick
	for i := math.Ceil(lo/step - 1e-9); i*step <= hi+1e-9*step; i++ {
		v := i * step
		if i == 0 {
			v = 0 // not -0
		}
		ticks = append(ticks, gplot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 6, 64)})
	}
	return ticks
}

// roundStep returns the smallest of 1, 2, 5 × 10^n that is at least v.
func roundStep(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= v*(1-1e-9) {
			return m * p
		}
	}
	return 10 * p
}

// decades marks a log axis at powers of ten, at as many as there is room for,
// and also between them where the axis spans few.
type decades struct{}

// Ticks implements gonum's Ticker.
func (decades) Ticks(lo, hi float64) []gplot.Tick {
	first, last := math.Log10(lo), math.Log10(hi)
	span := last - first
	if span < 0.7 {
		return numbers{}.Ticks(lo, hi)
	}
	every := max(1, int(math.Ceil(span/10)))
	var ticks []gplot.Tick
	for e := int(math.Floor(first)); e <= int(math.Ceil(last)); e++ {
		p := math.Pow(10, float64(e))
		for m := 1; m < 10; m++ {
			v := p * float64(m)
			if v < lo*(1-1e-9) || v > hi*(1+1e-9) {
				continue
			}
			t := gplot.Tick{Value: v}
			if m == 1 && e%every == 0 || span < 2.5 && (m == 2 || m == 5) {
				t.Label = strconv.FormatFloat(v, 'g', 3, 64)
			}
			if t.Label != "" || every == 1 || m == 1 {
				ticks = append(ticks, t)
			}
		}
	}
	return ticks
}

// names marks the positions 0, 1, 2 … with words.
type names []string

// Ticks implements gonum's Ticker.
func (n names) Ticks(lo, hi float64) []gplot.Tick {
	var ticks []gplot.Tick
	for i, s := range n {
		if v := float64(i); v >= lo && v <= hi {
			ticks = append(ticks, gplot.Tick{Value: v, Label: s})
		}
	}
	return ticks
}
