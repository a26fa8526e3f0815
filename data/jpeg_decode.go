package data

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A jpegDecoder decodes JPEG files, sequential and progressive, Huffman-coded,
// of 8 bits, to the bit as libjpeg does (as libjpeg-turbo 2.1 where releases
// differ). It also follows libjpeg in what it makes of files that are damaged:
//
//   - Behind the end of a file that is cut off come end-of-image markers.
//   - A marker ends the data of a scan, or of the interval up to the next
//     restart marker. The rest of it is grey: all coefficients are zero.
//   - Bytes between segments are passed over; bits that are no code are a zero.
//   - Errors in the segments refuse the picture.
//
// Memory is kept from one picture to the next; the planes are valid until the
// next call. References are to ITU T.81, and to libjpeg's files by name.
type jpegDecoder struct {
	b   []byte
	pos int
	// Bits of the entropy-coded data, left-aligned; n of them are valid. Behind
	// the end of the data come zeros, fake of which are among the n.
	acc     uint64
	n, fake int

	w, h        int
	progressive bool
	comps       []jpegComponent
	compsMem    [4]jpegComponent
	hMax, vMax  int
	restart     int // MCUs between restart markers, 0 for none
	jfif        bool
	adobe       int // colour transform of the Adobe marker, -1 without one

	quant    [4]*[64]int32
	quantMem [4][64]int32
	huff     [2][4]*huffTable // DC, AC
	huffMem  [2][4]huffTable

	scans int
	scan  jpegScan

	// What to warn of.
	damaged     bool // bits that are no code, or restart markers out of order
	lost, total int  // MCUs without data, MCUs of all scans
	cut         bool // scans are missing
}

// A jpegComponent is one plane.
type jpegComponent struct {
	id     byte
	h, v   int // sampling factors
	tq     int
	quant  *[64]int32 // as it was when the component's first scan began
	qMem   [64]int32
	td, ta int // Huffman tables of the present scan

	blocksW, blocksH int // size in blocks
	w, height        int // and in samples
	pix              []byte
	stride           int // of pix, which has whole MCUs
	pred             int32

	// Only if there are several scans: coefficients, 64 for each block, in rows
	// of coefStride blocks, and for a progressive file how exactly they are
	// known (jdphuff.c's coef_bits): the number of bits below which bits are
	// missing, or -1, after the last and after the last but one scan.
	coefs              []int16
	coefStride         int
	known, knownBefore [64]int
}

const (
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDNL   = 0xdc
	markerDRI   = 0xdd
	markerDHT   = 0xc4
	markerRST0  = 0xd0
	markerTEM   = 0x01
	markerAPP0  = 0xe0
	markerAPP14 = 0xee
	markerAPP15 = 0xef
	markerCOM   = 0xfe
)

// zigzag maps the order of coefficients in the file to rows. What damaged data
// have behind the last one counts as the last.
var zigzag = [128]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

func init() {
	for i := 64; i < len(zigzag); i++ {
		zigzag[i] = 63
	}
}

// word is a big-endian number of 16 bits.
func (d *jpegDecoder) word() int {
	v := int(d.at(d.pos))<<8 | int(d.at(d.pos+1))
	d.pos += 2
	return v
}

// segment returns what follows a marker with a length, and moves behind it. The
// bytes behind the file's end are among it.
func (d *jpegDecoder) segment() []byte {
	n := max(0, d.word()-2)
	from := d.pos
	d.pos += n
	if d.pos <= len(d.b) {
		return d.b[from:d.pos]
	}
	s := make([]byte, n)
	for i := range s {
		s[i] = d.at(from + i)
	}
	return s
}

// nextMarker moves behind the next marker, passing over bytes that are none
// (jdmarker.c's next_marker), and returns its code.
func (d *jpegDecoder) nextMarker() byte {
	for {
		for d.at(d.pos) != 0xff {
			d.pos++
		}
		for d.at(d.pos) == 0xff {
			d.pos++
		}
		m := d.at(d.pos)
		d.pos++
		if m != 0 {
			return m
		}
	}
}

// start begins to read a file.
func (d *jpegDecoder) start(b []byte) error {
	d.b, d.pos = b, 2
	d.comps, d.restart, d.jfif, d.adobe = nil, 0, false, -1
	d.quant, d.huff = [4]*[64]int32{}, [2][4]*huffTable{}
	d.scans, d.damaged, d.lost, d.total, d.cut = 0, false, 0, 0, false
	if len(b) < 2 || b[0] != 0xff || b[1] != markerSOI {
		return errors.New("not a JPEG file")
	}
	return nil
}

