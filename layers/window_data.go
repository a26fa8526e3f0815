package layers

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"crema/data"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:       "WindowData",
		New:        newWindowData,
		Bottoms:    Exactly(0),
		Tops:       Exactly(2),
		NoBackward: true,
	})
}

// WindowData draws windows of pictures, as R-CNN trains on them (Caffe's
// window_data_layer.cpp): top 0 is batch_size × 3 × crop_size × crop_size, top 1
// the batch_size classes. Each batch begins with its background windows, of
// class 0, and ends with its foreground windows. Windows are drawn with
// replacement. Fields of window_data_param:
//
//	source               the window file (see data.ReadWindows)
//	root_folder ("")     put before each file name as it stands, so it ends in '/'
//	batch_size           windows in a batch, positive
//	fg_threshold (0.5)   windows that overlap an object by that much are foreground
//	bg_threshold (0.5)   windows that do by less are background
//	fg_fraction (0.25)   of a batch is foreground
//	context_pad (0)      pixels around the window, on each side, within crop_size
//	crop_mode ("warp")   "square" extends the window's shorter side before it is
//	                     stretched; anything else is "warp", with a warning
//	cache_images (false) keeps all files in memory
//	scale (1)            factor of what is left after the mean was subtracted
//
// of transform_param: crop_size (required), mirror, mean_file, mean_value; of
// data_param: prefetch (4). As in Caffe, the mean_file, crop_size and mirror of
// window_data_param have no effect, and neither have the scale, force_color and
// force_gray of transform_param: a warning says so. (In nets of the V1 format
// the four fields of window_data_param that transform_param has, scale too, are
// moved there when the file is read.)
type WindowData struct {
	loaded
}

func newWindowData(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &WindowData{loaded{base: newBase(p, ctx)}}
	l.warnUnused("window_data_param", "data_param", "transform_param")
	w, t := p.GetWindowDataParam(), p.GetTransformParam()
	for _, f := range []struct {
		set        bool
		what, hint string
	}{
		{w.GetMeanFile() != "", "window_data_param.mean_file", "transform_param.mean_file"},
		{w.GetCropSize() != 0, "window_data_param.crop_size", "transform_param.crop_size"},
		{w.GetMirror(), "window_data_param.mirror", "transform_param.mirror"},
		{t.GetScale() != 1, "transform_param.scale", "window_data_param.scale"},
		{t.GetForceColor(), "transform_param.force_color", ""},
		{t.GetForceGray(), "transform_param.force_gray", ""},
	} {
		if !f.set {
			continue
		}
		msg := fmt.Sprintf("Layer %s of type WindowData does not use %s: ignored, as in Caffe", p.GetName(), f.what)
		if f.hint != "" {
			msg += "; set " + f.hint
		}
		ctx.Log.Warn(msg)
	}
	return l, nil
}

// Setup reads the window file and starts to load.
func (l *WindowData) Setup(_, top []*tensor.Blob) error {
	p := l.p.GetWindowDataParam()
	batch, err := positive("batch_size", p.GetBatchSize())
	if err != nil {
		return fmt.Errorf("window_data_param: %w", err)
	}
	prefetch, err := positive("prefetch", l.p.GetDataParam().GetPrefetch())
	if err != nil {
		return fmt.Errorf("data_param: %w", err)
	}
	if p.GetSource() == "" {
		return errors.New("window_data_param: source is not set")
	}
	base, err := l.transformer(l.p.GetTransformParam())
	if err != nil {
		return err
	}
	tr, err := data.NewWindowTransformer(base, int(p.GetContextPad()), p.GetCropMode() == "square", p.GetScale())
	if err != nil {
		return err
	}
	if m := p.GetCropMode(); m != "square" && m != "warp" {
		l.ctx.Log.Warn(fmt.Sprintf("Layer %s: unknown crop_mode %q is taken for \"warp\", as in Caffe; the other one is \"square\"", l.p.GetName(), m))
	}
	f, err := l.readWindows()
	if err != nil {
		return err
	}
	src, err := data.NewWindowSource(f, data.WindowOptions{
		Root:      p.GetRootFolder(),
		Path:      l.ctx.Path,
		Cache:     p.GetCacheImages(),
		BatchSize: batch,
		Fraction:  p.GetFgFraction(),
		Mirror:    l.p.GetTransformParam().GetMirror(),
		Seed:      l.ctx.Seed,
		Name:      l.p.GetName(),
		Phase:     uint64(l.ctx.Phase),
		Log:       l.ctx.Log,
	})
	if err != nil {
		return fmt.Errorf("window_data_param: %w", err)
	}
	return l.start(src, tr, data.LoaderOptions{BatchSize: batch, Prefetch: prefetch}, top)
}

// readWindows reads the window file and logs what it holds.
func (l *WindowData) readWindows() (*data.WindowFile, error) {
	p, log := l.p.GetWindowDataParam(), l.ctx.Log
	log.Info("Window data layer:")
	log.Info(fmt.Sprintf("  foreground (object) overlap threshold: %g", p.GetFgThreshold()))
	log.Info(fmt.Sprintf("  background (non-object) overlap threshold: %g", p.GetBgThreshold()))
	log.Info(fmt.Sprintf("  foreground sampling fraction: %g", p.GetFgFraction()))
	log.Info(fmt.Sprintf("  cache_images: %t", p.GetCacheImages()))
	log.Info("  root_folder: " + p.GetRootFolder())
	f, err := data.ReadWindows(l.ctx.Path(p.GetSource()), p.GetFgThreshold(), p.GetBgThreshold())
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(f.Images); i += 100 {
		im := &f.Images[i]
		log.Info(fmt.Sprintf("num: %d %s %d %d %d windows to process: %d", i, im.Name, im.Size[0], im.Size[1], im.Size[2], im.Windows))
	}
	log.Info(fmt.Sprintf("Number of images: %d", len(f.Images)))
	classes := map[int32]int{0: len(f.Background)}
	for i := range f.Foreground {
		classes[f.Foreground[i].Label]++
	}
	for _, c := range slices.Sorted(maps.Keys(classes)) {
		log.Info(fmt.Sprintf("class %d has %d samples", c, classes[c]))
	}
	log.Info(fmt.Sprintf("Amount of context padding: %d", p.GetContextPad()))
	log.Info("Crop mode: " + p.GetCropMode())
	return f, nil
}
