package doctor

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"crema/graph"
	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// small returns a trial's solver and net for the fixed set.
func (t *trying) small(tr *Trial, seed int64) (*caffepb.SolverParameter, *caffepb.NetParameter) {
	np := proto.CloneOf(tr.np)
	crop := 0
	if t.r.Crop != t.r.FullCrop {
		crop = t.r.Crop
	}
	t.set.use(np, crop)
	sp := quietSolver(tr.sp, np)
	sp.RandomSeed = proto.Int64(seed)
	if t.c.in.Weights != "" {
		sp.Weights = []string{t.c.in.Weights}
	}
	return sp, np
}

// train trains a trial's run until it has made that many iterations, has
// learned, diverged, or the round's time is over. With keep the state stays, to
// go on from.
func (t *trying) train(tr *Trial, seed int64, iterations int, keep bool) (r *Run, err error) {
	i := slices.IndexFunc(tr.Runs, func(r *Run) bool { return r.Seed == seed })
	if i < 0 {
		i = len(tr.Runs)
		tr.Runs = append(tr.Runs, &Run{Seed: seed})
	}
	r = tr.Runs[i]
	if r.Ended != "" || len(r.Losses) >= iterations {
		return r, nil
	}
	if r.state == "" {
		r.Losses = nil
	}
	sp, np := t.small(tr, seed)
	t.snapshot++
	sp.SnapshotPrefix = proto.String(filepath.Join(t.dir, fmt.Sprintf("run%d", t.snapshot)))
	model, state := "", ""
	o := solver.Options{Log: t.o.Log, ResolvePath: t.c.in.ResolvePath, Dir: t.c.Train.dir(), Load: t.c.in.Load, Snapshot: r.state,
		Watch: solver.Watch{Snapshotted: func(_ int, m, s string) { model, state = m, s }},
		Action: func() solver.Action {
			if r.Ended != "" || t.ctx.Err() != nil || time.Now().After(t.limit) {
				return solver.ActionStop
			}
			return solver.ActionNone
		},
		OnIteration: func(p solver.Progress) {
			r.Losses = append(r.Losses, Number(p.Loss))
			t.seconds = append(t.seconds, p.Seconds)
			switch mean := r.mean(); {
			case broken(float64(p.Loss)):
				r.Ended = "diverged"
			case t.r.Chance > 0 && len(r.Losses) >= screening && mean < stopShare*t.r.Chance:
				r.Ended = "learned"
			}
		}}
	sv, err := solver.New(sp, o)
	if err != nil {
		return nil, fmt.Errorf("variant %q: %w", tr.Name, err)
	}
	defer func() { err = errors.Join(err, sv.Close()) }()
	if tr.UnitVariance && r.state == "" {
		if err := t.c.unitVariance(sv.Net(), np, uint64(seed)); err != nil {
			return nil, fmt.Errorf("variant %q: %w", tr.Name, err)
		}
	}
	if err := sv.Step(iterations - len(r.Losses)); err != nil {
		return nil, fmt.Errorf("variant %q: %w", tr.Name, err)
	}
	t.forget(r)
	r.Result = Number(r.mean())
	if r.Ended == "diverged" {
		r.Result = Number(math.NaN())
		return r, nil
	}
	if tr.stage == 0 && len(r.Losses) >= screening {
		alive, err := t.alive(sv.Net(), np)
		if err != nil {
			return nil, err
		}
		if !alive && !tr.control {
			r.Ended = "died"
		}
	}
	if keep && r.Ended == "" {
		if err := sv.Snapshot(); err != nil {
			return nil, fmt.Errorf("variant %q: %w", tr.Name, err)
		}
		r.model, r.state = model, state
	}
	return r, nil
}

// mean returns the mean of a run's last losses.
func (r *Run) mean() float64 {
	last := r.Losses[max(0, len(r.Losses)-finalWindow):]
	var s float64
	for _, l := range last {
		s += float64(l)
	}
	return s / float64(len(last))
}

// alive reports whether the output of a net that was trained a little still
// depends on the image.
func (t *trying) alive(owner *graph.Net, np *caffepb.NetParameter) (_ bool, err error) {
	p := &probe{c: t.c, seed: 1, m: &Measurement{}, o: MeasureOptions{Batches: 1}}
	defer func() { err = errors.Join(err, p.Close()) }()
	if quiet := withoutNoise(np); quiet != nil {
		np = quiet
	}
	if p.net, err = graph.New(trainState(np), graph.Options{Seed: 1, ResolvePath: t.c.in.ResolvePath, Dir: t.c.Train.dir(), ShareParams: owner, NoLayout: true, NoFuse: true}); err != nil {
		return false, err
	}
	p.still = p.net
	if err := p.prepare(); err != nil {
		return false, err
	}
	if err := p.forward(); err != nil {
		return false, err
	}
	p.report()
	l := p.m.mainLoss()
	// The scores are compared with what is usual of live nets much later: a net
	// that says a hundredth is on its way.
	return l == nil || p.samples < 2 || !(float64(l.Share) < deadShare && !l.moves() || l.Output.RMS == 0), nil
}

// pace returns the seconds an iteration takes: the median of the last ones.
func (t *trying) pace() float64 {
	s := slices.Clone(t.seconds[max(0, len(t.seconds)-50):])
	if len(s) == 0 {
		return 0
	}
	slices.Sort(s)
	return s[len(s)/2]
}
