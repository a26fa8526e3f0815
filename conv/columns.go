package conv

import "crema/asm"

// columns describes, for one group, the matrix whose column q is the window of
// the source that target pixel q sees. Pixels of all images are numbered in
// one row: q = (image·oh + oy)·ow + ox. Row (r·S+s)·c + ch of the matrix is tap
// (r, s) in channel ch, so that the channels of a tap are next to each other
// and a run of pixels of a tap is a strip of equal pieces of image rows.
//
// Tap (r, s) of pixel (oy, ox) is source pixel
// (oy·strideH + baseH + r·stepH, ox·strideW + baseW + s·stepW).
//
// With more than two spatial axes, all but the last are one to this package: a
// row of target pixels, oy, and a row of taps, r, stand for as many indices as
// there are axes. Which row of the source they meet is looked up: it is
// sourceRow[oy·R+r], or none if that is negative.
type columns struct {
	c, h, w          int // source channels of the group, source extent
	image            int // elements from one source image to the next
	oh, ow           int // target extent
	r, s             int // taps
	strideH, strideW int
	baseH, baseW     int
	stepH, stepW     int
	sourceRow        []int32
}

// forwardColumns are the windows of the input that output pixels see.
func (p *Plan) forwardColumns() columns {
	s := &p.s
	g := columns{
		c: s.C / s.Group, h: s.H, w: s.W, image: s.C * s.H * s.W, oh: p.oh, ow: p.ow, r: s.R, s: s.S,
		strideH: s.StrideH, strideW: s.StrideW, baseH: -s.PadH, baseW: -s.PadW, stepH: s.DilationH, stepW: s.DilationW,
		sourceRow: p.rows,
	}
	return g.flat(s)
}

// dataColumns are the windows of the output gradient that input pixels see, for
// strides of 1: input pixel iy takes part in output pixel iy + pad − r·dilation
// through tap r.
func (p *Plan) dataColumns() columns {
	s := &p.s
	g := columns{
		c: s.K / s.Group, h: p.oh, w: p.ow, image: s.K * p.oh * p.ow, oh: s.H, ow: s.W, r: s.R, s: s.S,
		strideH: 1, strideW: 1, baseH: s.PadH, baseW: s.PadW, stepH: -s.DilationH, stepW: -s.DilationW,
		sourceRow: p.turned,
	}
	return g.flat(s)
}

// flat sees an image as a single row where windows are single pixels.
func (g columns) flat(s *Shape) columns {
	if pointwise(s) {
		g.w, g.ow = g.h*g.w, g.oh*g.ow
		g.h, g.oh = 1, 1
		g.sourceRow = nil
	}
	return g
}

// rows is the number of rows of the matrix.
func (g *columns) rows() int { return g.r * g.s * g.c }

// split returns image, row and column of pixel q.
func (g *columns) split(q int) (img, oy, ox int) {
	q, ox = q/g.ow, q%g.ow
	return q / g.oh, q % g.oh, ox
}

// source locates tap rs for w target pixels from (oy, ox) in a row: the source
// row iy, the source column ix of the first (perhaps outside), and the range
// lo ≤ t < hi of those whose source is inside the image.
func (g *columns) source(rs, oy, ox, w int) (iy, ix, lo, hi int) {
	if g.sourceRow != nil {
		iy = int(g.sourceRow[oy*g.r+rs/g.s])
	} else {
		iy = oy*g.strideH + g.baseH + rs/g.s*g.stepH
	}
	ix = ox*g.strideW + g.baseW + rs%g.s*g.stepW
	if iy < 0 || iy >= g.h {
		return iy, ix, 0, 0
	}
	if ix < 0 {
		lo = min(ceilDiv(-ix, g.strideW), w)
	}
	if ix < g.w {
		hi = min(ceilDiv(g.w-ix, g.strideW), w)
	}
	return iy, ix, lo, max(lo, hi)
}

