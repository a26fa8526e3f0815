package plot

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// TestStack: charts stand one below the other, each with all that it has alone.
func TestStack(t *testing.T) {
	a := &Chart{Title: "a", Series: []Series{{Y: []float64{1, 2}}}, Width: 300, Height: 200}
	b := &Chart{Title: "b", Series: []Series{{Y: []float64{2, 1}}}, Width: 400, Height: 150}
	dir := t.TempDir()
	path := filepath.Join(dir, "s.png")
	if err := SaveStack(path, []*Chart{a, b}); err != nil {
		t.Fatal(err)
	}
	f, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(bytes.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	if s := m.Bounds().Size(); s.X != 400 || s.Y != 350 {
		t.Errorf("%v, want 400×350", s)
	}
	var doc bytes.Buffer
	if err := writeSVG(&doc, []*Chart{a, b}); err != nil {
		t.Fatal(err)
	}
	both := elements(t, doc.Bytes(), "text")
	if one, two := elements(t, svg(t, *a), "text"), elements(t, svg(t, *b), "text"); both < one || both > one+two || both < one+two-4 {
		t.Errorf("%d texts, of %d and %d", both, one, two)
	}
	// The line of a goes up in the upper part, that of b down in the lower.
	blue := func(y0, y1, x0, x1 int) (mean float64) {
		n := 0
		for y := y0; y < y1; y++ {
			for x := x0; x < x1; x++ {
				if r, g, b, _ := m.At(x, y).RGBA(); b > 0x9000 && r < 0x6000 && g < 0x9000 {
					mean += float64(y)
					n++
				}
			}
		}
		return mean / float64(n)
	}
	if l, r := blue(0, 200, 0, 200), blue(0, 200, 200, 400); !(l > r) {
		t.Errorf("a: left at %v, right at %v", l, r)
	}
	if l, r := blue(200, 350, 0, 200), blue(200, 350, 200, 400); !(l < r) {
		t.Errorf("b: left at %v, right at %v", l, r)
	}
	if err := SaveStack(filepath.Join(dir, "s.pdf"), []*Chart{a}); err == nil {
		t.Error("a .pdf file: no error")
	}
}
