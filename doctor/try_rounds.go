package doctor

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// screen trains every variant for a few dozen iterations and drops what
// diverges or dies. Weights that carry a signal are combined with rates, one of
// them from a range test.
func (t *trying) screen() error {
	t.limit = t.began.Add(t.o.Budget)
	control := t.trials[0]
	iterations := screening
	if _, err := t.train(control, 1, 3, false); err != nil {
		return err
	}
	control.Runs = nil
	if p := t.pace(); p > 0 {
		all := float64(len(t.trials)+8) * float64(iterations) * p
		t.say("an iteration takes %.2g s: about %.0f fit into %.0f minutes", p, t.left().Seconds()/p, t.o.Budget.Minutes())
		if allowed := screenShare * t.o.Budget.Seconds(); all > allowed {
			t.say("to screen everything would take %.0f s of the %.0f s there are for it: what has no signal is not trained, but for what is asked about most", all, allowed)
		}
	}
	t.limit = t.began.Add(time.Duration(screenShare * float64(t.o.Budget)))
	todo := []*Trial{control}
	for _, tr := range slices.Clone(t.trials) {
		if tr.dropped || tr.Dead || tr.init != tr || tr == control {
			continue
		}
		todo = append(todo, tr)
		combined, err := t.combine(tr)
		if err != nil {
			return err
		}
		todo = append(todo, combined...)
	}
	if !control.Dead {
		combined, err := t.combine(control)
		if err != nil {
			return err
		}
		todo = append(todo, combined...)
	}
	// The user's own, then larger rates, which show their worth soon, then the
	// others without a signal.
	for _, tr := range t.trials {
		if slices.Contains(todo, tr) || tr.dropped {
			continue
		}
		todo = append(todo, tr)
	}
	slices.SortStableFunc(todo, func(a, b *Trial) int { return cmp.Compare(t.priority(a), t.priority(b)) })
	for _, tr := range todo {
		if t.ctx.Err() != nil {
			return nil
		}
		if tr.Dead && !tr.control && t.priority(tr) > 2 && float64(iterations)*t.pace() > 0.02*t.o.Budget.Seconds() {
			t.drop(tr, "not trained: its output does not depend on the image")
			continue
		}
		if !tr.control && time.Now().After(t.limit) {
			t.drop(tr, "not trained: the budget was used up")
			t.note("The budget did not reach to train all variants.")
			continue
		}
		if err := t.screenOne(tr, iterations); err != nil {
			return err
		}
	}
	return nil
}

// priority orders the trials of the screening.
func (t *trying) priority(tr *Trial) int {
	switch {
	case tr.control:
		return 0
	case slices.ContainsFunc(t.o.Variants, func(v Variant) bool { return v.Name == tr.Name }):
		return 1
	case tr.rate > 1:
		return 2 // diverges at once, if it does
	case !tr.Dead && tr.init != tr && float64(tr.Rate) == float64(float32(tr.init.usual)):
		return 3
	case !tr.Dead && tr.init != tr:
		return 4
	case !tr.Dead:
		return 5
	}
	return 6
}

// screenOne trains one variant for the screening.
func (t *trying) screenOne(tr *Trial, iterations int) error {
	r, err := t.train(tr, 1, iterations, true)
	if err != nil {
		return err
	}
	switch {
	case r.Ended == "diverged":
		t.drop(tr, fmt.Sprintf("diverges at iteration %d", len(r.Losses)))
	case tr.control:
		tr.stage = 1
		tr.Verdict = fmt.Sprintf("loss %.3f after %d iterations", r.mean(), len(r.Losses))
		t.say("%s: %s", tr.Name, tr.Verdict)
	case r.Ended == "died" && !tr.Dead:
		t.drop(tr, fmt.Sprintf("dies: after %d iterations the output does not depend on the image (loss %.3f)", len(r.Losses), r.mean()))
	case tr.Dead:
		t.drop(tr, fmt.Sprintf("dead signal: loss %.3f after %d iterations, and the output hardly depended on the image", r.mean(), len(r.Losses)))
	case len(r.Losses) >= iterations && t.r.Chance > 0 && r.mean() > 2*max(t.r.Chance, float64(r.Losses[0])):
		t.drop(tr, fmt.Sprintf("loss %.3f after %d iterations, far above where it began", r.mean(), len(r.Losses)))
	default:
		tr.stage = 1
		tr.Verdict = fmt.Sprintf("loss %.3f after %d iterations", r.mean(), len(r.Losses))
		t.say("%s: %s", tr.Name, tr.Verdict)
	}
	return nil
}

