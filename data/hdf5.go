package data

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"crema/hdf5"
	"crema/internal/infile"
	"crema/internal/rng"
	"crema/tensor"
)

// HDF5Options configure OpenHDF5.
type HDF5Options struct {
	// Datasets are the names of those to read in every file.
	Datasets []string
	// Path maps a file's name to a path that can be opened; nil for as it is.
	Path func(string) string
	// Shuffle puts the files, and the rows of each, in another order in each
	// epoch, drawn from Seed, Name (the layer's), the epoch and the file.
	Shuffle bool
	Seed    uint64
	Name    string
}

// An HDF5Source hands out the rows (along the first axis) of datasets of a list
// of HDF5 files, file after file and then from the first again, for ever (as
// Caffe's hdf5_data_layer.cpp does). One file is open at a time, and of that no
// more in memory than the rows asked for and the chunks they are in; only
// chunked datasets that are shuffled are in memory as a whole. It is used by one
// goroutine at a time.
type HDF5Source struct {
	o     HDF5Options
	files []rowFile
	rows  uint64  // of all files
	shape [][]int // of a row of each dataset
	size  []int   // elements of a row

	records uint64 // rows handed out
	epoch   uint64 // that the rest stands in
	order   []int  // of the files
	at      int    // in order
	row     int    // in that file, before it is shuffled

	file  *hdf5.File
	open  int // which file that is, -1 for none
	sets  []*hdf5.Dataset
	whole [][]float32 // values of datasets that are in memory
	perm  []int       // order of the rows; nil for as they are
	permE uint64      // the epoch it is of
}

// A rowFile is a file of the list.
type rowFile struct {
	path   string
	line   int
	parted bool // the line has other names
	rows   int
}

// OpenHDF5 reads the list at path (names of files, with white space between)
// and what each file says of its datasets: all must be there, of numbers, with
// rows of one shape in all files and as many rows in each of a file's.
func OpenHDF5(path string, o HDF5Options) (_ *HDF5Source, err error) {
	s := &HDF5Source{o: o, open: -1}
	if s.files, err = readFileNames(path, o.Path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for i := range s.files {
		f := &s.files[i]
		if err := s.enter(i); err != nil {
			if f.parted && errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%w (blanks part the names on a line)", err)
			}
			return nil, fmt.Errorf("%s:%d: %w", path, f.line, err)
		}
		f.rows = s.sets[0].Shape()[0]
		s.rows += uint64(f.rows)
	}
	if s.rows == 0 {
		return nil, fmt.Errorf("%s: none of the files has a row", path)
	}
	return s, s.Seek(0)
}

