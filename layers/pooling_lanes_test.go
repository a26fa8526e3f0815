package layers

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"crema/tensor"
)

// blockedCopy returns a blob of the same values in the other layout.
func blockedCopy(b *tensor.Blob) *tensor.Blob {
	c := tensor.New(b.Shape()...)
	c.SetLayout(tensor.Blocked)
	toBlocked(c.Data(), b.Data(), b.CountFrom(2))
	return c
}

// toBlocked reorders arrays of blocks of 16 planes.
func toBlocked(to, from []float32, pixels int) {
	for i := range from {
		const l = tensor.Lanes
		plane, p := i/pixels, i%pixels
		to[(plane/l*pixels+p)*l+plane%l] = from[i]
	}
}

// TestPoolingBlocked compares with pooling of the same values in NCHW, which
// must give the same bits.
func TestPoolingBlocked(t *testing.T) {
	for _, param := range []string{
		`kernel_size: 2 stride: 2`,
		`kernel_size: 2 stride: 2 round_mode: FLOOR`,
		`kernel_size: 3 stride: 2`,
		`kernel_size: 3 stride: 1 pad: 1`,
		`kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 4`,
		`kernel_size: 1 stride: 3`,
		`kernel_size: 5 stride: 2 pad: 3`,
		`global_pooling: true`,
		`pool: AVE kernel_size: 1 stride: 3`,
		`pool: AVE kernel_size: 2 stride: 2`,
		`pool: AVE kernel_size: 3 stride: 2 pad: 1`,
		`pool: AVE global_pooling: true`,
	} {
		for _, size := range [][2]int{{4, 6}, {7, 5}, {1, 8}, {5, 1}, {6, 7}, {56, 56}} {
			for _, phase := range []int{0, 1} {
				ctx := testContext(train)
				if phase == 1 {
					ctx = testContext(test)
				}
				text := `type: "Pooling" pooling_param { ` + param + ` }`
				x := randomBlob(3, 2, 32, size[0], size[1])
				for i := range x.Data() {
					switch {
					case i%7 == 0:
						x.Data()[i] = 1 // equals
					case i/(size[0]*size[1])%5 == 4:
						x.Data()[i] = float32(math.Inf(-1)) // no maximum
					}
				}
				want, top, err := tryLayer(t, ctx, text, blobs(x), 1)
				if err != nil {
					continue // the kernel does not fit
				}
				what := fmt.Sprintf("%s of %v in phase %d", param, size, phase)
				forward(t, want, blobs(x), top)
				xb, yb := blockedCopy(x), tensor.New()
				l, _, err := tryLayer(t, ctx, text, blobs(x), 1)
				if err != nil {
					t.Fatal(err)
				}
				if f := l.(LayoutTaker).Fit(tensor.Blocked, tensor.Blocked); f != Fits {
					t.Fatalf("%s: fit is %v", what, f)
				}
				yb.ReshapeLike(top[0])
				yb.SetLayout(tensor.Blocked)
				if err := l.Reshape(blobs(xb), blobs(yb)); err != nil {
					t.Fatal(err)
				}
				forward(t, l, blobs(xb), blobs(yb))
				if !slices.Equal(yb.Values(), top[0].Data()) {
					t.Fatalf("%s: %v, want %v", what, head(yb.Values()), head(top[0].Data()))
				}

				copy(top[0].Diff(), randomBlob(4, top[0].Shape()...).Data())
				toBlocked(yb.Diff(), top[0].Diff(), yb.CountFrom(2))
				for i := range xb.Diff() {
					xb.Diff()[i] = 77
				}
				yb.Data()[0] = 77 // as a layer in place might
				backward(t, want, blobs(x), top)
				backward(t, l, blobs(xb), blobs(yb))
				equal(t, what+": gradient", xb.Gradients(), x.Diff()...)
			}
		}
	}
}

// TestPoolingFit lists what pooling does not do in other layouts.
func TestPoolingFit(t *testing.T) {
	for _, c := range []struct {
		param   string
		tops    int
		in, out tensor.Layout
		want    Fit
	}{
		{`kernel_size: 2`, 1, tensor.NCHW, tensor.NCHW, Fits},
		{`kernel_size: 2`, 1, tensor.NCHW, tensor.Blocked, Unfit},
		{`kernel_size: 2`, 1, tensor.Blocked, tensor.NCHW, Unfit},
		{`kernel_size: 2`, 2, tensor.Blocked, tensor.Blocked, Unfit},
		{`kernel_size: 2 pool: STOCHASTIC`, 1, tensor.Blocked, tensor.Blocked, Unfit},
		{`kernel_size: 2 pool: AVE`, 1, tensor.Blocked, tensor.Blocked, Fits},
	} {
		l, _ := newLayer(t, testContext(train), `type: "Pooling" pooling_param { `+c.param+` }`, blobs(randomBlob(1, 1, 16, 4, 4)), c.tops)
		if got := l.(LayoutTaker).Fit(c.in, c.out); got != c.want {
			t.Errorf("%s from %v to %v: fit %v, want %v", c.param, c.in, c.out, got, c.want)
		}
	}
}
