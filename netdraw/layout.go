package netdraw

import (
	"cmp"
	"slices"
)

// A node is a box or, in the ranks that a wire passes, a place of that wire.
// Along is the direction of the ranks, across the other one.
type node struct {
	box  *box  // nil for a place
	wire *wire // of a place
	rank int
	// size across, and the position of the middle.
	size, at float64
	// up and down are the neighbours in the ranks before and behind.
	up, down []*node
	order    int     // in its rank
	key      float64 // while sorting
}

// A layout has the nodes of each rank in order.
type layout struct {
	ranks [][]*node
	nodes map[*box]*node
	// places of each wire, in the order of ranks, from the one behind its box.
	places map[*wire][]*node
}

// gap is the least distance across between two boxes, in pixels; placeGap that
// of a place to what is beside it.
const (
	gap      = 24.0
	placeGap = 14.0
)

// newLayout ranks, sorts and places the boxes; size is a box's size across.
func newLayout(d *diagram, size func(*box) float64) *layout {
	rankBoxes(d.boxes)
	l := &layout{nodes: map[*box]*node{}, places: map[*wire][]*node{}}
	add := func(n *node) {
		for len(l.ranks) <= n.rank {
			l.ranks = append(l.ranks, nil)
		}
		l.ranks[n.rank] = append(l.ranks[n.rank], n)
	}
	for _, b := range d.boxes {
		n := &node{box: b, rank: b.rank, size: size(b)}
		l.nodes[b] = n
		add(n)
	}
	for _, w := range d.wires {
		last := w.from.rank
		for _, b := range w.to {
			last = max(last, b.rank)
		}
		prev := l.nodes[w.from]
		chain := []*node{prev}
		for r := w.from.rank + 1; r < last; r++ {
			n := &node{wire: w, rank: r}
			join(prev, n)
			add(n)
			l.places[w] = append(l.places[w], n)
			chain, prev = append(chain, n), n
		}
		for _, b := range w.to {
			join(chain[b.rank-1-w.from.rank], l.nodes[b])
		}
	}
	l.sort()
	l.place()
	return l
}

func join(up, down *node) {
	up.down = append(up.down, down)
	down.up = append(down.up, up)
}

// rankBoxes ranks boxes, which are in an order in which each stands behind those
// it reads from. Those that read nothing move down to just before their first
// reader.
func rankBoxes(boxes []*box) {
	for _, b := range boxes {
		for _, w := range b.in {
			b.rank = max(b.rank, w.from.rank+1)
		}
	}
	for _, b := range boxes {
		if len(b.in) > 0 {
			continue
		}
		first := -1
		for _, w := range b.out {
			for _, r := range w.to {
				if first < 0 || r.rank < first {
					first = r.rank
				}
			}
		}
		b.rank = max(0, first-1)
	}
}

// sweeps is how often ranks are sorted; more change little.
const sweeps = 24

// sort orders the nodes within ranks so that few wires cross.
func (l *layout) sort() {
	l.number()
	best, fewest := l.snapshot(), l.crossings()
	for i := 0; i < sweeps && fewest > 0; i++ {
		if i%2 == 0 {
			for r := 1; r < len(l.ranks); r++ {
				sortRank(l.ranks[r], func(n *node) []*node { return n.up })
			}
		} else {
			for r := len(l.ranks) - 2; r >= 0; r-- {
				sortRank(l.ranks[r], func(n *node) []*node { return n.down })
			}
		}
		if c := l.crossings(); c < fewest {
			best, fewest = l.snapshot(), c
		}
	}
	l.ranks = best
	l.number()
}

func (l *layout) number() {
	for _, r := range l.ranks {
		for i, n := range r {
			n.order = i
		}
	}
}

func (l *layout) snapshot() [][]*node {
	s := make([][]*node, len(l.ranks))
	for i, r := range l.ranks {
		s[i] = slices.Clone(r)
	}
	return s
}

// sortRank sorts by the mean position of neighbours in one rank. Nodes without
// such stay where they are.
func sortRank(rank []*node, neighbours func(*node) []*node) {
	for i, n := range rank {
		n.key = float64(i)
		if near := neighbours(n); len(near) > 0 {
			sum := 0.0
			for _, o := range near {
				sum += float64(o.order)
			}
			n.key = sum / float64(len(near))
		}
	}
	slices.SortStableFunc(rank, func(a, b *node) int { return cmp.Compare(a.key, b.key) })
	for i, n := range rank {
		n.order = i
	}
}

// crossings counts the pairs of connections between neighbouring ranks that
// cross.
func (l *layout) crossings() int {
	count := 0
	for _, rank := range l.ranks {
		var ends []int // of connections, sorted by where they begin
		for _, n := range rank {
			from := len(ends)
			for _, o := range n.down {
				ends = append(ends, o.order)
			}
			slices.Sort(ends[from:])
		}
		for i, a := range ends {
			for _, b := range ends[:i] {
				if b > a {
					count++
				}
			}
		}
	}
	return count
}
