package data

import (
	"encoding/binary"
	"errors"
	"image"
)

// A baselineDecoder decodes the common kind of JPEG file, in about half the
// time image/jpeg takes and to the bit as libjpeg does: baseline or extended
// sequential, Huffman-coded, 8 bits, one scan, grey or YCbCr with chroma
// stored at full or half resolution each way. For anything else, and for
// whatever is damaged, decode returns errNotBaseline and image/jpeg has the
// last word.
//
// Memory is kept from one picture to the next; the pictures returned are valid
// until the next call. References are to ITU T.81.
type baselineDecoder struct {
	b   []byte
	pos int
	// Bits of the entropy-coded data, left-aligned; n of them are valid. Behind
	// the end of the data come zeros, fake of which are among the n.
	acc     uint64
	n, fake int

	w, h     int
	restart  int // MCUs between restart markers, 0 for none
	comps    [3]component
	nComps   int
	adobe    int // colour transform of the Adobe marker, -1 without one
	quant    [4]*[64]int32
	quantMem [4][64]int32
	dc, ac   [4]*huffTable
	huffMem  [2][4]huffTable

	gray image.Gray
	ycc  image.YCbCr
}

type component struct {
	id     byte
	h, v   int // sampling factors
	q      int
	dc, ac int
	pix    []byte
	stride int
	pred   int32
}

var errNotBaseline = errors.New("not a baseline JPEG file")

// lookBits is the length of the codes that are found by one look-up.
const lookBits = 9

// A huffTable decodes a Huffman code. Codes of up to lookBits bits are found
// in look: length<<8 | symbol. value, for AC codes, also has the coefficient
// that follows, if it lies within lookBits: coefficient<<8 | run<<4 | bits.
type huffTable struct {
	look  [1 << lookBits]uint16
	value [1 << lookBits]int16
	// Codes of length l are those below maxCode[l], left-aligned in 16 bits;
	// such a code has the symbol number offset[l] + (code >> (16-l)).
	maxCode [18]uint32
	offset  [17]int32
	symbols [256]byte
}

// zigzag maps the order of coefficients in the file to rows.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// decode returns an *image.Gray or *image.YCbCr.
func (d *baselineDecoder) decode(b []byte) (image.Image, error) {
	d.b, d.pos = b, 2
	d.nComps, d.restart, d.adobe = 0, 0, -1
	d.quant, d.dc, d.ac = [4]*[64]int32{}, [4]*huffTable{}, [4]*huffTable{}
	for {
		if d.pos+4 > len(b) || b[d.pos] != 0xff {
			return nil, errNotBaseline
		}
		m := b[d.pos+1]
		if m == 0xff { // fill byte
			d.pos++
			continue
		}
		n := int(binary.BigEndian.Uint16(b[d.pos+2:]))
		if n < 2 || d.pos+2+n > len(b) {
			return nil, errNotBaseline
		}
		seg := b[d.pos+4 : d.pos+2+n]
		d.pos += 2 + n
		ok := true
		switch {
		case m == 0xc0 || m == 0xc1:
			ok = d.frame(seg)
		case m == 0xc4:
			ok = d.huffman(seg)
		case m == 0xdb:
			ok = d.quantisers(seg)
		case m == 0xdd:
			if ok = len(seg) == 2; ok {
				d.restart = int(binary.BigEndian.Uint16(seg))
			}
		case m == 0xda:
			if !d.scanHeader(seg) || !d.scan() {
				return nil, errNotBaseline
			}
			return d.picture(), nil
		case m == 0xee: // APP14
			if len(seg) >= 12 && string(seg[:5]) == "Adobe" {
				d.adobe = int(seg[11])
			}
		case m >= 0xe0 && m <= 0xef || m == 0xfe: // APPn, COM
		default:
			ok = false
		}
		if !ok {
			return nil, errNotBaseline
		}
	}
}

// quantisers reads DQT (B.2.4.1).
func (d *baselineDecoder) quantisers(s []byte) bool {
	for len(s) > 0 {
		wide, t := int(s[0]>>4), s[0]&15
		n := 64 * (1 + wide)
		if wide > 1 || t > 3 || len(s) < 1+n {
			return false
		}
		q := &d.quantMem[t]
		for i := range 64 {
			if wide == 1 {
				q[zigzag[i]] = int32(binary.BigEndian.Uint16(s[1+2*i:]))
			} else {
				q[zigzag[i]] = int32(s[1+i])
			}
		}
		d.quant[t] = q
		s = s[1+n:]
	}
	return true
}

