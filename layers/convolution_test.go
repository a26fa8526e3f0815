package layers

import (
	"testing"

	"crema/tensor"
)

// naiveConv is the definition, one output at a time.
type naiveConv struct {
	kernel, stride, pad, dilation [2]int
	group                         int
}

func (c naiveConv) forward(x, w *tensor.Blob, bias []float32, outH, outW int) []float32 {
	n, ch, h, wd := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	k := w.Dim(0)
	var y []float32
	for i := range n {
		for o := range k {
			for oy := range outH {
				for ox := range outW {
					var sum float64
					if bias != nil {
						sum = float64(bias[o])
					}
					for q := range ch / c.group {
						from := o/(k/c.group)*(ch/c.group) + q
						for r := range c.kernel[0] {
							for s := range c.kernel[1] {
								iy, ix := oy*c.stride[0]-c.pad[0]+r*c.dilation[0], ox*c.stride[1]-c.pad[1]+s*c.dilation[1]
								if iy < 0 || ix < 0 || iy >= h || ix >= wd {
									continue
								}
								sum += float64(x.Data()[((i*ch+from)*h+iy)*wd+ix]) *
									float64(w.Data()[((o*(ch/c.group)+q)*c.kernel[0]+r)*c.kernel[1]+s])
							}
						}
					}
					y = append(y, float32(sum))
				}
			}
		}
	}
	return y
}

const filler = ` weight_filler { type: "gaussian" } bias_filler { type: "gaussian" }`

// A filterCase is a layer with filters and its definition.
type filterCase struct {
	name, param string
	naive       naiveConv
	in, want    []int // shapes of bottom and top
}

// checkFilters compares a layer, with a bias and without, with what naive makes
// of the blobs of a case, and checks its gradients. weights gives their shape.
func checkFilters(t *testing.T, typ string, cases []filterCase, weights func(c filterCase) []int,
	naive func(c naiveConv, x, w *tensor.Blob, bias []float32, outH, outW int) []float32) {
	for _, c := range cases {
		for _, bias := range []bool{true, false} {
			name, param := c.name, c.param
			if !bias {
				name, param = name+" without bias", param+" bias_term: false"
			}
			t.Run(name, func(t *testing.T) {
				x := randomBlob(1, c.in...)
				l, top := newLayer(t, testContext(train), `type: "`+typ+`" convolution_param { `+param+filler+` }`, blobs(x), 1)
				wantShape(t, "top", top[0], c.want...)
				p := l.Params()
				wantShape(t, "weights", p[0], weights(c)...)
				var b []float32
				if bias {
					wantShape(t, "bias", p[1], c.want[1])
					b = p[1].Data()
				} else if len(p) != 1 {
					t.Fatalf("%d parameters, want 1", len(p))
				}
				forward(t, l, blobs(x), top)
				near(t, "top", 1e-4, top[0].Data(), naive(c.naive, x, p[0], b, c.want[2], c.want[3])...)
				gradCheck{}.run(t, l, blobs(x), top)
			})
		}
	}
}

