package layers

import (
	"math"
	"testing"

	"crema/tensor"
)

func TestMVN(t *testing.T) {
	x := blobOf(shape(2, 2, 1, 2), 1, 3, 10, 20, -1, -2, 4, 4)
	for _, c := range []struct {
		param string
		want  []float32
	}{
		{``, []float32{-1, 1, -1, 1, 1, -1, 0, 0}},
		{`eps: 1`, []float32{-0.5, 0.5, -5. / 6, 5. / 6, 1. / 3, -1. / 3, 0, 0}},
		{`normalize_variance: false`, []float32{-1, 1, -5, 5, 0.5, -0.5, 0, 0}},
		{`normalize_variance: false across_channels: true`, []float32{-7.5, -5.5, 1.5, 11.5, -2.25, -3.25, 2.75, 2.75}},
	} {
		l, top := newLayer(t, testContext(train), `type: "MVN" mvn_param { `+c.param+` }`, blobs(x), 1)
		forward(t, l, blobs(x), top)
		near(t, c.param, 1e-6, top[0].Data(), c.want...)
	}
	l, top := newLayer(t, testContext(train), `type: "MVN" mvn_param { across_channels: true }`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	var sum, squares [2]float64
	for i, v := range top[0].Data() {
		sum[i/4] += float64(v)
		squares[i/4] += float64(v) * float64(v)
	}
	for i := range sum {
		if math.Abs(sum[i]) > 1e-6 || math.Abs(squares[i]-4) > 1e-5 {
			t.Errorf("image %d: mean %v, variance %v", i, sum[i]/4, squares[i]/4)
		}
	}
}

// TestMVNAxes checks that the top has four axes.
func TestMVNAxes(t *testing.T) {
	for _, s := range [][]int{{}, {3}, {3, 2}, {3, 2, 5}, {3, 2, 5, 4}} {
		want := []int{1, 1, 1, 1}
		copy(want, s)
		x := randomBlob(1, s...)
		l, top := newLayer(t, testContext(train), `type: "MVN"`, blobs(x), 1)
		wantShape(t, "top", top[0], want...)
		forward(t, l, blobs(x), top)
		if err := l.Reshape(blobs(x), blobs(x)); err != nil {
			t.Fatal(err)
		}
		wantShape(t, "in place", x, want...)
		forward(t, l, blobs(x), blobs(x))
		equal(t, "in place", x.Data(), top[0].Data()...)
	}
}

var mvns = []string{``, `mvn_param { across_channels: true }`, `mvn_param { normalize_variance: false }`, `mvn_param { across_channels: true normalize_variance: false }`}

func TestMVNGradient(t *testing.T) {
	for _, param := range mvns {
		checkGradient(t, gradCheck{step: 2e-3, threshold: 4e-3}, `type: "MVN" `+param, blobs(randomBlob(1, 2, 2, 2, 3)), 1)
		checkGradient(t, gradCheck{step: 2e-3, threshold: 4e-3}, `type: "MVN" `+param, blobs(randomBlob(2, 2, 2, 5)), 1)
	}
}

func TestMVNInPlace(t *testing.T) {
	for _, param := range mvns {
		checkInPlace(t, `type: "MVN" `+param, blobs(randomBlob(1, 3, 4, 5, 2)), true)
	}
}

func TestMVNPasses(t *testing.T) {
	for _, param := range mvns {
		checkPasses(t, `type: "MVN" `+param, blobs(randomBlob(1, 2, 3, 130, 128)), 1)
		checkPasses(t, `type: "MVN" `+param, blobs(randomBlob(1, 60, 30, 5, 5)), 1)
	}
}

func TestMVNBlocked(t *testing.T) {
	for _, s := range [][]int{{3, 48, 9, 7}, {16, 16, 3, 3}} {
		for _, param := range mvns {
			l, _ := newLayer(t, testContext(train), `type: "MVN" `+param, blobs(tensor.New(s...)), 1)
			if across := l.(*mvn).across; across {
				checkBlockedNear(t, 1e-5, `type: "MVN" `+param, blobs(randomBlob(1, s...)), 1)
			} else if got := l.(LayoutTaker).Fit(tensor.Blocked, tensor.Blocked); got != Unfit {
				t.Errorf("%s: fit %v", param, got)
			}
		}
	}
}

func TestMVNErrors(t *testing.T) {
	wantError(t, train, `type: "MVN"`, blobs(tensor.New(2, 3, 4, 5, 6)), 1, "at most 4 axes, not the shape 2×3×4×5×6")
	wantError(t, train, `type: "MVN" mvn_param { eps: -1 }`, blobs(tensor.New(2, 3)), 1, "eps must be 0 or more, not -1")
	wantError(t, train, `type: "MVN" mvn_param { eps: nan }`, blobs(tensor.New(2, 3)), 1, "eps must be 0 or more")
	x := tensor.New(0, 3)
	l, top := newLayer(t, testContext(train), `type: "MVN"`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	backward(t, l, blobs(x), top)
}
