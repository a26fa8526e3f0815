package doctor

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"crema/internal/summary"
	"crema/plot"
)

// A table lays out cells in columns: the first to the left, the others to the
// right, but for those in left.
type table struct {
	rows [][]string
	left map[int]bool
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer, indent string) {
	var width []int
	for _, r := range t.rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, r := range t.rows {
		var b strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i > 0 {
				b.WriteString("  ")
			}
			if i == 0 || t.left[i] {
				b.WriteString(c + pad)
			} else {
				b.WriteString(pad + c)
			}
		}
		fmt.Fprintln(w, indent+strings.TrimRight(b.String(), " "))
	}
}

// short writes a figure with three digits, "-" if it is unknown.
func short(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.3g", v)
}

func percent(v float64) string { return fmt.Sprintf("%.0f%%", 100*v) }

// WriteText writes the measurement for people: the figures that matter first,
// then a row for each layer with weights.
func (m *Measurement) WriteText(w io.Writer) error {
	var b bytes.Buffer
	m.writeText(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func (m *Measurement) writeText(w io.Writer) {
	fmt.Fprintf(w, "Measured %q on %s (%s)", m.Net, m.extent(), plural2(m.Batches, "batch", "batches"))
	if m.Rate > 0 {
		fmt.Fprintf(w, ", iteration %d, learning rate %.4g", m.Iter, float64(m.Rate))
	}
	fmt.Fprintln(w)
	for _, l := range m.Losses {
		fmt.Fprintf(w, "  loss    %s = %.4g", l.Layer, float64(l.Value))
		if l.Classes > 0 {
			fmt.Fprintf(w, "; guessing gives ln %d = %.4g", l.Classes, math.Log(float64(l.Classes)))
			if l.Terms != 1 {
				fmt.Fprintf(w, " for each of %.4g labels, %.4g in all", l.Terms, l.Chance)
			}
		}
		if l.From != "" && !math.IsNaN(float64(l.Across)) && l.Output.RMS > 0 {
			fmt.Fprintf(w, "; of %s (RMS %.3g) %.2g%% depends on the %s", l.From, l.Output.RMS, 100*float64(l.Share), m.unit())
		}
		fmt.Fprintln(w)
	}
	for _, t := range []struct {
		name string
		Trend
	}{{"signal", m.Signal}, {"gradient", m.Gradient}} {
		if t.Factor > 0 {
			fmt.Fprintf(w, "  %-8s×%.2f a layer: %.3g at %s, %.3g at %s\n", t.name, t.Factor, t.First, t.From, t.Last, t.To)
		}
	}
	for _, in := range m.Inputs {
		fmt.Fprintln(w)
		in.writeText(w)
	}
	fmt.Fprintln(w)
	var t table
	t.add("layer", "mean", "RMS", "across "+m.unit()+"s", "zeros", "dead", "gradient", "weights", "their gradient", "update/weight")
	m.lines(func(l, shown *Layer) {
		name := l.Name
		if l.Join {
			name += " (" + l.Type + ")"
		}
		if shown != l {
			name += " (" + shown.Type + ")"
		}
		row := []string{name, short(shown.Output.Mean), short(shown.Output.RMS), short(float64(shown.Across)), percent(shown.Output.Zero), percent(shown.Dead)}
		if shown.Saturated > 0 {
			row[5] = percent(shown.Saturated) + " sat."
		}
		if l.Gradient.Count > 0 {
			row = append(row, short(m.gradient(l)))
		} else {
			row = append(row, "-")
		}
		for _, p := range l.Params {
			if p.Weight {
				g := "-"
				if p.Gradient.Count > 0 {
					g = short(p.Gradient.RMS)
				}
				row = append(row, short(p.Weights.RMS), g, short(float64(p.Update)))
				break
			}
		}
		t.add(row...)
	})
	t.write(w, "  ")
	fmt.Fprintf(w, "  Activations are behind the nonlinearity, gradients before it (and behind BatchNorm and Scale). \"across %[1]ss\" is the part of the RMS that differs from %[1]s to %[1]s.\n", m.unit())
}

func (in *Input) writeText(w io.Writer) {
	fmt.Fprintf(w, "  input %q\n", in.Blob)
	var t table
	t.add("", "min", "max", "mean", "RMS", "negative", "distribution")
	row := func(name string, v *Values) {
		if v.Count == 0 {
			return
		}
		t.add(name, short(v.Min), short(v.Max), short(v.Mean), short(v.RMS), percent(v.Negative), sparkline(v.Histogram))
		if n := len(v.Channels); n > 1 && n <= 4 {
			for c, s := range v.Channels {
				t.add(fmt.Sprintf("  channel %d", c), short(s.Min), short(s.Max), short(s.Mean), short(s.RMS), percent(s.Negative))
			}
		}
	}
	row("as stored", &in.Before)
	row("after mean and scale", &in.After)
	row("after "+in.FirstLayer, &in.First)
	t.write(w, "    ")
	if n := len(in.First.Channels); n > 4 {
		lo, hi := math.Inf(1), 0.0
		for _, s := range in.First.Channels {
			lo, hi = min(lo, s.RMS), max(hi, s.RMS)
		}
		fmt.Fprintf(w, "    the %d channels of %s have an RMS from %.3g to %.3g\n", n, in.FirstLayer, lo, hi)
	}
}

// sparkline draws a histogram in one line of text.
func sparkline(h summary.Histogram) string {
	most := 0
	for _, n := range h.Counts {
		most = max(most, n)
	}
	if most == 0 {
		return ""
	}
	bars := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, n := range h.Counts {
		if n == 0 {
			b.WriteByte('.')
			continue
		}
		b.WriteRune(bars[(n*len(bars)-1)/most])
	}
	return b.String()
}

// Chart draws signal and gradients by depth.
func (m *Measurement) Chart() *plot.Chart {
	c := &plot.Chart{Title: "Signal and gradient by depth: " + m.Net, XLabel: "layer", YLabel: "RMS", LogY: true}
	rms, across := plot.Series{Name: "activations", Points: true}, plot.Series{Name: "across " + m.unit() + "s", Points: true}
	gradient, update := plot.Series{Name: "gradients", Points: true}, plot.Series{Name: "update/weight", Points: true, Dashed: true}
	m.lines(func(l, shown *Layer) {
		c.XNames = append(c.XNames, l.Name)
		rms.Y, across.Y = append(rms.Y, shown.Output.RMS), append(across.Y, float64(shown.Across))
		gradient.Y = append(gradient.Y, m.gradient(l))
		u := math.NaN()
		for _, p := range l.Params {
			if p.Weight {
				u = float64(p.Update)
				break
			}
		}
		update.Y = append(update.Y, u)
	})
	c.Width = max(800, 26*len(c.XNames)+240)
	c.Series = []plot.Series{rms, across, gradient, update}
	return c
}

// WriteText writes the outcome for people: what was tried, how far it came, and
// the commands that train with the best.
func (r *Tried) WriteText(w io.Writer) error {
	var b bytes.Buffer
	r.writeText(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Tried) writeText(w io.Writer) {
	crop := ""
	if r.Crop > 0 {
		crop = fmt.Sprintf(", crop %d", r.Crop)
	}
	set := fmt.Sprintf("a fixed set of %s of %s", plural(r.Images, "image"), plural(r.Labels, "label"))
	if r.Images == 0 {
		set = "all of its data"
	}
	fmt.Fprintf(w, "Tried on %s (chance: %.3f)%s, %.2g s an iteration, %.0f of %.0f s\n\n",
		set, r.Chance, crop, float64(r.IterationSeconds), float64(r.Seconds), float64(r.BudgetSeconds))
	var t table
	t.add("rank", "variant", "rate", "signal", "of output", "result", "by seed", "verdict")
	for _, tr := range r.Trials {
		row := []string{"-", tr.Name, fmt.Sprintf("%.3g", float64(tr.Rate)), "-", "-", "-", "-", tr.Verdict}
		if tr.Rank > 0 {
			row[0] = fmt.Sprint(tr.Rank)
		}
		if s := tr.Signal; s != nil {
			row[3], row[4] = fmt.Sprintf("%.2g", float64(s.Across)), fmt.Sprintf("%.2g%%", 100*float64(s.Share))
		}
		if tr.Rank > 0 && !math.IsNaN(float64(tr.Result)) {
			row[5] = fmt.Sprintf("%.3f", float64(tr.Result))
			var seeds []string
			for _, x := range tr.Runs {
				seeds = append(seeds, fmt.Sprintf("%.3f", float64(x.Result)))
			}
			row[6] = strings.Join(seeds, " ")
		}
		t.add(row...)
	}
	t.left = map[int]bool{1: true, 7: true}
	t.write(w, "  ")
	fmt.Fprintln(w, "  Signal is by how much the output of the untrained net varies from image to image. Variants no further apart than their seeds share a rank.")
	for _, n := range r.Notes {
		fmt.Fprintln(w, "  "+n)
	}
	if r.Best != "" {
		fmt.Fprintf(w, "\nBest: %s. To train with it:\n\n", r.Best)
		for _, c := range r.Commands {
			fmt.Fprintln(w, "  "+c)
		}
	}
}

// Chart draws the losses of all runs, smoothed.
func (r *Tried) Chart() *plot.Chart {
	c := &plot.Chart{Title: "Losses on the fixed set", XLabel: "iteration", YLabel: "loss", Width: 1000, Height: 560}
	if r.Chance > 0 {
		c.Levels = []plot.Level{{Name: fmt.Sprintf("chance: %.3f", r.Chance), Y: r.Chance}}
		c.YMin, c.YMax = 0, 2*r.Chance
	}
	color := 0
	for _, tr := range r.Trials {
		if len(tr.Runs) == 0 {
			continue
		}
		color++
		for i, run := range tr.Runs {
			s := plot.Series{Color: color, Dashed: i > 0}
			if i == 0 {
				s.Name = tr.Name
			}
			var mean float64
			for k, l := range run.Losses {
				const keep = 0.9
				mean = keep*mean + (1-keep)*float64(l)
				s.Y = append(s.Y, mean/(1-math.Pow(keep, float64(k+1))))
			}
			c.Series = append(c.Series, s)
		}
	}
	return c
}

// WriteText writes the outcome of a range test for people.
func (r *RateRange) WriteText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "Learning-rate range test, %d iterations from %.2g to %.2g\n  %s\n", len(r.Rates), float64(r.Rates[0]), float64(r.Rates[len(r.Rates)-1]), r.Verdict)
	return err
}
