package layers

import (
	"math"
	"testing"

	"crema/tensor"
)

func ones(shape ...int) *tensor.Blob {
	b := tensor.New(shape...)
	for i := range b.Data() {
		b.Data()[i] = 1
	}
	return b
}

func TestDropoutRate(t *testing.T) {
	const n = 100_003
	for _, ratio := range []struct {
		text  string
		ratio float64
	}{{``, 0.5}, {`dropout_param { dropout_ratio: 0.2 }`, 0.2}, {`dropout_param { dropout_ratio: 0.9 }`, 0.9}, {`dropout_param { dropout_ratio: 0 }`, 0}} {
		x := ones(n)
		l, top := newLayer(t, testContext(train), `type: "Dropout" `+ratio.text, blobs(x), 1)
		forward(t, l, blobs(x), top)
		dropped := 0
		for _, v := range top[0].Data() {
			switch v {
			case 0:
				dropped++
			case float32(1 / (1 - float64(float32(ratio.ratio)))):
			default:
				t.Fatalf("%s: 1 became %v", ratio.text, v)
			}
		}
		// Five standard deviations.
		if got, slack := float64(dropped)/n, 5*math.Sqrt(ratio.ratio*(1-ratio.ratio)/n); math.Abs(got-ratio.ratio) > slack {
			t.Errorf("%s: %g dropped, want %g ± %g", ratio.text, got, ratio.ratio, slack)
		}
	}
}

