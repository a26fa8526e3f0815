package hdf5

// Types of messages in object headers.
const (
	msgDataspace    = 0x01
	msgLinkInfo     = 0x02
	msgDatatype     = 0x03
	msgFillOld      = 0x04
	msgFill         = 0x05
	msgLink         = 0x06
	msgExternal     = 0x07
	msgLayout       = 0x08
	msgFilters      = 0x0b
	msgContinuation = 0x10
	msgSymbolTable  = 0x11
)

// A message is a piece of an object header.
type message struct {
	kind int
	body []byte
}

// A header is what an object is made of.
type header []message

// find returns the first message of a kind.
func (h header) find(kind int) ([]byte, bool) {
	for _, m := range h {
		if m.kind == kind {
			return m.body, true
		}
	}
	return nil, false
}

func (h header) has(kind int) bool {
	_, ok := h.find(kind)
	return ok
}

// header reads the object header at an address, either version, with the
// shared messages that this package reads put in their places.
func (f *File) header(addr uint64) (header, error) { return f.headerOf(addr, true) }

func (f *File) headerOf(addr uint64, resolve bool) (header, error) {
	if addr == undefined {
		return nil, damaged("an object without an address")
	}
	b, err := f.read(addr, min(16, f.size-min(addr, f.size)))
	if err != nil {
		return nil, err
	}
	r := headerReader{f: f, resolve: resolve, seen: map[uint64]bool{}}
	c := cursor{f: f, b: b}
	switch {
	case len(b) >= 4 && string(b[:4]) == "OHDR":
		err = r.version2(addr)
	case len(b) == 16 && b[0] == 1:
		c.skip(2)
		r.left = int(c.uint(2))
		c.skip(4) // links to it
		err = r.version1(addr+16, c.uint(4))
	default:
		err = damaged("no object at address %d", addr)
	}
	return r.h, err
}

type headerReader struct {
	f       *File
	resolve bool
	h       header
	left    int             // messages to come (version 1)
	seen    map[uint64]bool // blocks
}

// enter refuses to read a block twice.
func (r *headerReader) enter(addr uint64) error {
	if r.seen[addr] {
		return damaged("an object header at address %d continues in itself", addr)
	}
	r.seen[addr] = true
	return nil
}

// version1 reads a block of messages of n bytes and those it continues in.
func (r *headerReader) version1(addr, n uint64) error {
	if err := r.enter(addr); err != nil {
		return err
	}
	b, err := r.f.read(addr, n)
	if err != nil {
		return err
	}
	c := cursor{f: r.f, b: b}
	for ; r.left > 0 && c.left() >= 8; r.left-- {
		kind, size, flags := int(c.uint(2)), int(c.uint(2)), c.uint(1)
		c.skip(3)
		body := c.bytes(size)
		if c.err != nil {
			return c.err
		}
		if kind == msgContinuation {
			k := cursor{f: r.f, b: body}
			at, n := k.addr(), k.length()
			if k.err != nil {
				return k.err
			}
			r.left--
			if err := r.version1(at, n); err != nil {
				return err
			}
			r.left++
			continue
		}
		if err := r.add(kind, flags, body); err != nil {
			return err
		}
	}
	return nil
}

func (r *headerReader) version2(addr uint64) error {
	b, err := r.f.read(addr, min(64, r.f.size-addr))
	if err != nil {
		return err
	}
	c := cursor{f: r.f, b: b}
	c.skip(4)
	if v := c.uint(1); v != 2 {
		return unsupported("object header of version %d", v)
	}
	flags := c.uint(1)
	if flags&0x20 != 0 {
		c.skip(16) // times
	}
	if flags&0x10 != 0 {
		c.skip(4) // thresholds of attributes
	}
	n := c.uint(1 << (flags & 3))
	if c.err != nil {
		return c.err
	}
	if n > maxMetadata {
		return damaged("object header of %d bytes at address %d", n, addr)
	}
	block, err := r.f.summed(addr, uint64(c.at)+n+4, "OHDR")
	if err != nil {
		return err
	}
	block.skip(c.at - block.at)
	return r.messages2(block, flags&4 != 0)
}

// messages2 reads a block of messages and those it continues in.
func (r *headerReader) messages2(c *cursor, ordered bool) error {
	head := 4
	if ordered {
		head = 6
	}
	for c.left() >= head {
		kind, size, flags := int(c.uint(1)), int(c.uint(2)), c.uint(1)
		if ordered {
			c.skip(2)
		}
		body := c.bytes(size)
		if c.err != nil {
			return c.err
		}
		if kind == msgContinuation {
			k := cursor{f: r.f, b: body}
			at, n := k.addr(), k.length()
			if k.err != nil {
				return k.err
			}
			if err := r.enter(at); err != nil {
				return err
			}
			block, err := r.f.summed(at, n, "OCHK")
			if err != nil {
				return err
			}
			if err := r.messages2(block, ordered); err != nil {
				return err
			}
			continue
		}
		if err := r.add(kind, flags, body); err != nil {
			return err
		}
	}
	return nil
}

// add takes a message in, or, if it is shared, the one it stands for.
func (r *headerReader) add(kind int, flags uint64, body []byte) error {
	const shared = 2
	if flags&shared == 0 {
		r.h = append(r.h, message{kind, body})
		return nil
	}
	switch kind {
	case msgDataspace, msgDatatype, msgFill, msgFilters:
	default:
		return nil // nothing that is read
	}
	if !r.resolve {
		return damaged("a shared message stands for another")
	}
	c := cursor{f: r.f, b: body}
	version, where := c.uint(1), c.uint(1)
	if version == 1 {
		c.skip(6)
	}
	if version == 3 && where == 1 {
		return unsupported("messages in a table of shared messages")
	}
	addr := c.addr()
	if c.err != nil {
		return c.err
	}
	h, err := r.f.headerOf(addr, false)
	if err != nil {
		return err
	}
	m, ok := h.find(kind)
	if !ok {
		return damaged("a shared message of kind %d is not where it should be", kind)
	}
	r.h = append(r.h, message{kind, m})
	return nil
}
