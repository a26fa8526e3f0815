package watch

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"crema/internal/glog"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// Options say what a Recorder keeps and writes. The zero value keeps the run
// in memory only.
type Options struct {
	// Solver is the configuration, after all overrides, File the path it came
	// from.
	Solver *caffepb.SolverParameter
	File   string
	// Dir is the folder of runs to write to, "" for none; it is made if it does
	// not exist.
	Dir string
	// Name of the run: its folder in Dir. If "", it is that of File, or of
	// File's folder if it is called solver, with the date and time.
	Name string
	// Plots is a folder to write plots to at the end, "" for none.
	Plots string
	// Every is the least number of iterations between two samples of the
	// layers; 0 is 10.
	Every int
	// Log is told once if a file cannot be written; nil drops it.
	Log *slog.Logger
}

// A Recorder observes one training run.
type Recorder struct {
	o   Options
	log *slog.Logger
	dir string // of the run's files, "" for none

	// Of the goroutine that trains:
	edited    *caffepb.NetParameter // the train net's file after all edits
	layers    []*probe
	sampling  bool // this iteration
	sampled   int  // the last iteration that was
	lastIter  int  // the last that was made
	paces     paces
	origin    time.Time // when the run would have begun, had it never been stopped
	files     *files    // nil if there are none
	painter   *painter
	path      func(string) string // resolves paths of the net
	smoothing struct {
		loss, seconds, waited float64
		losses, n             int // how many values are in loss, and in the others
	}
	spent time.Duration // by our own work since Start

	// askedAt is when somebody last asked for pictures, in Unix nanoseconds.
	askedAt  atomic.Int64
	pictures atomic.Pointer[Pictures]

	mu       sync.Mutex // guards what follows; held for moments only
	state    State
	before   float64       // seconds of the run before this process
	pausedAt time.Time     // zero if not
	paused   time.Duration // in all, before pausedAt
	first    int           // iteration that this process began at
	revision int
	course   course
	samples  []sample
	skipped  int // samples to leave out until the next one that is kept
	apart    int // one sample in how many is kept
	tests    []*testCourse
}

// New returns a recorder; Install it in the solver's options.
func New(o Options) (*Recorder, error) {
	if o.Solver == nil {
		o.Solver = &caffepb.SolverParameter{}
	}
	if o.Log == nil {
		o.Log = glog.Discard
	}
	if o.Every == 0 {
		o.Every = 10
	}
	switch {
	case o.Every < 0:
		return nil, fmt.Errorf("iterations between samples must not be negative, they are %d", o.Every)
	case o.Name != "" && !validName(o.Name):
		return nil, fmt.Errorf("run name %q: must be the name of a folder, without slashes", o.Name)
	}
	if o.Name == "" {
		o.Name = stem(o.File) + time.Now().Format("-20060102-150405")
	}
	r := &Recorder{o: o, log: o.Log, apart: 1, paces: newPaces(), path: func(p string) string { return p }}
	r.state = State{Run: o.Name, Solver: o.File, Status: StatusStarting, MaxIter: int(o.Solver.GetMaxIter()),
		Config: string(prototxt.MarshalText(o.Solver)), Remaining: nan, Loss: nan, Smoothed: nan}
	if o.Dir != "" {
		r.dir = filepath.Join(o.Dir, o.Name)
		r.state.Dir = r.dir
	}
	return r, nil
}

// stem returns what a run of a solver file is called: the name of the file or,
// as most are called the same, of its folder.
func stem(file string) string {
	s := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	if s == "solver" {
		if abs, err := filepath.Abs(file); err == nil {
			s = filepath.Base(filepath.Dir(abs))
		}
	}
	if file == "" || !validName(s) {
		return "run"
	}
	return s
}

var nan = Number(math.NaN())

