package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"

	"crema/data"
	"crema/internal/infile"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// How much of a source is read. A whole ImageNet has 1.3 million records of
// 200 KB: the first scanRecords in a row show runs of labels, a few more at
// spreadPlaces show the range.
const (
	scanRecords  = 50000
	scanBytes    = 1 << 30 // of databases that read values whole
	spreadPlaces = 64
	spreadRun    = 32
	pictures     = 48 // that are decoded
)

// A records has what is known about a source of labelled pictures.
type records struct {
	path    string
	err     error
	missing bool // err says that it does not exist
	// total is the number of records, -1 if it is not known.
	total int
	// labels are those of the first records in their order; read counts all
	// records whose label was looked at, counts has them by label.
	labels   []int32
	read     int
	counts   map[int32]int
	min, max int32
	// c, h, w are the size of the first picture; odd is the size of one that
	// differs, "" if none was seen.
	c, h, w int
	odd     string
	float   bool
	unread  []error // why files of a list cannot be read
	// damaged is the number of pictures that can be read in part, and what the
	// first of them lacks.
	damaged int
	lack    string
	pix     pixels
}

// whole reports whether every record's label was looked at.
func (r *records) whole() bool { return r.total >= 0 && r.read >= r.total }

// extent says how much was looked at, for messages.
func (r *records) extent() string {
	if r.whole() {
		return fmt.Sprintf("all %d records", r.read)
	}
	if r.total >= 0 {
		return fmt.Sprintf("%d of %d records", r.read, r.total)
	}
	return fmt.Sprintf("%d records", r.read)
}

func (r *records) label(l int32) {
	if r.read == 0 {
		r.min, r.max = l, l
	}
	r.read++
	r.min, r.max = min(r.min, l), max(r.max, l)
	r.counts[l]++
}

// size notes the size of a picture.
func (r *records) size(c, h, w int) {
	switch {
	case r.c == 0:
		r.c, r.h, r.w = c, h, w
	case r.odd == "" && (c != r.c || h != r.h || w != r.w):
		r.odd = fmt.Sprintf("%d×%d×%d", c, h, w)
	}
}

// pixels sums samples of some pictures.
type pixels struct {
	n        int
	min, max float64
	// chans has sums by channel, places by position in pictures of one size
	// (nil if the sizes differ).
	chans, places []moments
	// levels counts the samples of each value in pictures of one channel that
	// hold few different ones: labels, perhaps. nil if they do not.
	levels map[float32]int
}

// maxLevels is how many different values labels may have.
const maxLevels = 1024

type moments struct{ n, sum, squares float64 }

func (m *moments) add(x float64) { m.n++; m.sum += x; m.squares += x * x }

func (m moments) mean() float64 { return m.sum / max(m.n, 1) }

func (m moments) variance() float64 { return max(0, m.squares/max(m.n, 1)-m.mean()*m.mean()) }

func (p *pixels) add(im *data.Image) {
	if p.n == 0 {
		p.min, p.max = math.Inf(1), math.Inf(-1)
		p.chans = make([]moments, im.C)
		p.places = make([]moments, im.C*im.H*im.W)
		if im.C == 1 {
			p.levels = map[float32]int{}
		}
	}
	if im.C*im.H*im.W != len(p.places) {
		p.places = nil
	}
	if im.C != len(p.chans) {
		return
	}
	p.n++
	area := im.H * im.W
	for i := range im.C * area {
		var x float64
		if im.Float != nil {
			x = float64(im.Float[i])
		} else {
			x = float64(im.Pix[i])
		}
		p.min, p.max = min(p.min, x), max(p.max, x)
		p.chans[i/area].add(x)
		if p.levels != nil {
			if p.levels[float32(x)]++; len(p.levels) > maxLevels {
				p.levels = nil
			}
		}
		if p.places != nil {
			p.places[i].add(x)
		}
	}
}

// mean returns the mean of all samples.
func (p *pixels) mean() float64 {
	var s float64
	for _, c := range p.chans {
		s += c.mean()
	}
	return s / float64(max(len(p.chans), 1))
}

// loadSources reads what the data layers of all nets read from.
func (c *Case) loadSources(ctx context.Context) {
	for _, n := range c.nets() {
		for _, l := range n.layers {
			if k := sourceKey(l); k != "" && c.sources[k] == nil {
				c.sources[k] = c.loadSource(ctx, l)
			}
			if p := l.GetTransformParam(); p.GetMeanFile() != "" && c.means[p.GetMeanFile()] == nil {
				c.means[p.GetMeanFile()] = c.loadMean(p.GetMeanFile())
			}
		}
	}
}

// sourceKey identifies what a data layer reads; "" if it is nothing that can
// be looked at.
func sourceKey(l *layer) string {
	switch p, t := l.GetDataParam(), l.GetTransformParam(); l.GetType() {
	case "Data":
		return fmt.Sprint("db ", p.GetSource(), p.GetBackend(), p.GetForceEncodedColor(), t.GetForceColor(), t.GetForceGray())
	case "ImageData":
		p := l.GetImageDataParam()
		return fmt.Sprint("list ", p.GetSource(), p.GetRootFolder(), p.GetNewHeight(), p.GetNewWidth(), p.GetIsColor())
	}
	return ""
}

