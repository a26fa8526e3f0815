package hdf5

import "math/bits"

// loadIndex reads where all chunks of a dataset are.
func (d *Dataset) loadIndex() error {
	k := d.store.chunked
	k.index = map[int]chunk{}
	var err error
	if d.store.addr != undefined {
		switch k.kind {
		case byTree1:
			err = d.indexTree1()
		case bySingle:
			ch := chunk{addr: d.store.addr, size: uint64(k.size)}
			if len(k.param) == 2 {
				ch.size, ch.mask = k.param[0], k.param[1]
			}
			k.index[0] = ch
		case byOrder:
			err = d.indexOrder()
		case byFixed:
			err = d.indexFixed()
		case byExtending:
			err = d.indexExtending()
		case byTree2:
			err = d.indexTree2()
		}
	}
	if err != nil {
		k.index = nil
	}
	return err
}

// put enters the chunk at a place in the grid.
func (d *Dataset) put(at []uint64, ch chunk) error {
	k := d.store.chunked
	n := 0
	for i, x := range at {
		if x >= uint64(k.grid[i]) {
			return nil // of rows that the dataset once had
		}
		n = n*k.grid[i] + int(x)
	}
	if _, twice := k.index[n]; twice {
		return damaged("two chunks at %d", at)
	}
	k.index[n] = ch
	return nil
}

func (d *Dataset) indexTree1() error {
	k := d.store.chunked
	rank := len(k.dims)
	const chunkNode = 1
	return d.f.walkTree1(d.store.addr, chunkNode, 8+8*(rank+1), func(key []byte, addr uint64) error {
		c := cursor{f: d.f, b: key}
		ch := chunk{addr: addr, size: c.uint(4), mask: c.uint(4)}
		at := make([]uint64, rank)
		for i := range at {
			x := c.uint(8)
			if x%uint64(k.dims[i]) != 0 {
				return damaged("a chunk that begins at %d on axis %d, where chunks have %d", x, i, k.dims[i])
			}
			at[i] = x / uint64(k.dims[i])
		}
		return d.put(at, ch)
	})
}

func (d *Dataset) indexTree2() error {
	k := d.store.chunked
	rank := len(k.dims)
	kind := byte(10)
	if len(k.filters) > 0 {
		kind = 11
	}
	return d.f.walkTree2(d.store.addr, kind, func(rec []byte) error {
		c := cursor{f: d.f, b: rec}
		ch := chunk{addr: c.addr(), size: uint64(k.size)}
		if kind == 11 {
			ch.size = c.uint(len(rec) - d.f.offsetSize - 4 - 8*rank)
			ch.mask = c.uint(4)
		}
		at := make([]uint64, rank)
		for i := range at {
			at[i] = c.uint(8)
		}
		if c.err != nil {
			return c.err
		}
		return d.put(at, ch)
	})
}

func (d *Dataset) indexOrder() error {
	k := d.store.chunked
	size := uint64(k.size)
	for n, total := uint64(0), d.f.size/size; n < total && n < k.most(); n++ {
		if err := d.putNumber(n, chunk{addr: d.store.addr + n*size, size: size}); err != nil {
			return err
		}
	}
	return nil
}

// most is the number of chunks that the dataset may grow to.
func (k *chunks) most() uint64 {
	n := uint64(1)
	for _, l := range k.limits {
		if l == 0 || n > undefined/l {
			return undefined
		}
		n *= l
	}
	return n
}

// putNumber enters the chunk that has number n in an array: chunks are numbered
// row by row of the grid that the dataset may grow to, where an axis without
// limit comes first.
func (d *Dataset) putNumber(n uint64, ch chunk) error {
	k := d.store.chunked
	open := 0
	for i, l := range k.limits {
		if l == 0 {
			open = i
			break
		}
	}
	order := []int{open}
	for i := range k.limits {
		if i != open {
			order = append(order, i)
		}
	}
	at := make([]uint64, len(k.limits))
	for j := len(order) - 1; j > 0; j-- {
		l := max(1, k.limits[order[j]])
		at[order[j]] = n % l
		n /= l
	}
	at[open] = n
	return d.put(at, ch)
}

