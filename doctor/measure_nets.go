package doctor

import (
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// trainState returns np with the TRAIN phase in its state.
func trainState(np *caffepb.NetParameter) *caffepb.NetParameter {
	np = proto.CloneOf(np)
	if np.State == nil {
		np.State = &caffepb.NetState{}
	}
	np.State.Phase = caffepb.Phase_TRAIN.Enum()
	return withoutFiles(np)
}

// withoutFiles makes layers that write files consume their bottoms and do no
// more: what they have written belongs to the user's own runs.
func withoutFiles(np *caffepb.NetParameter) *caffepb.NetParameter {
	for _, l := range np.Layer {
		if l.GetType() == "HDF5Output" {
			l.Type, l.Hdf5OutputParam = proto.String("Silence"), nil
		}
	}
	return np
}

// withoutNoise returns np with its Dropout layers as they are in a test, or nil
// if there are none. What they add differs from image to image, but says
// nothing of the image.
func withoutNoise(np *caffepb.NetParameter) *caffepb.NetParameter {
	np = proto.CloneOf(np)
	found := false
	for _, l := range np.Layer {
		if l.GetType() == "Dropout" && l.Phase == nil {
			l.Phase = caffepb.Phase_TEST.Enum()
			found = true
		}
	}
	if !found {
		return nil
	}
	return np
}

// quietSolver returns a solver for the net np alone that tests, displays and
// writes nothing, and whose seed is fixed.
func quietSolver(sp *caffepb.SolverParameter, np *caffepb.NetParameter) *caffepb.SolverParameter {
	sp = proto.CloneOf(sp)
	sp.Net, sp.NetParam, sp.TrainNet = nil, nil, nil
	sp.TrainNetParam = withoutFiles(proto.CloneOf(np))
	sp.TestNet, sp.TestNetParam, sp.TestIter, sp.TestState = nil, nil, nil, nil
	sp.TestInterval, sp.Snapshot, sp.Display = nil, nil, nil
	sp.SnapshotAfterTrain, sp.DebugInfo = proto.Bool(false), nil
	sp.SnapshotPrefix, sp.SnapshotFormat = nil, nil
	sp.AverageLoss = nil
	if sp.GetRandomSeed() < 0 {
		sp.RandomSeed = proto.Int64(1)
	}
	return sp
}
