package layers

import (
	"math"
	"strings"
	"testing"

	"crema/tensor"
)

func TestLSTMUnit(t *testing.T) {
	const d = 2
	before, cont := blobOf(shape(1, 2, d), 1, -2, 0.5, 3), conts(1, 2, 1, 0)
	gates := randomBlob(1, 1, 2, 4*d)
	l, top := newLayer(t, testContext(train), `type: "LSTMUnit"`, blobs(before, gates, cont), 2)
	if len(l.Params()) != 0 {
		t.Errorf("%d parameters", len(l.Params()))
	}
	in := clone(gates.Data())
	forward(t, l, blobs(before, gates, cont), top)
	equal(t, "gates, which are only read", gates.Data(), in...)
	sigmoid := func(v float32) float64 { return 1 / (1 + math.Exp(-float64(v))) }
	for n := range 2 {
		g := gates.Data()[n*4*d:]
		for i := range d {
			c := float64(cont.Data()[n])*sigmoid(g[d+i])*float64(before.At(0, n, i)) + sigmoid(g[i])*math.Tanh(float64(g[3*d+i]))
			near(t, "cells", 1e-6, []float32{top[0].At(0, n, i)}, float32(c))
			near(t, "hidden state", 1e-6, []float32{top[1].At(0, n, i)}, float32(sigmoid(g[2*d+i])*math.Tanh(c)))
		}
	}
}

func TestLSTMUnitGradient(t *testing.T) {
	checkGradient(t, gradCheck{skipBottom: []int{2}}, `type: "LSTMUnit"`,
		blobs(randomBlob(1, 1, 3, 4), randomBlob(2, 1, 3, 16), conts(1, 3, 1, 0, 1)), 2)
}

// Each gradient may be asked for alone.
func TestLSTMUnitPropagateDown(t *testing.T) {
	bottom := blobs(randomBlob(1, 1, 3, 4), randomBlob(2, 1, 3, 16), going(1, 3))
	l, top := newLayer(t, testContext(train), `type: "LSTMUnit"`, bottom, 2)
	forward(t, l, bottom, top)
	for i, b := range top {
		copy(b.Diff(), randomBlob(uint64(3+i), b.Shape()...).Data())
	}
	if err := l.Backward(top, []bool{true, true, false}, bottom); err != nil {
		t.Fatal(err)
	}
	want := [][]float32{clone(bottom[0].Diff()), clone(bottom[1].Diff())}
	for i, w := range want {
		for _, b := range bottom[:2] {
			for j := range b.Diff() {
				b.Diff()[j] = 7
			}
		}
		down := make([]bool, 3)
		down[i] = true
		if err := l.Backward(top, down, bottom); err != nil {
			t.Fatal(err)
		}
		equal(t, "gradient", bottom[i].Diff(), w...)
		for _, v := range bottom[1-i].Diff() {
			if v != 7 {
				t.Fatalf("bottom %d got a gradient that was not asked for", 1-i)
			}
		}
	}
	if err := l.Backward(top, []bool{true, true, true}, bottom); err == nil || !strings.Contains(err.Error(), "cannot propagate to cont") {
		t.Errorf("gradient of cont: %v", err)
	}
}

func TestLSTMUnitPasses(t *testing.T) {
	checkPasses(t, `type: "LSTMUnit"`, blobs(randomBlob(1, 1, 70, 50), randomBlob(2, 1, 70, 200), going(1, 70)), 2, 2)
}

func TestLSTMUnitErrors(t *testing.T) {
	c, gates, cont := tensor.New(1, 3, 4), tensor.New(1, 3, 16), tensor.New(1, 3)
	for _, e := range []struct {
		bottom []*tensor.Blob
		tops   int
		want   string
	}{
		{blobs(c, gates), 2, "takes exactly 3 bottom"},
		{blobs(c, gates, cont), 1, "takes exactly 2 top"},
		{blobs(tensor.New(2, 3, 4), gates, cont), 2, "must be 1 × streams × cells, not 2×3×4"},
		{blobs(tensor.New(3, 4), gates, cont), 2, "must be 1 × streams × cells, not 3×4"},
		{blobs(c, tensor.New(1, 3, 12), cont), 2, "bottom 1 is 1×3×12, not 1×3×16"},
		{blobs(c, gates, tensor.New(1, 3, 1)), 2, "bottom 2 is 1×3×1, not 1×3"},
	} {
		wantError(t, train, `type: "LSTMUnit"`, e.bottom, e.tops, e.want)
	}
	l, _ := newLayer(t, testContext(train), `type: "LSTMUnit"`, blobs(c, gates, cont), 2)
	if err := l.Reshape(blobs(c, gates, cont), blobs(c, tensor.New())); err == nil {
		t.Error("in-place computation was accepted")
	}
}