// An array is the part that fixed and extensible arrays have in common: their
// elements are the addresses of chunks or, with filters, also sizes and masks.
type array struct {
	d         *Dataset
	client    uint64
	entry     int // bytes of an element
	pageBits  uint64
	next      uint64 // number of the next element
	limit     uint64 // elements that the file may have
	chunkSize int    // bytes of a chunk's size in an element
}

func (d *Dataset) newArray(client, entry, pageBits uint64) (*array, error) {
	f := d.f
	a := &array{d: d, client: client, entry: int(entry), pageBits: pageBits, limit: f.size}
	switch {
	case client == 0 && a.entry == f.offsetSize:
	case client == 1 && a.entry > f.offsetSize+4 && a.entry <= f.offsetSize+4+8:
		a.chunkSize = a.entry - f.offsetSize - 4
	default:
		return nil, damaged("an array of chunks with elements of %d bytes", entry)
	}
	if (client == 1) != (len(d.store.chunked.filters) > 0) {
		return nil, damaged("an array of chunks of the wrong kind")
	}
	if pageBits > 31 {
		return nil, damaged("an array of chunks with pages of 2^%d elements", pageBits)
	}
	return a, nil
}

// elements takes in the next n elements from c.
func (a *array) elements(c *cursor, n uint64) error {
	for range n {
		ch := chunk{addr: c.addr(), size: uint64(a.d.store.chunked.size)}
		if a.client == 1 {
			ch.size, ch.mask = c.uint(a.chunkSize), c.uint(4)
		}
		if c.err != nil {
			return c.err
		}
		if ch.addr != undefined {
			if err := a.d.putNumber(a.next, ch); err != nil {
				return err
			}
		}
		a.next++
	}
	return nil
}

// pages takes in the n elements of a block that is divided into pages, which
// begin at an address, each with a checksum. The bits of bitmap from number bit
// on tell which of them were written.
func (a *array) pages(addr, n uint64, bitmap []byte, bit uint64) error {
	per := uint64(1) << a.pageBits
	for ; n > 0; bit++ {
		m := min(n, per)
		size := m*uint64(a.entry) + 4
		if bit/8 >= uint64(len(bitmap)) {
			return damaged("an array of chunks with pages that nothing tells of")
		}
		if bitmap[bit/8]>>(7-bit%8)&1 != 0 {
			c, err := a.d.f.summed(addr, size, "")
			if err != nil {
				return err
			}
			if err := a.elements(c, m); err != nil {
				return err
			}
		} else {
			a.next += m
		}
		addr += size
		n -= m
	}
	return nil
}

func (d *Dataset) indexFixed() error {
	f := d.f
	c, err := f.summed(d.store.addr, uint64(8+f.lengthSize+f.offsetSize+4), "FAHD")
	if err != nil {
		return err
	}
	c.skip(1)
	client, entry, pageBits := c.uint(1), c.uint(1), c.uint(1)
	n, at := c.length(), c.addr()
	if c.err != nil {
		return c.err
	}
	a, err := d.newArray(client, entry, pageBits)
	if err != nil || at == undefined {
		return err
	}
	if n > f.size/uint64(a.entry) {
		return damaged("an array of %d chunks", n)
	}
	head := uint64(6 + f.offsetSize)
	if n <= 1<<pageBits {
		c, err := f.summed(at, head+n*entry+4, "FADB")
		if err != nil {
			return err
		}
		c.skip(int(head) - 4)
		return a.elements(c, n)
	}
	pages := (n-1)>>pageBits + 1
	bitmap := (pages + 7) / 8
	c, err = f.summed(at, head+bitmap+4, "FADB")
	if err != nil {
		return err
	}
	c.skip(int(head) - 4)
	return a.pages(at+head+bitmap+4, n, c.bytes(int(bitmap)), 0)
}

