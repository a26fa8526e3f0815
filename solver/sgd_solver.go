package solver

import (
	"fmt"
	"math"
	"strings"

	"crema/asm"
	"crema/internal/glog"
	"crema/internal/par"
	"crema/layers"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// policies lists the values of lr_policy.
var policies = []string{"fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid"}

// checkPolicy reports what makes the learning-rate policy unusable.
func checkPolicy(p *caffepb.SolverParameter) error {
	needGamma, needStep := false, false
	switch p.GetLrPolicy() {
	case "fixed", "poly":
	case "exp", "inv", "multistep":
		needGamma = true
	case "step", "sigmoid":
		needGamma, needStep = true, true
	case "":
		return fmt.Errorf("lr_policy is missing (one of %s)", strings.Join(policies, ", "))
	default:
		return fmt.Errorf("unknown lr_policy %q (known: %s)", p.GetLrPolicy(), strings.Join(policies, ", "))
	}
	if needGamma && !(p.GetGamma() >= 0) {
		return fmt.Errorf("gamma must not be negative, it is %s", glog.G(p.GetGamma()))
	}
	if needStep && p.GetStepsize() <= 0 {
		return fmt.Errorf("lr_policy %q needs a stepsize above 0, it is %d", p.GetLrPolicy(), p.GetStepsize())
	}
	return nil
}

// learningRate returns the rate of the present iteration and moves the step of
// the step and multistep policies on (SGDSolver::GetLearningRate).
func (s *Solver) learningRate() float32 {
	p := s.p
	rate, gamma, it := float64(p.GetBaseLr()), float64(p.GetGamma()), float64(s.iter)
	switch p.GetLrPolicy() {
	case "step":
		s.currentStep = s.iter / int(p.GetStepsize())
		rate *= math.Pow(gamma, float64(s.currentStep))
	case "exp":
		rate *= math.Pow(gamma, it)
	case "inv":
		rate *= math.Pow(1+gamma*it, -float64(p.GetPower()))
	case "multistep":
		if s.currentStep < len(p.Stepvalue) && s.iter >= int(p.Stepvalue[s.currentStep]) {
			s.currentStep++
		}
		rate *= math.Pow(gamma, float64(s.currentStep))
	case "poly":
		rate *= math.Pow(1-it/float64(p.GetMaxIter()), float64(p.GetPower()))
	case "sigmoid":
		rate *= 1 / (1 + math.Exp(-gamma*(it-float64(p.GetStepsize()))))
	}
	return float32(rate)
}

// A step holds the scalars of one parameter's update.
type step struct {
	rate      float32 // learning rate × lr_mult
	clip      float32 // factor of gradient clipping, 1 for none
	norm      float32 // 1/iter_size
	l1, l2    float32 // decay × decay_mult, in the one of the two that applies
	momentum  float32
	momentum2 float32 // Adam
	rmsDecay  float32 // RMSProp
	delta     float32
	adam      float32 // Adam's bias correction
	drop      bool    // the steps need not be left in g
}

// gradient returns the gradient of one weight after clipping, averaging and
// decay, in Caffe's order of roundings.
func (u *step) gradient(w, g float32) float32 {
	if u.clip != 1 {
		g *= u.clip
	}
	if u.norm != 1 {
		g *= u.norm
	}
	switch {
	case u.l2 != 0:
		g += u.l2 * w
	case u.l1 != 0:
		switch {
		case w > 0:
			g += u.l1
		case w < 0:
			g -= u.l1
		}
	}
	return g
}

// A rule is an update rule: how many history blobs it keeps for a parameter
// and how it turns gradients into steps. update subtracts the steps from w and
// leaves them in g, but for step.drop.
type rule struct {
	histories int
	update    func(u *step, w, g, h, h2 []float32)
	check     func(p *caffepb.SolverParameter) error
}

// rules has Caffe's solver types (src/caffe/solvers/*.cpp).
var rules = map[string]rule{
	"SGD":      {1, updateSGD, nil},
	"Nesterov": {1, updateNesterov, nil},
	"AdaGrad":  {1, updateAdaGrad, noMomentum},
	"RMSProp":  {1, updateRMSProp, checkRMSProp},
	"AdaDelta": {2, updateAdaDelta, nil},
	"Adam":     {2, updateAdam, nil},
}

func noMomentum(p *caffepb.SolverParameter) error {
	if p.GetMomentum() != 0 {
		return fmt.Errorf("momentum cannot be used with %s", p.GetType())
	}
	return nil
}

func checkRMSProp(p *caffepb.SolverParameter) error {
	if d := p.GetRmsDecay(); !(d >= 0 && d < 1) {
		return fmt.Errorf("rms_decay must be at least 0 and below 1, it is %s", glog.G(d))
	}
	return noMomentum(p)
}

// updateSGD: h = rate·g + momentum·h; w −= h.
func updateSGD(u *step, w, g, h, _ []float32) {
	// Parts that stay in the cache nearest to the core from step to step.
	const part = 1 << 11
	for lo := 0; lo < len(w); lo += part {
		hi := min(lo+part, len(w))
		w, g, h := w[lo:hi], g[lo:hi], h[lo:hi]
		if u.clip != 1 {
			asm.Scal(u.clip, g)
		}
		if u.norm != 1 {
			asm.Scal(u.norm, g)
		}
		if u.l1 != 0 {
			decayL1(u.l1, w, g)
		}
		asm.SGDUpdate(u.rate, u.l2, u.momentum, g, h, w)
		if !u.drop {
			copy(g, h)
		}
	}
}

// decayL1 adds the gradient of L1 decay.
func decayL1(l1 float32, w, g []float32) {
	for i, v := range w {
		switch {
		case v > 0:
			g[i] += l1
		case v < 0:
			g[i] -= l1
		}
	}
}

// updateNesterov: h' = rate·g + momentum·h; w −= (1+momentum)·h' − momentum·h
// (Nesterov 1983; Sutskever et al. 2013).
func updateNesterov(u *step, w, g, h, _ []float32) {
	for i := range w {
		old := h[i]
		h[i] = u.rate*u.gradient(w[i], g[i]) + u.momentum*old
		v := (1+u.momentum)*h[i] - u.momentum*old
		g[i] = v
		w[i] -= v
	}
}

// updateAdaGrad: h += g²; w −= rate·g/(√h + delta) (Duchi et al. 2011).
func updateAdaGrad(u *step, w, g, h, _ []float32) {
	for i := range w {
		d := u.gradient(w[i], g[i])
		h[i] += d * d
		v := u.rate * (d / (sqrt(h[i]) + u.delta))
		g[i] = v
		w[i] -= v
	}
}

// updateRMSProp: h = (1−decay)·g² + decay·h; w −= rate·g/(√h + delta)
// (Tieleman and Hinton 2012).
func updateRMSProp(u *step, w, g, h, _ []float32) {
	for i := range w {
		d := u.gradient(w[i], g[i])
		h[i] = (1-u.rmsDecay)*(d*d) + u.rmsDecay*h[i]
		v := u.rate * (d / (sqrt(h[i]) + u.delta))
		g[i] = v
		w[i] -= v
	}
}

// updateAdaDelta: h = (1−m)·g² + m·h; v = g·√((h2+delta)/(h+delta));
// h2 = (1−m)·v² + m·h2; w −= rate·v (Zeiler 2012).
func updateAdaDelta(u *step, w, g, h, h2 []float32) {
	m := u.momentum
	for i := range w {
		d := u.gradient(w[i], g[i])
		h[i] = (1-m)*(d*d) + m*h[i]
		v := d * sqrt((h2[i]+u.delta)/(h[i]+u.delta))
		h2[i] = (1-m)*(v*v) + m*h2[i]
		v *= u.rate
		g[i] = v
		w[i] -= v
	}
}

// updateAdam: h = (1−β₁)·g + β₁·h; h2 = (1−β₂)·g² + β₂·h2;
// w −= rate·√(1−β₂ᵗ)/(1−β₁ᵗ)·h/(√h2 + delta) (Kingma and Ba 2014).
func updateAdam(u *step, w, g, h, h2 []float32) {
	b1, b2 := u.momentum, u.momentum2
	for i := range w {
		d := u.gradient(w[i], g[i])
		h[i] = (1-b1)*d + b1*h[i]
		h2[i] = (1-b2)*(d*d) + b2*h2[i]
		v := u.rate * u.adam * (h[i] / (sqrt(h2[i]) + u.delta))
		g[i] = v
		w[i] -= v
	}
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// clipFactor returns what gradients are multiplied by so that their joint L2
// norm does not exceed clip_gradients (SGDSolver::ClipGradients).
func (s *Solver) clipFactor() float32 {
	limit := s.p.GetClipGradients()
	if limit < 0 {
		return 1
	}
	var sum float64
	for i, p := range s.net.Params() {
		if !s.passedBy(i) {
			sum += sumsq(p.Blob.Diff())
		}
	}
	norm := float32(math.Sqrt(sum))
	if !(norm > limit) {
		return 1
	}
	f := limit / norm
	glog.Infof(s.log, "Gradient clipping: scaling down gradients (L2 norm %s > %s) by scale factor %s", glog.G(norm), glog.G(limit), glog.G(f))
	return f
}

// sumsqChunk is the length of the parts whose sums sumsq adds: it depends on
// nothing but the length of v, so the result has the same bits for any number
// of threads.
const sumsqChunk = 1 << 16

func sumsq(v []float32) float64 {
	parts := make([]float64, (len(v)+sumsqChunk-1)/sumsqChunk)
	par.For(len(parts), 1, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			var s float64
			for _, x := range v[c*sumsqChunk : min((c+1)*sumsqChunk, len(v))] {
				s += float64(x) * float64(x)
			}
			parts[c] = s
		}
	})
	var sum float64
	for _, p := range parts {
		sum += p
	}
	return sum
}

