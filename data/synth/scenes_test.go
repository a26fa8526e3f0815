package synth

import (
	"math"
	"strings"
	"testing"
)

// TestScenes checks what label images hold, and that they are of the pictures:
// across the edge of a label the picture changes more than elsewhere.
func TestScenes(t *testing.T) {
	shape := Shape{3, 64, 80}
	s, err := NewScenes(shape, MaxSceneClasses, 3)
	if err != nil {
		t.Fatal(err)
	}
	n := shape.Height * shape.Width
	count := make([]int, 256)
	var edge, inside, otherEdge, otherInside mean
	var before []byte
	for i := range 50 {
		pix, _ := drawOne(s.Images(), "train", i)
		lab, _ := drawOne(s.Labels(), "train", i)
		for _, l := range lab {
			if int(l) >= s.Classes() && l != IgnoreLabel {
				t.Fatalf("scene %d: label %d", i, l)
			}
			count[l]++
		}
		steps(shape, pix, lab, &edge, &inside)
		if before != nil {
			steps(shape, pix, before, &otherEdge, &otherInside)
		}
		before = lab
	}
	for class := range s.Classes() {
		share := float64(count[class]) / float64(50*n)
		if lo, hi := 0.01, 0.15; class == 0 && (share < 0.5 || share > 0.75) || class > 0 && (share < lo || share > hi) {
			t.Errorf("%s has %.3f of the pixels", s.ClassName(class), share)
		}
	}
	if share := float64(count[IgnoreLabel]) / float64(50*n); share < 0.02 || share > 0.15 {
		t.Errorf("%.3f of the pixels are to be ignored", share)
	}
	if edge.value() < 2*inside.value() {
		t.Errorf("pictures change by %.1f levels across edges, by %.1f elsewhere", edge.value(), inside.value())
	}
	if otherEdge.value() > 1.2*otherInside.value() {
		t.Errorf("this test sees edges of other pictures too: %.1f, %.1f levels", otherEdge.value(), otherInside.value())
	}
}

type mean struct{ sum, n float64 }

func (m *mean) add(v float64)  { m.sum, m.n = m.sum+v, m.n+1 }
func (m *mean) value() float64 { return m.sum / m.n }

// steps adds how much the picture changes over two pixels of different labels
// with an ignored one between, and over those with one label in all three.
func steps(shape Shape, pix, lab []byte, edge, inside *mean) {
	n := shape.Height * shape.Width
	for y := range shape.Height {
		for x := 2; x < shape.Width; x++ {
			p := y*shape.Width + x
			d := 0.0
			for k := range shape.Channels {
				d += math.Abs(float64(pix[k*n+p]) - float64(pix[k*n+p-2]))
			}
			switch a, b, c := lab[p-2], lab[p-1], lab[p]; {
			case a == IgnoreLabel || c == IgnoreLabel:
			case a != c && b == IgnoreLabel:
				edge.add(d)
			case a == c && a == b:
				inside.add(d)
			}
		}
	}
}

func TestSceneClasses(t *testing.T) {
	shape := Shape{1, 32, 32}
	for _, n := range []int{-1, 0, 1, MaxSceneClasses + 1} {
		if _, err := NewScenes(shape, n, 1); err == nil || !strings.Contains(err.Error(), "classes of pixels") {
			t.Errorf("%d classes: %v", n, err)
		}
	}
	s, err := NewScenes(shape, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		lab, _ := drawOne(s.Labels(), "train", i)
		for _, l := range lab {
			if l > 1 && l != IgnoreLabel {
				t.Fatalf("label %d of two classes", l)
			}
		}
	}
}

// TestFigures checks the outlines' areas, which a hole or corner the wrong way
// round would change.
func TestFigures(t *testing.T) {
	const size = 200
	p := newPen(size, size)
	for class, want := range []float64{0, math.Pi / 4, 0.81, 0.468, 0.37, 5. / 9, math.Pi * (0.25 - 0.28*0.28)} {
		if class == 0 {
			continue
		}
		p.begin()
		p.add(figures()[class], pose(100, 100, 0, 0.3, size/2, size/2))
		sum := 0
		for _, m := range p.end() {
			sum += int(m)
		}
		if got := float64(sum) / 255 / 100 / 100; math.Abs(got-want) > 0.01 {
			t.Errorf("%s covers %.4f, want %.4f", sceneClasses[class], got, want)
		}
	}
}
