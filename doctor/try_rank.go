package doctor

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// finish ranks what is left.
func (t *trying) finish() {
	t.r.IterationSeconds = Number(t.pace())
	var ranked, rest []*Trial
	for _, tr := range t.trials {
		tr.judge(t.r.Chance)
		if tr.stage >= 1 && !tr.dropped && !math.IsNaN(float64(tr.Result)) {
			ranked = append(ranked, tr)
		} else {
			rest = append(rest, tr)
		}
	}
	slices.SortStableFunc(ranked, func(a, b *Trial) int {
		return cmp.Or(cmp.Compare(b.stage, a.stage), cmp.Compare(a.Result, b.Result))
	})
	var spread float64
	for _, tr := range ranked {
		if s := float64(tr.Spread); !math.IsNaN(s) {
			spread = max(spread, s)
		}
	}
	for i, tr := range ranked {
		tr.Rank = i + 1
		if i > 0 && ranked[i-1].stage == tr.stage && float64(tr.Result)-float64(ranked[first(ranked, i-1)].Result) <= spread {
			tr.Rank = ranked[i-1].Rank
		}
	}
	slices.SortStableFunc(rest, func(a, b *Trial) int { return cmp.Compare(b.stage, a.stage) })
	t.r.Trials = append(ranked, rest...)
	for _, tr := range t.r.Trials {
		for i, s := range tr.Set {
			if field, file, _ := strings.Cut(s, "="); strings.HasPrefix(file, t.dir) {
				tr.Set[i] = field + "=(the mean file with its values divided by 255)"
			}
		}
	}
	if len(ranked) > 0 && ranked[0].Learns {
		best := ranked[0]
		t.r.Best = best.Name
		t.r.Commands = t.commands(best)
		if !best.Learned {
			t.note("The best variant learns, but has not learned the set yet: its loss is %.3f of %.3f.", float64(best.Result), t.r.Chance)
		}
	} else {
		t.note("No variant learned anything within the budget.")
	}
	t.r.Seconds = Number(time.Since(t.began).Seconds())
}

// first returns the index of the first trial that shares the rank of trial i.
func first(ranked []*Trial, i int) int {
	for i > 0 && ranked[i-1].Rank == ranked[i].Rank {
		i--
	}
	return i
}

// judge settles a trial's result.
func (tr *Trial) judge(chance float64) {
	var sum, lo, hi float64
	n := 0
	for _, r := range tr.Runs {
		v := float64(r.Result)
		if len(r.Losses) == 0 || math.IsNaN(v) {
			continue
		}
		if n == 0 {
			lo, hi = v, v
		}
		lo, hi, sum = min(lo, v), max(hi, v), sum+v
		n++
	}
	if n == 0 {
		return
	}
	tr.Result = Number(sum / float64(n))
	if n > 1 {
		tr.Spread = Number(hi - lo)
	}
	tr.Learned = !tr.dropped && chance > 0 && float64(tr.Result) < learnedShare*chance
	tr.Learns = !tr.dropped && chance > 0 && float64(tr.Result) < 0.9*chance
	if !tr.dropped {
		shortest, longest := math.MaxInt, 0
		for _, r := range tr.Runs {
			if len(r.Losses) > 0 {
				shortest, longest = min(shortest, len(r.Losses)), max(longest, len(r.Losses))
			}
		}
		tr.Verdict = fmt.Sprintf("%d iterations", longest)
		if shortest < longest {
			tr.Verdict = fmt.Sprintf("%d to %d iterations", shortest, longest)
		}
		switch {
		case tr.Learned:
			tr.Verdict = "learned the set: " + tr.Verdict
		case tr.Learns:
			tr.Verdict = "learns: " + tr.Verdict
		case longest >= selection:
			tr.Verdict = "no progress: " + tr.Verdict
		}
	}
}

// commands returns the command lines that train the variant.
func (t *trying) commands(tr *Trial) []string {
	args := func(sets []string) string {
		var b strings.Builder
		for _, s := range sets {
			b.WriteString(" --set " + quoteArg(s))
		}
		return b.String()
	}
	solver := " --solver " + quoteArg(t.c.in.Solver)
	for _, a := range t.o.Args {
		solver += " " + quoteArg(a)
	}
	if !tr.UnitVariance {
		return []string{"crema train" + solver + args(tr.Set)}
	}
	return []string{
		"crema doctor" + solver + args(tr.Set) + " --lsuv unit_variance.caffemodel",
		"crema train" + solver + args(tr.Set) + " --weights unit_variance.caffemodel",
	}
}
