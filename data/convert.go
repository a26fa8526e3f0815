package data

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/image/bmp"
	"google.golang.org/protobuf/proto"

	"crema/internal/infile"
	"crema/internal/rng"
	"crema/prototxt/caffepb"
)

// ConvertOptions are the flags of convert_imageset.
type ConvertOptions struct {
	Backend Backend
	// Gray reads pictures as grey ones.
	Gray bool
	// Shuffle changes the order of the list, drawn from Seed.
	Shuffle bool
	Seed    uint64
	// ResizeWidth and ResizeHeight, if both are positive, are the size that
	// pictures are scaled to.
	ResizeWidth, ResizeHeight int
	// CheckSize makes pictures of different sizes an error.
	CheckSize bool
	// Encoded stores encoded pictures: the file itself if it is of the type
	// wanted, else a new file. EncodeType (jpg, jpeg, png or bmp) implies it; empty
	// means the type that a file's name ends in.
	Encoded    bool
	EncodeType string
	// Log receives Caffe's lines; nil for none.
	Log *slog.Logger
}

// A ConvertResult counts what a conversion did.
type ConvertResult struct {
	Stored  int
	Skipped int // files that could not be read or decoded
}

// ConvertImages reads the image files of a list and stores them in a new
// database (Caffe's convert_imageset.cpp). The name of a file is root and the
// name in the list; a slash between them is added if root lacks it. The key of
// a record is the line's number in 8 digits, an underscore and the name in the
// list. Files are decoded in parallel and stored in order. A file that cannot
// be read or decoded is logged (the first ones by name) and left out; that none
// could be read is an error. The database appears when it is complete.
func ConvertImages(ctx context.Context, root, list, db string, o ConvertOptions) (ConvertResult, error) {
	var res ConvertResult
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	o.EncodeType = strings.ToLower(o.EncodeType)
	if o.EncodeType != "" {
		if _, err := encoderFor(o.EncodeType); err != nil {
			return res, err
		}
		if !o.Encoded {
			log.Info("encode_type specified, assuming encoded=true.")
			o.Encoded = true
		}
	}
	files, err := ReadList(list)
	if err != nil {
		return res, err
	}
	WarnBare(list, files, log)
	if o.Shuffle {
		log.Info("Shuffling data")
		rng.New(o.Seed, "convert_imageset").Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	}
	log.Info(fmt.Sprintf("A total of %d images.", len(files)))
	if root != "" && !strings.HasSuffix(root, "/") {
		root += "/"
	}
	w, err := CreateDB(db, o.Backend)
	if err != nil {
		return res, err
	}
	defer w.Abort()

	damaged := damageLog{log: log}
	var size int
	var key []byte
	err = inOrder(ctx, len(files), func(i int) converted {
		return convertFile(root+files[i].Name, files[i].Label, &o)
	}, func(i int, c converted) error {
		if c.skip != nil {
			if res.Skipped++; res.Skipped <= maxWarnings {
				log.Error("Could not open or find file " + root + files[i].Name + ": " + c.skip.Error())
			} else if res.Skipped == maxWarnings+1 {
				log.Error(fmt.Sprintf("More than %d files could not be read: no further ones are named", maxWarnings))
			}
			return nil
		}
		if c.err != nil {
			return c.err
		}
		if c.warning != "" {
			damaged.note(root+files[i].Name, c.warning)
		}
		if o.CheckSize {
			if size == 0 {
				size = c.size
			}
			if c.size != size {
				return fmt.Errorf("%q: picture of %d values, the first one has %d: --resize_height and --resize_width make all of one size", root+files[i].Name, c.size, size)
			}
		}
		key = fmt.Appendf(key[:0], "%08d_%s", i, files[i].Name)
		if err := w.Put(key, c.value); err != nil {
			return fmt.Errorf("%q: %w", root+files[i].Name, err)
		}
		if res.Stored++; res.Stored%1000 == 0 {
			log.Info(fmt.Sprintf("Processed %d files.", res.Stored))
		}
		return nil
	})
	if err != nil {
		return res, err
	}
	if res.Stored == 0 {
		return res, fmt.Errorf("%q: no image could be read, of %d", list, len(files))
	}
	if res.Stored%1000 != 0 {
		log.Info(fmt.Sprintf("Processed %d files.", res.Stored))
	}
	if res.Skipped > 0 {
		log.Warn(fmt.Sprintf("Skipped %d files that could not be read.", res.Skipped))
	}
	return res, w.Commit()
}

