package layers

import (
	"math"
	"strings"
	"testing"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func TestPoolingShape(t *testing.T) {
	for _, c := range []struct {
		param string
		h, w  int // of the bottom
		want  [2]int
	}{
		{`kernel_size: 2 stride: 2`, 4, 5, [2]int{2, 3}},
		{`kernel_size: 2 stride: 2 round_mode: FLOOR`, 4, 5, [2]int{2, 2}},
		{`kernel_size: 3 stride: 2`, 6, 7, [2]int{3, 3}},
		{`kernel_size: 3 stride: 2 round_mode: FLOOR`, 6, 7, [2]int{2, 3}},
		{`kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 3`, 5, 6, [2]int{3, 3}},
		{`kernel_size: 3 pad_h: 1 pad_w: 2`, 4, 4, [2]int{4, 6}},
		// Height 4: ceil((4+2−3)/3)+1 = 2. Width 5: ceil(4/3)+1 = 3, but the
		// third would start at 6 = 5+1, beyond the image.
		{`kernel_size: 3 stride: 3 pad: 1`, 4, 5, [2]int{2, 2}},
		{`kernel_size: 2 stride: 2 pad: 1`, 4, 3, [2]int{3, 2}},
		// Without padding no window is dropped, even an empty one.
		{`kernel_size: 1 stride: 3`, 5, 4, [2]int{3, 2}},
		// A kernel greater than the image by less than the stride fits once.
		{`kernel_size: 3 stride: 2`, 2, 2, [2]int{1, 1}},
		{`global_pooling: true`, 5, 3, [2]int{1, 1}},
	} {
		_, top := newLayer(t, testContext(train), `type: "Pooling" pooling_param { `+c.param+` }`, blobs(tensor.New(2, 3, c.h, c.w)), 1)
		if got := [2]int{top[0].Dim(2), top[0].Dim(3)}; got != c.want {
			t.Errorf("%s: %d×%d is pooled to %v, want %v", c.param, c.h, c.w, got, c.want)
		}
	}
}

func TestPoolingMax(t *testing.T) {
	x := blobOf(shape(1, 2, 3, 5),
		1, 2, 5, 2, 3,
		9, 4, 1, 4, 8,
		1, 2, 5, 2, 3,

		0, 0, 0, 0, 0,
		0, 0, 0, 0, 0,
		0, -1, 0, -2, -3)
	for _, tops := range []int{1, 2} {
		l, top := newLayer(t, testContext(train), `type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }`, blobs(x), tops)
		forward(t, l, blobs(x), top)
		equal(t, "top", top[0].Data(), 9, 5, 8, 2, 5, 3, 0, 0, 0, 0, 0, -3)
		if tops == 2 {
			// The first of equals.
			equal(t, "mask", top[1].Data(), 5, 2, 9, 11, 12, 14, 0, 2, 4, 10, 12, 14)
		}
		copy(top[0].Diff(), []float32{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6})
		backward(t, l, blobs(x), top)
		equal(t, "gradient", x.Diff(),
			0, 0, 2, 0, 0,
			1, 0, 0, 0, 3,
			0, 4, 5, 0, 6,

			1, 0, 2, 0, 3,
			0, 0, 0, 0, 0,
			4, 0, 5, 0, 6)
	}
}

// In the TEST phase no mask is kept, but a Backward must still work and leave
// the top alone, which a layer in place may have changed.
func TestPoolingMaxTestPhase(t *testing.T) {
	x := distinctBlob(1, 1, 2, 3, 5, 5)
	const text = `type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }`
	l, top := newLayer(t, testContext(train), text, blobs(x), 1)
	forward(t, l, blobs(x), top)
	copy(top[0].Diff(), randomBlob(2, 24).Data())
	backward(t, l, blobs(x), top)
	want := clone(x.Diff())

	l2, top2 := newLayer(t, testContext(test), text, blobs(x), 1)
	forward(t, l2, blobs(x), top2)
	equal(t, "top", top2[0].Data(), top[0].Data()...)
	top2[0].Data()[0] = 77
	copy(top2[0].Diff(), top[0].Diff())
	backward(t, l2, blobs(x), top2)
	equal(t, "gradient", x.Diff(), want...)
	if top2[0].Data()[0] != 77 {
		t.Error("Backward wrote to the top")
	}
	// The mask belongs to the last Forward.
	for i := range x.Data() {
		x.Data()[i] *= -1
	}
	forward(t, l2, blobs(x), top2)
	backward(t, l2, blobs(x), top2)
	got := clone(x.Diff())
	forward(t, l, blobs(x), top)
	backward(t, l, blobs(x), top)
	equal(t, "gradient after another Forward", got, x.Diff()...)
}

// A window without a number above −MaxFloat32 gives that and the place −1, to
// which no gradient goes: by kernels and without, with a second top and not.
func TestPoolingMaxOfNothing(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, phase := range []caffepb.Phase{train, test} {
		for _, param := range []string{`kernel_size: 2 stride: 2`, `kernel_size: 2 stride: 2 pad: 1`, `kernel_size: 3 stride: 1`, `global_pooling: true`} {
			for _, tops := range []int{1, 2} {
				x := tensor.New(1, 3, 4, 6)
				for i := range x.Data() {
					x.Data()[i] = []float32{nan, inf, -math.MaxFloat32}[i%3]
				}
				l, top := newLayer(t, testContext(phase), `type: "Pooling" pooling_param { `+param+` }`, blobs(x), tops)
				forward(t, l, blobs(x), top)
				for i, v := range top[0].Data() {
					if v != -math.MaxFloat32 {
						t.Fatalf("%s: maximum of nothing is %v", param, v)
					}
					if tops == 2 && top[1].Data()[i] != -1 {
						t.Fatalf("%s: its place is %v", param, top[1].Data()[i])
					}
					top[0].Diff()[i] = 1
				}
				backward(t, l, blobs(x), top)
				equal(t, param, x.Diff(), make([]float32, x.Count())...)
			}
		}
	}
}

func TestPoolingAverage(t *testing.T) {
	x := blobOf(shape(1, 1, 2, 3), 1, 2, 3, 4, 5, 6)
	for _, c := range []struct {
		param    string
		want, dx []float32 // dx: for a top gradient of 36 everywhere
	}{
		{`kernel_size: 2`, []float32{3, 4}, []float32{9, 18, 9, 9, 18, 9}},
		// The second window is cut off at the edge: two elements.
		{`kernel_size: 2 stride: 2`, []float32{3, 4.5}, []float32{9, 9, 18, 9, 9, 18}},
		// Padding counts as elements of value 0: windows of 2×2 and 2×2.
		{`kernel_size: 2 stride: 2 pad: 1`, []float32{0.25, 1.25, 1, 2.75}, []float32{9, 9, 9, 9, 9, 9}},
		// Beyond the padding nothing counts: windows of 3×3, 3×2 at the right.
		{`kernel_size: 3 stride: 3 pad: 1`, []float32{12. / 9, 9. / 6}, []float32{4, 4, 6, 4, 4, 6}},
		// A window that starts beyond the image is empty.
		{`kernel_size: 1 stride: 2`, []float32{1, 3, 0, 0}, []float32{36, 0, 36, 0, 0, 0}},
		{`global_pooling: true`, []float32{3.5}, []float32{6, 6, 6, 6, 6, 6}},
	} {
		l, top := newLayer(t, testContext(train), `type: "Pooling" pooling_param { pool: AVE `+c.param+` }`, blobs(x), 1)
		forward(t, l, blobs(x), top)
		near(t, c.param, 1e-6, top[0].Data(), c.want...)
		for i := range top[0].Diff() {
			top[0].Diff()[i] = 36
		}
		backward(t, l, blobs(x), top)
		near(t, c.param+" gradient", 1e-5, x.Diff(), c.dx...)
	}
}

func TestPoolingStochasticByHand(t *testing.T) {
	// One window of 1, 2, 0, 5: drawn with probabilities 1/8, 2/8, 0, 5/8.
	const planes = 4000
	x := tensor.New(1, planes, 2, 2)
	for p := range planes {
		copy(x.Data()[p*4:], []float32{1, 2, 0, 5})
	}
	l, top := newLayer(t, testContext(train), `type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	for i := range top[0].Diff() {
		top[0].Diff()[i] = 3
	}
	backward(t, l, blobs(x), top)
	count := map[float32]float64{}
	for p, v := range top[0].Data() {
		count[v]++
		for i, e := range x.Data()[p*4 : p*4+4] {
			want := float32(0)
			if e == v {
				want = 3
			}
			if got := x.Diff()[p*4+i]; got != want {
				t.Fatalf("plane %d drew %v, gradient %v at %v", p, v, got, e)
			}
		}
	}
	for v, p := range map[float32]float64{1: 1. / 8, 2: 2. / 8, 0: 0, 5: 5. / 8} {
		if got := count[v] / planes; math.Abs(got-p) > 5*math.Sqrt(p*(1-p)/planes) {
			t.Errorf("%v was drawn with frequency %g, want %g", v, got, p)
		}
	}
	// The next pass draws anew; the same cursor draws the same.
	first := clone(top[0].Data())
	forward(t, l, blobs(x), top)
	same := 0
	for i, v := range top[0].Data() {
		if v == first[i] {
			same++
		}
	}
	if same > planes*3/4 {
		t.Errorf("%d of %d draws repeat in the next pass", same, planes)
	}
	s := l.(Stateful)
	c := s.Cursor()
	if c.GetForwards() != 2 {
		t.Errorf("cursor %v after two passes", c)
	}
	*c.Forwards = 0
	if err := s.SetCursor(c); err != nil {
		t.Fatal(err)
	}
	forward(t, l, blobs(x), top)
	equal(t, "first pass again", top[0].Data(), first...)
}

func TestPoolingStochasticZeros(t *testing.T) {
	x := tensor.New(1, 1, 2, 2)
	l, top := newLayer(t, testContext(train), `type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	equal(t, "top", top[0].Data(), 0)
	top[0].Diff()[0] = 1
	backward(t, l, blobs(x), top)
	equal(t, "gradient goes to the first", x.Diff(), 1, 0, 0, 0)
}

func TestPoolingStochasticTestPhase(t *testing.T) {
	// (1 + 4 + 25) / 8, and 0 where the sum is not positive.
	x := blobOf(shape(1, 3, 2, 2), 1, 2, 0, 5, 0, 0, 0, 0, -1, -2, 1, 1)
	l, top := newLayer(t, testContext(test), `type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	equal(t, "top", top[0].Data(), 30./8, 0, 0)
	if n := l.(Stateful).Cursor().GetForwards(); n != 0 {
		t.Errorf("%d forward passes counted in the TEST phase", n)
	}
	if err := l.Backward(top, []bool{true}, blobs(x)); err == nil || !strings.Contains(err.Error(), "only in the TRAIN phase") {
		t.Errorf("Backward in the TEST phase: %v", err)
	}
}

func TestPoolingGradient(t *testing.T) {
	for _, c := range []struct {
		param string
		tops  int
	}{
		{`kernel_size: 2 stride: 2`, 1},
		{`kernel_size: 3 stride: 2`, 2},
		{`kernel_size: 3 stride: 2 pad: 1`, 1},
		{`kernel_h: 3 kernel_w: 2 pad_h: 2 pad_w: 0`, 1},
		{`kernel_size: 3 stride: 2 round_mode: FLOOR`, 1},
		{`global_pooling: true`, 1},
		{`pool: AVE kernel_size: 2 stride: 2`, 1},
		{`pool: AVE kernel_size: 3 stride: 2 pad: 1`, 1},
		{`pool: AVE kernel_h: 3 kernel_w: 2 pad_h: 2 pad_w: 0 stride_h: 2 stride_w: 1`, 1},
		{`pool: AVE kernel_size: 3 stride: 2 round_mode: FLOOR`, 1},
		{`pool: AVE global_pooling: true`, 1},
	} {
		t.Run(c.param, func(t *testing.T) {
			checkGradient(t, gradCheck{skipTop: []int{1}}, `type: "Pooling" pooling_param { `+c.param+` }`, blobs(distinctBlob(1, 0.05, 2, 2, 4, 5)), c.tops)
		})
	}
	t.Run("STOCHASTIC", func(t *testing.T) {
		// A small step on values far apart seldom moves a draw; for this seed
		// it moves none.
		x := distinctBlob(1, 0.5, 2, 2, 4, 4)
		for i, v := range x.Data() {
			x.Data()[i] = max(v, -v)
		}
		checkGradient(t, gradCheck{step: 1e-3, threshold: 1e-2}, `type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }`, blobs(x), 1)
	})
}

func TestPoolingReshape(t *testing.T) {
	for _, param := range []string{`kernel_size: 2 stride: 2`, `global_pooling: true`, `pool: AVE kernel_size: 3`, `pool: STOCHASTIC kernel_size: 2`} {
		text := `type: "Pooling" pooling_param { ` + param + ` }`
		l, top := newLayer(t, testContext(train), text, blobs(randomBlob(1, 1, 2, 4, 4)), 1)
		for _, s := range [][]int{{3, 2, 7, 9}, {1, 1, 3, 3}} {
			x := ones(s...)
			if err := l.Reshape(blobs(x), top); err != nil {
				t.Fatal(err)
			}
			forward(t, l, blobs(x), top)
			for _, v := range top[0].Data() {
				if v != 1 {
					t.Fatalf("%s: ones are pooled to %v", param, v)
				}
			}
			backward(t, l, blobs(x), top)
		}
	}
}

func TestPoolingThreads(t *testing.T) {
	for _, param := range []string{``, `pool: AVE`, `pool: STOCHASTIC`} {
		sameForThreads(t, func() [][]float32 {
			x := randomBlob(1, 3, 7, 40, 40)
			for i, v := range x.Data() {
				x.Data()[i] = max(v, 0)
			}
			l, top := newLayer(t, testContext(train), `type: "Pooling" pooling_param { kernel_size: 3 stride: 2 `+param+` }`, blobs(x), 1)
			forward(t, l, blobs(x), top)
			copy(top[0].Diff(), randomBlob(2, top[0].Count()).Data())
			backward(t, l, blobs(x), top)
			return [][]float32{clone(top[0].Data()), clone(x.Diff())}
		})
	}
}

func TestPoolingErrors(t *testing.T) {
	for param, want := range map[string]string{
		``:                           "kernel_size must be between 1",
		`kernel_size: 0`:             "kernel_size must be between 1",
		`kernel_h: 2`:                "either kernel_size or both kernel_h and kernel_w",
		`kernel_size: 2 kernel_h: 2`: "either kernel_size or both",
		`kernel_size: 2 stride_h: 2`: "either stride or both stride_h and stride_w",
		`kernel_size: 2 stride: 0`:   "stride must be between 1",
		`kernel_size: 2 pad: 1 pad_h: 1 pad_w: 1`:    "either pad or both pad_h and pad_w",
		`kernel_size: 2 pad: 2`:                      "must be less than the kernel",
		`kernel_size: 9`:                             "does not fit",
		`kernel_size: 5 round_mode: FLOOR stride: 2`: "does not fit",
		`global_pooling: true kernel_size: 2`:        "give no kernel size",
		`global_pooling: true pad: 1`:                "pad 0 and stride 1",
		`global_pooling: true stride: 2`:             "pad 0 and stride 1",
		`pool: STOCHASTIC kernel_size: 2 pad: 1`:     "does not take padding",
	} {
		wantError(t, train, `type: "Pooling" pooling_param { `+param+` }`, blobs(tensor.New(1, 1, 4, 4)), 1, want)
	}
	wantError(t, train, `type: "Pooling" pooling_param { pool: AVE kernel_size: 2 }`, blobs(tensor.New(1, 1, 4, 4)), 2, "only MAX")
	wantError(t, train, `type: "Pooling" pooling_param { kernel_size: 2 }`, blobs(tensor.New(1, 4, 4)), 1, "4 axes")
	wantError(t, train, `type: "Pooling" pooling_param { global_pooling: true }`, blobs(tensor.New(1, 1, 0, 4)), 1, "does not fit")
	x := tensor.New(1, 1, 4, 4)
	l, _ := newLayer(t, testContext(train), `type: "Pooling" pooling_param { kernel_size: 2 }`, blobs(x), 1)
	if err := l.Reshape(blobs(x), blobs(x)); err == nil {
		t.Error("in-place computation was accepted")
	}
}

// Only STOCHASTIC pooling has a position to save.
func TestPoolingStateful(t *testing.T) {
	l, _ := newLayer(t, testContext(train), `type: "Pooling" pooling_param { kernel_size: 2 }`, blobs(tensor.New(1, 1, 4, 4)), 1)
	if _, ok := l.(Stateful); ok {
		t.Error("MAX pooling says it has a state")
	}
}

// TestHalves compares 2×2 windows with stride 2, which have kernels, with the
// general loops, in both phases.
func TestHalves(t *testing.T) {
	for _, size := range [][2]int{{2, 2}, {4, 14}, {14, 4}, {28, 28}, {2, 224}, {2, 2100}, {5, 6}, {6, 5}} {
		for _, phase := range []caffepb.Phase{train, caffepb.Phase_TEST} {
			x := randomBlob(1, 2, 3, size[0], size[1])
			for i, v := range x.Data() { // with equals
				x.Data()[i] = float32(math.Round(float64(4 * v)))
			}
			ln, top := newLayer(t, testContext(phase), `type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }`, blobs(x), 1)
			forward(t, ln, blobs(x), top)
			dy := randomBlob(2, top[0].Shape()...)
			copy(top[0].Diff(), dy.Data())
			backward(t, ln, blobs(x), top)
			l := ln.(*pooling)
			in, out := l.in[0]*l.in[1], l.out[0]*l.out[1]
			for p := range 6 {
				want := make([]float32, in)
				for oh := range l.out[0] {
					for ow := range l.out[1] {
						best, at := float32(math.Inf(-1)), 0
						for h := 2 * oh; h < min(2*oh+2, l.in[0]); h++ {
							for w := 2 * ow; w < min(2*ow+2, l.in[1]); w++ {
								if v := x.Data()[p*in+h*l.in[1]+w]; v > best {
									best, at = v, h*l.in[1]+w
								}
							}
						}
						o := p*out + oh*l.out[1] + ow
						if got := top[0].Data()[o]; got != best {
							t.Fatalf("%v: plane %d, window %d,%d: %v, not %v", size, p, oh, ow, got, best)
						}
						want[at] = dy.Data()[o]
					}
				}
				equal(t, "gradient", x.Diff()[p*in:(p+1)*in], want...)
			}
		}
	}
}

// BenchmarkMaxPool has VGG-16's first pooling at batch 6.
func BenchmarkMaxPool(b *testing.B) {
	x, y := tensor.New(6, 64, 224, 224), tensor.New(6, 64, 112, 112)
	for i := range x.Data() {
		x.Data()[i] = float32(i * 7919 % 1000)
	}
	l := &pooling{base: newBase(&caffepb.LayerParameter{}, testContext(train)), kernel: [2]int{2, 2}, stride: [2]int{2, 2}}
	xs, ys := blobs(x), blobs(y)
	if err := l.Reshape(xs, ys); err != nil {
		b.Fatal(err)
	}
	y.Diff()
	x.Diff()
	b.Run("forward", func(b *testing.B) {
		for b.Loop() {
			if err := l.Forward(xs, ys); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("backward", func(b *testing.B) {
		for b.Loop() {
			if err := l.Backward(ys, []bool{true}, xs); err != nil {
				b.Fatal(err)
			}
		}
	})
}
