package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"

	"crema/plot"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// RateOptions say how FindRate works. The zero value is the default.
type RateOptions struct {
	// From and To are the first and the last rate; 0 means a hundred-thousandth
	// and ten.
	From, To float64
	// Iterations is how many there are between them; 0 means 100.
	Iterations int
	// Log receives the solver's log; nil drops it.
	Log *slog.Logger
}

// A RateRange is the outcome of a learning-rate range test.
type RateRange struct {
	Rates []Number `json:"rates"`
	// Losses are those of the iterations, Smoothed their exponential mean.
	Losses   []Number `json:"losses"`
	Smoothed []Number `json:"smoothed"`
	// Descends is the rate at which the smoothed loss falls fastest, 0 if it
	// never fell by a twentieth; Diverges the one at which it had risen for
	// good, 0 if it did not.
	Descends Number `json:"descends"`
	Diverges Number `json:"diverges"`
	// Suggested is a rate to begin with, 0 if the test says nothing.
	Suggested Number `json:"suggested"`
	// Verdict says it in a sentence.
	Verdict string `json:"verdict"`
}

const (
	rateSmoothing = 0.85
	// A loss has risen for good when its mean is this much above the lowest one.
	rateRise = 1.25
	// rateFall is the least share of the first losses that counts as a fall.
	rateFall = 0.05
)

// FindRate trains while the learning rate grows exponentially from iteration to
// iteration, until the loss diverges, and suggests a rate from where it fell
// (Smith, "Cyclical learning rates for training neural networks", 2017). It
// reads the training data and writes nothing.
func (c *Case) FindRate(ctx context.Context, o RateOptions) (_ *RateRange, err error) {
	if c.Solver == nil {
		return nil, errors.New("a range test of the learning rate needs a solver")
	}
	sp := quietSolver(c.Solver, c.Train.Param)
	if c.in.Weights != "" {
		sp.Weights = []string{c.in.Weights}
	}
	from, to, n := o.From, o.To, o.Iterations
	if from <= 0 {
		from = 1e-5
	}
	if to <= 0 {
		to = 10
	}
	if n <= 0 {
		n = 100
	}
	if !(from < to) || n < 2 {
		return nil, fmt.Errorf("cannot test rates from %g to %g in %d steps", from, to, n)
	}
	sp.LrPolicy = proto.String("exp")
	sp.BaseLr = proto.Float32(float32(from))
	sp.Gamma = proto.Float32(float32(math.Pow(to/from, 1/float64(n-1))))
	sp.MaxIter = proto.Int32(int32(n))
	r := &RateRange{}
	var mean, lowest, first float64
	stop := false
	sv, err := solver.New(sp, solver.Options{Log: o.Log, ResolvePath: c.in.ResolvePath, Dir: c.Train.dir(), Load: c.in.Load,
		Action: func() solver.Action {
			if stop || ctx.Err() != nil {
				return solver.ActionStop
			}
			return solver.ActionNone
		},
		OnIteration: func(p solver.Progress) {
			loss := float64(p.Loss)
			k := len(r.Losses)
			mean = rateSmoothing*mean + (1-rateSmoothing)*loss
			smoothed := mean / (1 - math.Pow(rateSmoothing, float64(k+1)))
			r.Rates = append(r.Rates, Number(p.Rate))
			r.Losses = append(r.Losses, Number(loss))
			r.Smoothed = append(r.Smoothed, Number(smoothed))
			if k == 0 {
				first, lowest = loss, loss
			}
			if k >= 4 {
				lowest = min(lowest, smoothed)
			}
			if broken(loss) || k >= 5 && smoothed > rateRise*lowest+0.1*math.Abs(first) {
				r.Diverges = Number(p.Rate)
				stop = true
			}
		}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Train.File, err)
	}
	defer func() { err = errors.Join(err, sv.Close()) }()
	if err := sv.Step(n); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.judge()
	return r, nil
}

// broken reports whether a loss is not finite, or at the floor of a softmax
// loss.
func broken(loss float64) bool { return math.IsNaN(loss) || math.IsInf(loss, 0) || loss >= 87.33 }

// judge settles the suggestion.
func (r *RateRange) judge() {
	start := 0.0
	lead := min(5, len(r.Losses))
	for _, l := range r.Losses[:lead] {
		start += float64(l) / float64(max(lead, 1))
	}
	// The fastest fall over a window of five iterations, before the lowest mean.
	low := lead
	for i := lead; i < len(r.Smoothed); i++ {
		if r.Smoothed[i] < r.Smoothed[low] {
			low = i
		}
	}
	if low < len(r.Smoothed) && float64(r.Smoothed[low]) < (1-rateFall)*start {
		best := 0.0
		for i := lead; i <= low; i++ {
			if d := float64(r.Smoothed[i-lead] - r.Smoothed[i]); d > best {
				best, r.Descends = d, r.Rates[i]
			}
		}
	}
	div := float64(r.Diverges)
	switch {
	case r.Descends > 0 && div > 0:
		r.Suggested = Number(min(float64(r.Descends), div/4))
	case r.Descends > 0:
		r.Suggested = r.Descends
	case div > 0:
		r.Suggested = Number(div / 10)
	}
	r.Suggested = Number(twoDigits(float64(r.Suggested)))
	switch {
	case r.Descends > 0 && div > 0:
		r.Verdict = fmt.Sprintf("The loss falls fastest at %.2g and diverges at %.2g: begin with %.2g.", float64(r.Descends), div, float64(r.Suggested))
	case r.Descends > 0:
		r.Verdict = fmt.Sprintf("The loss falls fastest at %.2g and does not diverge up to %.2g: begin with %.2g.", float64(r.Descends), float64(r.Rates[len(r.Rates)-1]), float64(r.Suggested))
	case div > 0:
		r.Verdict = fmt.Sprintf("The loss does not fall at any rate before it diverges at %.2g; a tenth of that, %.2g, is worth trying.", div, float64(r.Suggested))
	default:
		r.Verdict = "The loss neither falls nor diverges at any of these rates: the rate is not what is wrong."
	}
}

// twoDigits rounds v to two significant digits.
func twoDigits(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 2, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// Chart draws the test.
func (r *RateRange) Chart() *plot.Chart {
	c := &plot.Chart{Title: "Learning-rate range test", XLabel: "learning rate", YLabel: "loss", LogX: true}
	var x, raw, smooth []float64
	top, low := 0.0, math.Inf(1)
	for i := range r.Rates {
		x, raw, smooth = append(x, float64(r.Rates[i])), append(raw, float64(r.Losses[i])), append(smooth, float64(r.Smoothed[i]))
		if l := float64(r.Losses[i]); !broken(l) {
			low = min(low, l)
			if i < 5 {
				top = max(top, l)
			}
		}
	}
	if top > low {
		c.YMin, c.YMax = max(0, low-0.1*(top-low)), top+max(0.5*(top-low), 0.2*top)
	}
	c.Series = []plot.Series{{Name: "loss", X: x, Y: raw, Faint: true, Color: 1}, {Name: "smoothed", X: x, Y: smooth, Color: 1}}
	if r.Suggested > 0 && c.YMax > 0 {
		s := float64(r.Suggested)
		c.Series = append(c.Series, plot.Series{Name: fmt.Sprintf("suggested: %.2g", s), X: []float64{s, s}, Y: []float64{c.YMin, c.YMax}, Dashed: true, Color: 2})
	}
	return c
}
