package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"

	"crema/infer"
	"crema/prototxt/caffepb"
)

// classifyFlags are the flags of classify beside those of commands that run a
// net.
type classifyFlags struct {
	labels, output                 string
	meanFile, meanValue, imageDims string
	channelSwap, interpolation     string
	rawScale, inputScale           float64
	oversample, json               bool
	top                            int
	shapes                         shapeFlag
}

func (c *classifyFlags) add(fs *flag.FlagSet) {
	fs.StringVar(&c.labels, "labels", "", "the classes' names, a text `file` with a line for each")
	fs.StringVar(&c.output, "blob", "", "`name` of the blob that has the scores (default the net's output)")
	fs.StringVar(&c.meanFile, "mean_file", "", "the mean to subtract, a .binaryproto or .npy `file`")
	fs.StringVar(&c.meanValue, "mean_value", "", "the mean to subtract: `values` of the net's channels (blue, green, red), separated by commas, or one for all")
	fs.StringVar(&c.imageDims, "image_dims", "", "`height,width` to resize images to before the net's input is cut out of them (default the size of the input)")
	fs.StringVar(&c.interpolation, "interpolation", "opencv", "`method` of resizing: opencv as convert_imageset does, or skimage as Caffe's Python Classifier")
	fs.StringVar(&c.channelSwap, "channel_swap", "", "for each of the net's channels the channel of a red-green-blue image: `numbers` separated by commas (default 2,1,0)")
	fs.Float64Var(&c.rawScale, "raw_scale", 255, "`value` of the brightest pixels, before the mean is subtracted")
	fs.Float64Var(&c.inputScale, "input_scale", 1, "`factor` after the mean was subtracted")
	fs.BoolVar(&c.oversample, "oversample", false, "take the mean of ten crops of -image_dims: corners and centre, and the same mirrored")
	fs.IntVar(&c.top, "top", 5, "`number` of classes to show; 0 is all")
	fs.Var(&c.shapes, "shape", "`BLOB=SHAPE` (data=1x3x224x224) is the shape of the images' blob, for a net for training whose data are not there")
	fs.BoolVar(&c.json, "json", false, "write JSON")
}

// preprocessor sets how images are prepared: by the flags, and where they do not
// say, by the net's transform_param tp, which may be nil.
func (c *classifyFlags) preprocessor(fs *flag.FlagSet, p *infer.Preprocessor, tp *caffepb.TransformationParameter, r *runEnv) error {
	bad := func(name, v string, err error) error { return usageError{fmt.Errorf("-%s=%s: %w", name, v, err)} }
	given := map[string]bool{}
	fs.Visit(func(x *flag.Flag) { given[x.Name] = true })
	p.Oversample, p.RawScale, p.InputScale = c.oversample, float32(c.rawScale), float32(c.inputScale)
	if !given["input_scale"] && tp.GetScale() != 0 {
		p.InputScale = tp.GetScale()
	}
	if !(c.rawScale > 0) {
		return usageError{fmt.Errorf("-raw_scale=%g: must be positive", c.rawScale)}
	}
	if c.inputScale == 0 {
		return usageError{errors.New("-input_scale=0: every image would be the same")}
	}
	switch c.interpolation {
	case "opencv":
	case "skimage":
		p.Interpolation = infer.Skimage
	default:
		return bad("interpolation", c.interpolation, errors.New("must be opencv or skimage"))
	}
	var err error
	if p.ChannelSwap, err = parseNumbers(c.channelSwap, strconv.Atoi); err != nil {
		return bad("channel_swap", c.channelSwap, err)
	}
	if given["mean_file"] && given["mean_value"] {
		return usageError{errors.New("give -mean_file or -mean_value, not both")}
	}
	meanFile := c.meanFile
	if !given["mean_file"] && !given["mean_value"] {
		meanFile, p.MeanValues = tp.GetMeanFile(), tp.GetMeanValue()
	}
	if given["mean_value"] {
		if p.MeanValues, err = parseNumbers(c.meanValue, func(s string) (float32, error) {
			v, err := strconv.ParseFloat(s, 32)
			return float32(v), err
		}); err != nil {
			return bad("mean_value", c.meanValue, err)
		}
	}
	dims, err := parseNumbers(c.imageDims, strconv.Atoi)
	if err != nil || given["image_dims"] && len(dims) != 2 {
		return bad("image_dims", c.imageDims, errors.New("want height,width, such as 256,256"))
	}
	if len(dims) == 2 {
		p.ImageH, p.ImageW = dims[0], dims[1]
	}
	var mean *infer.Mean
	if meanFile != "" {
		if mean, err = infer.ReadMean(r.roots.Resolve(meanFile)); err != nil {
			return fmt.Errorf("the mean: %w", err)
		}
		// What a net was trained on had the size of its mean.
		if !given["image_dims"] && tp != nil && mean.H >= p.H && mean.W >= p.W {
			p.ImageH, p.ImageW = mean.H, mean.W
		}
	}
	if err := p.Check(); err != nil {
		return usageError{err}
	}
	if p.Oversample && p.ImageH == p.H && p.ImageW == p.W {
		return usageError{fmt.Errorf("-oversample cuts crops of %d×%d out of larger images: give -image_dims, such as 256,256", p.H, p.W)}
	}
	if mean == nil {
		return nil
	}
	note, err := p.SetMean(mean)
	if err != nil {
		return fmt.Errorf("%s: %w", meanFile, err)
	}
	if note != "" {
		r.log.Warn(note)
	}
	return p.Check()
}

// parseNumbers reads a comma-separated list; none if it is empty.
func parseNumbers[T any](list string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for _, s := range splitList(list) {
		v, err := parse(s)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", s)
		}
		out = append(out, v)
	}
	return out, nil
}