// setRate settles the learning rate of the iteration that begins. Caffe does
// it after the backward pass; layers that update within it need it before.
func (s *Solver) setRate() {
	step := s.currentStep
	s.rate = s.learningRate() * s.rateScale
	s.moved = s.p.GetLrPolicy() == "multistep" && s.currentStep != step
}

// canFuse reports whether the settings let layers update their parameters
// within the backward pass of an iteration: nothing may need the gradients
// afterwards. gradients says that something else does.
func (s *Solver) canFuse(gradients bool) bool {
	p := s.p
	return !s.o.NoFuse && s.net.MayFuse() && p.GetType() == "SGD" && p.GetClipGradients() < 0 && p.GetIterSize() == 1 &&
		(p.GetRegularizationType() != "L1" || p.GetWeightDecay() == 0) &&
		!p.GetSnapshotDiff() && !gradients
}

// prepare makes the parameters ready for a backward pass: those whose layers
// can update them within it are told how, and marked in s.fused; the gradients
// of the others are zeroed. The gradients of the former may not even be in
// memory. gradients says that all must be.
func (s *Solver) prepare(gradients bool) {
	params := s.net.Params()
	if s.fused == nil {
		s.fused = make([]bool, len(params))
	}
	if s.frozen == nil {
		s.findFrozen()
	}
	fuse := s.canFuse(gradients)
	for i, lp := range params {
		l, ok := lp.Owner.Layer.(layers.Updater)
		s.fused[i] = ok && fuse && !lp.Shared && lp.Owner.NeedBackward && l.CanUpdate(lp.Index)
		if s.fused[i] {
			l.SetUpdate(lp.Index, layers.Update{Rate: s.rate * lp.LRMult, Decay: s.p.GetWeightDecay() * lp.DecayMult,
				Momentum: s.p.GetMomentum(), History: s.history[i].Data()})
		} else if !s.passedBy(i) {
			clear(lp.Blob.Diff())
		}
	}
}

