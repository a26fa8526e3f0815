package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"crema/graph"
	"crema/internal/atomicfile"
	"crema/internal/summary"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
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

// rateFactors are the factors on the learning rate that are tried on the net as
// it is.
var rateFactors = []float64{0.001, 0.01, 0.1, 10, 255}

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

// dataLayers returns the names of the train net's layers that transform
// pictures.
func (t *trying) dataLayers() []*layer {
	var ls []*layer
	for _, l := range t.c.Train.layers {
		if len(l.Bottom) == 0 && l.TransformParam != nil {
			ls = append(ls, l)
		}
	}
	return ls
}

// inits makes the variants that differ in their weights or inputs, finds those
// that are equal, and measures the others' signal at full size.
func (t *trying) inits() error {
	base := Variant{Name: "as is"}
	variants := []Variant{base}
	var noScale, divided []string
	for _, l := range t.dataLayers() {
		p, name := l.TransformParam, "layer."+l.GetName()+".transform_param."
		if p.GetScale() != 1 {
			noScale = append(noScale, name+"scale=1")
		}
		switch {
		case len(p.MeanValue) > 0 && slices.Max(p.MeanValue) > 2:
			var vs []string
			for _, v := range p.MeanValue {
				vs = append(vs, strconv.FormatFloat(float64(v)/255, 'g', 7, 32))
			}
			divided = append(divided, name+"mean_value="+strings.Join(vs, ","))
		case p.GetMeanFile() != "":
			path := filepath.Join(t.dir, l.GetName()+"-mean255.binaryproto")
			if err := divideMean(t.c.in.ResolvePath(p.GetMeanFile()), path); err != nil {
				t.note("The mean file cannot be read, so dividing it was not tried: %v", err)
				continue
			}
			divided = append(divided, name+"mean_file="+path)
		}
	}
	if len(noScale) > 0 {
		variants = append(variants, Variant{Name: "without scale", Set: noScale})
	}
	if len(divided) > 0 {
		variants = append(variants, Variant{Name: "mean / 255", Set: divided})
	}
	if !t.c.pretrained() {
		if sets := t.c.fillers("type", "msra", notMsra); len(sets) > 0 {
			variants = append(variants, Variant{Name: "msra", Set: sets})
		}
		if sets := t.c.fillers("std", "0.1", func(f *caffepb.FillerParameter) bool { return f.GetType() == "xavier" }); len(sets) > 0 {
			variants = append(variants, Variant{Name: "std 0.1 on xavier", Set: sets})
		}
		variants = append(variants, Variant{Name: "unit variance", UnitVariance: true})
	}
	variants = append(variants, t.o.Variants...)
	for i, v := range variants {
		if t.ctx.Err() != nil {
			return nil
		}
		tr, err := t.add(v, nil)
		if err != nil {
			return err
		}
		tr.control = i == 0
		if err := t.compare(tr); err != nil {
			return err
		}
		if tr.EqualTo != "" || tr.dropped {
			continue
		}
		if err := t.measure(tr); err != nil {
			return err
		}
	}
	for _, k := range rateFactors {
		rate := twoDigits(float64(t.c.Solver.GetBaseLr()) * k)
		v := Variant{Name: fmt.Sprintf("rate × %g", k), Set: []string{fmt.Sprintf("base_lr=%g", rate)}, rate: k}
		tr, err := t.add(v, t.trials[0])
		if err != nil {
			return err
		}
		tr.Dead, tr.Signal = tr.init.Dead, tr.init.Signal
	}
	return nil
}

// divideMean writes a mean file with all values divided by 255.
func divideMean(from, to string) error {
	var b caffepb.BlobProto
	if err := prototxt.ReadBinary(from, &b); err != nil {
		return err
	}
	for i := range b.Data {
		b.Data[i] /= 255
	}
	for i := range b.DoubleData {
		b.DoubleData[i] /= 255
	}
	out, err := proto.Marshal(&b)
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(to, out)
}

