package layers

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"testing"

	"crema/internal/race"
	"crema/tensor"
)

func TestArgMax(t *testing.T) {
	nan := float32(math.NaN())
	x := blobOf(shape(2, 3, 2), 1, 5, 3, 5, 2, 0, 7, 7, 7, -1, 8, nan)
	for _, c := range []struct {
		param string
		shape []int
		want  []float32
	}{
		{``, shape(2, 1, 1), []float32{3, 5}},
		{`top_k: 3`, shape(2, 1, 3), []float32{3, 1, 2, 5, 4, 2}},
		{`top_k: 2 out_max_val: true`, shape(2, 2, 2), []float32{3, 1, 5, 5, 5, 4, nan, 8}},
		{`axis: 1`, shape(2, 1, 2), []float32{1, 1, 2, 2}},
		{`axis: -2 top_k: 3`, shape(2, 3, 2), []float32{1, 1, 2, 0, 0, 2, 2, 2, 1, 0, 0, 1}},
		{`axis: 2 out_max_val: true`, shape(2, 3, 1), []float32{5, 5, 2, 7, 7, nan}},
		{`axis: 0`, shape(1, 3, 2), []float32{1, 1, 1, 0, 1, 1}},
	} {
		l, top := newLayer(t, testContext(test), `type: "ArgMax" argmax_param {`+c.param+`}`, blobs(x), 1)
		wantShape(t, c.param, top[0], c.shape...)
		forward(t, l, blobs(x), top)
		got := top[0].Data()
		for i, w := range c.want {
			if got[i] != w && (w == w || got[i] == got[i]) {
				t.Errorf("%s: got %v, want %v", c.param, got, c.want)
				break
			}
		}
	}
	for _, c := range []struct{ bottom, top []int }{
		{shape(2), shape(2, 1, 1)},
		{shape(2, 3), shape(2, 1, 1)},
		{shape(2, 3, 4, 5, 6), shape(2, 1, 1, 1, 1)},
	} {
		_, top := newLayer(t, testContext(test), `type: "ArgMax"`, blobs(tensor.New(c.bottom...)), 1)
		wantShape(t, "top", top[0], c.top...)
	}
}

// TestArgMaxSorts compares with sorting, for random values with many ties.
func TestArgMaxSorts(t *testing.T) {
	x := randomBlob(1, 50, 200)
	for i, v := range x.Data() {
		x.Data()[i] = float32(math.Round(float64(v * 5)))
	}
	l, top := newLayer(t, testContext(test), `type: "ArgMax" argmax_param { top_k: 200 }`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	for n := range 50 {
		row := x.Data()[n*200:][:200]
		order := make([]int, 200)
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(row[b], row[a]), cmp.Compare(b, a)) })
		for i, want := range order {
			if got := int(top[0].Data()[n*200+i]); got != want {
				t.Fatalf("record %d, place %d: %d, want %d", n, i, got, want)
			}
		}
	}
}

func TestArgMaxPasses(t *testing.T) {
	x := randomBlob(1, 3, 21, 40, 37)
	for _, param := range []string{`axis: 1 top_k: 2`, `top_k: 5 out_max_val: true`, `axis: 3`} {
		l, top := newLayer(t, testContext(test), `type: "ArgMax" argmax_param {`+param+`}`, blobs(x), 1)
		bottom := blobs(x)
		sameForThreads(t, func() [][]float32 {
			forward(t, l, bottom, top)
			return [][]float32{clone(top[0].Data())}
		})
		if race.Enabled {
			continue
		}
		if n := testing.AllocsPerRun(5, func() { forward(t, l, bottom, top) }); n != 0 {
			t.Errorf("%s: %v allocations in a pass, with %d threads", param, n, runtime.GOMAXPROCS(0))
		}
	}
}

func TestArgMaxErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2, 3, 4))
	wantError(t, test, `type: "ArgMax" argmax_param { top_k: 0 }`, x, 1, "top_k must be between 1")
	wantError(t, test, `type: "ArgMax" argmax_param { top_k: 13 }`, x, 1, "top_k is 13 but there are only 12 elements")
	wantError(t, test, `type: "ArgMax" argmax_param { top_k: 4 axis: 1 }`, x, 1, "top_k is 4 but there are only 3 elements")
	wantError(t, test, `type: "ArgMax" argmax_param { axis: 3 }`, x, 1, "axis 3 out of range")
	wantError(t, test, `type: "ArgMax"`, blobs(tensor.New()), 1, "it is a scalar")
	l, top := newLayer(t, testContext(test), `type: "ArgMax"`, x, 1)
	if err := l.Reshape(x, x); err == nil {
		t.Error("in-place computation was accepted")
	}
	if err := l.Backward(top, []bool{true}, x); err == nil {
		t.Error("Backward was accepted")
	}
	if err := l.Backward(top, []bool{false}, x); err != nil {
		t.Errorf("Backward to nothing: %v", err)
	}
}
