package layers

import (
	"errors"
	"testing"

	"crema/tensor"
)

// TestReorder brings values and gradients into the other layout and back.
func TestReorder(t *testing.T) {
	for _, s := range [][]int{{2, 16, 1, 1}, {1, 48, 3, 5}, {3, 32, 40, 41}, {0, 16, 2, 2}} {
		x, y, z := randomBlob(1, s...), tensor.New(s...), tensor.New()
		y.SetLayout(tensor.Blocked)
		there, back := NewReorder(testContext(train)), NewReorder(testContext(train))
		for _, step := range []struct {
			l        Layer
			from, to *tensor.Blob
		}{{there, x, y}, {back, y, z}} {
			if err := step.l.Reshape(blobs(step.from), blobs(step.to)); err != nil {
				t.Fatal(err)
			}
			forward(t, step.l, blobs(step.from), blobs(step.to))
		}
		wantShape(t, "blocked top", y, s...)
		equal(t, "blocked", y.Values(), x.Data()...)
		equal(t, "back again", z.Data(), x.Data()...)

		copy(z.Diff(), randomBlob(2, s...).Data())
		backward(t, back, blobs(y), blobs(z))
		backward(t, there, blobs(x), blobs(y))
		equal(t, "blocked gradient", y.Gradients(), z.Diff()...)
		equal(t, "gradient", x.Diff(), z.Diff()...)
		if len(x.Data()) == 0 {
			continue
		}
		bx, by, bz, down := blobs(x), blobs(y), blobs(z), []bool{true}
		if n := testing.AllocsPerRun(5, func() {
			if err := errors.Join(there.Forward(bx, by), back.Backward(bz, down, by)); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
		x.Diff()[0] = 5
		if err := there.Backward(blobs(y), []bool{false}, blobs(x)); err != nil || x.Diff()[0] != 5 {
			t.Errorf("not to be propagated: %v, gradient %v", err, x.Diff()[0])
		}
	}
	y := tensor.New(2, 16, 3, 3)
	y.SetLayout(tensor.Blocked)
	if err := NewReorder(testContext(train)).Reshape(blobs(tensor.New(2, 24, 3, 3)), blobs(y)); err == nil {
		t.Error("no error for 24 channels")
	}
}
