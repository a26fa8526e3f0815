package data

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"crema/internal/memory"
	"crema/internal/par"
	"crema/lmdb"
	"crema/tensor"
)

// LoaderOptions configure NewLoader.
type LoaderOptions struct {
	// BatchSize is the number of records in a batch; at least 1.
	BatchSize int
	// Prefetch is the number of batches read ahead; 0 means 4, Caffe's default.
	Prefetch int
	// Workers is the number of goroutines that decode and transform; 0 means
	// GOMAXPROCS.
	Workers int
	// Log receives Caffe's line about starting again; nil for none.
	Log *slog.Logger
}

// A Transform computes from a picture what a batch holds of it: a Transformer
// or a WindowTransformer. It is used by several goroutines at once.
type Transform interface {
	// OutShape returns the size of a c×h×w picture after the transform, or why
	// it has none.
	OutShape(c, h, w int) (oc, oh, ow int, err error)
	// transform writes record r's picture to dst, planar, of OutShape's size.
	transform(dst []float32, im *Image, r *record) error
}

// A Loader reads batches ahead of its consumer. One goroutine reads records
// and deals them out to workers; batches come out in the source's order,
// whatever order the workers finish in. Memory is bounded: Prefetch batches,
// allocated once and reused.
type Loader struct {
	src Source
	tr  Transform
	o   LoaderOptions

	first   [3]int // shape of the first record after the transform
	pos     Position
	waited  time.Duration
	err     error // sticky
	running bool
	closed  bool

	// Of the present run of the goroutines.
	free, full chan *batch
	quit       chan struct{}
	goroutines sync.WaitGroup
}

var errClosed = errors.New("loader is closed")

// A batch is one unit of prefetching. The producer fills recs, shape, pos and
// wraps; the workers data, label and errs; the consumer reads them after done.
type batch struct {
	recs  []record
	shape [3]int
	data  []float32
	label []float32
	pos   Position // behind the batch
	wraps int

	left atomic.Int32 // jobs not yet done
	done chan struct{}

	mu    sync.Mutex
	err   error // of the first failing record
	errAt int
}

func (b *batch) fail(i int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil || i < b.errAt {
		b.err, b.errAt = err, i
	}
}

// A job is the records lo ≤ i < hi of a batch.
type job struct {
	b      *batch
	lo, hi int
}

