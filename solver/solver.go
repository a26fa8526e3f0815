package solver

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"crema/graph"
	"crema/internal/glog"
	"crema/internal/infile"
	"crema/internal/memory"
	"crema/internal/seal"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

// An Action is what a signal or a caller asks of a running solver.
type Action int

// The actions.
const (
	ActionNone Action = iota
	ActionStop
	ActionSnapshot
)

// Progress is where training stands after an iteration.
type Progress struct {
	// Iter is the number of updates made, MaxIter their number at the end.
	Iter, MaxIter int
	// Loss is the loss of the iteration, Smoothed its mean over average_loss
	// iterations.
	Loss, Smoothed float32
	// Rate is the learning rate the update used.
	Rate float32
	// Images is the number of images of the iteration: batch × iter_size, 0
	// if the net has no data layer.
	Images int
	// Seconds the iteration took, tests and snapshots aside, and how many of
	// them it waited for data.
	Seconds, Waited float64
}

// Options say how a solver works. The zero value is the default.
type Options struct {
	// File is the path of the solver prototxt: snapshots go beside it if
	// snapshot_prefix is not set.
	File string
	// Snapshot is the path of a .solverstate or .solverstate.h5 to resume from,
	// Caffe's or ours, or SnapshotAuto; the solver's weights field is then not
	// used.
	Snapshot string
	// Keep is how many snapshots of the prefix are kept; older ones are removed
	// after each. 0 is all.
	Keep int
	// Log receives Caffe's log sentences; nil drops them.
	Log *slog.Logger
	// ResolvePath maps paths of the prototxt files (net, weights, sources,
	// snapshot_prefix) to paths that can be opened; nil leaves them.
	ResolvePath func(string) string
	// Dir is where the Python layers of nets that stand in the solver itself are
	// looked for; "" is File's folder.
	Dir string
	// EditNet, if set, changes every net read before it is built.
	EditNet func(*caffepb.NetParameter) error
	// Action is polled after each iteration and before each test batch, there
	// until it asks for nothing or to stop; nil never asks for anything. It may
	// go on asking to stop.
	Action func() Action
	// OnIteration is called after each update; nil is not.
	OnIteration func(Progress)
	// Watch is told what happens in between.
	Watch Watch
	// Load says how the files of the weights field find their layers.
	Load graph.LoadOptions
	// OnNaN says what to do when a loss goes wrong.
	OnNaN OnNaN
	// NoFuse keeps layers from updating their parameters within the backward
	// pass. The result is the same, but takes more time and memory: for tests
	// and comparisons.
	NoFuse bool
}

// A Watch is a set of functions that a solver calls, one after the other, from
// the goroutine that trains, so that an observer can look at the net's blobs
// while they hold what is of interest. They must not change the net. Those that
// are nil are not called.
type Watch struct {
	// Begin is called before the first forward pass of an iteration; iter
	// updates have been made. If it returns true, the iteration leaves the
	// gradients of all parameters in their blobs, for which layers that
	// otherwise update their parameters within the backward pass need more
	// time and memory.
	Begin func(iter int) (gradients bool)
	// Passed is called when the passes of the iteration are done and before the
	// update: activations and gradients are in their blobs.
	Passed func(iter int, loss float32)
	// Tested is called after a pass over a test net, if it has batches.
	Tested func(TestResult)
	// Snapshotted is called when a snapshot has been written.
	Snapshotted func(iter int, model, state string)
}

// A TestResult has what a pass over a test net gave.
type TestResult struct {
	// Iter is the number of updates made before it, Net the test net's index.
	Iter, Net int
	// Names and Values are the net's outputs, one for each element, and their
	// means over test_iter batches.
	Names  []string
	Values []float32
	// Loss is the mean of the weighted losses.
	Loss float32
}

// A Solver trains a net.
type Solver struct {
	p        *caffepb.SolverParameter
	o        Options
	log      *slog.Logger
	prefix   string // of snapshots, resolved
	net      *graph.Net
	testNets []*graph.Net
	rule     rule
	history  []*tensor.Blob

	seed        uint64
	iter        int
	currentStep int
	rate        float32
	moved       bool      // the multistep policy took a step in this iteration
	fused       []bool    // parameters that the backward pass updates in this iteration
	frozen      []bool    // parameters that nothing changes; nil until it is found out
	losses      []float32 // ring of the last average_loss losses
	smoothed    float32
	windowStart int // iteration the ring began at
	resumed     bool

	stop     bool
	lastTime time.Time
	lastIter int
	images   int
	busy     float64 // seconds in iterations
	// testStart has the test nets' positions at the start of the test that is
	// going on; nil outside tests.
	testStart []*caffepb.NetCursor
	// trainStart has the train net's position at the start of an iteration that
	// may have to be undone; nil outside such iterations.
	trainStart *caffepb.NetCursor
	rateScale  float32     // of all learning rates, after rollbacks
	rollbacks  int         // so far
	good       []goodState // snapshots, the oldest first
	unsaved    error       // why the last snapshot could not be written
	// floors counts the labels at the floor of each loss, by its layer's name.
	floors map[string]floorCount
}

