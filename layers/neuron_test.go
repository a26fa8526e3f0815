package layers

import (
	"math"
	"testing"

	"crema/tensor"
)

// testNeuron checks a layer that computes each element from one: values and
// gradients against a function of float64 and its derivative (nil: there is
// none) for x from lo to hi, to within tol of the result or of 1, if the result
// is less; in place, also if another layer overwrites the top afterwards and the
// layer can stand that; with a NaN; by differences; in blocked blobs; and for
// threads and allocations.
func testNeuron(t *testing.T, text string, f, df func(x float64) float64, lo, hi, tol float64, standsOverwriting bool) {
	t.Helper()
	const n = 2*elemGrain + 1003
	x := tensor.New(n)
	for i := range x.Data() {
		x.Data()[i] = float32(lo + (hi-lo)*float64(i)/(n-1))
	}
	l, top := newLayer(t, testContext(train), text, blobs(x), 1)
	forward(t, l, blobs(x), top)
	check := func(what string, i int, got float32, want float64) {
		t.Helper()
		if d := math.Abs(float64(got) - want); !(d <= tol*max(1, math.Abs(want))) {
			t.Fatalf("%s: %s at x = %v is %v, not %v", text, what, x.Data()[i], got, want)
		}
	}
	for i, v := range x.Data() {
		check("value", i, top[0].Data()[i], f(float64(v)))
	}
	if df == nil {
		return
	}
	for i := range top[0].Diff() {
		top[0].Diff()[i] = float32(2 - i%5)
	}
	backward(t, l, blobs(x), top)
	for i, v := range x.Data() {
		want := df(float64(v)) * float64(2-i%5)
		if i%5 == 2 {
			want = 0
		}
		check("gradient", i, x.Diff()[i], want)
	}

	mid, half := float32(lo+hi)/2, float32(hi-lo)/2*0.9
	within := func(seed uint64, shape ...int) *tensor.Blob {
		b := distinctBlob(seed, 1, shape...)
		for i, v := range b.Data() {
			b.Data()[i] = mid + half*v/float32(b.Count()/2)
		}
		return b
	}
	if !l.(interface{ inPlaceRefused() bool }).inPlaceRefused() {
		checkInPlace(t, text, blobs(within(3, 40, 30)), standsOverwriting)
	}
	checkBlocked(t, text, blobs(within(4, 2, 32, 5, 3)), 1)
	checkPasses(t, text, blobs(within(5, n)), 1)

	nan := float32(math.NaN())
	two := blobOf(shape(2), nan, float32(math.Copysign(float64(nan), -1)))
	l, top = newLayer(t, testContext(train), text, blobs(two), 1)
	forward(t, l, blobs(two), top)
	for _, v := range top[0].Data() {
		if v == v {
			t.Errorf("%s: of a NaN comes %v", text, v)
		}
	}
}

func (l *neuron) inPlaceRefused() bool { return l.notInPlace }
