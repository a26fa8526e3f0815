package layers

import (
	"testing"

	"crema/tensor"
)

func TestIm2col(t *testing.T) {
	// Two channels of 2×3 pixels, seen by a kernel of 2×2 with a border of one
	// row.
	x := blobOf(shape(1, 2, 2, 3),
		1, 2, 3,
		4, 5, 6,

		7, 8, 9,
		10, 11, 12)
	l, top := newLayer(t, testContext(train), `type: "Im2col" convolution_param { kernel_size: 2 pad: 1 pad: 0 }`, blobs(x), 1)
	wantShape(t, "top", top[0], 1, 8, 3, 2)
	forward(t, l, blobs(x), top)
	equal(t, "top", top[0].Data(),
		0, 0, 1, 2, 4, 5,
		0, 0, 2, 3, 5, 6,
		1, 2, 4, 5, 0, 0,
		2, 3, 5, 6, 0, 0,

		0, 0, 7, 8, 10, 11,
		0, 0, 8, 9, 11, 12,
		7, 8, 10, 11, 0, 0,
		8, 9, 11, 12, 0, 0)
}

func TestIm2colWindows(t *testing.T) {
	for _, c := range []struct {
		name, param string
		in, out     []int
	}{
		{"2-D", `kernel_size: 2`, shape(2, 3, 3, 4), shape(2, 12, 2, 3)},
		{"stride and pad", `kernel_size: 3 stride: 2 pad: 1`, shape(2, 2, 4, 5), shape(2, 18, 2, 3)},
		{"dilation", `kernel_size: 2 dilation: 2 pad: 1`, shape(1, 2, 4, 3), shape(1, 8, 4, 3)},
		{"h and w", `kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 1`, shape(1, 2, 3, 5), shape(1, 12, 4, 2)},
		{"lists", `kernel_size: 3 kernel_size: 1 stride: 1 stride: 2 force_nd_im2col: true engine: CAFFE num_output: 7 group: 3`, shape(1, 2, 3, 5), shape(1, 6, 1, 3)},
		{"1-D", `kernel_size: 3 pad: 1 stride: 2`, shape(2, 2, 6), shape(2, 6, 3)},
		{"3-D", `kernel_size: 2 stride: 2 pad: 1`, shape(1, 2, 3, 2, 4), shape(1, 16, 2, 2, 3)},
		{"axis", `kernel_size: 2 axis: 2`, shape(2, 2, 3, 2, 3), shape(2, 2, 12, 1, 2)},
		{"axis from the end", `kernel_size: 2 axis: -2`, shape(2, 2, 3, 2, 3), shape(2, 2, 3, 4, 2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := randomBlob(1, c.in...)
			l, top := newLayer(t, testContext(train), `type: "Im2col" convolution_param { `+c.param+` }`, blobs(x), 1)
			wantShape(t, "top", top[0], c.out...)
			forward(t, l, blobs(x), top)
			gradCheck{}.run(t, l, blobs(x), top)
		})
	}
}

// A product of weights and columns is what a convolution computes.
func TestIm2colConvolution(t *testing.T) {
	const param = `kernel_size: 3 kernel_size: 2 stride: 2 stride: 1 pad: 1 dilation: 1 dilation: 2`
	x := randomBlob(1, 2, 3, 5, 6)
	l, cols := newLayer(t, testContext(train), `type: "Im2col" convolution_param { `+param+` }`, blobs(x), 1)
	forward(t, l, blobs(x), cols)
	filters, y := newLayer(t, testContext(train), `type: "Convolution" convolution_param { num_output: 4 `+param+filler+` }`, blobs(x), 1)
	forward(t, filters, blobs(x), y)
	one, z := newLayer(t, testContext(train), `type: "Convolution" convolution_param { num_output: 4 kernel_size: 1 }`, cols, 1)
	for i, p := range filters.Params() {
		copy(one.Params()[i].Data(), p.Data())
	}
	forward(t, one, cols, z)
	near(t, "top", 1e-5, z[0].Data(), y[0].Data()...)
}

func TestIm2colPasses(t *testing.T) {
	checkPasses(t, `type: "Im2col" convolution_param { kernel_size: 3 stride: 2 pad: 1 }`, blobs(randomBlob(1, 2, 3, 40, 41)), 1)
}

func TestIm2colReshape(t *testing.T) {
	const text = `type: "Im2col" convolution_param { kernel_size: 3 }`
	x := randomBlob(1, 2, 3, 5, 6)
	l, top := newLayer(t, testContext(train), text, blobs(x), 1)
	for _, s := range [][]int{{1, 2, 3, 4}, {3, 2, 6, 3}, {0, 2, 3, 3}} {
		x := randomBlob(1, s...)
		if err := l.Reshape(blobs(x), top); err != nil {
			t.Fatal(err)
		}
		forward(t, l, blobs(x), top)
		fresh, want := newLayer(t, testContext(train), text, blobs(x), 1)
		forward(t, fresh, blobs(x), want)
		wantShape(t, "top", top[0], want[0].Shape()...)
		equal(t, "top", top[0].Data(), want[0].Data()...)
	}
	for _, s := range [][]int{{1, 2, 3}, {1, 2, 3, 2}, {1, 2, 3, 4, 5}, {1, 0, 3, 3}} {
		if err := l.Reshape(blobs(tensor.New(s...)), top); err == nil {
			t.Errorf("a bottom of shape %v was accepted", s)
		}
	}
}

func TestIm2colErrors(t *testing.T) {
	x := tensor.New(1, 4, 6, 6)
	for param, want := range map[string]string{
		``:                                    "kernel_size must be between 1",
		`kernel_size: 3 stride: 0`:            "stride must be between 1",
		`kernel_size: 3 dilation: 0`:          "dilation must be between 1",
		`kernel_size: 3 axis: 3`:              "0 spatial axes behind axis 3",
		`kernel_size: 3 axis: 4`:              "axis 4 out of range",
		`kernel_size: 3 kernel_h: 3`:          "not both",
		`kernel_h: 3 kernel_w: 3 axis: 2`:     "for two spatial axes, not 1",
		`kernel_size: 7`:                      "spans 7 along spatial axis 0",
		`kernel_size: 2 pad: 1 pad: 1 pad: 1`: "3 times for 2 axes",
		`kernel_size: 100000 pad: 100000`:     "too many channels",
		`kernel_size: 2000 pad: 2000`:         "shape",
	} {
		wantError(t, train, `type: "Im2col" convolution_param { `+param+` }`, blobs(x), 1, want)
	}
	l, _ := newLayer(t, testContext(train), `type: "Im2col" convolution_param { kernel_size: 1 }`, blobs(x), 1)
	if err := l.Reshape(blobs(x), blobs(x)); err == nil {
		t.Error("in-place computation was accepted")
	}
}