// converted is a file's record, or why there is none.
type converted struct {
	value []byte
	size  int   // values of the picture
	skip  error // the file is unreadable
	err   error
	// warning is about a picture that is damaged but readable.
	warning string
}

func convertFile(path string, label int32, o *ConvertOptions) converted {
	mode := Color
	if o.Gray {
		mode = Gray
	}
	b, err := infile.ReadFile(path)
	if err != nil {
		return converted{skip: infile.Cause(err)}
	}
	// The record is a copy, so the scratch can go back at the end.
	im := imagePool.Get().(*Image)
	defer imagePool.Put(im)
	native, err := decodeImage(b, mode, im)
	if err != nil {
		return converted{skip: err}
	}
	warning := im.Warning
	resize := o.ResizeHeight > 0 && o.ResizeWidth > 0
	if resize {
		full := im
		im = imagePool.Get().(*Image)
		defer imagePool.Put(im)
		Resize(im, full, o.ResizeHeight, o.ResizeWidth)
	}
	d := im.Datum(int(label))
	if o.Encoded {
		ext := strings.ToLower(strings.TrimPrefix(filepath.Ext(path), "."))
		typ := o.EncodeType
		if typ == "" {
			typ = ext
		}
		// A file of the type wanted is stored as it is unless it was resized.
		// Unlike in Caffe, --gray encodes a colour file anew: stored as it is,
		// it would come back in colour.
		d = &caffepb.Datum{Label: proto.Int32(label), Encoded: proto.Bool(true)}
		if !resize && (!o.Gray || native == 1) && (typ == ext || typ == "jpg" && ext == "jpeg") {
			d.Data = b
		} else if d.Data, err = encode(im, typ); err != nil {
			return converted{err: fmt.Errorf("%q: %w", path, err)}
		}
	}
	v, err := proto.Marshal(d)
	if err != nil {
		return converted{err: fmt.Errorf("%q: %w", path, err)}
	}
	return converted{value: v, size: im.C * im.H * im.W, warning: warning}
}

// encoderFor returns the encoder of an --encode_type. JPEG files get OpenCV's
// default quality.
func encoderFor(typ string) (func(*bytes.Buffer, image.Image) error, error) {
	switch typ {
	case "jpg", "jpeg":
		return func(w *bytes.Buffer, m image.Image) error { return jpeg.Encode(w, m, &jpeg.Options{Quality: 95}) }, nil
	case "png":
		return func(w *bytes.Buffer, m image.Image) error { return png.Encode(w, m) }, nil
	case "bmp":
		return func(w *bytes.Buffer, m image.Image) error { return bmp.Encode(w, m) }, nil
	}
	return nil, fmt.Errorf("cannot encode pictures as %q (jpg, jpeg, png or bmp)", typ)
}

func encode(im *Image, typ string) ([]byte, error) {
	enc, err := encoderFor(typ)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := enc(&buf, im.Picture()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// inOrder calls work(i) for 0 ≤ i < n on several goroutines and use(i, result)
// on the caller's in ascending order. At most a few results per goroutine wait
// to be used. It ends at the first error of use or when ctx is cancelled.
func inOrder[T any](ctx context.Context, n int, work func(i int) T, use func(i int, t T) error) error {
	workers := runtime.GOMAXPROCS(0)
	type task struct {
		i   int
		out chan T
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks := make(chan task)
	pending := make(chan chan T, 4*workers)
	go func() {
		defer close(tasks)
		defer close(pending)
		for i := range n {
			t := task{i, make(chan T, 1)}
			select {
			case pending <- t.out:
			case <-ctx.Done():
				return
			}
			select {
			case tasks <- t:
			case <-ctx.Done():
				return
			}
		}
	}()
	for range workers {
		go func() {
			for t := range tasks {
				t.out <- work(t.i)
			}
		}()
	}
	for i := 0; i < n; i++ {
		var t T
		select {
		case out, ok := <-pending:
			if !ok {
				return ctx.Err()
			}
			select {
			case t = <-out:
			case <-ctx.Done():
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := use(i, t); err != nil {
			return err
		}
	}
	return ctx.Err()
}
