package data

// lookBits is the length of the codes that are found by one look-up.
const lookBits = 9

// A huffTable decodes a Huffman code (ITU T.81, annex C). Codes of up to
// lookBits bits are found in look: length<<8 | symbol. value, for AC codes, also
// has the coefficient that follows, if it lies within lookBits:
// coefficient<<8 | run<<4 | bits.
type huffTable struct {
	look  [1 << lookBits]uint16
	value [1 << lookBits]int16
	// Codes of length l are those below maxCode[l], left-aligned in 16 bits;
	// such a code has the symbol number offset[l] + (code >> (16-l)).
	maxCode [17]uint32
	offset  [17]int32
	symbols [256]byte
	// ok is false if there are more codes than fit, or a DC code has a symbol
	// beyond 15. That matters only to a scan that uses the table.
	ok bool
}

// build makes the table of counts[l-1] codes of each length l.
func (h *huffTable) build(counts, symbols []byte, ac bool) {
	clear(h.look[:])
	clear(h.value[:])
	clear(h.symbols[:])
	copy(h.symbols[:], symbols)
	h.ok = true
	code, k := uint32(0), 0
	for l := 1; l <= 16; l++ {
		h.offset[l] = int32(k) - int32(code)
		for range int(counts[l-1]) {
			// No code may be all ones.
			if code+1 >= 1<<l {
				h.ok = false
				return
			}
			if l <= lookBits {
				e := uint16(l)<<8 | uint16(h.symbols[k])
				lo := code << (lookBits - l)
				for i := range uint32(1) << (lookBits - l) {
					h.look[lo+i] = e
				}
			}
			code++
			k++
		}
		h.maxCode[l] = code << (16 - l)
		code <<= 1
	}
	if !ac {
		for _, s := range h.symbols[:k] {
			h.ok = h.ok && s <= 15
		}
		return
	}
	for i, e := range h.look {
		l, run, size := int(e>>8), int(e>>4&15), int(e&15)
		if l == 0 || size == 0 || l+size > lookBits {
			continue
		}
		v := extend(uint32(i)>>(lookBits-l-size)&(1<<size-1), size)
		if v >= -128 && v <= 127 {
			h.value[i] = int16(v<<8 | int32(run<<4|(l+size)))
		}
	}
}

// extend is EXTEND of F.2.2.1: the value of size bits, size ≥ 1.
func extend(v uint32, size int) int32 {
	if v < 1<<(size-1) {
		return int32(v) - 1<<size + 1
	}
	return int32(v)
}

// The tables of annex K, 3.3, luminance first: Motion JPEG frames leave them
// out.
var (
	stdCounts = [2][2][16]byte{{
		{0, 1, 5, 1, 1, 1, 1, 1, 1},
		{0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
	}, {
		{0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125},
		{0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119},
	}}
	stdSymbols = [2][2][]byte{{
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
	}, {
		append([]byte{
			0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07,
			0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0,
			0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a,
		}, symbolRows(0x34, 0x43, 0x53, 0x63, 0x73, 0x83, 0x92, 0xa2, 0xb2, 0xc2, 0xd2, 0xe1, 0xf1)...),
		append([]byte{
			0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71,
			0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0,
			0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a,
		}, symbolRows(0x35, 0x43, 0x53, 0x63, 0x73, 0x82, 0x92, 0xa2, 0xb2, 0xc2, 0xd2, 0xe2, 0xf2)...),
	}}
)

// symbolRows lists, for each symbol given, it and those that follow up to size
// 10: the rarest symbols of the tables of annex K stand in this order.
func symbolRows(first ...byte) []byte {
	var s []byte
	for _, f := range first {
		for v := f; v&15 <= 10; v++ {
			s = append(s, v)
		}
	}
	return s
}

// at returns byte i of the file. Behind its end come end-of-image markers for
// ever: libjpeg's source (jdatasrc.c) gives them in place of what is missing.
func (d *jpegDecoder) at(i int) byte {
	if i < len(d.b) {
		return d.b[i]
	}
	if (i-len(d.b))&1 == 0 {
		return 0xff
	}
	return markerEOI
}

// fill makes at least 48 bits valid: a code of 16 and a value of 15 bits. A
// marker ends the data: behind it come zeros.
func (d *jpegDecoder) fill() {
	for d.n <= 48 {
		var c byte
		if d.pos+1 < len(d.b) && (d.b[d.pos] != 0xff || d.b[d.pos+1] == 0) {
			if c = d.b[d.pos]; c == 0xff {
				d.pos++
			}
			d.pos++
		} else {
			c = d.rareByte()
		}
		d.acc |= uint64(c) << (56 - d.n)
		d.n += 8
	}
}

// rareByte is the next byte of data near a marker or the file's end. Any number
// of bytes ff before a 0 are one byte ff, as in libjpeg.
func (d *jpegDecoder) rareByte() byte {
	c := d.at(d.pos)
	if c != 0xff {
		d.pos++
		return c
	}
	i := d.pos + 1
	for d.at(i) == 0xff {
		i++
	}
	if d.at(i) != 0 {
		d.pos = i - 1
		d.fake += 8
		return 0
	}
	d.pos = i + 1
	return 0xff
}

// symbol decodes a code; fill must have been called. What is no code counts as
// symbol 0.
func (d *jpegDecoder) symbol(h *huffTable) byte {
	if e := h.look[d.acc>>(64-lookBits)]; e != 0 {
		d.skip(int(e >> 8))
		return byte(e)
	}
	code := uint32(d.acc >> 48)
	for l := lookBits + 1; l <= 16; l++ {
		if code < h.maxCode[l] {
			d.skip(l)
			return h.symbols[(h.offset[l]+int32(code>>(16-l)))&255]
		}
	}
	d.skip(17) // as many as libjpeg has read by then
	d.damaged = true
	return 0
}

func (d *jpegDecoder) skip(n int) {
	d.acc <<= n
	d.n -= n
}

// value reads the n ≥ 1 bits of a coefficient.
func (d *jpegDecoder) value(n int) int32 {
	v := extend(uint32(d.acc>>(64-n)), n)
	d.skip(n)
	return v
}

// bits reads n ≥ 1 plain bits.
func (d *jpegDecoder) bits(n int) int32 {
	v := int32(d.acc >> (64 - n))
	d.skip(n)
	return v
}