func TestConvolution(t *testing.T) {
	checkFilters(t, "Convolution", []filterCase{
		{"plain", `num_output: 3 kernel_size: 3`, naiveConv{[2]int{3, 3}, [2]int{1, 1}, [2]int{}, [2]int{1, 1}, 1}, shape(2, 2, 5, 6), shape(2, 3, 3, 4)},
		{"pad and stride", `num_output: 3 kernel_size: 3 stride: 2 pad: 1`, naiveConv{[2]int{3, 3}, [2]int{2, 2}, [2]int{1, 1}, [2]int{1, 1}, 1}, shape(2, 2, 5, 6), shape(2, 3, 3, 3)},
		{"lists", `num_output: 3 kernel_size: 3 kernel_size: 2 stride: 2 stride: 1 pad: 1 pad: 0 dilation: 1 dilation: 2`, naiveConv{[2]int{3, 2}, [2]int{2, 1}, [2]int{1, 0}, [2]int{1, 2}, 1}, shape(2, 2, 5, 6), shape(2, 3, 3, 4)},
		{"h and w", `num_output: 3 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1`, naiveConv{[2]int{3, 2}, [2]int{2, 1}, [2]int{1, 0}, [2]int{1, 1}, 1}, shape(2, 2, 5, 6), shape(2, 3, 3, 5)},
		{"groups", `num_output: 6 kernel_size: 3 pad: 1 group: 2`, naiveConv{[2]int{3, 3}, [2]int{1, 1}, [2]int{1, 1}, [2]int{1, 1}, 2}, shape(2, 4, 4, 3), shape(2, 6, 4, 3)},
		{"depthwise", `num_output: 4 kernel_size: 3 pad: 1 group: 4`, naiveConv{[2]int{3, 3}, [2]int{1, 1}, [2]int{1, 1}, [2]int{1, 1}, 4}, shape(2, 4, 4, 3), shape(2, 4, 4, 3)},
		{"dilation", `num_output: 2 kernel_size: 3 dilation: 2 pad: 2`, naiveConv{[2]int{3, 3}, [2]int{1, 1}, [2]int{2, 2}, [2]int{2, 2}, 1}, shape(1, 2, 6, 7), shape(1, 2, 6, 7)},
		{"1x1", `num_output: 5 kernel_size: 1`, naiveConv{[2]int{1, 1}, [2]int{1, 1}, [2]int{}, [2]int{1, 1}, 1}, shape(2, 3, 4, 4), shape(2, 5, 4, 4)},
		{"force_nd_im2col", `num_output: 3 kernel_size: 3 force_nd_im2col: true engine: CAFFE`, naiveConv{[2]int{3, 3}, [2]int{1, 1}, [2]int{}, [2]int{1, 1}, 1}, shape(2, 2, 5, 6), shape(2, 3, 3, 4)},
	}, func(c filterCase) []int {
		return shape(c.want[1], c.in[1]/c.naive.group, c.naive.kernel[0], c.naive.kernel[1])
	}, naiveConv.forward)
}

func TestConvolutionSharesWeights(t *testing.T) {
	const text = `type: "Convolution" convolution_param { num_output: 3 kernel_size: 2` + filler + ` }`
	a, b := randomBlob(1, 2, 2, 3, 4), randomBlob(2, 2, 2, 3, 4)
	l, top := newLayer(t, testContext(train), text, blobs(a, b), 2)
	forward(t, l, blobs(a, b), top)
	single, one := newLayer(t, testContext(train), text, blobs(b), 1)
	forward(t, single, blobs(b), one)
	equal(t, "second top", top[1].Data(), one[0].Data()...)
	gradCheck{}.run(t, l, blobs(a, b), top)
}

func TestConvolution1D(t *testing.T) {
	x := randomBlob(1, 2, 4, 9)
	l, top := newLayer(t, testContext(train), `type: "Convolution" convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 dilation: 2 group: 2`+filler+` }`, blobs(x), 1)
	wantShape(t, "top", top[0], 2, 6, 4)
	wantShape(t, "weights", l.Params()[0], 6, 2, 3)
	forward(t, l, blobs(x), top)
	x4, w4 := tensor.New(2, 4, 1, 9), tensor.New(6, 2, 1, 3)
	x4.ShareData(x)
	w4.ShareData(l.Params()[0])
	naive := naiveConv{[2]int{1, 3}, [2]int{1, 2}, [2]int{0, 1}, [2]int{1, 2}, 2}
	near(t, "top", 1e-4, top[0].Data(), naive.forward(x4, w4, l.Params()[1].Data(), 1, 4)...)
	gradCheck{}.run(t, l, blobs(x), top)
}

