package layers

import (
	"testing"

	"crema/tensor"
)

func TestInnerProduct(t *testing.T) {
	// (1 2 3) and (4 5 6) times the rows (1 0 −1) and (2 1 0), plus 10 and 20.
	x := blobOf(shape(2, 3, 1), 1, 2, 3, 4, 5, 6)
	for _, c := range []struct {
		param   string
		weights *tensor.Blob
	}{
		{``, blobOf(shape(2, 3), 1, 0, -1, 2, 1, 0)},
		{`transpose: true`, blobOf(shape(3, 2), 1, 2, 0, 1, -1, 0)},
	} {
		l, top := newLayer(t, testContext(train), `type: "InnerProduct" inner_product_param { num_output: 2 `+c.param+` }`, blobs(x), 1)
		wantShape(t, "top", top[0], 2, 2)
		wantShape(t, "weights", l.Params()[0], c.weights.Shape()...)
		copy(l.Params()[0].Data(), c.weights.Data())
		copy(l.Params()[1].Data(), []float32{10, 20})
		forward(t, l, blobs(x), top)
		equal(t, c.param, top[0].Data(), 1-3+10, 2+2+20, 4-6+10, 8+5+20)
		copy(top[0].Diff(), []float32{1, 0, 0, 2})
		backward(t, l, blobs(x), top)
		equal(t, c.param+" bottom gradient", x.Diff(), 1, 0, -1, 4, 2, 0)
		equal(t, c.param+" bias gradient", l.Params()[1].Diff(), 1, 2)
		want := []float32{1, 2, 3, 8, 10, 12}
		if c.param != "" {
			want = []float32{1, 8, 2, 10, 3, 12}
		}
		equal(t, c.param+" weight gradient", l.Params()[0].Diff(), want...)
	}
}

func TestInnerProductGradient(t *testing.T) {
	for _, c := range []struct {
		param     string
		top       []int
		nParams   int
		weightDim []int
	}{
		{``, shape(2, 4), 2, shape(4, 30)},
		{`bias_term: false`, shape(2, 4), 1, shape(4, 30)},
		{`transpose: true`, shape(2, 4), 2, shape(30, 4)},
		{`transpose: true bias_term: false`, shape(2, 4), 1, shape(30, 4)},
		{`axis: 2`, shape(2, 3, 4), 2, shape(4, 10)},
		{`axis: -1 transpose: true`, shape(2, 3, 2, 4), 2, shape(5, 4)},
		{`axis: 0`, shape(4), 2, shape(4, 60)},
	} {
		t.Run(c.param, func(t *testing.T) {
			x := randomBlob(1, 2, 3, 2, 5)
			l, top := newLayer(t, testContext(train), `type: "InnerProduct" inner_product_param { num_output: 4 `+c.param+filler+` }`, blobs(x), 1)
			wantShape(t, "top", top[0], c.top...)
			if len(l.Params()) != c.nParams {
				t.Fatalf("%d parameters, want %d", len(l.Params()), c.nParams)
			}
			wantShape(t, "weights", l.Params()[0], c.weightDim...)
			gradCheck{}.run(t, l, blobs(x), top)
		})
	}
}

func TestInnerProductReshape(t *testing.T) {
	x := randomBlob(1, 2, 3)
	l, top := newLayer(t, testContext(train), `type: "InnerProduct" inner_product_param { num_output: 4`+filler+` }`, blobs(x), 1)
	if err := l.Reshape(blobs(tensor.New(5, 3, 1)), top); err != nil {
		t.Fatal(err)
	}
	wantShape(t, "top", top[0], 5, 4)
	if err := l.Reshape(blobs(tensor.New(2, 4)), top); err == nil {
		t.Error("vectors of another length were accepted")
	}
	if err := l.Reshape(blobs(x), blobs(x)); err == nil {
		t.Error("in-place computation was accepted")
	}
}

func TestInnerProductPropagateDown(t *testing.T) {
	x := randomBlob(1, 2, 3)
	l, top := newLayer(t, testContext(train), `type: "InnerProduct" inner_product_param { num_output: 4`+filler+` }`, blobs(x), 1)
	forward(t, l, blobs(x), top)
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
}

func TestInnerProductErrors(t *testing.T) {
	x := blobs(tensor.New(2, 3))
	wantError(t, train, `type: "InnerProduct"`, x, 1, "num_output must be between 1")
	wantError(t, train, `type: "InnerProduct" inner_product_param { num_output: 2 axis: 2 }`, x, 1, "axis 2 out of range")
	wantError(t, train, `type: "InnerProduct" inner_product_param { num_output: 2000000000 }`, x, 1, "weight: shape")
	wantError(t, train, `type: "InnerProduct" inner_product_param { num_output: 2 }`, blobs(tensor.New(2, 0)), 1, "no elements")
}
