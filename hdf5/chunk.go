package hdf5

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math"
)

// chunks is the storage of a dataset that is cut into blocks of one shape.
type chunks struct {
	dims    []int // of a chunk
	grid    []int // number of chunks along each axis
	size    int   // bytes of a chunk
	filters []filter
	kind    indexKind
	param   []uint64 // of the index
	// edgesPlain says that filters are not applied to chunks that reach over
	// the edge.
	edgesPlain bool
	// limits is the grid that the dataset may grow to, which is what arrays
	// number chunks by; 0 is no limit.
	limits []uint64

	index map[int]chunk // by number in the grid; nil until read
	// slab has the rows of the chunks that begin at one row.
	slab   []byte
	slabAt int // which, -1 for none
	buf    [2][]byte
	zip    io.ReadCloser
}

// A chunk is where one of them is.
type chunk struct {
	addr, size uint64
	mask       uint64 // filters left out
}

// An indexKind is how chunks are found. The numbers of all but the first are
// the format's.
type indexKind int

const (
	byTree1     indexKind = 0
	bySingle    indexKind = 1
	byOrder     indexKind = 2 // "implicit": one after the other
	byFixed     indexKind = 3 // fixed array
	byExtending indexKind = 4 // extensible array
	byTree2     indexKind = 5
)

// layout4 reads the chunked layout of version 4.
func (d *Dataset) layout4(c *cursor, space dataspace) error {
	flags := c.uint(1)
	rank := int(c.uint(1)) - 1
	n := int(c.uint(1))
	var dims []uint64
	for range rank {
		dims = append(dims, c.uint(n))
	}
	c.uint(n) // size of an element
	kind := indexKind(c.uint(1))
	var param []uint64
	switch kind {
	case bySingle:
		if flags&2 != 0 {
			param = []uint64{c.length(), c.uint(4)}
		}
	case byOrder:
	case byFixed:
		c.skip(1)
	case byExtending:
		c.skip(5) // all of it is in the array's header as well
	case byTree2:
		c.skip(6)
	default:
		return unsupported("chunks found by an index of kind %d", kind)
	}
	d.store.addr = c.addr()
	if err := d.chunkedBy(kind, dims, space, c); err != nil {
		return err
	}
	d.store.chunked.param = param
	d.store.chunked.edgesPlain = flags&1 != 0
	return nil
}

// chunkedBy sets the storage to chunks of the given dimensions.
func (d *Dataset) chunkedBy(kind indexKind, dims []uint64, space dataspace, c *cursor) error {
	if c.err != nil {
		return c.err
	}
	if len(dims) == len(d.dims)+1 && kind == byTree1 {
		dims = dims[:len(d.dims)] // versions 1 and 2 count the element's size as well
	}
	if len(dims) != len(d.dims) || len(dims) == 0 {
		return damaged("chunks of %d dimensions in a dataset of %d", len(dims), len(d.dims))
	}
	k := &chunks{kind: kind, size: d.typ.size, slabAt: -1}
	total := 1
	for i, n := range dims {
		if n == 0 || n > math.MaxInt32 || uint64(k.size) > uint64(min(math.MaxUint32, math.MaxInt))/n {
			return damaged("chunks of %d elements", dims)
		}
		k.dims = append(k.dims, int(n))
		k.size *= int(n)
		g := (d.dims[i] + int(n) - 1) / int(n)
		if g > 0 && total > math.MaxInt/g {
			return damaged("chunks without number")
		}
		k.grid = append(k.grid, g)
		total *= g
		limit := uint64(0)
		if space.max[i] != undefined {
			limit = (max(space.max[i], 1)-1)/n + 1
		}
		k.limits = append(k.limits, limit)
	}
	d.store.chunked = k
	return nil
}

// chunkedRaw is raw for chunked storage. It reads the rows of one slab, the
// chunks that begin at the same row, at a time and keeps the last one.
func (d *Dataset) chunkedRaw(first, n int, use func(b []byte)) error {
	k := d.store.chunked
	if k.index == nil {
		if err := d.loadIndex(); err != nil {
			return err
		}
	}
	size, row := d.typ.size, d.rowCount()
	for n > 0 {
		slab := first / row / k.dims[0]
		if err := d.loadSlab(slab, row); err != nil {
			return err
		}
		begin := slab * k.dims[0] * row
		m := min(n, len(k.slab)/size-(first-begin))
		use(k.slab[(first-begin)*size:][:m*size])
		first, n = first+m, n-m
	}
	return nil
}

