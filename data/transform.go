package data

import (
	"errors"
	"fmt"
	"log/slog"

	"crema/internal/rng"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// TransformOptions is what a Transformer needs beside its parameters.
type TransformOptions struct {
	Phase caffepb.Phase
	// Seed and Name (the layer's) key the random crops and mirrors.
	Seed uint64
	Name string
	// Path maps mean_file to one that can be opened; nil for as it is.
	Path func(string) string
	// Log receives Caffe's line about the mean file; nil for none.
	Log *slog.Logger
}

// A Transformer computes (sample − mean) × scale on a crop of a picture,
// mirrored or not (Caffe's data_transformer.cpp). It is immutable.
type Transformer struct {
	crop   int
	train  bool
	mirror bool
	scale  float32
	mode   ColorMode

	mean     []float32 // of meanShape, or nil
	meanC    int
	meanH    int
	meanW    int
	meanFile string
	values   []float32 // mean_value

	stream string // names the random streams
	phase  uint64
	seed   uint64
}

// NewTransformer reads transform_param and the mean file it names. All its
// fields are honoured: scale (1), mirror (false), crop_size (0: none),
// mean_file, mean_value (one, or one for each channel), force_color,
// force_gray. mean_file together with mean_value is an error, and so is
// force_color together with force_gray.
func NewTransformer(p *caffepb.TransformationParameter, o TransformOptions) (*Transformer, error) {
	if p == nil {
		p = &caffepb.TransformationParameter{}
	}
	t := &Transformer{
		crop:   int(p.GetCropSize()),
		train:  o.Phase == caffepb.Phase_TRAIN,
		mirror: p.GetMirror(),
		scale:  p.GetScale(),
		values: p.GetMeanValue(),
		stream: "transform " + o.Name,
		phase:  uint64(o.Phase),
		seed:   o.Seed,
	}
	switch {
	case p.GetForceColor() && p.GetForceGray():
		return nil, errors.New("cannot set both force_color and force_gray")
	case p.GetForceColor():
		t.mode = Color
	case p.GetForceGray():
		t.mode = Gray
	}
	if p.MeanFile != nil {
		if len(t.values) > 0 {
			return nil, errors.New("cannot set both mean_file and mean_value")
		}
		name := p.GetMeanFile()
		if o.Path != nil {
			name = o.Path(name)
		}
		if o.Log != nil {
			o.Log.Info("Loading mean file from: " + name)
		}
		if err := t.loadMean(name); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// loadMean reads a BlobProto of shape 1×C×H×W, legacy or not; of several
// pictures the first counts.
func (t *Transformer) loadMean(name string) error {
	var b caffepb.BlobProto
	if err := prototxt.ReadBinary(name, &b); err != nil {
		return fmt.Errorf("mean_file: %w", err)
	}
	dims := [4]int{int(b.GetNum()), int(b.GetChannels()), int(b.GetHeight()), int(b.GetWidth())}
	if b.Shape != nil {
		d := b.Shape.Dim
		if len(d) != 4 {
			return fmt.Errorf("mean_file %s: blob of %d axes, not the 4 of 1×C×H×W", name, len(d))
		}
		dims = [4]int{int(d[0]), int(d[1]), int(d[2]), int(d[3])}
	}
	t.mean = b.Data
	if len(b.DoubleData) > 0 {
		t.mean = make([]float32, len(b.DoubleData))
		for i, v := range b.DoubleData {
			t.mean[i] = float32(v)
		}
	}
	n := 1
	for _, d := range dims {
		if d < 1 || n > maxPixels/d {
			return fmt.Errorf("mean_file %s: bad shape %d×%d×%d×%d", name, dims[0], dims[1], dims[2], dims[3])
		}
		n *= d
	}
	if n != len(t.mean) {
		return fmt.Errorf("mean_file %s: %d values for shape %d×%d×%d×%d", name, len(t.mean), dims[0], dims[1], dims[2], dims[3])
	}
	t.meanC, t.meanH, t.meanW, t.meanFile = dims[1], dims[2], dims[3], name
	t.mean = t.mean[:n/dims[0]]
	return nil
}

// Mode returns how encoded records are to be decoded.
func (t *Transformer) Mode() ColorMode { return t.mode }

// OutShape returns the size of a c×h×w picture after Transform, or an error if
// it is smaller than the crop or does not fit the mean.
func (t *Transformer) OutShape(c, h, w int) (oc, oh, ow int, err error) {
	if t.mean != nil && (c != t.meanC || h != t.meanH || w != t.meanW) {
		return 0, 0, 0, fmt.Errorf("picture is %d×%d×%d (channels×height×width) but mean_file %q is %d×%d×%d%s", c, h, w, t.meanFile, t.meanC, t.meanH, t.meanW,
			meanFileAdvice([3]int{c, h, w}, [3]int{t.meanC, t.meanH, t.meanW}))
	}
	if n := len(t.values); n > 1 && n != c {
		s := ""
		if channelsLast([3]int{c, h, w}) {
			s = "; the picture is " + sizeText([3]int{c, h, w}) + ": " + channelsLastAdvice
		}
		return 0, 0, 0, fmt.Errorf("%d mean_value for a picture of %d channels: give one, or one for each channel%s", n, c, s)
	}
	if t.crop == 0 {
		return c, h, w, nil
	}
	if h < t.crop || w < t.crop {
		s := ""
		if channelsLast([3]int{c, h, w}) {
			s = ": of " + sizeText([3]int{c, h, w}) + " (channels×height×width), " + channelsLastAdvice
		}
		return 0, 0, 0, fmt.Errorf("picture of %d×%d pixels is smaller than crop_size %d%s", h, w, t.crop, s)
	}
	return c, t.crop, t.crop, nil
}

// place draws where to crop and whether to mirror the h×w picture of a record.
// In TRAIN the crop is uniform over all positions, in TEST it is the centre;
// mirroring, if on, has probability 1/2 in both.
func (t *Transformer) place(h, w, oh, ow int, ordinal uint64) (y0, x0 int, mirror bool) {
	y0, x0 = (h-oh)/2, (w-ow)/2
	randomCrop := t.train && t.crop > 0
	if !t.mirror && !randomCrop {
		return y0, x0, false
	}
	r := rng.New(t.seed, t.stream, t.phase, ordinal)
	mirror = t.mirror && r.Uint64()&1 == 1
	if randomCrop {
		y0, x0 = r.IntN(h-oh+1), r.IntN(w-ow+1)
	}
	return y0, x0, mirror
}

// Transform writes the picture of the record with that ordinal to dst, planar,
// of OutShape's size. It allocates nothing but the random stream.
func (t *Transformer) Transform(dst []float32, im *Image, ordinal uint64) error {
	c, h, w, err := t.OutShape(im.C, im.H, im.W)
	if err != nil {
		return err
	}
	if len(dst) != c*h*w {
		return fmt.Errorf("picture gives %d×%d×%d values, %d wanted", c, h, w, len(dst))
	}
	y0, x0, mirror := t.place(im.H, im.W, h, w, ordinal)
	for ch := range c {
		var m float32
		if n := len(t.values); n > 0 {
			m = t.values[min(ch, n-1)]
		}
		for y := range h {
			o := (ch*im.H+y0+y)*im.W + x0
			d := dst[(ch*h+y)*w:][:w]
			switch {
			case im.Pix == nil:
				floatRow(d, im.Float[o:], t.meanRow(o), m, t.scale)
			case t.mean != nil:
				byteRowMean(d, im.Pix[o:], t.mean[o:], t.scale)
			default:
				byteRow(d, im.Pix[o:], m, t.scale)
			}
			if mirror {
				reverse(d)
			}
		}
	}
	return nil
}

// transform implements Transform.
func (t *Transformer) transform(dst []float32, im *Image, r *record) error {
	return t.Transform(dst, im, r.ordinal)
}

func (t *Transformer) meanRow(o int) []float32 {
	if t.mean == nil {
		return nil
	}
	return t.mean[o:]
}

func byteRowMean(d []float32, s []byte, mean []float32, scale float32) {
	s, mean = s[:len(d)], mean[:len(d)]
	for i := range d {
		d[i] = (float32(s[i]) - mean[i]) * scale
	}
}

func byteRow(d []float32, s []byte, mean, scale float32) {
	s = s[:len(d)]
	for i := range d {
		d[i] = (float32(s[i]) - mean) * scale
	}
}

func floatRow(d, s, mean []float32, m, scale float32) {
	s = s[:len(d)]
	if mean == nil {
		for i := range d {
			d[i] = (s[i] - m) * scale
		}
		return
	}
	mean = mean[:len(d)]
	for i := range d {
		d[i] = (s[i] - mean[i]) * scale
	}
}

func reverse(d []float32) {
	for i, j := 0, len(d)-1; i < j; i, j = i+1, j-1 {
		d[i], d[j] = d[j], d[i]
	}
}
