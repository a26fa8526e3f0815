package watch

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"

	"crema/graph"
	"crema/prototxt"
	"crema/prototxt/caffepb"
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
}

// newPainter finds out what can be seen of a net.
func newPainter(net *graph.Net, path func(string) string) *painter {
	return &painter{findFilters(net), findInputs(net, path)}
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

// inputs are the images that the net reads.
type inputs struct {
	top   *tensor.Blob
	scale float32
	mean  []float32 // of each channel, nil for 0
}

// findInputs returns the first blob of images that no layer computed, nil if
// there is none.
func findInputs(net *graph.Net, path func(string) string) *inputs {
	for _, l := range net.Layers() {
		if !graph.IsSource(l.Param) || len(l.Tops) == 0 || l.Tops[0].Axes() != 4 {
			continue
		}
		p := l.Param.GetTransformParam()
		in := &inputs{top: l.Tops[0], scale: p.GetScale(), mean: p.GetMeanValue()}
		if f := p.GetMeanFile(); f != "" {
			in.mean = channelMeans(path(f), in.top.Dim(1))
		}
		return in
	}
	return nil
}

// channelMeans returns the mean of each channel of the mean image in a file;
// nil if it cannot be read as such: pictures are then stretched.
func channelMeans(path string, channels int) []float32 {
	var b caffepb.BlobProto
	if err := prototxt.ReadBinary(path, &b); err != nil || channels < 1 || len(b.Data) == 0 || len(b.Data)%channels != 0 {
		return nil
	}
	n := len(b.Data) / channels
	means := make([]float32, channels)
	for c := range means {
		var sum float64
		for _, v := range b.Data[c*n : (c+1)*n] {
			sum += float64(v)
		}
		means[c] = float32(sum / float64(n))
	}
	return means
}

// meanOf returns the mean that was subtracted from a channel.
func (in *inputs) meanOf(channel int) float32 {
	switch len(in.mean) {
	case 0:
		return 0
	case 1:
		return in.mean[0]
	}
	return in.mean[min(channel, len(in.mean)-1)]
}

func (in *inputs) paint() []Picture {
	t := in.top
	n, c, h, w := min(t.Dim(0), maxInputs), t.Dim(1), t.Dim(2), t.Dim(3)
	if n*c*h*w == 0 {
		return nil
	}
	all := t.Values()[:n*c*h*w]
	// Undo scale and mean; what then is not in the range of pixels was no
	// picture of bytes.
	scale := in.scale
	level := func(plane int, x float32) float32 { return x/scale + in.meanOf(plane) }
	low, high := extent(all)
	const slack = 64 // a mean image is darker or lighter in places than its mean
	if lo, hi := level(0, low), level(0, high); !(lo >= -slack && hi <= 255+slack && hi-lo > 16) {
		level = func(_ int, x float32) float32 { return 255 * (x - low) / (high - low) }
	}
	planes := 3
	if c != 3 {
		planes = 1
	}
	shrink := max(1, float64(max(h, w))/maxSide)
	var out []Picture
	for i := range n {
		m := image.NewNRGBA(image.Rect(0, 0, max(1, int(float64(w)/shrink)), max(1, int(float64(h)/shrink))))
		draw(m, all[i*c*h*w:(i+1)*c*h*w], planes, h, w, level)
		out = append(out, *encode(m, fmt.Sprintf("input %d", i)))
	}
	return out
}
