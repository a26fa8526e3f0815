package graph

import "math"

// A cut is a graph of decisions, each of which is no or yes, with what it costs
// to decide. The cheapest decisions are a minimum cut between two vertices that
// stand for no and yes (Greig, Porteous and Seheult, 1989).
type cut struct {
	edges []edge
	from  [][]int // edges that leave a vertex
}

// An edge has what more can flow along it; that with the number that differs in
// the lowest bit goes the other way.
type edge struct {
	to   int
	room int
}

const (
	infinite = math.MaxInt / 4
	no, yes  = 0, 1 // vertices
)

func newCut() *cut { return &cut{from: make([][]int, 2)} }

// vertex adds a decision.
func (g *cut) vertex() int {
	g.from = append(g.from, nil)
	return len(g.from) - 1
}

// charge makes it cost something to decide no for a and yes for b.
func (g *cut) charge(a, b, cost, reverse int) {
	g.from[a] = append(g.from[a], len(g.edges))
	g.from[b] = append(g.from[b], len(g.edges)+1)
	g.edges = append(g.edges, edge{b, cost}, edge{a, reverse})
}

// fix decides no.
func (g *cut) fix(a int) { g.charge(no, a, infinite, 0) }

// prefer makes no cost something.
func (g *cut) prefer(a, cost int) { g.charge(a, yes, cost, 0) }

// differ makes it cost something to decide differently for a and b.
func (g *cut) differ(a, b, cost int) { g.charge(a, b, cost, cost) }

// forbid excludes no for a and yes for b together.
func (g *cut) forbid(a, b int) { g.charge(a, b, infinite, 0) }

// solve decides every vertex; yes only where that is cheaper. It makes the
// greatest flow from no to yes, by shortest paths (Edmonds and Karp, 1972).
func (g *cut) solve() []bool {
	via := make([]int, len(g.from)) // edge by which a vertex was reached
	for {
		for v := range via {
			via[v] = -1
		}
		queue := []int{no}
		for len(queue) > 0 && via[yes] < 0 {
			v := queue[0]
			queue = queue[1:]
			for _, e := range g.from[v] {
				if to := g.edges[e].to; g.edges[e].room > 0 && to != no && via[to] < 0 {
					via[to] = e
					queue = append(queue, to)
				}
			}
		}
		if via[yes] < 0 {
			break
		}
		flow := math.MaxInt
		for v := yes; v != no; v = g.edges[via[v]^1].to {
			flow = min(flow, g.edges[via[v]].room)
		}
		for v := yes; v != no; v = g.edges[via[v]^1].to {
			g.edges[via[v]].room -= flow
			g.edges[via[v]^1].room += flow
		}
	}
	// Yes for those from which more could flow to yes.
	decided := make([]bool, len(g.from))
	decided[yes] = true
	for queue := []int{yes}; len(queue) > 0; queue = queue[1:] {
		for _, e := range g.from[queue[0]] {
			if v := g.edges[e].to; g.edges[e^1].room > 0 && !decided[v] {
				decided[v] = true
				queue = append(queue, v)
			}
		}
	}
	return decided
}