// Elements at any small distance are dropped independently.
func TestDropoutIndependent(t *testing.T) {
	const n = 100_000
	x := ones(n)
	l, top := newLayer(t, testContext(train), `type: "Dropout"`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	y := top[0].Data()
	for _, d := range []int{1, 2, 32, maskBits, dropoutChunk * maskBits} {
		same := 0
		for i := range n - d {
			if y[i] == y[i+d] {
				same++
			}
		}
		if got := float64(same) / float64(n-d); math.Abs(got-0.5) > 0.01 {
			t.Errorf("elements %d apart agree with frequency %g, want ½", d, got)
		}
	}
}

func TestDropoutByHand(t *testing.T) {
	// Ratio 0.75: what is kept is multiplied by 4, forward and backward alike.
	x := blobOf(shape(2, 3), 1, 2, 3, 4, 5, 6)
	l, top := newLayer(t, testContext(train), `type: "Dropout" dropout_param { dropout_ratio: 0.75 }`, blobs(x), 1)
	seen := map[bool]bool{}
	for range 20 {
		forward(t, l, blobs(x), top)
		for i := range top[0].Diff() {
			top[0].Diff()[i] = 10
		}
		backward(t, l, blobs(x), top)
		for i, v := range x.Data() {
			y, dx := top[0].Data()[i], x.Diff()[i]
			kept := y != 0
			seen[kept] = true
			if kept && (y != 4*v || dx != 40) || !kept && dx != 0 {
				t.Fatalf("x %v gives y %v and gradient 10 gives %v", v, y, dx)
			}
		}
	}
	if !seen[true] || !seen[false] {
		t.Error("all elements were kept, or all dropped")
	}
}

func TestDropoutInPlace(t *testing.T) {
	const text = `type: "Dropout" dropout_param { dropout_ratio: 0.4 }`
	x := randomBlob(1, 500)
	l, top := newLayer(t, testContext(train), text, blobs(x), 1)
	forward(t, l, blobs(x), top)
	copy(top[0].Diff(), randomBlob(2, 500).Data())
	backward(t, l, blobs(x), top)
	b := randomBlob(1, 500)
	copy(b.Diff(), randomBlob(2, 500).Data())
	l2, _ := newLayer(t, testContext(train), text, blobs(b), 1)
	forward(t, l2, blobs(b), blobs(b))
	backward(t, l2, blobs(b), blobs(b))
	equal(t, "in place", b.Data(), top[0].Data()...)
	equal(t, "gradient in place", b.Diff(), x.Diff()...)
}

func TestDropoutTestPhase(t *testing.T) {
	x := randomBlob(1, 100)
	l, top := newLayer(t, testContext(test), `type: "Dropout"`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	equal(t, "top", top[0].Data(), x.Data()...)
	copy(top[0].Diff(), randomBlob(2, 100).Data())
	backward(t, l, blobs(x), top)
	equal(t, "gradient", x.Diff(), top[0].Diff()...)
	if n := l.(Stateful).Cursor().GetForwards(); n != 0 {
		t.Errorf("%d forward passes counted in the TEST phase", n)
	}
}

func TestDropoutStreams(t *testing.T) {
	const n = 1000
	mask := func(seed uint64, name string, skip uint64) []float32 {
		ctx := testContext(train)
		ctx.Seed = seed
		x := ones(n)
		l, top := newLayer(t, ctx, `type: "Dropout" name: "`+name+`"`, blobs(x), 1)
		s := l.(Stateful)
		c := s.Cursor()
		c.Forwards = &skip
		if err := s.SetCursor(c); err != nil {
			t.Fatal(err)
		}
		forward(t, l, blobs(x), top)
		if got := s.Cursor().GetForwards(); got != skip+1 {
			t.Errorf("cursor %d after pass %d", got, skip)
		}
		return top[0].Data()
	}
	first := mask(1, "a", 0)
	equal(t, "the same key", mask(1, "a", 0), first...)
	for what, other := range map[string][]float32{"seed": mask(2, "a", 0), "name": mask(1, "b", 0), "pass": mask(1, "a", 1)} {
		same := 0
		for i, v := range other {
			if v == first[i] {
				same++
			}
		}
		// Independent masks agree on half of the elements.
		if same > n*6/10 || same < n*4/10 {
			t.Errorf("another %s: %d of %d elements agree", what, same, n)
		}
	}
	// A pass after another continues where a cursor says.
	x := ones(n)
	ctx := testContext(train)
	ctx.Seed = 1
	l, top := newLayer(t, ctx, `type: "Dropout" name: "a"`, blobs(x), 1)
	forward(t, l, blobs(x), top)
	forward(t, l, blobs(x), top)
	equal(t, "second pass", top[0].Data(), mask(1, "a", 1)...)
}

func TestDropoutThreads(t *testing.T) {
	const n = 9*dropoutChunk*maskBits + 13
	sameForThreads(t, func() [][]float32 {
		// In place, where an element met twice would show.
		x := randomBlob(1, n)
		l, _ := newLayer(t, testContext(train), `type: "Dropout"`, blobs(x), 1)
		forward(t, l, blobs(x), blobs(x))
		copy(x.Diff(), randomBlob(2, n).Data())
		backward(t, l, blobs(x), blobs(x))
		return [][]float32{clone(x.Data()), clone(x.Diff())}
	})
}

func TestDropoutGradient(t *testing.T) {
	checkGradient(t, gradCheck{}, `type: "Dropout" dropout_param { dropout_ratio: 0.3 }`, blobs(randomBlob(1, 3, 5)), 1)
	l, top := newLayer(t, testContext(test), `type: "Dropout"`, blobs(randomBlob(1, 3, 5)), 1)
	gradCheck{}.run(t, l, blobs(randomBlob(1, 3, 5)), top)
}

func TestDropoutReshape(t *testing.T) {
	l, top := newLayer(t, testContext(train), `type: "Dropout"`, blobs(ones(10)), 1)
	for _, n := range []int{300, 7} {
		x := ones(n)
		if err := l.Reshape(blobs(x), top); err != nil {
			t.Fatal(err)
		}
		wantShape(t, "top", top[0], n)
		forward(t, l, blobs(x), top)
		for _, v := range top[0].Data() {
			if v != 0 && v != 2 {
				t.Fatalf("1 became %v", v)
			}
		}
	}
}

func TestDropoutErrors(t *testing.T) {
	for _, r := range []string{"1", "-0.1", "1.5", "nan"} {
		wantError(t, train, `type: "Dropout" dropout_param { dropout_ratio: `+r+` }`, blobs(ones(2)), 1, "dropout_ratio must be at least 0")
	}
}
