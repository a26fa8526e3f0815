package main

import (
	"errors"
	"flag"
	"log/slog"
	"slices"

	"crema/prototxt/caffepb"
	"crema/solver"
	"crema/watch"
)

// watchFlags are the flags of train that say how to watch a run.
type watchFlags struct {
	dir, name, plots string
	http             *httpFlags
}

func addWatchFlags(fs *flag.FlagSet) *watchFlags {
	f := &watchFlags{http: addHTTPFlags(fs)}
	fs.StringVar(&f.dir, "watch", "", "record the run in this `folder`, as CSV and for TensorBoard, in a folder of its own")
	fs.StringVar(&f.name, "run-name", "", "`name` of the run's folder; the solver file's with date and time if not given. A run resumed under its name goes on in its files")
	fs.StringVar(&f.plots, "plots", "", "write plots of the run to this `folder` at the end")
	return f
}

// watchFlagNames are the flags that addWatchFlags adds.
var watchFlagNames = []string{"watch", "run-name", "plots", "http", "http-token"}

// watchArgs returns those that were given, to be passed on to train.
func watchArgs(fs *flag.FlagSet) []string {
	var args []string
	fs.Visit(func(f *flag.Flag) {
		if slices.Contains(watchFlagNames, f.Name) {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	return args
}

// A watching is what watches a run. Its methods do nothing on a nil watching.
type watching struct {
	flags   *watchFlags
	rec     *watch.Recorder
	page    *page
	control *control
}

// prepare makes ready to watch the run of a solver that is about to be made
// from options, which it changes. It returns nil if no flag asks for it.
func (f *watchFlags) prepare(o *solver.Options, sp *caffepb.SolverParameter, log *slog.Logger) (*watching, error) {
	if f.name != "" && f.dir == "" {
		return nil, usageError{errors.New("-run-name needs -watch")}
	}
	page, err := f.http.open(log)
	if err != nil || page == nil && f.dir == "" && f.plots == "" {
		return nil, err
	}
	rec, err := watch.New(watch.Options{Solver: sp, File: o.File, Dir: f.dir, Name: f.name, Plots: f.plots, Log: log})
	if err != nil {
		return nil, errors.Join(usageError{err}, page.Close())
	}
	w := &watching{flags: f, rec: rec, page: page}
	rec.Install(o)
	if page != nil {
		w.control = newControl(o.Action, log)
		o.Action = w.control.action
	}
	return w, nil
}

// start begins to watch, before the solver trains.
func (w *watching) start(sv *solver.Solver) error {
	if w == nil {
		return nil
	}
	if err := w.rec.Start(sv); err != nil {
		return err
	}
	if w.page != nil {
		w.control.snapshot, w.control.setPaused = sv.Snapshot, w.rec.SetPaused
		w.page.start(w.rec, w.control, w.flags.dir)
	}
	return nil
}

// close ends the watching of a run that ended with err, and returns err with
// what went wrong in watching.
func (w *watching) close(err error) error {
	if w == nil {
		return err
	}
	return errors.Join(err, w.rec.Close(err), w.page.Close())
}