// compare finds out whether a variant begins with the same bits as an earlier
// one: settings, weights and the first batch. A net that cannot be built drops
// the variant.
func (t *trying) compare(tr *Trial) error {
	sp, np := t.small(tr, 1)
	net, err := graph.New(trainState(np), graph.Options{Seed: 1, ResolvePath: t.c.in.ResolvePath, Dir: t.c.Train.dir()})
	if err != nil {
		if tr.control {
			return fmt.Errorf("%s: %w", t.c.Train.File, err)
		}
		t.drop(tr, fmt.Sprintf("cannot be built: %v", err))
		return nil
	}
	defer net.Close()
	if tr.UnitVariance {
		return nil
	}
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	var buf []byte
	hash := func(v []float32) {
		for len(v) > 0 {
			n := min(len(v), 1<<14)
			buf = buf[:0]
			for _, x := range v[:n] {
				b := math.Float32bits(x)
				buf = append(buf, byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
			}
			sum.Write(buf)
			v = v[n:]
		}
	}
	for _, p := range net.Params() {
		hash(p.Blob.ReadData())
	}
	for k, n := range net.Layers() {
		if len(n.Bottoms) == 0 {
			if _, err := net.ForwardLayer(k); err != nil {
				return fmt.Errorf("%s: %w", t.c.Train.File, err)
			}
			for _, b := range n.Tops {
				hash(b.Values())
			}
		}
	}
	// Fillers and transformations are in the bits already.
	np = proto.CloneOf(np)
	for _, l := range np.Layer {
		if l.TransformParam != nil {
			l.TransformParam.Scale, l.TransformParam.MeanFile, l.TransformParam.MeanValue = nil, nil, nil
		}
		for _, f := range []*caffepb.FillerParameter{l.GetConvolutionParam().GetWeightFiller(), l.GetInnerProductParam().GetWeightFiller(),
			l.GetConvolutionParam().GetBiasFiller(), l.GetInnerProductParam().GetBiasFiller()} {
			if f != nil {
				proto.Reset(f)
			}
		}
	}
	sp.TrainNetParam = np
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(sp)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%x %s", sum.Sum64(), text)
	if other := t.equals[key]; other != nil {
		tr.EqualTo = other.Name
		t.drop(tr, fmt.Sprintf("the same as %q, to the bit: weights, inputs and settings", other.Name))
		return nil
	}
	t.equals[key] = tr
	return nil
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

// measure looks at the output of the untrained net at full size.
func (t *trying) measure(tr *Trial) (err error) {
	p, err := t.c.newProbe(nil, tr.np, MeasureOptions{Log: t.o.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if tr.UnitVariance {
		if err := t.c.unitVariance(p.net, tr.np, 1); err != nil {
			t.drop(tr, err.Error())
			return nil
		}
	}
	for range p.batches {
		if err := p.forward(); err != nil {
			return err
		}
		p.m.Images += p.images
		if p.m.Images >= 12 {
			break
		}
	}
	p.batches = max(1, p.m.Images/max(1, p.images))
	p.net.ClearParamDiffs()
	if err := p.backward(); err != nil {
		return err
	}
	tr.usual = p.usualRate()
	p.report()
	if tr.control {
		t.showOrder(p.m)
	}
	tr.Signal = p.m.mainLoss()
	if tr.control && t.r.Chance == 0 && tr.Signal != nil {
		t.r.Chance = tr.Signal.Chance // the labels are not known
	}
	switch l := tr.Signal; {
	case l == nil:
	case p.m.NonFinite != nil:
		t.drop(tr, fmt.Sprintf("not finite at %q before any training", p.m.NonFinite.Layer))
	default:
		tr.Dead = p.m.Images > 1 && l.dead()
		how := "live"
		if tr.Dead {
			how = "dead"
		}
		if tr.Dead || (tr.sp.GetType() != "SGD" && tr.sp.GetType() != "Nesterov") {
			tr.usual = 0
		}
		t.say("%s: signal %s: the output varies from image to image by %.2g, %.2g %% of it; loss %.4g", tr.Name, how, float64(l.Across), 100*float64(l.Share), float64(l.Value))
	}
	return nil
}

// usualRate returns the rate at which the gradients of the last backward pass
// would change half of the layers' weights by more than the usual share.
func (p *probe) usualRate() float64 {
	var ratios []float64
	for _, l := range p.layers {
		for j, lp := range l.params {
			g, w := l.Params[j].Gradient.RMS, summary.Of(lp.Blob.ReadData(), weightSample).RMS
			if l.Params[j].Weight && g > 0 && w > 0 {
				ratios = append(ratios, g/w)
			}
		}
	}
	if len(ratios) == 0 {
		return 0
	}
	slices.Sort(ratios)
	return twoDigits(usualUpdate / ratios[len(ratios)/2])
}

// showOrder makes a trial of x·scale − mean·scale in place of (x − mean)·scale,
// which is equal by algebra and therefore compared on the data, not trained.
func (t *trying) showOrder(m *Measurement) {
	for _, in := range m.Inputs {
		o := in.Order
		if o == nil {
			continue
		}
		tr := &Trial{Variant: Variant{Name: "scale before mean"}, EqualTo: t.trials[0].Name, Rate: t.trials[0].Rate,
			Result: Number(math.NaN()), Spread: Number(math.NaN())}
		tr.init = tr
		t.trials = append(t.trials, tr)
		how := fmt.Sprintf("differ by at most %.1g", o.Difference)
		if o.Difference == 0 {
			how = "are equal to the bit"
		}
		t.drop(tr, fmt.Sprintf("the same as %q by algebra: the %d values of some batches %s", t.trials[0].Name, in.After.Count, how))
		return
	}
}

// mainLoss returns the loss of the largest weight, the last of equals.
func (m *Measurement) mainLoss() *Loss {
	var main *Loss
	for i := range m.Losses {
		if l := &m.Losses[i]; l.From != "" && (main == nil || l.Weight >= main.Weight) {
			main = l
		}
	}
	return main
}

// small returns a trial's solver and net for the fixed set.
func (t *trying) small(tr *Trial, seed int64) (*caffepb.SolverParameter, *caffepb.NetParameter) {
	np := proto.CloneOf(tr.np)
	crop := 0
	if t.r.Crop != t.r.FullCrop {
		crop = t.r.Crop
	}
	t.set.use(np, crop)
	sp := quietSolver(tr.sp, np)
	sp.RandomSeed = proto.Int64(seed)
	if t.c.in.Weights != "" {
		sp.Weights = []string{t.c.in.Weights}
	}
	return sp, np
}

// train trains a trial's run until it has made that many iterations, has
// learned, diverged, or the round's time is over. With keep the state stays, to
// go on from.
func (t *trying) train(tr *Trial, seed int64, iterations int, keep bool) (r *Run, err error) {
	i := slices.IndexFunc(tr.Runs, func(r *Run) bool { return r.Seed == seed })
	if i < 0 {
		i = len(tr.Runs)
		tr.Runs = append(tr.Runs, &Run{Seed: seed})
	}
	r = tr.Runs[i]
	if r.Ended != "" || len(r.Losses) >= iterations {
		return r, nil
	}
	if r.state == "" {
		r.Losses = nil
	}
	sp, np := t.small(tr, seed)
	t.snapshot++
	sp.SnapshotPrefix = proto.String(filepath.Join(t.dir, fmt.Sprintf("run%d", t.snapshot)))
	model, state := "", ""
	o := solver.Options{Log: t.o.Log, ResolvePath: t.c.in.ResolvePath, Dir: t.c.Train.dir(), Load: t.c.in.Load, Snapshot: r.state,
		Watch: solver.Watch{Snapshotted: func(_ int, m, s string) { model, state = m, s }},
		Action: func() solver.Action {
			if r.Ended != "" || t.ctx.Err() != nil || time.Now().After(t.limit) {
				return solver.ActionStop
			}
			return solver.ActionNone
		},
		OnIteration: func(p solver.Progress) {
			r.Losses = append(r.Losses, Number(p.Loss))
			t.seconds = append(t.seconds, p.Seconds)
			switch mean := r.mean(); {
			case broken(float64(p.Loss)):
				r.Ended = "diverged"
			case t.r.Chance > 0 && len(r.Losses) >= screening && mean < stopShare*t.r.Chance:
				r.Ended = "learned"
			}
		}}
	sv, err := solver.New(sp, o)
	if err != nil {
		return nil, fmt.Errorf("variant %q: %w", tr.Name, err)
	}
	defer func() { err = errors.Join(err, sv.Close()) }()
	if tr.UnitVariance && r.state == "" {
		if err := t.c.unitVariance(sv.Net(), np, uint64(seed)); err != nil {
			return nil, fmt.Errorf("variant %q: %w", tr.Name, err)
		}
	}
	if err := sv.Step(iterations - len(r.Losses)); err != nil {
		return nil, fmt.Errorf("variant %q: %w", tr.Name, err)
	}
	t.forget(r)
	r.Result = Number(r.mean())
	if r.Ended == "diverged" {
		r.Result = Number(math.NaN())
		return r, nil
	}
	if tr.stage == 0 && len(r.Losses) >= screening {
		alive, err := t.alive(sv.Net(), np)
		if err != nil {
			return nil, err
		}
		if !alive && !tr.control {
			r.Ended = "died"
		}
	}
	if keep && r.Ended == "" {
		if err := sv.Snapshot(); err != nil {
			return nil, fmt.Errorf("variant %q: %w", tr.Name, err)
		}
		r.model, r.state = model, state
	}
	return r, nil
}

// mean returns the mean of a run's last losses.
func (r *Run) mean() float64 {
	last := r.Losses[max(0, len(r.Losses)-finalWindow):]
	var s float64
	for _, l := range last {
		s += float64(l)
	}
	return s / float64(len(last))
}

// alive reports whether the output of a net that was trained a little still
// depends on the image.
func (t *trying) alive(owner *graph.Net, np *caffepb.NetParameter) (_ bool, err error) {
	p := &probe{c: t.c, seed: 1, m: &Measurement{}, o: MeasureOptions{Batches: 1}}
	defer func() { err = errors.Join(err, p.Close()) }()
	if quiet := withoutNoise(np); quiet != nil {
		np = quiet
	}
	if p.net, err = graph.New(trainState(np), graph.Options{Seed: 1, ResolvePath: t.c.in.ResolvePath, Dir: t.c.Train.dir(), ShareParams: owner, NoLayout: true, NoFuse: true}); err != nil {
		return false, err
	}
	p.still = p.net
	if err := p.prepare(); err != nil {
		return false, err
	}
	if err := p.forward(); err != nil {
		return false, err
	}
	p.report()
	l := p.m.mainLoss()
	// The scores are compared with what is usual of live nets much later: a net
	// that says a hundredth is on its way.
	return l == nil || p.images < 2 || !(float64(l.Share) < deadShare || l.Output.RMS == 0), nil
}

// pace returns the seconds an iteration takes: the median of the last ones.
func (t *trying) pace() float64 {
	s := slices.Clone(t.seconds[max(0, len(t.seconds)-50):])
	if len(s) == 0 {
		return 0
	}
	slices.Sort(s)
	return s[len(s)/2]
}

// screen trains every variant for a few dozen iterations and drops what
// diverges or dies. Weights that carry a signal are combined with rates, one of
// them from a range test.
func (t *trying) screen() error {
	t.limit = t.began.Add(t.o.Budget)
	control := t.trials[0]
	iterations := screening
	if _, err := t.train(control, 1, 3, false); err != nil {
		return err
	}
	control.Runs = nil
	if p := t.pace(); p > 0 {
		all := float64(len(t.trials)+8) * float64(iterations) * p
		t.say("an iteration takes %.2g s: about %.0f fit into %.0f minutes", p, t.left().Seconds()/p, t.o.Budget.Minutes())
		if allowed := screenShare * t.o.Budget.Seconds(); all > allowed {
			t.say("to screen everything would take %.0f s of the %.0f s there are for it: what has no signal is not trained, but for what is asked about most", all, allowed)
		}
	}
	t.limit = t.began.Add(time.Duration(screenShare * float64(t.o.Budget)))
	todo := []*Trial{control}
	for _, tr := range slices.Clone(t.trials) {
		if tr.dropped || tr.Dead || tr.init != tr || tr == control {
			continue
		}
		todo = append(todo, tr)
		combined, err := t.combine(tr)
		if err != nil {
			return err
		}
		todo = append(todo, combined...)
	}
	if !control.Dead {
		combined, err := t.combine(control)
		if err != nil {
			return err
		}
		todo = append(todo, combined...)
	}
	// The user's own, then larger rates, which show their worth soon, then the
	// others without a signal.
	for _, tr := range t.trials {
		if slices.Contains(todo, tr) || tr.dropped {
			continue
		}
		todo = append(todo, tr)
	}
	slices.SortStableFunc(todo, func(a, b *Trial) int { return cmp.Compare(t.priority(a), t.priority(b)) })
	for _, tr := range todo {
		if t.ctx.Err() != nil {
			return nil
		}
		if tr.Dead && !tr.control && t.priority(tr) > 2 && float64(iterations)*t.pace() > 0.02*t.o.Budget.Seconds() {
			t.drop(tr, "not trained: its output does not depend on the image")
			continue
		}
		if !tr.control && time.Now().After(t.limit) {
			t.drop(tr, "not trained: the budget was used up")
			t.note("The budget did not reach to train all variants.")
			continue
		}
		if err := t.screenOne(tr, iterations); err != nil {
			return err
		}
	}
	return nil
}

// priority orders the trials of the screening.
func (t *trying) priority(tr *Trial) int {
	switch {
	case tr.control:
		return 0
	case slices.ContainsFunc(t.o.Variants, func(v Variant) bool { return v.Name == tr.Name }):
		return 1
	case tr.rate > 1:
		return 2 // diverges at once, if it does
	case !tr.Dead && tr.init != tr && float64(tr.Rate) == float64(float32(tr.init.usual)):
		return 3
	case !tr.Dead && tr.init != tr:
		return 4
	case !tr.Dead:
		return 5
	}
	return 6
}

// screenOne trains one variant for the screening.
func (t *trying) screenOne(tr *Trial, iterations int) error {
	r, err := t.train(tr, 1, iterations, true)
	if err != nil {
		return err
	}
	switch {
	case r.Ended == "diverged":
		t.drop(tr, fmt.Sprintf("diverges at iteration %d", len(r.Losses)))
	case tr.control:
		tr.stage = 1
		tr.Verdict = fmt.Sprintf("loss %.3f after %d iterations", r.mean(), len(r.Losses))
		t.say("%s: %s", tr.Name, tr.Verdict)
	case r.Ended == "died" && !tr.Dead:
		t.drop(tr, fmt.Sprintf("dies: after %d iterations the output does not depend on the image (loss %.3f)", len(r.Losses), r.mean()))
	case tr.Dead:
		t.drop(tr, fmt.Sprintf("dead signal: loss %.3f after %d iterations, and the output hardly depended on the image", r.mean(), len(r.Losses)))
	case len(r.Losses) >= iterations && t.r.Chance > 0 && r.mean() > 2*max(t.r.Chance, float64(r.Losses[0])):
		t.drop(tr, fmt.Sprintf("loss %.3f after %d iterations, far above where it began", r.mean(), len(r.Losses)))
	default:
		tr.stage = 1
		tr.Verdict = fmt.Sprintf("loss %.3f after %d iterations", r.mean(), len(r.Losses))
		t.say("%s: %s", tr.Name, tr.Verdict)
	}
	return nil
}

// combine makes trials of weights that carry a signal with other rates: that at
// which a step would be of the usual size, and smaller ones than the given.
func (t *trying) combine(tr *Trial) ([]*Trial, error) {
	base := float64(tr.sp.GetBaseLr())
	rates := []float64{twoDigits(base * 0.01)}
	// Inputs of another size are worth one try, weights more.
	weights := tr.UnitVariance || slices.ContainsFunc(tr.Set, func(s string) bool { return strings.Contains(s, "filler") })
	if weights || tr.control {
		rates = append(rates, twoDigits(base*0.1))
	}
	if tr.usual > 0 {
		rates = slices.DeleteFunc(rates, func(r float64) bool { return r/tr.usual > 0.7 && r/tr.usual < 1.5 })
		if tr.usual/base < 0.7 || tr.usual/base > 1.5 {
			rates = append([]float64{tr.usual}, rates...)
		}
	}
	var all []*Trial
	for _, rate := range rates {
		if tr.control && slices.ContainsFunc(t.trials, func(x *Trial) bool { return x.init == tr && math.Abs(float64(x.Rate)/rate-1) < 0.01 }) {
			continue
		}
		name := fmt.Sprintf("%s, rate %g", tr.Name, rate)
		if tr.control {
			name = fmt.Sprintf("rate %g", rate)
		}
		v := Variant{Name: name, Set: append(slices.Clone(tr.Set), fmt.Sprintf("base_lr=%g", rate)), UnitVariance: tr.UnitVariance}
		x, err := t.add(v, tr)
		if err != nil {
			return nil, err
		}
		x.Signal, x.Dead = tr.Signal, tr.Dead
		all = append(all, x)
	}
	return all, nil
}

// survivors returns the trials that are still in, but for the control.
func (t *trying) survivors() []*Trial {
	var live []*Trial
	for _, tr := range t.trials {
		if !tr.dropped && !tr.control && tr.stage > 0 {
			live = append(live, tr)
		}
	}
	return live
}

// choose trains the survivors a little longer and keeps the best few.
func (t *trying) choose() error {
	live := t.survivors()
	p := t.pace()
	if len(live) == 0 || p == 0 {
		return nil
	}
	budget := selectShare * t.left().Seconds()
	t.limit = time.Now().Add(time.Duration(2 * budget * float64(time.Second)))
	more := float64(selection - screening)
	fit := max(2, int(budget/p/more)-1)
	slices.SortStableFunc(live, func(a, b *Trial) int { return cmp.Compare(t.priority(a), t.priority(b)) })
	for _, tr := range live[min(fit, len(live)):] {
		t.drop(tr, tr.Verdict+"; the budget did not reach further")
		t.note("The budget did not reach to train all variants.")
	}
	live = live[:min(fit, len(live))]
	t.say("second round: %d variants and the net as it is, to iteration %d: about %.0f s", len(live), selection, float64(len(live)+1)*more*p)
	for _, tr := range append([]*Trial{t.trials[0]}, live...) {
		if t.ctx.Err() != nil {
			return nil
		}
		r, err := t.train(tr, 1, selection, true)
		if err != nil {
			return err
		}
		switch {
		case r.Ended == "diverged":
			t.drop(tr, fmt.Sprintf("diverges at iteration %d", len(r.Losses)))
		default:
			tr.stage = 2
			tr.Verdict = fmt.Sprintf("loss %.3f after %d iterations", r.mean(), len(r.Losses))
			t.say("%s: %s", tr.Name, tr.Verdict)
		}
	}
	return nil
}

// final trains the best few as long as the budget allows, with all seeds.
func (t *trying) final() error {
	live := t.survivors()
	p := t.pace()
	if len(live) == 0 || p == 0 {
		return nil
	}
	slices.SortStableFunc(live, func(a, b *Trial) int { return cmp.Compare(a.Runs[0].mean(), b.Runs[0].mean()) })
	control := t.trials[0]
	t.limit = t.began.Add(t.o.Budget)
	left := 0.95 * t.left().Seconds() / p
	// The first run goes on from where it is, the others begin anew; the control
	// has one.
	length := func(k int) int {
		done := float64((k + 1) * selection)
		return int((left + done) / float64(k*t.o.Seeds+1))
	}
	k := min(3, len(live))
	for k > 1 && length(k) < fewestFinal {
		k--
	}
	n := min(length(k), mostFinal)
	if n < fewestFinal {
		t.note("The budget allowed %d iterations in the last round; %d or more are wanted.", n, fewestFinal)
	}
	for _, tr := range live[k:] {
		t.drop(tr, tr.Verdict+": not among the best")
	}
	live = live[:k]
	if n <= selection {
		return nil
	}
	t.say("last round: %d variants, %d seeds, to iteration %d: at most %.0f s", k, t.o.Seeds, n, left*p)
	for seed := 1; seed <= t.o.Seeds; seed++ {
		for _, tr := range live {
			if tr.dropped || t.ctx.Err() != nil {
				continue
			}
			r, err := t.train(tr, int64(seed), n, false)
			if err != nil {
				return err
			}
			if r.Ended == "diverged" {
				t.drop(tr, fmt.Sprintf("diverges at iteration %d (seed %d)", len(r.Losses), seed))
				continue
			}
			tr.stage = 3
			t.say("%s, seed %d: loss %.3f after %d iterations", tr.Name, seed, r.mean(), len(r.Losses))
		}
		if seed == 1 && t.ctx.Err() == nil && !control.dropped {
			r, err := t.train(control, 1, n, false)
			if err != nil {
				return err
			}
			control.stage = 3
			t.say("%s: loss %.3f after %d iterations", control.Name, r.mean(), len(r.Losses))
		}
	}
	return nil
}

// finish ranks what is left.
func (t *trying) finish() {
	t.r.IterationSeconds = Number(t.pace())
	var ranked, rest []*Trial
	for _, tr := range t.trials {
		tr.judge(t.r.Chance)
		if tr.stage >= 1 && !tr.dropped && !math.IsNaN(float64(tr.Result)) {
			ranked = append(ranked, tr)
		} else {
			rest = append(rest, tr)
		}
	}
	slices.SortStableFunc(ranked, func(a, b *Trial) int {
		return cmp.Or(cmp.Compare(b.stage, a.stage), cmp.Compare(a.Result, b.Result))
	})
	var spread float64
	for _, tr := range ranked {
		if s := float64(tr.Spread); !math.IsNaN(s) {
			spread = max(spread, s)
		}
	}
	for i, tr := range ranked {
		tr.Rank = i + 1
		if i > 0 && ranked[i-1].stage == tr.stage && float64(tr.Result)-float64(ranked[first(ranked, i-1)].Result) <= spread {
			tr.Rank = ranked[i-1].Rank
		}
	}
	slices.SortStableFunc(rest, func(a, b *Trial) int { return cmp.Compare(b.stage, a.stage) })
	t.r.Trials = append(ranked, rest...)
	for _, tr := range t.r.Trials {
		for i, s := range tr.Set {
			if field, file, _ := strings.Cut(s, "="); strings.HasPrefix(file, t.dir) {
				tr.Set[i] = field + "=(the mean file with its values divided by 255)"
			}
		}
	}
	if len(ranked) > 0 && ranked[0].Learns {
		best := ranked[0]
		t.r.Best = best.Name
		t.r.Commands = t.commands(best)
		if !best.Learned {
			t.note("The best variant learns, but has not learned the set yet: its loss is %.3f of %.3f.", float64(best.Result), t.r.Chance)
		}
	} else {
		t.note("No variant learned anything within the budget.")
	}
	t.r.Seconds = Number(time.Since(t.began).Seconds())
}

// first returns the index of the first trial that shares the rank of trial i.
func first(ranked []*Trial, i int) int {
	for i > 0 && ranked[i-1].Rank == ranked[i].Rank {
		i--
	}
	return i
}

// judge settles a trial's result.
func (tr *Trial) judge(chance float64) {
	var sum, lo, hi float64
	n := 0
	for _, r := range tr.Runs {
		v := float64(r.Result)
		if len(r.Losses) == 0 || math.IsNaN(v) {
			continue
		}
		if n == 0 {
			lo, hi = v, v
		}
		lo, hi, sum = min(lo, v), max(hi, v), sum+v
		n++
	}
	if n == 0 {
		return
	}
	tr.Result = Number(sum / float64(n))
	if n > 1 {
		tr.Spread = Number(hi - lo)
	}
	tr.Learned = !tr.dropped && chance > 0 && float64(tr.Result) < learnedShare*chance
	tr.Learns = !tr.dropped && chance > 0 && float64(tr.Result) < 0.9*chance
	if !tr.dropped {
		shortest, longest := math.MaxInt, 0
		for _, r := range tr.Runs {
			if len(r.Losses) > 0 {
				shortest, longest = min(shortest, len(r.Losses)), max(longest, len(r.Losses))
			}
		}
		tr.Verdict = fmt.Sprintf("%d iterations", longest)
		if shortest < longest {
			tr.Verdict = fmt.Sprintf("%d to %d iterations", shortest, longest)
		}
		switch {
		case tr.Learned:
			tr.Verdict = "learned the set: " + tr.Verdict
		case tr.Learns:
			tr.Verdict = "learns: " + tr.Verdict
		case longest >= selection:
			tr.Verdict = "no progress: " + tr.Verdict
		}
	}
}

// commands returns the command lines that train the variant.
func (t *trying) commands(tr *Trial) []string {
	args := func(sets []string) string {
		var b strings.Builder
		for _, s := range sets {
			b.WriteString(" --set " + quoteArg(s))
		}
		return b.String()
	}
	solver := " --solver " + quoteArg(t.c.in.Solver)
	for _, a := range t.o.Args {
		solver += " " + quoteArg(a)
	}
	if !tr.UnitVariance {
		return []string{"crema train" + solver + args(tr.Set)}
	}
	return []string{
		"crema doctor" + solver + args(tr.Set) + " --lsuv unit_variance.caffemodel",
		"crema train" + solver + args(tr.Set) + " --weights unit_variance.caffemodel",
	}
}
