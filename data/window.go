package data

import (
	"errors"
	"fmt"
	"log/slog"
	"math"

	"crema/internal/infile"
	"crema/internal/rng"
)

// WindowOptions configure NewWindowSource.
type WindowOptions struct {
	// Root is put before each file name, as it stands (Caffe adds no slash).
	Root string
	// Path maps Root and a file's name, joined, to a path that can be opened;
	// nil for as it is.
	Path func(string) string
	// Cache reads all files at once and keeps them in memory, not decoded.
	Cache bool
	// BatchSize is the number of windows in a batch; the last
	// ⌊BatchSize·Fraction⌋ of a batch are foreground, those before background.
	BatchSize int
	Fraction  float32
	// Mirror turns every other window, at random, left to right.
	Mirror bool
	// Seed, Name (the layer's) and Phase key the random choices.
	Seed  uint64
	Name  string
	Phase uint64
	// Log receives warnings about damaged files; nil for none.
	Log *slog.Logger
}

// A windowSource draws windows, with replacement, from those of a window file.
type windowSource struct {
	o       WindowOptions
	damaged damageLog
	f       *WindowFile
	files   [][]byte // of the pictures, if they are cached
	fg      int      // of a batch
	records uint64
}

// NewWindowSource returns a source of windows of pictures.
func NewWindowSource(f *WindowFile, o WindowOptions) (Source, error) {
	if !(o.Fraction >= 0 && o.Fraction <= 1) {
		return nil, fmt.Errorf("fg_fraction must be between 0 and 1, not %g", o.Fraction)
	}
	s := &windowSource{o: o, damaged: damageLog{log: o.Log}, f: f, fg: int(float32(o.BatchSize) * o.Fraction)}
	switch {
	case s.fg > 0 && len(f.Foreground) == 0:
		return nil, fmt.Errorf("%q has no foreground windows: none overlaps by fg_threshold or more", f.Path)
	case s.fg < o.BatchSize && len(f.Background) == 0:
		return nil, fmt.Errorf("%q has no background windows: none overlaps by less than bg_threshold", f.Path)
	}
	// Pictures are read in colour. Caffe takes the last entry's number.
	if last := f.Images[len(f.Images)-1]; last.Size[0] != 3 {
		return nil, fmt.Errorf("%s:%d: pictures are read in colour and have 3 channels, not %d", f.Path, last.Line, last.Size[0])
	}
	if o.Cache {
		s.files = make([][]byte, len(f.Images))
		for i := range f.Images {
			b, err := infile.ReadFile(s.path(int32(i)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Path, err)
			}
			s.files[i] = b
		}
	}
	return s, nil
}

// path returns where picture i is.
func (s *windowSource) path(i int32) string {
	p := s.o.Root + s.f.Images[i].Name
	if s.o.Path != nil {
		p = s.o.Path(p)
	}
	return p
}

func (s *windowSource) peek(r *record) error {
	from := s.f.Background
	if int(s.records%uint64(s.o.BatchSize)) >= s.o.BatchSize-s.fg {
		from = s.f.Foreground
	}
	g := rng.New(s.o.Seed, "windows "+s.o.Name, s.o.Phase, s.records)
	w := &from[g.IntN(len(from))]
	*r = record{
		ordinal: s.records,
		name:    fmt.Sprintf("%s:%d", s.f.Path, w.Line),
		path:    s.path(w.Image),
		label:   w.Label,
		window:  w,
		mirror:  s.o.Mirror && g.Uint64()&1 == 1,
	}
	return nil
}

func (s *windowSource) next(r *record) error {
	err := s.peek(r)
	s.records++
	return err
}

func (s *windowSource) position() Position { return Position{Records: s.records} }

func (s *windowSource) seek(p Position) error {
	s.records = p.Records
	return nil
}

// shape tells the number of channels; a WindowTransformer wants no more.
func (s *windowSource) shape(*record) (c, h, w int, err error) { return 3, 0, 0, nil }

// decode makes im the whole picture.
func (s *windowSource) decode(r *record, im *Image) (float32, error) {
	var err error
	if s.files == nil {
		err = readImageFile(r.path, Color, 0, 0, im)
	} else if err = DecodeImage(s.files[r.window.Image], Color, im); err != nil {
		err = fmt.Errorf("%s: %w", r.path, err)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.name, err)
	}
	if im.Warning != "" {
		s.damaged.note(r.path, im.Warning)
	}
	return float32(r.label), nil
}

func (s *windowSource) guard(_ *record, f func() error) error { return f() }

func (s *windowSource) reopen(Position) (bool, error) { return false, nil }

func (s *windowSource) check() error { return nil }
func (s *windowSource) Close() error { return nil }

// A WindowTransformer cuts a window out of a picture, scales it to the crop
// size and computes (sample − mean) × scale (Caffe's window_data_layer.cpp). It
// is immutable.
type WindowTransformer struct {
	t          *Transformer
	contextPad int
	square     bool
	scale      float32
}

