package conv

import (
	"fmt"
	"testing"

	"crema/internal/kerneltest"
)

// TestGroups: groups go through the algorithms that single convolutions of
// their size would, whether one after the other or each by one worker.
func TestGroups(t *testing.T) {
	for _, c := range []struct {
		s    Shape
		want [numDirections]string
	}{
		{Shape{N: 2, C: 32, H: 9, W: 10, K: 48, R: 3, S: 3, PadH: 1, PadW: 1, Group: 2}, [...]string{"winograd", "winograd", "winograd"}},
		{Shape{N: 1, C: 160, H: 6, W: 7, K: 160, R: 3, S: 3, PadH: 1, PadW: 1, Group: 10}, [...]string{"winograd", "winograd", "winograd"}},
		{Shape{N: 1, C: 32, H: 8, W: 8, K: 32, R: 3, S: 3, PadH: 1, PadW: 1, Group: 8}, [...]string{"implicit", "implicit", "implicit"}},
		{Shape{N: 2, C: 6, H: 9, W: 9, K: 8, R: 5, S: 5, PadH: 2, PadW: 2, StrideH: 2, StrideW: 2, Group: 2}, [...]string{"implicit", "col2im", "implicit"}},
	} {
		p := plan(t, c.s, Options{})
		for d, want := range c.want {
			if got := p.Algorithm(Direction(d)); got != want {
				t.Errorf("%v: %v by %s, not %s", p.Shape(), Direction(d), got, want)
			}
		}
		for _, layout := range []Layout{NCHW, Blocked} {
			opts := Options{In: layout, Out: layout, ReLU: true}
			if layout == Blocked && c.s.C/c.s.Group%Lanes != 0 || c.s.K/c.s.Group%Lanes != 0 {
				continue
			}
			p := plan(t, c.s, opts)
			for _, fill := range []func(uint64, []float32){kerneltest.Integers, kerneltest.Normals} {
				heap := newOperands(p, fill)
				want := rectified(plan(t, c.s, Options{Algorithm: "implicit"}), heap.clone())
				for i, threads := range []int{1, 2, 7} {
					o := heap.clone()
					copy(o.y, want.y)
					o = o.in(t, p, i == 0)
					y := make([]float32, len(o.y))
					atThreads(threads, func() {
						p.Forward(o.x, o.w, o.bias, y)
						p.BackwardData(o.dy, o.y, o.w, o.dx)
						p.BackwardWeights(o.x, o.dy, o.y, o.dw, o.db)
					})
					o.y = y
					o = o.back(p)
					for _, r := range []struct {
						what      string
						got, want []float32
					}{{"y", o.y, want.y}, {"dx", o.dx, want.dx}, {"dw", o.dw, want.dw}} {
						exact := make([]float64, len(r.want))
						for i, v := range r.want {
							exact[i] = float64(v)
						}
						what := fmt.Sprintf("%v, %v, %d threads: %s", p.Shape(), layout, threads, r.what)
						kerneltest.Close(t, what, r.got, exact, 2*bound(p, Forward, 9*c.s.K*c.s.N, true))
					}
				}
			}
		}
	}
}

func (o operands) clone() operands {
	for _, f := range []*[]float32{&o.x, &o.w, &o.bias, &o.dy, &o.y, &o.dx, &o.dw, &o.db} {
		*f = append([]float32(nil), *f...)
	}
	return o
}