func validName(s string) bool {
	return s != "." && s != ".." && !strings.ContainsAny(s, `/\`) && filepath.Base(s) == s
}

// Install makes a solver's options call the recorder, beside what they call
// already.
func (r *Recorder) Install(o *solver.Options) {
	w, progress, edit := o.Watch, o.OnIteration, o.EditNet
	if o.ResolvePath != nil {
		r.path = o.ResolvePath
	}
	o.Watch = solver.Watch{
		Begin: func(iter int) bool {
			r.begin(iter)
			return w.Begin != nil && w.Begin(iter)
		},
		Passed: func(iter int, loss float32) {
			r.passed(iter)
			if w.Passed != nil {
				w.Passed(iter, loss)
			}
		},
		Tested: func(t solver.TestResult) {
			r.tested(t)
			if w.Tested != nil {
				w.Tested(t)
			}
		},
		Snapshotted: func(iter int, model, state string) {
			r.snapshotted(iter, state)
			if w.Snapshotted != nil {
				w.Snapshotted(iter, model, state)
			}
		},
	}
	o.OnIteration = func(p solver.Progress) {
		if progress != nil {
			progress(p)
		}
		r.iterated(p)
	}
	o.EditNet = func(np *caffepb.NetParameter) error {
		if edit != nil {
			if err := edit(np); err != nil {
				return err
			}
		}
		if r.edited == nil {
			r.edited = proto.CloneOf(np)
		}
		return nil
	}
}

// Start takes in the solver, which must have been made from the options given
// to Install, and is called before it trains. It opens the files of the run:
// those of a run of that name are gone on with if the solver resumes, otherwise
// they are an error that wraps fs.ErrExist.
func (r *Recorder) Start(sv *solver.Solver) error {
	net := sv.Net()
	config, netConfig := string(prototxt.MarshalText(r.o.Solver)), string(prototxt.MarshalText(r.edited))
	r.mu.Lock()
	defer r.mu.Unlock()
	st := &r.state
	if r.dir != "" {
		f, err := openFiles(r.dir, sv.Iter(), config, netConfig, r.log)
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		if err := r.load(r.dir); err != nil {
			return fmt.Errorf("watch: %w", errors.Join(err, f.close()))
		}
		r.files, st.Files = f, f.names()
		r.before = float64(st.Elapsed)
		r.smoothing.loss, r.smoothing.losses = float64(st.Smoothed), st.Iter
	}
	if r.o.Plots != "" {
		// So that a folder that cannot be made is known before the end.
		if err := os.MkdirAll(r.o.Plots, 0o755); err != nil {
			return fmt.Errorf("plots: %w", err)
		}
	}
	r.layers = probes(net)
	r.painter = newPainter(net, r.path)
	st.Layers = nil
	for _, p := range r.layers {
		st.Layers = append(st.Layers, Layer{Name: p.node.Name, Type: p.node.Type, Ratio: nan})
	}
	if n := len(r.samples); n > 0 && sameLayers(r.samples[0].layers, st.Layers) {
		st.Layers = r.samples[n-1].layers
	} else {
		r.samples = nil
	}
	r.lastIter, r.sampled = sv.Iter()-1, math.MinInt/2
	st.Net, st.Config, st.NetConfig = net.Name, config, netConfig
	st.Iter, r.first = sv.Iter(), sv.Iter()
	st.Began = time.Now()
	r.origin = st.Began.Add(-time.Duration(r.before * float64(time.Second)))
	st.Status = r.between(sv.Iter())
	return nil
}

// sameLayers reports whether two samples are of the same net.
func sameLayers(a, b []Layer) bool {
	return slices.EqualFunc(a, b, func(a, b Layer) bool { return a.Name == b.Name && a.Type == b.Type })
}

// between returns the status after iter updates and before the next iteration.
func (r *Recorder) between(iter int) string {
	p := r.o.Solver
	if n := int(p.GetTestInterval()); n > 0 && len(p.TestIter) > 0 && iter%n == 0 && (iter > 0 || p.GetTestInitialization()) {
		return StatusTesting
	}
	return StatusTraining
}

// begin is Watch.Begin: iter updates have been made.
func (r *Recorder) begin(iter int) {
	now := time.Now()
	r.sampling = false
	if iter <= r.lastIter {
		r.back(iter)
	}
	if iter-r.sampled >= r.o.Every && r.paces.sample.due(now, now.Sub(r.origin)) {
		r.sampling = true
		r.paces.sample.begin(now)
		for _, p := range r.layers {
			p.keepWeights()
		}
	}
	r.mu.Lock()
	r.state.Status = StatusTraining
	r.mu.Unlock()
	r.spend(now)
	if r.sampling {
		r.paces.sample.add(time.Since(now))
	}
}

// spend adds the time since began to what the recorder's work takes.
func (r *Recorder) spend(began time.Time) { r.spent += time.Since(began) }

// back forgets the iterations from iter on, which will be made again.
func (r *Recorder) back(iter int) {
	r.lastIter = iter - 1
	if r.files != nil {
		r.files.cut(iter)
	}
	r.sampled = min(r.sampled, iter-r.o.Every)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.course.cut(iter)
	from := func(s sample) bool { return s.iter >= iter }
	r.samples = slices.DeleteFunc(slices.Clone(r.samples), from)
	for _, t := range r.tests {
		if i, _ := slices.BinarySearch(t.iters, iter); i < len(t.iters) {
			t.iters, t.values = t.iters[:i], t.values[:i]
		}
	}
	r.revision++
}

// passed is Watch.Passed: activations and gradients are in their blobs.
func (r *Recorder) passed(iter int) {
	now := time.Now()
	p := &r.paces
	if r.sampling {
		for _, l := range r.layers {
			l.lookAtPasses()
		}
		p.sample.add(time.Since(now))
		if r.files != nil && p.histograms.due(now, now.Sub(r.origin)) {
			p.histograms.time(func() { r.files.addHistograms(r.layers, iter, now) })
		}
	}
	asked := now.UnixNano()-r.askedAt.Load() < int64(askedFor)
	record := r.files != nil && p.recorded.due(now, now.Sub(r.origin))
	if asked && p.pictures.due(now, now.Sub(r.origin)) || record {
		p.pictures.time(func() { r.pictures.Store(r.painter.paint(iter)) })
		if record {
			p.recorded.time(func() { r.files.addPictures(r.pictures.Load(), now) })
			p.recorded.add(p.pictures.spent)
		}
	}
	r.spend(now)
}

// askedFor is for how long a request for pictures makes them be renewed.
const askedFor = 15 * time.Second

// iterated is Options.OnIteration.
func (r *Recorder) iterated(p solver.Progress) {
	now := time.Now()
	iter := p.Iter - 1 // as in Caffe's log: updates made before
	r.lastIter = iter
	s := &r.smoothing
	smoothed := float64(p.Smoothed)
	if r.o.Solver.GetAverageLoss() <= 1 {
		smoothed = smooth(&s.loss, float64(p.Loss), s.losses, 20)
		s.losses++
	}
	seconds := smooth(&s.seconds, p.Seconds, s.n, 8)
	waited := smooth(&s.waited, p.Waited, s.n, 8)
	s.n++
	x := row{iter: iter, loss: float64(p.Loss), smoothed: smoothed, rate: float64(p.Rate), waits: share(p.Waited, p.Seconds)}
	if p.Seconds > 0 {
		x.images = float64(p.Images) / p.Seconds
	}
	var layers []Layer
	if r.sampling {
		layers = r.finishSample()
		r.sampled = iter
		if r.files != nil {
			r.files.addSample(&sample{iter, layers}, now)
		}
		r.paces.sample.add(time.Since(now))
	}
	r.publish(p, &x, share(waited, seconds), seconds, layers, now)
	if f := r.files; f != nil {
		f.train.add(x.appendCSV)
		if r.paces.scalars.due(now, now.Sub(r.origin)) || p.Iter == p.MaxIter {
			r.paces.scalars.time(func() { f.addScalars(&x, now) })
		}
	}
	r.spend(now)
}

// publish lets readers see an iteration and, if it is not nil, the sample of
// its layers.
func (r *Recorder) publish(p solver.Progress, x *row, waitShare, seconds float64, layers []Layer, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := &r.state
	st.Elapsed, st.Remaining = r.clock(now, p.Iter, p.MaxIter)
	x.seconds = float64(st.Elapsed)
	if r.course.add(*x) {
		r.revision++
	}
	st.Iter, st.MaxIter = p.Iter, p.MaxIter
	st.Loss, st.Smoothed, st.Rate = Number(x.loss), Number(x.smoothed), Number(x.rate)
	st.WaitShare = Number(waitShare)
	if seconds > 0 {
		st.ImagesPerSecond, st.IterationsPerSecond = Number(float64(p.Images)/seconds), Number(1/seconds)
	}
	st.Status = r.between(p.Iter)
	if layers != nil {
		st.Layers, st.SampledAt = layers, x.iter
		r.addSample(sample{x.iter, layers})
	}
	st.ObserveShare = Number(share(r.spent.Seconds(), now.Sub(st.Began).Seconds()))
}

// smooth moves a mean towards the n-th value (from 0) and returns it: the mean is
// exponential over about the given number of values, over fewer while there are
// few, so that the first ones are soon forgotten.
func smooth(mean *float64, v float64, n, over int) float64 {
	if math.IsNaN(*mean) || math.IsInf(*mean, 0) {
		*mean = v
	}
	*mean += (v - *mean) / float64(min(1+n/4, over))
	return *mean
}

// share returns part/whole, 0 for a whole of nothing.
func share(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return part / whole
}

// clock returns the seconds of the run and, with so many updates made, how many
// are left. r.mu is held.
func (r *Recorder) clock(now time.Time, iter, maxIter int) (elapsed, remaining Number) {
	paused := r.paused
	if !r.pausedAt.IsZero() {
		paused += now.Sub(r.pausedAt)
	}
	d := (now.Sub(r.state.Began) - paused).Seconds()
	remaining = nan
	if n := iter - r.first; n > 0 {
		remaining = Number(d / float64(n) * float64(max(0, maxIter-iter)))
	}
	return Number(r.before + d), remaining
}

// addSample keeps a sample. r.mu is held.
func (r *Recorder) addSample(s sample) {
	if r.skipped > 0 {
		r.skipped--
		return
	}
	r.skipped = r.apart - 1
	r.samples = append(r.samples, s)
	if len(r.samples) >= maxSamples {
		r.samples = everySecond(r.samples)
		r.skipped = r.apart - 1 // the last was dropped
		r.apart *= 2
		r.revision++
	}
}

// tested is Watch.Tested.
func (r *Recorder) tested(t solver.TestResult) {
	began := time.Now()
	test := Test{Net: t.Net, Iter: t.Iter, Values: namedValues(t)}
	if f := r.files; f != nil {
		f.test.add(test.appendCSV)
		f.addTest(&test, began)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Tests = replaceTest(r.state.Tests, test)
	for _, v := range test.Values {
		if r.testCourse(t.Net, v.Name).add(t.Iter, float64(v.Value)) {
			r.revision++
		}
	}
	r.spend(began)
}

// totalLoss is the name of a test pass's weighted loss among its values, where
// that is not one of the outputs.
const totalLoss = "total_loss"

// namedValues gives the outputs of a test unique names.
func namedValues(t solver.TestResult) []NamedNumber {
	count := map[string]int{}
	for _, n := range t.Names {
		count[n]++
	}
	var out []NamedNumber
	seen := map[string]int{}
	for i, n := range t.Names {
		name := n
		if count[n] > 1 {
			name = fmt.Sprintf("%s[%d]", n, seen[n])
			seen[n]++
		}
		out = append(out, NamedNumber{name, Number(t.Values[i])})
	}
	if slices.ContainsFunc(t.Values, func(v float32) bool { return v == t.Loss || v != v && t.Loss != t.Loss }) {
		return out // the only loss
	}
	return append(out, NamedNumber{totalLoss, Number(t.Loss)})
}

// replaceTest returns tests, which it does not change, with t in the place of
// its net's last result.
func replaceTest(tests []Test, t Test) []Test {
	tests = slices.Clone(tests)
	i := slices.IndexFunc(tests, func(o Test) bool { return o.Net == t.Net })
	if i < 0 {
		return append(tests, t)
	}
	tests[i] = t
	return tests
}

func (r *Recorder) testCourse(net int, name string) *testCourse {
	for _, t := range r.tests {
		if t.net == net && t.name == name {
			return t
		}
	}
	t := &testCourse{net: net, name: name}
	r.tests = append(r.tests, t)
	return t
}

// snapshotted is Watch.Snapshotted.
func (r *Recorder) snapshotted(iter int, state string) {
	if r.files != nil {
		// So that a run resumed from it has no gap, even after a kill.
		r.files.flush()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Snapshot, r.state.SnapshotIter = state, iter
}

// SetPaused says that the goroutine that trains is being held up, or no longer:
// the status shows it, and the time counts as none of the run's. It may be
// called from any goroutine.
func (r *Recorder) SetPaused(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch now := time.Now(); {
	case on && r.pausedAt.IsZero():
		r.pausedAt = now
	case !on && !r.pausedAt.IsZero():
		r.paused += now.Sub(r.pausedAt)
		r.pausedAt = time.Time{}
	}
}

// State returns where the run stands now. It may be called from any goroutine.
func (r *Recorder) State() *State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	if !r.pausedAt.IsZero() && (s.Status == StatusTraining || s.Status == StatusTesting) {
		s.Status = StatusPaused
	}
	return &s
}

// Series returns the run's course after iteration since; -1 is all of it. It
// may be called from any goroutine.
func (r *Recorder) Series(since int) *Series {
	r.mu.Lock()
	s := &Series{Revision: r.revision, Tests: []TestSeries{}}
	rows := slices.Clone(r.course.rows)
	samples := slices.Clone(r.samples)
	for _, t := range r.tests {
		i, _ := slices.BinarySearch(t.iters, since+1)
		s.Tests = append(s.Tests, TestSeries{Net: t.net, Name: t.name, Iter: slices.Clone(t.iters[i:]), Value: slices.Clone(t.values[i:])})
	}
	r.mu.Unlock()
	s.columns(rows, since)
	s.layers(samples, since)
	return s
}

// Close ends the record of a run that ended with err: it completes the files
// and writes the plots. Readers may go on reading.
func (r *Recorder) Close(err error) error {
	r.end(err)
	var errs []error
	if r.files != nil {
		errs = append(errs, r.files.close())
		r.files = nil
	}
	if s := r.Series(-1); r.o.Plots != "" && len(s.Iter) > 0 {
		errs = append(errs, writePlots(r.o.Plots, r.o.Name, s))
	}
	return errors.Join(errs...)
}

// end settles the status.
func (r *Recorder) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := &r.state
	switch {
	case err != nil:
		st.Status, st.Error = StatusFailed, err.Error()
	case st.Iter < st.MaxIter:
		st.Status = StatusStopped
	default:
		st.Status = StatusFinished
	}
}

// Pictures returns the newest pictures of the net, nil if there are none yet,
// and makes the goroutine that trains renew them from time to time for as long
// as somebody asks. It may be called from any goroutine.
func (r *Recorder) Pictures() *Pictures {
	r.askedAt.Store(time.Now().UnixNano())
	return r.pictures.Load()
}