// applyUpdate changes the weights that the backward pass has not by the
// gradients, as the solver type says (SGDSolver::ApplyUpdate), and moves on to
// the next iteration.
func (s *Solver) applyUpdate(display bool) {
	rate := s.rate
	if s.moved {
		glog.Infof(s.log, "MultiStep Status: Iteration %d, step = %d", s.iter, s.currentStep)
	}
	if display {
		glog.Infof(s.log, "Iteration %d, lr = %s", s.iter, glog.G(rate))
	}
	p := s.p
	u := step{clip: s.clipFactor(), norm: 1, momentum: p.GetMomentum(), momentum2: p.GetMomentum2(),
		rmsDecay: p.GetRmsDecay(), delta: p.GetDelta()}
	if n := p.GetIterSize(); n > 1 {
		u.norm = 1 / float32(n)
	}
	if p.GetType() == "Adam" {
		t := float64(s.iter + 1)
		u.adam = float32(math.Sqrt(1-math.Pow(float64(u.momentum2), t)) / (1 - math.Pow(float64(u.momentum), t)))
	}
	params := s.net.Params()
	debug := display && p.GetDebugInfo()
	for i, lp := range params {
		if s.fused[i] || s.passedBy(i) && !debug {
			continue
		}
		u.rate = rate * lp.LRMult
		decay := p.GetWeightDecay() * lp.DecayMult
		u.l1, u.l2 = 0, 0
		if p.GetRegularizationType() == "L1" {
			u.l1 = decay
		} else {
			u.l2 = decay
		}
		w, g, h := lp.Blob.Data(), lp.Blob.Diff(), s.history[i].Data()
		var h2 []float32
		if s.rule.histories > 1 {
			h2 = s.history[len(params)+i].Data()
		}
		u.drop = !debug && !p.GetSnapshotDiff()
		var before float32
		if debug {
			before = meanAbs(w)
		}
		par.For(len(w), 1<<14, func(lo, hi int) {
			v := u
			var b []float32
			if h2 != nil {
				b = h2[lo:hi]
			}
			s.rule.update(&v, w[lo:hi], g[lo:hi], h[lo:hi], b)
		})
		if debug {
			glog.Infof(s.log, "    [Update] Layer %s, param %s data: %s; diff: %s", lp.Layer, lp.Name, glog.G(before), glog.G(meanAbs(g)))
		}
	}
	s.iter++
}

// meanAbs returns the mean magnitude of v.
func meanAbs(v []float32) float32 {
	var s float64
	for _, x := range v {
		s += math.Abs(float64(x))
	}
	return float32(s / float64(max(len(v), 1)))
}

// newHistory returns the zeroed history blobs of the rule: one per parameter,
// or two, first all of the first kind.
func (s *Solver) newHistory() {
	s.history = nil
	for range s.rule.histories {
		for _, p := range s.net.Params() {
			s.history = append(s.history, tensor.New(p.Blob.Shape()...))
		}
	}
}