// frame reads SOF0 or SOF1 (B.2.2).
func (d *baselineDecoder) frame(s []byte) bool {
	if d.nComps != 0 || len(s) < 6 || s[0] != 8 {
		return false
	}
	d.h, d.w = int(binary.BigEndian.Uint16(s[1:])), int(binary.BigEndian.Uint16(s[3:]))
	n := int(s[5])
	if d.h == 0 || d.w == 0 || n != 1 && n != 3 || len(s) != 6+3*n {
		return false
	}
	for i := range n {
		c := s[6+3*i:]
		d.comps[i] = component{id: c[0], h: int(c[1] >> 4), v: int(c[1] & 15), q: int(c[2]), pix: d.comps[i].pix}
		if d.comps[i].q > 3 {
			return false
		}
		// Files of other component numbers may be RGB.
		if n == 3 && (int(c[0]) != i+1 || i > 0 && c[1] != 0x11) {
			return false
		}
	}
	if n == 1 {
		d.comps[0].h, d.comps[0].v = 1, 1 // a scan of one component is not interleaved
	} else if y := d.comps[0]; y.h < 1 || y.h > 2 || y.v < 1 || y.v > 2 {
		return false
	}
	d.nComps = n
	return true
}

// huffman reads DHT (B.2.4.2) and builds the tables of annex C.
func (d *baselineDecoder) huffman(s []byte) bool {
	for len(s) > 0 {
		if len(s) < 17 {
			return false
		}
		class, t := s[0]>>4, s[0]&15
		if class > 1 || t > 3 {
			return false
		}
		counts := s[1:17]
		n := 0
		for _, c := range counts {
			n += int(c)
		}
		if n > 256 || len(s) < 17+n {
			return false
		}
		h := &d.huffMem[class][t]
		if !h.build(counts, s[17:17+n], class == 1) {
			return false
		}
		if class == 0 {
			d.dc[t] = h
		} else {
			d.ac[t] = h
		}
		s = s[17+n:]
	}
	return true
}

