package data

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"

	"google.golang.org/protobuf/proto"

	"crema/internal/infile"
	"crema/prototxt/caffepb"
)

// The magic numbers of MNIST's idx files: unsigned bytes in 3 and 1
// dimensions.
const (
	idxImages = 0x00000803
	idxLabels = 0x00000801
)

// ConvertMNIST stores the pictures and labels of two MNIST files (idx format,
// gzipped or not) in a new database (Caffe's convert_mnist_data.cpp), under
// their number in 8 digits. log may be nil. It returns the number of records.
func ConvertMNIST(ctx context.Context, images, labels, db string, backend Backend, log *slog.Logger) (n int, err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	im, err := openIdx(images, idxImages, 3)
	if err != nil {
		return 0, err
	}
	defer im.f.Close()
	lb, err := openIdx(labels, idxLabels, 1)
	if err != nil {
		return 0, err
	}
	defer lb.f.Close()
	items, rows, cols := im.dims[0], im.dims[1], im.dims[2]
	if lb.dims[0] != items {
		return 0, fmt.Errorf("%s has %d pictures but %s has %d labels", images, items, labels, lb.dims[0])
	}
	if rows < 1 || cols < 1 || rows > maxPixels/cols {
		return 0, fmt.Errorf("%s: pictures of %d×%d", images, rows, cols)
	}
	w, err := CreateDB(db, backend)
	if err != nil {
		return 0, err
	}
	defer w.Abort()
	log.Info(fmt.Sprintf("A total of %d items.", items))
	log.Info(fmt.Sprintf("Rows: %d Cols: %d", rows, cols))
	d := &caffepb.Datum{
		Channels: proto.Int32(1), Height: proto.Int32(int32(rows)), Width: proto.Int32(int32(cols)),
		Data: make([]byte, rows*cols),
	}
	var label [1]byte
	var key, value []byte
	for i := range items {
		if i%1000 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if _, err := io.ReadFull(im.r, d.Data); err != nil {
			return 0, fmt.Errorf("%s: picture %d: %w", images, i, err)
		}
		if _, err := io.ReadFull(lb.r, label[:]); err != nil {
			return 0, fmt.Errorf("%s: label %d: %w", labels, i, err)
		}
		d.Label = proto.Int32(int32(label[0]))
		if value, err = (proto.MarshalOptions{}).MarshalAppend(value[:0], d); err != nil {
			return 0, err
		}
		key = fmt.Appendf(key[:0], "%08d", i)
		if err := w.Put(key, value); err != nil {
			return 0, err
		}
	}
	log.Info(fmt.Sprintf("Processed %d files.", items))
	return items, w.Commit()
}

// An idxFile is open behind its header.
type idxFile struct {
	f    *os.File
	r    io.Reader
	dims [3]int
}

// openIdx opens an idx file, unpacking it if it is gzipped, and reads its
// header: the magic number and the dimensions, big-endian.
func openIdx(path string, magic uint32, dims int) (*idxFile, error) {
	f, err := infile.Open(path)
	if err != nil {
		return nil, err
	}
	x := &idxFile{f: f}
	if err := x.readHeader(magic, dims); err != nil {
		f.Close()
		want := infile.IdxImages
		if magic == idxLabels {
			want = infile.IdxLabels
		}
		if msg := infile.Sniff(path).Instead(want); msg != "" {
			return nil, fmt.Errorf("%q: %s", path, msg)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return x, nil
}

func (x *idxFile) readHeader(magic uint32, dims int) error {
	br := bufio.NewReaderSize(x.f, 1<<16)
	x.r = br
	if b, err := br.Peek(2); err == nil && b[0] == 0x1f && b[1] == 0x8b {
		z, err := gzip.NewReader(br)
		if err != nil {
			return err
		}
		x.r = bufio.NewReaderSize(z, 1<<16)
	}
	var b [16]byte
	if _, err := io.ReadFull(x.r, b[:4]); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if m := binary.BigEndian.Uint32(b[:]); m != magic {
		return fmt.Errorf("magic number is %#08x, not %#08x: not the MNIST file expected here", m, magic)
	}
	if _, err := io.ReadFull(x.r, b[4:4+4*dims]); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	for i := range dims {
		x.dims[i] = int(int32(binary.BigEndian.Uint32(b[4+4*i:])))
		if x.dims[i] < 0 {
			return fmt.Errorf("dimension %d is %d", i, x.dims[i])
		}
	}
	return nil
}
