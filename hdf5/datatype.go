package hdf5

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A datatype is how the elements of a dataset are stored.
type datatype struct {
	class  class
	size   int
	big    bool // most significant byte first
	signed bool
	name   string // for messages
}

type class byte

const (
	other    class = iota // what is not read
	integer               // two's complement or unsigned
	float                 // IEEE 754
	fixed                 // a string of a fixed size
	variable              // a reference to a string in the global heap
)

// classNames are the classes of the format by number.
var classNames = [...]string{"integer", "float", "time", "string", "bitfield", "opaque", "compound", "reference", "enumeration", "variable-length", "array"}

// parseDatatype reads a datatype message. Types that cannot be read as numbers
// or strings are no error until somebody wants their values.
func (f *File) parseDatatype(b []byte) (datatype, error) {
	c := cursor{f: f, b: b}
	v := c.uint(1)
	bits := c.uint(3)
	size := c.uint(4)
	if c.err != nil {
		return datatype{}, c.err
	}
	if size == 0 || size > math.MaxInt32 {
		return datatype{}, damaged("a datatype of %d bytes", size)
	}
	t := datatype{size: int(size)}
	n := int(v & 15)
	if n >= len(classNames) {
		t.name = fmt.Sprintf("class %d", n)
		return t, nil
	}
	t.name = classNames[n]
	switch n {
	case 0:
		t.big, t.signed = bits&1 != 0, bits&8 != 0
		start, precision := c.uint(2), c.uint(2)
		t.name = fmt.Sprintf("int%d", precision)
		if !t.signed {
			t.name = "u" + t.name
		}
		switch t.size {
		case 1, 2, 4, 8:
			if start == 0 && precision == 8*size {
				t.class = integer
			}
		}
	case 1:
		t.big = bits&1 != 0
		start, precision := c.uint(2), c.uint(2)
		layout := [...]uint64{c.uint(1), c.uint(1), c.uint(1), c.uint(1), c.uint(4)}
		sign := bits >> 8 & 255
		t.name = fmt.Sprintf("float%d", precision)
		// Where exponent and mantissa begin, how many bits they have, the
		// exponent's bias.
		ieee := map[int][5]uint64{2: {10, 5, 0, 10, 15}, 4: {23, 8, 0, 23, 127}, 8: {52, 11, 0, 52, 1023}}
		const vax, implied = 1 << 6, 2
		if want, ok := ieee[t.size]; ok && layout == want && start == 0 && precision == 8*size && sign == 8*size-1 && bits&vax == 0 && bits>>4&3 == implied {
			t.class = float
		} else {
			t.name = fmt.Sprintf("float of %d bytes that is not IEEE 754's", t.size)
		}
	case 3:
		t.class = fixed
	case 9:
		if bits&15 == 1 {
			t.class, t.name = variable, "string"
		}
	}
	return t, c.err
}

// number reports whether values can be read as float32.
func (t datatype) number() bool { return t.class == integer || t.class == float }

// floats converts len(dst) elements.
func (t datatype) floats(dst []float32, b []byte) {
	b = b[:len(dst)*t.size]
	switch { // the usual ones need no detour
	case t.class == float && t.size == 4 && !t.big:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	case t.class == float && t.size == 8 && !t.big:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:])))
		}
	case t.class == integer && t.size == 1 && !t.signed:
		for i := range dst {
			dst[i] = float32(b[i])
		}
	default:
		for i := range dst {
			dst[i] = t.float(b[i*t.size:][:t.size])
		}
	}
}

// bits returns an element as an unsigned integer.
func (t datatype) bits(b []byte) uint64 {
	var v uint64
	if t.big {
		for _, x := range b {
			v = v<<8 | uint64(x)
		}
		return v
	}
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

func (t datatype) float(b []byte) float32 {
	v := t.bits(b)
	switch {
	case t.class == float && t.size == 2:
		return half(uint16(v))
	case t.class == float && t.size == 4:
		return math.Float32frombits(uint32(v))
	case t.class == float:
		return float32(math.Float64frombits(v))
	case t.signed:
		shift := 64 - 8*t.size
		return float32(int64(v<<shift) >> shift)
	}
	return float32(v)
}

// half converts a float of 16 bits.
func half(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp, frac := uint32(h>>10&31), uint32(h&1023)
	switch exp {
	case 0: // zero or subnormal: frac × 2^-24
		v := float32(frac) * 0x1p-24
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 255<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// A dataspace is the shape of a dataset.
type dataspace struct {
	dims, max []uint64
	null      bool
}

// parseDataspace reads a dataspace message.
func (f *File) parseDataspace(b []byte) (dataspace, error) {
	var s dataspace
	c := cursor{f: f, b: b}
	v, rank, flags := c.uint(1), int(c.uint(1)), c.uint(1)
	switch v {
	case 1:
		c.skip(5)
	case 2:
		s.null = c.uint(1) == 2
	default:
		return s, unsupported("dataspace of version %d", v)
	}
	const maxRank = 32
	if rank > maxRank {
		return s, damaged("a dataset of %d dimensions", rank)
	}
	for range rank {
		s.dims = append(s.dims, c.length())
	}
	s.max = s.dims
	if flags&1 != 0 {
		s.max = nil
		for range rank {
			v := c.length()
			if n := f.lengthSize; n < 8 && v == 1<<(8*n)-1 {
				v = undefined
			}
			s.max = append(s.max, v)
		}
	}
	return s, c.err
}
