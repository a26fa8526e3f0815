package netdraw

import (
	"cmp"
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"crema/internal/atomicfile"
	"crema/internal/sans"
	"crema/netinfo"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Direction says where the ranks of a drawing follow each other to, in
// graphviz' words.
type Direction string

// The directions.
const (
	TopBottom Direction = "TB"
	BottomTop Direction = "BT"
	LeftRight Direction = "LR"
	RightLeft Direction = "RL"
)

// ParseDirection reads one of graphviz' names of directions.
func ParseDirection(s string) (Direction, error) {
	switch d := Direction(strings.ToUpper(s)); d {
	case TopBottom, BottomTop, LeftRight, RightLeft:
		return d, nil
	}
	return "", fmt.Errorf("%q is no direction: must be TB, BT, LR or RL", s)
}

// CheckName reports whether Save can write a file of that name.
func CheckName(path string) error {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".svg", ".png", ".dot", ".gv":
		return nil
	}
	return fmt.Errorf("drawing %s: the name must end in .svg, .png, .dot or .gv", path)
}

// Save draws a net to a file, of the kind that its name says. The file appears
// whole or not at all.
func Save(path string, i *netinfo.Info, dir Direction) error {
	if err := CheckName(path); err != nil {
		return err
	}
	write := WriteSVG
	switch strings.ToLower(filepath.Ext(path)) {
	case ".png":
		write = WritePNG
	case ".dot", ".gv":
		write = WriteDot
	}
	if err := atomicfile.Write(path, func(w io.Writer) error { return write(w, i, dir) }); err != nil {
		return fmt.Errorf("drawing %s: %w", path, err)
	}
	return nil
}

// WriteSVG draws a net as an SVG document.
func WriteSVG(w io.Writer, i *netinfo.Info, dir Direction) error {
	p := newPicture(newDiagram(i), dir)
	c := vgsvg.New(vg.Length(p.width)*px, vg.Length(p.height)*px)
	p.draw(c)
	return sans.WriteSVG(w, c)
}

// maxPixels limits the memory that a PNG picture takes.
const maxPixels = 1 << 28

// WritePNG draws a net as a PNG picture. One that would be too large is an
// error.
func WritePNG(w io.Writer, i *netinfo.Info, dir Direction) error {
	p := newPicture(newDiagram(i), dir)
	if p.width*p.height > maxPixels {
		return fmt.Errorf("the picture would have %.0f×%.0f pixels: write an .svg file instead", p.width, p.height)
	}
	c := vgimg.NewWith(vgimg.UseWH(vg.Length(p.width)*px, vg.Length(p.height)*px), vgimg.UseDPI(96))
	p.draw(c)
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(w)
	return err
}

// px is the length of a CSS pixel; all sizes here are in pixels.
const px = vg.Inch / 96

const (
	textSize   = 12.0
	lineHeight = 16.0
	padding    = 9.0
	margin     = 24.0
	titleSize  = 18.0
	titleSpace = 52.0
	rankGap    = 38.0
	arrow      = 7.0
)

// face returns the font of a size.
func face(size float64, bold bool) font.Face {
	f := sans.Font(vg.Length(size)*px, bold)
	return sans.Cache.Lookup(f, f.Size)
}

// textWidth returns how wide a text is.
func textWidth(s string, size float64, bold bool) float64 {
	f := face(size, bold)
	return float64(f.Width(s) / px)
}

// A picture is a diagram with the places of everything, in pixels from the top
// left corner.
type picture struct {
	d             *diagram
	l             *layout
	dir           Direction
	width, height float64
	boxes         map[*box]rect
	// begin and end are where each rank begins and ends along its direction.
	begin, end []float64
	shift      float64 // from positions across to pixels
}

type rect struct{ x, y, w, h float64 }

type point struct{ x, y float64 }

// sideways reports whether ranks follow each other to the left or right.
func (p *picture) sideways() bool { return p.dir == LeftRight || p.dir == RightLeft }

