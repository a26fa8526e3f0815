package layers

import (
	"fmt"
	"math"
	"testing"

	"crema/tensor"
)

// deconvForward is the definition: each element of x adds a filter to the top.
func (c naiveConv) deconvForward(x, w *tensor.Blob, bias []float32, outH, outW int) []float32 {
	n, ch, h, wd := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	kg := w.Dim(1)
	k := kg * c.group
	y := make([]float64, n*k*outH*outW)
	for i := range y {
		if bias != nil {
			y[i] = float64(bias[i/(outH*outW)%k])
		}
	}
	for i := range n {
		for q := range ch {
			for iy := range h {
				for ix := range wd {
					v := float64(x.At(i, q, iy, ix))
					for o := range kg {
						to := q/(ch/c.group)*kg + o
						for r := range c.kernel[0] {
							for s := range c.kernel[1] {
								oy, ox := iy*c.stride[0]-c.pad[0]+r*c.dilation[0], ix*c.stride[1]-c.pad[1]+s*c.dilation[1]
								if oy >= 0 && ox >= 0 && oy < outH && ox < outW {
									y[((i*k+to)*outH+oy)*outW+ox] += v * float64(w.At(q, o, r, s))
								}
							}
						}
					}
				}
			}
		}
	}
	f := make([]float32, len(y))
	for i, v := range y {
		f[i] = float32(v)
	}
	return f
}

func TestDeconvolution(t *testing.T) {
	checkFilters(t, "Deconvolution", []filterCase{
		{"plain", `num_output: 3 kernel_size: 3`, naiveConv{[2]int{3, 3}, [2]int{1, 1}, [2]int{}, [2]int{1, 1}, 1}, shape(2, 2, 3, 4), shape(2, 3, 5, 6)},
		{"stride and pad", `num_output: 3 kernel_size: 4 stride: 2 pad: 1`, naiveConv{[2]int{4, 4}, [2]int{2, 2}, [2]int{1, 1}, [2]int{1, 1}, 1}, shape(2, 2, 3, 4), shape(2, 3, 6, 8)},
		{"stride above the kernel", `num_output: 2 kernel_size: 2 stride: 3`, naiveConv{[2]int{2, 2}, [2]int{3, 3}, [2]int{}, [2]int{1, 1}, 1}, shape(1, 2, 3, 2), shape(1, 2, 8, 5)},
		{"lists", `num_output: 3 kernel_size: 3 kernel_size: 2 stride: 2 stride: 1 pad: 1 pad: 0 dilation: 1 dilation: 2`, naiveConv{[2]int{3, 2}, [2]int{2, 1}, [2]int{1, 0}, [2]int{1, 2}, 1}, shape(2, 2, 3, 3), shape(2, 3, 5, 5)},
		{"h and w", `num_output: 3 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1`, naiveConv{[2]int{3, 2}, [2]int{2, 1}, [2]int{1, 0}, [2]int{1, 1}, 1}, shape(2, 2, 3, 3), shape(2, 3, 5, 4)},
		{"groups", `num_output: 6 kernel_size: 3 pad: 1 group: 2`, naiveConv{[2]int{3, 3}, [2]int{1, 1}, [2]int{1, 1}, [2]int{1, 1}, 2}, shape(2, 4, 4, 3), shape(2, 6, 4, 3)},
		{"groups, stride and dilation", `num_output: 2 kernel_size: 3 stride: 2 pad: 1 dilation: 2 group: 2 force_nd_im2col: true engine: CAFFE`, naiveConv{[2]int{3, 3}, [2]int{2, 2}, [2]int{1, 1}, [2]int{2, 2}, 2}, shape(2, 4, 2, 3), shape(2, 2, 5, 7)},
		{"depthwise", `num_output: 3 kernel_size: 4 stride: 2 pad: 1 group: 3`, naiveConv{[2]int{4, 4}, [2]int{2, 2}, [2]int{1, 1}, [2]int{1, 1}, 3}, shape(2, 3, 3, 2), shape(2, 3, 6, 4)},
		{"pad that cuts off taps", `num_output: 2 kernel_size: 3 stride: 2 pad: 3`, naiveConv{[2]int{3, 3}, [2]int{2, 2}, [2]int{3, 3}, [2]int{1, 1}, 1}, shape(1, 2, 5, 4), shape(1, 2, 5, 3)},
		{"1x1", `num_output: 5 kernel_size: 1`, naiveConv{[2]int{1, 1}, [2]int{1, 1}, [2]int{}, [2]int{1, 1}, 1}, shape(2, 3, 4, 4), shape(2, 5, 4, 4)},
	}, func(c filterCase) []int {
		return shape(c.in[1], c.want[1]/c.naive.group, c.naive.kernel[0], c.naive.kernel[1])
	}, naiveConv.deconvForward)
}

