// Package features stores the blobs that a net computes for batch after batch,
// as Caffe's extract_features does: in databases of Datums, in arrays of numpy and
// in HDF5 files. What is stored appears when it is complete and not before.
//
// Create begins, the Writer of each blob takes the rows of one batch after
// another, and Commit or Abort ends it. A Store and its writers are used by one
// goroutine at a time.
package features

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"crema/data"
	"crema/hdf5"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// A Writer stores one blob of a net. Its values are rows: what belongs to one
// item of the batch.
type Writer interface {
	// Add stores shape[0] rows of the shape shape[1:]; without axes, one row of
	// one value. values are in row-major order, as many as the product of shape,
	// and may be used again afterwards. Rows must have the same shape in every
	// batch, except in a database; that they do not is an error, and so is what
	// the system says about writing.
	Add(shape []int, values []float32) error
	// Rows returns the number of rows so far.
	Rows() int
}

// A Store holds the writers of several blobs, which appear together.
type Store struct {
	writers []Writer
	commit  []func() error
	abort   []func() error
}

// Kinds lists what Create takes.
var Kinds = []string{"lmdb", "leveldb", "npy", "hdf5"}

// Create begins to store blobs of the given names at the given paths. For
// databases and arrays there is a path for each blob; of HDF5 files there may
// also be one for all, with a dataset for each blob, named like it with "_" for
// "/". A database must not exist yet; a file is replaced. An unknown kind, two
// blobs at one path, and paths that cannot be written to are errors; then nothing
// is left behind.
func Create(kind string, blobs, paths []string) (_ *Store, err error) {
	s := &Store{}
	defer func() {
		if err != nil {
			s.Abort()
		}
	}()
	kind = strings.ToLower(kind)
	if kind == "hdf5" && len(paths) == 1 {
		for len(paths) < len(blobs) {
			paths = append(paths, paths[0])
		}
	}
	if len(paths) != len(blobs) {
		return nil, fmt.Errorf("%d blobs for %d outputs: give one for each", len(blobs), len(paths))
	}
	taken := map[string]string{}
	files := map[string]*hdf5.RowWriter{}
	for i, path := range paths {
		clean := filepath.Clean(path)
		if other, ok := taken[clean]; ok && kind != "hdf5" {
			return nil, fmt.Errorf("blobs %q and %q would both be written to %s", other, blobs[i], path)
		}
		taken[clean] = blobs[i]
		switch kind {
		case "lmdb", "leveldb":
			backend, err := data.ParseBackend(kind)
			if err != nil {
				return nil, err
			}
			w, err := data.CreateDB(path, backend)
			if err != nil {
				return nil, err
			}
			s.add(&dbWriter{w: w}, w.Commit, w.Abort)
		case "npy":
			w, err := createNPY(path)
			if err != nil {
				return nil, err
			}
			s.add(w, w.commit, w.abort)
		case "hdf5":
			f := files[clean]
			if f == nil {
				f = hdf5.NewRowWriter(path)
				files[clean] = f
				s.commit, s.abort = append(s.commit, f.Close), append(s.abort, f.Discard)
			}
			s.writers = append(s.writers, &hdf5Writer{f, strings.ReplaceAll(blobs[i], "/", "_")})
		default:
			return nil, fmt.Errorf("unknown kind %q of output (%s)", kind, strings.Join(Kinds, ", "))
		}
	}
	return s, nil
}

func (s *Store) add(w Writer, commit, abort func() error) {
	s.writers, s.commit, s.abort = append(s.writers, w), append(s.commit, commit), append(s.abort, abort)
}

// Writer returns the writer of the i-th blob.
func (s *Store) Writer(i int) Writer { return s.writers[i] }

// Commit makes what was stored appear, one path after another. If one fails, it
// and those behind it are aborted; those before it stay.
func (s *Store) Commit() error {
	for i, f := range s.commit {
		if err := f(); err != nil {
			s.commit, s.abort = s.commit[i:], s.abort[i:]
			return errors.Join(err, s.Abort())
		}
	}
	s.commit, s.abort = nil, nil
	return nil
}

// Abort removes what was stored and is not yet committed.
func (s *Store) Abort() error {
	var errs []error
	for _, f := range s.abort {
		errs = append(errs, f())
	}
	s.commit, s.abort = nil, nil
	return errors.Join(errs...)
}

// rows returns how many rows an array of a shape has, and the shape of a row.
func rows(shape []int) (n int, row []int) {
	if len(shape) == 0 {
		return 1, nil
	}
	return shape[0], shape[1:]
}

// dbWriter stores rows as Datums with float_data and without a label, as
// extract_features does: keys are the row's number in ten digits; channels, height
// and width are the axes behind the first, 1 where there are fewer.
type dbWriter struct {
	w data.DBWriter
	n int
}

func (d *dbWriter) Rows() int { return d.n }

func (d *dbWriter) Add(shape []int, values []float32) error {
	n, row := rows(shape)
	if len(row) > 3 {
		return fmt.Errorf("a record of a database has three axes, the rows of this blob %d: write npy or hdf5", len(row))
	}
	dims := [3]int32{1, 1, 1}
	size := 1
	for i, v := range row {
		dims[i] = int32(v)
		size *= v
	}
	for i := range n {
		v, err := proto.Marshal(&caffepb.Datum{Channels: &dims[0], Height: &dims[1], Width: &dims[2], FloatData: values[i*size:][:size]})
		if err != nil {
			return err
		}
		if err := d.w.Put(fmt.Appendf(nil, "%010d", d.n), v); err != nil {
			return err
		}
		d.n++
	}
	return nil
}

type hdf5Writer struct {
	f    *hdf5.RowWriter
	name string
}

func (h *hdf5Writer) Rows() int { return h.f.Rows(h.name) }

func (h *hdf5Writer) Add(shape []int, values []float32) error {
	if len(shape) == 0 {
		shape = []int{1}
	}
	return h.f.Append(h.name, shape, values)
}
