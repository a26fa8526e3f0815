package layers

import (
	"math"
	"testing"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

// A gradCheck compares Backward with central differences, as Caffe's
// test_gradient_check_util.hpp does, but for the whole Jacobian: one Backward
// for each element of each top (a row), two Forwards for each element of each
// bottom and parameter (a column). Sums are float64; the layer itself computes
// in float32, which is what the step and the threshold are for.
type gradCheck struct {
	step, threshold float64 // 0: 1e-2, 1e-3
	skipBottom      []int   // labels
	skipTop         []int   // tops without gradient
	skipParams      bool    // parameters that are not learned
	kink            float64 // features with |x| ≤ kink are not checked
}

func contains(s []int, v int) bool {
	for _, x := range s {
		if x == v {
			return true
		}
	}
	return false
}

func (g gradCheck) run(t *testing.T, l Layer, bottom, top []*tensor.Blob) {
	t.Helper()
	if g.step == 0 {
		g.step = 1e-2
	}
	if g.threshold == 0 {
		g.threshold = 1e-3
	}
	// Random layers draw the same numbers every time, recurrent ones start from
	// the same state.
	var start *caffepb.LayerCursor
	if s, ok := l.(Stateful); ok {
		start = s.Cursor()
		start.Forwards = new(uint64)
	}
	pass := func() {
		t.Helper()
		if start != nil {
			if err := l.(Stateful).SetCursor(start); err != nil {
				t.Fatal(err)
			}
		}
		forward(t, l, bottom, top)
	}
	down := make([]bool, len(bottom))
	var inputs []*tensor.Blob // that are checked
	for i, b := range bottom {
		if down[i] = !contains(g.skipBottom, i); down[i] {
			inputs = append(inputs, b)
		}
	}
	nBottoms := len(inputs)
	if !g.skipParams {
		inputs = append(inputs, l.Params()...)
	}

	// rows[r][input][feature]
	pass()
	var rows [][][]float64
	for i, top1 := range top {
		if contains(g.skipTop, i) {
			continue
		}
		for j := range top1.Count() {
			for _, o := range top {
				clear(o.Diff())
			}
			// 2, so that a layer that ignores its top's gradient is caught.
			top1.Diff()[j] = 2
			for k, in := range inputs {
				d := in.Diff()
				for m := range d {
					// What Backward must overwrite, and what it must add to.
					if d[m] = 1; k < nBottoms {
						d[m] = float32(math.NaN())
					}
				}
			}
			// A gradient shared with the top was just made NaN: set it again.
			for _, o := range top {
				clear(o.Diff())
			}
			top1.Diff()[j] = 2
			if err := l.Backward(top, down, bottom); err != nil {
				t.Fatalf("Backward: %v", err)
			}
			var row [][]float64
			for k, in := range inputs {
				v := make([]float64, in.Count())
				for m, d := range in.Diff() {
					if v[m] = float64(d); k >= nBottoms {
						v[m]--
					}
				}
				row = append(row, v)
			}
			rows = append(rows, row)
		}
	}
	outputs := func() []float64 {
		pass()
		var v []float64
		for i, o := range top {
			if !contains(g.skipTop, i) {
				for _, x := range o.Data() {
					v = append(v, 2*float64(x))
				}
			}
		}
		return v
	}
	for k, in := range inputs {
		for m := range in.Count() {
			x := in.Data()[m]
			if math.Abs(float64(x)) <= g.kink {
				continue
			}
			hi, lo := x+float32(g.step), x-float32(g.step)
			in.Data()[m] = hi
			plus := outputs()
			in.Data()[m] = lo
			minus := outputs()
			in.Data()[m] = x
			for r, row := range rows {
				// The step as float32 took it.
				estimate := (plus[r] - minus[r]) / (float64(hi) - float64(lo))
				got := row[k][m]
				scale := max(math.Abs(estimate), math.Abs(got), 1)
				if !(math.Abs(got-estimate) <= g.threshold*scale) {
					t.Fatalf("gradient of output %d for input blob %d, element %d (%v): %v, by differences %v", r, k, m, x, got, estimate)
				}
			}
		}
	}
}

// checkGradient makes a layer in the TRAIN phase and checks it.
func checkGradient(t *testing.T, g gradCheck, text string, bottom []*tensor.Blob, tops int) {
	t.Helper()
	l, top := newLayer(t, testContext(train), text, bottom, tops)
	g.run(t, l, bottom, top)
}
