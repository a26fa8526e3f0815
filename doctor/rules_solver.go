package doctor

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"crema/prototxt/caffepb"
)

// of returns a finding about a field of the solver.
func (c *Case) of(rule string, sev Severity, sure Confidence, field string) Finding {
	return Finding{Rule: rule, Severity: sev, Sure: sure, Where: c.at(field)}
}

// kind returns the solver's type.
func kind(p *caffepb.SolverParameter) string {
	if p.GetType() == "" {
		return "SGD"
	}
	return p.GetType()
}

// refusedSettings finds what a solver does not begin with.
func refusedSettings(c *Case, k *collector) {
	p := c.Solver
	if p == nil {
		return
	}
	for _, r := range c.refusals {
		f := c.of("solver-refused", Error, Certain, r.field)
		f.What, f.Why = r.what, "The solver ends at once."
		k.add(f)
	}
	refuse := func(field, what, fix string, set ...string) {
		f := c.of("solver-refused", Error, Certain, field)
		f.What, f.Why, f.Fix, f.Set = what, "The solver ends at once.", fix, set
		k.add(f)
	}
	types := []string{"SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"}
	if !slices.Contains(types, kind(p)) {
		refuse("type", fmt.Sprintf("The solver's type %q is not one of %s.", p.GetType(), strings.Join(types, ", ")), "type: \"SGD\"", "type=SGD")
	}
	if t := kind(p); (t == "AdaGrad" || t == "RMSProp") && p.GetMomentum() != 0 {
		refuse("momentum", fmt.Sprintf("%s takes no momentum, and it is %s.", t, f32(p.GetMomentum())), "Remove momentum.", "momentum=")
	}
	policies := []string{"fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid"}
	if !slices.Contains(policies, p.GetLrPolicy()) {
		refuse("lr_policy", fmt.Sprintf("lr_policy %q is not one of %s.", p.GetLrPolicy(), strings.Join(policies, ", ")), "lr_policy: \"fixed\"", "lr_policy=fixed")
	}
	if pol := p.GetLrPolicy(); (pol == "step" || pol == "sigmoid") && p.GetStepsize() <= 0 {
		refuse("stepsize", fmt.Sprintf("lr_policy %q has no stepsize.", pol), "Add stepsize, the number of iterations between steps.")
	}
	if len(p.TestIter) > 0 && p.GetTestInterval() <= 0 {
		refuse("test_interval", "There is a test_iter but no test_interval.", "Add test_interval, the number of iterations between tests.")
	}
	if p.GetIterSize() < 1 {
		refuse("iter_size", fmt.Sprintf("iter_size is %d.", p.GetIterSize()), "Remove iter_size (1).", "iter_size=1")
	}
}

// noHarm is said of what can be removed.
const noHarm = "It changes nothing."

// rate returns the learning rate of an iteration (SGDSolver::GetLearningRate);
// max_iter ends poly, steps of multistep are counted as written.
func rate(p *caffepb.SolverParameter, iter float64) float64 {
	r, gamma := float64(p.GetBaseLr()), float64(p.GetGamma())
	switch p.GetLrPolicy() {
	case "step":
		return r * math.Pow(gamma, math.Floor(iter/float64(max(1, p.GetStepsize()))))
	case "exp":
		return r * math.Pow(gamma, iter)
	case "inv":
		return r * math.Pow(1+gamma*iter, -float64(p.GetPower()))
	case "multistep":
		n := 0.0
		for _, s := range p.Stepvalue {
			if iter < float64(s) {
				break
			}
			n++
		}
		return r * math.Pow(gamma, n)
	case "poly":
		return r * math.Pow(max(0, 1-iter/float64(max(1, p.GetMaxIter()))), float64(p.GetPower()))
	case "sigmoid":
		return r / (1 + math.Exp(-gamma*(iter-float64(p.GetStepsize()))))
	}
	return r
}

