package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"crema/internal/glog"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

func init() {
	register(command{name: "train", args: "", summary: "train or finetune a model", group: groupTrain, run: runTrain})
}

// onNaNs are the values of -on-nan.
var onNaNs = map[string]solver.OnNaN{"stop": solver.OnNaNStop, "continue": solver.OnNaNContinue, "rollback": solver.OnNaNRollback}

// runTrain trains as a solver file says (train in Caffe's tools/caffe.cpp).
// SIGINT (and SIGTERM) and SIGHUP do what -sigint_effect and -sighup_effect say;
// a stop snapshots and is a success. A SIGINT while an earlier one waits to stop
// ends the program at once, without a snapshot and with status 130. A loss that goes
// wrong does what -on-nan says.
func runTrain(args []string, s stdio) (err error) {
	fs := newFlags("train", "", s)
	f := addRunFlags(fs)
	file := fs.String("solver", "", "the solver, a prototxt `file`")
	snapshot := fs.String("snapshot", "", "resume from this .solverstate or .solverstate.h5 `file`; auto: from the newest of the solver's prefix that is whole, or begin anew if there is none")
	keep := fs.Int("keep", 0, "keep the newest `N` snapshots and remove older ones; 0 keeps all")
	sigint := fs.String("sigint_effect", "stop", "what SIGINT and SIGTERM do: stop (again: end at once), snapshot or none")
	onNaN := fs.String("on-nan", "stop", "what to do when a loss is NaN, infinite or at its floor: stop (after a snapshot), continue (as caffe) or rollback (to the last snapshot, with a tenth of the rate)")
	sighup := fs.String("sighup_effect", "snapshot", "what SIGHUP does: stop, snapshot or none")
	watched := addWatchFlags(fs)
	f.accept(fs, "model", "phase", "iterations")
	r, err := f.start(fs, args, s)
	if err != nil {
		return err
	}
	defer func() { err = r.Close(err) }()
	if err := need(fs, "solver"); err != nil {
		return err
	}
	if *keep < 0 {
		return usageError{fmt.Errorf("-keep=%d: must not be negative", *keep)}
	}
	if *snapshot != "" && *snapshot != solver.SnapshotAuto && f.weights != "" {
		return usageError{errors.New("give -snapshot to resume training or -weights to finetune, not both")}
	}
	onInt, err := parseEffect("sigint_effect", *sigint)
	if err != nil {
		return err
	}
	onHup, err := parseEffect("sighup_effect", *sighup)
	if err != nil {
		return err
	}
	nan, ok := onNaNs[*onNaN]
	if !ok {
		return usageError{fmt.Errorf("-on-nan=%s: must be stop, continue or rollback", *onNaN)}
	}
	sp, err := prototxt.Reader{Log: r.log.Logger}.Solver(*file)
	if err != nil {
		return err
	}
	if err := r.sets.ApplySolver(sp); err != nil {
		return err
	}
	r.applyTrainFlags(sp, f)
	if len(sp.Weights) == 0 && len(r.load.From) > 0 {
		return errMapAlone
	}
	r.useCPU(f.gpu, sp)

	sig := watchSignals(onInt, onHup, r.noteSignal, r.abort)
	defer sig.Close()
	var bar *progress
	o := solver.Options{
		File: *file, Snapshot: *snapshot, Keep: *keep, Log: r.log.Logger, ResolvePath: r.roots.Resolve, Load: r.load, EditNet: r.sets.ApplyNet,
		Action: sig.poll, OnNaN: nan,
		OnIteration: func(p solver.Progress) {
			bar.update(p.Iter, p.Smoothed, p.Images, p.Seconds)
		},
	}
	w, err := watched.prepare(&o, sp, r.log.Logger)
	if err != nil {
		return err
	}
	defer func() { err = w.close(err) }()
	sv, err := solver.New(sp, o)
	if err != nil {
		return fmt.Errorf("%s: %w", *file, err)
	}
	defer func() { err = errors.Join(err, sv.Close()) }()
	if err := r.sets.Unused(); err != nil {
		return err
	}
	if err := w.start(sv); err != nil {
		return err
	}
	glog.Infof(r.log.Logger, "Starting Optimization")
	bar = r.console.startProgress(sv.Iter(), int(sp.GetMaxIter()))
	defer bar.stop()
	if err := sv.Solve(); err != nil {
		return fmt.Errorf("iteration %d: %w", sv.Iter(), err)
	}
	bar.stop()
	if m := peakMemory(); m > 0 {
		glog.Infof(r.log.Logger, "Peak memory: %.3g GB", float64(m)/1e9)
	}
	glog.Infof(r.log.Logger, "Optimization Done.")
	return nil
}

// applyTrainFlags puts the flags that have a solver field there. As with
// caffe, -level replaces the solver's level even when it is not given.
func (r *runEnv) applyTrainFlags(sp *caffepb.SolverParameter, f *netFlags) {
	if sp.TrainState == nil {
		sp.TrainState = &caffepb.NetState{}
	}
	if l := sp.TrainState.GetLevel(); l != 0 && int(l) != f.level {
		glog.Warnf(r.log.Logger, "-level=%d replaces the level %d of the solver's train_state", f.level, l)
	}
	sp.TrainState.Level = proto.Int32(int32(f.level))
	sp.TrainState.Stage = append(sp.TrainState.Stage, splitList(f.stage)...)
	if f.weights != "" {
		sp.Weights = []string{f.weights}
	}
}

// noteSignal says in the log what a signal will do.
func (r *runEnv) noteSignal(name string, a solver.Action) {
	switch a {
	case solver.ActionStop:
		again := ""
		if name != "SIGHUP" {
			again = "; once more to end now, without one"
		}
		glog.Infof(r.log.Logger, "%s: stopping with a snapshot after this iteration%s", name, again)
	case solver.ActionSnapshot:
		glog.Infof(r.log.Logger, "%s: taking a snapshot after this iteration", name)
	default:
		glog.Infof(r.log.Logger, "%s: ignored", name)
	}
}

// abort ends the program after a second SIGINT or SIGTERM with the status that
// shells give to that signal.
func (r *runEnv) abort(name string) {
	glog.Errorf(r.log.Logger, "%s again: ending now, without a snapshot", name)
	r.console.hideProgress()
	r.log.Close(nil)
	if name == "SIGTERM" {
		os.Exit(128 + int(syscall.SIGTERM))
	}
	os.Exit(128 + int(syscall.SIGINT))
}

// peakMemory returns the most memory the process had in RAM so far, in bytes,
// or 0 on systems without Linux's /proc.
func peakMemory() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}