// decode decodes a file into the components' planes.
func (d *jpegDecoder) decode(b []byte) error {
	if err := d.start(b); err != nil {
		return err
	}
	for {
		m := d.nextMarker()
		switch m {
		case markerEOI:
			if d.scans == 0 {
				return errors.New("JPEG file that ends before its picture")
			}
			d.cut = d.pos > len(b) && !d.complete()
			d.fromCoefs()
			return nil
		case markerSOS:
			whole, err := d.sos()
			if err != nil || whole {
				return err
			}
		default:
			if err := d.table(m); err != nil {
				return err
			}
		}
	}
}

// table reads any segment but SOS.
func (d *jpegDecoder) table(m byte) error {
	switch {
	case m == 0xc0 || m == 0xc1 || m == 0xc2:
		d.progressive = m == 0xc2
		return d.frame(d.segment())
	case m == markerDHT:
		return d.huffman(d.segment())
	case m == markerDQT:
		return d.quantisers(d.segment())
	case m == markerDRI:
		s := d.segment()
		if len(s) != 2 {
			return errors.New("JPEG restart interval of a wrong length")
		}
		d.restart = int(binary.BigEndian.Uint16(s))
	case m == markerAPP0:
		s := d.segment()
		d.jfif = d.jfif || len(s) >= 14 && string(s[:5]) == "JFIF\x00"
	case m == markerAPP14:
		if s := d.segment(); len(s) >= 12 && string(s[:5]) == "Adobe" {
			d.adobe = int(s[11])
		}
	case m > markerAPP0 && m <= markerAPP15, m == markerCOM, m == markerDNL, m == 0xcc: // 0xcc: for arithmetic coding
		d.segment()
	case m >= markerRST0 && m < markerRST0+8, m == markerTEM:
	case m == 0xc9 || m == 0xca:
		return errors.New("JPEG file with arithmetic coding, which is not supported")
	case m >= 0xc3 && m <= 0xcf:
		return fmt.Errorf("JPEG file of an unsupported kind (frame marker %#x: lossless or hierarchical)", m)
	case m == markerSOI:
		return errors.New("JPEG file that begins again inside")
	default:
		return fmt.Errorf("JPEG file with an unknown marker %#x", m)
	}
	return nil
}

// jpegHeader finds the size and kind of a JPEG file.
func jpegHeader(b []byte) (header, error) {
	var d jpegDecoder
	if err := d.start(b); err != nil {
		return header{}, err
	}
	for {
		m := d.nextMarker()
		switch {
		case m == markerEOI || m == markerSOS:
			return header{}, errors.New("JPEG file without a frame header")
		case m >= 0xc0 && m <= 0xcf && m != markerDHT && m != 0xc8 && m != 0xcc:
			if err := d.table(m); err != nil {
				return header{}, err
			}
			hd := header{format: formatJPEG, h: d.h, w: d.w, native: 3}
			if len(d.comps) == 1 {
				hd.native = 1
			}
			return hd, nil
		case m >= markerRST0 && m < markerRST0+8, m == markerTEM, m == markerSOI:
		default:
			d.pos += max(0, d.word()-2)
		}
	}
}

// quantisers reads DQT (B.2.4.1).
func (d *jpegDecoder) quantisers(s []byte) error {
	for len(s) > 0 {
		wide, t := s[0]>>4 != 0, s[0]&15
		n := 64
		if wide {
			n = 128
		}
		if t > 3 || len(s) < 1+n {
			return errors.New("bad quantisation table in a JPEG file")
		}
		q := &d.quantMem[t]
		for i := range 64 {
			if wide {
				q[zigzag[i]] = int32(binary.BigEndian.Uint16(s[1+2*i:]))
			} else {
				q[zigzag[i]] = int32(s[1+i])
			}
		}
		d.quant[t] = q
		s = s[1+n:]
	}
	return nil
}

