package solver

import (
	"slices"

	"crema/internal/glog"
)

// findFrozen finds the parameters that no update can change, so that each
// iteration may pass them by: lr_mult is 0, the histories are 0 and stay so.
// Those of the rules that keep squares do not where weight decay goes into
// them; Caffe's snapshots show it (SGDSolver::ApplyUpdate).
func (s *Solver) findFrozen() {
	params := s.net.Params()
	s.frozen = make([]bool, len(params))
	keepsRate := s.p.GetType() == "SGD" || s.p.GetType() == "Nesterov" // the history is of steps, not of gradients
	for i, p := range params {
		if p.LRMult != 0 || !keepsRate && s.p.GetWeightDecay()*p.DecayMult != 0 {
			continue
		}
		s.frozen[i] = true
		// A fresh run has no histories yet; a resumed one may go on moving.
		for h := i; h < len(s.history) && s.iter > 0; h += len(params) {
			if slices.ContainsFunc(s.history[h].ReadData(), func(v float32) bool { return v != 0 }) {
				s.frozen[i] = false
			}
		}
	}
}

// passedBy reports whether an iteration leaves parameter i alone: nothing
// changes it and no layer makes a gradient for it. Where some layer does, it
// counts among those that are clipped and logged.
func (s *Solver) passedBy(i int) bool {
	return s.frozen[i] && !s.net.Params()[i].Blob.HasDiff()
}

// logFrozen says what of the net is frozen by lr_mult 0 and what work that
// saves.
func (s *Solver) logFrozen() {
	frozen, all := s.net.Frozen()
	if frozen == 0 {
		return
	}
	w := s.net.BackwardWork()
	glog.Infof(s.log, "lr_mult 0 freezes the parameters of %d of %d layers: the backward pass runs %d of %d layers and leaves out the gradients of %d of %d bottoms and %d of %d parameters",
		frozen, all, w.Passes, w.Layers, w.Bottoms-w.BottomGradients, w.Bottoms, w.Params-w.ParamGradients, w.Params)
}
