// Package kerneltest holds what the tests of kernels share: operands that end
// at a protected page, edge sizes, inputs, and error bounds.
package kerneltest

import (
	"math"
	"math/rand/v2"
	"testing"

	"crema/asm"
	"crema/internal/race"
)

// EachISA runs f as a subtest on every instruction set the machine has, and
// leaves the present one selected. Short runs under the race detector, which
// makes portable kernels very slow and is after what goroutines share, which is
// the same for all, use the present one alone.
func EachISA(t *testing.T, f func(t *testing.T)) {
	was := asm.ISA()
	defer func() {
		if err := asm.Select(was); err != nil {
			t.Fatal(err)
		}
	}()
	isas := asm.Available()
	if race.Enabled && testing.Short() {
		isas = []string{was}
	}
	for _, isa := range isas {
		if err := asm.Select(isa); err != nil {
			t.Fatal(err)
		}
		t.Run("isa="+isa, f)
	}
}

// Edges returns sizes at which tiles and blocks of the given extents begin and
// end: 1, 2, a prime, and each extent less one, itself, plus one.
func Edges(extents ...int) []int {
	var s []int
	add := func(n int) {
		for _, v := range s {
			if v == n {
				return
			}
		}
		if n > 0 {
			s = append(s, n)
		}
	}
	for _, n := range []int{1, 2, 7} {
		add(n)
	}
	for _, e := range extents {
		for d := -1; d <= 1; d++ {
			add(e + d)
		}
	}
	return s
}

// Integers fills x with whole numbers from −4 to 4, of which sums of up to a
// million products are exact in float32 whatever their order.
func Integers(seed uint64, x []float32) {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range x {
		x[i] = float32(r.IntN(9) - 4)
	}
}

// Normals fills x with standard normal numbers.
func Normals(seed uint64, x []float32) {
	r := rand.New(rand.NewPCG(seed, 2))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
}

// Fill sets every element of x to v.
func Fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

// NaN is a float32 that is not a number.
var NaN = float32(math.NaN())

// epsilon is the unit roundoff of float32.
const epsilon = 1.0 / (1 << 24)

// Bound returns how far a float32 sum of k products of standard normal numbers
// may be from the exact one. The worst case is k·epsilon times the sum of
// magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, §3.1);
// errors that are independent, as here, grow as its square root: four times the
// root of k squared, times the typical term, is never passed in practice and
// far below what a wrong or missing term makes.
func Bound(k int) float64 { return 4 * epsilon * float64(max(k, 1)) }

// Close fails the test if got differs from want by more than bound, or is not a
// number.
func Close(t *testing.T, what string, got []float32, want []float64, bound float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, not %d", what, len(got), len(want))
	}
	for i, v := range got {
		if d := math.Abs(float64(v) - want[i]); !(d <= bound) {
			t.Fatalf("%s: element %d is %v, not %v (off by %.3g, allowed %.3g)", what, i, v, want[i], d, bound)
		}
	}
}

// Same fails the test unless got and want are equal bit for bit.
func Same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, not %d", what, len(got), len(want))
	}
	for i, v := range got {
		if math.Float32bits(v) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v, not %v", what, i, v, want[i])
		}
	}
}

// shared are the slices of Shared, by size and end.
var shared = map[[2]int][]float32{}

// Shared is Guarded for tests that need very many slices: the same memory for
// the same arguments, for the life of the process, of any content. It is for
// use by one goroutine.
func Shared(t testing.TB, n int, atEnd bool) []float32 {
	t.Helper()
	key := [2]int{n, 0}
	if atEnd {
		key[1] = 1
	}
	s, ok := shared[key]
	if !ok {
		var err error
		if s, _, err = guarded(n, atEnd); err != nil {
			t.Fatal(err)
		}
		shared[key] = s
	}
	return s
}
