package trainlog

import (
	"fmt"
	"slices"
	"strings"

	"crema/plot"
)

// A Named log is one of those that a chart compares.
type Named struct {
	Name string
	*Log
}

// The quantities that have a chart of their own, beside outputs by their names.
const (
	// ShowLoss is the mean loss of training and the losses of test nets.
	ShowLoss = "loss"
	// ShowAccuracy is all outputs that are not part of a loss.
	ShowAccuracy = "accuracy"
	// ShowRate is the learning rate.
	ShowRate = "rate"
)

// ChartOptions say what to draw. The zero value is the default.
type ChartOptions struct {
	// Show lists quantities, a chart for each: ShowLoss, ShowAccuracy, ShowRate
	// or the name of an output. None means those three, where the logs have them.
	Show []string
	// BySeconds draws by time and not by iterations.
	BySeconds bool
	// Smooth, if above 1, also draws means of the last so many values of training.
	Smooth int
	// LogY makes the axis of losses logarithmic; that of rates always is.
	LogY bool
}

// Charts draws the logs, without what was superseded, over each other. A quantity
// that no log has is an error, which lists the outputs.
func Charts(logs []Named, o ChartOptions) ([]*plot.Chart, error) {
	c := charter{o: o, many: len(logs) > 1}
	for _, l := range logs {
		c.logs = append(c.logs, Named{l.Name, l.Superseded()})
	}
	show := o.Show
	if len(show) == 0 {
		show = []string{ShowLoss, ShowAccuracy, ShowRate}
	}
	var charts []*plot.Chart
	for _, what := range show {
		ch := c.chart(what)
		if len(ch.Series) == 0 {
			if len(o.Show) == 0 {
				continue
			}
			return nil, fmt.Errorf("no log has %q; there are: %s", what, strings.Join(c.quantities(), ", "))
		}
		charts = append(charts, ch)
	}
	return charts, nil
}

type charter struct {
	o    ChartOptions
	logs []Named
	many bool
}

// quantities lists all that can be shown.
func (c *charter) quantities() []string {
	names := []string{ShowLoss, ShowAccuracy, ShowRate}
	for _, l := range c.logs {
		for _, col := range append(slices.Clone(l.Train.Columns), l.Test.Columns...) {
			if !slices.Contains(names, col.Name) {
				names = append(names, col.Name)
			}
		}
	}
	return names
}

func (c *charter) chart(what string) *plot.Chart {
	ch := &plot.Chart{Title: what, YLabel: what, XLabel: "iteration", Height: 380}
	if c.o.BySeconds {
		ch.XLabel = "seconds"
	}
	for i, l := range c.logs {
		color := 0
		if c.many {
			color = i + 1
		}
		switch what {
		case ShowLoss:
			ch.LogY = c.o.LogY
			c.addPoints(ch, l.Losses, c.name(l, "training"), color)
			c.addColumns(ch, l, &l.Test, "test ", color, func(col Column) bool { return col.Loss })
		case ShowAccuracy:
			c.addColumns(ch, l, &l.Train, "training ", 0, func(col Column) bool { return !col.Loss })
			c.addColumns(ch, l, &l.Test, "test ", 0, func(col Column) bool { return !col.Loss })
		case ShowRate:
			ch.Title, ch.YLabel, ch.LogY = "learning rate", "learning rate", true
			smooth := c.o.Smooth
			c.o.Smooth = 0
			c.addPoints(ch, l.Rates, c.name(l, ""), color)
			c.o.Smooth = smooth
		default:
			named := func(col Column) bool { return col.Name == what }
			c.addColumns(ch, l, &l.Train, "training ", color, named)
			c.addColumns(ch, l, &l.Test, "test ", color, named)
		}
	}
	return ch
}

// name is what stands in the legend.
func (c *charter) name(l Named, what string) string {
	if !c.many {
		return what
	}
	return strings.TrimSpace(l.Name + " " + what)
}

// addPoints adds a line, if there are points.
func (c *charter) addPoints(ch *plot.Chart, ps []Point, name string, color int) {
	var s plot.Series
	for _, p := range ps {
		s.X, s.Y = append(s.X, c.x(p.Iter, p.Seconds)), append(s.Y, p.Value)
	}
	c.add(ch, s, name, color, false)
}

// addColumns adds a line for each column that is wanted and has values. Lines of
// tests have marks, and are broken where they share a colour with training.
func (c *charter) addColumns(ch *plot.Chart, l Named, t *Table, prefix string, color int, want func(Column) bool) {
	for i, col := range t.Columns {
		if !want(col) {
			continue
		}
		var s plot.Series
		for _, r := range t.Rows {
			if i < len(r.Has) && r.Has[i] {
				s.X, s.Y = append(s.X, c.x(r.Iter, r.Seconds)), append(s.Y, r.Values[i])
			}
		}
		test := t == &l.Test
		s.Points, s.Dashed = test, test && color > 0
		c.add(ch, s, c.name(l, prefix+col.Name), color, test)
	}
}

func (c *charter) x(iter int, seconds float64) float64 {
	if c.o.BySeconds {
		return seconds
	}
	return float64(iter)
}

// add adds a line, and its mean if it is to be smoothed.
func (c *charter) add(ch *plot.Chart, s plot.Series, name string, color int, test bool) {
	if len(s.Y) == 0 {
		return
	}
	s.Name, s.Color = name, color
	if c.o.Smooth <= 1 || test {
		ch.Series = append(ch.Series, s)
		return
	}
	if s.Color == 0 {
		s.Color = 1 + len(ch.Series)
	}
	smooth := s
	smooth.Name = fmt.Sprintf("%s, mean of %d", name, c.o.Smooth)
	smooth.Y = means(s.Y, c.o.Smooth)
	s.Faint = true
	ch.Series = append(ch.Series, s, smooth)
}

// means returns for each value the mean of it and those before it, n in all.
func means(v []float64, n int) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		part := v[max(0, i-n+1) : i+1]
		for _, x := range part {
			out[i] += x / float64(len(part))
		}
	}
	return out
}
