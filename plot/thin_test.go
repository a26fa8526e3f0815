package plot

import (
	"bytes"
	"image/png"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/plot/plotter"
)

// TestThin checks on noisy curves that what is dropped lies within the column's
// extent and that what is kept are points of the line in their order.
func TestThin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 19, 20, 21, 1000, 5000} {
		const columns = 10
		line := make(plotter.XYs, n)
		for i := range line {
			line[i] = plotter.XY{X: float64(i), Y: r.NormFloat64()}
		}
		at := func(x float64) float64 { return x / float64(n) }
		got := thin(line, columns, at)
		if n <= 2*columns && !slices.Equal(got, line) {
			t.Errorf("%d points: changed, though few", n)
		}
		if len(got) > 4*columns && n > 2*columns {
			t.Errorf("%d points: %d are left", n, len(got))
		}
		extent := func(l plotter.XYs, c int) (lo, hi float64) {
			lo, hi = math.Inf(1), math.Inf(-1)
			for _, p := range l {
				if int(at(p.X)*columns) == c {
					lo, hi = min(lo, p.Y), max(hi, p.Y)
				}
			}
			return lo, hi
		}
		for c := range columns {
			lo, hi := extent(line, c)
			if glo, ghi := extent(got, c); glo != lo || ghi != hi {
				t.Errorf("%d points, column %d: from %v to %v, want %v to %v", n, c, glo, ghi, lo, hi)
			}
		}
		if !slices.IsSortedFunc(got, func(a, b plotter.XY) int { return int(a.X - b.X) }) {
			t.Errorf("%d points: out of order", n)
		}
	}
}

func TestStrokes(t *testing.T) {
	for _, n := range []int{1, 2, strokePoints, strokePoints + 1, 10*strokePoints + 3} {
		line := make(plotter.XYs, n)
		for i := range line {
			line[i].X = float64(i)
		}
		whole := plotter.XYs{line[0]}
		for i, part := range strokes(line) {
			if len(part) > strokePoints || len(part) < 2 && n > 1 {
				t.Errorf("%d points: part %d has %d", n, i, len(part))
			}
			if part[0] != whole[len(whole)-1] {
				t.Errorf("%d points: part %d does not begin where the one before ends", n, i)
			}
			whole = append(whole, part[1:]...)
		}
		if !slices.Equal(whole, line) {
			t.Errorf("%d points: the parts are not the line", n)
		}
	}
}

// TestThinPicture draws a noisy curve of very many points, which must look as
// one of the points that its columns of pixels can show.
func TestThinPicture(t *testing.T) {
	draw := func(y []float64) []byte {
		var b bytes.Buffer
		c := Chart{Series: []Series{{Y: y}}, YMin: -5, YMax: 5, Width: 300, Height: 200}
		if err := c.WritePNG(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	r := rand.New(rand.NewPCG(3, 4))
	y := make([]float64, 100_000)
	for i := range y {
		y[i] = math.Max(-4, math.Min(4, r.NormFloat64()))
	}
	img, err := png.Decode(bytes.NewReader(draw(y)))
	if err != nil {
		t.Fatal(err)
	}
	// In the middle, from -2 to 2, all is the line's colour.
	for px := 100; px < 250; px += 10 {
		for py := 70; py < 120; py += 10 {
			if r, g, b, _ := img.At(px, py).RGBA(); uint8(r>>8) != colors[0].R || uint8(g>>8) != colors[0].G || uint8(b>>8) != colors[0].B {
				t.Fatalf("pixel %d,%d is not of the line", px, py)
			}
		}
	}
}