// indexExtending reads an extensible array: its first elements lie in the index
// block, then come blocks that double every second time, the first of which the
// index block knows, the others super blocks.
func (d *Dataset) indexExtending() error {
	f := d.f
	c, err := f.summed(d.store.addr, uint64(12+6*f.lengthSize+f.offsetSize+4), "EAHD")
	if err != nil {
		return err
	}
	c.skip(1)
	client, entry := c.uint(1), c.uint(1)
	maxBits, inIndex, least, pointers, pageBits := c.uint(1), c.uint(1), c.uint(1), c.uint(1), c.uint(1)
	for range 4 {
		c.length() // statistics
	}
	used := c.length() // one more than the last element written
	c.length()
	at := c.addr()
	if c.err != nil {
		return c.err
	}
	a, err := d.newArray(client, entry, pageBits)
	if err != nil || at == undefined {
		return err
	}
	if maxBits == 0 || maxBits > 64 || !powerOf2(least) || !powerOf2(pointers) || pointers < 2 || uint64(bits.Len64(least)-1) > maxBits {
		return damaged("an array of chunks with blocks of %d elements, %d of them in a row", least, pointers)
	}
	x := extending{array: a, least: least, offset: int(maxBits+7) / 8, used: used}
	supers := 1 + int(maxBits) - (bits.Len64(least) - 1)
	direct := 2 * (bits.Len64(pointers) - 1) // levels whose blocks the index block knows
	blocks := 2 * (pointers - 1)
	rest := max(0, supers-direct)
	size := uint64(6+f.offsetSize) + inIndex*entry + (blocks+uint64(rest))*uint64(f.offsetSize) + 4
	c, err = f.summed(at, size, "EAIB")
	if err != nil {
		return err
	}
	c.skip(2 + f.offsetSize)
	if err := a.elements(c, inIndex); err != nil {
		return err
	}
	for level := range supers {
		if a.next >= used {
			return c.err
		}
		if level < direct {
			for range uint64(1) << (level / 2) {
				if err := x.block(c.addr(), x.blockSize(level), nil, 0); err != nil {
					return err
				}
			}
		} else if err := x.super(c.addr(), level); err != nil {
			return err
		}
	}
	return c.err
}

// extending is what reading an extensible array needs to know.
type extending struct {
	*array
	least  uint64
	offset int // bytes of an element's number
	used   uint64
}

// blockSize is the number of elements of each block of a level.
func (x *extending) blockSize(level int) uint64 { return x.least << ((level + 1) / 2) }

// pagesOf is the number of pages that blocks of n elements are divided into, 0 if
// they are not.
func (x *extending) pagesOf(n uint64) uint64 {
	if n <= 1<<x.pageBits {
		return 0
	}
	return n >> x.pageBits
}

// super takes in the blocks of a level that has a super block.
func (x *extending) super(addr uint64, level int) error {
	f := x.d.f
	count, n := uint64(1)<<(level/2), x.blockSize(level)
	if addr == undefined {
		x.next += count * n
		return nil
	}
	pages := x.pagesOf(n)
	bitmap := (pages + 7) / 8 // bytes for each block; the bits follow each other without gaps
	if count > maxMetadata || bitmap > maxMetadata/count {
		return damaged("an array of chunks with %d blocks", count)
	}
	size := uint64(6+f.offsetSize+x.offset) + count*(bitmap+uint64(f.offsetSize)) + 4
	c, err := f.summed(addr, size, "EASB")
	if err != nil {
		return err
	}
	c.skip(2 + f.offsetSize + x.offset)
	maps := c.bytes(int(count * bitmap))
	for i := range count {
		if err := x.block(c.addr(), n, maps, i*pages); err != nil {
			return err
		}
		if x.next >= x.used {
			break
		}
	}
	return c.err
}

// block takes in a block of n elements. Its pages, if it has any, begin with
// number bit of bitmap.
func (x *extending) block(addr, n uint64, bitmap []byte, bit uint64) error {
	f := x.d.f
	if addr == undefined {
		x.next += n
		return nil
	}
	head := uint64(6 + f.offsetSize + x.offset)
	if n > f.size/uint64(x.entry) {
		return damaged("an array of chunks with blocks of %d elements", n)
	}
	if x.pagesOf(n) == 0 {
		c, err := f.summed(addr, head+n*uint64(x.entry)+4, "EADB")
		if err != nil {
			return err
		}
		c.skip(int(head) - 4)
		return x.elements(c, n)
	}
	if _, err := f.summed(addr, head+4, "EADB"); err != nil {
		return err
	}
	return x.pages(addr+head+4, n, bitmap, bit)
}