func (h *huffTable) build(counts, symbols []byte, ac bool) bool {
	clear(h.look[:])
	clear(h.value[:])
	clear(h.symbols[:])
	copy(h.symbols[:], symbols)
	code, k := uint32(0), 0
	for l := 1; l <= 16; l++ {
		h.offset[l] = int32(k) - int32(code)
		for range int(counts[l-1]) {
			if code >= 1<<l {
				return false
			}
			if l <= lookBits {
				e := uint16(l)<<8 | uint16(symbols[k])
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
	h.maxCode[17] = 1 << 16
	if !ac {
		return true
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
	return true
}

// extend is EXTEND of F.2.2.1: the value of size bits, size ≥ 1.
func extend(v uint32, size int) int32 {
	if v < 1<<(size-1) {
		return int32(v) - 1<<size + 1
	}
	return int32(v)
}

// scanHeader reads SOS (B.2.3) and allocates the planes.
func (d *baselineDecoder) scanHeader(s []byte) bool {
	n := d.nComps
	if n == 0 || len(s) != 4+2*n || int(s[0]) != n || d.adobe > 1 || n == 3 && d.adobe == 0 {
		return false
	}
	if e := s[1+2*n:]; e[0] != 0 || e[1] != 63 || e[2] != 0 {
		return false
	}
	hMax, vMax := d.comps[0].h, d.comps[0].v
	mcusX, mcusY := (d.w+8*hMax-1)/(8*hMax), (d.h+8*vMax-1)/(8*vMax)
	// No picture is allocated that the data cannot fill: a block takes at least
	// two bits.
	if mcusX*mcusY > 4*len(d.b) {
		return false
	}
	for i := range n {
		c := &d.comps[i]
		if s[1+2*i] != c.id {
			return false
		}
		c.dc, c.ac = int(s[2+2*i]>>4), int(s[2+2*i]&15)
		if c.dc > 3 || c.ac > 3 || d.dc[c.dc] == nil || d.ac[c.ac] == nil || d.quant[c.q] == nil {
			return false
		}
		c.stride = 8 * c.h * mcusX
		if need := c.stride * 8 * c.v * mcusY; cap(c.pix) < need {
			c.pix = make([]byte, need)
		} else {
			c.pix = c.pix[:need]
		}
	}
	return true
}

func (d *baselineDecoder) picture() image.Image {
	r := image.Rect(0, 0, d.w, d.h)
	y := &d.comps[0]
	if d.nComps == 1 {
		d.gray = image.Gray{Pix: y.pix, Stride: y.stride, Rect: r}
		return &d.gray
	}
	ratio := image.YCbCrSubsampleRatio444
	switch {
	case y.h == 2 && y.v == 2:
		ratio = image.YCbCrSubsampleRatio420
	case y.h == 2:
		ratio = image.YCbCrSubsampleRatio422
	case y.v == 2:
		ratio = image.YCbCrSubsampleRatio440
	}
	d.ycc = image.YCbCr{
		Y: y.pix, YStride: y.stride, Cb: d.comps[1].pix, Cr: d.comps[2].pix, CStride: d.comps[1].stride,
		SubsampleRatio: ratio, Rect: r,
	}
	return &d.ycc
}

// scan decodes the entropy-coded data.
func (d *baselineDecoder) scan() bool {
	comps := d.comps[:d.nComps]
	mcusX := comps[0].stride / (8 * comps[0].h)
	mcusY := len(comps[0].pix) / comps[0].stride / (8 * comps[0].v)
	d.acc, d.n, d.fake = 0, 0, 0
	left, marker := d.restart, byte(0xd0)
	var coef [64]int32
	for my := range mcusY {
		for mx := range mcusX {
			if d.restart > 0 {
				if left == 0 {
					if !d.restartMarker(marker) {
						return false
					}
					for i := range comps {
						comps[i].pred = 0
					}
					left, marker = d.restart, 0xd0+(marker+1)&7
				}
				left--
			}
			for i := range comps {
				c := &comps[i]
				q := d.quant[c.q]
				dc, ac := d.dc[c.dc], d.ac[c.ac]
				for v := range c.v {
					for h := range c.h {
						last, ok := d.block(&coef, c, q, dc, ac)
						if !ok {
							return false
						}
						out := c.pix[(my*c.v+v)*8*c.stride+(mx*c.h+h)*8:]
						if last == 0 {
							idctDC(coef[0], out, c.stride)
							coef[0] = 0
						} else {
							idct(&coef, out, c.stride)
							coef = [64]int32{}
						}
					}
				}
			}
		}
		if d.n < d.fake {
			return false // the data ended before the picture
		}
	}
	return true
}

// restartMarker drops the rest of a byte and reads the marker m.
func (d *baselineDecoder) restartMarker(m byte) bool {
	if d.n < d.fake {
		return false
	}
	d.acc, d.n, d.fake = 0, 0, 0
	for d.pos+1 < len(d.b) && d.b[d.pos] == 0xff && d.b[d.pos+1] == 0xff {
		d.pos++
	}
	if d.pos+1 >= len(d.b) || d.b[d.pos] != 0xff || d.b[d.pos+1] != m {
		return false
	}
	d.pos += 2
	return true
}

// fill makes at least 48 bits valid: a code of 16 and a value of 15 bits.
func (d *baselineDecoder) fill() {
	for d.n <= 48 {
		var c byte
		if d.pos >= len(d.b) {
			d.fake += 8
		} else if c = d.b[d.pos]; c != 0xff {
			d.pos++
		} else if d.pos+1 < len(d.b) && d.b[d.pos+1] == 0 {
			d.pos += 2
		} else { // a marker ends the data
			c = 0
			d.fake += 8
		}
		d.acc |= uint64(c) << (56 - d.n)
		d.n += 8
	}
}

// symbol decodes a code; fill must have been called. A code that is not in the
// table gives ok false.
func (d *baselineDecoder) symbol(h *huffTable) (s byte, ok bool) {
	if e := h.look[d.acc>>(64-lookBits)]; e != 0 {
		d.skip(int(e >> 8))
		return byte(e), true
	}
	code := uint32(d.acc >> 48)
	for l := lookBits + 1; l <= 16; l++ {
		if code < h.maxCode[l] {
			d.skip(l)
			return h.symbols[(h.offset[l]+int32(code>>(16-l)))&255], true
		}
	}
	return 0, false
}

func (d *baselineDecoder) skip(n int) {
	d.acc <<= n
	d.n -= n
}

// value reads the n ≥ 1 bits of a coefficient.
func (d *baselineDecoder) value(n int) int32 {
	v := extend(uint32(d.acc>>(64-n)), n)
	d.skip(n)
	return v
}

// block decodes a block (F.2.2) into coef, which is zero, multiplied by the
// quantiser and in rows. It returns the index, in the file's order, of the
// last coefficient.
func (d *baselineDecoder) block(coef *[64]int32, c *component, q *[64]int32, dc, ac *huffTable) (last int, ok bool) {
	d.fill()
	size, ok := d.symbol(dc)
	if !ok || size > 15 {
		return 0, false
	}
	if size > 0 {
		c.pred += d.value(int(size))
	}
	coef[0] = c.pred * q[0]
	for k := 1; k < 64; k++ {
		if d.n < 32 {
			d.fill()
		}
		if e := ac.value[d.acc>>(64-lookBits)]; e != 0 {
			k += int(e >> 4 & 15)
			if k > 63 {
				return 0, false
			}
			d.skip(int(e & 15))
			z := zigzag[k&63]
			coef[z] = int32(e>>8) * q[z]
			last = k
			continue
		}
		s, ok := d.symbol(ac)
		if !ok {
			return 0, false
		}
		run, size := int(s>>4), int(s&15)
		if size == 0 {
			if run != 15 {
				break // end of block
			}
			k += 15
			continue
		}
		k += run
		if k > 63 {
			return 0, false
		}
		z := zigzag[k&63]
		coef[z] = d.value(size) * q[z]
		last = k
	}
	return last, true
}

// The inverse DCT is the one of Loeffler, Ligtenberg and Moschytz (1989) in
// libjpeg's fixed point (jidctint.c): constants of 13 bits, 2 more bits kept
// between the passes.
const (
	idctBits = 13
	idctPass = 2

	fix0298 = 2446
	fix0390 = 3196
	fix0541 = 4433
	fix0765 = 6270
	fix0899 = 7373
	fix1175 = 9633
	fix1501 = 12299
	fix1847 = 15137
	fix1961 = 16069
	fix2053 = 16819
	fix2562 = 20995
	fix3072 = 25172
)

// idct1D transforms eight values; the results are scaled by 2^idctBits.
func idct1D(i0, i1, i2, i3, i4, i5, i6, i7 int32) (o0, o1, o2, o3, o4, o5, o6, o7 int32) {
	z1 := (i2 + i6) * fix0541
	t2 := z1 - i6*fix1847
	t3 := z1 + i2*fix0765
	t0 := (i0 + i4) << idctBits
	t1 := (i0 - i4) << idctBits
	e0, e3 := t0+t3, t0-t3
	e1, e2 := t1+t2, t1-t2

	z1, z2, z3, z4 := i7+i1, i5+i3, i7+i3, i5+i1
	z5 := (z3 + z4) * fix1175
	z1 *= -fix0899
	z2 *= -fix2562
	z3 = z3*-fix1961 + z5
	z4 = z4*-fix0390 + z5
	t0 = i7*fix0298 + z1 + z3
	t1 = i5*fix2053 + z2 + z4
	t2 = i3*fix3072 + z2 + z3
	t3 = i1*fix1501 + z1 + z4
	return e0 + t3, e1 + t2, e2 + t1, e3 + t0, e3 - t0, e2 - t1, e1 - t2, e0 - t3
}

// idct transforms a block of dequantised coefficients in rows to 8×8 samples.
func idct(in *[64]int32, out []byte, stride int) {
	var ws [64]int32
	for x := range 8 {
		i0, i1, i2, i3, i4, i5, i6, i7 := in[x], in[8+x], in[16+x], in[24+x], in[32+x], in[40+x], in[48+x], in[56+x]
		if i1|i2|i3|i4|i5|i6|i7 == 0 {
			v := i0 << idctPass
			ws[x], ws[8+x], ws[16+x], ws[24+x], ws[32+x], ws[40+x], ws[48+x], ws[56+x] = v, v, v, v, v, v, v, v
			continue
		}
		const shift = idctBits - idctPass
		const half = 1 << (shift - 1)
		o0, o1, o2, o3, o4, o5, o6, o7 := idct1D(i0, i1, i2, i3, i4, i5, i6, i7)
		ws[x], ws[8+x], ws[16+x], ws[24+x] = (o0+half)>>shift, (o1+half)>>shift, (o2+half)>>shift, (o3+half)>>shift
		ws[32+x], ws[40+x], ws[48+x], ws[56+x] = (o4+half)>>shift, (o5+half)>>shift, (o6+half)>>shift, (o7+half)>>shift
	}
	for y := range 8 {
		w := ws[8*y : 8*y+8 : 8*y+8]
		d := out[y*stride:][:8]
		const shift = idctBits + idctPass + 3
		// 128 centres the samples.
		const half = 1<<(shift-1) + 128<<shift
		o0, o1, o2, o3, o4, o5, o6, o7 := idct1D(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7])
		d[0], d[1], d[2], d[3] = limit((o0+half)>>shift), limit((o1+half)>>shift), limit((o2+half)>>shift), limit((o3+half)>>shift)
		d[4], d[5], d[6], d[7] = limit((o4+half)>>shift), limit((o5+half)>>shift), limit((o6+half)>>shift), limit((o7+half)>>shift)
	}
}

// idctDC is idct of a block whose only coefficient is dc.
func idctDC(dc int32, out []byte, stride int) {
	v := limit((dc<<idctPass+1<<(idctPass+2))>>(idctPass+3) + 128)
	for y := range 8 {
		d := out[y*stride:][:8]
		d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7] = v, v, v, v, v, v, v, v
	}
}

// limit clamps v to 0…255.
func limit(v int32) byte {
	if uint32(v) > 255 {
		return byte(^(v >> 31))
	}
	return byte(v)
}