func newPicture(d *diagram, dir Direction) *picture {
	p := &picture{d: d, dir: dir, boxes: map[*box]rect{}}
	for _, b := range d.boxes {
		r := rect{h: lineHeight*float64(len(b.lines)) + 2*padding}
		for _, t := range b.lines {
			r.w = max(r.w, textWidth(t.text, textSize, t.bold)+2*padding)
		}
		p.boxes[b] = r
	}
	across := func(b *box) float64 {
		if p.sideways() {
			return p.boxes[b].h
		}
		return p.boxes[b].w
	}
	along := func(b *box) float64 { return p.boxes[b].w + p.boxes[b].h - across(b) }
	p.l = newLayout(d, across)

	least, most := math.Inf(1), math.Inf(-1)
	at := 0.0
	for _, rank := range p.l.ranks {
		thick := 0.0
		for _, n := range rank {
			least, most = min(least, n.at-n.size/2), max(most, n.at+n.size/2)
			if n.box != nil {
				thick = max(thick, along(n.box))
			}
		}
		p.begin, p.end = append(p.begin, at), append(p.end, at+thick)
		at += thick + rankGap
	}
	if len(p.l.ranks) == 0 {
		least, most, at = 0, 0, rankGap
	}
	length, breadth := at-rankGap, most-least
	p.shift = -least
	p.width, p.height = breadth, length
	if p.sideways() {
		p.width, p.height = length, breadth
	}
	// Titles may be wider than the net.
	head := max(textWidth(d.title, titleSize, true), textWidth(d.subtitle, textSize, false))
	if spare := head - p.width; spare > 0 {
		if !p.sideways() {
			p.shift += spare / 2
		}
		p.width = head
	}
	p.width, p.height = math.Ceil(p.width+2*margin), math.Ceil(p.height+2*margin+titleSpace)
	for b, r := range p.boxes {
		n := p.l.nodes[b]
		// In the middle of the rank's thickness.
		mid := p.at((p.begin[b.rank]+p.end[b.rank])/2, n.at)
		p.boxes[b] = rect{mid.x - r.w/2, mid.y - r.h/2, r.w, r.h}
	}
	return p
}

// at returns the pixel at a distance along the direction of ranks and a position
// across it.
func (p *picture) at(along, across float64) point {
	across += p.shift + margin
	length := p.end[len(p.end)-1]
	if p.dir == BottomTop || p.dir == RightLeft {
		along = length - along
	}
	if p.sideways() {
		return point{along + margin, across + titleSpace}
	}
	return point{across, along + margin + titleSpace}
}

// side returns how far along the box's near and far sides are.
func (p *picture) side(b *box) (near, far float64) {
	r := p.boxes[b]
	thick := r.h
	if p.sideways() {
		thick = r.w
	}
	mid := (p.begin[b.rank] + p.end[b.rank]) / 2
	return mid - thick/2, mid + thick/2
}

// pen draws with pixels from the top left corner.
type pen struct {
	c      vg.Canvas
	height float64
}

func (q pen) pt(p point) vg.Point {
	return vg.Point{X: vg.Length(p.x) * px, Y: vg.Length(q.height-p.y) * px}
}

func (q pen) text(at point, s string, size float64, bold bool) {
	q.c.FillString(face(size, bold), q.pt(at), s)
}

var (
	ink   = color.Gray{Y: 0x20}
	faint = color.Gray{Y: 0x60}
)

func (p *picture) draw(c vg.Canvas) {
	q := pen{c, p.height}
	c.SetColor(color.White)
	c.Fill(q.box(rect{0, 0, p.width, p.height}))
	c.SetColor(ink)
	q.text(point{margin, margin + 14}, p.d.title, titleSize, true)
	c.SetColor(faint)
	q.text(point{margin, margin + 34}, p.d.subtitle, textSize, false)
	for _, w := range p.d.wires {
		p.drawWire(q, w)
	}
	for _, b := range p.d.boxes {
		r := p.boxes[b]
		rgb := colors[b.kind]
		c.SetColor(color.RGBA{rgb[0], rgb[1], rgb[2], 0xff})
		c.Fill(q.box(r))
		c.SetColor(faint)
		c.SetLineWidth(0.8 * px)
		c.Stroke(q.box(r))
		c.SetColor(ink)
		for i, t := range b.lines {
			q.text(point{r.x + padding, r.y + padding + lineHeight*(float64(i)+0.75)}, t.text, textSize, t.bold)
		}
	}
}

