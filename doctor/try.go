package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"time"

	"crema/prototxt/caffepb"
)

// TryOptions say how Try experiments. The zero value is the default.
type TryOptions struct {
	// Budget is the time there is; 0 means half an hour. A run that is under way
	// is ended when it is over.
	Budget time.Duration
	// Seeds is how many runs the finalists get, 0 means 2.
	Seeds int
	// Images is the size of the fixed set, 0 means 64.
	Images int
	// Crop is the crop to train with; 0 chooses one (Tried.Crop).
	Crop int
	// Variants are tried beside those that Try thinks of.
	Variants []Variant
	// Args are the arguments that make the case out of its solver, for the
	// commands that Tried.Commands gives: --set, --data-root and the like.
	Args []string
	// Progress is told what goes on, a line at a time; nil is not.
	Progress func(line string)
	// Log receives the solvers' logs; nil drops them.
	Log *slog.Logger
}

const (
	screening    = 30 // iterations that show whether a variant diverges
	selection    = 120
	fewestFinal  = 300 // iterations that show whether a small set is learned
	mostFinal    = 1000
	finalWindow  = 10    // losses whose mean is a run's result
	learnedShare = 0.3   // of the chance level: the set is learned
	stopShare    = 0.25  // where a run that has learned it may end
	screenShare  = 0.4   // of the budget, at most
	selectShare  = 0.3   // of what is left then
	usualUpdate  = 0.002 // a step as a share of the weights, of nets that learn
)

// Tried is the outcome of Try.
type Tried struct {
	// Images is the size of the fixed set, Labels the number of different labels
	// in it and Chance the entropy of the labels in nats: the loss of a net that
	// knows their frequencies and nothing of the images.
	Images int     `json:"images"`
	Labels int     `json:"labels"`
	Chance float64 `json:"chance"`
	// Crop is what the nets were trained with, FullCrop the configured crop.
	Crop     int `json:"crop"`
	FullCrop int `json:"full_crop"`
	// IterationSeconds is what an iteration takes.
	IterationSeconds Number `json:"iteration_seconds"`
	// Seconds were used of BudgetSeconds.
	Seconds       Number `json:"seconds"`
	BudgetSeconds Number `json:"budget_seconds"`
	// Trials are in the order of their ranks; those that were dropped follow.
	Trials []*Trial `json:"trials"`
	// Best is the name of the first of them, "" if none learned anything.
	Best string `json:"best"`
	// Commands starts training with it.
	Commands []string `json:"commands,omitempty"`
	// Notes says what else there is to know, above all where the budget cut the
	// experiment short.
	Notes []string `json:"notes,omitempty"`
}

// A Trial is what became of a variant.
type Trial struct {
	Variant
	Rate Number `json:"rate"`
	// EqualTo names the variant whose weights, inputs and settings are the same.
	EqualTo string `json:"equal_to,omitempty"`
	// Signal is what the full-size net did before training: the loss layer's
	// entry of a measurement.
	Signal *Loss `json:"signal,omitempty"`
	// Dead says that its output hardly depended on the image.
	Dead bool `json:"dead"`
	// Verdict says in words how far it came.
	Verdict string `json:"verdict"`
	// Runs has a run for each seed it was trained with.
	Runs []*Run `json:"runs"`
	// Result is the mean of the runs' results, Spread their largest difference.
	Result Number `json:"result"`
	Spread Number `json:"spread"`
	// Rank counts from 1; variants that are no further apart than their seeds
	// share one. 0 for those that were dropped.
	Rank int `json:"rank"`
	// Learned says that the result is below learnedShare of Chance; Learns that
	// it is clearly below Chance.
	Learned bool `json:"learned"`
	Learns  bool `json:"learns"`

	stage   int // rounds it survived
	sp      *caffepb.SolverParameter
	np      *caffepb.NetParameter
	control bool
	usual   float64 // the rate at which a first step has the usual size, 0 if unknown
	init    *Trial  // whose weights and inputs it has
	dropped bool
}

// A Run is one training run.
type Run struct {
	Seed int64 `json:"seed"`
	// Losses are those of the iterations.
	Losses []Number `json:"losses"`
	// Result is the mean of the last ones.
	Result Number `json:"result"`
	// Ended says why it ended before its time: diverged or learned.
	Ended string `json:"ended,omitempty"`

	state, model string // of the last snapshot
}

