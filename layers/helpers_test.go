package layers

import (
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

const (
	train = caffepb.Phase_TRAIN
	test  = caffepb.Phase_TEST
)

// testContext is a context of the given phase that logs nothing.
func testContext(phase caffepb.Phase) *Context {
	return &Context{Phase: phase, Seed: 1701, Log: slog.New(slog.DiscardHandler)}
}

// parseLayer reads a LayerParameter in text format.
func parseLayer(t *testing.T, text string) *caffepb.LayerParameter {
	t.Helper()
	p := &caffepb.LayerParameter{}
	if err := prototext.Unmarshal([]byte(text), p); err != nil {
		t.Fatalf("layer %q: %v", text, err)
	}
	if p.Name == nil {
		name := "l"
		p.Name = &name
	}
	return p
}

// newLayer makes a layer and its tops and shapes them, as a net does.
func newLayer(t *testing.T, ctx *Context, text string, bottom []*tensor.Blob, tops int) (Layer, []*tensor.Blob) {
	t.Helper()
	l, top, err := tryLayer(t, ctx, text, bottom, tops)
	if err != nil {
		t.Fatalf("layer %q: %v", text, err)
	}
	return l, top
}

// tryLayer is newLayer for layers that may fail.
func tryLayer(t *testing.T, ctx *Context, text string, bottom []*tensor.Blob, tops int) (Layer, []*tensor.Blob, error) {
	t.Helper()
	p := parseLayer(t, text)
	typ, err := Lookup(p.GetType())
	if err != nil {
		return nil, nil, err
	}
	if err := typ.CheckCounts(len(bottom), tops); err != nil {
		return nil, nil, err
	}
	l, err := typ.New(p, ctx)
	if err != nil {
		return nil, nil, err
	}
	top := make([]*tensor.Blob, tops)
	for i := range top {
		top[i] = tensor.New()
	}
	if err := l.Setup(bottom, top); err != nil {
		return nil, nil, err
	}
	return l, top, l.Reshape(bottom, top)
}

// wantError fails unless making the layer fails with a message that has the
// given words in it.
func wantError(t *testing.T, phase caffepb.Phase, text string, bottom []*tensor.Blob, tops int, words string) {
	t.Helper()
	_, _, err := tryLayer(t, testContext(phase), text, bottom, tops)
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("layer %q: error %v, want one with %q", text, err, words)
	}
}

func forward(t *testing.T, l Layer, bottom, top []*tensor.Blob) {
	t.Helper()
	if err := l.Forward(bottom, top); err != nil {
		t.Fatalf("Forward: %v", err)
	}
}

// backward asks for the gradients of all bottoms. It must not change values: other
// layers may have written theirs in place, and the net's user may look at them.
func backward(t *testing.T, l Layer, bottom, top []*tensor.Blob) {
	t.Helper()
	down := make([]bool, len(bottom))
	for i := range down {
		down[i] = true
	}
	all := append(slices.Clone(bottom), top...)
	before := make([][]float32, len(all))
	for i, b := range all {
		before[i] = clone(b.ReadData())
	}
	if err := l.Backward(top, down, bottom); err != nil {
		t.Fatalf("Backward: %v", err)
	}
	for i, b := range all {
		for j, v := range b.ReadData() {
			if math.Float32bits(v) != math.Float32bits(before[i][j]) {
				t.Fatalf("Backward changed the values of blob %d of the bottoms and tops", i)
			}
		}
	}
}

func blobs(b ...*tensor.Blob) []*tensor.Blob { return b }

// blobOf makes a blob with the given values.
func blobOf(shape []int, v ...float32) *tensor.Blob {
	b := tensor.New(shape...)
	if len(v) != b.Count() {
		panic("blobOf: wrong number of values")
	}
	copy(b.Data(), v)
	return b
}

func shape(dims ...int) []int { return dims }

// randomBlob fills a blob from N(0, 1).
func randomBlob(seed uint64, shape ...int) *tensor.Blob {
	b := tensor.New(shape...)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range b.Data() {
		b.Data()[i] = float32(r.NormFloat64())
	}
	return b
}

// distinctBlob fills a blob with a shuffled sequence whose neighbours are a
// step apart, none of them within half a step of zero: what layers with kinks
// need for finite differences.
func distinctBlob(seed uint64, step float32, shape ...int) *tensor.Blob {
	b := tensor.New(shape...)
	for i, j := range rand.New(rand.NewPCG(seed, 0)).Perm(b.Count()) {
		b.Data()[i] = step * (float32(j-b.Count()/2) + 0.5)
	}
	return b
}

func equal(t *testing.T, what string, got []float32, want ...float32) {
	t.Helper()
	near(t, what, 0, got, want...)
}

func near(t *testing.T, what string, tol float32, got []float32, want ...float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !(max(got[i]-want[i], want[i]-got[i]) <= tol) {
			t.Fatalf("%s: value %d is %v, want %v\n got %v\nwant %v", what, i, got[i], want[i], head(got), head(want))
		}
	}
}

// nearMax holds the difference to tol times the largest magnitude of want.
func nearMax(t *testing.T, what string, tol float32, got, want []float32) {
	t.Helper()
	var scale float32
	for _, v := range want {
		scale = max(scale, v, -v)
	}
	near(t, what, tol*scale, got, want...)
}

func head(v []float32) []float32 { return v[:min(len(v), 64)] }

func wantShape(t *testing.T, what string, b *tensor.Blob, want ...int) {
	t.Helper()
	if tensor.FormatShape(b.Shape()) != tensor.FormatShape(want) {
		t.Errorf("%s has shape %s, want %s", what, tensor.FormatShape(b.Shape()), tensor.FormatShape(want))
	}
}

// sameForThreads runs f with 1, 2 and 5 threads and fails unless it returns the
// same bits.
func sameForThreads(t *testing.T, f func() [][]float32) {
	t.Helper()
	old := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(old)
	want := f()
	for _, n := range []int{2, 5} {
		runtime.GOMAXPROCS(n)
		got := f()
		for i := range want {
			equal(t, "with more threads", got[i], want[i]...)
		}
	}
}

// clone copies what the next pass would overwrite.
func clone(v []float32) []float32 { return append([]float32(nil), v...) }