// pack packs rows p0 ≤ p < p0+kc, columns q0 ≤ q < q0+n of the matrix into
// panels nr wide. x starts at the group's first channel of the first image.
func (g *columns) pack(x []float32, nr, p0, kc, q0, n int, dst []float32) {
	plane := g.h * g.w
	for j := 0; j < n; j += nr {
		panel := dst[j*kc:]
		width := min(nr, n-j)
		for off := 0; off < width; {
			img, oy, ox := g.split(q0 + j + off)
			w := min(g.ow-ox, width-off)
			src := x[img*g.image:]
			for p := p0; p < p0+kc; {
				rs, ch := p/g.c, p%g.c
				nc := min(g.c-ch, p0+kc-p)
				iy, ix, lo, hi := g.source(rs, oy, ox, w)
				from := ch*plane + iy*g.w + ix
				to := panel[(p-p0)*nr+off:]
				if g.strideW == 1 {
					asm.PackRows(nc, w, lo, hi, src, from, plane, to, nr)
				} else {
					gatherRows(nc, w, lo, hi, src, from, g.strideW, plane, to, nr)
				}
				p += nc
			}
			off += w
		}
	}
}

// gatherRows is asm.PackRows from every step-th element.
func gatherRows(n, width, lo, hi int, src []float32, off, step, lds int, dst []float32, ldd int) {
	for r := range n {
		d := dst[r*ldd:][:width]
		clear(d[:lo])
		o := off + r*lds + lo*step
		for t := lo; t < hi; t++ {
			d[t] = src[o]
			o += step
		}
		clear(d[hi:])
	}
}

// packTransposed packs the transpose of the matrix: rows q0 ≤ q < q0+kc
// (pixels), columns j0 ≤ j < j0+n (taps and channels) into panels nr wide.
func (g *columns) packTransposed(x []float32, nr, q0, kc, j0, n int, dst []float32) {
	plane := g.h * g.w
	for j := 0; j < n; j += nr {
		panel := dst[j*kc:]
		width := min(nr, n-j)
		for q := 0; q < kc; {
			img, oy, ox := g.split(q0 + q)
			w := min(g.ow-ox, kc-q)
			src := x[img*g.image:]
			for off := 0; off < width; {
				rs, ch := (j0+j+off)/g.c, (j0+j+off)%g.c
				nc := min(g.c-ch, width-off)
				iy, ix, lo, hi := g.source(rs, oy, ox, w)
				to := panel[q*nr+off:]
				asm.PackRows(lo, nc, 0, 0, nil, 0, 0, to, nr)
				if hi > lo {
					from := ch*plane + iy*g.w + ix + lo*g.strideW
					if g.strideW == 1 {
						asm.Transpose(nc, hi-lo, src[from:], plane, to[lo*nr:], nr)
					} else {
						gatherTransposed(nc, hi-lo, src[from:], g.strideW, plane, to[lo*nr:], nr)
					}
				}
				if hi < w {
					asm.PackRows(w-hi, nc, 0, 0, nil, 0, 0, to[hi*nr:], nr)
				}
				off += nc
			}
			q += w
		}
	}
}

// gatherTransposed is asm.Transpose of every step-th column.
func gatherTransposed(rows, cols int, src []float32, step, lds int, dst []float32, ldd int) {
	for r := range rows {
		s := src[r*lds:]
		for t := range cols {
			dst[t*ldd+r] = s[t*step]
		}
	}
}

// add adds, for target pixels from q0 on, v to the source pixels that tap rs
// meets, in one channel; those outside are left out.
func (g *columns) add(v []float32, q0, rs int, plane []float32) {
	for len(v) > 0 {
		_, oy, ox := g.split(q0)
		w := min(g.ow-ox, len(v))
		iy, ix, lo, hi := g.source(rs, oy, ox, w)
		if hi > lo {
			row := plane[iy*g.w+ix+lo*g.strideW : (iy+1)*g.w]
			if g.strideW == 1 {
				asm.Add(v[lo:hi], row[:hi-lo])
			} else {
				for i, x := range v[lo:hi] {
					row[i*g.strideW] += x
				}
			}
		}
		v = v[w:]
		q0 += w
	}
}