// source returns what is known of a data layer's source; nil if it is of no
// kind that can be looked at.
func (c *Case) source(l *layer) *records { return c.sources[sourceKey(l)] }

func (c *Case) loadSource(ctx context.Context, l *layer) *records {
	r := &records{total: -1, counts: map[int32]int{}}
	if l.GetType() == "Data" {
		r.path = c.in.ResolvePath(l.GetDataParam().GetSource())
		r.err = c.readDB(ctx, r, l)
	} else {
		r.path = c.in.ResolvePath(l.GetImageDataParam().GetSource())
		r.err = r.readList(ctx, l.GetImageDataParam(), c.in.ResolvePath)
	}
	r.missing = errors.Is(r.err, fs.ErrNotExist)
	return r
}

func (c *Case) readDB(ctx context.Context, r *records, l *layer) error {
	p := l.GetDataParam()
	if p.GetSource() == "" {
		return errors.New("data_param has no source")
	}
	db, err := data.OpenDB(r.path, p.GetBackend())
	if err != nil {
		return err
	}
	defer db.Close()
	n, counted := data.RecordCount(db)
	if counted {
		r.total = int(n)
	}
	mode := data.Native
	switch t := l.GetTransformParam(); {
	case t.GetForceColor() || p.GetForceEncodedColor():
		mode = data.Color
	case t.GetForceGray():
		mode = data.Gray
	}
	cur := db.Cursor()
	defer cur.Close()
	return db.Guard(func() error { return c.scanDB(ctx, r, cur, mode, counted) })
}

// scanDB looks at records of a database, and decodes some.
func (c *Case) scanDB(ctx context.Context, r *records, cur data.Cursor, mode data.ColorMode, counted bool) error {
	var kept [][]byte // thinned evenly as more come
	limit, stride, bytes := c.scan, 1, 0
	if counted && r.total <= limit+spreadPlaces*spreadRun {
		limit = r.total
	}
	k, v, err := cur.First()
	for ; err == nil; k, v, err = cur.Next() {
		if len(r.labels) == limit || bytes > scanBytes || ctx.Err() != nil {
			break
		}
		if err := r.record(k, v, mode); err != nil {
			return err
		}
		if (len(r.labels)-1)%stride == 0 {
			if len(kept) == 2*pictures {
				for i := range pictures {
					kept[i] = kept[2*i]
				}
				kept, stride = kept[:pictures], 2*stride
			}
			if (len(r.labels)-1)%stride == 0 {
				kept = append(kept, v)
			}
		}
		if !counted {
			bytes += len(v)
		}
	}
	switch {
	case err == io.EOF:
		r.total = len(r.labels)
	case err != nil:
		return fmt.Errorf("database %s: %w", r.path, err)
	case counted:
		if err := r.spread(ctx, cur, mode); err != nil {
			return err
		}
	}
	var im data.Image
	step := max(1, len(kept)/pictures)
	for i := 0; i < len(kept); i += step {
		if _, err := data.DecodeDatum(kept[i], mode, &im); err != nil {
			return fmt.Errorf("database %s: %w", r.path, err)
		}
		r.look(&im, "")
		r.pix.add(&im)
	}
	return nil
}

// look notes whether a picture is damaged.
func (r *records) look(im *data.Image, name string) {
	if im.Warning == "" {
		return
	}
	if r.damaged++; r.damaged == 1 {
		r.lack = name + im.Warning
	}
}

// record looks at one record; those before the last seek are in order.
func (r *records) record(k, v []byte, mode data.ColorMode) error {
	d, err := data.InspectDatum(v, mode)
	if err != nil {
		return fmt.Errorf("database %s, record %q: %w", r.path, k, err)
	}
	r.label(int32(d.Label))
	r.labels = append(r.labels, int32(d.Label))
	r.size(d.C, d.H, d.W)
	r.float = d.Float
	return nil
}

// spread looks at records all over a database whose keys are numbers, as
// Caffe's tools write them.
func (r *records) spread(ctx context.Context, cur data.Cursor, mode data.ColorMode) error {
	inOrder := len(r.labels)
	defer func() { r.labels = r.labels[:inOrder] }()
	for i := range spreadPlaces {
		at := inOrder + (r.total-inOrder)*i/spreadPlaces
		k, v, err := cur.Seek(fmt.Appendf(nil, "%08d", at))
		for j := 0; j < spreadRun && err == nil && ctx.Err() == nil; j++ {
			if n, bad := strconv.Atoi(string(k[:min(8, len(k))])); bad != nil || n < at {
				return nil
			}
			if err := r.record(k, v, mode); err != nil {
				return err
			}
			k, v, err = cur.Next()
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("database %s: %w", r.path, err)
		}
	}
	return nil
}

