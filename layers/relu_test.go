package layers

import (
	"math"
	"testing"
)

func TestReLU(t *testing.T) {
	x := blobOf(shape(6), -2, -0.5, 0, 0.5, 2, 3)
	for _, c := range []struct {
		param    string
		want, dx []float32
	}{
		{``, []float32{0, 0, 0, 0.5, 2, 3}, []float32{0, 0, 0, 4, 5, 6}},
		{`relu_param { engine: CUDNN }`, []float32{0, 0, 0, 0.5, 2, 3}, []float32{0, 0, 0, 4, 5, 6}},
		{`relu_param { negative_slope: 0.5 }`, []float32{-1, -0.25, 0, 0.5, 2, 3}, []float32{0.5, 1, 1.5, 4, 5, 6}},
		{`relu_param { negative_slope: 2 }`, []float32{-4, -1, 0, 0.5, 2, 3}, []float32{2, 4, 6, 4, 5, 6}},
		{`relu_param { negative_slope: -1 }`, []float32{2, 0.5, 0, 0.5, 2, 3}, []float32{-1, -2, -3, 4, 5, 6}},
	} {
		l, top := newLayer(t, testContext(train), `type: "ReLU" `+c.param, blobs(x), 1)
		forward(t, l, blobs(x), top)
		equal(t, c.param, top[0].Data(), c.want...)
		copy(top[0].Diff(), []float32{1, 2, 3, 4, 5, 6})
		backward(t, l, blobs(x), top)
		equal(t, c.param+" gradient", x.Diff(), c.dx...)
	}
}

func TestReLUInPlace(t *testing.T) {
	for _, param := range []string{``, `relu_param { negative_slope: 0.25 }`} {
		x := randomBlob(1, 3, 4, 5)
		l, top := newLayer(t, testContext(train), `type: "ReLU" `+param, blobs(x), 1)
		forward(t, l, blobs(x), top)
		dy := randomBlob(2, 3, 4, 5)
		copy(top[0].Diff(), dy.Data())
		backward(t, l, blobs(x), top)

		b := randomBlob(1, 3, 4, 5)
		copy(b.Diff(), dy.Data())
		forward(t, l, blobs(b), blobs(b))
		backward(t, l, blobs(b), blobs(b))
		equal(t, param+" in place", b.Data(), top[0].Data()...)
		equal(t, param+" gradient in place", b.Diff(), x.Diff()...)
	}
}

// A net that diverges must show it.
func TestReLUKeepsNaN(t *testing.T) {
	nan := float32(math.NaN())
	for _, param := range []string{``, `relu_param { negative_slope: 0.25 }`} {
		x := blobOf(shape(2), nan, -nan)
		l, top := newLayer(t, testContext(train), `type: "ReLU" `+param, blobs(x), 1)
		forward(t, l, blobs(x), top)
		for _, v := range top[0].Data() {
			if v == v {
				t.Errorf("%s: ReLU(NaN) = %v", param, v)
			}
		}
	}
}

func TestReLUGradient(t *testing.T) {
	for _, param := range []string{``, `relu_param { negative_slope: 0.01 }`} {
		checkGradient(t, gradCheck{}, `type: "ReLU" `+param, blobs(distinctBlob(1, 0.1, 2, 3, 4)), 1)
	}
}

func TestReLUThreads(t *testing.T) {
	const n = 3*elemGrain + 5
	sameForThreads(t, func() [][]float32 {
		x := randomBlob(1, n)
		l, top := newLayer(t, testContext(train), `type: "ReLU" relu_param { negative_slope: 0.1 }`, blobs(x), 1)
		forward(t, l, blobs(x), top)
		copy(top[0].Diff(), randomBlob(2, n).Data())
		backward(t, l, blobs(x), top)
		return [][]float32{clone(top[0].Data()), clone(x.Diff())}
	})
}
