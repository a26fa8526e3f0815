package synth

import (
	"fmt"
	"math"

	"crema/internal/rng"
)

// maxLetters is the greatest number of letters on a sign.
const maxLetters = 4

// MaxClasses is the greatest number of classes of signs: every pattern with
// every word of four letters.
var MaxClasses = len(patternNames) * pow(len(alphabet), maxLetters)

func pow(b, e int) int {
	p := 1
	for range e {
		p *= b
	}
	return p
}

// NewSigns returns a set of any number of classes up to MaxClasses. An image
// shows one to four letters, one below the other, on a patterned ground. The
// class decides the letters and the pattern; typeface, colours, period, size,
// angle, place and noise are random. With up to 24 classes one letter tells
// them apart and the pattern is random too; up to 192 are a letter and a
// pattern; beyond that come more letters. Classes can be told apart in
// mirrored images too. At sizes near MinSize the letters cannot be read any
// more: the images then only fill a pipeline.
func NewSigns(shape Shape, classes int, seed uint64) (Set, error) {
	if err := shape.Check(); err != nil {
		return nil, err
	}
	if classes < 1 || classes > MaxClasses {
		return nil, fmt.Errorf("%d classes, must be 1 to %d", classes, MaxClasses)
	}
	s := &signSet{shape: shape, classes: classes, seed: seed, faces: glyphs(), letters: 1}
	n := len(alphabet)
	if classes > n {
		s.patterned = true
		n *= len(patternNames)
	}
	for ; n < classes; n *= len(alphabet) {
		s.letters++
	}
	return s, nil
}

type signSet struct {
	shape     Shape
	classes   int
	seed      uint64
	faces     []map[rune]*glyph
	letters   int  // letters on each sign
	patterned bool // whether the class decides the pattern
}

func (s *signSet) Shape() Shape { return s.shape }
func (s *signSet) Classes() int { return s.classes }

func (s *signSet) Label(split string, i int) int {
	return label(s.seed, "signs/"+split, s.classes, i)
}

// recipe returns what a class consists of; pattern is -1 if it is random.
func (s *signSet) recipe(label int) (word string, pattern int) {
	n := len(alphabet)
	word, label = alphabet[label%n:label%n+1], label/n
	pattern = -1
	if s.patterned {
		pattern, label = label%len(patternNames), label/len(patternNames)
	}
	for len(word) < s.letters {
		word, label = word+alphabet[label%n:label%n+1], label/n
	}
	return word, pattern
}

func (s *signSet) ClassName(label int) string {
	word, pattern := s.recipe(label)
	if pattern < 0 {
		return word
	}
	return word + " on " + patternNames[pattern]
}

func (s *signSet) NewDrawer() Drawer {
	return &signDrawer{s, newPen(s.shape.Height, s.shape.Width)}
}

type signDrawer struct {
	*signSet
	pen *pen
}

func (d *signDrawer) Draw(split string, i int, pix []byte) int {
	lab := d.Label(split, i)
	r := rng.New(d.seed, "signs/"+split, uint64(i))
	c := canvas{d.shape, pix}
	h, w := float64(c.Height), float64(c.Width)
	short := min(h, w)

	word, kind := d.recipe(lab)
	if kind < 0 {
		kind = r.IntN(len(patternNames))
	}
	ground := pick(r, c.Channels, 0, math.Inf(1))
	ground2 := pick(r, c.Channels, 60, 110, ground)
	ink := pick(r, c.Channels, 150, math.Inf(1), ground, ground2)
	// Five to ten periods across, but none shorter than four pixels.
	period := max(short/uniform(r, 5, 10), 4)
	c.fill(ground, ground2, newPattern(kind, r, period, uniform(r, -0.2, 0.2), c.Shape))

	// Letters stand below each other, so that mirroring does not change their
	// order. The column is scaled as a whole to 55 to 85 % of the image.
	face := d.faces[r.IntN(len(d.faces))]
	const gap = 0.15
	tall := float64(len(word)) + gap*float64(len(word)-1)
	size := uniform(r, 0.55, 0.85) * min(h/tall, w)
	angle := uniform(r, -0.25, 0.25)
	shear := uniform(r, -0.15, 0.15)
	sin, cos := math.Sincos(angle)
	reachX := (math.Abs(sin)*tall + cos) * size / 2
	reachY := (cos*tall + math.Abs(sin)) * size / 2
	dx, dy := max(0, w/2-reachX), max(0, h/2-reachY)
	x, y := w/2+uniform(r, -dx, dx), h/2+uniform(r, -dy, dy)
	d.pen.begin()
	for k := range len(word) {
		off := (float64(k)*(1+gap) + 0.5 - tall/2) * size
		d.pen.add(face[rune(word[k])], pose(size, size, shear, angle, x-sin*off, y+cos*off))
	}
	c.paint(d.pen.end(), ink)
	c.noise(r, uniform(r, 0, 12))
	return lab
}