// A 3-D convolution is a sum of 2-D ones: output plane d is what the kernel's
// planes make of the input's planes that they meet.
func TestConvolution3D(t *testing.T) {
	x := randomBlob(1, 2, 4, 5, 4, 6)
	l, top := newLayer(t, testContext(train), `type: "Convolution" convolution_param { num_output: 6 kernel_size: 3 kernel_size: 2 kernel_size: 3
		stride: 2 stride: 1 stride: 1 pad: 1 pad: 0 pad: 1 dilation: 1 dilation: 2 dilation: 1 group: 2`+filler+` }`, blobs(x), 1)
	wantShape(t, "top", top[0], 2, 6, 3, 2, 6)
	w, b := l.Params()[0], l.Params()[1]
	wantShape(t, "weights", w, 6, 2, 3, 2, 3)
	forward(t, l, blobs(x), top)
	// plane cuts plane d out of a blob of five axes.
	plane := func(b *tensor.Blob, d int) *tensor.Blob {
		p := tensor.New(b.Dim(0), b.Dim(1), b.Dim(3), b.Dim(4))
		size, depth := b.CountFrom(3), b.Dim(2)
		for i := range b.CountRange(0, 2) {
			copy(p.Data()[i*size:][:size], b.ReadData()[(i*depth+d)*size:])
		}
		return p
	}
	naive := naiveConv{[2]int{2, 3}, [2]int{1, 1}, [2]int{0, 1}, [2]int{2, 1}, 2}
	for d := range 3 {
		got := plane(top[0], d)
		sum := make([]float32, got.Count())
		for i := range sum {
			sum[i] = b.Data()[i/got.CountFrom(2)%6]
		}
		for r := range 3 {
			if from := 2*d - 1 + r; from >= 0 && from < 5 {
				for i, v := range naive.forward(plane(x, from), plane(w, r), nil, 2, 6) {
					sum[i] += v
				}
			}
		}
		near(t, "top", 1e-4, got.Data(), sum...)
	}
	small := randomBlob(1, 1, 2, 2, 3, 2)
	checkGradient(t, gradCheck{}, `type: "Convolution" convolution_param { num_output: 2 kernel_size: 2 pad: 1 stride: 2 group: 2`+filler+` }`, blobs(small), 1)
}

// Without spatial axes it is a fully connected layer.
func TestConvolution0D(t *testing.T) {
	x := randomBlob(1, 3, 4)
	for _, param := range []string{`num_output: 5`, `num_output: 5 kernel_size: 1 stride: 1`} {
		l, top := newLayer(t, testContext(train), `type: "Convolution" convolution_param { `+param+filler+` }`, blobs(x), 1)
		wantShape(t, "top", top[0], 3, 5)
		wantShape(t, "weights", l.Params()[0], 5, 4)
		forward(t, l, blobs(x), top)
		ip, want := newLayer(t, testContext(train), `type: "InnerProduct" inner_product_param { num_output: 5 }`, blobs(x), 1)
		for i, p := range ip.Params() {
			copy(p.Data(), l.Params()[i].Data())
		}
		forward(t, ip, blobs(x), want)
		near(t, "top", 1e-5, top[0].Data(), want[0].Data()...)
		gradCheck{}.run(t, l, blobs(x), top)
	}
}

func TestConvolutionAxis(t *testing.T) {
	const param = `num_output: 3 kernel_size: 2` + filler
	x := randomBlob(1, 2, 3, 2, 4, 5)
	l, top := newLayer(t, testContext(train), `type: "Convolution" convolution_param { axis: -3 `+param+` }`, blobs(x), 1)
	wantShape(t, "top", top[0], 2, 3, 3, 3, 4)
	forward(t, l, blobs(x), top)
	flat := tensor.New(6, 2, 4, 5)
	flat.ShareData(x)
	l2, top2 := newLayer(t, testContext(train), `type: "Convolution" convolution_param { `+param+` }`, blobs(flat), 1)
	forward(t, l2, blobs(flat), top2)
	equal(t, "top", top[0].Data(), top2[0].Data()...)
}

func TestConvolutionReshape(t *testing.T) {
	x := randomBlob(1, 2, 2, 5, 6)
	l, top := newLayer(t, testContext(train), `type: "Convolution" convolution_param { num_output: 3 kernel_size: 3`+filler+` }`, blobs(x), 1)
	c := l.(*convolution)
	plan := c.plan
	if err := l.Reshape(blobs(x), top); err != nil || c.plan != plan {
		t.Errorf("Reshape without a change made a new plan (%v)", err)
	}
	x = randomBlob(1, 1, 2, 4, 4)
	if err := l.Reshape(blobs(x), top); err != nil {
		t.Fatal(err)
	}
	wantShape(t, "top", top[0], 1, 3, 2, 2)
	forward(t, l, blobs(x), top)
	naive := naiveConv{[2]int{3, 3}, [2]int{1, 1}, [2]int{}, [2]int{1, 1}, 1}
	near(t, "top", 1e-4, top[0].Data(), naive.forward(x, l.Params()[0], l.Params()[1].Data(), 2, 2)...)
	for _, bad := range []*tensor.Blob{tensor.New(1, 3, 4, 4), tensor.New(1, 2, 4), tensor.New(1, 2, 2, 4)} {
		if err := l.Reshape(blobs(bad), top); err == nil {
			t.Errorf("a bottom of shape %v was accepted", bad.Shape())
		}
	}
	if err := l.Reshape(blobs(x), blobs(x)); err == nil {
		t.Error("in-place computation was accepted")
	}
}