// baseRate judges the learning rate against the solver's type and the batch.
func baseRate(c *Case, k *collector) {
	p := c.Solver
	if p == nil {
		return
	}
	lr := float64(p.GetBaseLr())
	if !(lr > 0) {
		f := c.of("rate-zero", Error, Certain, "base_lr")
		f.What = fmt.Sprintf("base_lr is %s.", f32(p.GetBaseLr()))
		if p.BaseLr == nil {
			f.What = "base_lr is not set, so it is 0."
		}
		f.Why = "Nothing is learned."
		if lr < 0 {
			f.Why = "Each step goes uphill."
		}
		f.Fix, f.Set = "base_lr: 0.01", []string{"base_lr=0.01"}
		k.add(f)
		return
	}
	d := c.trainData()
	n, what := 0, "picture"
	if d != nil {
		n, what = c.samples(d)
		n *= int(max(1, p.GetIterSize()))
	}
	switch t := kind(p); t {
	case "SGD", "Nesterov":
		c.sgdRate(k, lr, n, what)
	default:
		// What these types divide by the gradient's own size, a step is about
		// the rate itself, whatever the batch.
		high := map[string]float64{"Adam": 0.02, "RMSProp": 0.05, "AdaGrad": 0.5, "AdaDelta": 10}[t]
		if high > 0 && lr > high {
			usual := map[string]string{"Adam": "0.001", "RMSProp": "0.001", "AdaGrad": "0.01", "AdaDelta": "1"}[t]
			f := c.of("rate-high", Warning, Likely, "base_lr")
			f.What = fmt.Sprintf("base_lr %s is high for %s, whose usual rate is %s.", f32(p.GetBaseLr()), t, usual)
			f.Why = fmt.Sprintf("%s divides by the gradient's own size, so every weight moves by about base_lr at each step, whatever the loss.", t)
			f.Fix, f.Set = "base_lr: "+usual, []string{"base_lr=" + usual}
			k.add(f)
		}
	}
	if lr < 1e-6 && !slices.ContainsFunc(c.Train.layers, summedLoss) {
		f := c.of("rate-tiny", Warning, Likely, "base_lr")
		f.What = fmt.Sprintf("base_lr is %s.", f32(p.GetBaseLr()))
		f.Why = "With a loss that is a mean over the batch, steps of this size change no weight visibly."
		f.Fix, f.Set = "base_lr: 0.001", []string{"base_lr=0.001"}
		k.add(f)
	}
}

// placesPerPicture is how many labels of one picture at most count as samples of
// their own: neighbours say much the same.
const placesPerPicture = 64

// samples returns how many samples the loss of a batch of d is a mean over, and
// what they are: its pictures or, where each has several, its labels.
func (c *Case) samples(d *layer) (n int, what string) {
	n = batch(d)
	for _, e := range c.Train.ends(false) {
		y := e.loss.bottoms[1].shape
		if dataOf(e.loss.bottoms[0]) == d && len(y) > 1 && product(y) > n {
			return min(product(y), placesPerPicture*n), "label"
		}
	}
	return n, "picture"
}

// summedLoss reports whether a loss is a sum over many elements, whose gradient
// is larger than that of a mean.
func summedLoss(l *layer) bool {
	p := l.GetLossParam()
	return isLoss(l) && (l.GetType() == "EuclideanLoss" || l.GetType() == "SigmoidCrossEntropyLoss" ||
		p != nil && p.Normalize != nil && !p.GetNormalize() || p.GetNormalization() == caffepb.LossParameter_NONE)
}

// ratePerPicture is the highest base_lr / (1 - momentum) / pictures per step
// that passes without remark. Published settings have 0.0004 (AlexNet) to 0.005
// (small nets with momentum 0.9 and batches of 16 to 64).
const ratePerPicture = 0.04

