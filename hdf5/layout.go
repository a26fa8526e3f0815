package hdf5

import (
	"slices"
	"strings"
)

// Sizes of the format's pieces, with offsets and lengths of 8 bytes.
const (
	superSize  = 96
	leafK      = 4  // a symbol-table node has room for twice as many entries
	nodeK      = 16 // a B-tree node has room for twice as many children
	symbolSize = 40
	leafSize   = 8 + 2*leafK*symbolSize
	treeSize   = 24 + (2*nodeK+1)*8 + 2*nodeK*8
)

// A layouter lays out everything but the values of a file: what a group refers
// to comes before it, so that its address is known.
type layouter struct {
	b      []byte
	values []values
}

// values says where the address of a dataset's values has to be put.
type values struct {
	n  *node
	at int
}

func (l *layouter) here() uint64 { return uint64(len(l.b)) }

func (l *layouter) u16(v uint64) { l.b = le.AppendUint16(l.b, uint16(v)) }
func (l *layouter) u32(v uint64) { l.b = le.AppendUint32(l.b, uint32(v)) }
func (l *layouter) u64(v uint64) { l.b = le.AppendUint64(l.b, v) }

// zeros appends n zeros, pad as many as make the length a multiple of 8.
func (l *layouter) zeros(n int) { l.b = append(l.b, make([]byte, n)...) }
func (l *layouter) pad()        { l.zeros(-len(l.b) & 7) }

// header lays out an object header of version 1 with the given messages.
func (l *layouter) header(n *node, messages ...message) {
	n.header = l.here()
	size := 0
	for _, m := range messages {
		size += 8 + (len(m.body)+7)&^7
	}
	l.b = append(l.b, 1, 0)
	l.u16(uint64(len(messages)))
	l.u32(uint64(1 + n.links))
	l.u32(uint64(size))
	l.pad()
	for _, m := range messages {
		l.u16(uint64(m.kind))
		l.u16(uint64(len(m.body)+7) &^ 7)
		l.zeros(4) // flags, reserved
		l.b = append(l.b, m.body...)
		l.pad()
	}
}

// dataset lays out the header of a dataset.
func (l *layouter) dataset(n *node) {
	space := []byte{1, byte(len(n.dims)), 0, 0, 0, 0, 0, 0}
	for _, d := range n.dims {
		space = le.AppendUint64(space, uint64(d))
	}
	// Version 2: space allocated late, written if a value is set, the default.
	fill := []byte{2, 2, 2, 1, 0, 0, 0, 0}
	layout := []byte{3, 1} // contiguous
	layout = le.AppendUint64(layout, undefined)
	layout = le.AppendUint64(layout, n.size)
	l.header(n, message{msgDataspace, space}, message{msgDatatype, n.typ}, message{msgFill, fill}, message{msgLayout, layout})
	if n.size > 0 {
		// The layout is the last message, 18 bytes and 6 of padding.
		l.values = append(l.values, values{n, len(l.b) - 24 + 2})
	}
}

// group lays out a group and everything below.
func (l *layouter) group(g *node) {
	slices.SortFunc(g.sub, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	for _, n := range g.sub {
		switch {
		case n.group:
			l.group(n)
		case n.to == nil:
			l.dataset(n)
		}
	}
	// The heap of names: the empty one first.
	heap := make([]byte, 8)
	text := func(s string) uint64 {
		at := uint64(len(heap))
		heap = append(heap, s...)
		heap = append(heap, make([]byte, 8-len(s)%8)...)
		return at
	}
	names := make([]uint64, len(g.sub))
	for i, n := range g.sub {
		names[i] = text(n.name)
	}
	g.heap = l.here()
	const noFree = 1 // the list of free pieces is empty
	l.b = append(l.b, "HEAP\x00\x00\x00\x00"...)
	l.u64(uint64(len(heap)))
	l.u64(noFree)
	l.u64(l.here() + 8)
	l.b = append(l.b, heap...)

	var level []child
	for i := 0; i < len(g.sub); i += 2 * leafK {
		m := min(2*leafK, len(g.sub)-i)
		level = append(level, child{l.here(), names[i+m-1]})
		start := len(l.b)
		l.b = append(l.b, "SNOD\x01\x00"...)
		l.u16(uint64(m))
		for j := i; j < i+m; j++ {
			l.symbol(g.sub[j], names[j])
		}
		l.zeros(start + leafSize - len(l.b))
	}
	g.tree = l.trees(level)
	at := le.AppendUint64(le.AppendUint64(nil, g.tree), g.heap)
	l.header(g, message{msgSymbolTable, at})
}

// symbol lays out a symbol-table entry.
func (l *layouter) symbol(n *node, name uint64) {
	if n.to != nil {
		n = n.to
	}
	start := len(l.b)
	l.u64(name)
	l.u64(n.header)
	if n.group {
		const group = 1 // what follows is known of it
		l.u32(group)
		l.u32(0)
		l.u64(n.tree)
		l.u64(n.heap)
	}
	l.zeros(start + symbolSize - len(l.b))
}

// A child is what an entry of a B-tree leads to, and its last name.
type child struct{ addr, last uint64 }

// trees lays out the B-tree above the nodes of the lowest level and returns the
// address of its root.
func (l *layouter) trees(nodes []child) uint64 {
	for depth := byte(0); ; depth++ {
		var above []child
		count := max(1, (len(nodes)+2*nodeK-1)/(2*nodeK))
		first := l.here()
		var before uint64 // the last name to the left; 0 is the empty one
		for i := range count {
			part := nodes[i*2*nodeK : min((i+1)*2*nodeK, len(nodes))]
			start := len(l.b)
			l.b = append(l.b, "TREE\x00"...)
			l.b = append(l.b, depth)
			l.u16(uint64(len(part)))
			left, right := uint64(undefined), uint64(undefined)
			if i > 0 {
				left = first + uint64(i-1)*treeSize
			}
			if i < count-1 {
				right = first + uint64(i+1)*treeSize
			}
			l.u64(left)
			l.u64(right)
			l.u64(before)
			for _, c := range part {
				l.u64(c.addr)
				l.u64(c.last)
				before = c.last
			}
			l.zeros(start + treeSize - len(l.b))
			above = append(above, child{uint64(start), before})
		}
		if count == 1 {
			return first
		}
		nodes = above
	}
}

// place gives all values their addresses, fills in the superblock and returns
// the size of the file.
func (l *layouter) place(root *node) uint64 {
	end := l.here()
	for _, v := range l.values {
		le.PutUint64(l.b[v.at:], end)
		end += (v.n.size + 7) &^ 7
	}
	s := layouter{b: l.b[:0:superSize]}
	s.b = append(s.b, signature...)
	s.b = append(s.b, 0, 0, 0, 0, 0, 8, 8, 0) // versions, sizes of offsets and lengths
	s.u16(leafK)
	s.u16(nodeK)
	s.u32(0)
	s.u64(0)         // base
	s.u64(undefined) // free space
	s.u64(end)
	s.u64(undefined) // driver
	s.symbol(root, 0)
	return end
}