// combine makes trials of weights that carry a signal with other rates: that at
// which a step would be of the usual size, and smaller ones than the given.
func (t *trying) combine(tr *Trial) ([]*Trial, error) {
	base := float64(tr.sp.GetBaseLr())
	rates := []float64{twoDigits(base * 0.01)}
	// Inputs of another size are worth one try, weights more.
	weights := tr.UnitVariance || slices.ContainsFunc(tr.Set, func(s string) bool { return strings.Contains(s, "filler") })
	if weights || tr.control {
		rates = append(rates, twoDigits(base*0.1))
	}
	if tr.usual > 0 {
		rates = slices.DeleteFunc(rates, func(r float64) bool { return r/tr.usual > 0.7 && r/tr.usual < 1.5 })
		if tr.usual/base < 0.7 || tr.usual/base > 1.5 {
			rates = append([]float64{tr.usual}, rates...)
		}
	}
	var all []*Trial
	for _, rate := range rates {
		if tr.control && slices.ContainsFunc(t.trials, func(x *Trial) bool { return x.init == tr && math.Abs(float64(x.Rate)/rate-1) < 0.01 }) {
			continue
		}
		name := fmt.Sprintf("%s, rate %g", tr.Name, rate)
		if tr.control {
			name = fmt.Sprintf("rate %g", rate)
		}
		v := Variant{Name: name, Set: append(slices.Clone(tr.Set), fmt.Sprintf("base_lr=%g", rate)), UnitVariance: tr.UnitVariance}
		x, err := t.add(v, tr)
		if err != nil {
			return nil, err
		}
		x.Signal, x.Dead = tr.Signal, tr.Dead
		all = append(all, x)
	}
	return all, nil
}

// survivors returns the trials that are still in, but for the control.
func (t *trying) survivors() []*Trial {
	var live []*Trial
	for _, tr := range t.trials {
		if !tr.dropped && !tr.control && tr.stage > 0 {
			live = append(live, tr)
		}
	}
	return live
}

// choose trains the survivors a little longer and keeps the best few.
func (t *trying) choose() error {
	live := t.survivors()
	p := t.pace()
	if len(live) == 0 || p == 0 {
		return nil
	}
	budget := selectShare * t.left().Seconds()
	t.limit = time.Now().Add(time.Duration(2 * budget * float64(time.Second)))
	more := float64(selection - screening)
	fit := max(2, int(budget/p/more)-1)
	slices.SortStableFunc(live, func(a, b *Trial) int { return cmp.Compare(t.priority(a), t.priority(b)) })
	for _, tr := range live[min(fit, len(live)):] {
		t.drop(tr, tr.Verdict+"; the budget did not reach further")
		t.note("The budget did not reach to train all variants.")
	}
	live = live[:min(fit, len(live))]
	t.say("second round: %d variants and the net as it is, to iteration %d: about %.0f s", len(live), selection, float64(len(live)+1)*more*p)
	for _, tr := range append([]*Trial{t.trials[0]}, live...) {
		if t.ctx.Err() != nil {
			return nil
		}
		r, err := t.train(tr, 1, selection, true)
		if err != nil {
			return err
		}
		switch {
		case r.Ended == "diverged":
			t.drop(tr, fmt.Sprintf("diverges at iteration %d", len(r.Losses)))
		default:
			tr.stage = 2
			tr.Verdict = fmt.Sprintf("loss %.3f after %d iterations", r.mean(), len(r.Losses))
			t.say("%s: %s", tr.Name, tr.Verdict)
		}
	}
	return nil
}

// final trains the best few as long as the budget allows, with all seeds.
func (t *trying) final() error {
	live := t.survivors()
	p := t.pace()
	if len(live) == 0 || p == 0 {
		return nil
	}
	slices.SortStableFunc(live, func(a, b *Trial) int { return cmp.Compare(a.Runs[0].mean(), b.Runs[0].mean()) })
	control := t.trials[0]
	t.limit = t.began.Add(t.o.Budget)
	left := 0.95 * t.left().Seconds() / p
	// The first run goes on from where it is, the others begin anew; the control
	// has one.
	length := func(k int) int {
		done := float64((k + 1) * selection)
		return int((left + done) / float64(k*t.o.Seeds+1))
	}
	k := min(3, len(live))
	for k > 1 && length(k) < fewestFinal {
		k--
	}
	n := min(length(k), mostFinal)
	if n < fewestFinal {
		t.note("The budget allowed %d iterations in the last round; %d or more are wanted.", n, fewestFinal)
	}
	for _, tr := range live[k:] {
		t.drop(tr, tr.Verdict+": not among the best")
	}
	live = live[:k]
	if n <= selection {
		return nil
	}
	t.say("last round: %d variants, %d seeds, to iteration %d: at most %.0f s", k, t.o.Seeds, n, left*p)
	for seed := 1; seed <= t.o.Seeds; seed++ {
		for _, tr := range live {
			if tr.dropped || t.ctx.Err() != nil {
				continue
			}
			r, err := t.train(tr, int64(seed), n, false)
			if err != nil {
				return err
			}
			if r.Ended == "diverged" {
				t.drop(tr, fmt.Sprintf("diverges at iteration %d (seed %d)", len(r.Losses), seed))
				continue
			}
			tr.stage = 3
			t.say("%s, seed %d: loss %.3f after %d iterations", tr.Name, seed, r.mean(), len(r.Losses))
		}
		if seed == 1 && t.ctx.Err() == nil && !control.dropped {
			r, err := t.train(control, 1, n, false)
			if err != nil {
				return err
			}
			control.stage = 3
			t.say("%s: loss %.3f after %d iterations", control.Name, r.mean(), len(r.Losses))
		}
	}
	return nil
}
