package hdf5

import "math/bits"

// A fractalHeap holds the links of a dense group.
type fractalHeap struct {
	f           *File
	addr        uint64
	idSize      int
	checksums   bool // of direct blocks
	width       uint64
	start, most uint64 // sizes of the smallest and the largest direct blocks
	offsetSize  int    // of an object's offset in the heap, in its ID
	lengthSize  int    // of its length
	root        uint64
	rows        int // of the root, if that is an indirect block; else 0
	blocks      map[uint64][]byte
}

// fractalHeap reads the header of a heap.
func (f *File) fractalHeap(addr uint64) (*fractalHeap, error) {
	size := uint64(26 + 12*f.lengthSize + 3*f.offsetSize)
	c, err := f.summed(addr, size, "FRHP")
	if err != nil {
		return nil, err
	}
	c.skip(1)
	h := &fractalHeap{f: f, addr: addr, blocks: map[uint64][]byte{}}
	h.idSize = int(c.uint(2))
	if n := c.uint(2); n != 0 {
		return nil, unsupported("a heap of links with filters")
	}
	h.checksums = c.uint(1)&2 != 0
	largest := c.uint(4)
	c.length() // next huge ID
	c.addr()   // huge objects
	c.length()
	c.addr() // free space
	for range 8 {
		c.length() // statistics
	}
	h.width = c.uint(2)
	h.start, h.most = c.length(), c.length()
	maxBits := c.uint(2)
	c.skip(2)
	h.root = c.addr()
	h.rows = int(c.uint(2))
	if c.err != nil {
		return nil, c.err
	}
	if !powerOf2(h.width) || !powerOf2(h.start) || !powerOf2(h.most) || h.start > h.most || maxBits == 0 || maxBits > 64 {
		return nil, damaged("a heap with blocks of %d to %d bytes, %d in a row", h.start, h.most, h.width)
	}
	h.offsetSize = int(maxBits+7) / 8
	h.lengthSize = bytesFor(min(h.most, largest))
	return h, nil
}

func powerOf2(n uint64) bool { return bits.OnesCount64(n) == 1 }

// object returns the object that a heap ID stands for.
func (h *fractalHeap) object(id []byte) ([]byte, error) {
	if len(id) < h.idSize || h.idSize < 1 {
		return nil, damaged("a heap ID of %d bytes", len(id))
	}
	id = id[:h.idSize]
	switch id[0] >> 4 & 3 {
	case 0:
		c := cursor{f: h.f, b: id[1:]}
		at, n := c.uint(h.offsetSize), c.uint(h.lengthSize)
		if c.err != nil {
			return nil, c.err
		}
		return h.managed(at, n)
	case 2:
		n := int(id[0]&15) + 1
		if n > len(id)-1 {
			return nil, damaged("a heap object of %d bytes in an ID of %d", n, len(id))
		}
		return id[1 : 1+n], nil
	}
	return nil, unsupported("a link too large for its heap")
}

// managed returns n bytes at an offset of the space that the blocks make up.
func (h *fractalHeap) managed(at, n uint64) ([]byte, error) {
	addr, base, size := h.root, uint64(0), h.start
	if h.rows > 0 {
		var err error
		if addr, base, size, err = h.locate(h.root, 0, h.rows, at, maxDepth); err != nil {
			return nil, err
		}
	}
	if at < base || at-base > size || n > size-(at-base) {
		return nil, damaged("a heap object lies outside its block")
	}
	b, ok := h.blocks[addr]
	if !ok {
		head := 5 + h.f.offsetSize + h.offsetSize
		c, err := h.f.block(addr, size, "FHDB")
		if err != nil {
			return nil, err
		}
		b = c.b
		if h.checksums {
			// The checksum is of the block with zeros in its place.
			k := cursor{f: h.f, b: b, at: head}
			want := uint32(k.uint(4))
			if k.err != nil {
				return nil, k.err
			}
			clear(b[head : head+4])
			if lookup3(b) != want {
				return nil, damaged("the checksum of the heap block at address %d is wrong", addr)
			}
		}
		h.blocks[addr] = b
	}
	return b[at-base:][:n], nil
}

// rowSize is the size of each block of a row of an indirect block.
func (h *fractalHeap) rowSize(row int) uint64 {
	if row == 0 {
		return h.start
	}
	if row-1 >= bits.LeadingZeros64(h.start) {
		return 1 << 63
	}
	return h.start << (row - 1)
}

// locate finds the direct block that has the byte at an offset, from the
// indirect block at addr on, which begins at base: its address, where it begins
// and its size.
func (h *fractalHeap) locate(addr, base uint64, rows int, at uint64, depth int) (block, begin, size uint64, err error) {
	if depth == 0 || rows > 64 {
		return 0, 0, 0, damaged("a heap with blocks in blocks without end")
	}
	direct := bits.Len64(h.most/h.start) + 1 // rows of direct blocks
	n := uint64(rows) * h.width
	head := uint64(5 + h.f.offsetSize + h.offsetSize)
	if n > maxMetadata {
		return 0, 0, 0, damaged("a heap with %d blocks in a row", h.width)
	}
	c, err := h.f.summed(addr, head+n*uint64(h.f.offsetSize)+4, "FHIB")
	if err != nil {
		return 0, 0, 0, err
	}
	c.skip(int(head) - 4)
	for row := range rows {
		size := h.rowSize(row)
		for range h.width {
			child := c.addr()
			if at >= base && at-base < size {
				if child == undefined {
					return 0, 0, 0, damaged("a heap object lies in a block that is not there")
				}
				if row < direct {
					return child, base, size, nil
				}
				first := bits.Len64(h.start) - 1 + bits.Len64(h.width) - 1
				return h.locate(child, base, bits.Len64(size)-1-first+1, at, depth-1)
			}
			base += size
		}
	}
	return 0, 0, 0, damaged("a heap object lies behind all blocks")
}

// globalHeap returns object number index of the global heap collection at an
// address, where strings of variable length are.
func (f *File) globalHeap(addr, index uint64) ([]byte, error) {
	head, err := f.block(addr, uint64(8+f.lengthSize), "GCOL")
	if err != nil {
		return nil, err
	}
	head.skip(4)
	b, err := f.read(addr, head.length())
	if err != nil {
		return nil, err
	}
	c := cursor{f: f, b: b, at: min(head.at, len(b))}
	for c.left() >= 8+f.lengthSize {
		i := c.uint(2)
		c.skip(6)
		n := c.length()
		if i == 0 {
			break // free space
		}
		if n > uint64(c.left()) {
			return nil, damaged("an object of %d bytes in a global heap", n)
		}
		o := c.bytes(int(n))
		if i == index {
			return o, nil
		}
		c.skip(min(-int(n)&7, c.left()))
	}
	return nil, damaged("no object %d in the global heap at address %d", index, addr)
}