// New builds the train net and the test nets that sp describes and loads the
// files of its weights field (Solver::Init), or puts everything where
// Options.Snapshot says. sp is not changed. Close the solver when done.
func New(sp *caffepb.SolverParameter, o Options) (_ *Solver, err error) {
	if o.Log == nil {
		o.Log = glog.Discard
	}
	sp = proto.CloneOf(sp)
	s := &Solver{p: sp, o: o, log: o.Log, rateScale: 1}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if sp.TrainState == nil {
		sp.TrainState = &caffepb.NetState{}
	}
	glog.Infof(s.log, "Initializing solver from parameters: \n%s", strings.TrimSuffix(string(prototxt.MarshalText(sp)), "\n"))
	if err := s.check(); err != nil {
		return nil, err
	}
	s.warnTraps()
	if err := s.setPrefix(); err != nil {
		return nil, err
	}
	s.clean()
	if o.Snapshot == SnapshotAuto {
		if o.Snapshot, err = s.findAuto(); err != nil {
			return nil, err
		}
	}
	var state *caffepb.SolverState
	var sealed *seal.Seal
	if o.Snapshot != "" {
		sp.Weights = nil
		if state, sealed, err = readState(o.Snapshot); err != nil {
			return nil, err
		}
	}
	s.seed = uint64(sp.GetRandomSeed())
	if r := state.GetCremaResume(); r != nil {
		if sp.GetRandomSeed() >= 0 && s.seed != r.GetSeed() {
			glog.Warnf(s.log, "random_seed %d is not the seed of the run that is resumed (%d): the latter is used", s.seed, r.GetSeed())
		}
		s.seed = r.GetSeed()
	} else if sp.GetRandomSeed() < 0 {
		var b [8]byte
		rand.Read(b[:])
		s.seed = binary.LittleEndian.Uint64(b[:]) >> 33 // fits random_seed, so that the run can be repeated
		glog.Infof(s.log, "Using random seed %d (set random_seed to repeat this run)", s.seed)
	}
	if err := s.initTrainNet(); err != nil {
		return nil, err
	}
	if s.asHDF5() {
		warning, err := s.net.CheckHDF5()
		if err != nil {
			return nil, err
		}
		if warning != "" {
			glog.Warnf(s.log, "%s", warning)
		}
	}
	if err := s.initTestNets(); err != nil {
		return nil, err
	}
	s.newHistory()
	s.logFrozen()
	glog.Infof(s.log, "Solver scaffolding done.")
	if state != nil {
		glog.Infof(s.log, "Resuming from %s", o.Snapshot)
		if err := s.restore(o.Snapshot, state, sealed); err != nil {
			return nil, err
		}
		s.good = append(s.good, goodState{path: o.Snapshot})
	}
	return s, nil
}

// check reports settings that cannot work.
func (s *Solver) check() error {
	p := s.p
	if p.GetType() == "" {
		p.Type = proto.String("SGD")
	}
	r, ok := rules[p.GetType()]
	if !ok {
		var known []string
		for k := range rules {
			known = append(known, k)
		}
		slices.Sort(known)
		return fmt.Errorf("unknown solver type %q (known: %s)", p.GetType(), strings.Join(known, ", "))
	}
	s.rule = r
	if r.check != nil {
		if err := r.check(p); err != nil {
			return err
		}
	}
	if err := checkPolicy(p); err != nil {
		return err
	}
	switch r := p.GetRegularizationType(); {
	case p.GetWeightDecay() != 0 && r != "L1" && r != "L2":
		return fmt.Errorf("unknown regularization_type %q (known: L1, L2)", r)
	case p.GetAverageLoss() < 1:
		return fmt.Errorf("average_loss must be at least 1, it is %d", p.GetAverageLoss())
	case p.GetIterSize() < 1:
		return fmt.Errorf("iter_size must be at least 1, it is %d", p.GetIterSize())
	case p.GetSnapshot() < 0 || p.GetDisplay() < 0 || p.GetTestInterval() < 0 || p.GetMaxIter() < 0:
		return errors.New("max_iter, display, snapshot and test_interval must not be negative")
	}
	return nil
}

