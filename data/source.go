package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"crema/internal/infile"
	"crema/internal/rng"
)

// A Position says where a Source stands: how many records it has handed out
// since the run began, and the key of the next one (databases only).
type Position struct {
	Records uint64
	NextKey []byte
}

// A record is what a Source hands out: where to find a picture, not yet
// decoded.
type record struct {
	ordinal uint64 // records handed out before it
	name    string // key or file, for messages
	value   []byte // database: a serialized Datum
	path    string // image file
	label   int32  // image file
	line    int32  // image file: of the list
	window  *Window
	mirror  bool // of a window
	wrapped bool // the source begins again after this record
}

// A Source hands out records in order, for ever. The methods that move it are
// called from one goroutine, shape and decode from any.
type Source interface {
	// next fills r with the record at the position and moves on.
	next(r *record) error
	// peek fills r with the record at the position.
	peek(r *record) error
	position() Position
	seek(p Position) error
	// guard calls f, which reads r or its picture, and returns its error, or
	// one if what r is a view of cannot be read.
	guard(r *record, f func() error) error
	// shape returns the size of r's picture after decode, decoding as little
	// as possible.
	shape(r *record) (c, h, w int, err error)
	// decode makes im r's picture and returns its label.
	decode(r *record, im *Image) (label float32, err error)
	// check reports whether records handed out so far may be trusted. It may be
	// called from any goroutine.
	check() error
	// reopen makes a source whose records a writer has changed meanwhile
	// continue with those that are there now, from position p on. It reports
	// whether this is such a source. No record may be in use.
	reopen(p Position) (ok bool, err error)
	Close() error
}

// A dbSource hands out the records of a database in the order of their keys
// (Caffe's data_layer.cpp).
type dbSource struct {
	path string
	db   DB
	cur  Cursor
	mode ColorMode
	log  *slog.Logger

	damaged    damageLog
	records    uint64
	key, value []byte // the record at the position; value is a view of db
	reopened   int    // how often
}

// take makes the record at the position the one that a cursor returned.
func (s *dbSource) take(key, value []byte) error {
	s.value = value
	return s.db.Guard(func() error {
		s.key = append(s.key[:0], key...)
		return nil
	})
}