// NewLoader starts loading from the source's position. The first record's
// shape, and its fit to the transform, are checked at once. The loader owns
// src, also if NewLoader fails.
func NewLoader(src Source, tr Transform, o LoaderOptions) (*Loader, error) {
	if o.BatchSize < 1 {
		src.Close()
		return nil, errors.New("batch_size must be positive")
	}
	if o.Prefetch == 0 {
		o.Prefetch = 4
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	l := &Loader{src: src, tr: tr, o: o, pos: src.position()}
	var r record
	if err := src.peek(&r); err != nil {
		src.Close()
		return nil, err
	}
	shape, err := l.outShape(&r)
	if err != nil {
		src.Close()
		return nil, err
	}
	l.first = shape
	// A batch's records, and what the channels hold of it, count little, unless
	// there are very many.
	each := 4*int64(shape[0])*int64(shape[1])*int64(shape[2]) + 256
	if most := int64(math.MaxInt64) / each / int64(o.BatchSize); int64(o.Prefetch) > most {
		err = memory.Check(math.MaxInt64)
	} else {
		err = memory.Check(each * int64(o.BatchSize) * int64(o.Prefetch))
	}
	if err != nil {
		src.Close()
		return nil, fmt.Errorf("reading %d batches of %d ahead (prefetch, batch_size): %w", o.Prefetch, o.BatchSize, err)
	}
	l.warnChannelsLast(&r)
	l.start()
	return l, nil
}

// warnChannelsLast logs that the records look as if their axes were in another
// order, if so: nothing else would tell of it.
func (l *Loader) warnChannelsLast(r *record) {
	if l.o.Log == nil {
		return
	}
	var s [3]int
	err := l.src.guard(r, func() (err error) {
		s[0], s[1], s[2], err = l.src.shape(r)
		return err
	})
	if err == nil && channelsLast(s) {
		l.o.Log.Warn(fmt.Sprintf("Record %q has the shape %s (channels×height×width): %s", r.name, sizeText(s), channelsLastAdvice))
	}
}

// Shape returns N, C, H, W of a batch of records like the first one.
func (l *Loader) Shape() []int {
	return []int{l.o.BatchSize, l.first[0], l.first[1], l.first[2]}
}

// outShape returns the shape of a record after the transform.
func (l *Loader) outShape(r *record) (s [3]int, err error) {
	var c, h, w int
	err = l.src.guard(r, func() (err error) {
		c, h, w, err = l.src.shape(r)
		return err
	})
	if err != nil {
		return s, err
	}
	if s[0], s[1], s[2], err = l.tr.OutShape(c, h, w); err != nil {
		return s, fmt.Errorf("record %q: %w", r.name, err)
	}
	if err := tensor.CheckShape([]int{l.o.BatchSize, s[0], s[1], s[2]}); err != nil {
		return s, fmt.Errorf("record %q: batch of %w", r.name, err)
	}
	return s, nil
}

func (l *Loader) start() {
	l.free = make(chan *batch, l.o.Prefetch)
	l.full = make(chan *batch, l.o.Prefetch)
	l.quit = make(chan struct{})
	for range l.o.Prefetch {
		l.free <- &batch{recs: make([]record, l.o.BatchSize), done: make(chan struct{}, 1)}
	}
	jobs := make(chan job, l.o.Workers)
	l.goroutines.Go(func() {
		defer close(jobs)
		l.produce(jobs)
	})
	for range l.o.Workers {
		l.goroutines.Go(func() {
			var im Image
			for j := range jobs {
				l.work(j, &im)
			}
		})
	}
	l.running = true
}

func (l *Loader) stop() {
	if l.running {
		close(l.quit)
		l.goroutines.Wait()
		l.running = false
	}
}

// produce reads records into free batches and deals them out, until it is
// stopped or an error ends the loading.
func (l *Loader) produce(jobs chan<- job) {
	// Small enough that no worker is left alone with a long rest, large enough
	// that tiny records are not dominated by channel operations.
	chunk := max(1, l.o.BatchSize/(4*l.o.Workers))
	for {
		var b *batch
		select {
		case <-l.quit:
			return
		case b = <-l.free:
		}
		b.err, b.wraps = nil, 0
		if err := l.read(b); err != nil {
			b.err = err
			b.done <- struct{}{}
			l.full <- b
			return
		}
		n := b.shape[0] * b.shape[1] * b.shape[2] * l.o.BatchSize
		if cap(b.data) < n {
			b.data = make([]float32, n)
		}
		b.data = b.data[:n]
		if b.label == nil {
			b.label = make([]float32, l.o.BatchSize)
		}
		b.left.Store(int32((l.o.BatchSize + chunk - 1) / chunk))
		l.full <- b // never blocks: there are as many places as batches
		for lo := 0; lo < l.o.BatchSize; lo += chunk {
			select {
			case <-l.quit:
				return
			case jobs <- job{b, lo, min(lo+chunk, l.o.BatchSize)}:
			}
		}
	}
}

// read fills b with the next records and the shape of the first of them.
func (l *Loader) read(b *batch) error {
	for i := range b.recs {
		if err := l.src.next(&b.recs[i]); err != nil {
			return err
		}
		if b.recs[i].wrapped {
			b.wraps++
		}
	}
	b.pos = l.src.position()
	// Caffe shapes each batch by its first record.
	var err error
	b.shape, err = l.outShape(&b.recs[0])
	return err
}

// work decodes and transforms records, with im as scratch.
func (l *Loader) work(j job, im *Image) {
	b := j.b
	n := b.shape[0] * b.shape[1] * b.shape[2]
	for i := j.lo; i < j.hi; i++ {
		r := &b.recs[i]
		if err := l.src.guard(r, func() error { return l.load(r, b.shape, b.data[i*n:(i+1)*n], &b.label[i], im) }); err != nil {
			b.fail(i, err)
		}
	}
	if b.left.Add(-1) == 0 {
		// Now, not when the batch is used: a writer has less time to overwrite
		// what it was read from.
		if err := l.src.check(); err != nil {
			b.err = err
		}
		b.done <- struct{}{}
	}
}

func (l *Loader) load(r *record, shape [3]int, dst []float32, label *float32, im *Image) (err error) {
	if *label, err = l.src.decode(r, im); err != nil {
		return err
	}
	c, h, w, err := l.tr.OutShape(im.C, im.H, im.W)
	if err == nil && [3]int{c, h, w} != shape {
		err = fmt.Errorf("picture is %d×%d×%d (channels×height×width) but its batch is %d×%d×%d: pictures of different sizes need crop_size or a batch_size of 1%s",
			c, h, w, shape[0], shape[1], shape[2], shapeAdvice([3]int{c, h, w}, shape, originOf(l.src, r)))
	}
	if err == nil {
		err = l.tr.transform(dst, im, r)
	}
	if err != nil {
		return fmt.Errorf("record %q: %w", r.name, err)
	}
	return nil
}

// Next waits for the next batch and copies it: data becomes N×C×H×W, label, if
// not nil, N. After an error it returns that error for ever.
func (l *Loader) Next(data, label *tensor.Blob) error {
	if l.err != nil {
		return l.err
	}
	if l.closed {
		return errClosed
	}
	t := time.Now()
	b, err := l.receive()
	l.waited += time.Since(t)
	if err != nil {
		l.err = err
		return err
	}
	if l.o.Log != nil {
		for range b.wraps {
			l.o.Log.Info("Restarting data prefetching from start.")
		}
	}
	data.Reshape(l.o.BatchSize, b.shape[0], b.shape[1], b.shape[2])
	dst := data.Data()
	// Copied, not swapped in: blobs further on may share data's storage.
	par.For(len(dst), 1<<16, func(lo, hi int) { copy(dst[lo:hi], b.data[lo:hi]) })
	if label != nil {
		label.Reshape(l.o.BatchSize)
		copy(label.Data(), b.label)
	}
	l.pos = b.pos
	l.free <- b
	return nil
}

// maxReopens is how often in a row a batch is read again because a writer has
// changed what it was read from.
const maxReopens = 20

// receive waits for the next batch. One that a writer has spoilt is read again.
func (l *Loader) receive() (*batch, error) {
	for tries := 0; ; tries++ {
		b := <-l.full
		<-b.done
		if b.err == nil {
			return b, nil
		}
		// What looks like damage may be what a writer is storing.
		err := b.err
		if changed := l.src.check(); changed != nil {
			err = changed
		}
		if !errors.Is(err, lmdb.ErrChanged) {
			return nil, err
		}
		if tries == maxReopens {
			return nil, fmt.Errorf("%w, %d times in a row: it is written to faster than batches are read; let the writer finish, or read a copy", err, tries+1)
		}
		l.stop()
		if ok, rerr := l.reopen(l.pos); !ok {
			return nil, err
		} else if rerr != nil {
			return nil, rerr
		}
		l.start()
	}
}

// reopen is Source.reopen, again and again while a writer comes between.
func (l *Loader) reopen(p Position) (ok bool, err error) {
	for range maxReopens {
		if ok, err = l.src.reopen(p); !errors.Is(err, lmdb.ErrChanged) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return ok, err
}

// Position returns the position behind the batch that Next returned last; what
// was read ahead does not count.
func (l *Loader) Position() Position { return l.pos }

// SetPosition makes the next batch begin at a position that Position returned.
func (l *Loader) SetPosition(p Position) error {
	if l.closed {
		return errClosed
	}
	l.stop()
	err := l.src.seek(p)
	if errors.Is(err, lmdb.ErrChanged) {
		if ok, rerr := l.reopen(p); ok {
			err = rerr
		}
	}
	if err != nil {
		l.err = err
		return err
	}
	l.pos, l.err = l.src.position(), nil
	l.start()
	return nil
}

// Waited returns how long Next has waited for batches in all.
func (l *Loader) Waited() time.Duration { return l.waited }

// Close stops the goroutines and closes the source. Closing twice is no error.
func (l *Loader) Close() error {
	l.stop()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.src.Close()
}