// loadSlab decodes the chunks that begin at row slab × (height of a chunk).
func (d *Dataset) loadSlab(slab, row int) error {
	k := d.store.chunked
	if k.slabAt == slab {
		return nil
	}
	k.slabAt = -1
	rows := min(k.dims[0], d.dims[0]-slab*k.dims[0])
	need := rows * row * d.typ.size
	per := 1 // chunks of a slab
	for _, g := range k.grid[1:] {
		per *= g
	}
	if err := d.plausible(slab*per, per, need); err != nil {
		return err
	}
	if cap(k.slab) < need {
		k.slab = make([]byte, need)
	}
	k.slab = k.slab[:need]
	for i := range per {
		if _, there := k.index[slab*per+i]; !there {
			d.blank(k.slab)
			break
		}
	}
	at := make([]int, len(k.dims)) // of the chunk, in elements
	at[0] = slab * k.dims[0]
	for i := range per {
		for r, axis := i, len(at)-1; axis > 0; axis-- {
			at[axis] = r % k.grid[axis] * k.dims[axis]
			r /= k.grid[axis]
		}
		ch, there := k.index[slab*per+i]
		if !there {
			continue
		}
		b, err := d.decode(ch, at)
		if err != nil {
			return fmt.Errorf("chunk at %v: %w", at, err)
		}
		d.place(k.slab, b, at)
	}
	k.slabAt = slab
	return nil
}

// maxRatio is more than any chunk shrinks by deflating (1032 times).
const maxRatio = 1100

// plausible refuses slabs that are far larger than what the file can hold of
// them, so that a damaged shape does not take all memory: unless they are small.
func (d *Dataset) plausible(first, n, need int) error {
	const small = 1 << 26
	k := d.store.chunked
	if need <= small {
		return nil
	}
	var stored uint64
	for i := range n {
		if ch, ok := k.index[first+i]; ok {
			stored += min(ch.size, d.f.size)
		}
	}
	if uint64(need)/maxRatio > stored {
		return damaged("%d bytes of values in %d bytes of chunks", need, stored)
	}
	return nil
}

// place copies the part of a chunk that lies in the dataset into its slab.
func (d *Dataset) place(slab, chunk []byte, at []int) {
	k := d.store.chunked
	size := d.typ.size
	last := len(at) - 1
	n := make([]int, len(at)) // elements of the chunk that count, on each axis
	lines := 1
	for i := range at {
		n[i] = min(k.dims[i], d.dims[i]-at[i])
		if i < last {
			lines *= n[i]
		}
	}
	for l := range lines {
		from, to := 0, 0
		stepFrom, stepTo := k.dims[last], d.dims[last]
		for r, axis := l, last-1; axis >= 0; axis-- {
			i := r % n[axis]
			r /= n[axis]
			from += i * stepFrom
			begin := at[axis]
			if axis == 0 {
				begin = 0 // the slab's first row
			}
			to += (begin + i) * stepTo
			stepFrom *= k.dims[axis]
			stepTo *= d.dims[axis]
		}
		if last > 0 {
			to += at[last]
		}
		copy(slab[to*size:], chunk[from*size:][:n[last]*size])
	}
}

// A filter is a step that chunks go through before they are stored.
type filter struct {
	id    int
	name  string
	param []uint64
}

const (
	filterDeflate  = 1
	filterShuffle  = 2
	filterFletcher = 3
)

var filterNames = map[int]string{4: "szip", 5: "nbit", 6: "scaleoffset", 305: "lzo", 307: "bzip2", 32000: "lzf", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32013: "zfp", 32015: "zstd", 32026: "blosc2"}

// parseFilters reads a filter pipeline message. Filters that are not supported
// are no error until a chunk needs them.
func (f *File) parseFilters(b []byte) ([]filter, error) {
	c := cursor{f: f, b: b}
	v, n := c.uint(1), c.uint(1)
	if v != 1 && v != 2 {
		return nil, unsupported("filters of version %d", v)
	}
	if v == 1 {
		c.skip(6)
	}
	var fs []filter
	for range n {
		var p filter
		p.id = int(c.uint(2))
		names := 0
		if v == 1 || p.id >= 256 {
			names = int(c.uint(2))
		}
		c.skip(2) // flags
		params := c.uint(2)
		p.name = text(c.bytes(names))
		if v == 1 {
			c.skip(-names & 7)
		}
		for range params {
			p.param = append(p.param, c.uint(4))
		}
		if v == 1 && params%2 == 1 {
			c.skip(4)
		}
		if c.err != nil {
			return nil, c.err
		}
		fs = append(fs, p)
	}
	return fs, nil
}