// resolve maps a path of a prototxt to one that can be opened.
func (s *Solver) resolve(p string) string {
	if s.o.ResolvePath == nil {
		return p
	}
	return s.o.ResolvePath(p)
}

// setPrefix settles where snapshots go: snapshot_prefix; unset, the solver
// file's path without extension; a folder, the solver file's stem in it
// (UpgradeSnapshotPrefixProperty in upgrade_proto.cpp). If snapshots will be
// written it checks that they can be, before hours have passed.
func (s *Solver) setPrefix() error {
	stem := strings.TrimSuffix(s.o.File, filepath.Ext(s.o.File))
	given := s.p.GetSnapshotPrefix()
	s.prefix = s.resolve(given)
	if given == "" {
		s.prefix = stem
	} else if st, err := os.Stat(s.prefix); (err == nil && st.IsDir()) || strings.HasSuffix(given, "/") {
		s.prefix = filepath.Join(s.prefix, filepath.Base(stem))
	}
	if s.prefix == "" && (s.p.GetSnapshot() > 0 || s.p.GetSnapshotAfterTrain() || s.o.OnNaN == OnNaNRollback) {
		return errors.New("snapshot_prefix is not set and there is no solver file to name snapshots after")
	}
	if s.p.GetSnapshot() == 0 && !s.p.GetSnapshotAfterTrain() && s.o.OnNaN != OnNaNRollback {
		return nil
	}
	odd := infile.Odd(s.prefix)
	if odd != "" {
		odd = " (" + odd + ")"
	}
	dir := filepath.Dir(s.prefix)
	f, err := os.CreateTemp(dir, ".crema-probe")
	if err != nil {
		return fmt.Errorf("cannot write snapshots to prefix %q (snapshot_prefix)%s: %w", s.prefix, odd, err)
	}
	if odd != "" {
		glog.Warnf(s.log, "snapshots go to prefix %q%s", s.prefix, odd)
	}
	f.Close()
	return os.Remove(f.Name())
}

// readNet reads a net file and applies the caller's edits. The source tells
// where its layers stand.
func (s *Solver) readNet(path string) (*caffepb.NetParameter, *prototxt.Source, error) {
	np, src, err := prototxt.ReadNetPos(s.resolve(path))
	if err != nil {
		return nil, nil, err
	}
	src.Notes.Log(s.log, src.File)
	np, err = s.edit(np)
	return np, src, err
}

// dir returns the folder of a net that was read from src, nil for one that stands
// in the solver.
func (s *Solver) dir(src *prototxt.Source) string {
	switch {
	case src != nil:
		return filepath.Dir(src.File)
	case s.o.Dir == "" && s.o.File != "":
		return filepath.Dir(s.o.File)
	}
	return s.o.Dir
}

func (s *Solver) edit(np *caffepb.NetParameter) (*caffepb.NetParameter, error) {
	np = proto.CloneOf(np)
	if _, err := prototxt.UpgradeNet(np); err != nil {
		return nil, err
	}
	if s.o.EditNet != nil {
		if err := s.o.EditNet(np); err != nil {
			return nil, err
		}
	}
	return np, nil
}

// mergeState puts the solver's state for a net over the net's own over the
// phase (Solver::InitTrainNet).
func mergeState(np *caffepb.NetParameter, phase caffepb.Phase, over *caffepb.NetState) {
	st := &caffepb.NetState{Phase: phase.Enum()}
	proto.Merge(st, np.GetState())
	if over != nil {
		proto.Merge(st, over)
	}
	np.State = st
}