// Two bottoms share the filters, whose gradients add up.
func TestDeconvolutionSharesWeights(t *testing.T) {
	const text = `type: "Deconvolution" convolution_param { num_output: 3 kernel_size: 3 stride: 2` + filler + ` }`
	a, b := randomBlob(1, 2, 2, 2, 3), randomBlob(2, 2, 2, 2, 3)
	l, top := newLayer(t, testContext(train), text, blobs(a, b), 2)
	forward(t, l, blobs(a, b), top)
	single, one := newLayer(t, testContext(train), text, blobs(b), 1)
	forward(t, single, blobs(b), one)
	equal(t, "second top", top[1].Data(), one[0].Data()...)
	gradCheck{}.run(t, l, blobs(a, b), top)
}

// Other shapes than four axes are those with sizes of 1 put in.
func TestDeconvolutionAxes(t *testing.T) {
	const param = `num_output: 3 kernel_size: 3 stride: 2 pad: 1` + filler
	for _, c := range []struct {
		param        string
		in, same     []int
		out, weights []int
		dims         string
	}{
		{`axis: -3 ` + param, shape(2, 3, 2, 4, 5), shape(6, 2, 4, 5), shape(2, 3, 3, 7, 9), shape(2, 3, 3, 3), param},
		{param, shape(2, 4, 5), shape(2, 4, 1, 5), shape(2, 3, 9), shape(4, 3, 3), `num_output: 3 kernel_h: 1 kernel_w: 3 stride_h: 1 stride_w: 2 pad_w: 1` + filler},
		{`num_output: 3 kernel_size: 1 kernel_size: 3 kernel_size: 3 stride: 2 stride: 2 stride: 2 pad: 0 pad: 1 pad: 1` + filler,
			shape(2, 4, 1, 2, 3), shape(2, 4, 2, 3), shape(2, 3, 1, 3, 5), shape(4, 3, 1, 3, 3), param},
		{`num_output: 3` + filler, shape(2, 4), shape(2, 4, 1, 1), shape(2, 3), shape(4, 3), `num_output: 3 kernel_size: 1` + filler},
	} {
		x := randomBlob(1, c.in...)
		l, top := newLayer(t, testContext(train), `type: "Deconvolution" convolution_param { `+c.param+` }`, blobs(x), 1)
		wantShape(t, "top", top[0], c.out...)
		wantShape(t, "weights", l.Params()[0], c.weights...)
		forward(t, l, blobs(x), top)
		flat := tensor.New(c.same...)
		flat.ShareData(x)
		l2, top2 := newLayer(t, testContext(train), `type: "Deconvolution" convolution_param { `+c.dims+` }`, blobs(flat), 1)
		for i, p := range l2.Params() {
			copy(p.Data(), l.Params()[i].Data())
		}
		forward(t, l2, blobs(flat), top2)
		equal(t, "top", top[0].Data(), top2[0].Data()...)
		gradCheck{}.run(t, l, blobs(x), top)
	}
}

func TestDeconvolution3D(t *testing.T) {
	x := randomBlob(1, 1, 2, 2, 1, 2)
	l, top := newLayer(t, testContext(train), `type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 3 stride: 2 pad: 1 group: 2`+filler+` }`, blobs(x), 1)
	wantShape(t, "top", top[0], 1, 2, 3, 1, 3)
	wantShape(t, "weights", l.Params()[0], 2, 1, 3, 3, 3)
	gradCheck{}.run(t, l, blobs(x), top)
}

// With a filter for each channel the bilinear filler interpolates: it leaves a
// slope as it is. With one group it fills the filters across channels as well,
// as in Caffe: every top is then the sum over the bottom's channels.
func TestDeconvolutionBilinear(t *testing.T) {
	const channels, size, factor = 3, 6, 2
	x := tensor.New(1, channels, size, size)
	for i := range x.Count() {
		x.Data()[i] = float32(i/(size*size)+1) * float32(i%size)
	}
	for _, group := range []int{channels, 1} {
		l, top := newLayer(t, testContext(train), fmt.Sprintf(`type: "Deconvolution" convolution_param {
			num_output: %d group: %d kernel_size: %d stride: %d pad: %d bias_term: false weight_filler { type: "bilinear" } }`,
			channels, group, 2*factor-factor%2, factor, (factor)/2), blobs(x), 1)
		forward(t, l, blobs(x), top)
		wantShape(t, "top", top[0], 1, channels, factor*size, factor*size)
		for c := range channels {
			slope := float64(c + 1)
			if group == 1 {
				slope = 1 + 2 + 3
			}
			// Away from the edges, where zeros come in.
			for y := factor; y < factor*(size-1); y++ {
				for x := factor; x < factor*(size-1); x++ {
					want := slope * ((float64(x)+0.5)/factor - 0.5)
					if got := float64(top[0].At(0, c, y, x)); math.Abs(got-want) > 1e-5 {
						t.Fatalf("group %d: channel %d, pixel (%d, %d) is %v, want %v", group, c, y, x, got, want)
					}
				}
			}
		}
	}
}

