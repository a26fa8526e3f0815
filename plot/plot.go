package plot

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"crema/internal/sans"

	gplot "gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A Chart is one chart with its lines. Beside Series, every field's zero value
// is a sensible default.
type Chart struct {
	Title, XLabel, YLabel string
	// LogX and LogY make an axis logarithmic; values that are not above 0 are
	// then gaps.
	LogX, LogY bool
	// XNames names the positions 0, 1, 2 … of the x axis in place of numbers.
	XNames []string
	// YMin and YMax limit the y axis where YMin < YMax; otherwise it spans the
	// data. Lines are cut off at the limits.
	YMin, YMax float64
	// Series are the lines, drawn in this order.
	Series []Series
	// Levels are horizontal lines for reference.
	Levels []Level
	// Width and Height are in pixels; 0 means 800 and 500.
	Width, Height int
}

// A Series is one line.
type Series struct {
	// Name stands in the legend; a series without one is not listed.
	Name string
	// X and Y are the points; a nil X means 0, 1, 2 …
	X, Y []float64
	// Points marks every point.
	Points bool
	// Dashed breaks the line up, Faint draws it thin and pale (raw values
	// behind their smoothed ones).
	Dashed, Faint bool
	// Color is 1 more than the index of one of the chart's colours; 0 takes the
	// next one that no earlier series took by itself.
	Color int
}

// A Level is a horizontal line at Y that runs across the chart.
type Level struct {
	Name string
	Y    float64
}

// colors is the palette of Okabe and Ito ("Color Universal Design", 2008),
// without its yellow, which is too pale on white.
var colors = []color.RGBA{
	{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff},
	{0x56, 0xb4, 0xe9, 0xff}, {0xe6, 0x9f, 0x00, 0xff}, {0x50, 0x50, 0x50, 0xff},
}

// px is the length of a CSS pixel.
const px = vg.Inch / 96

// Save writes the chart to a file whose name ends in .svg or .png.
func (c *Chart) Save(path string) error { return SaveStack(path, []*Chart{c}) }

// CheckName reports whether Save can write a file of that name.
func CheckName(path string) error {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".svg", ".png":
		return nil
	}
	return fmt.Errorf("chart %s: the name must end in .svg or .png", path)
}

// WriteSVG writes the chart as an SVG document.
func (c *Chart) WriteSVG(w io.Writer) error { return writeSVG(w, []*Chart{c}) }

// WritePNG writes the chart as a PNG picture of Width × Height pixels.
func (c *Chart) WritePNG(w io.Writer) error { return writePNG(w, []*Chart{c}) }

func (c *Chart) size() (w, h vg.Length) {
	width, height := c.Width, c.Height
	if width <= 0 {
		width = 800
	}
	if height <= 0 {
		height = 500
	}
	return vg.Length(width) * px, vg.Length(height) * px
}

// draw draws the chart; raster says that the canvas is made of pixels.
func (c *Chart) draw(canvas draw.Canvas, raster bool) {
	p := gplot.New()
	c.style(p)
	lo, hi := c.rangeY()
	p.Y.Min, p.Y.Max = lo, hi
	xlo, xhi := c.rangeX()
	p.X.Min, p.X.Max = xlo, xhi
	legend := p.Legend
	p.Legend = gplot.NewLegend()
	for _, l := range c.Levels {
		if !c.shows(l.Y, c.LogY) || l.Y < lo || l.Y > hi {
			continue
		}
		line := &plotter.Line{XYs: plotter.XYs{{X: xlo, Y: l.Y}, {X: xhi, Y: l.Y}}}
		line.Color, line.Width = color.Gray{Y: 0x80}, 1*px
		line.Dashes = []vg.Length{2 * px, 3 * px}
		p.Add(line)
		if l.Name != "" {
			legend.Add(l.Name, line)
		}
	}
	next := 0
	for _, s := range c.Series {
		index := s.Color - 1
		if index < 0 {
			index = next
			next++
		}
		c.addSeries(p, &legend, &s, index, raster)
		// Adding widens the axes to all of the data.
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = xlo, xhi, lo, hi
	}
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Rectangle.Path())
	const margin = 10 * px
	area := draw.Crop(canvas, margin, -margin, margin, -margin)
	if box := legend.Rectangle(area).Size(); box.X > 0 {
		side := area
		side.Min.X = side.Max.X - box.X - margin
		side.Max.Y -= 24 * px
		area.Max.X = side.Min.X - margin
		legend.Draw(side)
	}
	p.BackgroundColor = nil
	p.Draw(area)
}

// style sets fonts, axes and the grid.
func (c *Chart) style(p *gplot.Plot) {
	handler := text.Plain{Fonts: sans.Cache}
	for _, s := range []*text.Style{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		s.Handler = handler
		s.Font = sans.Font(13*px, false)
		s.Color = color.Gray{Y: 0x30}
	}
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.XLabel, c.YLabel
	p.Title.TextStyle.Font = sans.Font(16*px, false)
	p.Title.Padding = 8 * px
	p.X.Padding, p.Y.Padding = 0, 0
	for _, a := range []*gplot.Axis{&p.X, &p.Y} {
		a.LineStyle.Color, a.Tick.LineStyle.Color = color.Gray{Y: 0x60}, color.Gray{Y: 0x60}
		a.Tick.Marker = numbers{}
	}
	if c.LogX {
		p.X.Scale, p.X.Tick.Marker = gplot.LogScale{}, decades{}
	}
	if c.LogY {
		p.Y.Scale, p.Y.Tick.Marker = gplot.LogScale{}, decades{}
	}
	if len(c.XNames) > 0 {
		p.X.Tick.Marker = names(c.XNames)
		p.X.Tick.Label.Rotation = math.Pi / 3
		p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = draw.XRight, draw.YCenter
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{Y: 0xe4}, color.Gray{Y: 0xe4}
	p.Add(grid)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding = 4 * px
	p.Legend.ThumbnailWidth = 22 * px
}

// shows reports whether an axis can show v.
func (c *Chart) shows(v float64, log bool) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (!log || v > 0)
}

