package data

import (
	"errors"
	"fmt"
)

// A jpegScan is the scan that is being decoded.
type jpegScan struct {
	comps          []*jpegComponent
	compsMem       [4]*jpegComponent
	ss, se, ah, al int // spectral selection and successive approximation
	left           int // MCUs to the next restart marker
	nextRST        byte
	// dry is set once the data have ended, until a restart: MCUs then stay as
	// they are.
	dry      bool
	eobRun   int32
	lastGood int // the last MCU row, of the frame's MCUs, that had data
}

// sos reads SOS (B.2.3) and the scan behind it. whole says that it was the only
// one.
func (d *jpegDecoder) sos() (whole bool, err error) {
	if d.comps == nil {
		return false, errors.New("JPEG file with a scan before its frame header")
	}
	h := d.segment()
	s := &d.scan
	if len(h) < 1 || len(h) != 4+2*int(h[0]) || h[0] < 1 || h[0] > 4 {
		return false, errors.New("JPEG scan header of a wrong length")
	}
	n := int(h[0])
	*s = jpegScan{compsMem: s.compsMem, lastGood: s.lastGood}
	s.comps = s.compsMem[:n]
	for i := range n {
		c := d.component(h[1+2*i])
		for _, o := range s.comps[:i] {
			if o == c {
				c = nil
			}
		}
		if c == nil {
			return false, errors.New("JPEG scan header that names no component")
		}
		c.td, c.ta = int(h[2+2*i]>>4), int(h[2+2*i]&15)
		s.comps[i] = c
	}
	p := h[1+2*n:]
	s.ss, s.se, s.ah, s.al = int(p[0]), int(p[1]), int(p[2]>>4), int(p[2]&15)
	if d.scans++; d.scans == 1 {
		if !d.progressive {
			d.stdTables()
		}
		whole = !d.progressive && n == len(d.comps)
		if err := d.alloc(whole); err != nil {
			return false, err
		}
	}
	if err := d.startScan(); err != nil {
		return false, err
	}
	d.readScan(whole)
	return whole, nil
}

func (d *jpegDecoder) component(id byte) *jpegComponent {
	for i := range d.comps {
		if d.comps[i].id == id {
			return &d.comps[i]
		}
	}
	return nil
}

// startScan checks that all is there that a scan needs.
func (d *jpegDecoder) startScan() error {
	s := &d.scan
	if len(s.comps) > 1 {
		blocks := 0
		for _, c := range s.comps {
			blocks += c.h * c.v
		}
		if blocks > 10 {
			return errors.New("JPEG scan of more than 10 blocks a unit")
		}
	}
	for _, c := range s.comps {
		if c.quant == nil {
			if c.tq > 3 || d.quant[c.tq] == nil {
				return fmt.Errorf("JPEG file without the quantisation table %d", c.tq)
			}
			c.qMem = *d.quant[c.tq]
			c.quant = &c.qMem
		}
		c.pred = 0
	}
	if d.progressive {
		if err := d.startProgressive(); err != nil {
			return err
		}
	}
	for _, c := range s.comps {
		for class, t := range [2]int{c.td, c.ta} {
			// A progressive scan uses one of the two, or none.
			if d.progressive && (class != min(s.ss, 1) || class == 0 && s.ah > 0) {
				continue
			}
			if t > 3 || d.huff[class][t] == nil || !d.huff[class][t].ok {
				return fmt.Errorf("JPEG file without a good Huffman table %d", t)
			}
		}
	}
	d.acc, d.n, d.fake = 0, 0, 0
	s.left = d.restart
	return nil
}

// startProgressive checks the parameters of a progressive scan and notes which
// coefficients it gives (jdphuff.c's start_pass_phuff_decoder).
func (d *jpegDecoder) startProgressive() error {
	s := &d.scan
	if s.ss == 0 && s.se != 0 || s.ss > s.se || s.se > 63 || s.ss > 0 && len(s.comps) != 1 || s.ah > 0 && s.al != s.ah-1 || s.al > 13 {
		return fmt.Errorf("JPEG file with a bad progressive scan (%d to %d, %d, %d)", s.ss, s.se, s.ah, s.al)
	}
	for _, c := range s.comps {
		for k := min(s.ss, 1); k <= max(s.se, 9); k++ {
			if c.knownBefore[k] = 0; d.scans > 1 {
				c.knownBefore[k] = c.known[k]
			}
		}
		for k := s.ss; k <= s.se; k++ {
			c.known[k] = s.al
		}
	}
	return nil
}