func TestDeconvolutionReshape(t *testing.T) {
	x := randomBlob(1, 2, 2, 5, 6)
	l, top := newLayer(t, testContext(train), `type: "Deconvolution" convolution_param { num_output: 3 kernel_size: 3 stride: 2`+filler+` }`, blobs(x), 1)
	d := l.(*deconvolution)
	plan := d.plan
	if err := l.Reshape(blobs(x), top); err != nil || d.plan != plan {
		t.Errorf("Reshape without a change made a new plan (%v)", err)
	}
	x = randomBlob(1, 1, 2, 4, 4)
	if err := l.Reshape(blobs(x), top); err != nil {
		t.Fatal(err)
	}
	wantShape(t, "top", top[0], 1, 3, 9, 9)
	forward(t, l, blobs(x), top)
	naive := naiveConv{[2]int{3, 3}, [2]int{2, 2}, [2]int{}, [2]int{1, 1}, 1}
	near(t, "top", 1e-4, top[0].Data(), naive.deconvForward(x, l.Params()[0], l.Params()[1].Data(), 9, 9)...)
	for _, bad := range []*tensor.Blob{tensor.New(1, 3, 4, 4), tensor.New(1, 2, 4), tensor.New(1, 2, 0, 4)} {
		if err := l.Reshape(blobs(bad), top); err == nil {
			t.Errorf("a bottom of shape %v was accepted", bad.Shape())
		}
	}
	if err := l.Reshape(blobs(x), blobs(x)); err == nil {
		t.Error("in-place computation was accepted")
	}
	if err := l.Reshape(blobs(tensor.New(0, 2, 4, 4)), top); err != nil {
		t.Errorf("a batch of no images: %v", err)
	}
	forward(t, l, blobs(tensor.New(0, 2, 4, 4)), top)
}

func TestDeconvolutionPasses(t *testing.T) {
	for _, param := range []string{
		`num_output: 6 group: 2 kernel_size: 4 stride: 2 pad: 1`,
		`num_output: 8 group: 8 kernel_size: 4 stride: 2 pad: 1`,
		`num_output: 4 kernel_size: 3`,
	} {
		checkPasses(t, `type: "Deconvolution" convolution_param { `+param+filler+` }`, blobs(randomBlob(1, 3, 8, 30, 31)), 1)
	}
	checkPasses(t, `type: "Deconvolution" convolution_param { num_output: 6 group: 2 kernel_size: 4 stride: 2 pad: 1 `+filler+` }`, blobs(randomBlob(1, 2, 4, 5, 9, 10)), 1)
}

func TestDeconvolutionErrors(t *testing.T) {
	for param, want := range map[string]string{
		``:               "kernel_size must be between 1",
		`kernel_size: 3`: "num_output must be between 1",
		`num_output: 2 kernel_size: 3 kernel_size: 3 kernel_size: 3`: "3 times for 2 axes",
		`num_output: 2 kernel_size: 3 stride: 0`:                     "stride must be between 1",
		`num_output: 3 kernel_size: 3 group: 2`:                      "group 2 must divide the 4 input channels and num_output 3",
		`num_output: 2 kernel_size: 3 pad: 4`:                        "nothing is left along spatial axis 0",
		`num_output: 2 kernel_size: 3 pad: 1 pad: 4`:                 "nothing is left along spatial axis 1: of bottom 1×4×6×6, kernel, stride and pad make a size of 0",
		`num_output: 2 kernel_size: 3 axis: 4`:                       "axis 4 out of range",
		`num_output: 2 kernel_size: 2000000000`:                      "weight: shape",
		`num_output: 2 kernel_size: 3 stride: 2000000000`:            "shape",
		`num_output: 2 kernel_size: 3 weight_filler { type: "who" }`: "unknown filler",
	} {
		wantError(t, train, `type: "Deconvolution" convolution_param { `+param+` }`, blobs(tensor.New(1, 4, 6, 6)), 1, want)
	}
	const ok = `type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 3 }`
	wantError(t, train, ok, blobs(tensor.New(1, 4, 6, 6), tensor.New(2, 4, 6, 6)), 2, "differ in shape")
	wantError(t, train, ok, blobs(tensor.New(1, 4, 6, 6), tensor.New(1, 4, 6, 6)), 1, "as many top as bottom")
	wantError(t, train, ok, blobs(tensor.New(1, 0, 6, 6)), 1, "no channels")
}
