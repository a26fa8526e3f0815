package trainlog

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"crema/internal/atomicfile"
)

// WriteCSV writes the tables to the files dir/NAME.train and dir/NAME.test, where
// NAME is the base name of the log's path, and returns their names. A table
// without rows gives no file.
func (l *Log) WriteCSV(path, dir string, delimiter rune) ([]string, error) {
	var names []string
	for _, t := range []struct {
		ext   string
		table *Table
	}{{".train", &l.Train}, {".test", &l.Test}} {
		if len(t.table.Rows) == 0 {
			continue
		}
		name := filepath.Join(dir, filepath.Base(path)+t.ext)
		if err := atomicfile.Write(name, func(w io.Writer) error { return t.table.writeCSV(w, delimiter) }); err != nil {
			return names, fmt.Errorf("%s: %w", name, err)
		}
		names = append(names, name)
	}
	return names, nil
}

// writeCSV writes a table as Python's csv.DictWriter writes parse_log.py's:
// lines end in CR LF, numbers are Python's floats. An output that a row does not
// have is empty.
func (t *Table) writeCSV(w io.Writer, delimiter rune) error {
	c := csv.NewWriter(w)
	c.Comma, c.UseCRLF = delimiter, true
	head := []string{"NumIters", "Seconds", "LearningRate"}
	for _, col := range t.Columns {
		head = append(head, col.Name)
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for _, r := range t.Rows {
		line := []string{pythonFloat(float64(r.Iter)), pythonFloat(r.Seconds), pythonFloat(r.Rate)}
		for i := range t.Columns {
			cell := ""
			if i < len(r.Has) && r.Has[i] {
				cell = pythonFloat(r.Values[i])
			}
			line = append(line, cell)
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// pythonFloat writes a number as Python's repr does: the fewest digits that read
// back as the same, with an exponent below 1e-4 and from 1e16 on, and a point
// otherwise.
func pythonFloat(v float64) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	}
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
