package layers

import (
	"errors"
	"fmt"

	"crema/data"
	"crema/internal/rng"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:       "ImageData",
		New:        newImageData,
		Bottoms:    Exactly(0),
		Tops:       Exactly(2),
		NoBackward: true,
	})
}

// ImageData reads image files named in a list (Caffe's image_data_layer.cpp):
// top 0 is batch_size × channels × height × width, top 1 the batch_size labels.
// A batch has the shape of its first picture; the others must agree, after
// resizing and cropping. Fields of image_data_param:
//
//	source               the list: on each line a file, a space and a label
//	root_folder ("")     put before each file name as it stands, so it ends in '/'
//	batch_size (1)       pictures in a batch, positive
//	shuffle (false)      another order in every epoch, drawn from the seed
//	rand_skip (0)        leaves out fewer than this many files at the start
//	new_height, new_width (0)  resize, both or neither
//	is_color (true)      3 channels, or 1 grey one
//
// of data_param: prefetch (4); of transform_param: all but force_color and
// force_gray, which have no effect here (see data.NewTransformer). scale,
// mean_file, crop_size and mirror of image_data_param are moved there when a
// file is read.
type ImageData struct {
	loaded
}

func newImageData(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &ImageData{loaded{base: newBase(p, ctx)}}
	l.warnUnused("image_data_param", "data_param", "transform_param")
	return l, nil
}

// Setup reads the list and starts to load.
func (l *ImageData) Setup(_, top []*tensor.Blob) error {
	p := l.p.GetImageDataParam()
	batch, err := positive("batch_size", p.GetBatchSize())
	if err != nil {
		return fmt.Errorf("image_data_param: %w", err)
	}
	prefetch, err := positive("prefetch", l.p.GetDataParam().GetPrefetch())
	if err != nil {
		return fmt.Errorf("data_param: %w", err)
	}
	if (p.GetNewHeight() > 0) != (p.GetNewWidth() > 0) {
		return errors.New("image_data_param: new_height and new_width must be set together")
	}
	if p.GetSource() == "" {
		return errors.New("image_data_param: source is not set")
	}
	tr, err := l.transformer(l.p.GetTransformParam())
	if err != nil {
		return err
	}
	source := l.ctx.Path(p.GetSource())
	l.ctx.Log.Info("Opening file " + source)
	files, err := data.ReadList(source)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s: the list is empty", source)
	}
	data.WarnBare(source, files, l.ctx.Log)
	if p.GetShuffle() {
		l.ctx.Log.Info("Shuffling data")
	}
	l.ctx.Log.Info(fmt.Sprintf("A total of %d images.", len(files)))
	o := data.ListOptions{
		List:    source,
		Root:    p.GetRootFolder(),
		Path:    l.ctx.Path,
		Height:  int(p.GetNewHeight()),
		Width:   int(p.GetNewWidth()),
		Mode:    data.Gray,
		Shuffle: p.GetShuffle(),
		Seed:    l.ctx.Seed,
		Name:    l.p.GetName(),
		Log:     l.ctx.Log,
	}
	if p.GetIsColor() {
		o.Mode = data.Color
	}
	if n := p.GetRandSkip(); n > 0 {
		o.Skip = int(rng.New(l.ctx.Seed, "skip "+l.p.GetName()).Uint32N(n))
		l.ctx.Log.Info(fmt.Sprintf("Skipping first %d data points.", o.Skip))
	}
	src, err := data.NewListSource(files, o)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	return l.start(src, tr, data.LoaderOptions{BatchSize: batch, Prefetch: prefetch}, top)
}
