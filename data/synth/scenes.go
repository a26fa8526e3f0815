package synth

import (
	"fmt"
	"math"

	"crema/internal/rng"

	"golang.org/x/image/font/sfnt"
)

// IgnoreLabel is the value of pixels of a label image that belong to no class:
// those that an edge runs through. It is what Pascal VOC uses, and what
// ignore_label is set to.
const IgnoreLabel = 255

// sceneClasses are the classes of pixels. The first is what is no figure.
var sceneClasses = []string{"ground", "disc", "square", "triangle", "star", "cross", "ring"}

// MaxSceneClasses is the greatest number of classes of pixels.
var MaxSceneClasses = len(sceneClasses)

// Scenes are images of several figures, for nets that give each pixel a class.
type Scenes struct {
	shape   Shape
	classes int
	seed    uint64
	figures []*glyph // by class; the ground has none
}

// NewScenes returns a set of scenes: one to three figures of random bright
// colours, sizes, angles and places, one over the other, on a dark patterned
// ground. classes, with the ground, is 2 to MaxSceneClasses.
func NewScenes(shape Shape, classes int, seed uint64) (*Scenes, error) {
	if err := shape.Check(); err != nil {
		return nil, err
	}
	if classes < 2 || classes > MaxSceneClasses {
		return nil, fmt.Errorf("%d classes of pixels, must be 2 to %d", classes, MaxSceneClasses)
	}
	return &Scenes{shape, classes, seed, figures()}, nil
}

// Classes returns the number of classes of pixels; their labels are 0 to
// Classes()-1 and IgnoreLabel.
func (s *Scenes) Classes() int { return s.classes }

// ClassName returns the name of a class of pixels.
func (s *Scenes) ClassName(label int) string { return sceneClasses[label] }

// Images returns the pictures as a set. Whole pictures are of one class.
func (s *Scenes) Images() Set { return sceneImages{s} }

// Labels returns the label images: image i has one channel, and each pixel the
// label of that pixel of picture i.
func (s *Scenes) Labels() Set { return sceneLabels{s} }

type sceneImages struct{ *Scenes }

func (s sceneImages) Shape() Shape          { return s.shape }
func (s sceneImages) Classes() int          { return 1 }
func (s sceneImages) ClassName(int) string  { return "scene" }
func (s sceneImages) Label(string, int) int { return 0 }
func (s sceneImages) NewDrawer() Drawer     { return newSceneDrawer(s.Scenes, false) }

type sceneLabels struct{ *Scenes }

func (s sceneLabels) Shape() Shape          { return Shape{1, s.shape.Height, s.shape.Width} }
func (s sceneLabels) Classes() int          { return 1 }
func (s sceneLabels) ClassName(int) string  { return "labels" }
func (s sceneLabels) Label(string, int) int { return 0 }
func (s sceneLabels) NewDrawer() Drawer     { return newSceneDrawer(s.Scenes, true) }

// A sceneDrawer draws a picture and its labels together and hands out one.
type sceneDrawer struct {
	*Scenes
	pen    *pen
	labels bool
	other  []byte // for what is not handed out
}

func newSceneDrawer(s *Scenes, labels bool) *sceneDrawer {
	n := s.shape.Height * s.shape.Width
	if labels {
		n = s.shape.Bytes()
	}
	return &sceneDrawer{s, newPen(s.shape.Height, s.shape.Width), labels, make([]byte, n)}
}

func (d *sceneDrawer) Draw(split string, i int, pix []byte) int {
	picture, labels := pix, d.other
	if d.labels {
		picture, labels = d.other, pix
	}
	r := rng.New(d.seed, "scenes/"+split, uint64(i))
	c := canvas{d.shape, picture}
	h, w := float64(c.Height), float64(c.Width)
	short := min(h, w)
	// The ground is dark and figures are bright, so that the shape is what is
	// hard to learn.
	ground := pick(r, c.Channels, 0, math.Inf(1)).squeeze(0, 110)
	ground2 := pick(r, c.Channels, 0, math.Inf(1)).squeeze(0, 110)
	period := max(short/uniform(r, 4, 8), 4)
	c.fill(ground, ground2, newPattern(r.IntN(len(patternNames)), r, period, uniform(r, 0, math.Pi), c.Shape))
	clear(labels)
	for range 1 + r.IntN(3) {
		class := 1 + r.IntN(d.classes-1)
		size := short * uniform(r, 0.4, 0.8)
		d.pen.begin()
		d.pen.add(d.figures[class], pose(size, size, 0, uniform(r, 0, 2*math.Pi), uniform(r, w/8, w*7/8), uniform(r, h/8, h*7/8)))
		mask := d.pen.end()[:len(labels)]
		c.paint(mask, pick(r, c.Channels, 0, math.Inf(1)).squeeze(145, 255))
		for p, cover := range mask {
			switch {
			case cover > 250:
				labels[p] = byte(class)
			case cover > 5:
				labels[p] = IgnoreLabel
			}
		}
	}
	c.noise(r, uniform(r, 0, 12))
	return 0
}

// squeeze maps 0 to 255 to lo to hi.
func (a colour) squeeze(lo, hi float32) colour {
	for k := range a {
		a[k] = lo + a[k]*(hi-lo)/255
	}
	return a
}

// figures makes the outlines of sceneClasses.
func figures() []*glyph {
	corners := func(n int, phase float64, radius ...float64) []point {
		p := make([]point, n)
		for i := range p {
			sin, cos := math.Sincos(phase + 2*math.Pi*float64(i)/float64(n))
			r := radius[i%len(radius)]
			p[i] = point{float32(r * cos), float32(r * sin)}
		}
		return p
	}
	cross := []point{{-1, -3}, {1, -3}, {1, -1}, {3, -1}, {3, 1}, {1, 1}, {1, 3}, {-1, 3}, {-1, 1}, {-3, 1}, {-3, -1}, {-1, -1}}
	for i := range cross {
		cross[i].x /= 6
		cross[i].y /= 6
	}
	// A hole goes round the other way.
	hole := corners(48, 0, 0.28)
	for i := range hole {
		hole[i].y = -hole[i].y
	}
	return []*glyph{
		nil,
		outline(corners(48, 0, 0.5)),
		outline(corners(4, math.Pi/4, math.Sqrt2/2*0.9)),
		outline(corners(3, -math.Pi/2, 0.6)),
		outline(corners(10, -math.Pi/2, 0.55, 0.23)),
		outline(cross),
		outline(corners(48, 0, 0.5), hole),
	}
}

// outline makes a figure of closed polygons, about the origin and of about
// unit size.
func outline(polygons ...[]point) *glyph {
	g := &glyph{width: 1, height: 1}
	for _, p := range polygons {
		for i, q := range p {
			op := sfnt.SegmentOpLineTo
			if i == 0 {
				op = sfnt.SegmentOpMoveTo
			}
			g.segments = append(g.segments, segment{op: op, p: [3]point{q}})
		}
	}
	return g
}