// NewWindowTransformer returns a transformer that takes the crop size, which
// must be positive, and the mean from t; t's scale does not count. The window is
// stretched to crop × crop pixels less contextPad on each side, and those show
// what surrounds it; if square is set its shorter side is first extended. What
// lies outside the picture stays 0.
func NewWindowTransformer(t *Transformer, contextPad int, square bool, scale float32) (*WindowTransformer, error) {
	switch n := len(t.values); {
	case t.crop <= 0:
		return nil, errors.New("transform_param.crop_size must be set: windows are scaled to it")
	case contextPad < 0 || 2*contextPad >= t.crop:
		return nil, fmt.Errorf("context_pad %d on both sides leaves nothing of crop_size %d", contextPad, t.crop)
	case n > 1 && n != 3:
		return nil, fmt.Errorf("%d mean_value: give one, or one for each of the 3 channels", n)
	}
	if t.mean != nil {
		// The centre of the mean in width, and as far down from its top.
		off := (t.meanW - t.crop) / 2
		if t.meanC != 3 || t.meanW < t.crop || t.meanH < t.crop+off {
			return nil, fmt.Errorf("mean_file %q is %d×%d×%d (channels×height×width), too small for crop_size %d: %d rows and columns from the left and the top are left out, and 3 channels needed",
				t.meanFile, t.meanC, t.meanH, t.meanW, t.crop, max(0, off))
		}
	}
	return &WindowTransformer{t: t, contextPad: contextPad, square: square, scale: scale}, nil
}

// OutShape returns the size of a window, which does not depend on the
// picture's.
func (t *WindowTransformer) OutShape(c, _, _ int) (oc, oh, ow int, err error) {
	return c, t.t.crop, t.t.crop, nil
}

// A placement says which part of a picture goes where in the output.
type placement struct {
	x, y, w, h int // of the picture
	outW, outH int // size after scaling
	padX, padY int // position in the output
}

// place computes it in Caffe's steps and, rounding included, its float32.
func (t *WindowTransformer) place(win *Window, h, w int, mirror bool) (placement, error) {
	crop := t.t.crop
	x1, y1, x2, y2 := int(win.X1), int(win.Y1), int(win.X2), int(win.Y2)
	p := placement{outW: crop, outH: crop}
	var clip [4]int // rows and columns outside the picture: left, top, right, bottom
	var scaleX, scaleY float32
	expand := t.contextPad > 0 || t.square
	if expand {
		context := float32(crop) / float32(crop-2*t.contextPad)
		halfH, halfW := float32(y2-y1+1)/2, float32(x2-x1+1)/2
		centerX, centerY := float32(x1)+halfW, float32(y1)+halfH
		if t.square {
			halfH = max(halfH, halfW)
			halfW = halfH
		}
		// Converted so that no product and sum are fused.
		reachX, reachY := float32(halfW*context), float32(halfH*context)
		x1, x2 = round(centerX-reachX), round(centerX+reachX)
		y1, y2 = round(centerY-reachY), round(centerY+reachY)
		scaleX, scaleY = float32(crop)/float32(x2-x1+1), float32(crop)/float32(y2-y1+1)
		clip = [4]int{max(0, -x1), max(0, -y1), max(0, x2-w+1), max(0, y2-h+1)}
		x1, y1, x2, y2 = x1+clip[0], y1+clip[1], x2-clip[2], y2-clip[3]
	}
	p.x, p.y, p.w, p.h = x1, y1, x2-x1+1, y2-y1+1
	if p.w <= 0 || p.h <= 0 {
		return p, fmt.Errorf("the window from column %d, row %d to %d, %d has no pixel in its picture of %d×%d pixels (width×height)", win.X1, win.Y1, win.X2, win.Y2, w, h)
	}
	if x1 < 0 || y1 < 0 || x2 >= w || y2 >= h {
		return p, fmt.Errorf("the window from column %d, row %d to %d, %d reaches outside its picture of %d×%d pixels (width×height)", win.X1, win.Y1, win.X2, win.Y2, w, h)
	}
	if expand {
		p.outW, p.outH = round(float32(p.w)*scaleX), round(float32(p.h)*scaleY)
		p.padX, p.padY = round(float32(clip[0])*scaleX), round(float32(clip[1])*scaleY)
		if mirror {
			p.padX = round(float32(clip[2]) * scaleX)
		}
		// Rounding may have made the sum too large.
		p.outW, p.outH = min(p.outW, crop-p.padX), min(p.outH, crop-p.padY)
		if p.outW <= 0 || p.outH <= 0 {
			return p, fmt.Errorf("the part of the window that lies in the picture is less than a pixel of the %d×%d", crop, crop)
		}
	}
	return p, nil
}

// round rounds halves away from zero, as C's round does.
func round(v float32) int { return int(math.Round(float64(v))) }

// transform implements Transform.
func (t *WindowTransformer) transform(dst []float32, im *Image, r *record) error {
	crop := t.t.crop
	p, err := t.place(r.window, im.H, im.W, r.mirror)
	if err != nil {
		return fmt.Errorf("%w: %s", err, r.path)
	}
	part, scaled := imagePool.Get().(*Image), imagePool.Get().(*Image)
	defer imagePool.Put(part)
	defer imagePool.Put(scaled)
	part.alloc(im.C, p.h, p.w)
	for c := range im.C {
		from, to := im.plane(c), part.plane(c)
		for y := range p.h {
			copy(to[y*p.w:][:p.w], from[(p.y+y)*im.W+p.x:])
		}
	}
	Resize(scaled, part, p.outH, p.outW)
	clear(dst)
	for c := range im.C {
		var m float32
		if n := len(t.t.values); n > 0 {
			m = t.t.values[min(c, n-1)]
		}
		for y := range p.outH {
			s := scaled.plane(c)[y*p.outW:][:p.outW]
			if r.mirror {
				for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
					s[i], s[j] = s[j], s[i]
				}
			}
			d := dst[(c*crop+p.padY+y)*crop+p.padX:][:p.outW]
			if t.t.mean == nil {
				byteRow(d, s, m, t.scale)
				continue
			}
			// Caffe uses one offset, of the width, for columns and rows.
			off := (t.t.meanW - crop) / 2
			byteRowMean(d, s, t.t.mean[(c*t.t.meanH+off+p.padY+y)*t.t.meanW+off+p.padX:], t.scale)
		}
	}
	return nil
}
