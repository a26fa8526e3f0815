package graph

import (
	"fmt"
	"log/slog"
	"slices"

	"crema/internal/glog"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// SetState fills in the net's state: the given phase, level and stages, over
// what the file says (Caffe's Net constructor for files).
func SetState(np *caffepb.NetParameter, phase caffepb.Phase, level int, stages []string) {
	if np.State == nil {
		np.State = &caffepb.NetState{}
	}
	np.State.Phase = phase.Enum()
	np.State.Level = proto.Int32(int32(level))
	np.State.Stage = append(np.State.Stage, stages...)
}

// filter returns the layers whose rules the net's state meets, in order, and
// the index of each in np (Net::FilterNet in net.cpp).
func filter(np *caffepb.NetParameter, log *slog.Logger) (kept []*caffepb.LayerParameter, index []int, err error) {
	for i, l := range np.Layer {
		if len(l.Include) > 0 && len(l.Exclude) > 0 {
			return nil, nil, &LayerError{Index: i, Layer: l.GetName(), Type: l.GetType(),
				Err: fmt.Errorf("has both include and exclude rules; only one kind is allowed")}
		}
		in := len(l.Include) == 0
		for _, r := range l.Exclude {
			if in && meets(np.GetState(), r, l.GetName(), log) {
				in = false
			}
		}
		for _, r := range l.Include {
			if !in && meets(np.GetState(), r, l.GetName(), log) {
				in = true
			}
		}
		if in {
			kept = append(kept, l)
			index = append(index, i)
		}
	}
	return kept, index, nil
}

// meets reports whether a state satisfies every condition of a rule.
func meets(s *caffepb.NetState, r *caffepb.NetStateRule, layer string, log *slog.Logger) bool {
	if r.Phase != nil && r.GetPhase() != s.GetPhase() {
		glog.Infof(log, "The NetState phase (%d) differed from the phase (%d) specified by a rule in layer %s", s.GetPhase(), r.GetPhase(), layer)
		return false
	}
	if r.MinLevel != nil && s.GetLevel() < r.GetMinLevel() {
		glog.Infof(log, "The NetState level (%d) is above the min_level (%d) specified by a rule in layer %s", s.GetLevel(), r.GetMinLevel(), layer)
		return false
	}
	if r.MaxLevel != nil && s.GetLevel() > r.GetMaxLevel() {
		glog.Infof(log, "The NetState level (%d) is above the max_level (%d) specified by a rule in layer %s", s.GetLevel(), r.GetMaxLevel(), layer)
		return false
	}
	for _, st := range r.Stage {
		if !slices.Contains(s.GetStage(), st) {
			glog.Infof(log, "The NetState did not contain stage '%s' specified by a rule in layer %s", st, layer)
			return false
		}
	}
	for _, st := range r.NotStage {
		if slices.Contains(s.GetStage(), st) {
			glog.Infof(log, "The NetState contained a not_stage '%s' specified by a rule in layer %s", st, layer)
			return false
		}
	}
	return true
}

// Select returns the layers whose rules the state of np meets, in order, and the
// index of each in np.Layer: those of which New builds the net. An error is a
// *LayerError.
func Select(np *caffepb.NetParameter) (kept []*caffepb.LayerParameter, index []int, err error) {
	return filter(np, glog.Discard)
}
