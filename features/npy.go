package features

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"crema/npy"
	"crema/tensor"
)

// npyWriter writes an array whose number of rows is known at the end: the header
// is written again then.
type npyWriter struct {
	path string
	tmp  *os.File
	w    *bufio.Writer
	row  []int
	n    int
	some bool // rows have been added
}

func createNPY(path string) (*npyWriter, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp*")
	if err != nil {
		return nil, err
	}
	return &npyWriter{path: path, tmp: f, w: bufio.NewWriterSize(f, 1<<18)}, nil
}

func (w *npyWriter) Rows() int { return w.n }

func (w *npyWriter) header() []byte { return npy.Header(append([]int{w.n}, w.row...)) }

func (w *npyWriter) Add(shape []int, values []float32) error {
	n, row := rows(shape)
	if !w.some {
		w.some, w.row = true, slices.Clone(row)
		if _, err := w.w.Write(w.header()); err != nil {
			return err
		}
	}
	if !slices.Equal(w.row, row) {
		return fmt.Errorf("%s: rows were of shape %s and are %s now", w.path, tensor.FormatShape(w.row), tensor.FormatShape(row))
	}
	w.n += n
	return npy.WriteValues(w.w, values)
}

func (w *npyWriter) commit() (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", w.path, err), w.abort())
		}
	}()
	if err := w.w.Flush(); err != nil {
		return err
	}
	if _, err := w.tmp.WriteAt(w.header(), 0); err != nil {
		return err
	}
	if err := w.tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := w.tmp.Sync(); err != nil {
		return err
	}
	if err := w.tmp.Close(); err != nil {
		return err
	}
	return os.Rename(w.tmp.Name(), w.path)
}

func (w *npyWriter) abort() error {
	w.tmp.Close()
	if err := os.Remove(w.tmp.Name()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
