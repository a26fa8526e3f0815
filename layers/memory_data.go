package layers

import (
	"errors"
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:       "MemoryData",
		New:        newMemoryData,
		Bottoms:    Exactly(0),
		Tops:       Exactly(2),
		NoBackward: true,
	})
}

// MemoryData gives batches of data and labels that the program holds in memory
// (Caffe's memory_data_layer.cpp). Top 0 has the shape batch_size × channels ×
// height × width, top 1 holds batch_size labels. Fields of memory_data_param,
// all required and positive:
//
//	batch_size, channels, height, width
//
// A transform_param is ignored with a warning, as in Caffe: values are used as
// Set gives them.
type MemoryData struct {
	base
	batch, size  int // records in a batch, values in a record
	data, labels []float32
	n, pos       int // records in data, the next one
}

func newMemoryData(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &MemoryData{base: newBase(p, ctx)}
	l.warnUnused("memory_data_param")
	return l, nil
}

// Setup shapes the tops.
func (l *MemoryData) Setup(_, top []*tensor.Blob) error {
	p := l.p.GetMemoryDataParam()
	var dims [4]int
	for i, f := range []struct {
		name string
		v    uint32
	}{{"batch_size", p.GetBatchSize()}, {"channels", p.GetChannels()}, {"height", p.GetHeight()}, {"width", p.GetWidth()}} {
		v, err := positive(f.name, f.v)
		if err != nil {
			return fmt.Errorf("memory_data_param: %w", err)
		}
		dims[i] = v
	}
	if err := reshape(top[0], dims[:]...); err != nil {
		return fmt.Errorf("memory_data_param: %w", err)
	}
	top[1].Reshape(dims[0])
	l.batch, l.size = dims[0], top[0].CountFrom(1)
	return nil
}

// Set makes the next Forward start at the first of n records: data holds n ×
// channels × height × width values, labels n. The layer goes through them in
// order, a batch per Forward, and begins again at the end; so n must be a
// positive multiple of the batch size. The slices are not copied: the program
// must leave them alone while the net runs, and may call Set again, between
// passes, with others.
func (l *MemoryData) Set(data, labels []float32, n int) error {
	switch {
	case l.batch == 0:
		return errors.New("MemoryData: Set before Setup")
	case n <= 0 || n%l.batch != 0:
		return fmt.Errorf("MemoryData: %d records are not a positive multiple of the batch size %d", n, l.batch)
	case len(data) != n*l.size:
		return fmt.Errorf("MemoryData: %d values given for %d records of %d", len(data), n, l.size)
	case len(labels) != n:
		return fmt.Errorf("MemoryData: %d labels given for %d records", len(labels), n)
	}
	l.data, l.labels, l.n, l.pos = data, labels, n, 0
	return nil
}

func (l *MemoryData) Reshape(_, _ []*tensor.Blob) error { return nil }

// Forward copies the next batch to the tops.
func (l *MemoryData) Forward(_, top []*tensor.Blob) error {
	if l.n == 0 {
		return errors.New("MemoryData has no data yet: the program must call Set")
	}
	if l.pos%l.batch != 0 || l.pos >= l.n {
		return fmt.Errorf("MemoryData cannot continue from record %d of %d in batches of %d", l.pos, l.n, l.batch)
	}
	copy(top[0].Data(), l.data[l.pos*l.size:])
	copy(top[1].Data(), l.labels[l.pos:])
	l.pos = (l.pos + l.batch) % l.n
	return nil
}

// Backward does nothing: there are no bottoms.
func (l *MemoryData) Backward(_ []*tensor.Blob, _ []bool, _ []*tensor.Blob) error { return nil }

// Cursor implements Stateful; it counts records from the first that Set gave.
func (l *MemoryData) Cursor() *caffepb.LayerCursor {
	name, records := l.p.GetName(), uint64(l.pos)
	return &caffepb.LayerCursor{Name: &name, Records: &records}
}

// SetCursor implements Stateful. Set starts again at the first record, so call
// it before.
func (l *MemoryData) SetCursor(c *caffepb.LayerCursor) error {
	r := c.GetRecords()
	if r > tensor.MaxCount {
		return fmt.Errorf("MemoryData: record %d is out of range", r)
	}
	l.pos = int(r)
	return nil
}
