package netdraw

import (
	"math"
	"slices"
)

// place gives the nodes their positions across, keeping the order within ranks
// and the distances: four times, from either end of the ranks and from either
// side, nodes are aligned with the median of their neighbours in the rank before
// and the columns moved together; the position is the mean of the middle two of
// the four (Brandes and Köpf, "Fast and simple horizontal coordinate
// assignment", 2001).
func (l *layout) place() {
	bent := l.conflicts()
	var all [4]map[*node]float64
	narrowest, least := 0, math.Inf(1)
	for i := range all {
		up, left := i < 2, i%2 == 0
		all[i] = l.columns(up, left, bent)
		lo, hi := extent(all[i])
		if hi-lo < least {
			narrowest, least = i, hi-lo
		}
	}
	// Those from the left get the left end of the narrowest, the others its right.
	lo, hi := extent(all[narrowest])
	for i, xs := range all {
		l, h := extent(xs)
		by := lo - l
		if i%2 == 1 {
			by = hi - h
		}
		for n := range xs {
			xs[n] += by
		}
	}
	for _, r := range l.ranks {
		for _, n := range r {
			four := []float64{all[0][n], all[1][n], all[2][n], all[3][n]}
			slices.Sort(four)
			n.at = (four[1] + four[2]) / 2
		}
	}
	l.gather()
}

// gather moves columns, the nodes that stand in one straight line, as wholes
// towards the nodes that they are connected to, as far as there is room: the mean
// of four layouts has gaps.
func (l *layout) gather() {
	var columns [][]*node
	seen := map[*node]bool{}
	for _, r := range l.ranks {
		for _, n := range r {
			if !seen[n] {
				columns = append(columns, column(n, seen))
			}
		}
	}
	for range rounds {
		for _, c := range columns {
			l.shift(c)
		}
		slices.Reverse(columns)
	}
}

// rounds is how often every column is moved; more change little.
const rounds = 16

// straight is how far apart positions are that count as the same.
const straight = 0.01

// column returns n with all that it is connected to in a straight line.
func column(n *node, seen map[*node]bool) []*node {
	c := []*node{n}
	seen[n] = true
	for i := 0; i < len(c); i++ {
		for _, o := range slices.Concat(c[i].up, c[i].down) {
			if !seen[o] && math.Abs(o.at-n.at) < straight {
				seen[o] = true
				c = append(c, o)
			}
		}
	}
	return c
}

// shift moves a column by the median of the distances to its neighbours, or as
// far as the nodes beside it allow.
func (l *layout) shift(c []*node) {
	within := map[*node]bool{}
	for _, n := range c {
		within[n] = true
	}
	var wishes []float64
	left, right := math.Inf(-1), math.Inf(1)
	for _, n := range c {
		for _, o := range slices.Concat(n.up, n.down) {
			if !within[o] {
				wishes = append(wishes, o.at-n.at)
			}
		}
		rank := l.ranks[n.rank]
		if n.order > 0 {
			if o := rank[n.order-1]; !within[o] {
				left = max(left, o.at+distance(o, n)-n.at)
			}
		}
		if n.order < len(rank)-1 {
			if o := rank[n.order+1]; !within[o] {
				right = min(right, o.at-distance(n, o)-n.at)
			}
		}
	}
	if len(wishes) == 0 {
		return
	}
	slices.Sort(wishes)
	by := (wishes[(len(wishes)-1)/2] + wishes[len(wishes)/2]) / 2
	by = max(min(by, max(right, 0)), min(left, 0))
	for _, n := range c {
		n.at += by
	}
}

// extent returns the smallest and the largest of positions, of nodes' edges.
func extent(xs map[*node]float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for n, x := range xs {
		lo, hi = min(lo, x-n.size/2), max(hi, x+n.size/2)
	}
	return lo, hi
}

// A link connects a node with one in the rank behind it.
type link struct{ up, down *node }