// readScan decodes a scan: if direct, to samples, otherwise to coefficients.
func (d *jpegDecoder) readScan(direct bool) {
	s := &d.scan
	// The MCUs of one component are its blocks, else of all that a sampling
	// grid cell holds.
	mcusX, mcusY := ceilDiv(d.w, 8*d.hMax), ceilDiv(d.h, 8*d.vMax)
	single := len(s.comps) == 1
	rowsPerRow := 1
	if single {
		mcusX, mcusY, rowsPerRow = s.comps[0].blocksW, s.comps[0].blocksH, s.comps[0].v
	}
	d.total += mcusX * mcusY
	var coef [64]int32
	for my := range mcusY {
		for mx := range mcusX {
			if !s.dry {
				s.lastGood = my / rowsPerRow
			}
			if d.restart > 0 {
				if s.left == 0 {
					d.readRestart()
				}
				s.left--
			}
			if s.dry {
				d.lost++
				if !direct {
					continue
				}
			}
			for _, c := range s.comps {
				cv, ch := c.v, c.h
				if single {
					cv, ch = 1, 1
				}
				for v := range cv {
					for h := range ch {
						x, y := mx*ch+h, my*cv+v
						if direct {
							d.directBlock(c, c.pix[8*y*c.stride+8*x:], &coef)
						} else {
							d.coefBlock(c, (*[64]int16)(c.coefs[64*(y*c.coefStride+x):]))
						}
					}
				}
			}
			if d.n < d.fake && !s.dry { // the data ended before the MCU did
				s.dry = true
				d.lost++
			}
		}
	}
}

// directBlock decodes a block of the only scan to 8×8 samples. coef is zero
// before and after.
func (d *jpegDecoder) directBlock(c *jpegComponent, out []byte, coef *[64]int32) {
	if d.scan.dry {
		idctDC(0, out, c.stride)
		return
	}
	last, sum := d.block(coef, c, c.quant)
	switch {
	case sum > plainSum:
		idctWide(coef, out, c.stride)
	case last == 0:
		idctDC(coef[0], out, c.stride)
		coef[0] = 0
		return
	default:
		idct(coef, out, c.stride)
	}
	*coef = [64]int32{}
}

// coefBlock decodes what a scan has of a block into its coefficients.
func (d *jpegDecoder) coefBlock(c *jpegComponent, b *[64]int16) {
	s := &d.scan
	switch {
	case !d.progressive:
		var coef [64]int32
		for i, v := range b {
			coef[i] = int32(v)
		}
		d.block(&coef, c, &ones)
		for i, v := range coef {
			b[i] = int16(v)
		}
	case s.ss == 0 && s.ah == 0:
		d.fill()
		if size := d.symbol(d.huff[0][c.td]); size > 0 {
			c.pred += d.value(int(size))
		}
		b[0] = int16(c.pred << s.al)
	case s.ss == 0:
		d.fill()
		if d.bits(1) == 1 {
			b[0] |= 1 << s.al
		}
	case s.ah == 0:
		d.acFirst(d.huff[1][c.ta], b)
	default:
		d.acRefine(d.huff[1][c.ta], b)
	}
}

// ones leaves coefficients as they are.
var ones = func() (q [64]int32) {
	for i := range q {
		q[i] = 1
	}
	return q
}()

// block decodes a block (F.2.2) into coef, multiplied by the quantiser and in
// rows. It returns the index, in the file's order, of the last coefficient, and
// the sum of their magnitudes.
func (d *jpegDecoder) block(coef *[64]int32, c *jpegComponent, q *[64]int32) (last int, sum uint32) {
	dc, ac := d.huff[0][c.td], d.huff[1][c.ta]
	d.fill()
	if size := d.symbol(dc); size > 0 {
		c.pred += d.value(int(size))
	}
	v := int32(int16(c.pred)) * q[0]
	coef[0], sum = v, magnitude(v)
	for k := 1; k < 64; k++ {
		if d.n < 32 {
			d.fill()
		}
		if e := ac.value[d.acc>>(64-lookBits)]; e != 0 {
			k += int(e >> 4 & 15)
			d.skip(int(e & 15))
			z := zigzag[k&127]
			v := int32(e>>8) * q[z]
			coef[z] = v
			last, sum = k, sum+magnitude(v)
			continue
		}
		s := d.symbol(ac)
		run, size := int(s>>4), int(s&15)
		if size == 0 {
			if run != 15 {
				break // end of block
			}
			k += 15
			continue
		}
		k += run
		z := zigzag[k&127]
		v := d.value(size) * q[z]
		coef[z] = v
		last, sum = k, sum+magnitude(v)
	}
	return last, sum
}

