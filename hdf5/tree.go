package hdf5

import "math/bits"

// maxDepth bounds the levels of any tree: each has at least twice as many
// entries as the one above.
const maxDepth = 64

// A tree1 is a version 1 B-tree.
type tree1 struct {
	f       *File
	kind    byte
	keySize int
	left    uint64 // nodes that the file can hold
	leaf    func(key []byte, addr uint64) error
}

// walkTree1 calls leaf with the key (of keySize bytes) and the address of each
// entry of the lowest level of a version 1 B-tree of the given kind.
func (f *File) walkTree1(addr uint64, kind byte, keySize int, leaf func(key []byte, addr uint64) error) error {
	t := &tree1{f: f, kind: kind, keySize: keySize, leaf: leaf}
	t.left = f.size / t.head()
	return t.node(addr, -1)
}

// head is the size of what precedes the entries of a node.
func (t *tree1) head() uint64 { return uint64(8 + 2*t.f.offsetSize) }

// node walks the tree from a node on, whose level must be the given one unless
// that is negative. As levels go down there are no cycles.
func (t *tree1) node(addr uint64, level int) error {
	if addr == undefined {
		return nil
	}
	if t.left == 0 {
		return damaged("a B-tree with more nodes than the file can hold")
	}
	t.left--
	c, err := t.f.block(addr, t.head(), "TREE")
	if err != nil {
		return err
	}
	k, l, n := byte(c.uint(1)), int(c.uint(1)), c.uint(2)
	switch {
	case k != t.kind:
		return damaged("a B-tree node of kind %d where %d should be", k, t.kind)
	case level >= 0 && l != level, l > maxDepth:
		return damaged("a B-tree node at address %d is of level %d", addr, l)
	}
	b, err := t.f.read(addr+t.head(), n*uint64(t.keySize+t.f.offsetSize))
	if err != nil {
		return err
	}
	e := cursor{f: t.f, b: b}
	for range n {
		key, child := e.bytes(t.keySize), e.addr()
		if e.err != nil {
			return e.err
		}
		if l == 0 {
			err = t.leaf(key, child)
		} else {
			err = t.node(child, l-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A tree2 is a version 2 B-tree.
type tree2 struct {
	f          *File
	kind       byte
	nodeSize   uint64
	recordSize int
	// countSize is the size of a node's number of records in the pointer to it,
	// totalSize that of the number of all records below a node of a level.
	countSize int
	totalSize []int
	left      uint64 // records to come
	visit     func(rec []byte) error
}

// walkTree2 calls visit for each record of a version 2 B-tree of the given
// kind. The slice is valid until it returns.
func (f *File) walkTree2(addr uint64, kind byte, visit func(rec []byte) error) error {
	if addr == undefined {
		return nil
	}
	size := uint64(16 + f.offsetSize + 2 + f.lengthSize + 4)
	c, err := f.summed(addr, size, "BTHD")
	if err != nil {
		return err
	}
	c.skip(1)
	t := &tree2{f: f, kind: kind, visit: visit}
	if k := byte(c.uint(1)); k != kind {
		return damaged("a B-tree of kind %d where %d should be", k, kind)
	}
	t.nodeSize, t.recordSize = c.uint(4), int(c.uint(2))
	depth := int(c.uint(2))
	c.skip(2) // when nodes are split and merged
	root, n := c.addr(), c.uint(2)
	t.left = c.length()
	if c.err != nil {
		return c.err
	}
	const head = 10 // signature, version, kind, checksum
	if t.recordSize == 0 || t.nodeSize < uint64(head+t.recordSize) || depth > maxDepth {
		return damaged("a B-tree with nodes of %d, records of %d bytes, depth %d", t.nodeSize, t.recordSize, depth)
	}
	most := (t.nodeSize - head) / uint64(t.recordSize) // records of a node
	total := most                                      // records below a node
	t.countSize, t.totalSize = bytesFor(most), []int{0}
	for u := 1; u <= depth; u++ {
		ptr := uint64(t.f.offsetSize + t.countSize + t.totalSize[u-1])
		if t.nodeSize < head+ptr {
			return damaged("a B-tree with nodes of %d bytes", t.nodeSize)
		}
		most = (t.nodeSize - head - ptr) / (uint64(t.recordSize) + ptr)
		total = (most+1)*total + most
		t.totalSize = append(t.totalSize, bytesFor(total))
	}
	if root == undefined {
		return nil
	}
	if t.left > f.size/uint64(t.recordSize) {
		return damaged("a B-tree of %d records, more than the file can hold", t.left)
	}
	return t.node(root, n, depth)
}

// bytesFor is the number of bytes that hold counts up to n.
func bytesFor(n uint64) int { return (bits.Len64(max(n, 1))-1)/8 + 1 }

// node visits the n records of the node at an address and all below.
func (t *tree2) node(addr, n uint64, depth int) error {
	if n == 0 && t.left > 0 {
		return damaged("a B-tree node without records")
	}
	sign := "BTLF"
	size := 10 + n*uint64(t.recordSize)
	ptr := t.f.offsetSize + t.countSize
	if depth > 0 {
		sign = "BTIN"
		if depth > 1 {
			ptr += t.totalSize[depth-1]
		}
		size += (n + 1) * uint64(ptr)
	}
	if size > t.nodeSize {
		return damaged("a B-tree node with %d records", n)
	}
	c, err := t.f.summed(addr, size, sign)
	if err != nil {
		return err
	}
	c.skip(1)
	if k := byte(c.uint(1)); k != t.kind {
		return damaged("a B-tree node of kind %d where %d should be", k, t.kind)
	}
	records := c.bytes(int(n) * t.recordSize)
	if c.err != nil {
		return c.err
	}
	for i := uint64(0); ; i++ {
		if depth > 0 {
			child, m := c.addr(), c.uint(t.countSize)
			c.skip(ptr - t.f.offsetSize - t.countSize)
			if c.err != nil {
				return c.err
			}
			if err := t.node(child, m, depth-1); err != nil {
				return err
			}
		}
		if i == n {
			return nil
		}
		if t.left == 0 {
			return damaged("a B-tree with more records than it says")
		}
		t.left--
		if err := t.visit(records[int(i)*t.recordSize:][:t.recordSize]); err != nil {
			return err
		}
	}
}
