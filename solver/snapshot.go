package solver

import (
	"errors"
	"fmt"
	"io"

	"crema/graph"
	"crema/hdf5"
	"crema/internal/glog"
	"crema/internal/seal"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

// Snapshot writes PREFIX_iter_N.caffemodel and then PREFIX_iter_N.solverstate,
// each to a temporary name, synced, renamed: a .solverstate that is there is
// whole and so is its .caffemodel. With snapshot_format HDF5 their names end in
// .h5. Both end with a checksum, and the state's seal names that of its weights
// (internal/seal). Old snapshots go as Options.Keep says.
func (s *Solver) Snapshot() error {
	base := fmt.Sprintf("%s_iter_%d", s.prefix, s.iter)
	model, state := base+".caffemodel", base+".solverstate"
	if s.asHDF5() {
		model, state = model+".h5", state+".h5"
		glog.Infof(s.log, "Snapshotting to HDF5 file %s", model)
	} else {
		glog.Infof(s.log, "Snapshotting to binary proto file %s", model)
	}
	sum, err := s.net.SaveWeightsSum(model, s.p.GetSnapshotDiff())
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := s.saveState(model, state, sum); err != nil {
		return err
	}
	s.good = append(s.good, goodState{path: state})
	s.unsaved = nil
	s.prune()
	if f := s.o.Watch.Snapshotted; f != nil {
		f(s.iter, model, state)
	}
	return nil
}

// trySnapshot is Snapshot within a run, which a full disk must not end: a failure
// is said loudly and remembered until a snapshot succeeds.
func (s *Solver) trySnapshot() {
	if err := s.Snapshot(); err != nil {
		s.unsaved = err
		glog.Errorf(s.log, "Iteration %d could not be kept: %v. Training goes on and tries again with the next snapshot and at the end; the last that was written is %s", s.iter, err, s.lastGood())
	}
}

// Unsaved returns why the last snapshot could not be written, or nil.
func (s *Solver) Unsaved() error { return s.unsaved }

// lastUnsaved is the error of a run whose last snapshot could not be written.
func (s *Solver) lastUnsaved() error {
	if s.unsaved == nil {
		return nil
	}
	return fmt.Errorf("the last snapshot could not be written: %w", s.unsaved)
}

// lastGood names the last snapshot.
func (s *Solver) lastGood() string {
	if n := len(s.good); n > 0 {
		return s.good[n-1].path
	}
	return "none"
}

// asHDF5 reports whether snapshots are HDF5 files.
func (s *Solver) asHDF5() bool { return s.p.GetSnapshotFormat() == caffepb.SolverParameter_HDF5 }

// fieldHistory is SolverState.history.
const fieldHistory = 3

// resumeState returns what an exact resume needs beyond Caffe's state.
func (s *Solver) resumeState() *caffepb.ResumeState {
	r := &caffepb.ResumeState{
		Seed:         proto.Uint64(s.seed),
		Losses:       s.losses,
		SmoothedLoss: proto.Float32(s.smoothed),
		WindowStart:  proto.Int64(int64(s.windowStart)),
	}
	if s.trainStart != nil {
		r.Net = append(r.Net, s.trainStart)
	} else {
		r.Net = append(r.Net, s.net.Cursors())
	}
	if s.rateScale != 1 {
		r.RateScale = proto.Float32(s.rateScale)
	}
	for i, n := range s.testNets {
		if s.testStart != nil {
			r.Net = append(r.Net, s.testStart[i])
		} else {
			r.Net = append(r.Net, n.Cursors())
		}
	}
	return r
}

// saveState writes the .solverstate of the weights file model, which has the
// checksum sum; histories are streamed, so no second copy is made in memory.
func (s *Solver) saveState(model, state string, sum uint64) error {
	if s.asHDF5() {
		return s.saveStateHDF5(model, state, sum)
	}
	glog.Infof(s.log, "Snapshotting solver state to binary proto file %s", state)
	head, err := proto.Marshal(&caffepb.SolverState{
		Iter:        proto.Int32(int32(s.iter)),
		LearnedNet:  proto.String(model),
		CurrentStep: proto.Int32(int32(s.currentStep)),
	})
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	tail, err := proto.Marshal(&caffepb.SolverState{CremaResume: s.resumeState()})
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	_, err = seal.Write(state, seal.Proto, sum, func(w io.Writer) error {
		if _, err := w.Write(head); err != nil {
			return err
		}
		for _, h := range s.history {
			if err := graph.WriteBlobField(w, fieldHistory, h, false); err != nil {
				return err
			}
		}
		_, err := w.Write(tail)
		return err
	})
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// readState reads a .solverstate or .solverstate.h5 file, told apart by what is
// in it, and its seal, nil if it has none. The latter's histories stay in the
// file until restore. The error of a damaged one says which older is whole.
func readState(path string) (*caffepb.SolverState, *seal.Seal, error) {
	sealed, err := seal.Check(path)
	if errors.Is(err, seal.ErrDamaged) {
		return nil, nil, instead(path, err)
	}
	if err != nil {
		return nil, nil, err
	}
	st, err := parseState(path)
	return st, sealed, err
}

func parseState(path string) (*caffepb.SolverState, error) {
	if is, err := hdf5.Is(path); err != nil {
		return nil, err
	} else if is {
		return readStateHDF5(path)
	}
	st := &caffepb.SolverState{}
	if err := prototxt.ReadBinary(path, st); err != nil {
		return nil, err
	}
	if st.Iter == nil && st.LearnedNet == nil {
		return nil, fmt.Errorf("%s: not a .solverstate: it has neither an iteration nor the name of its weights", path)
	}
	return st, nil
}

// restore continues from the state read from path, Caffe's or ours: iteration,
// step, momentum and weights, and for ours also data positions and the loss
// window (SGDSolver::RestoreSolverStateFromBinaryProto). Weights that are not
// those that were written with the state are refused.
func (s *Solver) restore(path string, st *caffepb.SolverState, sealed *seal.Seal) error {
	restore := func() error { return s.restoreHistory(path, st) }
	if is, err := hdf5.Is(path); err != nil {
		return err
	} else if is {
		restore = func() error { return s.restoreHistoryHDF5(path) }
	}
	if err := restore(); err != nil {
		return err
	}
	if st.LearnedNet != nil {
		model, err := s.findWeights(path, st.GetLearnedNet())
		if err != nil {
			return err
		}
		if err := checkBelongs(path, sealed, model); err != nil {
			return instead(path, err)
		}
		if err := s.net.LoadWeights(model); err != nil {
			return err
		}
	}
	s.frozen = nil // the histories may be others
	s.iter = int(st.GetIter())
	s.currentStep = int(st.GetCurrentStep())
	glog.Infof(s.log, "SGDSolver: restoring history")
	r := st.GetCremaResume()
	if r == nil {
		glog.Infof(s.log, "%s was not written by crema: data start from their beginning", path)
		return nil
	}
	return s.restoreExact(path, r)
}

// restoreHistory copies the histories of the binary state read from path.
func (s *Solver) restoreHistory(path string, st *caffepb.SolverState) error {
	if n := len(st.History); n != len(s.history) {
		return s.historyCount(path, n)
	}
	for i, h := range st.History {
		b, err := graph.BlobFromProto(h)
		if err != nil {
			return fmt.Errorf("%s: history %d: %w", path, i, err)
		}
		if b.Count() != s.history[i].Count() {
			return fmt.Errorf("%s: history %d has shape %s, the parameter %s", path, i, tensor.FormatShape(b.Shape()), tensor.FormatShape(s.history[i].Shape()))
		}
		copy(s.history[i].Data(), b.ReadData())
		st.History[i] = nil
	}
	return nil
}

// historyCount is the error of a state with n histories where others are needed.
func (s *Solver) historyCount(path string, n int) error {
	return fmt.Errorf("%s: has %d history blobs, this solver (%s, %d parameters) needs %d", path, n, s.p.GetType(), len(s.net.Params()), len(s.history))
}

func (s *Solver) restoreExact(path string, r *caffepb.ResumeState) error {
	if r.RateScale != nil {
		s.rateScale = r.GetRateScale()
		glog.Infof(s.log, "Learning rates are multiplied by %s, since a rollback before this snapshot", glog.G(s.rateScale))
	}
	if int(s.p.GetAverageLoss()) >= len(r.Losses) {
		s.losses, s.smoothed, s.windowStart = r.Losses, r.GetSmoothedLoss(), int(r.GetWindowStart())
		s.resumed = true
	}
	nets := append([]*graph.Net{s.net}, s.testNets...)
	for i, n := range nets {
		var c *caffepb.NetCursor
		if i < len(r.Net) {
			c = r.Net[i]
		}
		if err := n.SetCursors(c); err != nil {
			return fmt.Errorf("resuming from %s: %w", path, err)
		}
	}
	return nil
}
