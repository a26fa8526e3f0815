package layers

import (
	"fmt"
	"slices"
	"testing"

	"crema/internal/race"
	"crema/tensor"
)

// checkPasses checks what holds for every layer, on bottoms that should be
// large enough for several tasks: results have the same bits for any number of
// threads; passes allocate nothing once they have run; a bottom that nobody
// wants a gradient for keeps what it has. noGradient lists the bottoms, labels
// say, that cannot have one.
func checkPasses(t *testing.T, text string, bottom []*tensor.Blob, tops int, noGradient ...int) {
	t.Helper()
	l, top := newLayer(t, testContext(train), text, bottom, tops)
	down := make([]bool, len(bottom))
	for i := range down {
		down[i] = !slices.Contains(noGradient, i)
	}
	pass := func(down []bool) {
		if err := l.Forward(bottom, top); err != nil {
			t.Fatalf("%s: Forward: %v", text, err)
		}
		if err := l.Backward(top, down, bottom); err != nil {
			t.Fatalf("%s: Backward: %v", text, err)
		}
	}
	pass(make([]bool, len(bottom)))
	for i, b := range bottom {
		if b.HasDiff() && !slices.ContainsFunc(top, b.SharesData) {
			t.Errorf("%s: bottom %d got a gradient that was not asked for", text, i)
		}
	}
	sameForThreads(t, func() [][]float32 {
		for i, y := range top {
			copy(y.Diff(), randomBlob(uint64(70+i), y.Count()).Data())
		}
		for _, p := range l.Params() {
			clear(p.Diff())
		}
		pass(down)
		var all [][]float32
		for _, y := range top {
			all = append(all, clone(y.Data()))
		}
		for i, b := range bottom {
			if down[i] {
				all = append(all, clone(b.Diff()))
			}
		}
		for _, p := range l.Params() {
			all = append(all, clone(p.Diff()))
		}
		return all
	})
	if race.Enabled {
		return // the race detector's own calls make memory escape
	}
	if n := testing.AllocsPerRun(5, func() { pass(down) }); n != 0 {
		t.Errorf("%s: %v allocations in a pass", text, n)
	}
}

// checkBlocked compares a layer's passes on blocked blobs, bottoms and tops,
// with those in NCHW order.
func checkBlocked(t *testing.T, text string, bottom []*tensor.Blob, tops int) {
	t.Helper()
	run := func(layout tensor.Layout) (values [][]float32) {
		in := make([]*tensor.Blob, len(bottom))
		for i, b := range bottom {
			in[i] = tensor.New(b.Shape()...)
		}
		l, top := newLayer(t, testContext(train), text, in, tops)
		if layout != tensor.NCHW {
			if got := l.(LayoutTaker).Fit(layout, layout); got == Unfit {
				t.Fatalf("%s: unfit for %v", text, layout)
			}
			for _, b := range append(slices.Clone(in), top...) {
				b.SetLayout(layout)
			}
			if err := l.Reshape(in, top); err != nil {
				t.Fatal(err)
			}
		}
		for i, b := range in {
			if err := b.SetValues(bottom[i].ReadData()); err != nil {
				t.Fatal(err)
			}
		}
		forward(t, l, in, top)
		for i, y := range top {
			values = append(values, y.Values())
			if err := y.SetGradients(randomBlob(uint64(80+i), y.Count()).Data()); err != nil {
				t.Fatal(err)
			}
		}
		backward(t, l, in, top)
		for _, b := range in {
			values = append(values, b.Gradients())
		}
		return values
	}
	want := run(tensor.NCHW)
	for i, v := range run(tensor.Blocked) {
		equal(t, fmt.Sprint(text, ": blocked array ", i), v, want[i]...)
	}
}
