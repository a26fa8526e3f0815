package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// elements returns how many elements of a name the document has, after
// checking that it is well-formed.
func elements(t *testing.T, doc []byte, name string) int {
	t.Helper()
	n := 0
	for d := xml.NewDecoder(bytes.NewReader(doc)); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == name {
			n++
		}
	}
}

func svg(t *testing.T, c Chart) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// paths counts a chart's paths beyond those of the same chart without its
// series' points.
func paths(t *testing.T, c Chart) int {
	t.Helper()
	full := elements(t, svg(t, c), "path")
	bare := c
	bare.Series = nil
	bare.YMin, bare.YMax = c.rangeY()
	for _, s := range c.Series {
		s.Y = nil
		bare.Series = append(bare.Series, s)
	}
	if c.XNames == nil {
		lo, hi := c.rangeX()
		c := Series{X: []float64{lo, hi}, Y: []float64{math.NaN(), math.NaN()}}
		bare.Series = append(bare.Series, c)
	}
	return full - elements(t, svg(t, bare), "path")
}

func TestGaps(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name string
		log  bool
		y    []float64
		want int // lines, and marks of points that stand alone
	}{
		{"whole", false, []float64{1, 2, 3, 4}, 1},
		{"NaN in the middle", false, []float64{1, 2, nan, 3, 4}, 2},
		{"infinite at the ends", false, []float64{inf, 2, 3, math.Inf(-1)}, 1},
		{"a point alone", false, []float64{1, 2, nan, 3, nan, 4, 5}, 3},
		{"zero and below on a log axis", true, []float64{1, 2, 0, 3, 4, -1, 5, 6}, 3},
		{"zero on a linear axis", false, []float64{1, 0, -1}, 1},
		{"nothing finite", false, []float64{nan, inf}, 0},
		{"empty", true, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := paths(t, Chart{LogY: c.log, XNames: make([]string, 9), Series: []Series{{Y: c.y}}}); got != c.want {
				t.Errorf("%d lines and marks, want %d", got, c.want)
			}
		})
	}
}

func TestTextIsThere(t *testing.T) {
	c := Chart{Title: "signal & gradient", XLabel: "layer", YLabel: "RMS", LogY: true, XNames: []string{"conv1", "conv<2>", "fc"},
		Series: []Series{{Name: "signal", Y: []float64{1, 0.1, 0.01}}, {Name: "gradient", Y: []float64{1e-9, 1e-8, 1e-7}}},
		Levels: []Level{{Name: "ln(10)", Y: 2.3}}}
	doc := string(svg(t, c))
	for _, want := range []string{"signal &amp; gradient", ">layer<", ">RMS<", ">conv1<", "conv&lt;2&gt;", ">signal<", ">gradient<", ">ln(10)<", ">1e-08<", "Arial"} {
		if !strings.Contains(doc, want) {
			t.Errorf("no %q in the chart", want)
		}
	}
}

func TestPNG(t *testing.T) {
	c := Chart{Width: 320, Height: 200, Series: []Series{{Name: "a", Y: []float64{1, 3, 2}, Points: true}, {Y: []float64{3, 1, 2}, Faint: true}}}
	path := filepath.Join(t.TempDir(), "c.png")
	if err := c.Save(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	im, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if s := im.Bounds().Size(); s.X != 320 || s.Y != 200 {
		t.Errorf("picture of %v, want 320×200", s)
	}
	if r, g, b, a := im.At(1, 1).RGBA(); r != 0xffff || g != 0xffff || b != 0xffff || a != 0xffff {
		t.Error("the ground is not white")
	}
	var blue int
	for y := range 200 {
		for x := range 320 {
			if color.RGBAModel.Convert(im.At(x, y)) == color.Color(colors[0]) {
				blue++
			}
		}
	}
	if blue < 50 {
		t.Errorf("only %d pixels have the first line's colour", blue)
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"a.svg": true, "a.PNG": true, "a": false, "a.pdf": false, "svg": false} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := Chart{}
	if err := c.Save(filepath.Join(t.TempDir(), "missing", "a.svg")); err == nil || !strings.Contains(err.Error(), "a.svg") {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		name   string
		ticks  interface{ Labels(lo, hi float64) string }
		lo, hi float64
		want   string
	}{
		{"ones", labels{}, 0, 7.2, "0 1 2 3 4 5 6 7"},
		{"across zero", labels{}, -1, 1, "-1 -0.5 0 0.5 1"},
		{"thousands", labels{}, 0, 18000, "0 5000 10000 15000"},
		{"decades", labels{log: true}, 1e-3, 10, "0.001 0.01 0.1 1 10"},
		{"few decades", labels{log: true}, 0.9, 12, "1 2 5 10"},
		{"many decades", labels{log: true}, 1e-40, 1e5, "1e-40 1e-35 1e-30 1e-25 1e-20 1e-15 1e-10 1e-05 1 1e+05"},
		{"less than a decade", labels{log: true}, 2, 4, "2 2.5 3 3.5 4"},
		{"no range", labels{}, 1, 1, ""},
	} {
		if got := c.ticks.Labels(c.lo, c.hi); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

type labels struct{ log bool }

func (l labels) Labels(lo, hi float64) string {
	ticks := numbers{}.Ticks(lo, hi)
	if l.log {
		ticks = decades{}.Ticks(lo, hi)
	}
	var s []string
	for _, t := range ticks {
		if t.Label != "" {
			s = append(s, t.Label)
		}
	}
	return strings.Join(s, " ")
}

// TestExtremes checks that no data make a chart fail.
func TestExtremes(t *testing.T) {
	for _, y := range [][]float64{{0}, {5, 5, 5}, {1e-300, 1e300}, {-1e308, 1e308}, {1e-320, 1e-310}, {math.MaxFloat64}} {
		for _, log := range []bool{false, true} {
			c := Chart{LogY: log, Series: []Series{{Name: "a", Y: y}}}
			if err := c.WritePNG(io.Discard); err != nil {
				t.Errorf("%v: %v", y, err)
			}
			elements(t, svg(t, c), "path")
		}
	}
}

func TestLimits(t *testing.T) {
	c := Chart{YMin: 0, YMax: 3, Series: []Series{{Y: []float64{1, 2, 50, 1e9}, Points: true}}}
	if lo, hi := c.rangeY(); lo != 0 || hi != 3 {
		t.Errorf("limits %g and %g", lo, hi)
	}
	// A line that leaves at the top, and two marks.
	if got := paths(t, c); got != 3 {
		t.Errorf("%d lines and marks, want 3", got)
	}
}