// NewDBSource returns a source of a database's records, from the first on.
// Encoded records are decoded under mode. It owns db, also if it fails. Path
// is for messages.
func NewDBSource(path string, db DB, mode ColorMode, log *slog.Logger) (Source, error) {
	s := &dbSource{path: path, db: db, cur: db.Cursor(), mode: mode, log: log, damaged: damageLog{log: log}}
	if err := s.first(); err != nil {
		s.Close()
		return nil, err
	}
	err := db.Guard(func() error {
		if d, err := parseDatum(s.value); err == nil && !d.encoded && mode != Native && log != nil {
			log.Error("force_color and force_gray only for encoded datum")
		}
		return nil
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *dbSource) first() error {
	k, v, err := s.cur.First()
	if err == io.EOF {
		return fmt.Errorf("database %q has no records", s.path)
	}
	if err != nil {
		return fmt.Errorf("database %q: %w", s.path, err)
	}
	return s.take(k, v)
}

func (s *dbSource) peek(r *record) error {
	*r = record{ordinal: s.records, name: string(s.key), value: s.value}
	return nil
}

func (s *dbSource) next(r *record) error {
	if err := s.peek(r); err != nil {
		return err
	}
	k, v, err := s.cur.Next()
	switch err {
	case nil:
		if err := s.take(k, v); err != nil {
			return err
		}
	case io.EOF:
		r.wrapped = true
		if err := s.first(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("database %q after record %q: %w", s.path, r.name, err)
	}
	s.records++
	return nil
}

func (s *dbSource) position() Position {
	return Position{Records: s.records, NextKey: bytes.Clone(s.key)}
}

// seek goes to the record with p's key. If the database has changed and there
// is no such record it warns and goes on with the next one in order.
func (s *dbSource) seek(p Position) error {
	s.records = p.Records
	if len(p.NextKey) == 0 {
		return s.first()
	}
	k, v, err := s.cur.Seek(p.NextKey)
	switch {
	case err == io.EOF:
		if err := s.first(); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("database %q at record %q: %w", s.path, p.NextKey, err)
	default:
		if err := s.take(k, v); err != nil {
			return err
		}
	}
	if !bytes.Equal(s.key, p.NextKey) && s.log != nil {
		s.log.Warn(fmt.Sprintf("Database %q has no record %q to resume from: going on with %q", s.path, p.NextKey, s.key))
	}
	return nil
}

func (s *dbSource) wrap(r *record, err error) error {
	return fmt.Errorf("database %q, record %q: %w", s.path, r.name, err)
}

func (s *dbSource) shape(r *record) (c, h, w int, err error) {
	d, err := parseDatum(r.value)
	if err == nil {
		c, h, w, err = d.shape(s.mode)
	}
	if err != nil {
		err = s.wrap(r, err)
	}
	return c, h, w, err
}

func (s *dbSource) decode(r *record, im *Image) (float32, error) {
	d, err := parseDatum(r.value)
	if err == nil {
		err = d.decode(s.mode, im)
	}
	if err != nil {
		return 0, s.wrap(r, err)
	}
	if im.Warning != "" {
		s.damaged.note(fmt.Sprintf("database %q, record %q", s.path, r.name), im.Warning)
	}
	return float32(d.label), nil
}

func (s *dbSource) guard(r *record, f func() error) error {
	var ours error
	if err := s.db.Guard(func() error {
		ours = f()
		return nil
	}); err != nil {
		return s.wrap(r, err)
	}
	return ours
}

// check asks a database that notices writers whether what was read from it is
// sound.
func (s *dbSource) check() error {
	if i, ok := s.db.(intacter); ok {
		if err := i.intact(); err != nil {
			return fmt.Errorf("database %q: %w", s.path, err)
		}
	}
	return nil
}

// reopen turns to the newest state of the database.
func (s *dbSource) reopen(p Position) (ok bool, err error) {
	r, ok := s.db.(reopener)
	if !ok {
		return false, nil
	}
	db, err := r.reopen()
	if err != nil {
		return true, err
	}
	if err := errors.Join(s.cur.Close(), s.db.Close()); err != nil {
		return true, errors.Join(err, db.Close())
	}
	s.db, s.cur = db, db.Cursor()
	// A power of two: often enough to be seen, not so often as to fill the log.
	if s.reopened++; s.reopened&(s.reopened-1) == 0 && s.log != nil {
		s.log.Warn(fmt.Sprintf("Database %s is being written to: going on from record %q with its newest state (%d times so far)", s.path, p.NextKey, s.reopened))
	}
	return true, s.seek(p)
}

func (s *dbSource) Close() error {
	return errors.Join(s.cur.Close(), s.db.Close())
}

// ListOptions configure NewListSource.
type ListOptions struct {
	// List is where the files are listed, for messages.
	List string
	// Root is put before each file name, as it stands (Caffe adds no slash).
	Root string
	// Path maps Root and a file's name, joined, to a path that can be opened;
	// nil for as it is.
	Path func(string) string
	// Height and Width, if both are positive, are what files are resized to.
	Height, Width int
	Mode          ColorMode
	// Shuffle puts the files in another order in each epoch, drawn from Seed,
	// Name (the layer's) and the epoch's number.
	Shuffle bool
	Seed    uint64
	Name    string
	// Skip is the number of files to leave out at the very beginning.
	Skip int
	// Log receives warnings about damaged files; nil for none.
	Log *slog.Logger
}

// A listSource hands out the image files of a list (Caffe's
// image_data_layer.cpp).
type listSource struct {
	o       ListOptions
	damaged damageLog
	files   []ListedFile
	records uint64
	epoch   uint64 // of order
	order   []int32
}

// NewListSource returns a source of image files, which must not be empty.
func NewListSource(files []ListedFile, o ListOptions) (Source, error) {
	if len(files) == 0 {
		return nil, errors.New("list of images is empty")
	}
	if o.Skip >= len(files) {
		return nil, fmt.Errorf("not enough images to skip: %d of %d", o.Skip, len(files))
	}
	s := &listSource{o: o, damaged: damageLog{log: o.Log}, files: files}
	if o.Shuffle {
		s.order = make([]int32, len(files))
		s.shuffle(0)
	}
	return s, nil
}

// shuffle draws an epoch's order afresh, so that it depends on nothing but the
// epoch's number.
func (s *listSource) shuffle(epoch uint64) {
	for i := range s.order {
		s.order[i] = int32(i)
	}
	rng.New(s.o.Seed, "shuffle "+s.o.Name, epoch).Shuffle(len(s.order), func(i, j int) {
		s.order[i], s.order[j] = s.order[j], s.order[i]
	})
	s.epoch = epoch
}

func (s *listSource) peek(r *record) error {
	n := uint64(len(s.files))
	at := s.records + uint64(s.o.Skip)
	epoch, i := at/n, int(at%n)
	if s.order != nil {
		if epoch != s.epoch {
			s.shuffle(epoch)
		}
		i = int(s.order[i])
	}
	f := s.files[i]
	path := s.o.Root + f.Name
	if s.o.Path != nil {
		path = s.o.Path(path)
	}
	*r = record{ordinal: s.records, name: f.Name, path: path, label: f.Label, line: f.Line, wrapped: at%n == n-1}
	return nil
}

func (s *listSource) next(r *record) error {
	err := s.peek(r)
	s.records++
	return err
}

func (s *listSource) position() Position { return Position{Records: s.records} }

func (s *listSource) seek(p Position) error {
	s.records = p.Records
	return nil
}

func (s *listSource) resizes() bool { return s.o.Height > 0 && s.o.Width > 0 }

func (s *listSource) wrap(r *record, err error) error {
	return fmt.Errorf("%s:%d: %w", s.o.List, r.line, err)
}

func (s *listSource) shape(r *record) (c, h, w int, err error) {
	b, err := infile.ReadFile(r.path)
	if err != nil {
		return 0, 0, 0, s.wrap(r, err)
	}
	hd, err := readHeader(b)
	if err != nil {
		return 0, 0, 0, s.wrap(r, fmt.Errorf("%q: %w", r.path, err))
	}
	if s.resizes() {
		return hd.channels(s.o.Mode), s.o.Height, s.o.Width, nil
	}
	return hd.channels(s.o.Mode), hd.h, hd.w, nil
}

func (s *listSource) decode(r *record, im *Image) (float32, error) {
	if err := readImageFile(r.path, s.o.Mode, s.o.Height, s.o.Width, im); err != nil {
		return 0, s.wrap(r, err)
	}
	if im.Warning != "" {
		s.damaged.note(r.path, im.Warning)
	}
	return float32(r.label), nil
}

func (s *listSource) guard(_ *record, f func() error) error { return f() }

func (s *listSource) check() error { return nil }

func (s *listSource) reopen(Position) (bool, error) { return false, nil }

func (s *listSource) Close() error { return nil }

// readImageFile decodes a file and, if h and w are both positive, resizes it.
func readImageFile(path string, mode ColorMode, h, w int, im *Image) error {
	b, err := infile.ReadFile(path)
	if err != nil {
		return err
	}
	if h <= 0 || w <= 0 {
		err = DecodeImage(b, mode, im)
	} else {
		full := imagePool.Get().(*Image)
		defer imagePool.Put(full)
		if err = DecodeImage(b, mode, full); err == nil {
			Resize(im, full, h, w)
			im.Warning = full.Warning
		}
	}
	if err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	return nil
}
