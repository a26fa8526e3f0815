package watch

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"

	"crema/graph"
	"crema/tensor"
)

const (
	maxFilters = 256  // in one picture
	maxInputs  = 8    // pictures of a batch
	maxSide    = 160  // of such a picture, in pixels
	tileSide   = 28   // filters smaller than this are enlarged
	maxGrid    = 1600 // width of the grid of filters, in pixels
)

// A painter makes pictures of a net.
type painter struct {
	filters *filters
	inputs  *inputs
	labels  *labels
}

// newPainter finds out what can be seen of a net.
func newPainter(net *graph.Net, path func(string) string) *painter {
	in, labels := findInputs(net, path)
	return &painter{findFilters(net), in, labels}
}

// paint makes the pictures of iteration iter.
func (p *painter) paint(iter int) *Pictures {
	out := &Pictures{Iter: iter}
	if p.filters != nil {
		out.Filters = p.filters.paint()
	}
	if p.inputs != nil {
		out.Inputs = p.inputs.paint()
	}
	if p.labels != nil {
		out.Labels = p.labels.paint()
	}
	return out
}

// filters are the weights of the first layer that looks at pixels: n of them,
// each c×h×w.
type filters struct {
	layer      string
	weight     *tensor.Blob
	n, c, h, w int
}

// findFilters returns the filters of the first convolution or, if a fully
// connected layer comes before it, that one's weights, which have the shape of
// what it reads. nil if there are neither.
func findFilters(net *graph.Net) *filters {
	for _, l := range net.Layers() {
		if l.Type != "Convolution" && l.Type != "InnerProduct" {
			continue
		}
		f := &filters{layer: l.Name, weight: l.Layer.Params()[0]}
		switch in := l.Bottoms[0]; {
		case l.Type == "Convolution" && f.weight.Axes() == 4:
			f.n, f.c, f.h, f.w = f.weight.Dim(0), f.weight.Dim(1), f.weight.Dim(2), f.weight.Dim(3)
		case l.Type == "InnerProduct" && in.Axes() == 4 && in.CountFrom(1) == f.weight.CountFrom(1) &&
			!l.Param.GetInnerProductParam().GetTranspose():
			f.n, f.c, f.h, f.w = f.weight.Dim(0), in.Dim(1), in.Dim(2), in.Dim(3)
		default:
			return nil
		}
		if f.h > maxSide || f.w > maxSide {
			return nil
		}
		if f.c != 1 && f.c != 3 {
			// Each channel by itself, in grey.
			f.n, f.c = f.n*f.c, 1
		}
		f.n = min(f.n, maxFilters)
		return f
	}
	return nil
}

func (f *filters) paint() *Picture {
	scale := max(1, tileSide/max(f.h, f.w))
	th, tw := f.h*scale+1, f.w*scale+1
	cols := max(1, min(f.n, maxGrid/tw, int(math.Ceil(math.Sqrt(1.6*float64(f.n*th)/float64(tw))))))
	rows := (f.n + cols - 1) / cols
	m := image.NewNRGBA(image.Rect(0, 0, cols*tw+1, rows*th+1))
	v := f.weight.Values()
	size := f.c * f.h * f.w
	for i := range f.n {
		x0, y0 := i%cols*tw+1, i/cols*th+1
		w := v[i*size : (i+1)*size]
		low, high := extent(w)
		draw(m.SubImage(image.Rect(x0, y0, x0+tw-1, y0+th-1)).(*image.NRGBA), w, f.c, f.h, f.w,
			func(_ int, x float32) float32 { return 255 * (x - low) / (high - low) })
	}
	return encode(m, fmt.Sprintf("filters of %s", f.layer))
}

// extent returns the smallest and the largest finite value of v, which it makes
// different.
func extent(v []float32) (low, high float32) {
	low, high = math.MaxFloat32, -math.MaxFloat32
	for _, x := range v {
		if x-x == 0 {
			low, high = min(low, x), max(high, x)
		}
	}
	if low >= high {
		return low - 1, low + 1
	}
	return low, high
}

// draw fills m with the picture in v, of c planes (1, or blue, green and red)
// of h×w pixels, taking the nearest pixel. level maps a value of a plane to
// 0…255.
func draw(m *image.NRGBA, v []float32, c, h, w int, level func(plane int, x float32) float32) {
	b := m.Bounds()
	at := func(plane, i int) uint8 {
		x := level(plane, v[plane*h*w+i])
		if !(x > 0) {
			return 0
		}
		return uint8(min(x+0.5, 255))
	}
	for y := range b.Dy() {
		for x := range b.Dx() {
			i := y*h/b.Dy()*w + x*w/b.Dx()
			p := color.NRGBA{A: 255}
			if c == 3 {
				p.B, p.G, p.R = at(0, i), at(1, i), at(2, i)
			} else {
				p.R = at(0, i)
				p.G, p.B = p.R, p.R
			}
			m.SetNRGBA(b.Min.X+x, b.Min.Y+y, p)
		}
	}
}

// encode returns m as a PNG file.
func encode(m *image.NRGBA, title string) *Picture {
	var b bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := e.Encode(&b, m); err != nil {
		panic("watch: a picture of this size cannot be encoded: " + err.Error())
	}
	return &Picture{Title: title, Width: m.Rect.Dx(), Height: m.Rect.Dy(), PNG: b.Bytes()}
}