// sgdRate judges the rate of a type whose steps are as long as the gradient:
// the noise of the gradient falls with the batch, so the rate must, too (Goyal
// et al. 2017, Smith et al. 2018).
func (c *Case) sgdRate(k *collector, lr float64, samples int, what string) {
	p := c.Solver
	m := float64(p.GetMomentum())
	if m >= 1 || m < 0 || p.GetClipGradients() > 0 || slices.ContainsFunc(c.Train.layers, summedLoss) {
		return
	}
	f := c.of("rate-high", Warning, Likely, "base_lr")
	if samples == 0 || lr > 1 {
		if lr <= 1 {
			return
		}
		f.What = fmt.Sprintf("base_lr is %s.", f32(p.GetBaseLr()))
		f.Why = "With plain gradient steps a rate above 1 diverges in almost every net; 0.01 with momentum 0.9 is a usual start."
		f.Fix, f.Set = "base_lr: 0.01", []string{"base_lr=0.01"}
		k.add(f)
		return
	}
	noise := lr / (1 - m) / float64(samples)
	if noise <= ratePerPicture {
		return
	}
	better := lr * 0.004 / noise
	better = roundTo(better)
	f.What = fmt.Sprintf("base_lr %s with momentum %s is high for %s a step: %s for each, where working settings have 0.0004 to 0.005.",
		f32(p.GetBaseLr()), f32(p.GetMomentum()), plural(samples, what), num(noise))
	f.Why = "The gradient of so few is mostly noise, and the step multiplies it; once the signal gets through, such a run diverges."
	f.Fix = fmt.Sprintf("base_lr: %s, or a larger batch_size, or iter_size to add up several batches.", num(better))
	f.Set = []string{"base_lr=" + num(better)}
	k.add(f)
}

// roundTo rounds to 1, 2 or 5 times a power of ten.
func roundTo(x float64) float64 {
	e := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{5, 2, 1} {
		if x >= m*e {
			return m * e
		}
	}
	return e
}

// usesOf tells which policies read a field.
var usesOf = map[string][]string{
	"gamma":     {"step", "exp", "inv", "multistep", "sigmoid"},
	"power":     {"inv", "poly"},
	"stepsize":  {"step", "sigmoid"},
	"stepvalue": {"multistep"},
}

// rateSchedule judges how the rate changes over the run.
func rateSchedule(c *Case, k *collector) {
	p := c.Solver
	if p == nil || !(p.GetBaseLr() > 0) {
		return
	}
	policy := p.GetLrPolicy()
	for _, field := range []string{"gamma", "power", "stepsize", "stepvalue"} {
		set := map[string]bool{"gamma": p.Gamma != nil, "power": p.Power != nil, "stepsize": p.Stepsize != nil, "stepvalue": len(p.Stepvalue) > 0}[field]
		if !set || slices.Contains(usesOf[field], policy) || policy == "" {
			continue
		}
		f := c.of("lr-policy-field", Warning, Certain, field)
		f.What = fmt.Sprintf("lr_policy %q does not read %s.", policy, field)
		f.Why = "The rate does not change as these lines suggest."
		switch {
		case policy == "fixed":
			f.Why = "The rate stays at base_lr for the whole run."
		case field == "stepvalue" && policy == "step":
			f.Fix, f.Set = "lr_policy: \"multistep\" without stepsize, if steps at stepvalue are meant", []string{"lr_policy=multistep", "stepsize="}
		}
		if f.Fix == "" {
			f.Fix, f.Set = fmt.Sprintf("Remove %s, or choose the lr_policy that reads it (%s).", field, strings.Join(usesOf[field], ", ")), []string{field + "="}
		}
		k.add(f)
	}
	last := float64(p.GetMaxIter())
	if p.GetMaxIter() <= 0 {
		f := c.of("no-iterations", Warning, Certain, "max_iter")
		f.What, f.Why = "max_iter is not set or 0.", "The run ends before the first step."
		f.Fix = "Add max_iter, the number of iterations."
		k.add(f)
		return
	}
	c.steps(k, last)
	base := float64(p.GetBaseLr())
	if policy != "sigmoid" {
		if end := rate(p, max(0, last-1)); end > base*1.5 {
			f := c.of("rate-grows", Warning, Certain, "gamma")
			f.What = fmt.Sprintf("The rate grows from %s to %s over the run.", f32(p.GetBaseLr()), num(end))
			f.Why = "A rate that only grows ends in divergence."
			f.Fix = "gamma: 0.1 for step and multistep, a little below 1 for exp; power must not be negative."
			k.add(f)
		}
	}
	c.underflow(k, base, last)
}

