package layers

import (
	"fmt"
	"slices"
	"testing"

	"crema/internal/race"
	"crema/prototxt/caffepb"
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
	stateful, _ := l.(Stateful)
	var start *caffepb.LayerCursor
	if stateful != nil {
		start = stateful.Cursor()
	}
	sameForThreads(t, func() [][]float32 {
		if stateful != nil {
			if err := stateful.SetCursor(start); err != nil {
				t.Fatal(err)
			}
		}
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

// checkView checks that a layer's top shares values and gradients with its
// bottom, also after that got others.
func checkView(t *testing.T, text string) {
	t.Helper()
	x := randomBlob(1, 2, 3)
	l, top := newLayer(t, testContext(train), text, blobs(x), 1)
	other := randomBlob(2, 2, 3)
	x.ShareData(other)
	x.ShareDiff(other)
	forward(t, l, blobs(x), top)
	if !top[0].SharesData(x) {
		t.Errorf("%s: the top has its own copy of the values", text)
	}
	top[0].Diff()[4] = 7
	backward(t, l, blobs(x), top)
	equal(t, text+" gradient", x.Diff(), 0, 0, 0, 0, 7, 0)
}

// checkBlocked compares a layer's passes on blocked blobs, bottoms and tops,
// with those in NCHW order: values, gradients and parameters must be equal.
func checkBlocked(t *testing.T, text string, bottom []*tensor.Blob, tops int) {
	t.Helper()
	checkBlockedNear(t, 0, text, bottom, tops)
}

// checkBlockedNear is checkBlocked for layers with sums, whose order depends on
// the layout: it allows tol times the largest magnitude.
func checkBlockedNear(t *testing.T, tol float32, text string, bottom []*tensor.Blob, tops int) {
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
		for _, p := range l.Params() {
			values = append(values, p.Values(), p.Gradients())
		}
		return values
	}
	want := run(tensor.NCHW)
	for i, v := range run(tensor.Blocked) {
		nearMax(t, fmt.Sprint(text, ": blocked array ", i), tol, v, want[i])
	}
}

// checkInPlace compares a layer's passes in place, the first bottom being the
// top, with those that are not. With overwritten, another layer that computes in
// place, too, changes the top's values before Backward.
func checkInPlace(t *testing.T, text string, bottom []*tensor.Blob, overwritten bool) {
	t.Helper()
	run := func(inPlace, overwritten bool) (values [][]float32) {
		in := make([]*tensor.Blob, len(bottom))
		for i, b := range bottom {
			in[i] = tensor.New(b.Shape()...)
			copy(in[i].Data(), b.ReadData())
		}
		l, top := newLayer(t, testContext(train), text, in, 1)
		if inPlace {
			top = in[:1]
			if err := l.Reshape(in, top); err != nil {
				t.Fatal(err)
			}
		}
		forward(t, l, in, top)
		values = append(values, clone(top[0].Data()))
		if overwritten {
			copy(top[0].Data(), randomBlob(91, top[0].Count()).Data())
		}
		copy(top[0].Diff(), randomBlob(90, top[0].Count()).Data())
		backward(t, l, in, top)
		for _, b := range in {
			values = append(values, b.Diff())
		}
		for _, p := range l.Params() {
			values = append(values, p.Data(), p.Diff())
		}
		return values
	}
	want := run(false, false)
	for i, v := range run(true, overwritten) {
		equal(t, fmt.Sprint(text, ": array ", i, " in place"), v, want[i]...)
	}
}
