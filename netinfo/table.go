package netinfo

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"crema/tensor"
)

// WriteTable writes a line for each layer, for people: name, type and geometry,
// shapes of the tops, parameters, multiply-adds for an item of the batch, and
// the memory of the values that the layer adds. The last line has the sums.
func (i *Info) WriteTable(w io.Writer) error {
	rows := [][]string{{"layer", "type", "output", "parameters", "multiply-adds", "activations"}}
	for _, l := range i.Layers {
		kind := l.Type
		if l.Geometry != "" {
			kind += " " + l.Geometry
		}
		var shapes []string
		for _, t := range l.Tops {
			shapes = append(shapes, tensor.FormatShape(t.Shape))
		}
		params := countOrNone(l.Parameters)
		if l.Statistics > 0 {
			params = "(" + Count(l.Statistics) + ")"
		}
		rows = append(rows, []string{l.Name, kind, strings.Join(shapes, ", "), params, countOrNone(i.PerItem(l.MACs)), bytesOrNone(l.ValueBytes)})
	}
	rows = append(rows, []string{"total", "", "", Count(i.Parameters), Count(i.PerItem(i.MACs)), Bytes(i.ValueBytes)})
	return WriteColumns(w, rows, 3)
}

// PerItem divides multiply-adds of the whole batch among its items, rounding to
// the nearest.
func (i *Info) PerItem(macs int64) int64 {
	n := int64(max(1, i.Batch))
	return (macs + n/2) / n
}

// WriteColumns writes rows with the first left columns flush left and the others
// flush right, two spaces apart. Rows may be shorter than the first.
func WriteColumns(w io.Writer, rows [][]string, left int) error {
	var width []int
	for _, r := range rows {
		for c, cell := range r {
			if c == len(width) {
				width = append(width, 0)
			}
			width[c] = max(width[c], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for c, cell := range r {
			pad := strings.Repeat(" ", width[c]-utf8.RuneCountInString(cell))
			if c > 0 {
				line.WriteString("  ")
			}
			if c < left {
				line.WriteString(cell + pad)
			} else {
				line.WriteString(pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func countOrNone(n int64) string {
	if n == 0 {
		return "-"
	}
	return Count(n)
}

func bytesOrNone(n int64) string {
	if n == 0 {
		return "-"
	}
	return Bytes(n)
}

// Count writes a number with a comma between thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Short writes a number with three digits and k, M, G or T.
func Short(n int64) string {
	v, unit := float64(n), 0
	for v >= 999.5 && unit < 4 {
		v /= 1000
		unit++
	}
	return strings.TrimSpace(threeDigits(v, unit > 0) + " " + []string{"", "k", "M", "G", "T"}[unit])
}

// Bytes writes an amount of memory with three digits and its unit, of powers of
// 1024.
func Bytes(n int64) string {
	v, unit := float64(n), 0
	for v >= 1000 && unit < 4 {
		v /= 1024
		unit++
	}
	return threeDigits(v, unit > 0) + " " + []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit]
}

// threeDigits writes v, from 0 to below 1000, with three digits, whole numbers
// without a point.
func threeDigits(v float64, point bool) string {
	switch {
	case !point || v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