// steps judges when step and multistep take effect.
func (c *Case) steps(k *collector, last float64) {
	p := c.Solver
	switch p.GetLrPolicy() {
	case "step":
		f := c.of("steps-never-reached", Warning, Certain, "stepsize")
		if p.GetStepsize() > 0 && float64(p.GetStepsize()) >= last {
			f.What = fmt.Sprintf("The first step of the rate would come at iteration %d, and the run ends at %d.", p.GetStepsize(), p.GetMaxIter())
			f.Why = "The rate never falls, so the noise of the last iterations stays in the weights."
			f.Fix = fmt.Sprintf("stepsize: %d", max(1, p.GetMaxIter()/3))
			f.Set = []string{fmt.Sprintf("stepsize=%d", max(1, p.GetMaxIter()/3))}
			k.add(f)
		}
		if p.GetGamma() == 1 {
			f := c.of("steps-do-nothing", Note, Certain, "gamma")
			f.What, f.Why, f.Fix = "gamma is 1, so the steps leave the rate as it is.", noHarm, "lr_policy: \"fixed\", or a gamma below 1"
			k.add(f)
		}
	case "multistep":
		late := slices.IndexFunc(p.Stepvalue, func(s int32) bool { return float64(s) >= last })
		f := c.of("steps-never-reached", Warning, Certain, "stepvalue")
		switch {
		case len(p.Stepvalue) == 0:
			f.What = "lr_policy is multistep, and there is no stepvalue."
			f.Why, f.Fix = "The rate never falls.", fmt.Sprintf("stepvalue: %d", p.GetMaxIter()*2/3)
			f.Set = []string{fmt.Sprintf("stepvalue=%d", p.GetMaxIter()*2/3)}
			k.add(f)
		case late >= 0:
			f.Where = c.at(fmt.Sprintf("stepvalue[%d]", late))
			f.What = fmt.Sprintf("stepvalue %d is not before the end of the run at %d.", p.Stepvalue[late], p.GetMaxIter())
			f.Why, f.Fix = "That step is never taken.", fmt.Sprintf("Choose stepvalues below max_iter (%d).", p.GetMaxIter())
			if late > 0 {
				f.Severity = Note
			}
			k.add(f)
		}
		if !slices.IsSorted(p.Stepvalue) {
			sorted := slices.Sorted(slices.Values(p.Stepvalue))
			f := c.of("steps-unsorted", Error, Certain, "stepvalue")
			f.What = fmt.Sprintf("The stepvalues %s do not ascend.", strings.Trim(fmt.Sprint(p.Stepvalue), "[]"))
			f.Why = "They are taken in the order of the file: a step waits for all those before it."
			f.Set = []string{"stepvalue=" + strings.ReplaceAll(strings.Trim(fmt.Sprint(sorted), "[]"), " ", ",")}
			f.Fix = "Put them in ascending order."
			k.add(f)
		}
	}
}

