package data

import (
	"errors"
	"fmt"
)

// A pnm is the head of a PBM, PGM or PPM file ("P1" to "P6"; OpenCV's
// grfmt_pxm.cpp).
type pnm struct {
	h, w   int
	c      int // channels: 1 or 3
	max    int // the largest value of a sample
	binary bool
	bits   bool // PBM: one bit a pixel, 1 is black
	pixels []byte
}

var errPNM = errors.New("damaged PBM, PGM or PPM file")

// isPNM reports whether b begins like a PNM file.
func isPNM(b []byte) bool {
	return len(b) >= 3 && b[0] == 'P' && b[1] >= '1' && b[1] <= '6' && isSpace(b[2])
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// readPNM reads the head of a file for which isPNM holds.
func readPNM(b []byte) (pnm, error) {
	kind := b[1] - '0'
	p := pnm{c: 1, max: 1, binary: kind >= 4, bits: kind == 1 || kind == 4}
	if kind == 3 || kind == 6 {
		p.c = 3
	}
	s := pnmScanner{b: b, i: 2}
	fields := []*int{&p.w, &p.h, &p.max}
	if p.bits {
		fields = fields[:2]
	}
	for _, f := range fields {
		v, ok := s.number(0)
		if !ok {
			return p, fmt.Errorf("%w: its head does not give width, height and largest value", errPNM)
		}
		*f = v
	}
	if p.max < 1 || p.max > 65535 {
		return p, fmt.Errorf("%w: the largest value of a sample is %d", errPNM, p.max)
	}
	p.pixels = b[s.i:]
	return p, nil
}

// A pnmScanner reads decimal numbers.
type pnmScanner struct {
	b []byte
	i int
}

// number returns the next number, of at most digits digits if that is not 0,
// and moves behind the character that ends it: behind the last number of the
// head, binary samples follow at once.
func (s *pnmScanner) number(digits int) (v int, ok bool) {
	comment := false
	for ; s.i < len(s.b); s.i++ {
		c := s.b[s.i]
		switch {
		case comment:
			comment = c != '\n' && c != '\r'
		case c == '#':
			comment = true
		case isSpace(c):
		case c < '0' || c > '9':
			return 0, false
		default:
			return s.digits(digits)
		}
	}
	return 0, false
}

func (s *pnmScanner) digits(most int) (v int, ok bool) {
	for n := 0; s.i < len(s.b); n++ {
		c := s.b[s.i]
		if c < '0' || c > '9' {
			s.i++
			return v, true
		}
		if v = 10*v + int(c-'0'); v > 1<<31-1 {
			return 0, false
		}
		s.i++
		if n+1 == most {
			return v, true
		}
	}
	return 0, false // the number may go on, or white space is missing
}

// decode fills im, of p's size. Samples written in digits are scaled from 0 to
// max to 0 to 255, binary ones are not, and of 16 bits the high byte is taken:
// as OpenCV does it.
func (p *pnm) decode(im *Image) error {
	row := make([]byte, p.w*p.c)
	read := p.digitsRow
	switch {
	case p.bits && p.binary:
		read = p.bitsRow
	case p.binary:
		read = p.bytesRow
	}
	s := pnmScanner{b: p.pixels}
	bad := fmt.Errorf("%w: it ends, or has no number, before its %d×%d pixels are complete", errPNM, p.h, p.w)
	ok := true
	convertRows(im, func(y int, rgba []byte) {
		if ok = ok && read(&s, row); !ok {
			return
		}
		if p.c == 1 {
			for x, v := range row {
				rgba[4*x], rgba[4*x+1], rgba[4*x+2], rgba[4*x+3] = v, v, v, 255
			}
			return
		}
		for x := range p.w {
			rgba[4*x], rgba[4*x+1], rgba[4*x+2], rgba[4*x+3] = row[3*x], row[3*x+1], row[3*x+2], 255
		}
	}, grayBT601x14)
	if !ok {
		return bad
	}
	return nil
}

// digitsRow reads a row of numbers.
func (p *pnm) digitsRow(s *pnmScanner, row []byte) bool {
	digits := 0
	if p.bits {
		digits = 1
	}
	for x := range row {
		v, ok := s.number(digits)
		if !ok {
			return false
		}
		switch v = min(v, p.max); {
		case p.bits:
			row[x] = byte(255 * (1 - v))
		case p.max > 255:
			row[x] = byte(v >> 8)
		default:
			row[x] = byte(v * 255 / p.max)
		}
	}
	return true
}

// bytesRow reads a row of samples of one or two bytes, the high one first.
func (p *pnm) bytesRow(s *pnmScanner, row []byte) bool {
	step := 1
	if p.max > 255 {
		step = 2
	}
	if len(s.b)-s.i < step*len(row) {
		return false
	}
	for x := range row {
		row[x] = s.b[s.i+step*x]
	}
	s.i += step * len(row)
	return true
}

// bitsRow reads a row of bits, the first pixel in the highest.
func (p *pnm) bitsRow(s *pnmScanner, row []byte) bool {
	n := (len(row) + 7) / 8
	if len(s.b)-s.i < n {
		return false
	}
	for x := range row {
		row[x] = 255 * (1 - s.b[s.i+x/8]>>(7-x%8)&1)
	}
	s.i += n
	return true
}

// smallest is the least number of bytes that the pixels can take, so that a
// head without pixels is found before anything is allocated.
func (p *pnm) smallest() int {
	samples := p.h * p.w * p.c
	switch {
	case p.bits && p.binary:
		return p.h * ((p.w + 7) / 8)
	case p.bits: // a digit
		return samples
	case p.binary && p.max > 255, !p.binary: // two bytes, or a digit and a space
		return 2 * samples
	}
	return samples
}
