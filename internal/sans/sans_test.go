package sans

import (
	"bytes"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// All text names fonts that take its place where Liberation Sans is missing.
func TestWriteSVG(t *testing.T) {
	c := vgsvg.New(100, 50)
	for _, bold := range []bool{false, true} {
		f := Font(12, bold)
		c.FillString(Cache.Lookup(f, f.Size), vg.Point{X: 10, Y: 10}, "text")
	}
	var b bytes.Buffer
	if err := WriteSVG(&b, c); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	if all, with := strings.Count(s, "font-family:"), strings.Count(s, "font-family:Liberation Sans,Arial,Helvetica,sans-serif"); all != 2 || with != 2 {
		t.Errorf("%d texts, %d with other fonts, want 2 and 2:\n%s", all, with, s)
	}
	if strings.Count(s, "font-weight:bold") != 1 {
		t.Errorf("want one bold text:\n%s", s)
	}
}

// Both weights have faces of their own.
func TestFont(t *testing.T) {
	regular, bold := Cache.Lookup(Font(12, false), 12), Cache.Lookup(Font(12, true), 12)
	if r, b := regular.Width("weights"), bold.Width("weights"); !(b > r && r > 0) {
		t.Errorf("widths %v and, bold, %v", r, b)
	}
}