// underflow finds a rate that is next to nothing for a good part of the run.
func (c *Case) underflow(k *collector, base, last float64) {
	p := c.Solver
	const gone, part = 1e-5, 0.2 // of base_lr, of the run
	if rate(p, last*(1-part)) > gone*base {
		return
	}
	// The first iteration with less, and with 0 in single precision.
	first := func(limit float64) float64 {
		lo, hi := -1.0, last
		for hi-lo > 1 {
			if mid := math.Floor((lo + hi) / 2); rate(p, mid) > limit {
				lo = mid
			} else {
				hi = mid
			}
		}
		return hi
	}
	from, zero := first(gone*base), first(math.SmallestNonzeroFloat32)
	field := "gamma"
	if p.GetLrPolicy() == "step" && p.GetGamma() > 0 {
		field = "stepsize"
	}
	f := c.of("rate-underflow", Warning, Certain, field)
	f.What = fmt.Sprintf("From iteration %s of %s on the rate is below %s of base_lr", num(from), num(last), num(gone))
	if p.Gamma == nil {
		f.What += " (gamma is not set, so it is 0)"
	} else if zero < last {
		f.What += fmt.Sprintf(", from %s on it is 0", num(zero))
	}
	f.What += "."
	f.Why = fmt.Sprintf("The last %.0f %% of the run change next to nothing.", 100*(last-from)/last)
	switch p.GetLrPolicy() {
	case "step":
		size := int(last / 3)
		if p.GetGamma() > 0 && p.GetGamma() < 1 && float64(p.GetStepsize())*4 < last {
			f.Fix = fmt.Sprintf("max_iter: %d (four steps), or stepsize: %d", 4*p.GetStepsize(), size)
			f.Set = []string{fmt.Sprintf("max_iter=%d", 4*p.GetStepsize())}
		} else {
			g := gammaFor(math.Floor(last / float64(max(1, p.GetStepsize()))))
			f.Fix, f.Set = "gamma: "+g, []string{"gamma=" + g}
		}
	case "exp":
		g := gammaFor(last)
		f.Fix, f.Set = fmt.Sprintf("gamma: %s (a hundredth of base_lr at the end)", g), []string{"gamma=" + g}
	default:
		f.Fix = "Choose the schedule for this max_iter: lr_policy poly with power 1 falls in a line to 0."
		f.Set = []string{"lr_policy=poly", "power=1"}
	}
	k.add(f)
}

// gammaFor returns the gamma that leaves about a hundredth of base_lr after so
// many steps, at least 0.1.
func gammaFor(steps float64) string {
	g := math.Pow(0.01, 1/max(steps, 1))
	switch {
	case g <= 0.1:
		return "0.1"
	case g < 0.99:
		return fmt.Sprintf("%.2g", g)
	}
	return fmt.Sprintf("%.9g", g)
}

// momentum judges the coefficients of the running means.
func momentum(c *Case, k *collector) {
	p := c.Solver
	if p == nil {
		return
	}
	m := p.GetMomentum()
	switch t := kind(p); {
	case m >= 1 || m < 0:
		f := c.of("momentum-range", Error, Certain, "momentum")
		f.What = fmt.Sprintf("momentum is %s; it must be at least 0 and below 1.", f32(m))
		f.Why, f.Fix, f.Set = "Steps add up without end, and the weights grow until they overflow.", "momentum: 0.9", []string{"momentum=0.9"}
		switch {
		case t != "SGD" && t != "Nesterov":
			f.Why = fmt.Sprintf("It is the decay of %s's running means, which then have no sense.", t)
		case m < 0:
			f.Why = "Each step is turned against the ones before it."
		}
		k.add(f)
	case m > 0.995 && (t == "SGD" || t == "Nesterov"):
		f := c.of("momentum-range", Warning, Likely, "momentum")
		f.What = fmt.Sprintf("momentum %s multiplies the rate by %s.", f32(m), num(1/(1-float64(m))))
		f.Why, f.Fix, f.Set = "A step goes on for thousands of iterations.", "momentum: 0.9", []string{"momentum=0.9"}
		k.add(f)
	case m == 0 && t == "AdaDelta":
		f := c.of("momentum-range", Warning, Certain, "momentum")
		f.What = "AdaDelta takes momentum as the decay of its running means, and it is 0."
		f.Why, f.Fix, f.Set = "Without means each step is as long as the one before it: it learns next to nothing.", "momentum: 0.95", []string{"momentum=0.95"}
		k.add(f)
	case m == 0 && t == "Adam":
		f := c.of("momentum-range", Note, Certain, "momentum")
		f.What = "Adam takes momentum as the decay of its mean gradient, and it is 0."
		f.Why, f.Fix, f.Set = "It then is RMSProp with a correction of bias.", "momentum: 0.9", []string{"momentum=0.9"}
		k.add(f)
	}
	if m2 := p.GetMomentum2(); kind(p) == "Adam" && (m2 >= 1 || m2 < 0) {
		f := c.of("momentum-range", Error, Certain, "momentum2")
		f.What = fmt.Sprintf("momentum2 is %s; it must be at least 0 and below 1.", f32(m2))
		f.Why, f.Fix, f.Set = "The mean of squared gradients has no sense.", "momentum2: 0.999", []string{"momentum2=0.999"}
		k.add(f)
	}
}

