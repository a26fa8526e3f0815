package layers

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"crema/data"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:       "HDF5Data",
		New:        newHDF5Data,
		Bottoms:    Exactly(0),
		Tops:       AtLeast(1),
		NoBackward: true,
	})
}

// HDF5Data reads rows of datasets in HDF5 files (Caffe's hdf5_data_layer.cpp).
// Each top is batch_size rows of the dataset that has its name, so it has the
// dataset's shape but for the first axis; integers and floats of any size
// become float32. All datasets of a file have as many rows, and all files rows
// of the same shapes. Rows come in order, file after file; batches go on from
// one file to the next and from the last to the first. Fields of
// hdf5_data_param:
//
//	source           a text file that lists HDF5 files
//	batch_size       rows in a batch, positive
//	shuffle (false)  another order of the files, and of the rows of each, in
//	                 every epoch, drawn from the seed
//
// A transform_param is refused, as in Caffe. Other than Caffe, which keeps a
// whole file in memory, this reads what the next batch needs, while the present
// one is computed with; and all files are looked at before training starts.
type HDF5Data struct {
	base
	src      *data.HDF5Source
	batch    int
	forwards uint64
	records  uint64 // in the batches handed out

	next   [][]float32 // the batch read ahead, for each top
	asked  bool        // it is being read, or is there
	ask    chan struct{}
	answer chan error
	waited time.Duration
}

func newHDF5Data(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &HDF5Data{base: newBase(p, ctx)}
	if p.TransformParam != nil {
		return nil, errors.New("transform_param: HDF5Data does not transform data: store them transformed, or remove the field (scale, mean and the like are done by Scale, Bias and Power layers)")
	}
	l.warnUnused("hdf5_data_param")
	return l, nil
}

// Setup opens the files and shapes the tops.
func (l *HDF5Data) Setup(_, top []*tensor.Blob) error {
	p := l.p.GetHdf5DataParam()
	var err error
	if l.batch, err = positive("batch_size", p.GetBatchSize()); err != nil {
		return fmt.Errorf("hdf5_data_param: %w", err)
	}
	if p.GetSource() == "" {
		return errors.New("hdf5_data_param: source is not set")
	}
	source := l.ctx.Path(p.GetSource())
	l.ctx.Log.Info("Loading list of HDF5 filenames from: " + source)
	l.src, err = data.OpenHDF5(source, data.HDF5Options{
		Datasets: l.p.Top,
		Path:     l.ctx.Path,
		Shuffle:  p.GetShuffle(),
		Seed:     l.ctx.Seed,
		Name:     l.p.GetName(),
	})
	if err != nil {
		return err
	}
	l.ctx.Log.Info(fmt.Sprintf("Number of HDF5 files: %d", l.src.Files()))
	for i, t := range top {
		if err := reshape(t, append([]int{l.batch}, l.src.RowShape(i)...)...); err != nil {
			return fmt.Errorf("top %q: %w", l.p.Top[i], err)
		}
	}
	return nil
}

// Reshape does nothing: all batches have the shape that Setup gave the tops.
func (l *HDF5Data) Reshape(_, _ []*tensor.Blob) error { return nil }

// read reads batches as they are asked for.
func (l *HDF5Data) read() {
	for range l.ask {
		l.answer <- l.src.Next(l.next, l.batch)
	}
}

// askNext has the next batch read.
func (l *HDF5Data) askNext(top []*tensor.Blob) {
	if l.ask == nil {
		l.ask, l.answer = make(chan struct{}), make(chan error, 1)
		l.next = make([][]float32, len(top))
		for i, t := range top {
			l.next[i] = make([]float32, t.Count())
		}
		go l.read()
	}
	l.ask <- struct{}{}
	l.asked = true
}

// Forward waits for the next batch.
func (l *HDF5Data) Forward(_, top []*tensor.Blob) error {
	if !l.asked {
		l.askNext(top)
	}
	began := time.Now()
	err := <-l.answer
	l.waited += time.Since(began)
	l.asked = false
	if err != nil {
		return err
	}
	for i, t := range top {
		copy(t.Data(), l.next[i])
	}
	l.forwards++
	l.records += uint64(l.batch)
	l.askNext(top)
	return nil
}

// Backward does nothing: there are no bottoms.
func (l *HDF5Data) Backward(_ []*tensor.Blob, _ []bool, _ []*tensor.Blob) error { return nil }

// finish waits for the batch that is read ahead and drops it.
func (l *HDF5Data) finish() {
	if l.asked {
		<-l.answer
		l.asked = false
	}
}

// Cursor implements Stateful.
func (l *HDF5Data) Cursor() *caffepb.LayerCursor {
	return &caffepb.LayerCursor{
		Name:     proto.String(l.p.GetName()),
		Forwards: proto.Uint64(l.forwards),
		Records:  proto.Uint64(l.records),
	}
}

// SetCursor implements Stateful.
func (l *HDF5Data) SetCursor(c *caffepb.LayerCursor) error {
	l.finish()
	l.forwards, l.records = c.GetForwards(), c.GetRecords()
	return l.src.Seek(l.records)
}

// Waited implements Waiter.
func (l *HDF5Data) Waited() float64 { return l.waited.Seconds() }

// Close stops the reading and closes the file.
func (l *HDF5Data) Close() error {
	l.finish()
	if l.ask != nil {
		close(l.ask)
		l.ask = nil
	}
	if l.src == nil {
		return nil
	}
	return l.src.Close()
}
