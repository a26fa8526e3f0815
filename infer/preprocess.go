package infer

import (
	"fmt"
	"slices"

	"crema/data"
)

// An Interpolation is a way to resize pictures.
type Interpolation int

const (
	// OpenCV is cv::resize with INTER_LINEAR on bytes, as convert_imageset
	// resizes training pictures and Caffe's C++ classification example its own.
	OpenCV Interpolation = iota
	// Skimage is skimage.transform.resize of order 1 without anti-aliasing, as
	// Caffe's Python Classifier calls it: not rounded, and where a picture grows
	// its edges are mixed with its least value.
	Skimage
)

// A Preprocessor brings pictures into the form of a net's input. All fields but
// the size may be left zero.
type Preprocessor struct {
	// C, H and W are the size of the net's input; C is 1 or 3.
	C, H, W int
	// ImageH and ImageW are the size that pictures are resized to before they are
	// cropped to H×W; 0 means H and W.
	ImageH, ImageW int
	Interpolation  Interpolation
	// RawScale multiplies values at first, of pictures that are then taken to be
	// between 0 and 1; 0 means 255, which leaves bytes as they are.
	RawScale float32
	// InputScale multiplies what is left after the mean was subtracted; 0 means 1.
	InputScale float32
	// ChannelSwap has for each channel of the input the channel of a picture of
	// red, green and blue; none means blue, green, red.
	ChannelSwap []int
	// MeanValues are subtracted from the channels of the input: one for all, or
	// one for each.
	MeanValues []float32
	// MeanImage is subtracted value by value: C planes of ImageH×ImageW, of which
	// the same crops are taken as of the pictures. It goes before MeanValues.
	MeanImage []float32
	// Oversample takes ten crops of a picture: the corners (top left, top right,
	// bottom left, bottom right), the centre, and the same mirrored.
	Oversample bool
}

// Check reports what is wrong with the settings, and fills in defaults.
func (p *Preprocessor) Check() error {
	if p.ImageH == 0 && p.ImageW == 0 {
		p.ImageH, p.ImageW = p.H, p.W
	}
	if p.RawScale == 0 {
		p.RawScale = 255
	}
	if p.InputScale == 0 {
		p.InputScale = 1
	}
	if len(p.ChannelSwap) == 0 && p.C == 3 {
		p.ChannelSwap = []int{2, 1, 0}
	}
	switch {
	case p.C != 1 && p.C != 3:
		return fmt.Errorf("the input has %d channels: pictures have 1 or 3", p.C)
	case p.H < 1 || p.W < 1:
		return fmt.Errorf("the input is of %d×%d pixels", p.H, p.W)
	case p.ImageH < p.H || p.ImageW < p.W:
		return fmt.Errorf("pictures of %d×%d pixels are smaller than the net's input, %d×%d", p.ImageH, p.ImageW, p.H, p.W)
	case p.C == 1 && len(p.ChannelSwap) > 0:
		return fmt.Errorf("an input of one channel has no order of channels")
	case p.C == 3 && (len(p.ChannelSwap) != 3 || slices.Min(p.ChannelSwap) < 0 || slices.Max(p.ChannelSwap) > 2):
		return fmt.Errorf("the order of channels %v is not three of 0, 1 and 2", p.ChannelSwap)
	case len(p.MeanValues) > 1 && len(p.MeanValues) != p.C:
		return fmt.Errorf("%d mean values for an input of %d channels: give one, or one for each", len(p.MeanValues), p.C)
	case p.MeanImage != nil && len(p.MeanImage) != p.C*p.ImageH*p.ImageW:
		return fmt.Errorf("the mean has %d values for pictures of %d×%d×%d", len(p.MeanImage), p.C, p.ImageH, p.ImageW)
	}
	return nil
}

// Crops is how many inputs a picture gives.
func (p *Preprocessor) Crops() int {
	if p.Oversample {
		return 10
	}
	return 1
}

// Mode is how files are to be decoded for it.
func (p *Preprocessor) Mode() data.ColorMode {
	if p.C == 1 {
		return data.Gray
	}
	return data.Color
}

