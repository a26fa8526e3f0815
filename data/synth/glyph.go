package synth

import (
	"fmt"
	"image"
	"image/draw"
	"math"
	"sync"

	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gobolditalic"
	"golang.org/x/image/font/gofont/goitalic"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/gomediumitalic"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/gofont/gomonobolditalic"
	"golang.org/x/image/font/gofont/gomonoitalic"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/gofont/gosmallcaps"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// alphabet holds the letters that signs are written with. They stay apart when
// turned a little and when mirrored, which training often does: no J beside L,
// no S beside 2 or 5, no O beside D or 0.
const alphabet = "ABCDEFGHKLMNPRSTUVWXYZ47"

const digits = "0123456789"

// typefaces are the Go fonts (Bigelow & Holmes, BSD licence), which come with
// golang.org/x/image. The slanted ones look alike enough to the upright ones
// not to need a set of their own.
var typefaces = [][]byte{
	goregular.TTF, gobold.TTF, goitalic.TTF, gomedium.TTF, gomono.TTF, gomonobold.TTF,
	gobolditalic.TTF, gomediumitalic.TTF, gomonoitalic.TTF, gomonobolditalic.TTF, gosmallcaps.TTF,
}

// A point is in pixels, or in glyph units: y down, the glyph's bounding box
// centred at the origin, and the longer side of the box 1.
type point struct{ x, y float32 }

// A segment is a piece of an outline: a move, line, quadratic or cubic curve.
type segment struct {
	op sfnt.SegmentOp
	p  [3]point
}

// A glyph is an outline in glyph units, and the size of its bounding box.
type glyph struct {
	segments      []segment
	width, height float32
}

// glyphs holds the outlines of digits and alphabet in every typeface.
var glyphs = sync.OnceValue(func() []map[rune]*glyph {
	var all []map[rune]*glyph
	for i, ttf := range typefaces {
		m, err := loadGlyphs(ttf, digits+alphabet)
		if err != nil {
			// The fonts are compiled in: this cannot happen on a user's machine
			// without having happened in the tests.
			panic(fmt.Sprintf("synth: typeface %d: %v", i, err))
		}
		all = append(all, m)
	}
	return all
})

func loadGlyphs(ttf []byte, runes string) (map[rune]*glyph, error) {
	f, err := sfnt.Parse(ttf)
	if err != nil {
		return nil, err
	}
	var buf sfnt.Buffer
	m := map[rune]*glyph{}
	for _, r := range runes {
		gi, err := f.GlyphIndex(&buf, r)
		if err != nil {
			return nil, fmt.Errorf("glyph of %q: %w", r, err)
		}
		if gi == 0 {
			return nil, fmt.Errorf("no glyph of %q", r)
		}
		// 1024 pixels per em keep the rounding of the outline far below
		// what an image shows.
		segs, err := f.LoadGlyph(&buf, gi, fixed.I(1024), nil)
		if err != nil {
			return nil, fmt.Errorf("glyph of %q: %w", r, err)
		}
		m[r] = newGlyph(segs)
	}
	return m, nil
}

func newGlyph(segs sfnt.Segments) *glyph {
	b := segs.Bounds()
	cx, cy := float32(b.Min.X+b.Max.X)/2, float32(b.Min.Y+b.Max.Y)/2
	w, h := float32(b.Max.X-b.Min.X), float32(b.Max.Y-b.Min.Y)
	unit := max(w, h)
	g := &glyph{width: w / unit, height: h / unit}
	for _, s := range segs {
		t := segment{op: s.Op}
		for k, a := range s.Args {
			t.p[k] = point{(float32(a.X) - cx) / unit, (float32(a.Y) - cy) / unit}
		}
		g.segments = append(g.segments, t)
	}
	return g
}

// An affine maps (x, y) to (a·x + b·y + e, c·x + d·y + f).
type affine struct{ a, b, c, d, e, f float32 }

// pose is the map that scales by sx and sy, slants x by shear·y, turns by
// angle (radians, clockwise on the screen) and moves the origin to (x, y).
func pose(sx, sy, shear, angle, x, y float64) affine {
	sin, cos := math.Sincos(angle)
	return affine{
		a: float32(cos * sx), b: float32(cos*shear*sx - sin*sy),
		c: float32(sin * sx), d: float32(sin*shear*sx + cos*sy),
		e: float32(x), f: float32(y),
	}
}

func (m affine) apply(p point) (x, y float32) {
	return m.a*p.x + m.b*p.y + m.e, m.c*p.x + m.d*p.y + m.f
}

// reach returns how far a glyph in a pose extends from its centre at most,
// across and down.
func (m affine) reach(g *glyph) (x, y float64) {
	return float64(abs(m.a)*g.width+abs(m.b)*g.height) / 2, float64(abs(m.c)*g.width+abs(m.d)*g.height) / 2
}

// A pen turns outlines into coverage masks of one size.
type pen struct {
	raster vector.Rasterizer
	mask   *image.Alpha
}

func newPen(h, w int) *pen { return &pen{mask: image.NewAlpha(image.Rect(0, 0, w, h))} }

// begin starts a new mask.
func (p *pen) begin() { p.raster.Reset(p.mask.Rect.Dx(), p.mask.Rect.Dy()) }

// add adds a glyph in a pose to the mask; what lies outside is cut off.
func (p *pen) add(g *glyph, m affine) {
	for _, s := range g.segments {
		x0, y0 := m.apply(s.p[0])
		x1, y1 := m.apply(s.p[1])
		x2, y2 := m.apply(s.p[2])
		switch s.op {
		case sfnt.SegmentOpMoveTo:
			p.raster.ClosePath()
			p.raster.MoveTo(x0, y0)
		case sfnt.SegmentOpLineTo:
			p.raster.LineTo(x0, y0)
		case sfnt.SegmentOpQuadTo:
			p.raster.QuadTo(x0, y0, x1, y1)
		case sfnt.SegmentOpCubeTo:
			p.raster.CubeTo(x0, y0, x1, y1, x2, y2)
		}
	}
	p.raster.ClosePath()
}

// end returns the mask, h×w bytes of coverage, valid until the next begin.
func (p *pen) end() []byte {
	p.raster.DrawOp = draw.Src
	p.raster.Draw(p.mask, p.mask.Rect, image.Opaque, image.Point{})
	return p.mask.Pix
}