func (r *records) readList(ctx context.Context, p *caffepb.ImageDataParameter, resolve func(string) string) error {
	files, err := data.ReadList(r.path)
	if err != nil {
		return err
	}
	r.total = len(files)
	for _, f := range files {
		r.label(f.Label)
		r.labels = append(r.labels, f.Label)
	}
	mode := data.Color
	if !p.GetIsColor() {
		mode = data.Gray
	}
	h, w := int(p.GetNewHeight()), int(p.GetNewWidth())
	var im, scaled data.Image
	step := max(1, len(files)/pictures)
	for i := 0; i < len(files) && ctx.Err() == nil; i += step {
		name := resolve(p.GetRootFolder() + files[i].Name)
		b, err := infile.ReadFile(name)
		if err == nil {
			err = data.DecodeImage(b, mode, &im)
		}
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%s: %w", name, err)
			}
			r.unread = append(r.unread, err)
			continue
		}
		r.look(&im, name+": ")
		got := &im
		if h > 0 && w > 0 {
			data.Resize(&scaled, &im, h, w)
			got = &scaled
		}
		r.size(got.C, got.H, got.W)
		r.pix.add(got)
	}
	return nil
}

// A meanFile has what is known about a mean_file.
type meanFile struct {
	path     string
	err      error
	missing  bool
	c, h, w  int
	values   []float32
	min, max float64
	mean     float64
}

func (c *Case) loadMean(name string) *meanFile {
	m := &meanFile{path: c.in.ResolvePath(name)}
	m.err = m.read()
	m.missing = errors.Is(m.err, fs.ErrNotExist)
	return m
}

func (m *meanFile) read() error {
	var b caffepb.BlobProto
	if err := prototxt.ReadBinary(m.path, &b); err != nil {
		return err
	}
	m.c, m.h, m.w = int(b.GetChannels()), int(b.GetHeight()), int(b.GetWidth())
	if d := b.GetShape().GetDim(); len(d) == 4 {
		m.c, m.h, m.w = int(d[1]), int(d[2]), int(d[3])
	}
	m.values = b.Data
	for _, v := range b.DoubleData {
		m.values = append(m.values, float32(v))
	}
	if m.c <= 0 || m.h <= 0 || m.w <= 0 || len(m.values) < 1 || len(m.values)/m.c/m.h != m.w {
		return fmt.Errorf("%s has %d values for %d×%d×%d", m.path, len(m.values), m.c, m.h, m.w)
	}
	m.min, m.max = math.Inf(1), math.Inf(-1)
	for _, v := range m.values {
		m.min, m.max = min(m.min, float64(v)), max(m.max, float64(v))
		m.mean += float64(v)
	}
	m.mean /= float64(len(m.values))
	return nil
}

// An input has what a data layer hands to the net, as far as it is known.
type input struct {
	signal signal
	// measured says that the signal is of real records, else of photographs.
	measured bool
	min, max float64
}

// Photographs of 8 bits: the mean sample and the RMS of samples about the mean
// of many pictures at the same place.
const (
	photoMean   = 117
	photoSpread = 66
)

// input predicts what a data layer hands out: its records, if they are there,
// less mean, times scale.
func (c *Case) input(l *layer) (in input, ok bool) {
	t := l.GetTransformParam()
	s := float64(t.GetScale())
	r := c.source(l)
	if r == nil {
		return in, false
	}
	var mean *meanFile
	if t.GetMeanFile() != "" {
		mean = c.means[t.GetMeanFile()]
	}
	if r.err != nil || r.pix.n == 0 {
		rest := float64(photoMean)
		in.min, in.max = 0, 255*s
		if mean != nil || len(t.MeanValue) > 0 {
			rest = 0
			in.min, in.max = -photoMean*s, (255-photoMean)*s
		}
		in.signal = signal{known: true, mean: rest * s, fixed: rest * rest * s * s, image: photoSpread * photoSpread * s * s}
		return in, true
	}
	p := &r.pix
	less := func(channel, place int) float64 {
		switch {
		case mean != nil && mean.err == nil && len(p.places) == len(mean.values):
			return float64(mean.values[place])
		case mean != nil && mean.err == nil:
			return mean.mean
		case mean != nil:
			return p.mean()
		case len(t.MeanValue) > 0:
			return float64(t.MeanValue[min(channel, len(t.MeanValue)-1)])
		}
		return 0
	}
	in.measured = true
	g := &in.signal
	g.known = true
	at, area := p.places, 1
	if p.n < 8 || at == nil {
		at = p.chans
	} else {
		area = len(p.places) / len(p.chans)
	}
	in.min, in.max = math.Inf(1), math.Inf(-1)
	for i, m := range at {
		d := m.mean() - less(i/area, i)
		g.mean += d
		g.fixed += d * d
		g.image += m.variance()
		in.min = min(in.min, p.min-less(i/area, i))
		in.max = max(in.max, p.max-less(i/area, i))
	}
	n := float64(len(at))
	g.mean *= s / n
	g.fixed *= s * s / n
	g.image *= s * s / n
	in.min, in.max = in.min*s, in.max*s
	if in.min > in.max {
		in.min, in.max = in.max, in.min
	}
	return in, true
}
