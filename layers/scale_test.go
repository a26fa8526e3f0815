package layers

import (
	"testing"

	"crema/tensor"
)

func TestScale(t *testing.T) {
	x := blobOf(shape(2, 2, 2), 1, 2, 3, 4, 5, 6, 7, 8)
	for _, c := range []struct {
		param  string
		shape  []int
		blobs  [][]float32
		second *tensor.Blob
		want   []float32
	}{
		{``, shape(2), [][]float32{{2, 3}}, nil, []float32{2, 4, 9, 12, 10, 12, 21, 24}},
		{`bias_term: true`, shape(2), [][]float32{{2, 3}, {100, 200}}, nil, []float32{102, 104, 209, 212, 110, 112, 221, 224}},
		{`axis: 0`, shape(2), [][]float32{{2, 3}}, nil, []float32{2, 4, 6, 8, 15, 18, 21, 24}},
		{`axis: -1 bias_term: true`, shape(2), [][]float32{{2, 3}, {100, 200}}, nil, []float32{102, 206, 106, 212, 110, 218, 114, 224}},
		{`axis: 1 num_axes: 2`, shape(2, 2), [][]float32{{2, 3, 4, 5}}, nil, []float32{2, 6, 12, 20, 10, 18, 28, 40}},
		{`axis: -2 num_axes: -1`, shape(2, 2), [][]float32{{2, 3, 4, 5}}, nil, []float32{2, 6, 12, 20, 10, 18, 28, 40}},
		{`axis: 0 num_axes: -1`, shape(2, 2, 2), [][]float32{{1, 2, 1, 2, 1, 2, 1, 2}}, nil, []float32{1, 4, 3, 8, 5, 12, 7, 16}},
		{`num_axes: 0 bias_term: true`, shape(), [][]float32{{2}, {1}}, nil, []float32{3, 5, 7, 9, 11, 13, 15, 17}},
		{``, nil, nil, blobOf(shape(2, 2), 2, 3, 4, 5), []float32{2, 6, 12, 20, 10, 18, 28, 40}},
		{`axis: 0 bias_term: true`, shape(2), [][]float32{{100, 200}}, blobOf(shape(2), 2, 3), []float32{102, 104, 106, 108, 215, 218, 221, 224}},
		{`axis: 7`, nil, nil, blobOf(shape(), 2), []float32{2, 4, 6, 8, 10, 12, 14, 16}},
	} {
		bottom := blobs(x)
		if c.second != nil {
			bottom = append(bottom, c.second)
		}
		l, top := newLayer(t, testContext(train), `type: "Scale" scale_param { `+c.param+` }`, bottom, 1)
		if len(l.Params()) != len(c.blobs) {
			t.Fatalf("%s: %d parameters", c.param, len(l.Params()))
		}
		for i, b := range l.Params() {
			wantShape(t, c.param, b, c.shape...)
			copy(b.Data(), c.blobs[i])
		}
		forward(t, l, bottom, top)
		equal(t, c.param, top[0].Data(), c.want...)
	}
}

// TestScaleStart checks what parameters begin as: the identity.
func TestScaleStart(t *testing.T) {
	x := blobs(randomBlob(1, 2, 3))
	for text, want := range map[string][]float32{
		`bias_term: true`: {1, 0},
		`bias_term: true filler { value: 3 } bias_filler { value: 4 }`: {3, 4},
		`bias_term: true filler { }`:                                   {0, 0},
	} {
		l, _ := newLayer(t, testContext(train), `type: "Scale" scale_param { `+text+` }`, x, 1)
		for i, p := range l.Params() {
			equal(t, text, p.Data(), want[i], want[i], want[i])
		}
	}
}

