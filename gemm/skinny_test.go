package gemm

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"crema/internal/kerneltest"
	"crema/internal/race"
)

// TestSkinnyStrips wants products whose rows are cut into strips to be right, and
// the same bits however many workers go through them.
func TestSkinnyStrips(t *testing.T) {
	if race.Enabled {
		t.Skip("about values and bounds, and slow under the race detector")
	}
	references := map[string][]float64{}
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, tr := range transposes {
			// 7001 columns with 16 rows are two strips, as 14003 with 6, 40001
			// with 6 four; 40001 columns of C three tasks.
			for _, s := range [][3]int{{16, 65, 7001}, {6, 71, 14003}, {6, 64, 40001}, {7, 40001, 67}} {
				o := newOperands(tr.a, tr.b, s[0], s[1], s[2], 1, heap, kerneltest.Normals)
				name := fmt.Sprint(tr.name, s)
				want := references[name]
				if want == nil {
					want = o.reference(0.5, 1.5)
					references[name] = want
				}
				before, first := slices.Clone(o.c), []float32(nil)
				for _, threads := range []int{1, 2, 5} {
					copy(o.c, before)
					atThreads(threads, func() { o.run(0.5, 1.5) })
					what := fmt.Sprint(name, " threads ", threads)
					if first == nil {
						first = slices.Clone(o.c)
						kerneltest.Close(t, what, o.c, want, kerneltest.Bound(s[2]))
					}
					kerneltest.Same(t, what, o.c, first)
				}
			}
		}
	})
}

// TestSpreadTask wants every part taken once, and each of the workers that take
// turns to go through neighbouring parts.
func TestSpreadTask(t *testing.T) {
	for _, c := range []struct {
		tasks, workers int
		want           []int
	}{
		{4, 1, []int{0, 1, 2, 3}},
		{6, 2, []int{0, 3, 1, 4, 2, 5}},
		{8, 3, []int{0, 2, 4, 1, 3, 5, 6, 7}},
		{2, 3, []int{0, 1}},
	} {
		var got []int
		for i := range c.tasks {
			got = append(got, spreadTask(i, c.tasks, c.workers))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d tasks of %d workers take %v, not %v", c.tasks, c.workers, got, c.want)
		}
	}
}

// TestApart wants rows a quarter of a page past x, in whole cache lines.
func TestApart(t *testing.T) {
	const page, line = 4096, 64
	x := make([]float32, 5000)
	for _, at := range []int{0, 1, 15, 16, 500, 1023, 1024, 3001} {
		s, buf := apart(100, x[at:])
		address := func(s []float32) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(s))) }
		if len(s) != 100 || address(s)%line != 0 {
			t.Errorf("x[%d:]: %d elements at %x", at, len(s), address(s))
		}
		if d := (address(s) - address(x[at:])) % page; d > page/4 || d <= page/4-line {
			t.Errorf("x[%d:]: %d bytes past it", at, d)
		}
		packing.Put(buf)
	}
}
