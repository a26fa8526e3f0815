package layers

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"crema/data"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:       "Data",
		New:        newData,
		Bottoms:    Exactly(0),
		Tops:       Between(1, 2),
		NoBackward: true,
	})
}

// loaded is what the layers that read pictures have in common: batches from a
// data.Loader, a position, and the end.
type loaded struct {
	base
	loader   *data.Loader
	forwards uint64
}

// transformer builds the transformer of transform_param.
func (l *loaded) transformer(p *caffepb.TransformationParameter) (*data.Transformer, error) {
	t, err := data.NewTransformer(p, data.TransformOptions{
		Phase: l.ctx.Phase,
		Seed:  l.ctx.Seed,
		Name:  l.p.GetName(),
		Path:  l.ctx.Path,
		Log:   l.ctx.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("transform_param: %w", err)
	}
	return t, nil
}

// start begins to load and shapes the tops for the first record.
func (l *loaded) start(src data.Source, tr data.Transform, o data.LoaderOptions, top []*tensor.Blob) error {
	loader, err := data.NewLoader(src, tr, o)
	if err != nil {
		return err
	}
	l.loader = loader
	s := loader.Shape()
	top[0].Reshape(s...)
	l.ctx.Log.Info(fmt.Sprintf("output data size: %d,%d,%d,%d", s[0], s[1], s[2], s[3]))
	if len(top) > 1 {
		top[1].Reshape(s[0])
	}
	return nil
}

// Reshape does nothing: Setup shapes the tops for the first batch and Forward
// for every other one.
func (l *loaded) Reshape(_, _ []*tensor.Blob) error { return nil }

// Forward waits for the next batch.
func (l *loaded) Forward(_, top []*tensor.Blob) error {
	var label *tensor.Blob
	if len(top) > 1 {
		label = top[1]
	}
	if err := l.loader.Next(top[0], label); err != nil {
		return err
	}
	l.forwards++
	return nil
}

// Backward does nothing: there are no bottoms.
func (l *loaded) Backward(_ []*tensor.Blob, _ []bool, _ []*tensor.Blob) error { return nil }

// Cursor implements Stateful.
func (l *loaded) Cursor() *caffepb.LayerCursor {
	p := l.loader.Position()
	return &caffepb.LayerCursor{
		Name:     proto.String(l.p.GetName()),
		Forwards: proto.Uint64(l.forwards),
		Records:  proto.Uint64(p.Records),
		NextKey:  bytes.Clone(p.NextKey),
	}
}

// SetCursor implements Stateful.
func (l *loaded) SetCursor(c *caffepb.LayerCursor) error {
	l.forwards = c.GetForwards()
	return l.loader.SetPosition(data.Position{Records: c.GetRecords(), NextKey: c.GetNextKey()})
}

// Waited implements Waiter.
func (l *loaded) Waited() float64 {
	if l.loader == nil {
		return 0
	}
	return l.loader.Waited().Seconds()
}

// Close stops the loading and closes what it reads from.
func (l *loaded) Close() error {
	if l.loader == nil {
		return nil
	}
	return l.loader.Close()
}

// Data reads records from a database (Caffe's data_layer.cpp): top 0 is
// batch_size × channels × height × width, the optional top 1 the batch_size
// labels. Records come in the order of their keys, and after the last one from
// the first again. A batch has the shape of its first record; the others must
// agree, after cropping. Fields of data_param:
//
//	source               the database
//	batch_size           records in a batch, positive
//	backend (LEVELDB)    LEVELDB or LMDB
//	prefetch (4)         batches read ahead, positive
//	force_encoded_color (false)  like force_color
//	rand_skip (0)        accepted with a warning and ignored, as Caffe 1.0 does
//
// of transform_param: all (see data.NewTransformer). scale, mean_file,
// crop_size and mirror of data_param are moved there when a file is read.
type Data struct {
	loaded
}

func newData(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &Data{loaded{base: newBase(p, ctx)}}
	l.warnUnused("data_param", "transform_param")
	return l, nil
}

// Setup opens the database and starts to load.
func (l *Data) Setup(_, top []*tensor.Blob) error {
	p := l.p.GetDataParam()
	batch, err := positive("batch_size", p.GetBatchSize())
	if err != nil {
		return fmt.Errorf("data_param: %w", err)
	}
	prefetch, err := positive("prefetch", p.GetPrefetch())
	if err != nil {
		return fmt.Errorf("data_param: %w", err)
	}
	if p.GetSource() == "" {
		return errors.New("data_param: source is not set")
	}
	if p.GetRandSkip() > 0 {
		l.ctx.Log.Warn("rand_skip has no effect on a Data layer, as in Caffe")
	}
	source := l.ctx.Path(p.GetSource())
	db, err := data.OpenDB(source, p.GetBackend())
	if err != nil {
		return err
	}
	kind := "leveldb"
	if p.GetBackend() == data.LMDB {
		kind = "lmdb"
	}
	l.ctx.Log.Info("Opened " + kind + " " + source)
	tp := l.p.GetTransformParam()
	if p.GetForceEncodedColor() {
		tp = proto.CloneOf(tp)
		if tp == nil {
			tp = &caffepb.TransformationParameter{}
		}
		tp.ForceColor = proto.Bool(true)
	}
	tr, err := l.transformer(tp)
	if err != nil {
		db.Close()
		return err
	}
	src, err := data.NewDBSource(source, db, tr.Mode(), l.ctx.Log)
	if err != nil {
		return err
	}
	return l.start(src, tr, data.LoaderOptions{BatchSize: batch, Prefetch: prefetch, Log: l.ctx.Log}, top)
}