// scales has every way in which a blob is repeated: scale_param, and the shapes
// of the bottoms.
var scales = []struct {
	param  string
	shapes [][]int
}{
	{`bias_term: true`, [][]int{{2, 3, 2, 2}}},
	{`bias_term: true`, [][]int{{3, 4}}},
	{``, [][]int{{2, 3, 3}}},
	{`axis: 0 num_axes: -1 bias_term: true`, [][]int{{2, 3, 2}}},
	{`axis: 1 num_axes: 2`, [][]int{{2, 3, 2, 2}}},
	{`axis: -1 bias_term: true`, [][]int{{2, 2, 3}}},
	{`num_axes: 0 bias_term: true`, [][]int{{2, 3, 2}}},
	{`axis: 0 bias_term: true`, [][]int{{2, 3, 2}, {2}}},
	{`axis: 0`, [][]int{{2, 3, 2}, {2, 3, 2}}},
	{`axis: 0 bias_term: true`, [][]int{{2, 3, 2}, {2, 3, 2}}},
	{`bias_term: true`, [][]int{{2, 3, 2}, {3, 2}}},
	{``, [][]int{{2, 3, 2}, {}}},
}

func randomBlobs(shapes [][]int) []*tensor.Blob {
	var b []*tensor.Blob
	for i, s := range shapes {
		b = append(b, randomBlob(uint64(i)+1, s...))
	}
	return b
}

const scaleFillers = ` filler { type: "gaussian" } bias_filler { type: "gaussian" } }`

func TestScaleGradient(t *testing.T) {
	for _, c := range scales {
		checkGradient(t, gradCheck{}, `type: "Scale" scale_param { `+c.param+scaleFillers, randomBlobs(c.shapes), 1)
	}
}

func TestScaleInPlace(t *testing.T) {
	for _, c := range scales {
		checkInPlace(t, `type: "Scale" scale_param { `+c.param+scaleFillers, randomBlobs(c.shapes), true)
	}
}

// A net that does not train the scale need not keep the bottom.
func TestScaleKeepsOnlyWhatIsNeeded(t *testing.T) {
	x := randomBlob(1, 2, 3)
	l, _ := newLayer(t, testContext(train), `type: "Scale"`, blobs(x), 1)
	l.SetParamPropagateDown(0, false)
	before := l.(*scale).kept.Version()
	forward(t, l, blobs(x), blobs(x))
	if l.(*scale).kept.Version() != before {
		t.Error("it was kept")
	}
	copy(x.Diff(), []float32{1, 2, 3, 4, 5, 6})
	backward(t, l, blobs(x), blobs(x))
	equal(t, "gradient", x.Diff(), 1, 2, 3, 4, 5, 6)
}

func TestScalePasses(t *testing.T) {
	for _, c := range []struct {
		param  string
		shapes [][]int
	}{
		{`bias_term: true`, [][]int{{3, 5, 130, 128}}},
		{`bias_term: true`, [][]int{{600, 150}}},
		{`axis: 0 num_axes: -1`, [][]int{{3, 50, 300}}},
		{`num_axes: 0 bias_term: true`, [][]int{{3, 50, 300}}},
		{`axis: 0`, [][]int{{3, 50, 300}, {3, 50}}},
		{`axis: 0`, [][]int{{3, 50, 300}, {3, 50, 300}}},
		{`axis: -1`, [][]int{{30, 50, 30}, {30}}},
	} {
		checkPasses(t, `type: "Scale" scale_param { `+c.param+scaleFillers, randomBlobs(c.shapes), 1)
	}
}

func TestScaleBlocked(t *testing.T) {
	for _, param := range []string{``, `bias_term: true`, `num_axes: 0 bias_term: true`} {
		checkBlockedNear(t, 1e-5, `type: "Scale" scale_param { `+param+scaleFillers, blobs(randomBlob(1, 3, 48, 41, 37)), 1)
		checkBlockedNear(t, 1e-5, `type: "Scale" scale_param { `+param+scaleFillers, blobs(randomBlob(1, 3, 32, 1, 1)), 1)
	}
	checkBlocked(t, `type: "Scale" scale_param { axis: 0 }`, blobs(randomBlob(1, 2, 32, 3, 5), randomBlob(2, 2, 32, 3, 5)), 1)
	// What has other axes, or parameters for all.
	for _, c := range []struct {
		param  string
		shapes [][]int
	}{
		{`axis: 0`, [][]int{{2, 32, 3, 3}}},
		{`axis: 1 num_axes: 2`, [][]int{{2, 32, 3, 3}}},
		{`axis: 0 num_axes: -1`, [][]int{{2, 32, 3, 3}}},
		{`axis: 0 bias_term: true`, [][]int{{2, 32, 3, 3}, {2, 32, 3, 3}}},
		{`axis: 0`, [][]int{{2, 32, 3, 3}, {2, 32}}},
	} {
		l, _ := newLayer(t, testContext(train), `type: "Scale" scale_param { `+c.param+` }`, randomBlobs(c.shapes), 1)
		if got := l.(LayoutTaker).Fit(tensor.Blocked, tensor.Blocked); got != Unfit {
			t.Errorf("%s: fit %v", c.param, got)
		}
	}
}

func TestScaleErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2, 3, 4))
	wantError(t, train, `type: "Scale" scale_param { axis: 3 }`, x, 1, "scale_param: axis: axis 3 out of range")
	wantError(t, train, `type: "Scale" scale_param { axis: -4 }`, x, 1, "axis -4 out of range")
	wantError(t, train, `type: "Scale" scale_param { num_axes: 3 }`, x, 1, "num_axes must be -1 or 0 to 2 for axis 1 of a bottom of shape 2×3×4, not 3")
	wantError(t, train, `type: "Scale" scale_param { num_axes: -2 }`, x, 1, "not -2")
	wantError(t, train, `type: "Scale" scale_param { filler { type: "odd" } }`, x, 1, `scale: unknown filler type "odd"`)
	wantError(t, train, `type: "Scale" scale_param { bias_term: true bias_filler { type: "odd" } }`, x, 1, `bias: unknown filler type "odd"`)
	two := blobs(x[0], randomBlob(2, 3, 5))
	wantError(t, train, `type: "Scale"`, two, 1, "the shape 3×5 is not that of the axes from 1 on of a bottom of shape 2×3×4")
	wantError(t, train, `type: "Scale" scale_param { axis: 2 }`, two, 1, "the shape 3×5 is not that")
	wantError(t, train, `type: "Scale" scale_param { axis: 3 }`, two, 1, "axis 3 out of range")
	wantError(t, train, `type: "Scale"`, blobs(x[0], x[0], x[0]), 1, "at most 2 bottom")
	l, top := newLayer(t, testContext(train), `type: "Scale"`, x, 1)
	if err := l.Reshape(blobs(tensor.New(2, 4, 4)), top); err == nil {
		t.Error("another number of channels was accepted")
	}
	// The bias is for the shape that the second bottom had.
	s := tensor.New(3)
	l, top = newLayer(t, testContext(train), `type: "Scale" scale_param { bias_term: true }`, blobs(x[0], s), 1)
	s.Reshape(3, 4)
	if err := l.Reshape(blobs(x[0], s), top); err == nil {
		t.Error("another shape than the bias has was accepted")
	}
}

// TestScaleLeaves checks what is in the gradient of a bottom that none was asked
// for: what Caffe leaves there, if there is memory for it.
func TestScaleLeaves(t *testing.T) {
	const text = `type: "Scale" scale_param { filler { value: 3 } }`
	x := randomBlob(1, 2, 3, 4)
	l, top := newLayer(t, testContext(train), text, blobs(x), 1)
	forward(t, l, blobs(x), top)
	copy(top[0].Diff(), randomBlob(2, 2, 3, 4).ReadData())
	for _, has := range []bool{false, true} {
		if has {
			x.Diff()
		}
		if err := l.Backward(top, []bool{false}, blobs(x)); err != nil {
			t.Fatal(err)
		}
		if x.HasDiff() != has {
			t.Fatalf("memory for the gradient: %v, want %v", x.HasDiff(), has)
		}
	}
	for i, v := range x.Diff() {
		if want := top[0].Diff()[i] * x.ReadData()[i]; v != want {
			t.Fatalf("element %d is %v, want %v", i, v, want)
		}
	}
}
