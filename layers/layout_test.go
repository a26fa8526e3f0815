package layers

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"crema/internal/race"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// TestConvolutionLayouts compares a convolution, alone and doing the work of a
// ReLU, in all layouts with what these layers do in NCHW.
func TestConvolutionLayouts(t *testing.T) {
	const text = `type: "Convolution" convolution_param { num_output: 32 kernel_size: 3 pad: 1` + filler + ` }`
	x := randomBlob(1, 2, 16, 13, 10)
	ref, top := newLayer(t, testContext(train), text, blobs(x), 1)
	relu, _ := newLayer(t, testContext(train), `type: "ReLU"`, top, 1)
	dy := randomBlob(2, top[0].Shape()...)
	for _, rectify := range []bool{false, true} {
		forward(t, ref, blobs(x), top)
		copy(top[0].Diff(), dy.Data())
		if rectify {
			forward(t, relu, top, top)
			backward(t, relu, top, top)
		}
		for _, p := range ref.Params() {
			clear(p.Diff())
		}
		backward(t, ref, blobs(x), top)
		for _, phase := range []caffepb.Phase{train, test} {
			for _, in := range []tensor.Layout{tensor.NCHW, tensor.Blocked} {
				for _, out := range []tensor.Layout{tensor.NCHW, tensor.Blocked} {
					what := fmt.Sprintf("%v to %v, rectify %v, %v", in, out, rectify, phase)
					l, y := newLayer(t, testContext(phase), text, blobs(x), 1)
					if !l.(Rectifier).CanRectify() {
						t.Fatal("cannot do the work of a ReLU")
					}
					want := Gains
					if in == out && in == tensor.NCHW {
						want = Fits
					}
					if got := l.(LayoutTaker).Fit(in, out); got != want {
						t.Fatalf("%s: fit %v", what, got)
					}
					xl := x
					if in == tensor.Blocked {
						xl = blockedCopy(x)
					}
					y[0].SetLayout(out)
					l.(Rectifier).SetRectify(rectify)
					if err := l.Reshape(blobs(xl), y); err != nil {
						t.Fatal(err)
					}
					for i, p := range l.Params() {
						copy(p.Data(), ref.Params()[i].Data())
					}
					for range 2 { // the second with kept filters
						forward(t, l, blobs(xl), y)
					}
					nearRel(t, what, y[0].Values(), top[0].Data())
					if out == tensor.Blocked {
						toBlocked(y[0].Diff(), dy.Data(), y[0].CountFrom(2))
					} else {
						copy(y[0].Diff(), dy.Data())
					}
					if xl == x {
						xl = tensor.New(x.Shape()...)
						copy(xl.Data(), x.Data())
					}
					backward(t, l, blobs(xl), y)
					nearRel(t, what+": gradient", xl.Gradients(), x.Diff())
					for i, p := range l.Params() {
						nearRel(t, fmt.Sprint(what, ": gradient of parameter ", i), p.Diff(), ref.Params()[i].Diff())
					}
				}
			}
		}
	}
}

// nearRel holds the difference to 1e-5 of the largest magnitude.
func nearRel(t *testing.T, what string, got, want []float32) {
	t.Helper()
	nearMax(t, what, 1e-5, got, want)
}

// A net that diverges must show it, also where a convolution does the work of a
// ReLU.
func TestConvolutionRectifyKeepsNaN(t *testing.T) {
	for _, k := range []int{5, 16} { // by different algorithms
		x := randomBlob(1, 1, 16, 9, 9)
		l, top := newLayer(t, testContext(train), fmt.Sprintf(`type: "Convolution" convolution_param { num_output: %d kernel_size: 3 %s }`, k, filler), blobs(x), 1)
		l.(Rectifier).SetRectify(true)
		x.Data()[2*81+4*9+4] = float32(math.NaN())
		forward(t, l, blobs(x), top)
		n := 0
		for i, v := range top[0].Data() {
			if v < 0 {
				t.Fatalf("element %d is %v", i, v)
			}
			if v != v {
				n++
			}
		}
		if n < 9*k {
			t.Errorf("%d filters: %d elements are NaN, at least %d depend on one", k, n, 9*k)
		}
	}
}

