package layers

import (
	"fmt"
	"testing"

	"crema/tensor"
)

// TestSPP compares with pooling level by level.
func TestSPP(t *testing.T) {
	for _, method := range []string{"MAX", "AVE"} {
		x := randomBlob(1, 2, 3, 9, 14)
		l, top := newLayer(t, testContext(train), `type: "SPP" spp_param { pyramid_height: 3 pool: `+method+` }`, blobs(x), 1)
		wantShape(t, method, top[0], 2, 3*21)
		forward(t, l, blobs(x), top)
		dy := randomBlob(2, 2, 63)
		copy(top[0].Diff(), dy.Data())
		backward(t, l, blobs(x), top)
		sum := make([]float32, x.Count())
		from := 0
		for _, c := range []struct{ bins, kh, kw, ph, pw int }{{1, 9, 14, 0, 0}, {2, 5, 7, 1, 0}, {4, 3, 4, 2, 1}} {
			p, y := newLayer(t, testContext(train), fmt.Sprintf(
				`type: "Pooling" pooling_param { pool: %s kernel_h: %d kernel_w: %d stride_h: %d stride_w: %d pad_h: %d pad_w: %d }`,
				method, c.kh, c.kw, c.kh, c.kw, c.ph, c.pw), blobs(x), 1)
			wantShape(t, "level", y[0], 2, 3, c.bins, c.bins)
			forward(t, p, blobs(x), y)
			n := 3 * c.bins * c.bins
			for i := range 2 {
				equal(t, fmt.Sprintf("%s, %d windows, record %d", method, c.bins, i), top[0].Data()[i*63+from:][:n], y[0].Data()[i*n:][:n]...)
				copy(y[0].Diff()[i*n:][:n], dy.Data()[i*63+from:])
			}
			b := tensor.New(x.Shape()...)
			b.ShareData(x)
			backward(t, p, blobs(b), y)
			for i, v := range b.Diff() {
				sum[i] += v
			}
			from += n
		}
		equal(t, method+" gradient", x.Diff(), sum...)
	}
}

// One level is a global pooling, of four axes.
func TestSPPOne(t *testing.T) {
	x := randomBlob(1, 2, 3, 4, 5)
	l, top := newLayer(t, testContext(train), `type: "SPP" spp_param { pyramid_height: 1 }`, blobs(x), 1)
	ref, want := newLayer(t, testContext(train), `type: "Pooling" pooling_param { global_pooling: true }`, blobs(tensor.New(2, 3, 4, 5)), 1)
	wantShape(t, "top", top[0], 2, 3, 1, 1)
	forward(t, l, blobs(x), top)
	forward(t, ref, blobs(x), want)
	equal(t, "top", top[0].Data(), want[0].Data()...)
}

// The bottom may change its size: the top's stays.
func TestSPPReshape(t *testing.T) {
	x := randomBlob(1, 1, 2, 8, 8)
	l, top := newLayer(t, testContext(train), `type: "SPP" spp_param { pyramid_height: 2 pool: AVE }`, blobs(x), 1)
	x.Reshape(3, 2, 5, 6)
	copy(x.Data(), randomBlob(1, 3, 2, 5, 6).Data())
	if err := l.Reshape(blobs(x), top); err != nil {
		t.Fatal(err)
	}
	wantShape(t, "top", top[0], 3, 10)
	forward(t, l, blobs(x), top)
	backward(t, l, blobs(x), top)
	_, want := newLayer(t, testContext(train), `type: "SPP" spp_param { pyramid_height: 2 pool: AVE }`, blobs(x), 1)
	wantShape(t, "a new layer's top", want[0], 3, 10)
}

func TestSPPGradient(t *testing.T) {
	for _, param := range []string{`pyramid_height: 1`, `pyramid_height: 2`, `pyramid_height: 3 pool: AVE`} {
		checkGradient(t, gradCheck{}, `type: "SPP" spp_param {`+param+`}`, blobs(distinctBlob(1, 0.1, 1, 2, 6, 7)), 1)
	}
}

func TestSPPPasses(t *testing.T) {
	for _, param := range []string{`pyramid_height: 1`, `pyramid_height: 3`, `pyramid_height: 3 pool: AVE engine: CUDNN`} {
		checkPasses(t, `type: "SPP" spp_param {`+param+`}`, blobs(randomBlob(1, 3, 16, 40, 37)), 1)
	}
}

func TestSPPErrors(t *testing.T) {
	x := blobs(randomBlob(1, 1, 1, 5, 9))
	wantError(t, train, `type: "SPP"`, x, 1, "pyramid_height must be between 1")
	wantError(t, train, `type: "SPP" spp_param { pyramid_height: 2 pool: STOCHASTIC }`, x, 1, "pool STOCHASTIC is not supported; use MAX or AVE")
	wantError(t, train, `type: "SPP" spp_param { pyramid_height: 3 }`, x, 1, "level 2 of pyramid_height 3: 4 windows side by side do not fit into the 5×9 image")
	wantError(t, train, `type: "SPP" spp_param { pyramid_height: 2147483647 }`, x, 1, "level 2 of pyramid_height 2147483647")
	wantError(t, train, `type: "SPP" spp_param { pyramid_height: 1 }`, blobs(tensor.New(1, 2, 3)), 1, "needs a bottom of 4 axes")
	wantError(t, train, `type: "SPP" spp_param { pyramid_height: 1 }`, blobs(tensor.New(1, 2, 3, 0)), 1, "needs a bottom of 4 axes (N×C×H×W) with pixels, not 1×2×3×0")
	l, _ := newLayer(t, testContext(train), `type: "SPP" spp_param { pyramid_height: 1 }`, x, 1)
	if err := l.Reshape(x, x); err == nil {
		t.Error("in-place computation was accepted")
	}
}