// decode returns the bytes of the chunk at the given element, valid until the
// next call.
func (d *Dataset) decode(ch chunk, at []int) ([]byte, error) {
	k := d.store.chunked
	filters := k.filters
	if k.edgesPlain {
		for i := range at {
			if at[i]+k.dims[i] > d.dims[i] {
				filters = nil
			}
		}
	}
	if err := d.f.check(ch.addr, ch.size); err != nil {
		return nil, err
	}
	if len(filters) == 0 && ch.size != uint64(k.size) {
		return nil, damaged("it has %d bytes, not %d", ch.size, k.size)
	}
	if uint64(k.size)/maxRatio > ch.size {
		return nil, damaged("%d bytes in %d", k.size, ch.size)
	}
	if uint64(cap(k.buf[0])) < ch.size {
		k.buf[0] = make([]byte, ch.size)
	}
	b := k.buf[0][:ch.size]
	if err := d.f.readInto(b, ch.addr); err != nil {
		return nil, err
	}
	for i := len(filters) - 1; i >= 0; i-- {
		if i < 32 && ch.mask>>i&1 != 0 {
			continue
		}
		var err error
		if b, err = d.undo(filters[i], b); err != nil {
			return nil, err
		}
	}
	if len(b) != k.size {
		return nil, damaged("it has %d bytes, not %d", len(b), k.size)
	}
	return b, nil
}

// undo reverses one filter. The result may be b or in one of the chunks' two
// buffers.
func (d *Dataset) undo(p filter, b []byte) ([]byte, error) {
	k := d.store.chunked
	switch p.id {
	case filterDeflate:
		// A checksum may lie inside.
		dst := k.other(b, k.size+4)
		var err error
		if k.zip == nil {
			k.zip, err = zlib.NewReader(bytes.NewReader(b))
		} else {
			err = k.zip.(zlib.Resetter).Reset(bytes.NewReader(b), nil)
		}
		if err != nil {
			k.zip = nil
			return nil, damaged("deflate: %v", err)
		}
		n, err := io.ReadFull(k.zip, dst)
		if err == nil {
			// One more byte would be too many.
			var more [1]byte
			if m, _ := k.zip.Read(more[:]); m > 0 {
				return nil, damaged("deflate: it holds more than %d bytes", len(dst))
			}
		} else if !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
			return nil, damaged("deflate: %v", err)
		}
		if _, err := k.zip.Read(dst[:0]); err != nil && err != io.EOF {
			return nil, damaged("deflate: %v", err)
		}
		return dst[:n], nil
	case filterShuffle:
		size := d.typ.size
		if len(p.param) > 0 {
			size = int(p.param[0])
		}
		if size < 1 || size > len(b) {
			return nil, damaged("shuffled elements of %d bytes", size)
		}
		dst := k.other(b, len(b))
		n := len(b) / size
		for j := range size {
			plane := b[j*n:][:n]
			for i, x := range plane {
				dst[i*size+j] = x
			}
		}
		copy(dst[n*size:], b[n*size:])
		return dst, nil
	case filterFletcher:
		if len(b) < 4 {
			return nil, damaged("no checksum")
		}
		body := b[:len(b)-4]
		want, sum := le.Uint32(b[len(body):]), fletcher32(body)
		// Files of libhdf5 before 1.6.3 have the bytes of each half swapped.
		swapped := sum>>8&0x00ff00ff | sum<<8&0xff00ff00
		if want != sum && want != swapped {
			return nil, damaged("its checksum is wrong")
		}
		return body, nil
	}
	name := p.name
	if known, ok := filterNames[p.id]; ok {
		name = known
	}
	return nil, unsupported("filter %d (%s); repack the file with gzip (h5repack -f GZIP=4)", p.id, name)
}

// other returns n bytes of the buffer that b does not lie in.
func (k *chunks) other(b []byte, n int) []byte {
	i := 0
	if len(b) > 0 && cap(k.buf[0]) > 0 && &b[:1][0] == &k.buf[0][:1][0] {
		i = 1
	}
	if cap(k.buf[i]) < n {
		k.buf[i] = make([]byte, n)
	}
	return k.buf[i][:n]
}