func (q pen) box(r rect) vg.Path {
	var path vg.Path
	path.Move(q.pt(point{r.x, r.y}))
	path.Line(q.pt(point{r.x + r.w, r.y}))
	path.Line(q.pt(point{r.x + r.w, r.y + r.h}))
	path.Line(q.pt(point{r.x, r.y + r.h}))
	path.Close()
	return path
}

// drawWire draws a blob's lines: a trunk through its places, and from it a
// branch to each reader.
func (p *picture) drawWire(q pen, w *wire) {
	if len(w.to) == 0 {
		return
	}
	q.c.SetColor(faint)
	q.c.SetLineWidth(1.1 * px)
	from := p.l.nodes[w.from]
	_, far := p.side(w.from)
	// at and end are where the trunk is, across and along, behind each rank. Lines
	// bend only between ranks, where there are no boxes.
	at, end := []float64{from.at + p.port(w.from, w.from.out, w)}, []float64{p.end[w.from.rank]}
	p.curve(q, far, at[0], end[0], at[0])
	for _, n := range p.l.places[w] {
		p.curve(q, end[len(end)-1], at[len(at)-1], p.begin[n.rank], n.at)
		p.curve(q, p.begin[n.rank], n.at, p.end[n.rank], n.at)
		at, end = append(at, n.at), append(end, p.end[n.rank])
	}
	for _, b := range w.to {
		i := b.rank - 1 - w.from.rank
		near, _ := p.side(b)
		x := p.l.nodes[b].at + p.inPort(b, w)
		begin := min(p.begin[b.rank], near-arrow)
		p.curve(q, end[i], at[i], begin, x)
		p.curve(q, begin, x, near-arrow, x)
		p.arrow(q, near, x)
	}
	if len(w.from.out) > 1 {
		// Which of the box's tops this is.
		start := p.at(far, at[0])
		q.text(point{start.x + 4, start.y + 13}, w.blob, textSize-2, false)
	}
}

// curve draws a line that leaves and arrives in the direction of the ranks.
func (p *picture) curve(q pen, from, x0, to, x1 float64) {
	if from == to {
		return
	}
	var path vg.Path
	path.Move(q.pt(p.at(from, x0)))
	if math.Abs(x0-x1) < 0.5 {
		path.Line(q.pt(p.at(to, x1)))
	} else {
		mid := (from + to) / 2
		path.CubeTo(q.pt(p.at(mid, x0)), q.pt(p.at(mid, x1)), q.pt(p.at(to, x1)))
	}
	q.c.Stroke(path)
}

// arrow draws the head of an arrow whose tip is at a box.
func (p *picture) arrow(q pen, tip, x float64) {
	var path vg.Path
	path.Move(q.pt(p.at(tip, x)))
	path.Line(q.pt(p.at(tip-arrow, x-arrow/2)))
	path.Line(q.pt(p.at(tip-arrow, x+arrow/2)))
	path.Close()
	q.c.Fill(path)
}

// port returns where on a box's side one of several wires has its end, from the
// middle.
func (p *picture) port(b *box, all []*wire, w *wire) float64 {
	n := float64(len(all))
	i := float64(slices.Index(all, w))
	return (i - (n-1)/2) * p.l.nodes[b].size / (n + 1)
}

// inPort is port for a wire that ends at the box; those from the left come in at
// the left.
func (p *picture) inPort(b *box, w *wire) float64 {
	sorted := slices.Clone(b.in)
	slices.SortStableFunc(sorted, func(x, y *wire) int { return cmp.Compare(p.lastAt(x, b), p.lastAt(y, b)) })
	return p.port(b, sorted, w)
}

// lastAt returns where the wire is across in the rank before the box.
func (p *picture) lastAt(w *wire, b *box) float64 {
	if i := b.rank - 2 - w.from.rank; i >= 0 {
		return p.l.places[w][i].at
	}
	return p.l.nodes[w.from].at
}
