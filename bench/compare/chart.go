package main

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// A chart is a plot and its width.
type chart struct {
	plot  *plot.Plot
	width vg.Length
}

// flopsChart draws the speed of every program as bars, task by task. The y
// axis goes to the peak, or beyond if algorithms that save operations do; a
// line marks the peak.
func flopsChart(r *results) (*chart, error) {
	const bar = 5 // points
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s, %s", r.title, plural(r.threads, "thread"))
	p.Y.Label.Text = "GFLOP/s"
	p.Y.Min, p.Y.Max = 0, r.peak/1e9
	p.Legend.Top, p.Legend.Left = true, true
	var names []string
	for _, t := range r.tasks {
		names = append(names, t.name)
	}
	for i, program := range r.programs {
		values := make(plotter.Values, len(r.tasks))
		for j, t := range r.tasks {
			if s, ok := r.seconds[t.name][program]; ok {
				values[j] = t.flops / s / 1e9
				p.Y.Max = max(p.Y.Max, values[j])
			}
		}
		bars, err := plotter.NewBarChart(values, vg.Points(bar))
		if err != nil {
			return nil, err
		}
		bars.LineStyle.Width = 0
		bars.Color = plotutil.Color(i)
		bars.Offset = vg.Points(bar * (float64(i) - float64(len(r.programs)-1)/2))
		p.Add(bars)
		p.Legend.Add(program, bars)
	}
	if r.peak > 0 {
		line := plotter.NewFunction(func(float64) float64 { return r.peak / 1e9 })
		line.XMin, line.XMax = -0.5, float64(len(names))-0.5
		line.Color = color.Gray{Y: 96}
		p.Add(line)
		p.Legend.Add("FMA peak", line)
	}
	p.Y.Max *= 1.2 // room for the legend
	step := 20.0
	for p.Y.Max > 8*step {
		step *= 2
	}
	var ticks plot.ConstantTicks
	for y := 0.0; y <= p.Y.Max; y += step {
		ticks = append(ticks, plot.Tick{Value: y, Label: fmt.Sprint(y)})
	}
	p.Y.Tick.Marker = ticks
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(names))-0.5
	// Labels begin at the axis: where they end depends on the viewer's fonts.
	p.X.Tick.Label.Rotation = -1.2
	p.X.Tick.Label.XAlign = 0
	p.X.Tick.Label.YAlign = -0.5
	width := vg.Points(80 + float64(len(names))*bar*(float64(len(r.programs))+1.5))
	return &chart{p, max(width, 4*vg.Inch)}, nil
}

// savePlot writes the chart as an SVG.
func savePlot(c *chart, file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return c.plot.Save(c.width, 5*vg.Inch, file)
}