// trying is an experiment that is going on.
type trying struct {
	c        *Case
	o        TryOptions
	ctx      context.Context
	r        *Tried
	dir      string
	set      *fixedSet
	began    time.Time
	seconds  []float64 // of iterations
	trials   []*Trial
	equals   map[string]*Trial
	limit    time.Time // of the present round
	snapshot int
}

// Try tries variants of the case by successive halving and ranks them by
// whether the net learns a small fixed set of training images: a few dozen
// iterations drop what diverges, 120 leave the best few, and those train for
// 300 to 1000 with several seeds. It says beforehand what the time will be spent
// on. The nets do not test; files are written to a temporary folder only, which
// is removed.
//
// When ctx ends, what is known by then is returned, with a note.
func (c *Case) Try(ctx context.Context, o TryOptions) (_ *Tried, err error) {
	if c.Solver == nil {
		return nil, errors.New("to try variants needs a solver")
	}
	if o.Budget <= 0 {
		o.Budget = 30 * time.Minute
	}
	if o.Seeds <= 0 {
		o.Seeds = 2
	}
	if o.Images <= 0 {
		o.Images = 64
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	dir, err := os.MkdirTemp("", "crema-try-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t := &trying{c: c, o: o, ctx: ctx, dir: dir, began: time.Now(), r: &Tried{BudgetSeconds: Number(o.Budget.Seconds())}, equals: map[string]*Trial{}}
	if err := t.prepare(); err != nil {
		return nil, err
	}
	for _, step := range []func() error{t.inits, t.screen, t.choose, t.final} {
		if err := step(); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			t.note("It was interrupted: what follows is as far as it came.")
			break
		}
	}
	t.finish()
	return t.r, nil
}

func (t *trying) say(format string, args ...any) {
	t.o.Progress(fmt.Sprintf("%5.0f s  ", time.Since(t.began).Seconds()) + fmt.Sprintf(format, args...))
}

func (t *trying) note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if !slices.Contains(t.r.Notes, s) {
		t.r.Notes = append(t.r.Notes, s)
		t.say("%s", s)
	}
}

// left returns what is left of the budget.
func (t *trying) left() time.Duration { return t.o.Budget - time.Since(t.began) }

// prepare makes the fixed set and chooses the crop.
func (t *trying) prepare() (err error) {
	if t.set, err = t.c.newFixedSet(t.dir, t.o.Images); err != nil {
		return fmt.Errorf("%s: %w", t.c.Train.File, err)
	}
	s := t.set
	t.r.Images, t.r.Labels, t.r.Chance = s.images, len(s.labels), s.entropy
	if t.o.Crop > 0 {
		t.r.Crop = t.o.Crop
		_, t.r.FullCrop = t.c.chooseCrop(&fixedSet{sources: s.sources, images: s.images})
	} else {
		t.r.Crop, t.r.FullCrop = t.c.chooseCrop(s)
	}
	if t.r.Crop == 0 {
		t.r.Crop = t.r.FullCrop
	}
	if s.whole != "" && s.images == 0 {
		t.note("Layer %q reads what cannot be cut down to a few images: all of its data is trained on.", s.whole)
	} else {
		t.say("fixed set: %d images of %d labels; without looking at them the loss gets to %.3f at best", s.images, len(s.labels), s.entropy)
	}
	if t.r.Crop != t.r.FullCrop {
		t.say("trains with crops of %d in place of %d; the signal is measured at %d", t.r.Crop, t.r.FullCrop, t.r.FullCrop)
	}
	return nil
}

// add makes a trial of a variant; nil if it is the user's and like another.
func (t *trying) add(v Variant, init *Trial) (*Trial, error) {
	tr := &Trial{Variant: v, init: init, Result: Number(math.NaN()), Spread: Number(math.NaN())}
	var err error
	if tr.sp, tr.np, err = t.c.apply(&v); err != nil {
		return nil, err
	}
	tr.Rate = Number(tr.sp.GetBaseLr())
	if init == nil {
		tr.init = tr
	}
	t.trials = append(t.trials, tr)
	return tr, nil
}

// drop ends a trial.
func (t *trying) drop(tr *Trial, verdict string) {
	tr.dropped, tr.Verdict = true, verdict
	for _, r := range tr.Runs {
		t.forget(r)
	}
	t.say("%s: %s", tr.Name, verdict)
}

// forget removes a run's snapshot.
func (t *trying) forget(r *Run) {
	if r.state != "" {
		os.Remove(r.state)
		os.Remove(r.model)
		r.state, r.model = "", ""
	}
}