// readFileNames reads a list of files. Names are what white space separates, as
// in Caffe; but if a whole line is the name of a file, spaces belong to it.
func readFileNames(path string, resolve func(string) string) ([]rowFile, error) {
	if is, err := hdf5.Is(path); err != nil {
		return nil, err
	} else if is {
		return nil, fmt.Errorf("%s is itself an HDF5 file: source must be a text file that lists such files, one on each line", path)
	}
	f, err := infile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := textReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if resolve == nil {
		resolve = func(p string) string { return p }
	}
	var files []rowFile
	for n := 1; ; n++ {
		line, err := r.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if strings.IndexByte(line, 0) >= 0 {
			return nil, fmt.Errorf("%s:%d: a zero byte: source must be a text file that lists HDF5 files, one on each line", path, n)
		}
		line = strings.TrimSpace(line)
		names := strings.Fields(line)
		if len(names) > 1 {
			if st, err := os.Stat(resolve(line)); err == nil && !st.IsDir() {
				names = []string{line}
			}
		}
		for _, name := range names {
			files = append(files, rowFile{path: resolve(name), line: n, parted: len(names) > 1})
		}
		if err == io.EOF {
			break
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: the list is empty: it must name at least one HDF5 file", path)
	}
	return files, nil
}

// Files returns the number of files in the list.
func (s *HDF5Source) Files() int { return len(s.files) }

// RowShape returns the shape of the rows of dataset i.
func (s *HDF5Source) RowShape(i int) []int { return slices.Clone(s.shape[i]) }

// Records returns how many rows were handed out.
func (s *HDF5Source) Records() uint64 { return s.records }

// enter opens file i and its datasets, and checks them.
func (s *HDF5Source) enter(i int) error {
	if s.open == i {
		return nil
	}
	if err := s.Close(); err != nil {
		return err
	}
	path := s.files[i].path
	f, err := hdf5.Open(path)
	if err != nil {
		return err
	}
	s.file = f
	root, err := f.Root()
	if err != nil {
		return err
	}
	rows := -1
	for j, name := range s.o.Datasets {
		d, err := root.Dataset(name)
		if errors.Is(err, hdf5.ErrNotFound) {
			return fmt.Errorf("there must be a dataset for each top: %w", err)
		} else if err != nil {
			return err
		}
		shape := d.Shape()
		switch {
		case !d.IsNumber():
			return fmt.Errorf("%q: the values of %s are of type %s, not integers or floats: store them as float32", path, d.Path(), d.Type())
		case len(shape) == 0:
			return fmt.Errorf("%q: %s is a scalar: it has no rows", path, d.Path())
		case rows >= 0 && shape[0] != rows:
			return fmt.Errorf("%q: %s has %d rows, %s has %d", path, s.o.Datasets[0], rows, name, shape[0])
		}
		rows = shape[0]
		if len(s.shape) == j {
			if err := tensor.CheckShape(shape[1:]); err != nil {
				return fmt.Errorf("%q: %s: %w", path, d.Path(), err)
			}
			n := 1
			for _, k := range shape[1:] {
				n *= k
			}
			if n == 0 {
				return fmt.Errorf("%q: %s has shape %s: its rows are empty", path, d.Path(), tensor.FormatShape(shape))
			}
			s.shape, s.size = append(s.shape, shape[1:]), append(s.size, n)
		}
		if !slices.Equal(shape[1:], s.shape[j]) {
			return fmt.Errorf("%q: rows of %s are %s, in %q they are %s", path, name, tensor.FormatShape(shape[1:]), s.files[0].path, tensor.FormatShape(s.shape[j]))
		}
		s.sets = append(s.sets, d)
	}
	s.open = i
	return nil
}

// Seek goes to where a source that has handed out so many rows stands.
func (s *HDF5Source) Seek(records uint64) error {
	s.records = records
	s.epoch = records / s.rows
	s.orderFiles()
	left := records % s.rows
	for s.at = 0; left >= uint64(s.files[s.order[s.at]].rows); s.at++ {
		left -= uint64(s.files[s.order[s.at]].rows)
	}
	s.row = int(left)
	return nil
}

// orderFiles draws the order of the files of the epoch.
func (s *HDF5Source) orderFiles() {
	if s.order == nil {
		s.order = make([]int, len(s.files))
	}
	for i := range s.order {
		s.order[i] = i
	}
	if s.o.Shuffle {
		rng.New(s.o.Seed, "files "+s.o.Name, s.epoch).Shuffle(len(s.order), func(i, j int) {
			s.order[i], s.order[j] = s.order[j], s.order[i]
		})
	}
}

// ready opens the file that the position is in and draws the order of its rows.
func (s *HDF5Source) ready() error {
	i := s.order[s.at]
	if s.open == i && (!s.o.Shuffle || s.perm != nil && s.permE == s.epoch) {
		return nil
	}
	if err := s.enter(i); err != nil {
		return err
	}
	f := s.files[i]
	if n := s.sets[0].Shape()[0]; n != f.rows {
		return fmt.Errorf("%q: had %d rows at first and has %d now", f.path, f.rows, n)
	}
	if !s.o.Shuffle {
		return nil
	}
	s.perm, s.permE = slices.Grow(s.perm[:0], f.rows)[:f.rows], s.epoch
	for r := range s.perm {
		s.perm[r] = r
	}
	rng.New(s.o.Seed, "rows "+s.o.Name, s.epoch, uint64(i)).Shuffle(len(s.perm), func(a, b int) {
		s.perm[a], s.perm[b] = s.perm[b], s.perm[a]
	})
	if s.whole == nil {
		s.whole = make([][]float32, len(s.sets))
		for j, d := range s.sets {
			if d.RowsApart() {
				continue
			}
			var err error
			if s.whole[j], err = d.ReadAll(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Next hands out n rows: dst[i] gets those of dataset i, one after the other.
func (s *HDF5Source) Next(dst [][]float32, n int) error {
	for done := 0; done < n; {
		if err := s.ready(); err != nil {
			return err
		}
		m := min(n-done, s.files[s.order[s.at]].rows-s.row)
		for i, d := range s.sets {
			size := s.size[i]
			to := dst[i][done*size:][:m*size]
			if !s.o.Shuffle {
				if err := d.ReadRows(to, s.row); err != nil {
					return err
				}
				continue
			}
			for j, r := range s.perm[s.row : s.row+m] {
				row := to[j*size:][:size]
				if w := s.whole[i]; w != nil {
					copy(row, w[r*size:])
				} else if err := d.ReadRows(row, r); err != nil {
					return err
				}
			}
		}
		done += m
		s.row += m
		s.records += uint64(m)
		for s.row >= s.files[s.order[s.at]].rows {
			s.row = 0
			if s.at++; s.at == len(s.files) {
				s.at = 0
				s.epoch++
				s.orderFiles()
			}
		}
	}
	return nil
}

// Close closes the file that is open. The source can go on, by opening it anew.
func (s *HDF5Source) Close() error {
	s.open, s.sets, s.whole, s.perm = -1, nil, nil, nil
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}
