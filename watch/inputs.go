package watch

import (
	"fmt"
	"image"
	"image/color"
	"slices"

	"crema/graph"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

const (
	maxParts = 4 // of an image of many channels, side by side
	partGap  = 2 // pixels between them
)

// inputs are the images that the net reads.
type inputs struct {
	top   *tensor.Blob
	scale float32
	mean  []float32 // of each channel, nil for 0
}

// labels are images whose pixels are the numbers of classes.
type labels struct {
	top *tensor.Blob
}

// findInputs returns the first blob of images that no layer computed, and the
// first one of labels for each pixel; nil where there is none.
func findInputs(net *graph.Net, path func(string) string) (in *inputs, l *labels) {
	for _, n := range net.Layers() {
		if !graph.IsSource(n.Param) {
			continue
		}
		for _, top := range n.Tops {
			h, w := plane(top)
			switch {
			case h*w <= 1:
			case areLabels(net, top):
				if l == nil && top.Count() == top.Dim(0)*h*w {
					l = &labels{top}
				}
			case in == nil && top.Axes() == 4 && isSignal(net, top):
				in = newInputs(n, top, path)
			}
		}
	}
	return in, l
}

// plane returns height and width of the images in a blob, 0 if it holds none.
func plane(b *tensor.Blob) (h, w int) {
	n := b.Axes()
	if n != 3 && n != 4 || b.Dim(n-2) == 1 || b.Dim(n-1) == 1 {
		return 0, 0
	}
	return b.Dim(n - 2), b.Dim(n - 1)
}

// A use is what layers do with a blob of a layer that reads data.
type use struct {
	// values says that some compute with what it holds; classes that it is
	// compared with scores of classes, others that it is used otherwise: as
	// targets, indices or marks of sequences.
	values, classes, others bool
}

// useOf looks at all layers that read a blob, or parts of it.
func useOf(net *graph.Net, top *tensor.Blob) (u use) {
	same := map[*tensor.Blob]bool{top: true}
	for _, n := range net.Layers() {
		for i, b := range n.Bottoms {
			if !same[b] {
				continue
			}
			loss := len(n.LossWeights) > 0 && n.LossWeights[0] != 0
			switch n.Type {
			case "Split", "Slice", "Crop", "Flatten", "Reshape", "Reorder":
				if i == 0 {
					for _, t := range n.Tops {
						same[t] = true
					}
				}
			case "SoftmaxWithLoss", "InfogainLoss", "MultinomialLogisticLoss", "HingeLoss", "Accuracy":
				u.classes = u.classes || i == 1
				u.values = u.values || i == 0
				u.others = u.others || i > 1
			case "Silence", "Embed":
				u.others = true
			case "LSTM", "RNN", "BatchReindex", "Filter":
				u.others = u.others || i == 1
				u.values = u.values || i != 1
			default:
				u.others = u.others || loss && i > 0
				u.values = u.values || !(loss && i > 0)
			}
		}
	}
	return u
}

// areLabels reports whether a blob is compared with scores of classes and read
// by nothing else.
func areLabels(net *graph.Net, top *tensor.Blob) bool {
	u := useOf(net, top)
	return u.classes && !u.values && !u.others
}

// isSignal reports whether layers compute with what a data layer's blob holds.
func isSignal(net *graph.Net, top *tensor.Blob) bool {
	u := useOf(net, top)
	return u.values || !u.classes && !u.others
}

func newInputs(n *graph.Node, top *tensor.Blob, path func(string) string) *inputs {
	p := n.Param.GetTransformParam()
	in := &inputs{top: top, scale: p.GetScale(), mean: p.GetMeanValue()}
	if f := p.GetMeanFile(); f != "" {
		in.mean = channelMeans(path(f), top.Dim(1))
	}
	return in
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

// paint draws the first images of the batch. Of other channels than one or
// three, each three or each one is a picture of its own (the two of a siamese
// net, frames of a film); the first few stand side by side.
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
	level := func(channel int, x float32) float32 { return x/scale + in.meanOf(channel) }
	low, high := extent(all)
	const slack = 64 // a mean image is darker or lighter in places than its mean
	if lo, hi := level(0, low), level(0, high); !(lo >= -slack && hi <= 255+slack && hi-lo > 16) {
		level = func(_ int, x float32) float32 { return 255 * (x - low) / (high - low) }
	}
	planes := 1
	if c%3 == 0 {
		planes = 3
	}
	parts := min(c/planes, maxParts)
	ph, pw := shrunk(h, w)
	var out []Picture
	for i := range n {
		m := image.NewNRGBA(image.Rect(0, 0, parts*pw+(parts-1)*partGap, ph))
		for k := range parts {
			x, first := k*(pw+partGap), k*planes
			v := all[(i*c+first)*h*w:]
			draw(m.SubImage(image.Rect(x, 0, x+pw, ph)).(*image.NRGBA), v, planes, h, w,
				func(plane int, x float32) float32 { return level(first+plane, x) })
		}
		out = append(out, *encode(m, fmt.Sprintf("input %d", i)))
	}
	return out
}

// shrunk returns the size of the picture of an image of h×w pixels.
func shrunk(h, w int) (ph, pw int) {
	shrink := max(1, float64(max(h, w))/maxSide)
	return max(1, int(float64(h)/shrink)), max(1, int(float64(w)/shrink))
}

func (l *labels) paint() []Picture {
	h, w := plane(l.top)
	n := min(l.top.Dim(0), maxInputs)
	v := l.top.Values()
	ph, pw := shrunk(h, w)
	var out []Picture
	for i := range n {
		m := image.NewNRGBA(image.Rect(0, 0, pw, ph))
		for y := range ph {
			for x := range pw {
				m.SetNRGBA(x, y, classColor(int(v[(i*h+y*h/ph)*w+x*w/pw])))
			}
		}
		kinds := slices.Clone(v[i*h*w : (i+1)*h*w])
		slices.Sort(kinds)
		kinds = slices.Compact(kinds)
		title := fmt.Sprintf("labels %d:", i)
		for k, x := range kinds {
			if k == 8 {
				title += " …"
				break
			}
			title += fmt.Sprintf(" %g", x)
		}
		out = append(out, *encode(m, title))
	}
	return out
}

// classColor returns the colour of a class as it is known of PASCAL VOC: the
// bits of its number, three at a time, are the highest bits of red, green and
// blue.
func classColor(class int) color.NRGBA {
	c := color.NRGBA{A: 255}
	for bit := 7; bit >= 0; bit-- {
		c.R |= uint8(class&1) << bit
		c.G |= uint8(class>>1&1) << bit
		c.B |= uint8(class>>2&1) << bit
		class >>= 3
	}
	return c
}
