package layers

import (
	"fmt"
	"math"
	"testing"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func TestBatchNorm(t *testing.T) {
	x := blobOf(shape(2, 2, 2), 1, 2, 10, 10, 3, 6, 10, 10)
	l, top := newLayer(t, testContext(train), `type: "BatchNorm" batch_norm_param { eps: 0.5 moving_average_fraction: 0.5 }`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	// Means 3 and 10, variances 3.5 and 0.
	near(t, "values", 1e-6, top[0].Data(), -1, -0.5, 0, 0, 0, 1.5, 0, 0)
	near(t, "sum of means", 1e-6, l.Params()[0].Data(), 3, 10)
	near(t, "sum of variances", 1e-6, l.Params()[1].Data(), 14./3, 0)
	equal(t, "scale factor", l.Params()[2].Data(), 1)
	forward(t, l, blobs(x), top)
	near(t, "sum of means", 1e-6, l.Params()[0].Data(), 4.5, 15)
	near(t, "sum of variances", 1e-6, l.Params()[1].Data(), 7, 0)
	equal(t, "scale factor", l.Params()[2].Data(), 1.5)

	g, top := newLayer(t, testContext(test), `type: "BatchNorm" batch_norm_param { eps: 0 }`, blobs(x), 1)
	for i, v := range [][]float32{{6, 20}, {8, 2}, {2}} {
		copy(g.Params()[i].Data(), v)
	}
	forward(t, g, blobs(x), top)
	near(t, "global", 1e-6, top[0].Data(), -1, -0.5, 0, 0, 0, 1.5, 0, 0)
	equal(t, "scale factor", g.Params()[2].Data(), 2)
	for i := range top[0].Diff() {
		top[0].Diff()[i] = 2
	}
	backward(t, g, blobs(x), top)
	near(t, "global gradient", 1e-6, x.Diff(), 1, 1, 2, 2, 1, 1, 2, 2)
}

// TestBatchNormPhase lists when the parameters are used and when they change.
func TestBatchNormPhase(t *testing.T) {
	for _, c := range []struct {
		phase  caffepb.Phase
		param  string
		global bool
	}{
		{train, ``, false},
		{test, ``, true},
		{train, `use_global_stats: true`, true},
		{test, `use_global_stats: false`, false},
	} {
		x := randomBlob(1, 4, 3)
		l, top := newLayer(t, testContext(c.phase), `type: "BatchNorm" batch_norm_param { `+c.param+` }`, blobs(x), 1)
		forward(t, l, blobs(x), top)
		if changed := l.Params()[2].Data()[0] != 0; changed == c.global {
			t.Errorf("%v %s: statistics changed: %v", c.phase, c.param, changed)
		}
		if c.global {
			// Of no batch at all: mean and variance are 0.
			want := clone(x.Data())
			for i := range want {
				want[i] /= float32(math.Sqrt(1e-5))
			}
			nearMax(t, "without statistics", 1e-6, top[0].Data(), want)
		}
	}
}

// naiveBatchNorm returns y and dx, computed with float64.
func naiveBatchNorm(x, dy *tensor.Blob) (y, dx []float32) {
	y, dx = make([]float32, x.Count()), make([]float32, x.Count())
	channels, inner := x.Dim(1), x.CountFrom(2)
	for c := range channels {
		each := func(f func(i int)) {
			for n := range x.Dim(0) {
				for p := range inner {
					f((n*channels+c)*inner + p)
				}
			}
		}
		m := float64(x.Count() / channels)
		var mean, variance, g, gy float64
		each(func(i int) { mean += float64(x.Data()[i]) / m })
		each(func(i int) { variance += math.Pow(float64(x.Data()[i])-mean, 2) / m })
		s := math.Sqrt(variance + 1e-5)
		value := func(i int) float64 { return (float64(x.Data()[i]) - mean) / s }
		each(func(i int) {
			y[i] = float32(value(i))
			g += float64(dy.Data()[i]) / m
			gy += float64(dy.Data()[i]) * value(i) / m
		})
		each(func(i int) { dx[i] = float32((float64(dy.Data()[i]) - g - gy*value(i)) / s) })
	}
	return y, dx
}

// TestBatchNormShapes compares with the definition for shapes that are worked on
// in different ways, and for values far from 0.
func TestBatchNormShapes(t *testing.T) {
	for _, s := range [][]int{{3, 5}, {300, 70}, {700, 3}, {40, 1}, {2, 3, 130, 130}, {3, 65, 4}, {1, 2, 3, 4, 5}, {3, 48, 40, 33}, {9, 16, 1, 1}} {
		for _, at := range []float32{0, -1000} {
			for _, layout := range []tensor.Layout{tensor.NCHW, tensor.Blocked} {
				x, dy := tensor.New(s...), randomBlob(2, s...)
				if layout.Check(s) != nil {
					continue
				}
				x.SetLayout(layout)
				l, top := newLayer(t, testContext(train), `type: "BatchNorm"`, blobs(x), 1)
				top[0].SetLayout(layout)
				if err := l.Reshape(blobs(x), top); err != nil {
					t.Fatal(err)
				}
				plain := randomBlob(1, s...)
				for i := range plain.Data() {
					plain.Data()[i] += at
				}
				if err := x.SetValues(plain.Data()); err != nil {
					t.Fatal(err)
				}
				if err := top[0].SetGradients(dy.Data()); err != nil {
					t.Fatal(err)
				}
				forward(t, l, blobs(x), top)
				backward(t, l, blobs(x), top)
				y, dx := naiveBatchNorm(plain, dy)
				what := fmt.Sprintf("%s about %v, %v", tensor.FormatShape(s), at, layout)
				tol := float32(2e-6)
				if at != 0 {
					tol = 1e-4 // a value less the mean has some four digits
				}
				nearMax(t, what, tol, top[0].Values(), y)
				nearMax(t, what+": gradient", tol, x.Gradients(), dx)
			}
		}
	}
}

func TestBatchNormGradient(t *testing.T) {
	g := gradCheck{skipParams: true}
	for _, s := range [][]int{{3, 2, 2, 2}, {5, 3}, {4, 2, 3}} {
		checkGradient(t, g, `type: "BatchNorm" batch_norm_param { eps: 0.1 }`, blobs(randomBlob(1, s...)), 1)
		checkGradient(t, g, `type: "BatchNorm" batch_norm_param { use_global_stats: true eps: 0.25 }`, blobs(randomBlob(1, s...)), 1)
	}
}

func TestBatchNormInPlace(t *testing.T) {
	for _, param := range []string{``, `batch_norm_param { use_global_stats: true }`} {
		checkInPlace(t, `type: "BatchNorm" `+param, blobs(randomBlob(1, 3, 4, 5)), true)
		checkInPlace(t, `type: "BatchNorm" `+param, blobs(randomBlob(1, 7, 4)), true)
	}
}

func TestBatchNormPasses(t *testing.T) {
	for _, param := range []string{``, `batch_norm_param { use_global_stats: true }`} {
		checkPasses(t, `type: "BatchNorm" `+param, blobs(randomBlob(1, 3, 5, 130, 128)), 1)
		checkPasses(t, `type: "BatchNorm" `+param, blobs(randomBlob(1, 600, 150)), 1)
		checkPasses(t, `type: "BatchNorm" `+param, blobs(randomBlob(1, 60, 150, 7)), 1)
	}
}

func TestBatchNormBlocked(t *testing.T) {
	for _, param := range []string{``, `batch_norm_param { use_global_stats: true }`} {
		checkBlockedNear(t, 1e-6, `type: "BatchNorm" `+param, blobs(randomBlob(1, 3, 48, 41, 37)), 1)
		checkBlockedNear(t, 1e-6, `type: "BatchNorm" `+param, blobs(randomBlob(1, 3, 32, 1, 1)), 1)
	}
}

// A batch of none, as Filter makes, leaves the statistics as they are.
func TestBatchNormEmpty(t *testing.T) {
	x := tensor.New(0, 3, 2)
	l, top := newLayer(t, testContext(train), `type: "BatchNorm"`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	backward(t, l, blobs(x), top)
	equal(t, "scale factor", l.Params()[2].Data(), 0)
	equal(t, "means", l.Params()[0].Data(), 0, 0, 0)
}

// A net that diverges must show it.
func TestBatchNormKeepsNaN(t *testing.T) {
	x := randomBlob(1, 2, 2, 3)
	x.Data()[4] = float32(math.NaN())
	l, top := newLayer(t, testContext(train), `type: "BatchNorm"`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	for i, v := range top[0].Data() {
		if (v != v) != (i/3%2 == 1) {
			t.Errorf("element %d is %v", i, v)
		}
	}
}

func TestBatchNormParamSpecs(t *testing.T) {
	for _, text := range []string{``, `param { lr_mult: 0 decay_mult: 0 }`, `param { lr_mult: 0 } param { lr_mult: 0 name: "v" } param { lr_mult: 0 }`} {
		l, _ := newLayer(t, testContext(train), `type: "BatchNorm" `+text, blobs(randomBlob(1, 2, 3)), 1)
		given := parseLayer(t, text).Param
		specs := l.(ParamSpecifier).ParamSpecs()
		if len(specs) != 3 {
			t.Fatalf("%s: %d entries", text, len(specs))
		}
		for i, s := range specs {
			if s.GetLrMult() != 0 {
				t.Errorf("%s: lr_mult of parameter %d is %v", text, i, s.GetLrMult())
			}
			want := float32(1)
			if i < len(given) {
				want = given[i].GetDecayMult()
			}
			if s.GetDecayMult() != want {
				t.Errorf("%s: decay_mult of parameter %d is %v", text, i, s.GetDecayMult())
			}
		}
	}
}

func TestBatchNormErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2, 3))
	wantError(t, train, `type: "BatchNorm" param { lr_mult: 0 } param { }`, x, 1, "param 1: lr_mult must be 0, not 1")
	wantError(t, train, `type: "BatchNorm" param { lr_mult: 2 }`, x, 1, "param 0: lr_mult must be 0, not 2")
	wantError(t, train, `type: "BatchNorm" batch_norm_param { eps: -1 }`, x, 1, "eps must be 0 or more, not -1")
	wantError(t, train, `type: "BatchNorm" batch_norm_param { eps: nan }`, x, 1, "eps must be 0 or more")
	wantError(t, train, `type: "BatchNorm" batch_norm_param { moving_average_fraction: -0.5 }`, x, 1, "moving_average_fraction must be 0 or more, not -0.5")
	wantError(t, train, `type: "BatchNorm" batch_norm_param { moving_average_fraction: inf }`, x, 1, "moving_average_fraction must be 0 or more")
	wantError(t, train, `type: "BatchNorm"`, blobs(randomBlob(1, 3)), 1, "bottom 3 has no channels (axis 1)")
	wantError(t, train, `type: "BatchNorm"`, blobs(tensor.New()), 1, "no channels")
	wantError(t, train, `type: "BatchNorm"`, blobs(tensor.New(2, 0)), 1, "0 channels")
	wantError(t, train, `type: "BatchNorm" blobs { shape { dim: 3 } data: 1 data: 1 data: 1 }`, x, 1, "the definition holds 1 parameter blobs, not 3")
	l, top := newLayer(t, testContext(train), `type: "BatchNorm"`, x, 1)
	for _, s := range [][]int{{2, 4}, {3}, {}} {
		if err := l.Reshape(blobs(tensor.New(s...)), top); err == nil {
			t.Errorf("shape %v accepted for 3 channels", s)
		}
	}
}