func (s *Series) x(i int) float64 {
	if s.X == nil {
		return float64(i)
	}
	return s.X[i]
}

func (s *Series) len() int {
	if s.X == nil {
		return len(s.Y)
	}
	return min(len(s.X), len(s.Y))
}

// rangeX returns the limits of the x axis.
func (c *Chart) rangeX() (lo, hi float64) {
	if n := len(c.XNames); n > 0 {
		return -0.5, float64(n) - 0.5
	}
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, s := range c.Series {
		for i := range s.len() {
			if x := s.x(i); c.shows(x, c.LogX) {
				lo, hi = min(lo, x), max(hi, x)
			}
		}
	}
	return widen(lo, hi, c.LogX, 0)
}

// rangeY returns the limits of the y axis.
func (c *Chart) rangeY() (lo, hi float64) {
	if c.YMin < c.YMax && (!c.LogY || c.YMin > 0) {
		return c.YMin, c.YMax
	}
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, s := range c.Series {
		for i := range s.len() {
			if y := s.Y[i]; c.shows(y, c.LogY) && c.shows(s.x(i), c.LogX) {
				lo, hi = min(lo, y), max(hi, y)
			}
		}
	}
	for _, l := range c.Levels {
		if c.shows(l.Y, c.LogY) {
			lo, hi = min(lo, l.Y), max(hi, l.Y)
		}
	}
	return widen(lo, hi, c.LogY, 0.05)
}

// widen gives a range without extent some, and any range a margin on both
// sides, as a share of it.
func widen(lo, hi float64, log bool, margin float64) (float64, float64) {
	switch {
	case lo > hi && log:
		return 0.1, 1
	case lo > hi:
		return 0, 1
	}
	if log {
		lo, hi = math.Log10(lo), math.Log10(hi)
	}
	if hi-lo <= 1e-9*max(math.Abs(lo), math.Abs(hi), 1e-300) {
		d := 0.5
		if !log && lo != 0 {
			d = math.Abs(lo) / 2
		}
		lo, hi = lo-d, hi+d
	}
	d := margin * (hi - lo)
	lo, hi = lo-d, hi+d
	if log {
		// Within what a float64 can hold.
		return math.Pow(10, max(lo, -300)), math.Pow(10, min(hi, 300))
	}
	return lo, hi
}

// addSeries adds the runs of points without a gap, each a line of its own.
func (c *Chart) addSeries(p *gplot.Plot, legend *gplot.Legend, s *Series, index int, raster bool) {
	xlo, xhi, ylo, yhi := p.X.Min, p.X.Max, p.Y.Min, p.Y.Max
	hidden := func(v plotter.XY) bool { return v.X < xlo || v.X > xhi || v.Y < ylo || v.Y > yhi }
	style := draw.LineStyle{Color: colors[index%len(colors)], Width: 2 * px}
	if s.Dashed || !s.Faint && index >= len(colors) {
		style.Dashes = []vg.Length{7 * px, 4 * px}
	}
	if s.Faint {
		pale := colors[index%len(colors)]
		for _, v := range []*uint8{&pale.R, &pale.G, &pale.B} {
			*v = 255 - (255-*v)/3
		}
		style.Color, style.Width = pale, 1*px
	}
	glyph := draw.GlyphStyle{Color: style.Color, Radius: 3 * px, Shape: draw.CircleGlyph{}}
	if s.Name != "" {
		thumbs := []gplot.Thumbnailer{&plotter.Line{LineStyle: style}}
		if s.Points {
			thumbs = append(thumbs, &plotter.Scatter{GlyphStyle: glyph})
		}
		legend.Add(s.Name, thumbs...)
	}
	width, _ := c.size()
	columns := int(width / px)
	share := func(x float64) float64 { return p.X.Scale.Normalize(xlo, xhi, x) }
	var run plotter.XYs
	flush := func() {
		if len(run) == 0 {
			return
		}
		if !s.Points {
			run = thin(run, columns, share)
		}
		if parts := []plotter.XYs{run}; len(run) > 1 {
			if raster && style.Dashes == nil {
				parts = strokes(run)
			}
			for _, part := range parts {
				p.Add(&plotter.Line{XYs: part, LineStyle: style})
			}
		}
		if s.Points || len(run) == 1 {
			// gonum cuts off lines at the limits, but not marks.
			p.Add(&plotter.Scatter{XYs: slices.DeleteFunc(slices.Clone(run), hidden), GlyphStyle: glyph})
		}
		run = nil
	}
	for i := range s.len() {
		x, y := s.x(i), s.Y[i]
		if !c.shows(x, c.LogX) || !c.shows(y, c.LogY) {
			flush()
			continue
		}
		run = append(run, plotter.XY{X: x, Y: y})
	}
	flush()
}