// TestFit lists what layers do in other layouts.
func TestFit(t *testing.T) {
	const b, n = tensor.Blocked, tensor.NCHW
	for _, c := range []struct {
		text    string
		phase   caffepb.Phase
		in, out tensor.Layout
		want    Fit
		shape   []int
	}{
		{`type: "ReLU"`, train, b, b, Fits, nil},
		{`type: "ReLU"`, train, n, b, Unfit, nil},
		{`type: "Split"`, train, b, b, Fits, nil},
		{`type: "Split"`, train, b, n, Unfit, nil},
		{`type: "Dropout"`, train, n, n, Fits, nil},
		{`type: "Dropout"`, train, b, b, Unfit, nil},
		{`type: "Dropout"`, test, b, b, Fits, nil},
		{`type: "Convolution" convolution_param { num_output: 32 kernel_size: 3 }`, train, b, b, Gains, nil},
		{`type: "Convolution" convolution_param { num_output: 24 kernel_size: 3 }`, train, b, b, Unfit, nil},
		{`type: "Convolution" convolution_param { num_output: 24 kernel_size: 3 }`, train, b, n, Gains, nil},
		{`type: "Convolution" convolution_param { num_output: 32 kernel_size: 3 stride: 2 }`, train, b, b, Gains, nil},
		{`type: "Convolution" convolution_param { num_output: 32 kernel_size: 1 }`, test, b, b, Gains, nil},
		{`type: "Convolution" convolution_param { num_output: 32 kernel_size: 3 stride: 2 }`, train, b, n, Unfit, nil},
		{`type: "Convolution" convolution_param { num_output: 32 kernel_size: 3 stride: 2 }`, train, n, n, Fits, nil},
		{`type: "Convolution" convolution_param { num_output: 32 kernel_size: 3 }`, train, b, b, Unfit, shape(2, 16, 40)},
		{`type: "Convolution" convolution_param { num_output: 32 kernel_size: 3 axis: 2 }`, train, b, b, Unfit, shape(2, 1, 16, 20, 20)},
	} {
		s := c.shape
		if s == nil {
			s = shape(2, 16, 20, 20)
		}
		l, _ := newLayer(t, testContext(c.phase), c.text, blobs(randomBlob(1, s...)), 1)
		if got := l.(LayoutTaker).Fit(c.in, c.out); got != c.want {
			t.Errorf("%s on %s, %v: fit from %v to %v is %v, want %v", c.text, tensor.FormatShape(s), c.phase, c.in, c.out, got, c.want)
		}
	}
}

// TestConvolutionReshapeBlocked gives a convolution of blocked blobs shapes for
// which these layouts would not be chosen.
func TestConvolutionReshapeBlocked(t *testing.T) {
	const text = `type: "Convolution" convolution_param { num_output: 16 kernel_size: 3 pad: 1` + filler + ` }`
	l, y := newLayer(t, testContext(train), text, blobs(randomBlob(1, 2, 16, 12, 12)), 1)
	ref, want := newLayer(t, testContext(train), text, blobs(randomBlob(1, 2, 16, 12, 12)), 1)
	y[0].SetLayout(tensor.Blocked)
	for _, s := range [][]int{{2, 16, 12, 12}, {1, 16, 2, 5}, {1, 16, 1, 1}, {0, 16, 4, 4}, {3, 16, 20, 9}} {
		x := randomBlob(3, s...)
		xl := blockedCopy(x)
		if err := l.Reshape(blobs(xl), y); err != nil {
			t.Fatalf("%v: %v", s, err)
		}
		if err := ref.Reshape(blobs(x), want); err != nil {
			t.Fatal(err)
		}
		forward(t, l, blobs(xl), y)
		forward(t, ref, blobs(x), want)
		if !slices.Equal(y[0].Shape(), want[0].Shape()) {
			t.Errorf("%v: shape %v, want %v", s, y[0].Shape(), want[0].Shape())
		}
		nearRel(t, fmt.Sprint(s), y[0].Values(), want[0].Data())
	}
}

// TestSteadyState counts what layers allocate once they have run.
func TestSteadyState(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector's own calls make memory escape")
	}
	for _, c := range []struct {
		text   string
		layout tensor.Layout
		phase  caffepb.Phase
	}{
		{`type: "ReLU"`, tensor.NCHW, train},
		{`type: "Split"`, tensor.NCHW, train},
		{`type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }`, tensor.NCHW, train},
		{`type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }`, tensor.NCHW, train},
		{`type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }`, tensor.Blocked, train},
		{`type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }`, tensor.Blocked, train},
		{`type: "Pooling" pooling_param { pool: AVE global_pooling: true }`, tensor.Blocked, train},
		{`type: "Convolution" convolution_param { num_output: 32 kernel_size: 3 }`, tensor.NCHW, train},
		{`type: "Convolution" convolution_param { num_output: 32 kernel_size: 3 }`, tensor.Blocked, train},
		{`type: "Convolution" convolution_param { num_output: 32 kernel_size: 3 }`, tensor.Blocked, test},
	} {
		x := randomBlob(1, 2, 32, 47, 45)
		l, top := newLayer(t, testContext(c.phase), c.text, blobs(x), 1)
		x.SetLayout(c.layout)
		top[0].SetLayout(c.layout)
		bottom, down := blobs(x), []bool{true}
		if err := l.Reshape(bottom, top); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(10, func() {
			if err := l.Forward(bottom, top); err != nil {
				t.Error(err)
			}
			top[0].Diff()
			if err := l.Backward(top, down, bottom); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s, %v, %v: %v allocations", c.text, c.layout, c.phase, n)
		}
	}
}
