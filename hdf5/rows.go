package hdf5

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"crema/internal/atomicfile"
)

// A RowWriter appends rows to the datasets of a new file. Rows wait in nameless
// temporary files in the folder of the file, which appears under its name,
// whole, only when Close is called.
type RowWriter struct {
	path string
	sets []*rows
	buf  []byte
}

// rows is a dataset of a RowWriter.
type rows struct {
	name string
	row  []int // shape of a row
	n    int
	size int64
	tmp  *os.File
	held bool // the temporary file could not lose its name yet
	w    *bufio.Writer
}

// NewRowWriter returns a writer of the file at path. Nothing is written yet.
func NewRowWriter(path string) *RowWriter { return &RowWriter{path: path, buf: make([]byte, 1<<16)} }

// Append appends the rows of an array (its first axis) to the dataset of a
// name, which begins with the first of them. All must have the same shape.
func (w *RowWriter) Append(name string, shape []int, v []float32) error {
	if len(shape) == 0 || count(shape) != len(v) {
		return fmt.Errorf("hdf5: %d values of shape %v for %s", len(v), shape, name)
	}
	var s *rows
	for _, o := range w.sets {
		if o.name == name {
			s = o
		}
	}
	if s == nil {
		s = &rows{name: name, row: slices.Clone(shape[1:])}
		tmp, err := os.CreateTemp(filepath.Dir(w.path), "."+filepath.Base(w.path)+".tmp*")
		if err != nil {
			return err
		}
		// Without a name it goes when the process does, however that ends.
		// Where a file that is open cannot lose its name, Discard removes it.
		s.held = os.Remove(tmp.Name()) != nil
		s.tmp, s.w = tmp, bufio.NewWriterSize(tmp, 1<<18)
		w.sets = append(w.sets, s)
	}
	if !slices.Equal(s.row, shape[1:]) {
		return fmt.Errorf("%q: rows of %s were of shape %v and are %v now", w.path, name, s.row, shape[1:])
	}
	if err := writeFloats(s.w, v, w.buf); err != nil {
		return err
	}
	s.n += shape[0]
	s.size += 4 * int64(len(v))
	return nil
}

// Rows returns the number of rows that a dataset has so far.
func (w *RowWriter) Rows(name string) int {
	for _, s := range w.sets {
		if s.name == name {
			return s.n
		}
	}
	return 0
}

// Close writes the file. If that fails, what was at its path is as it was.
// Without rows nothing is written.
func (w *RowWriter) Close() error {
	defer w.Discard()
	if len(w.sets) == 0 {
		return nil
	}
	var b Builder
	for _, s := range w.sets {
		if err := s.w.Flush(); err != nil {
			return err
		}
		b.FloatsFrom(append([]int{s.n}, s.row...), func(out io.Writer) error {
			_, err := io.Copy(out, io.NewSectionReader(s.tmp, 0, s.size))
			return err
		}, s.name)
	}
	return atomicfile.Write(w.path, func(out io.Writer) error {
		_, err := b.WriteTo(out)
		return err
	})
}

// Discard gives up what was appended, without writing the file.
func (w *RowWriter) Discard() error {
	var errs []error
	for _, s := range w.sets {
		errs = append(errs, s.tmp.Close())
		if s.held {
			errs = append(errs, os.Remove(s.tmp.Name()))
		}
	}
	w.sets = nil
	return errors.Join(errs...)
}
