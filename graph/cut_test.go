package graph

import (
	"math/rand/v2"
	"testing"
)

// TestCut compares with the cheapest of all ways to decide.
func TestCut(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	for range 300 {
		const n = 7
		g := newCut()
		var v [n]int
		for i := range v {
			v[i] = g.vertex()
		}
		// The same costs as a function of what is decided, a bit for each.
		var costs []func(decided int) int
		yes := func(decided, i int) bool { return decided>>i&1 != 0 }
		for range 14 {
			i, j, c := r.IntN(n), r.IntN(n), 1+r.IntN(9)
			if i == j {
				continue
			}
			switch r.IntN(5) {
			case 0:
				g.prefer(v[i], c)
				costs = append(costs, func(d int) int {
					if yes(d, i) {
						return 0
					}
					return c
				})
			case 1:
				g.forbid(v[i], v[j])
				costs = append(costs, func(d int) int {
					if !yes(d, i) && yes(d, j) {
						return infinite / 100
					}
					return 0
				})
			case 2:
				g.fix(v[i])
				costs = append(costs, func(d int) int {
					if yes(d, i) {
						return infinite / 100
					}
					return 0
				})
			default:
				g.differ(v[i], v[j], c)
				costs = append(costs, func(d int) int {
					if yes(d, i) != yes(d, j) {
						return c
					}
					return 0
				})
			}
		}
		cost := func(decided int) int {
			sum := 0
			for _, c := range costs {
				sum += c(decided)
			}
			return sum
		}
		best, all := infinite, 0 // all: what all the cheapest ways decide
		for d := range 1 << n {
			switch c := cost(d); {
			case c < best:
				best, all = c, d
			case c == best:
				all &= d
			}
		}
		got := 0
		for i, y := range g.solve()[v[0] : v[0]+n] {
			if y {
				got |= 1 << i
			}
		}
		if cost(got) != best || got != all {
			t.Fatalf("decided %07b at a cost of %d; the cheapest is %d, by %07b", got, cost(got), best, all)
		}
	}
}