// decay judges weight decay and clipping.
func decay(c *Case, k *collector) {
	p := c.Solver
	if p == nil {
		return
	}
	switch wd := p.GetWeightDecay(); {
	case wd < 0:
		f := c.of("weight-decay", Error, Certain, "weight_decay")
		f.What, f.Why = fmt.Sprintf("weight_decay is %s.", f32(wd)), "Weights grow by themselves."
		f.Fix, f.Set = "weight_decay: 0.0005", []string{"weight_decay=0.0005"}
		k.add(f)
	case wd >= 0.1:
		f := c.of("weight-decay", Warning, Likely, "weight_decay")
		f.What = fmt.Sprintf("weight_decay is %s; 0.0005 is usual.", f32(wd))
		if m := float64(p.GetMomentum()); m < 1 && kind(p) == "SGD" {
			half := math.Ln2 / (float64(p.GetBaseLr()) / (1 - m) * float64(wd))
			f.What = fmt.Sprintf("weight_decay is %s: it alone halves every weight in %s iterations; 0.0005 is usual.", f32(wd), num(math.Ceil(half)))
		}
		f.Why, f.Fix, f.Set = "The weights are pulled to 0 faster than the loss can form them.", "weight_decay: 0.0005", []string{"weight_decay=0.0005"}
		k.add(f)
	case wd == 0 && p.RegularizationType != nil:
		f := c.of("solver-field", Note, Certain, "regularization_type")
		f.What, f.Why, f.Fix = "regularization_type has no effect without weight_decay.", noHarm, "Add weight_decay or remove it."
		k.add(f)
	}
	if clip := p.GetClipGradients(); p.ClipGradients != nil && clip >= 0 && clip < 1e-3 {
		f := c.of("clip-tiny", Warning, Likely, "clip_gradients")
		f.What = fmt.Sprintf("clip_gradients is %s, a limit of the norm of all gradients together.", f32(clip))
		f.Why, f.Fix, f.Set = "Every step is cut to next to nothing.", "clip_gradients: 35, or remove it", []string{"clip_gradients="}
		if clip == 0 {
			f.Severity, f.Sure = Error, Certain
			f.Why = "Every gradient is cut to 0; weight_decay, which comes after it, is all that is left."
			if p.GetWeightDecay() == 0 {
				f.Why = "Every gradient is cut to 0."
			}
		}
		k.add(f)
	}
	c.biasDecay(k)
}

// biasDecay notes where some biases decay and others do not.
func (c *Case) biasDecay(k *collector) {
	var with, without []*layer
	for _, l := range c.Train.layers {
		if w, ok := weightsOf(l); !ok || !w.hasBias {
			continue
		}
		if len(l.Param) > 1 && l.Param[1].GetDecayMult() == 0 {
			without = append(without, l)
		} else {
			with = append(with, l)
		}
	}
	if c.Solver.GetWeightDecay() == 0 || len(with) == 0 || len(without) == 0 {
		return
	}
	f := with[0].in("bias-decay", Note, Certain, "param[1]")
	f.What = fmt.Sprintf("The biases of %s decay, those of %s do not.", list(quoted(names(with))), plural(len(without), "other layer"))
	f.Why, f.Fix = "It hardly matters, but is seldom meant; biases are usually left alone.", "param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"
	k.add(f)
}