func magnitude(v int32) uint32 {
	s := v >> 31
	return uint32(v ^ s - s)
}

// acFirst decodes the first bits of coefficients ss to se of a block (G.1.2.2).
func (d *jpegDecoder) acFirst(ac *huffTable, b *[64]int16) {
	s := &d.scan
	if s.eobRun > 0 {
		s.eobRun--
		return
	}
	for k := s.ss; k <= s.se; k++ {
		d.fill()
		sym := d.symbol(ac)
		run, size := int(sym>>4), int(sym&15)
		switch {
		case size > 0:
			k += run
			b[zigzag[k&127]] = int16(d.value(size) << s.al)
		case run == 15:
			k += 15
		default:
			d.eobRunOf(run)
			s.eobRun-- // this block
			return
		}
	}
}

// eobRunOf reads for how many blocks, this one included, nothing follows.
func (d *jpegDecoder) eobRunOf(bits int) {
	d.scan.eobRun = 1 << bits
	if bits > 0 {
		d.scan.eobRun += d.bits(bits)
	}
}

// acRefine decodes one more bit of coefficients ss to se of a block (G.1.2.3).
func (d *jpegDecoder) acRefine(ac *huffTable, b *[64]int16) {
	s := &d.scan
	bit := int16(1) << s.al
	// refine reads the bit of a coefficient that is not zero.
	refine := func(c *int16) {
		d.fill()
		if d.bits(1) == 0 || *c&bit != 0 {
			return
		}
		if *c >= 0 {
			*c += bit
		} else {
			*c -= bit
		}
	}
	k := s.ss
	if s.eobRun == 0 {
		for ; k <= s.se; k++ {
			d.fill()
			sym := d.symbol(ac)
			run, size := int(sym>>4), int(sym&15)
			var v int16
			switch {
			case size > 0:
				if size != 1 {
					d.damaged = true
				}
				if v = -bit; d.bits(1) == 1 {
					v = bit
				}
			case run != 15:
				d.eobRunOf(run)
			}
			if s.eobRun > 0 {
				break
			}
			// Past run coefficients that are zero, refining the others.
			for ; k <= s.se; k++ {
				c := &b[zigzag[k&127]]
				if *c != 0 {
					refine(c)
				} else if run--; run < 0 {
					break
				}
			}
			if v != 0 {
				b[zigzag[k&127]] = v
			}
		}
	}
	if s.eobRun > 0 {
		for ; k <= s.se; k++ {
			if c := &b[zigzag[k&127]]; *c != 0 {
				refine(c)
			}
		}
		s.eobRun--
	}
}

// readRestart moves behind the next restart marker. One that is not the next in
// turn is dealt with by jdmarker.c's jpeg_resync_to_restart: what is lost is
// guessed from its number.
func (d *jpegDecoder) readRestart() {
	s := &d.scan
	d.acc, d.n, d.fake = 0, 0, 0
	for _, c := range s.comps {
		c.pred = 0
	}
	s.eobRun, s.left = 0, d.restart
	want := s.nextRST
	s.nextRST = (s.nextRST + 1) & 7
	for {
		m := d.nextMarker()
		ahead := (m - markerRST0 - want) & 7
		switch {
		case m < 0xc0: // no marker
			d.damaged = true
			continue
		case m < markerRST0 || m >= markerRST0+8, ahead == 1 || ahead == 2:
			// The end, or a later marker: what belongs to this one is missing.
			// An interval that was complete before is not: dry stays as it is.
			d.pos -= 2
			d.damaged = true
			return
		case ahead >= 6: // one of the last two again
			d.damaged = true
			continue
		case ahead != 0:
			d.damaged = true
		}
		s.dry = false
		return
	}
}
