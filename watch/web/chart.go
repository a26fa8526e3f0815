package web

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"crema/watch"
)

// A table has the figures of a chart: Data[i][k] belongs to Columns[k]. Numbers
// that are not finite are null.
type table struct {
	Columns []string `json:"columns"`
	Data    [][]any  `json:"data"`
}

// A view is the part of a run that a chart shows.
type view struct {
	state  *watch.State
	series *watch.Series
}

// chartTables has for each chart of the page what makes its table.
var chartTables = map[string]func(view) table{
	"loss": func(v view) table {
		s := v.series
		return columns(s.Iter, []string{"iter", "loss", "smoothed"}, s.Loss, s.Smoothed)
	},
	"rate": func(v view) table { return columns(v.series.Iter, []string{"iter", "rate"}, v.series.Rate) },
	"speed": func(v view) table {
		s := v.series
		return columns(s.Iter, []string{"iter", "seconds", "images_per_second", "wait_share"}, s.Seconds, s.ImagesPerSecond, s.WaitShare)
	},
	"tests":      testsTable,
	"activation": layerTable(func(l *watch.LayerSeries) watch.Column { return l.Activation }),
	"zero":       layerTable(func(l *watch.LayerSeries) watch.Column { return l.Zero }),
	"gradient":   layerTable(func(l *watch.LayerSeries) watch.Column { return l.Gradient }),
	"ratio":      layerTable(func(l *watch.LayerSeries) watch.Column { return l.Ratio }),
	"time":       timeTable,
	"depth":      depthTable,
}

func columns(iter []int, names []string, cols ...watch.Column) table {
	t := table{Columns: names, Data: make([][]any, len(iter))}
	for i, it := range iter {
		row := []any{it}
		for _, c := range cols {
			row = append(row, at(c, i))
		}
		t.Data[i] = row
	}
	return t
}

// at returns an element of a column, which may have none.
func at(c watch.Column, i int) watch.Number {
	if i < len(c) {
		return watch.Number(c[i])
	}
	return watch.Number(math.NaN())
}

func testsTable(v view) table {
	t := table{Columns: []string{"net", "name", "iter", "value"}, Data: [][]any{}}
	for _, s := range v.series.Tests {
		for i, it := range s.Iter {
			t.Data = append(t.Data, []any{s.Net, s.Name, it, at(s.Value, i)})
		}
	}
	return t
}

// layerTable has a column for each layer that has the figure.
func layerTable(figure func(*watch.LayerSeries) watch.Column) func(view) table {
	return func(v view) table {
		names := []string{"iter"}
		var cols []watch.Column
		for i := range v.series.Layers {
			l := &v.series.Layers[i]
			if c := figure(l); len(c) > 0 {
				names, cols = append(names, l.Name), append(cols, c)
			}
		}
		return columns(v.series.LayerIter, names, cols...)
	}
}

func timeTable(v view) table {
	t := table{Columns: []string{"layer", "type", "forward", "backward"}, Data: [][]any{}}
	for _, l := range v.state.Layers {
		t.Data = append(t.Data, []any{l.Name, l.Type, l.Forward, l.Backward})
	}
	return t
}

// depthTable has the layers' figures at the last sample.
func depthTable(v view) table {
	t := table{Columns: []string{"layer", "type", "activation", "gradient", "ratio", "zero"}, Data: [][]any{}}
	last := len(v.series.LayerIter) - 1
	for _, l := range v.series.Layers {
		t.Data = append(t.Data, []any{l.Name, l.Type, at(l.Activation, last), at(l.Gradient, last), at(l.Ratio, last), at(l.Zero, last)})
	}
	return t
}

func (s *Server) getChart(w http.ResponseWriter, r *http.Request) {
	name, format, _ := strings.Cut(r.PathValue("file"), ".")
	make, ok := chartTables[name]
	if !ok || format != "json" && format != "csv" {
		known := slices.Sorted(maps.Keys(chartTables))
		http.Error(w, "there are .json and .csv of "+strings.Join(known, ", "), http.StatusNotFound)
		return
	}
	v := view{state: s.o.Source.State()}
	if other := r.URL.Query().Get("run"); other != "" && other != v.state.Run {
		run, err := s.loadRun(r.Context(), other)
		if err != nil {
			s.fail(w, err)
			return
		}
		v = view{run.state, run.series}
	} else {
		v.series = s.o.Source.Series(-1)
	}
	if format == "json" {
		s.sendJSON(w, r, make(v))
		return
	}
	b, err := s.encodeCSV(r.Context(), make(v))
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name+".csv"))
	w.Write(b)
}

// encodeCSV writes a table as CSV, with nothing where a number is not finite.
func (s *Server) encodeCSV(ctx context.Context, t table) ([]byte, error) {
	if err := s.encoding.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer s.encoding.Release(1)
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(t.Columns); err != nil {
		return nil, err
	}
	row := make([]string, len(t.Columns))
	for _, data := range t.Data {
		for i, x := range data {
			row[i] = ""
			switch x := x.(type) {
			case watch.Number:
				if f := float64(x); !math.IsNaN(f) && !math.IsInf(f, 0) {
					row[i] = strconv.FormatFloat(f, 'g', 6, 64)
				}
			default:
				row[i] = fmt.Sprint(x)
			}
		}
		if err := w.Write(row); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}
