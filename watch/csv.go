package watch

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"crema/internal/infile"
	"crema/internal/summary"
)

// The tables of a run. The first column is the iteration in all.
const (
	trainCSV  = "train.csv"
	testCSV   = "test.csv"
	layersCSV = "layers.csv"
)

var columns = map[string][]string{
	trainCSV: {"iter", "loss", "smoothed", "lr", "seconds", "images_per_second", "wait_share"},
	testCSV:  {"iter", "net", "name", "value"},
	layersCSV: {"iter", "layer", "type", "activation_mean", "activation_rms", "activation_min", "activation_max", "zero_share",
		"gradient_rms", "weight_rms", "update_rms", "update_ratio", "forward_share", "backward_share"},
}

// openTable opens the table at path, with its header if it is new and without
// the rows from iteration iter on.
func openTable(path string, iter int) (*file, error) {
	head := columns[filepath.Base(path)]
	end, err := tableEnd(path, head, iter)
	if err != nil {
		return nil, err
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if err := f.truncate(end); err != nil {
		return nil, errors.Join(err, f.f.Close())
	}
	if end == 0 {
		f.add(func(b []byte) []byte { return append(append(b, strings.Join(head, ",")...), '\n') })
	}
	return f, nil
}

// tableEnd returns the offset in the table at path of the first row of iteration
// iter or later, or of a last row that is not whole; 0 if there is no table.
func tableEnd(path string, head []string, iter int) (int64, error) {
	end := int64(0)
	err := readTable(path, head, func(r *tableRow) bool {
		if r.iter >= iter {
			return false
		}
		end = r.end
		return true
	}, &end)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return end, err
}

// A tableRow is a row of a table that is read.
type tableRow struct {
	iter   int
	fields []string // valid until the next row
	end    int64    // offset of what follows
	err    error    // of a field that is no number
}

// number returns field i as a float32; NaN if it is empty.
func (r *tableRow) number(i int) float64 { return r.float(i, 32) }

func (r *tableRow) float(i, bits int) float64 {
	if r.fields[i] == "" {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(r.fields[i], bits)
	if err != nil && r.err == nil && !errors.Is(err, strconv.ErrRange) {
		r.err = err
	}
	return v
}

// readTable calls f with the rows of the table at path until it returns false.
// A last row without an end of line was being written when the program was
// killed, and does not count. If after is not nil it gets the offset behind the
// header.
func readTable(path string, head []string, f func(*tableRow) bool, after *int64) error {
	file, err := infile.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	whole, err := lastLine(file, st.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	c := csv.NewReader(io.NewSectionReader(file, 0, whole))
	c.ReuseRecord = true
	c.FieldsPerRecord = len(head)
	first, err := c.Read()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil || !slices.Equal(first, head) {
		return fmt.Errorf("%s: not a table with the columns %s", path, strings.Join(head, ","))
	}
	if after != nil {
		*after = c.InputOffset()
	}
	for {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		r := &tableRow{fields: fields, end: c.InputOffset()}
		line, _ := c.FieldPos(0)
		more := false
		if r.iter, r.err = strconv.Atoi(fields[0]); r.err == nil {
			more = f(r)
		}
		switch {
		case r.err != nil:
			return fmt.Errorf("%s:%d: %w", path, line, r.err)
		case !more:
			return nil
		}
	}
}

// lastLine returns the offset behind the last end of line in the first size
// bytes of r.
func lastLine(r io.ReaderAt, size int64) (int64, error) {
	b := make([]byte, 4096)
	for end := size; end > 0; {
		n := min(end, int64(len(b)))
		if _, err := r.ReadAt(b[:n], end-n); err != nil {
			return 0, err
		}
		for i := n - 1; i >= 0; i-- {
			if b[i] == '\n' {
				return end - n + i + 1, nil
			}
		}
		end -= n
	}
	return 0, nil
}

// appendFloat appends the shortest form that reads back as the same float32;
// nan, inf and -inf as most programs read them.
func appendFloat(b []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(b, "nan"...)
	case math.IsInf(v, 1):
		return append(b, "inf"...)
	case math.IsInf(v, -1):
		return append(b, "-inf"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 32)
}

// appendText appends a field, quoted if it must be.
func appendText(b []byte, s string) []byte {
	if !strings.ContainsAny(s, "\",\r\n") {
		return append(b, s...)
	}
	b = append(b, '"')
	b = append(b, strings.ReplaceAll(s, `"`, `""`)...)
	return append(b, '"')
}

func (r *row) appendCSV(b []byte) []byte {
	b = strconv.AppendInt(b, int64(r.iter), 10)
	for _, v := range [...]float64{r.loss, r.smoothed, r.rate} {
		b = appendFloat(append(b, ','), v)
	}
	b = strconv.AppendFloat(append(b, ','), r.seconds, 'f', 3, 64)
	b = strconv.AppendFloat(append(b, ','), r.images, 'g', 5, 64)
	b = strconv.AppendFloat(append(b, ','), r.waits, 'g', 3, 64)
	return append(b, '\n')
}

func (t *Test) appendCSV(b []byte) []byte {
	for _, v := range t.Values {
		b = strconv.AppendInt(b, int64(t.Iter), 10)
		b = strconv.AppendInt(append(b, ','), int64(t.Net), 10)
		b = appendText(append(b, ','), v.Name)
		b = appendFloat(append(b, ','), float64(v.Value))
		b = append(b, '\n')
	}
	return b
}

func (s *sample) appendCSV(b []byte) []byte {
	for i := range s.layers {
		l := &s.layers[i]
		b = strconv.AppendInt(b, int64(s.iter), 10)
		b = appendText(append(b, ','), l.Name)
		b = appendText(append(b, ','), l.Type)
		// A figure that the layer does not have is an empty field.
		one := func(v float64) { b = appendFloat(append(b, ','), v) }
		if a := l.Activation; a != nil {
			one(a.Mean)
			one(a.RMS)
			one(a.Min)
			one(a.Max)
			one(a.Zero)
		} else {
			b = append(b, ",,,,,"...)
		}
		for _, s := range [...]*summary.Summary{l.Gradient, l.Weight, l.Update} {
			if s != nil {
				one(s.RMS)
			} else {
				b = append(b, ',')
			}
		}
		b = append(b, ',')
		if l.Weight != nil && l.Update != nil {
			b = appendFloat(b, float64(l.Ratio))
		}
		b = strconv.AppendFloat(append(b, ','), float64(l.Forward), 'g', 4, 64)
		b = strconv.AppendFloat(append(b, ','), float64(l.Backward), 'g', 4, 64)
		b = append(b, '\n')
	}
	return b
}
