package hdf5

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// A Dataset is an array of numbers or a string.
type Dataset struct {
	f     *File
	path  string
	dims  []int
	count int // elements
	typ   datatype
	store storage
	fill  []byte // one element; nil is zeros

	buf []byte // of contiguous reads
}

// storage is where the values are.
type storage struct {
	compact []byte
	addr    uint64 // contiguous, or the index of the chunks
	chunked *chunks
}

// dataset reads what a header says of a dataset.
func (f *File) dataset(h header, path string) (*Dataset, error) {
	d := &Dataset{f: f, path: path, store: storage{addr: undefined}}
	sb, ok1 := h.find(msgDataspace)
	tb, ok2 := h.find(msgDatatype)
	lb, _ := h.find(msgLayout)
	if !ok1 || !ok2 {
		return nil, damaged("a dataset without shape or type")
	}
	space, err := f.parseDataspace(sb)
	if err != nil {
		return nil, err
	}
	if d.typ, err = f.parseDatatype(tb); err != nil {
		return nil, err
	}
	d.count = 1
	for _, n := range space.dims {
		if n > math.MaxInt || n > 0 && uint64(d.count) > uint64(math.MaxInt/d.typ.size)/n {
			return nil, damaged("a dataset of %d elements", space.dims)
		}
		d.dims = append(d.dims, int(n))
		d.count *= int(n)
	}
	if space.null {
		d.count = 0
		d.typ = datatype{size: d.typ.size, name: "nothing (a null dataspace)"}
	}
	if h.has(msgExternal) {
		return nil, unsupported("values in another file")
	}
	if b, ok := h.find(msgFill); ok {
		if d.fill, err = f.fillValue(b, d.typ.size); err != nil {
			return nil, err
		}
	} else if b, ok := h.find(msgFillOld); ok {
		c := cursor{f: f, b: b}
		if n := int(c.uint(4)); n == d.typ.size {
			d.fill = c.bytes(n)
		}
		if c.err != nil {
			return nil, c.err
		}
	}
	if err := d.layout(lb, space); err != nil {
		return nil, err
	}
	if b, ok := h.find(msgFilters); ok && d.store.chunked != nil {
		if d.store.chunked.filters, err = f.parseFilters(b); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// fillValue reads a fill value message: nil if it is zeros.
func (f *File) fillValue(b []byte, size int) ([]byte, error) {
	c := cursor{f: f, b: b}
	v := c.uint(1)
	there := true
	switch v {
	case 1, 2:
		c.skip(2)
		there = c.uint(1) != 0
	case 3:
		there = c.uint(1)&0x20 != 0
	default:
		return nil, unsupported("fill value of version %d", v)
	}
	if !there || v == 1 && c.left() < 4 {
		return nil, c.err
	}
	n := int(c.uint(4))
	if n != size {
		return nil, c.err
	}
	return c.bytes(n), c.err
}

// layout reads where and how values are stored.
func (d *Dataset) layout(b []byte, space dataspace) error {
	c := cursor{f: d.f, b: b}
	const compact, contiguous, chunked = 0, 1, 2
	v := c.uint(1)
	switch v {
	case 1, 2:
		rank, kind := int(c.uint(1)), c.uint(1)
		c.skip(5)
		if kind != compact {
			d.store.addr = c.addr()
		}
		var dims []uint64
		for range rank {
			dims = append(dims, c.uint(4))
		}
		switch kind {
		case compact:
			d.store.compact = c.bytes(int(c.uint(4)))
		case contiguous:
		case chunked:
			return d.chunkedBy(byTree1, dims, space, &c)
		default:
			return damaged("layout of kind %d", kind)
		}
	case 3, 4:
		switch kind := c.uint(1); {
		case kind == compact:
			d.store.compact = c.bytes(int(c.uint(2)))
		case kind == contiguous:
			d.store.addr = c.addr()
			c.length()
		case kind == chunked && v == 3:
			rank := int(c.uint(1)) - 1 // the size of an element counts as one
			d.store.addr = c.addr()
			var dims []uint64
			for range rank {
				dims = append(dims, c.uint(4))
			}
			c.skip(4)
			return d.chunkedBy(byTree1, dims, space, &c)
		case kind == chunked:
			return d.layout4(&c, space)
		default:
			return unsupported("layout of kind %d (a virtual dataset?)", kind)
		}
	default:
		return unsupported("layout of version %d", v)
	}
	if c.err != nil {
		return c.err
	}
	if size := d.count * d.typ.size; d.store.compact != nil && len(d.store.compact) < size {
		return damaged("%d bytes for values of %d", len(d.store.compact), size)
	} else if d.store.addr != undefined {
		return d.f.check(d.store.addr, uint64(size))
	}
	return nil
}

// Path implements Node.
func (d *Dataset) Path() string { return d.path }

// Shape returns the dimensions; none is a scalar.
func (d *Dataset) Shape() []int { return slices.Clone(d.dims) }

// Count returns the number of elements.
func (d *Dataset) Count() int { return d.count }

// Type names what the elements are: "float32", "int64", "string", "compound".
func (d *Dataset) Type() string { return d.typ.name }

// IsNumber reports whether elements can be read as numbers.
func (d *Dataset) IsNumber() bool { return d.typ.number() }

func (d *Dataset) wrap(err error) error {
	if err == nil {
		return nil
	}
	return d.f.wrap(fmt.Errorf("%s: %w", d.path, err))
}

func (d *Dataset) wantNumbers() error {
	if d.typ.number() {
		return nil
	}
	return unsupported("its values are of type %s, not integers or floats (store them as float32)", d.typ.name)
}

// ReadFloats reads all elements, converted to float32 as C converts. dst must
// have Count() elements.
func (d *Dataset) ReadFloats(dst []float32) error {
	if len(dst) != d.count {
		return d.wrap(fmt.Errorf("holds %d values, %d are wanted", d.count, len(dst)))
	}
	return d.wrap(d.floats(dst, 0))
}

// ReadRows reads whole rows of the first axis, from row first on, as many as
// dst holds, as ReadFloats does. A scalar has no rows.
func (d *Dataset) ReadRows(dst []float32, first int) error {
	if len(d.dims) == 0 {
		return d.wrap(fmt.Errorf("%w: a scalar has no rows", ErrNotFound))
	}
	row := d.rowCount()
	if row == 0 || len(dst)%row != 0 || first < 0 || first > d.dims[0] || len(dst)/row > d.dims[0]-first {
		return d.wrap(fmt.Errorf("%w: rows from %d on, %d values: it has %d rows of %d values", ErrNotFound, first, len(dst), d.dims[0], row))
	}
	return d.wrap(d.floats(dst, first*row))
}

// RowsApart reports whether any row can be read at the cost of its own size:
// whether values are not stored in chunks.
func (d *Dataset) RowsApart() bool { return d.store.chunked == nil }

// ReadAll reads all elements as ReadFloats does, into new memory. It is an
// error if the file stores far fewer than the shape says.
func (d *Dataset) ReadAll() ([]float32, error) {
	if err := d.substantial(); err != nil {
		return nil, d.wrap(err)
	}
	v := make([]float32, d.count)
	return v, d.ReadFloats(v)
}

// substantial reports whether the file stores enough values for it to be likely
// that the shape is not a damaged one.
func (d *Dataset) substantial() error {
	const small = 1 << 24 // elements
	k := d.store.chunked
	if d.count <= small || d.store.compact != nil {
		return nil
	}
	if k == nil {
		if d.store.addr == undefined {
			return damaged("%d elements, none of which were ever written", d.count)
		}
		return nil
	}
	if k.index == nil {
		if err := d.loadIndex(); err != nil {
			return err
		}
	}
	total := 1
	for _, g := range k.grid {
		total *= g
	}
	if len(k.index) < total/2 {
		return damaged("%d of %d chunks were never written", total-len(k.index), total)
	}
	return nil
}

// rowCount is the number of elements of a row; 0 if there are no rows.
func (d *Dataset) rowCount() int {
	if d.dims[0] == 0 {
		return 0
	}
	return d.count / d.dims[0]
}

func (d *Dataset) floats(dst []float32, first int) error {
	if err := d.wantNumbers(); err != nil {
		return err
	}
	return d.raw(first, len(dst), func(b []byte) {
		n := len(b) / d.typ.size
		d.typ.floats(dst[:n], b)
		dst = dst[n:]
	})
}

// raw calls use with the bytes of n elements from first on, in order, piece by
// piece, each of whole elements.
func (d *Dataset) raw(first, n int, use func(b []byte)) error {
	const piece = 1 << 18
	size := d.typ.size
	switch {
	case n == 0:
		return nil
	case d.store.compact != nil:
		use(d.store.compact[first*size : (first+n)*size])
		return nil
	case d.store.chunked != nil:
		return d.chunkedRaw(first, n, use)
	}
	per := min(n, max(1, piece/size))
	if cap(d.buf) < per*size {
		d.buf = make([]byte, per*size)
	}
	if d.store.addr == undefined {
		d.blank(d.buf[:per*size])
	}
	for n > 0 {
		k := min(n, per)
		b := d.buf[:k*size]
		if d.store.addr != undefined {
			if err := d.f.readInto(b, d.store.addr+uint64(first)*uint64(size)); err != nil {
				return err
			}
		}
		use(b)
		first, n = first+k, n-k
	}
	return nil
}

// blank fills b with the value of elements that were never written.
func (d *Dataset) blank(b []byte) {
	if d.fill == nil {
		clear(b)
		return
	}
	for len(b) >= len(d.fill) {
		copy(b, d.fill)
		b = b[len(d.fill):]
	}
}

// maxSmall is the most elements that ReadInts and ReadBytes read, and bytes
// that ReadString reads.
const maxSmall = 64 << 20

// ReadInts reads all elements of a dataset of integers, at most 64 Mi.
func (d *Dataset) ReadInts() ([]int64, error) {
	if d.typ.class != integer {
		return nil, d.wrap(unsupported("its values are of type %s, not integers", d.typ.name))
	}
	if d.count > maxSmall {
		return nil, d.wrap(unsupported("%d integers", d.count))
	}
	v := make([]int64, 0, d.count)
	shift := 64 - 8*d.typ.size
	err := d.raw(0, d.count, func(b []byte) {
		for ; len(b) > 0; b = b[d.typ.size:] {
			x := d.typ.bits(b[:d.typ.size])
			if d.typ.signed {
				x = uint64(int64(x<<shift) >> shift)
			}
			v = append(v, int64(x))
		}
	})
	return v, d.wrap(err)
}

// ReadBytes reads all elements of a dataset of 8-bit integers, at most 64 Mi.
func (d *Dataset) ReadBytes() ([]byte, error) {
	if d.typ.class != integer || d.typ.size != 1 {
		return nil, d.wrap(unsupported("its values are of type %s, not bytes", d.typ.name))
	}
	if d.count > maxSmall {
		return nil, d.wrap(unsupported("%d bytes", d.count))
	}
	v := make([]byte, 0, d.count)
	err := d.raw(0, d.count, func(b []byte) { v = append(v, b...) })
	return v, d.wrap(err)
}

// ReadString reads a dataset of one string, of fixed or variable length.
func (d *Dataset) ReadString() (string, error) {
	if d.typ.class != fixed && d.typ.class != variable {
		return "", d.wrap(unsupported("it is of type %s, not a string", d.typ.name))
	}
	if d.count != 1 || d.typ.size > maxSmall {
		return "", d.wrap(unsupported("%d strings of %d bytes where one is wanted", d.count, d.typ.size))
	}
	var b []byte
	if err := d.raw(0, 1, func(p []byte) { b = append(b, p...) }); err != nil {
		return "", d.wrap(err)
	}
	if d.typ.class == fixed {
		return text(b), nil
	}
	c := cursor{f: d.f, b: b}
	n, addr, index := c.uint(4), c.addr(), c.uint(4)
	if c.err != nil || n == 0 {
		return "", d.wrap(c.err)
	}
	o, err := d.f.globalHeap(addr, index)
	if err == nil && uint64(len(o)) < n {
		err = damaged("a string of %d bytes in %d", n, len(o))
	}
	if err != nil {
		return "", d.wrap(err)
	}
	return text(o[:n]), nil
}

// le is the byte order of everything that is written.
var le = binary.LittleEndian
