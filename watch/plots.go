package watch

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"crema/plot"
)

// writePlots draws the course of a run into a folder, which is made if it does
// not exist, each chart as SVG and as PNG.
func writePlots(dir, run string, s *Series) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("plots: %w", err)
	}
	var errs []error
	for name, c := range Charts(run, s) {
		for _, ext := range []string{".svg", ".png"} {
			errs = append(errs, c.Save(filepath.Join(dir, name+ext)))
		}
	}
	return errors.Join(errs...)
}

// Charts returns the charts of a run's course that have anything to show, by
// the names of their files without extension.
func Charts(run string, s *Series) map[string]*plot.Chart {
	all := charts(s)
	maps.DeleteFunc(all, func(_ string, c *plot.Chart) bool {
		return !slices.ContainsFunc(c.Series, func(s plot.Series) bool { return len(s.Y) > 0 })
	})
	for _, c := range all {
		c.Title = run + ": " + c.Title
		c.XLabel = "iteration"
	}
	return all
}

// charts returns the charts by file name.
func charts(s *Series) map[string]*plot.Chart {
	x := floats(s.Iter)
	all := map[string]*plot.Chart{
		"loss": {Title: "training loss", YLabel: "loss", Series: []plot.Series{
			{X: x, Y: s.Loss, Faint: true, Color: 1, Name: "each iteration"}, {X: x, Y: s.Smoothed, Color: 1, Name: "smoothed"}}},
		"learning_rate": {Title: "learning rate", YLabel: "rate", LogY: true, Series: []plot.Series{{X: x, Y: s.Rate}}},
	}
	if len(s.ImagesPerSecond) > 0 && slices.Max(s.ImagesPerSecond) > 0 {
		all["speed"] = &plot.Chart{Title: "speed", YLabel: "images/s", Series: []plot.Series{{X: x, Y: s.ImagesPerSecond}}}
	}
	// A chart for each output of test nets, with a line for each net.
	for _, t := range s.Tests {
		key := "test_" + fileName(t.Name)
		c := all[key]
		if c == nil {
			c = &plot.Chart{Title: "test " + t.Name, YLabel: t.Name}
			all[key] = c
		}
		line := plot.Series{X: floats(t.Iter), Y: t.Value, Points: true}
		if t.Net > 0 || len(c.Series) > 0 {
			line.Name = fmt.Sprintf("test net %d", t.Net)
		}
		c.Series = append(c.Series, line)
	}
	for _, k := range []struct {
		file, title, label string
		log                bool
		of                 func(*LayerSeries) Column
	}{
		{"activations", "activations by layer", "RMS", true, func(l *LayerSeries) Column { return l.Activation }},
		{"zeros", "share of activations that are 0", "share", false, func(l *LayerSeries) Column { return l.Zero }},
		{"gradients", "gradients of activations by layer", "RMS", true, func(l *LayerSeries) Column { return l.Gradient }},
		{"updates", "update by weight", "RMS(update)/RMS(weight)", true, func(l *LayerSeries) Column { return l.Ratio }},
		{"time", "time by layer", "share", false, func(l *LayerSeries) Column { return l.Time }},
	} {
		c := &plot.Chart{Title: k.title, YLabel: k.label, LogY: k.log, Height: 560}
		x := floats(s.LayerIter)
		layers := some(s.Layers, k.of)
		if k.file == "time" {
			layers = slowest(s.Layers)
		}
		for _, l := range layers {
			c.Series = append(c.Series, plot.Series{Name: l.Name, X: x, Y: k.of(&l)})
		}
		all[k.file] = c
	}
	return all
}

// maxLines is how many lines of a chart can be told apart.
const maxLines = 14

// some returns the layers that have the figure; of many, those that compute
// something, and of still too many, some of all depths.
func some(layers []LayerSeries, of func(*LayerSeries) Column) []LayerSeries {
	var out []LayerSeries
	for _, l := range layers {
		if len(of(&l)) > 0 {
			out = append(out, l)
		}
	}
	if len(out) > maxLines {
		out = slices.DeleteFunc(out, func(l LayerSeries) bool {
			switch l.Type {
			case "Input", "Pooling", "Dropout", "Flatten", "Reshape", "Slice", "Concat", "Crop", "Tile", "Accuracy", "Softmax":
				return true
			}
			return strings.HasSuffix(l.Type, "Data") || strings.HasSuffix(l.Type, "Loss")
		})
	}
	if n := len(out); n > maxLines {
		for i := range maxLines {
			out[i] = out[i*(n-1)/(maxLines-1)]
		}
		out = out[:maxLines]
	}
	return out
}

// slowest returns the layers that took the most time, in their order.
func slowest(layers []LayerSeries) []LayerSeries {
	if len(layers) <= maxLines {
		return layers
	}
	total := func(l LayerSeries) (sum float64) {
		for _, v := range l.Time {
			sum += v
		}
		return sum
	}
	sorted := slices.SortedFunc(slices.Values(layers), func(a, b LayerSeries) int { return cmp.Compare(total(b), total(a)) })
	least := total(sorted[maxLines-1])
	return slices.DeleteFunc(slices.Clone(layers), func(l LayerSeries) bool { return total(l) < least })
}

func floats(v []int) []float64 {
	f := make([]float64, len(v))
	for i, x := range v {
		f[i] = float64(x)
	}
	return f
}

// fileName replaces what file systems may not like in names.
func fileName(s string) string {
	b := []byte(s)
	for i, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			b[i] = '_'
		}
	}
	return string(b)
}