func (s *Solver) initTrainNet() error {
	p := s.p
	var np *caffepb.NetParameter
	var src *prototxt.Source
	var err error
	n := 0
	for _, has := range []bool{p.Net != nil, p.NetParam != nil, p.TrainNet != nil, p.TrainNetParam != nil} {
		if has {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("give exactly one of net, net_param, train_net, train_net_param; %d are set", n)
	}
	switch {
	case p.TrainNetParam != nil:
		glog.Infof(s.log, "Creating training net specified in train_net_param.")
		np, err = s.edit(p.TrainNetParam)
	case p.NetParam != nil:
		glog.Infof(s.log, "Creating training net specified in net_param.")
		np, err = s.edit(p.NetParam)
	case p.TrainNet != nil:
		glog.Infof(s.log, "Creating training net from train_net file: %s", p.GetTrainNet())
		np, src, err = s.readNet(p.GetTrainNet())
	default:
		glog.Infof(s.log, "Creating training net from net file: %s", p.GetNet())
		np, src, err = s.readNet(p.GetNet())
	}
	if err != nil {
		return err
	}
	mergeState(np, caffepb.Phase_TRAIN, p.TrainState)
	// Gradients that nothing else uses count in the norm of all, and are logged.
	all := p.GetClipGradients() >= 0 || p.GetDebugInfo()
	s.net, err = graph.New(np, graph.Options{Seed: s.seed, SharedGradients: all, Log: s.log, ResolvePath: s.o.ResolvePath, Dir: s.dir(src)})
	if err != nil {
		return where(src, err)
	}
	for _, l := range s.net.Layers() {
		if graph.IsSource(l.Param) && len(l.Tops) > 0 && l.Tops[0].Axes() > 0 {
			s.images = l.Tops[0].Dim(0) * int(p.GetIterSize())
			break
		}
	}
	return s.finetune(s.net)
}

func (s *Solver) finetune(n *graph.Net) error {
	if len(s.p.Weights) == 0 {
		return nil
	}
	return n.Finetune(strings.Join(s.p.Weights, ","), s.o.Load)
}

// where names the place in its file of an error in a net; src is nil for a net
// inside the solver.
func where(src *prototxt.Source, err error) error {
	if src == nil {
		return err
	}
	return graph.Locate(src, err)
}

func (s *Solver) initTestNets() error {
	p := s.p
	type source struct {
		what, file string
		np         *caffepb.NetParameter
	}
	var src []source
	for _, np := range p.TestNetParam {
		src = append(src, source{what: "test_net_param", np: np})
	}
	for _, f := range p.TestNet {
		src = append(src, source{what: "test_net file: " + f, file: f})
	}
	generic := p.Net != nil || p.NetParam != nil
	switch {
	case generic && len(p.TestIter) < len(src), !generic && len(p.TestIter) != len(src):
		return fmt.Errorf("test_iter must be given for each test net: there are %d, and %d test nets", len(p.TestIter), len(src))
	}
	for len(src) < len(p.TestIter) {
		if p.NetParam != nil {
			src = append(src, source{what: "net_param", np: p.NetParam})
		} else {
			src = append(src, source{what: "net file: " + p.GetNet(), file: p.GetNet()})
		}
	}
	if len(p.TestState) > 0 && len(p.TestState) != len(src) {
		return fmt.Errorf("test_state must be given once for each test net or not at all: there are %d, and %d test nets (as many as test_iter has values)", len(p.TestState), len(src))
	}
	if len(src) > 0 && p.GetTestInterval() <= 0 {
		return errors.New("test_iter is given, but test_interval is not above 0")
	}
	for i, t := range src {
		if p.TestIter[i] <= 0 {
			glog.Warnf(s.log, "test_iter is %d: test net #%d is built and, as in Caffe, tested on no batches", p.TestIter[i], i)
		}
		var np *caffepb.NetParameter
		var pos *prototxt.Source
		var err error
		if t.np != nil {
			np, err = s.edit(t.np)
		} else {
			np, pos, err = s.readNet(t.file)
		}
		if err != nil {
			return err
		}
		var over *caffepb.NetState
		if len(p.TestState) > 0 {
			over = p.TestState[i]
		}
		mergeState(np, caffepb.Phase_TEST, over)
		glog.Infof(s.log, "Creating test net (#%d) specified by %s", i, t.what)
		n, err := graph.New(np, graph.Options{Seed: s.seed, Log: s.log, Title: fmt.Sprintf("TEST net #%d", i), ResolvePath: s.o.ResolvePath, Dir: s.dir(pos), ShareParams: s.net})
		if err != nil {
			return where(pos, err)
		}
		s.testNets = append(s.testNets, n)
		n.SetDebugInfo(p.GetDebugInfo())
		if n.HasOwnParams() {
			if err := s.finetune(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// Net returns the train net.
func (s *Solver) Net() *graph.Net { return s.net }

// Iter returns the number of updates made.
func (s *Solver) Iter() int { return s.iter }

// Close releases the nets.
func (s *Solver) Close() error {
	var errs []error
	if s.net != nil {
		errs = append(errs, s.net.Close())
	}
	for _, n := range s.testNets {
		errs = append(errs, n.Close())
	}
	s.net, s.testNets = nil, nil
	return errors.Join(errs...)
}

func (s *Solver) action() Action {
	if s.o.Action == nil {
		return ActionNone
	}
	return s.o.Action()
}

// Solve trains until max_iter or until asked to stop, tests, displays and
// snapshots on the way, and at the end as Caffe does (Solver::Solve). It
// returns nil when stopped. A snapshot that cannot be written does not end it; if
// that is so of the last one too, it is the error in the end.
func (s *Solver) Solve() error {
	glog.Infof(s.log, "Solving %s", s.net.Name)
	glog.Infof(s.log, "Learning Rate Policy: %s", s.p.GetLrPolicy())
	s.stop = false
	waited := s.net.Waited()
	if err := s.step(int(s.p.GetMaxIter()) - s.iter); err != nil {
		return err
	}
	every := int(s.p.GetSnapshot())
	if s.unsaved != nil || s.p.GetSnapshotAfterTrain() && (every == 0 || s.iter%every != 0) {
		s.trySnapshot()
	}
	s.testStart = nil
	waited = s.net.Waited() - waited
	if s.busy > 0 {
		glog.Infof(s.log, "Waited for data %.1f%% of the time (%.3gs of %.3gs)", 100*waited/s.busy, waited, s.busy)
	}
	if s.stop {
		glog.Infof(s.log, "Optimization stopped early.")
		return s.lastUnsaved()
	}
	if d := int(s.p.GetDisplay()); d > 0 && s.iter%d == 0 {
		loss, err := s.net.Forward()
		if err != nil {
			return err
		}
		s.smooth(loss)
		glog.Infof(s.log, "Iteration %d, loss = %s", s.iter, glog.G(s.smoothed))
	}
	if t := int(s.p.GetTestInterval()); t > 0 && s.iter%t == 0 {
		if err := s.testAll(); err != nil {
			return err
		}
	}
	glog.Infof(s.log, "Optimization Done.")
	return s.lastUnsaved()
}

// Step makes n iterations, with the tests, displays and snapshots that fall
// due (Solver::Step). Unsaved tells of a snapshot that could not be written.
func (s *Solver) Step(n int) error { return s.step(n) }

func (s *Solver) step(n int) (err error) {
	defer memory.Catch(&err)
	end := s.iter + n
	if !s.resumed {
		s.losses, s.smoothed, s.windowStart = nil, 0, s.iter
	}
	s.resumed = false
	s.lastTime, s.lastIter = time.Now(), s.iter
	p := s.p
	for s.iter < end {
		if t := int(p.GetTestInterval()); t > 0 && s.iter%t == 0 && (s.iter > 0 || p.GetTestInitialization()) {
			if err := s.testAll(); err != nil {
				return err
			}
			if s.stop {
				return nil
			}
		}
		if err := s.begin(); err != nil {
			return err
		}
		began, waited := time.Now(), s.net.Waited()
		display := p.GetDisplay() > 0 && s.iter%int(p.GetDisplay()) == 0
		s.setRate()
		s.net.SetDebugInfo(display && p.GetDebugInfo())
		gradients := display && p.GetDebugInfo()
		if f := s.o.Watch.Begin; f != nil && f(s.iter) {
			gradients = true
		}
		var loss float32
		wrong := ""
		for pass := range p.GetIterSize() {
			l, err := s.net.Forward()
			if err != nil {
				return err
			}
			loss += l
			if s.watching() {
				if wrong = s.badLoss(); wrong != "" {
					break
				}
			}
			if pass == 0 {
				s.prepare(gradients)
			}
			if err := s.net.Backward(); err != nil {
				return err
			}
		}
		if s.watching() {
			stepped := false
			if wrong == "" {
				wrong, stepped = s.badGradient(), slices.Contains(s.fused, true)
			}
			if wrong != "" {
				if err := s.diverged(wrong, stepped); err != nil {
					return err
				}
				s.trainStart = nil
				continue
			}
		}
		s.trainStart = nil
		loss /= float32(p.GetIterSize())
		s.smooth(loss)
		if display {
			s.display()
		}
		if f := s.o.Watch.Passed; f != nil {
			f(s.iter, loss)
		}
		s.applyUpdate(display)
		took := time.Since(began).Seconds()
		s.busy += took
		if s.o.OnIteration != nil {
			s.o.OnIteration(Progress{Iter: s.iter, MaxIter: int(p.GetMaxIter()), Loss: loss, Smoothed: s.smoothed,
				Rate: s.rate, Images: s.images, Seconds: took, Waited: s.net.Waited() - waited})
		}
		request := s.action()
		if (p.GetSnapshot() > 0 && s.iter%int(p.GetSnapshot()) == 0) || request == ActionSnapshot {
			s.trySnapshot()
		}
		if request == ActionStop {
			s.stop = true
			return nil
		}
	}
	return nil
}

// smooth takes a loss into the sliding mean over average_loss iterations
// (Solver::UpdateSmoothedLoss).
func (s *Solver) smooth(loss float32) {
	n := int(s.p.GetAverageLoss())
	if len(s.losses) < n {
		s.losses = append(s.losses, loss)
		size := float32(len(s.losses))
		s.smoothed = (s.smoothed*(size-1) + loss) / size
		return
	}
	i := (s.iter - s.windowStart) % n
	s.smoothed += (loss - s.losses[i]) / float32(n)
	s.losses[i] = loss
}

// display logs the loss, the speed and the net's outputs.
func (s *Solver) display() {
	lapse := float32(time.Since(s.lastTime).Seconds())
	perSecond := float32(s.iter - s.lastIter)
	if lapse > 0 {
		perSecond /= lapse
	}
	glog.Infof(s.log, "Iteration %d (%s iter/s, %ss/%d iters), loss = %s", s.iter, glog.G(perSecond), glog.G(lapse), s.p.GetDisplay(), glog.G(s.smoothed))
	s.lastTime, s.lastIter = time.Now(), s.iter
	k := 0
	for _, o := range s.net.Outputs() {
		for _, v := range o.Blob.ReadData() {
			glog.Infof(s.log, "    Train net output #%d: %s = %s%s", k, o.Name, glog.G(v), lossNote(o.LossWeight, v))
			k++
		}
	}
}

// lossNote says what an output contributes to the loss, if anything.
func lossNote(weight, v float32) string {
	if weight == 0 {
		return ""
	}
	return fmt.Sprintf(" (* %s = %s loss)", glog.G(weight), glog.G(weight*v))
}

// testAll tests every test net. A stop in the middle puts all test nets back
// to where this round began, so that a resumed run tests the same records.
func (s *Solver) testAll() error {
	s.testStart = nil
	var start []*caffepb.NetCursor
	for _, n := range s.testNets {
		start = append(start, n.Cursors())
	}
	s.testStart = start
	for i := range s.testNets {
		if err := s.test(i); err != nil {
			return err
		}
		if s.stop {
			return nil // testStart stays: the snapshot that follows needs it
		}
	}
	s.testStart = nil
	return nil
}

// test runs test net i over its test_iter batches and logs the mean outputs
// (Solver::Test).
func (s *Solver) test(i int) error {
	glog.Infof(s.log, "Iteration %d, Testing net (#%d)", s.iter, i)
	net := s.testNets[i]
	var loss float32
	var names []string
	var weights, sums []float32
	for b := range int(s.p.TestIter[i]) {
		for a := s.action(); a != ActionNone; a = s.action() {
			if s.stop = a == ActionStop; s.stop {
				break // it may be asked for again and again
			}
			s.trySnapshot()
		}
		if s.stop {
			glog.Infof(s.log, "Test interrupted.")
			return nil
		}
		l, err := net.Forward()
		if err != nil {
			return err
		}
		loss += l
		k := 0
		for _, o := range net.Outputs() {
			for _, v := range o.Blob.ReadData() {
				if b == 0 {
					names, weights, sums = append(names, o.Name), append(weights, o.LossWeight), append(sums, v)
				} else if k < len(sums) {
					sums[k] += v
				}
				k++
			}
		}
	}
	n := float32(s.p.TestIter[i])
	if s.p.GetTestComputeLoss() {
		glog.Infof(s.log, "Test loss: %s", glog.G(loss/n))
	}
	for k, v := range sums {
		sums[k] = v / n
		glog.Infof(s.log, "    Test net output #%d: %s = %s%s", k, names[k], glog.G(sums[k]), lossNote(weights[k], sums[k]))
	}
	if f := s.o.Watch.Tested; f != nil && n > 0 {
		f(TestResult{Iter: s.iter, Net: i, Names: names, Values: sums, Loss: loss / n})
	}
	return nil
}
