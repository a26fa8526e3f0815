package solver

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"crema/asm"
	"crema/graph"
	"crema/internal/glog"
	"crema/internal/par"
)

// An OnNaN says what a solver does when training goes wrong for good: when a
// loss is NaN, infinite or at the floor of a softmax loss (87.3365 = −ln of the
// smallest normal float32: the right classes have no probability left), when
// batch after batch half of the labels or more are at that floor, or when a
// gradient is not finite.
type OnNaN int

// The choices.
const (
	// OnNaNContinue takes no notice, as Caffe.
	OnNaNContinue OnNaN = iota
	// OnNaNStop ends training with an error that wraps ErrDiverged, after a
	// snapshot of the state before the iteration, if its weights are finite and
	// none of them have made the iteration's step.
	OnNaNStop
	// OnNaNRollback returns to the last good snapshot and goes on with a tenth
	// of the learning rate. A snapshot that training went wrong from twice is
	// not good, if there is an earlier one. If there is none at all yet,
	// training begins with one. After maxRollbacks it stops as OnNaNStop.
	OnNaNRollback
)

const (
	maxRollbacks  = 6
	rollbackScale = 0.1 // of the learning rate
)

// ErrDiverged is wrapped by the error of a solver that stops because of
// Options.OnNaN.
var ErrDiverged = errors.New("training diverged")

// softmaxFloor is the largest loss that SoftmaxWithLoss can show for one label,
// up to rounding; the mean over labels reaches it only if all are there.
var softmaxFloor = -math.Log(0x1p-126) - 1e-3

// A goodState is a snapshot that a rollback may return to.
type goodState struct {
	path string
	used bool // a rollback returned to it
}

// watching reports whether the solver looks for losses that go wrong.
func (s *Solver) watching() bool { return s.o.OnNaN != OnNaNContinue }

// begin prepares for an iteration that may have to be undone.
func (s *Solver) begin() error {
	if !s.watching() {
		return nil
	}
	if s.o.OnNaN == OnNaNRollback && len(s.good) == 0 {
		s.trySnapshot()
	}
	s.trainStart = s.net.Cursors()
	return nil
}

// badLoss returns what is wrong with the losses of the last forward pass, or
// "".
func (s *Solver) badLoss() string {
	for _, n := range s.net.Layers() {
		for i, w := range n.LossWeights {
			if w == 0 {
				continue
			}
			if i == 0 {
				if wrong := s.deadLabels(n, n.TopNames[0]); wrong != "" {
					return wrong
				}
			}
			for _, v := range n.Tops[i].ReadData() {
				switch v := float64(v); {
				case !finite(v):
					return fmt.Sprintf("the loss %q is %s; %s", n.TopNames[i], glog.G(float32(v)), s.firstBad())
				case n.Type == "SoftmaxWithLoss" && v >= softmaxFloor && v < softmaxFloor+0.01:
					low, high := extent(n.Bottoms[0].ReadData())
					return fmt.Sprintf("the loss %q is %s: no label of the batch has any probability left, as the scores in blob %q lie between %s and %s",
						n.TopNames[i], glog.G(float32(v)), n.BottomNames[0], glog.G(low), glog.G(high))
				}
			}
		}
	}
	return ""
}

// badGradient returns which gradient of a parameter is not finite first on the
// way back, or "". Those that the backward pass used up are not looked at.
func (s *Solver) badGradient() string {
	params := s.net.Params()
	for i := len(params) - 1; i >= 0; i-- {
		p := params[i]
		if s.fused[i] || s.passedBy(i) || allFinite(p.Blob.Diff()) {
			continue
		}
		return fmt.Sprintf("the gradient of parameter %s of layer %q is not finite", p.Name, p.Layer)
	}
	return ""
}

// firstBad names the first layer, in the order they run, that has a parameter
// or a top with a value that is not finite.
func (s *Solver) firstBad() string {
	for _, n := range s.net.Layers() {
		for i, p := range n.Layer.Params() {
			if !allFinite(p.ReadData()) {
				return fmt.Sprintf("the first values that are not finite are in parameter %s of layer %q (%s), since the update before", n.ParamNames[i], n.Name, n.Type)
			}
		}
		for i, t := range n.Tops {
			if !allFinite(t.ReadData()) {
				return fmt.Sprintf("the first values that are not finite are in blob %q, made by layer %q (%s)", n.TopNames[i], n.Name, n.Type)
			}
		}
	}
	return "all activations are finite"
}

// diverged does what Options.OnNaN says about an iteration that went wrong. It
// returns nil if training goes on, from another iteration. stepped says that
// some parameters have made the iteration's step within the backward pass, so
// that the state before it is gone.
func (s *Solver) diverged(what string, stepped bool) error {
	if s.o.OnNaN == OnNaNRollback && s.rollbacks < maxRollbacks && len(s.good) > 0 {
		return s.rollback(what)
	}
	err := fmt.Errorf("%w: %s", ErrDiverged, what)
	if s.o.OnNaN == OnNaNRollback {
		return fmt.Errorf("%w (after %d rollbacks)", err, s.rollbacks)
	}
	lost := stepped || slices.ContainsFunc(s.net.Params(), func(p *graph.Param) bool { return !allFinite(p.Blob.ReadData()) })
	if n := len(s.good); lost && n > 0 {
		return fmt.Errorf("%w; the last snapshot is %s", err, s.good[n-1].path)
	} else if lost {
		return fmt.Errorf("%w; there is no snapshot to go back to", err)
	}
	if serr := s.Snapshot(); serr != nil {
		return errors.Join(err, serr)
	}
	return fmt.Errorf("%w; the state before this iteration is kept in %s", err, s.good[len(s.good)-1].path)
}

// rollback goes back to the last good snapshot, with a lower rate.
func (s *Solver) rollback(what string) error {
	s.rollbacks++
	if n := len(s.good); n > 1 && s.good[n-1].used {
		s.good = s.good[:n-1]
	}
	to := &s.good[len(s.good)-1]
	to.used = true
	glog.Errorf(s.log, "Iteration %d: %s", s.iter, what)
	state, sealed, err := readState(to.path)
	if err != nil {
		return err
	}
	// The snapshot may have been taken with a higher rate than the last try.
	scale := s.rateScale * rollbackScale
	s.losses, s.smoothed = nil, 0
	if err := s.restore(to.path, state, sealed); err != nil {
		return err
	}
	s.rateScale = scale
	if !s.resumed {
		s.windowStart = s.iter
	}
	s.resumed = false
	glog.Warnf(s.log, "Rolled back to %s (iteration %d); learning rates are multiplied by %s from here", to.path, s.iter, glog.G(scale))
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// allFinite reports whether all of v is finite. Values so large that their sum
// overflows are called infinite.
func allFinite(v []float32) bool {
	var bad atomic.Bool
	par.For(len(v), 1<<16, func(lo, hi int) {
		if !finite(asm.Sum(v[lo:hi])) {
			bad.Store(true)
		}
	})
	return !bad.Load()
}

// extent returns the smallest and the largest value.
func extent(v []float32) (low, high float32) {
	low, high = float32(math.Inf(1)), float32(math.Inf(-1))
	for _, x := range v {
		low, high = min(low, x), max(high, x)
	}
	return low, high
}
