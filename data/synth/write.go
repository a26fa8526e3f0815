package synth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"runtime"
	"sync"

	"crema/data"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// An Encoding says how the pixels of an image lie in its Datum.
type Encoding int

// The encodings.
const (
	Raw  Encoding = iota // planar bytes
	JPEG                 // a JPEG file of quality 95, what OpenCV writes by default
	PNG                  // a PNG file, lossless
)

// WriteOptions are the options of Write; the zero value is the default.
type WriteOptions struct {
	Encoding Encoding
	// Progress is called from Write's goroutine after some records were
	// written, with their number so far; nil for none.
	Progress func(done int)
}

// Write draws the images 0 to count-1 of a split and writes them as a new LMDB
// at path, where nothing may exist. Keys are the image numbers in eight digits
// or more, values are Caffe Datums. The database appears under its name when
// it is complete; if ctx ends before, or anything fails, nothing stays.
func Write(ctx context.Context, path string, set Set, split string, count int, o WriteOptions) (err error) {
	if count < 1 {
		return fmt.Errorf("%s: %d images, must be at least 1", path, count)
	}
	if o.Encoding < Raw || o.Encoding > PNG {
		return fmt.Errorf("%s: unknown encoding %d", path, o.Encoding)
	}
	if c := set.Shape().Channels; o.Encoding != Raw && c != 1 && c != 3 {
		return fmt.Errorf("%s: images of %d channels cannot be encoded, only raw", path, c)
	}
	w, err := data.CreateDB(path, data.LMDB)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Abort())
		}
	}()
	// Ending the drawers also when writing fails needs a context of our own.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	width := max(8, len(fmt.Sprint(count-1)))
	done := 0
	for c := range drawChunks(ctx, set, split, count, o.Encoding) {
		<-c.ready
		if c.err != nil {
			return fmt.Errorf("%s: after %d of %d images: %w", path, done, count, c.err)
		}
		for _, v := range c.records {
			if err := w.Put(fmt.Appendf(nil, "%0*d", width, done), v); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			done++
		}
		if o.Progress != nil {
			o.Progress(done)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: after %d of %d images: %w", path, done, count, err)
	}
	return w.Commit()
}

// A chunk is a run of consecutive records. ready is closed when the others
// are set.
type chunk struct {
	ready   chan struct{}
	records [][]byte
	err     error
}

// drawChunks draws on as many goroutines as there are processors and hands out
// the chunks in order. At most two chunks a goroutine exist at a time. When
// ctx ends, the channel is closed early.
func drawChunks(ctx context.Context, set Set, split string, count int, enc Encoding) <-chan *chunk {
	type job struct {
		lo, hi int
		out    *chunk
	}
	workers := runtime.GOMAXPROCS(0)
	// A chunk of about a megabyte is worth handing over.
	size := min(max(1<<20/set.Shape().Bytes(), 1), 256)
	jobs := make(chan job)
	ordered := make(chan *chunk, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			d := newEncoder(set, enc)
			for j := range jobs {
				for i := j.lo; i < j.hi && j.out.err == nil && ctx.Err() == nil; i++ {
					var rec []byte
					rec, j.out.err = d.record(split, i)
					j.out.records = append(j.out.records, rec)
				}
				if j.out.err == nil {
					j.out.err = ctx.Err()
				}
				close(j.out.ready)
			}
		})
	}
	go func() {
		defer close(ordered)
		defer wg.Wait()
		defer close(jobs)
		for lo := 0; lo < count; lo += size {
			c := &chunk{ready: make(chan struct{})}
			select {
			case jobs <- job{lo, min(lo+size, count), c}:
			case <-ctx.Done():
				return
			}
			select {
			case ordered <- c:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ordered
}

// An encoder makes records of images.
type encoder struct {
	drawer Drawer
	shape  Shape
	enc    Encoding
	pix    []byte
	rgba   *image.RGBA // for encoding colour images
	datum  caffepb.Datum
}

func newEncoder(set Set, enc Encoding) *encoder {
	e := &encoder{drawer: set.NewDrawer(), shape: set.Shape(), enc: enc}
	e.pix = make([]byte, e.shape.Bytes())
	if enc == Raw {
		e.datum.Channels = proto.Int32(int32(e.shape.Channels))
		e.datum.Height = proto.Int32(int32(e.shape.Height))
		e.datum.Width = proto.Int32(int32(e.shape.Width))
		return e
	}
	// As in databases of Caffe's convert_imageset, the shape of an encoded
	// image is known only to the image.
	e.datum.Encoded = proto.Bool(true)
	if e.shape.Channels == 3 {
		e.rgba = image.NewRGBA(image.Rect(0, 0, e.shape.Width, e.shape.Height))
	}
	return e
}

// record returns image i of a split as a Datum, in a slice of its own.
func (e *encoder) record(split string, i int) ([]byte, error) {
	e.datum.Label = proto.Int32(int32(e.drawer.Draw(split, i, e.pix)))
	e.datum.Data = e.pix
	if e.enc != Raw {
		var b bytes.Buffer
		var err error
		if e.enc == JPEG {
			err = jpeg.Encode(&b, e.image(), &jpeg.Options{Quality: 95})
		} else {
			err = png.Encode(&b, e.image())
		}
		if err != nil {
			return nil, err
		}
		e.datum.Data = b.Bytes()
	}
	return proto.Marshal(&e.datum)
}

// image returns the image just drawn, valid until the next.
func (e *encoder) image() image.Image {
	h, w := e.shape.Height, e.shape.Width
	if e.rgba == nil {
		return &image.Gray{Pix: e.pix, Stride: w, Rect: image.Rect(0, 0, w, h)}
	}
	n := h * w
	for i := range n {
		p := e.rgba.Pix[4*i : 4*i+4]
		p[0], p[1], p[2], p[3] = e.pix[2*n+i], e.pix[n+i], e.pix[i], 255
	}
	return e.rgba
}
