package synth

import (
	"math"
	"math/rand/v2"

	"crema/internal/rng"
)

// NewDigits returns the set of the quick start: the ten digits, one an image,
// in a random typeface, colour, size, slant, angle and place, on a shaded
// ground, with noise. Light on dark and dark on light are equally likely, so
// no pixel alone says anything about the class.
func NewDigits(shape Shape, seed uint64) (Set, error) {
	if err := shape.Check(); err != nil {
		return nil, err
	}
	return &digitSet{shape, seed, glyphs()}, nil
}

type digitSet struct {
	shape Shape
	seed  uint64
	faces []map[rune]*glyph
}

func (s *digitSet) Shape() Shape               { return s.shape }
func (s *digitSet) Classes() int               { return len(digits) }
func (s *digitSet) ClassName(label int) string { return digits[label : label+1] }

func (s *digitSet) Label(split string, i int) int {
	return label(s.seed, "digits/"+split, len(digits), i)
}

func (s *digitSet) NewDrawer() Drawer {
	return &digitDrawer{s, newPen(s.shape.Height, s.shape.Width)}
}

type digitDrawer struct {
	*digitSet
	pen *pen
}

func (d *digitDrawer) Draw(split string, i int, pix []byte) int {
	lab := d.Label(split, i)
	r := rng.New(d.seed, "digits/"+split, uint64(i))
	c := canvas{d.shape, pix}
	h, w := float64(c.Height), float64(c.Width)

	ground := pick(r, c.Channels, 0, math.Inf(1))
	ground2 := pick(r, c.Channels, 0, 100, ground)
	ink := pick(r, c.Channels, 130, math.Inf(1), ground, ground2)
	sin, cos := math.Sincos(uniform(r, 0, 2*math.Pi))
	c.fill(ground, ground2, slope(sin, cos, c.Shape))

	g := d.faces[r.IntN(len(d.faces))][rune(digits[lab])]
	size := min(h, w) * uniform(r, 0.5, 0.8)
	angle := uniform(r, -0.35, 0.35)
	shear := uniform(r, -0.2, 0.2)
	stretch := uniform(r, 0.85, 1.15)
	m := pose(size*stretch, size, shear, angle, 0, 0)
	// Anywhere in the image, as long as it is all inside.
	x, y := m.reach(g)
	m.e = float32(uniform(r, min(x, w/2), max(w-x, w/2)))
	m.f = float32(uniform(r, min(y, h/2), max(h-y, h/2)))
	d.pen.begin()
	d.pen.add(g, m)
	c.paint(d.pen.end(), ink)
	c.noise(r, uniform(r, 0, 16))
	return lab
}

// NewPlainDigits returns digits as MNIST has them: light on black, one an
// image, in the middle and nearly as high as the image, in a random typeface,
// weight, slant, angle and proportion. In colour images they are grey.
func NewPlainDigits(shape Shape, seed uint64) (Set, error) {
	if err := shape.Check(); err != nil {
		return nil, err
	}
	return newPlainDigits(shape, seed), nil
}

func newPlainDigits(shape Shape, seed uint64) *plainSet {
	return &plainSet{digitSet{shape, seed, glyphs()}}
}

type plainSet struct{ digitSet }

func (s *plainSet) Label(split string, i int) int {
	return label(s.seed, "plain/"+split, len(digits), i)
}

func (s *plainSet) NewDrawer() Drawer { return s.newDrawer() }

func (s *plainSet) newDrawer() *plainDrawer {
	return &plainDrawer{s, newPen(s.shape.Height, s.shape.Width)}
}

type plainDrawer struct {
	*plainSet
	pen *pen
}

func (d *plainDrawer) Draw(split string, i int, pix []byte) int {
	lab := d.Label(split, i)
	d.drawDigit(rng.New(d.seed, "plain/"+split, uint64(i)), lab, pix)
	return lab
}

// drawDigit draws a digit into pix, with everything else from r.
func (d *plainDrawer) drawDigit(r *rand.Rand, digit int, pix []byte) {
	h, w := float64(d.shape.Height), float64(d.shape.Width)
	g := d.faces[r.IntN(len(d.faces))][rune(digits[digit])]
	// MNIST's digits fill 20 of 28 pixels.
	size := min(h, w) * uniform(r, 0.6, 0.75)
	m := pose(size*uniform(r, 0.75, 1.25), size, uniform(r, -0.35, 0.35), uniform(r, -0.3, 0.3), 0, 0)
	jitter := min(h, w) / 28
	m.e = float32(w/2 + uniform(r, -jitter, jitter))
	m.f = float32(h/2 + uniform(r, -jitter, jitter))
	d.pen.begin()
	d.pen.add(g, m)
	ink := uniform(r, 170, 255)
	n := d.shape.Height * d.shape.Width
	for p, cover := range d.pen.end()[:n] {
		v := byte(ink*float64(cover)/255 + 0.5)
		for k := range d.shape.Channels {
			pix[k*n+p] = v
		}
	}
}
