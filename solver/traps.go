package solver

import (
	"crema/internal/glog"
)

// warnTraps logs what Caffe takes without a word and nobody means: fields whose
// default makes the learning rate 0 or constant.
func (s *Solver) warnTraps() {
	p := s.p
	if p.GetMaxIter() > 0 && p.GetBaseLr() == 0 {
		was := "0"
		if p.BaseLr == nil {
			was = "not set, so it is 0"
		}
		glog.Warnf(s.log, "base_lr is %s: no weight will change", was)
	}
	if p.Gamma == nil {
		const noGamma = "gamma is not set, so it is 0, and lr_policy \"%s\" makes the learning rate "
		policy := p.GetLrPolicy()
		switch policy {
		case "step":
			if p.GetStepsize() < p.GetMaxIter() {
				glog.Warnf(s.log, noGamma+"0 from iteration %d on; 0.1 is usual", policy, p.GetStepsize())
			}
		case "multistep":
			if v := p.GetStepvalue(); len(v) > 0 && v[0] < p.GetMaxIter() {
				glog.Warnf(s.log, noGamma+"0 from iteration %d on; 0.1 is usual", policy, v[0])
			}
		case "exp":
			glog.Warnf(s.log, noGamma+"0 from iteration 1 on", policy)
		case "inv":
			glog.Warnf(s.log, noGamma+"base_lr for the whole run", policy)
		case "sigmoid":
			glog.Warnf(s.log, noGamma+"half of base_lr for the whole run", policy)
		}
	}
	switch policy := p.GetLrPolicy(); {
	case p.Power != nil:
	case policy == "poly", policy == "inv" && p.Gamma != nil:
		glog.Warnf(s.log, "power is not set, so it is 0, and lr_policy \"%s\" makes the learning rate base_lr for the whole run", policy)
	}
}