// conflicts returns the links that cross one between two places of a wire: they
// are not made straight, so that the wire can be.
func (l *layout) conflicts() map[link]bool {
	bent := map[link]bool{}
	for _, rank := range l.ranks {
		var inner, others []link
		for _, n := range rank {
			for _, o := range n.down {
				if k := (link{n, o}); n.box == nil && o.box == nil {
					inner = append(inner, k)
				} else {
					others = append(others, k)
				}
			}
		}
		for _, k := range others {
			for _, w := range inner {
				if (k.up.order-w.up.order)*(k.down.order-w.down.order) < 0 {
					bent[k] = true
				}
			}
		}
	}
	return bent
}

// columns aligns nodes with the medians of their neighbours in the rank before
// (behind, if not up), going through ranks from the left (or right), and returns
// the positions when the columns that result stand as far to that side as they
// can, and then as close together.
func (l *layout) columns(up, left bool, bent map[link]bool) map[*node]float64 {
	ranks := l.snapshot()
	if !up {
		slices.Reverse(ranks)
	}
	if !left {
		for _, r := range ranks {
			slices.Reverse(r)
		}
	}
	pos := map[*node]int{}
	for _, r := range ranks {
		for i, n := range r {
			pos[n] = i
		}
	}
	// root is the first node of a node's column, taken says that one is aligned
	// to it from behind.
	root, taken := map[*node]*node{}, map[*node]bool{}
	for _, r := range ranks {
		last := -1 // position that may not be passed, as columns must not cross
		for _, n := range r {
			root[n] = n
			near := slices.Clone(n.down)
			if up {
				near = slices.Clone(n.up)
			}
			slices.SortFunc(near, func(a, b *node) int { return pos[a] - pos[b] })
			for _, m := range medians(near) {
				k := link{m, n}
				if !up {
					k = link{n, m}
				}
				if !bent[k] && !taken[m] && last < pos[m] {
					root[n], taken[m], last = root[m], true, pos[m]
					break
				}
			}
		}
	}
	xs := compact(ranks, root)
	if !left {
		for n := range xs {
			xs[n] = -xs[n]
		}
	}
	return xs
}

// medians returns the one or two in the middle.
func medians(ns []*node) []*node {
	if len(ns) == 0 {
		return nil
	}
	return ns[(len(ns)-1)/2 : len(ns)/2+1]
}

// compact returns the positions of nodes when every column, named by its root,
// stands as far left as it can, and then as far right as those to the right of
// it allow.
func compact(ranks [][]*node, root map[*node]*node) map[*node]float64 {
	type neighbour struct {
		root *node
		by   float64
	}
	after, before := map[*node][]neighbour{}, map[*node][]neighbour{}
	waits := map[*node]int{}
	var columns []*node
	for _, r := range ranks {
		for i, n := range r {
			c := root[n]
			if c == n {
				columns = append(columns, c)
			}
			if i == 0 {
				continue
			}
			p := root[r[i-1]]
			by := distance(r[i-1], n)
			after[p] = append(after[p], neighbour{c, by})
			before[c] = append(before[c], neighbour{p, by})
			waits[c]++
		}
	}
	// In an order in which each stands behind those to its left.
	var order []*node
	for _, c := range columns {
		if waits[c] == 0 {
			order = append(order, c)
		}
	}
	for i := 0; i < len(order); i++ {
		for _, a := range after[order[i]] {
			if waits[a.root]--; waits[a.root] == 0 {
				order = append(order, a.root)
			}
		}
	}
	at := map[*node]float64{}
	for _, c := range order {
		x := 0.0
		for _, b := range before[c] {
			x = max(x, at[b.root]+b.by)
		}
		at[c] = x
	}
	for _, c := range slices.Backward(order) {
		x := math.Inf(1)
		for _, a := range after[c] {
			x = min(x, at[a.root]-a.by)
		}
		if !math.IsInf(x, 1) {
			at[c] = max(at[c], x)
		}
	}
	xs := map[*node]float64{}
	for _, r := range ranks {
		for _, n := range r {
			xs[n] = at[root[n]]
		}
	}
	return xs
}

// distance is the least between the middles of two nodes side by side.
func distance(a, b *node) float64 {
	g := gap
	if a.box == nil || b.box == nil {
		g = placeGap
	}
	return (a.size+b.size)/2 + g
}
