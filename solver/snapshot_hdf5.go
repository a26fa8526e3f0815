package solver

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"crema/hdf5"
	"crema/internal/glog"
	"crema/internal/seal"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

// Names in a .solverstate.h5. All but the last are Caffe's
// (SGDSolver::SnapshotSolverStateToHDF5), which opens its own by name and so
// does not see the last: the bytes of a ResumeState.
const (
	h5Iter    = "iter"
	h5Learned = "learned_net"
	h5Step    = "current_step"
	h5History = "history"
	h5Resume  = "crema_resume"
)

// saveStateHDF5 is saveState in the HDF5 format.
func (s *Solver) saveStateHDF5(model, state string, sum uint64) error {
	glog.Infof(s.log, "Snapshotting solver state to HDF5 file %s", state)
	resume, err := proto.Marshal(s.resumeState())
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	var b hdf5.Builder
	b.Int(int32(s.iter), h5Iter)
	b.String(model, h5Learned)
	b.Int(int32(s.currentStep), h5Step)
	b.Group(h5History)
	for i, h := range s.history {
		b.Floats(h.Shape(), h.Values(), h5History, strconv.Itoa(i))
	}
	b.Bytes(resume, h5Resume)
	_, err = seal.Write(state, seal.HDF5, sum, func(w io.Writer) error {
		_, err := b.WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// openState opens a .solverstate.h5.
func openState(path string) (*hdf5.File, *hdf5.Group, error) {
	f, err := hdf5.Open(path)
	if err != nil {
		return nil, nil, err
	}
	root, err := f.Root()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, root, nil
}

// readStateHDF5 reads a .solverstate.h5 but for the histories, which
// restoreHistoryHDF5 reads into their places.
func readStateHDF5(path string) (*caffepb.SolverState, error) {
	f, root, err := openState(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := root.Group("data"); err == nil && !root.Has(h5Iter) {
		return nil, fmt.Errorf("%q: not a solver's state (.solverstate.h5) but the weights of a net: start from them with --weights", path)
	}
	st := &caffepb.SolverState{}
	for _, field := range []struct {
		name string
		dst  **int32
	}{{h5Iter, &st.Iter}, {h5Step, &st.CurrentStep}} {
		v, err := readInt(root, field.name)
		if errors.Is(err, hdf5.ErrNotFound) {
			return nil, fmt.Errorf("%q: not a solver's state (.solverstate.h5): it has no dataset %s; %s", path, field.name, root.Holds())
		} else if err != nil {
			return nil, err
		}
		*field.dst = proto.Int32(v)
	}
	if root.Has(h5Learned) {
		d, err := root.Dataset(h5Learned)
		if err != nil {
			return nil, err
		}
		name, err := d.ReadString()
		if err != nil {
			return nil, err
		}
		st.LearnedNet = proto.String(name)
	}
	if root.Has(h5Resume) {
		d, err := root.Dataset(h5Resume)
		if err != nil {
			return nil, err
		}
		b, err := d.ReadBytes()
		if err != nil {
			return nil, err
		}
		st.CremaResume = &caffepb.ResumeState{}
		if err := proto.Unmarshal(b, st.CremaResume); err != nil {
			return nil, fmt.Errorf("%q: %s: %w", path, h5Resume, err)
		}
	}
	return st, nil
}

// readInt reads a dataset of one int32.
func readInt(g *hdf5.Group, name string) (int32, error) {
	d, err := g.Dataset(name)
	if err != nil {
		return 0, err
	}
	v, err := d.ReadInts()
	if err != nil {
		return 0, err
	}
	if len(v) != 1 || v[0] < math.MinInt32 || v[0] > math.MaxInt32 {
		return 0, fmt.Errorf("%s holds %d where one int32 should be", name, v)
	}
	return int32(v[0]), nil
}

// restoreHistoryHDF5 reads the histories of a .solverstate.h5. None is changed
// if their number or a size is wrong.
func (s *Solver) restoreHistoryHDF5(path string) error {
	f, root, err := openState(path)
	if err != nil {
		return err
	}
	defer f.Close()
	g, err := root.Group(h5History)
	if err != nil {
		return err
	}
	if n := len(g.Names()); n != len(s.history) {
		return s.historyCount(path, n)
	}
	sets := make([]*hdf5.Dataset, len(s.history))
	for i, h := range s.history {
		if sets[i], err = g.Dataset(strconv.Itoa(i)); err != nil {
			return err
		}
		if shape := sets[i].Shape(); sets[i].Count() != h.Count() {
			return fmt.Errorf("%q: history %d has shape %s, the parameter %s", path, i, tensor.FormatShape(shape), tensor.FormatShape(h.Shape()))
		}
	}
	for i, h := range s.history {
		if err := sets[i].ReadFloats(h.Data()); err != nil {
			return err
		}
	}
	return nil
}