// snapshots finds settings that would lose work.
func snapshots(c *Case, k *collector) {
	p := c.Solver
	if p == nil || p.GetMaxIter() <= 0 {
		return
	}
	const long = 10000 // iterations that one would not like to repeat
	every, last := p.GetSnapshot(), p.GetMaxIter()
	field := "snapshot"
	f := c.of("snapshot-never", Warning, Certain, field)
	f.Fix = fmt.Sprintf("snapshot: %d", max(1, last/20))
	f.Set = []string{fmt.Sprintf("snapshot=%d", max(1, last/20))}
	if last >= 200000 {
		f.Fix, f.Set = "snapshot: 10000", []string{"snapshot=10000"}
	}
	switch {
	case (every == 0 || every > last) && !p.GetSnapshotAfterTrain():
		f.What = fmt.Sprintf("No snapshot is taken in %d iterations, and snapshot_after_train is false.", last)
		f.Why = "Nothing of the run is kept, unless a signal asks for a snapshot."
		k.add(f)
	case (every == 0 || every >= last) && last >= long:
		f.What = fmt.Sprintf("No snapshot is taken before the end at iteration %d.", last)
		f.Why = "Whatever ends the run earlier, all its work is lost."
		k.add(f)
	}
	if every > 0 || p.GetSnapshotAfterTrain() {
		c.snapshotFolder(k)
	}
	params := 0
	for _, l := range c.Train.layers {
		params += l.count()
	}
	if every > 0 {
		histories := 1.0
		if t := kind(p); t == "Adam" || t == "AdaDelta" {
			histories = 2
		}
		gb := float64(params) * 4 * (1 + histories) / 1e9 * float64(last/every)
		if gb > 500 {
			f := c.of("snapshot-often", Warning, Likely, field)
			f.What = fmt.Sprintf("The run would write %d snapshots, %s GB in all.", last/every, num(math.Round(gb)))
			f.Why = "A full disk ends the run."
			f.Fix, f.Set = fmt.Sprintf("snapshot: %d", max(1, last/20)), []string{fmt.Sprintf("snapshot=%d", max(1, last/20))}
			k.add(f)
		}
	}
}

// snapshotFolder finds a prefix that nothing can be written to.
func (c *Case) snapshotFolder(k *collector) {
	given := c.Solver.GetSnapshotPrefix()
	if given == "" {
		return // beside the solver file
	}
	dir := c.in.ResolvePath(given)
	if !strings.HasSuffix(given, "/") {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			dir = filepath.Dir(dir)
		}
	}
	st, err := os.Stat(dir)
	if err == nil && st.IsDir() {
		return
	}
	f := c.of("snapshot-folder", Error, Certain, "snapshot_prefix")
	f.What = fmt.Sprintf("The folder of snapshot_prefix, %s, does not exist.", dir)
	f.Why = "Caffe trains until the first snapshot and then ends; this program refuses to begin."
	f.Fix = "mkdir -p " + dir
	k.add(f)
}

// solverFields finds fields that the solver's type does not read.
func solverFields(c *Case, k *collector) {
	p := c.Solver
	if p == nil {
		return
	}
	t := kind(p)
	for _, u := range []struct {
		field string
		set   bool
		types []string
	}{
		{"momentum2", p.Momentum2 != nil, []string{"Adam"}},
		{"rms_decay", p.RmsDecay != nil, []string{"RMSProp"}},
		{"delta", p.Delta != nil, []string{"AdaGrad", "RMSProp", "AdaDelta", "Adam"}},
	} {
		if !u.set || slices.Contains(u.types, t) {
			continue
		}
		f := c.of("solver-field", Warning, Certain, u.field)
		f.What = fmt.Sprintf("A solver of type %s does not read %s.", t, u.field)
		f.Why = fmt.Sprintf("If %s was meant, the type is missing.", strings.Join(u.types, " or "))
		f.Fix, f.Set = fmt.Sprintf("type: %q, or remove %s", u.types[0], u.field), []string{u.field + "="}
		k.add(f)
	}
	if n := p.GetTestInterval(); len(p.TestIter) > 0 && n > p.GetMaxIter() && p.GetMaxIter() > 0 {
		f := c.of("test-interval", Note, Certain, "test_interval")
		f.What = fmt.Sprintf("test_interval %d is longer than the run of %d iterations.", n, p.GetMaxIter())
		f.Why = "The net is tested before the first iteration only."
		if !p.GetTestInitialization() {
			f.Why = "test_initialization is false, so the net is never tested."
		}
		f.Fix = fmt.Sprintf("test_interval: %d", max(1, p.GetMaxIter()/10))
		f.Set = []string{fmt.Sprintf("test_interval=%d", max(1, p.GetMaxIter()/10))}
		k.add(f)
	}
}