// frame reads SOF0, SOF1 or SOF2 (B.2.2).
func (d *jpegDecoder) frame(s []byte) error {
	switch {
	case d.comps != nil:
		return errors.New("JPEG file with two frame headers")
	case len(s) < 6 || len(s) != 6+3*int(s[5]):
		return errors.New("JPEG frame header of a wrong length")
	case s[0] != 8:
		return fmt.Errorf("JPEG file of %d bits a sample: only 8 are supported", s[0])
	}
	d.h, d.w = int(binary.BigEndian.Uint16(s[1:])), int(binary.BigEndian.Uint16(s[3:]))
	n := int(s[5])
	if d.h == 0 || d.w == 0 {
		return fmt.Errorf("JPEG picture of %d×%d pixels", d.h, d.w)
	}
	if n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("JPEG picture of %d channels", n)
	}
	d.comps, d.hMax, d.vMax = d.compsMem[:n], 1, 1
	for i := range d.comps {
		f := s[6+3*i:]
		c := &d.comps[i]
		*c = jpegComponent{id: f[0], h: int(f[1] >> 4), v: int(f[1] & 15), tq: int(f[2]), pix: c.pix, coefs: c.coefs}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return errors.New("bad sampling factors in a JPEG file")
		}
		d.hMax, d.vMax = max(d.hMax, c.h), max(d.vMax, c.v)
		for k := range c.known {
			c.known[k], c.knownBefore[k] = -1, -1
		}
	}
	for i := range d.comps {
		c := &d.comps[i]
		if d.hMax%c.h != 0 || d.vMax%c.v != 0 {
			return errors.New("JPEG file with fractional sampling, which is not supported")
		}
		c.w, c.height = ceilDiv(d.w*c.h, d.hMax), ceilDiv(d.h*c.v, d.vMax)
		c.blocksW, c.blocksH = ceilDiv(d.w*c.h, 8*d.hMax), ceilDiv(d.h*c.v, 8*d.vMax)
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// huffman reads DHT (B.2.4.2).
func (d *jpegDecoder) huffman(s []byte) error {
	for len(s) > 16 {
		class, t := s[0]>>4, s[0]&15
		n := 0
		for _, c := range s[1:17] {
			n += int(c)
		}
		if class > 1 || t > 3 || n > 256 || len(s) < 17+n {
			return errors.New("bad Huffman table in a JPEG file")
		}
		h := &d.huffMem[class][t]
		h.build(s[1:17], s[17:17+n], class == 1)
		d.huff[class][t] = h
		s = s[17+n:]
	}
	if len(s) != 0 {
		return errors.New("bad Huffman table in a JPEG file")
	}
	return nil
}

// stdTables puts annex K's tables where a file has none.
func (d *jpegDecoder) stdTables() {
	for class := range d.huff {
		for t := range 2 {
			if d.huff[class][t] == nil {
				h := &d.huffMem[class][t]
				h.build(stdCounts[class][t][:], stdSymbols[class][t], class == 1)
				d.huff[class][t] = h
			}
		}
	}
}

// maxSparse is the number of blocks up to which a file may have almost no data.
// Larger pictures need at least two bits for each of their blocks, so that a
// tiny file cannot take all memory.
const maxSparse = 1 << 20

// alloc makes room for the planes and, unless one scan holds everything, the
// coefficients.
func (d *jpegDecoder) alloc(oneScan bool) error {
	blocks := 0
	for i := range d.comps {
		c := &d.comps[i]
		c.coefStride = ceilDiv(c.blocksW, c.h) * c.h
		blocks += c.coefStride * (ceilDiv(c.blocksH, c.v) * c.v)
	}
	if blocks > maxSparse && blocks > 4*len(d.b) {
		return fmt.Errorf("JPEG file of %d bytes for a picture of %d×%d pixels", len(d.b), d.h, d.w)
	}
	for i := range d.comps {
		c := &d.comps[i]
		n := c.coefStride * (ceilDiv(c.blocksH, c.v) * c.v) * 64
		c.stride = 8 * c.coefStride
		if cap(c.pix) < n {
			c.pix = make([]byte, n)
		}
		c.pix = c.pix[:n]
		if oneScan {
			continue
		}
		if cap(c.coefs) < n {
			c.coefs = make([]int16, n)
		}
		c.coefs = c.coefs[:n]
		clear(c.coefs)
	}
	return nil
}

// complete reports whether the scans so far hold the whole picture.
func (d *jpegDecoder) complete() bool {
	for i := range d.comps {
		c := &d.comps[i]
		if c.quant == nil {
			return false
		}
		for _, k := range c.known {
			if d.progressive && k != 0 {
				return false
			}
		}
	}
	return true
}

// warning says in a sentence's end what is wrong with a file that was decoded,
// or nothing.
func (d *jpegDecoder) warning() string {
	switch {
	case d.lost > 0 && d.progressive:
		return fmt.Sprintf("the JPEG file is cut off or damaged: %.3g %% of its data are missing, so the picture lacks detail or is grey in part", 100*float64(d.lost)/float64(d.total))
	case d.lost > 0:
		return fmt.Sprintf("the JPEG file is cut off or damaged: %.3g %% of the picture is missing and left grey", 100*float64(d.lost)/float64(d.total))
	case d.cut:
		return "the JPEG file is cut off: its last scans are missing, so the picture lacks detail or colour"
	case d.damaged:
		return "the JPEG file is damaged: some of its bits make no sense, so parts of the picture may be wrong"
	}
	return ""
}
