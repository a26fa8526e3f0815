package layers

import (
	"testing"

	"crema/tensor"
)

func TestReduction(t *testing.T) {
	x := blobOf(shape(2, 2, 2), 1, -2, 3, 0, -5, 6, -7, 8)
	for _, c := range []struct {
		param    string
		shape    []int
		want, dx []float32 // dx for gradients 1, 2, 3, …
	}{
		{``, shape(), []float32{4}, []float32{1, 1, 1, 1, 1, 1, 1, 1}},
		{`operation: SUM axis: 1`, shape(2), []float32{2, 2}, []float32{1, 1, 1, 1, 2, 2, 2, 2}},
		{`operation: MEAN axis: -1`, shape(2, 2), []float32{-.5, 1.5, .5, .5}, []float32{.5, .5, 1, 1, 1.5, 1.5, 2, 2}},
		{`operation: ASUM axis: 1 coeff: 3`, shape(2), []float32{18, 78}, []float32{3, -3, 3, 0, -6, 6, -6, 6}},
		{`operation: SUMSQ axis: 2 coeff: 0.5`, shape(2, 2), []float32{2.5, 4.5, 30.5, 56.5}, []float32{1, -2, 6, 0, -15, 18, -28, 32}},
		{`operation: MEAN coeff: -2`, shape(), []float32{-1}, []float32{-.25, -.25, -.25, -.25, -.25, -.25, -.25, -.25}},
	} {
		l, top := newLayer(t, testContext(train), `type: "Reduction" reduction_param {`+c.param+`}`, blobs(x), 1)
		wantShape(t, c.param, top[0], c.shape...)
		forward(t, l, blobs(x), top)
		equal(t, c.param, top[0].Data(), c.want...)
		for i := range top[0].Diff() {
			top[0].Diff()[i] = float32(i + 1)
		}
		backward(t, l, blobs(x), top)
		equal(t, c.param+" gradient", x.Diff(), c.dx...)
	}
}

func TestReductionGradient(t *testing.T) {
	for _, op := range []string{"SUM", "ASUM", "SUMSQ", "MEAN"} {
		checkGradient(t, gradCheck{}, `type: "Reduction" reduction_param { axis: 1 coeff: 2 operation: `+op+` }`, blobs(distinctBlob(1, 0.1, 2, 3, 4)), 1)
	}
}

func TestReductionPasses(t *testing.T) {
	for _, param := range []string{`operation: SUMSQ`, `operation: ASUM axis: 1`, `operation: MEAN axis: 3`} {
		checkPasses(t, `type: "Reduction" reduction_param {`+param+`}`, blobs(randomBlob(1, 3, 16, 40, 37)), 1)
	}
}

func TestReductionErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2, 3))
	wantError(t, train, `type: "Reduction" reduction_param { axis: 2 }`, x, 1, "axis 2 out of range")
	wantError(t, train, `type: "Reduction" reduction_param { axis: -3 }`, x, 1, "axis -3 out of range")
	wantError(t, train, `type: "Reduction"`, blobs(tensor.New()), 1, "axis 0 out of range")
	l, _ := newLayer(t, testContext(train), `type: "Reduction"`, x, 1)
	if err := l.Reshape(x, x); err == nil {
		t.Error("in-place computation was accepted")
	}
	p := parseLayer(t, `type: "Reduction" reduction_param { operation: SUM }`)
	odd := p.GetReductionParam().GetOperation() + 7
	p.ReductionParam.Operation = &odd
	if _, err := newReduction(p, testContext(train)); err == nil {
		t.Error("an unknown operation was accepted")
	}
}
