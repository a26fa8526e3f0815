package data

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
)

// ComputeMean returns the mean of all pictures of a database, a BlobProto of
// the legacy shape 1×C×H×W, as Caffe's compute_image_mean writes it. Encoded
// records are decoded as they are. All pictures must have one size. log may be
// nil.
//
// Bytes are summed as integers, so the mean is exact to the last bit of the
// final division, where Caffe's float sums begin to round at some 65,000
// pictures.
func ComputeMean(ctx context.Context, db string, backend Backend, log *slog.Logger) (*caffepb.BlobProto, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d, err := OpenDB(db, backend)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	cur := d.Cursor()
	defer cur.Close()
	m := meanJob{db: d, log: log, damaged: damageLog{log: log}}
	n := 0
	err = d.Guard(func() (err error) {
		n, err = m.run(ctx, cur)
		return err
	})
	if err == nil {
		if i, ok := d.(intacter); ok {
			err = i.intact()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("database %q: %w", db, err)
	}
	b := &caffepb.BlobProto{
		Num: proto.Int32(1), Channels: proto.Int32(int32(m.c)), Height: proto.Int32(int32(m.h)), Width: proto.Int32(int32(m.w)),
		Data: make([]float32, len(m.floats)),
	}
	for i := range b.Data {
		b.Data[i] = float32((m.floats[i] + float64(m.ints[i])) / float64(n))
	}
	log.Info(fmt.Sprintf("Number of channels: %d", m.c))
	for c, v := range ChannelMeans(b) {
		log.Info(fmt.Sprintf("mean_value channel [%d]: %.6g", c, v))
	}
	return b, nil
}

// ChannelMeans returns the mean of each channel of a mean file, the values for
// mean_value.
func ChannelMeans(b *caffepb.BlobProto) []float32 {
	means := make([]float32, b.GetChannels())
	n := int(b.GetHeight()) * int(b.GetWidth())
	for c := range means {
		var s float64
		for _, v := range b.Data[c*n : (c+1)*n] {
			s += float64(v)
		}
		means[c] = float32(s / float64(n))
	}
	return means
}

// A meanJob sums the pictures of a database. Bytes are summed by workers, in
// any order since integers allow it; floats by the reader, in the records'
// order.
type meanJob struct {
	db      DB
	log     *slog.Logger
	damaged damageLog
	c, h, w int
	floats  []float64

	mu    sync.Mutex
	ints  []uint64
	err   error // of the first failing record
	errAt int
}

// A meanItem is a record to decode and add.
type meanItem struct {
	i          int
	key, value []byte
}

func (m *meanJob) fail(i int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil || i < m.errAt {
		m.err, m.errAt = err, i
	}
}

func (m *meanJob) failed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err != nil
}

// run reads all records and returns their number.
func (m *meanJob) run(ctx context.Context, cur Cursor) (n int, err error) {
	key, value, err := cur.First()
	if err == io.EOF {
		return 0, fmt.Errorf("no records")
	}
	if err != nil {
		return 0, err
	}
	first, err := parseDatum(value)
	if err == nil {
		m.c, m.h, m.w, err = first.shape(Native)
	}
	if err != nil {
		return 0, fmt.Errorf("record %q: %w", key, err)
	}
	if first.encoded {
		m.log.Info("Decoding Datum")
	}
	m.ints = make([]uint64, m.c*m.h*m.w)
	m.floats = make([]float64, len(m.ints))
	m.log.Info("Starting iteration")

	items := make(chan meanItem, 4*runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() { m.work(items) })
	}
	var im Image
	for err == nil && ctx.Err() == nil && !m.failed() {
		var d datum
		if d, err = parseDatum(value); err != nil {
			err = fmt.Errorf("record %q: %w", key, err)
			break
		}
		if d.encoded || len(d.data) > 0 {
			items <- meanItem{n, key, value}
		} else if err = m.add(key, &d, &im, nil); err != nil {
			break
		}
		if n++; n%10000 == 0 {
			m.log.Info(fmt.Sprintf("Processed %d files.", n))
		}
		key, value, err = cur.Next()
	}
	close(items)
	wg.Wait()
	switch {
	case m.err != nil: // of an earlier record than err's
		return 0, m.err
	case err != nil && err != io.EOF:
		return 0, err
	case ctx.Err() != nil:
		return 0, ctx.Err()
	}
	if n%10000 != 0 {
		m.log.Info(fmt.Sprintf("Processed %d files.", n))
	}
	return n, nil
}

// work adds records to a sum of its own and that to the whole.
func (m *meanJob) work(items <-chan meanItem) {
	var im Image
	sum := make([]uint64, len(m.ints))
	for it := range items {
		err := m.db.Guard(func() error {
			d, err := parseDatum(it.value)
			if err != nil {
				return err
			}
			return m.add(it.key, &d, &im, sum)
		})
		if err != nil {
			m.fail(it.i, err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, v := range sum {
		m.ints[i] += v
	}
}

// add decodes a record and adds bytes to sum, floats to m.floats.
func (m *meanJob) add(key []byte, d *datum, im *Image, sum []uint64) error {
	if err := d.decode(Native, im); err != nil {
		return fmt.Errorf("record %q: %w", key, err)
	}
	if im.Warning != "" {
		m.damaged.note(fmt.Sprintf("record %q", key), im.Warning)
	}
	if im.C != m.c || im.H != m.h || im.W != m.w {
		from := fromDatabase
		if d.encoded {
			from = fromEncoded
		}
		return fmt.Errorf("record %q: picture is %d×%d×%d (channels×height×width), the first one %d×%d×%d, and a mean needs pictures of one size%s",
			key, im.C, im.H, im.W, m.c, m.h, m.w, meanAdvice([3]int{im.C, im.H, im.W}, [3]int{m.c, m.h, m.w}, from))
	}
	for i, v := range im.Float {
		m.floats[i] += float64(v)
	}
	if im.Pix != nil {
		sum = sum[:len(im.Pix)]
		for i, v := range im.Pix {
			sum[i] += uint64(v)
		}
	}
	return nil
}