// Backward computes only what is wanted.
func TestFiltersPropagateDown(t *testing.T) {
	for _, typ := range []string{"Convolution", "Deconvolution"} {
		t.Run(typ, func(t *testing.T) {
			x := randomBlob(1, 1, 2, 4, 4)
			l, top := newLayer(t, testContext(train), `type: "`+typ+`" convolution_param { num_output: 3 kernel_size: 3`+filler+` }`, blobs(x), 1)
			forward(t, l, blobs(x), top)
			top[0].Diff()[0] = 1
			l.SetParamPropagateDown(0, false)
			l.SetParamPropagateDown(1, false)
			if err := l.Backward(top, []bool{false}, blobs(x)); err != nil {
				t.Fatal(err)
			}
			for i, b := range append(l.Params(), x) {
				if b.HasDiff() {
					t.Errorf("blob %d got a gradient", i)
				}
			}
			l.SetParamPropagateDown(1, true)
			if err := l.Backward(top, []bool{false}, blobs(x)); err != nil {
				t.Fatal(err)
			}
			equal(t, "bias gradient", l.Params()[1].Diff(), 1, 0, 0)
		})
	}
}

func TestConvolutionErrors(t *testing.T) {
	for param, want := range map[string]string{
		``:               "kernel_size must be between 1",
		`kernel_size: 3`: "num_output must be between 1",
		`num_output: 2 kernel_size: 3 kernel_size: 3 kernel_size: 3`:    "3 times for 2 axes",
		`num_output: 2 kernel_size: 3 kernel_h: 3 kernel_w: 3`:          "not both",
		`num_output: 2 kernel_h: 3`:                                     "kernel_h and kernel_w must be between 1",
		`num_output: 2 kernel_size: 3 stride: 0`:                        "stride must be between 1",
		`num_output: 2 kernel_size: 3 stride_h: 1`:                      "stride_h and stride_w must be between 1",
		`num_output: 2 kernel_size: 3 pad: 1 pad_h: 2`:                  "not both",
		`num_output: 2 kernel_size: 3 pad: 4294967295`:                  "pad must be between 0",
		`num_output: 2 kernel_size: 3 dilation: 0`:                      "dilation must be between 1",
		`num_output: 3 kernel_size: 3 group: 2`:                         "group 2 must divide the 4 input channels and num_output 3",
		`num_output: 3 kernel_size: 3 group: 3`:                         "group 3 must divide",
		`num_output: 3 kernel_size: 3 group: 0`:                         "group must be between 1",
		`num_output: 2 kernel_size: 7`:                                  "spans 7 along spatial axis 0",
		`num_output: 2 kernel_h: 3 kernel_w: 9 pad_w: 1`:                "spans 9 along spatial axis 1",
		`num_output: 2 kernel_size: 3 axis: 4`:                          "axis 4 out of range",
		`num_output: 2 kernel_size: 3 kernel_size: 3 axis: 3`:           "2 times for 0 axes",
		`num_output: 2 kernel_h: 3 kernel_w: 3 axis: 2`:                 "for two spatial axes, not 1",
		`num_output: 2000000000 kernel_size: 3`:                         "weight: shape",
		`num_output: 2 kernel_size: 3 weight_filler { type: "who" }`:    "unknown filler",
		`num_output: 2 kernel_size: 3 bias_filler { type: "bilinear" }`: "bias: bilinear",
	} {
		wantError(t, train, `type: "Convolution" convolution_param { `+param+` }`, blobs(tensor.New(1, 4, 6, 6)), 1, want)
	}
	const ok = `type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 }`
	wantError(t, train, ok, blobs(tensor.New(1, 4, 6, 6), tensor.New(2, 4, 6, 6)), 2, "differ in shape")
	wantError(t, train, ok, blobs(tensor.New(1, 4, 6, 6), tensor.New(1, 4, 6, 6)), 1, "as many top as bottom")
	wantError(t, train, ok, blobs(tensor.New(1, 0, 6, 6)), 1, "no channels")
}