// Picture writes the inputs that a picture gives to dst, one after another:
// Crops()·C·H·W values. The picture must have C channels. Check must have been
// called.
func (p *Preprocessor) Picture(dst []float32, im *data.Image) error {
	if im.C != p.C || im.Pix == nil {
		return fmt.Errorf("a picture of %d channels for an input of %d", im.C, p.C)
	}
	full := p.prepare(im)
	size := p.C * p.H * p.W
	dh, dw := p.ImageH-p.H, p.ImageW-p.W
	if !p.Oversample {
		p.crop(dst[:size], full, dh/2, dw/2, false)
		return nil
	}
	for i, at := range [5][2]int{{0, 0}, {0, dw}, {dh, 0}, {dh, dw}, {dh / 2, dw / 2}} {
		p.crop(dst[i*size:][:size], full, at[0], at[1], false)
		p.crop(dst[(i+5)*size:][:size], full, at[0], at[1], true)
	}
	return nil
}

// prepare returns the whole picture, resized, of the input's channels, scaled
// and with the mean subtracted: C planes of ImageH×ImageW.
func (p *Preprocessor) prepare(im *data.Image) []float32 {
	planes := p.resize(im)
	n := p.ImageH * p.ImageW
	out := make([]float32, p.C*n)
	raw := p.RawScale / 255
	for c := range p.C {
		from := c
		if p.C == 3 {
			from = 2 - p.ChannelSwap[c] // decoded pictures are blue, green, red
		}
		src, d := planes[from*n:][:n], out[c*n:][:n]
		var mean float32
		if k := len(p.MeanValues); k > 0 {
			mean = p.MeanValues[min(c, k-1)]
		}
		for i, v := range src {
			m := mean
			if p.MeanImage != nil {
				m = p.MeanImage[c*n+i]
			}
			d[i] = (v*raw - m) * p.InputScale
		}
	}
	return out
}

// resize returns the picture's planes at ImageH×ImageW.
func (p *Preprocessor) resize(im *data.Image) []float32 {
	out := make([]float32, im.C*p.ImageH*p.ImageW)
	if same := im.H == p.ImageH && im.W == p.ImageW; same || p.Interpolation == OpenCV {
		if !same {
			var r data.Image
			data.Resize(&r, im, p.ImageH, p.ImageW)
			im = &r
		}
		for i, v := range im.Pix {
			out[i] = float32(v)
		}
		return out
	}
	least := float32(slices.Min(im.Pix))
	ys, xs := linearTaps(im.H, p.ImageH), linearTaps(im.W, p.ImageW)
	for c := range im.C {
		plane := im.Pix[c*im.H*im.W:][:im.H*im.W]
		at := func(y, x int) float32 {
			if y < 0 || y >= im.H || x < 0 || x >= im.W {
				return least
			}
			return float32(plane[y*im.W+x])
		}
		d := out[c*p.ImageH*p.ImageW:]
		for y, ty := range ys {
			for x, tx := range xs {
				top := at(ty.i, tx.i)*(1-tx.w) + at(ty.i, tx.i+1)*tx.w
				bottom := at(ty.i+1, tx.i)*(1-tx.w) + at(ty.i+1, tx.i+1)*tx.w
				d[y*p.ImageW+x] = top*(1-ty.w) + bottom*ty.w
			}
		}
	}
	return out
}

// A tap mixes samples i and i+1 with weights 1−w and w.
type tap struct {
	i int
	w float32
}

// linearTaps returns the taps of each of to samples made of from samples: sample
// i lies at (i+½)·from/to − ½.
func linearTaps(from, to int) []tap {
	taps := make([]tap, to)
	for i := range taps {
		at := (float64(i)+0.5)*float64(from)/float64(to) - 0.5
		lo := int(at+1) - 1 // floor, as at ≥ −½
		taps[i] = tap{lo, float32(at - float64(lo))}
	}
	return taps
}

// crop copies the H×W part from (y0, x0) on of each plane.
func (p *Preprocessor) crop(dst, full []float32, y0, x0 int, mirror bool) {
	for c := range p.C {
		for y := range p.H {
			row := dst[(c*p.H+y)*p.W:][:p.W]
			copy(row, full[(c*p.ImageH+y0+y)*p.ImageW+x0:])
			if mirror {
				slices.Reverse(row)
			}
		}
	}
}
