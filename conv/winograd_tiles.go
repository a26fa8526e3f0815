package conv

import (
	"crema/asm"
	"crema/internal/par"
)

// An image is 16 channels (nc of them there) of an image of h×w pixels. Where
// mask, in the same layout, is not nil and not positive, pixels count as 0.
type image struct {
	layout    Layout
	src, mask []float32
	nc, h, w  int
}

// channels returns 16 of the c channels of an image of x, the g-th, where images
// have all channels.
func channels(l Layout, x, mask []float32, img, all, c, g, h, w int) image {
	off := (img*all + g*asm.WinoLanes) * h * w
	s := image{l, x[off:], nil, min(asm.WinoLanes, c-g*asm.WinoLanes), h, w}
	if mask != nil {
		s.mask = mask[off:]
	}
	return s
}

// direct reports whether pixels can be read where they lie.
func (s *image) direct() bool { return s.layout == Blocked && s.mask == nil }

// strip brings rows×cols pixels from (y, x) on, which may lie outside, into dst:
// zeros outside the image and in missing channels. It is for images that are not
// read directly.
func (s *image) strip(y, x, rows, cols int, dst []float32) {
	const l = asm.WinoLanes
	lo, hi := max(-x, 0), min(cols, s.w-x)
	if s.nc < l {
		clear(dst[:rows*cols*l])
	}
	var masks []float32
	var buf *par.Buffer
	if s.mask != nil && s.layout == NCHW {
		masks, buf = scratch.Get(cols * l)
		if s.nc < l {
			clear(masks)
		}
	}
	for r := range rows {
		line := dst[r*cols*l:][:cols*l]
		if y+r < 0 || y+r >= s.h || lo >= hi {
			clear(line)
			continue
		}
		clear(line[:lo*l])
		at, in := (y+r)*s.w+x+lo, line[lo*l:hi*l]
		if s.layout == Blocked {
			asm.ReLUBackward(0, s.mask[at*l:][:len(in)], s.src[at*l:][:len(in)], in)
		} else {
			asm.Transpose(s.nc, hi-lo, s.src[at:], s.h*s.w, in, l)
			if s.mask != nil {
				asm.Transpose(s.nc, hi-lo, s.mask[at:], s.h*s.w, masks, l)
				asm.ReLUBackward(0, masks[:len(in)], in, in)
			}
		}
		clear(line[hi*l:])
	}
	if buf != nil {
		scratch.Put(buf)
	}
}

// A tiles says how the tiles of an image are transformed and where to.
type tiles struct {
	kern     *asm.WinoKernel
	gradient bool // the transform: 4×4 pixels rather than 6×6
	stream   bool // whether v is written past the caches
	v        []float32
	ldt, ldp int
	sums     *[asm.WinoLanes]float32 // of the pixels of a gradient, or nil
}

// transform does n tiles in a row, the first at the given place in v.
func (t *tiles) transform(n int, x *asm.WinoPixels, place int) {
	if t.gradient {
		t.kern.Gradient(n, x, t.v[place*t.ldt:], t.ldt, t.ldp, t.sums, t.stream)
	} else {
		t.kern.Input(n, x, t.v[place*t.ldt:], t.ldt, t.ldp, t.stream)
	}
}

// rect transforms the tiles of r, the image's first tile starting at pixel
// (−padH, −padW).
func (t *tiles) rect(s *image, r rect, padH, padW int) {
	const l = asm.WinoLanes
	edge := winoEdge
	if t.gradient {
		edge = winoTile
	}
	nx := r.x1 - r.x0
	x, cols := winoTile*r.x0-padW, winoTile*(nx-1)+edge
	if !s.direct() {
		rows := winoTile*(r.y1-r.y0-1) + edge
		strip, buf := scratch.Get(rows * cols * l)
		s.strip(winoTile*r.y0-padH, x, rows, cols, strip)
		for y := range r.y1 - r.y0 {
			t.transform(nx, &asm.WinoPixels{Data: strip[winoTile*y*cols*l:], LD: cols * l}, y*nx)
		}
		scratch.Put(buf)
		return
	}
	pixels := asm.WinoPixels{LD: s.w * l, Left: max(-x, 0), Right: max(x+cols-s.w, 0)}
	for i := range r.y1 - r.y0 {
		y := winoTile*(r.y0+i) - padH
		pixels.Top, pixels.Bottom = max(-y, 0), max(y+edge-s.h, 0)
		pixels.Data = s.src[((y+pixels.Top)*s.w+x+pixels.Left)*l:]
		t.transform(nx, &pixels, i*nx)
	}
}
