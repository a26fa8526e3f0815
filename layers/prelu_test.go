package layers

import (
	"math"
	"testing"

	"crema/tensor"
)

func TestPReLU(t *testing.T) {
	x := blobOf(shape(2, 2, 2), -2, 3, -4, 5, 0, -1, -8, 7)
	for _, c := range []struct {
		param        string
		slope        []float32
		want, dx, ds []float32
	}{
		{``, []float32{0.5, -2}, []float32{-1, 3, 8, 5, 0, -0.5, 16, 7}, []float32{0.5, 2, -6, 4, 2.5, 3, -14, 8}, []float32{-8, -68}},
		{`prelu_param { channel_shared: true }`, []float32{0.5}, []float32{-1, 3, -2, 5, 0, -0.5, -4, 7}, []float32{0.5, 2, 1.5, 4, 2.5, 3, 3.5, 8}, []float32{-76}},
	} {
		l, top := newLayer(t, testContext(train), `type: "PReLU" `+c.param, blobs(x), 1)
		for _, v := range l.Params()[0].Data() {
			equal(t, c.param+" default", []float32{v}, 0.25)
		}
		if c.param != `` {
			wantShape(t, c.param, l.Params()[0])
		}
		copy(l.Params()[0].Data(), c.slope)
		forward(t, l, blobs(x), top)
		equal(t, c.param, top[0].Data(), c.want...)
		copy(top[0].Diff(), []float32{1, 2, 3, 4, 5, 6, 7, 8})
		backward(t, l, blobs(x), top)
		equal(t, c.param+" gradient", x.Diff(), c.dx...)
		equal(t, c.param+" gradient of the slopes", l.Params()[0].Diff(), c.ds...)
	}
}

var prelus = []string{
	`prelu_param { filler { type: "gaussian" } }`,
	`prelu_param { channel_shared: true filler { value: -0.5 } }`,
}

func TestPReLUGradient(t *testing.T) {
	for _, param := range prelus {
		for _, s := range [][]int{{2, 3, 2, 2}, {3, 4}, {2, 3, 3}} {
			checkGradient(t, gradCheck{}, `type: "PReLU" `+param, blobs(distinctBlob(1, 0.1, s...)), 1)
		}
	}
}

func TestPReLUInPlace(t *testing.T) {
	for _, param := range prelus {
		checkInPlace(t, `type: "PReLU" `+param, blobs(randomBlob(1, 3, 4, 5)), true)
		checkInPlace(t, `type: "PReLU" `+param, blobs(randomBlob(1, 7, 4)), true)
	}
}

func TestPReLUPasses(t *testing.T) {
	for _, param := range prelus {
		checkPasses(t, `type: "PReLU" `+param, blobs(randomBlob(1, 3, 5, 130, 128)), 1)
		checkPasses(t, `type: "PReLU" `+param, blobs(randomBlob(1, 600, 150)), 1)
	}
}

func TestPReLUBlocked(t *testing.T) {
	for _, param := range prelus {
		checkBlockedNear(t, 1e-6, `type: "PReLU" `+param, blobs(randomBlob(1, 3, 48, 41, 37)), 1)
		checkBlockedNear(t, 1e-6, `type: "PReLU" `+param, blobs(randomBlob(1, 3, 32, 1, 1)), 1)
	}
}

// A net that diverges must show it.
func TestPReLUKeepsNaN(t *testing.T) {
	nan := float32(math.NaN())
	for _, s := range [][]int{{2, 1, 2}, {2, 2}} {
		x := blobOf(s, nan, -nan, nan, -nan)
		l, top := newLayer(t, testContext(train), `type: "PReLU"`, blobs(x), 1)
		forward(t, l, blobs(x), top)
		for _, v := range top[0].Data() {
			if v == v {
				t.Errorf("%v: of a NaN comes %v", s, v)
			}
		}
	}
}

func TestPReLUErrors(t *testing.T) {
	wantError(t, train, `type: "PReLU"`, blobs(randomBlob(1, 3)), 1, "bottom 3 has no channels (axis 1)")
	wantError(t, train, `type: "PReLU" prelu_param { channel_shared: true }`, blobs(randomBlob(1, 3)), 1, "bottom 3 has no channels (axis 1)")
	wantError(t, train, `type: "PReLU" prelu_param { filler { type: "odd" } }`, blobs(randomBlob(1, 2, 3)), 1, `slope: unknown filler type "odd"`)
	for _, param := range []string{``, `prelu_param { channel_shared: true }`} {
		l, top := newLayer(t, testContext(train), `type: "PReLU" `+param, blobs(randomBlob(1, 2, 3)), 1)
		for _, c := range []struct {
			shape []int
			ok    bool
		}{{[]int{4, 3}, true}, {[]int{2, 4}, param != ``}, {[]int{3}, false}} {
			if err := l.Reshape(blobs(tensor.New(c.shape...)), top); (err == nil) != c.ok {
				t.Errorf("%s: reshape to %v: %v", param, c.shape, err)
			}
		}
	}
}
