package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"crema/doctor"
	"crema/internal/atomicfile"
	"crema/plot"
)

func init() {
	register(command{name: "doctor", args: "", summary: "find out why a net does not train", group: groupTrain, run: runDoctor})
}

// doctorReport is what -json writes. Parts that were not asked for are left
// out.
type doctorReport struct {
	Findings    []doctor.Finding    `json:"findings"`
	Measurement *doctor.Measurement `json:"measurement,omitempty"`
	Tried       *doctor.Tried       `json:"tried,omitempty"`
	Rates       *doctor.RateRange   `json:"rates,omitempty"`
}

// runDoctor reads what a training run would read, says what is wrong with it,
// and measures the net on real batches; or, with -try, -lr-find and -lsuv, runs
// experiments. What it finds does not change its exit status; only what keeps
// it from looking does.
func runDoctor(args []string, s stdio) (err error) {
	fs := newFlags("doctor", "", s)
	f := addRunFlags(fs)
	var in doctor.Inputs
	fs.StringVar(&in.Solver, "solver", "", "the solver, a prototxt `file`")
	fs.StringVar(&in.Model, "model", "", "the net, a prototxt `file`; with -solver, in place of the solver's")
	fs.StringVar(&in.Snapshot, "snapshot", "", "look at the run that wrote this .solverstate or .solverstate.h5 `file`")
	measure := fs.Bool("measure", true, "run the net on a few batches; -nomeasure only reads the files")
	batches := fs.Int("batches", 0, "`number` of batches to measure; 0 is as many as have 18 images, at most 8")
	try := fs.Bool("try", false, "run experiments: train variants of the solver and the net on a small fixed set of images and rank them")
	var e experimentFlags
	e.add(fs)
	chart := fs.String("plot", "", "draw signal and gradients by depth to this .svg or .png `file`")
	asJSON := fs.Bool("json", false, "write everything as JSON")
	r, err := f.start(fs, args, s)
	if err != nil {
		return err
	}
	defer func() { err = r.Close(err) }()
	switch {
	case in.Solver == "" && in.Model == "":
		return usageError{fmt.Errorf("needs -solver or -model; 'crema doctor --help' lists the flags")}
	case in.Snapshot != "" && f.weights != "":
		return usageError{fmt.Errorf("give -snapshot or -weights, not both")}
	case in.Snapshot != "" && in.Solver == "":
		return usageError{fmt.Errorf("-snapshot needs -solver")}
	case in.Snapshot != "" && (*try || e.lrFind || e.lsuv != ""):
		return usageError{fmt.Errorf("-snapshot is for measuring; experiments can start from -weights")}
	case *batches < 0:
		return usageError{fmt.Errorf("-batches=%d: must not be negative", *batches)}
	case *chart != "" && !*measure:
		return usageError{fmt.Errorf("-plot shows what was measured: it does not go with -nomeasure")}
	}
	if *chart != "" {
		if err := plot.CheckName(*chart); err != nil {
			return usageError{fmt.Errorf("-plot: %w", err)}
		}
	}
	if err := e.check(*try, in.Solver); err != nil {
		return usageError{err}
	}
	in.Weights, in.Load, in.Sets, in.ResolvePath = f.weights, r.load, r.sets, r.roots.Resolve
	in.Level, in.Stages = f.level, splitList(f.stage)
	var log *slog.Logger
	if f.log.v > 0 {
		log = r.log.Logger
	}
	in.Log = log
	c, err := doctor.Open(in)
	if err != nil {
		return err
	}
	if err := r.sets.Unused(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	d := &doctorRun{s: s, json: *asJSON}
	switch {
	case e.lsuv != "":
		if err := c.UnitVariance(e.lsuv, log); err != nil {
			return err
		}
		_, err := fmt.Fprintf(s.out, "Wrote unit-variance weights to %s; start training from them with --weights %s\n", e.lsuv, e.lsuv)
		return err
	case e.lrFind:
		if d.report.Rates, err = c.FindRate(ctx, doctor.RateOptions{Iterations: e.iterations, Log: log}); err != nil {
			return err
		}
		return d.finish(saveChart(d.report.Rates.Chart(), *chart))
	case *try:
		d.report.Tried, err = c.Try(ctx, e.options(f, in, log, s.err))
		if err != nil {
			return err
		}
		return d.finish(e.write(d.report.Tried))
	}
	d.report.Findings = c.Check(ctx)
	if !*measure {
		return d.finish(nil)
	}
	m, err := c.Measure(doctor.MeasureOptions{Batches: *batches, Log: log})
	switch {
	case errors.Is(err, doctor.ErrNoData):
		d.unmeasured = err
		return d.finish(nil)
	case err != nil:
		return d.finish(fmt.Errorf("cannot measure the net: %w", err))
	}
	d.report.Measurement = m
	d.report.Findings = c.Join(d.report.Findings, m.Findings())
	return d.finish(saveChart(m.Chart(), *chart))
}

// saveChart writes the chart if a file is named.
func saveChart(c *plot.Chart, file string) error {
	if file == "" {
		return nil
	}
	return c.Save(file)
}

// experimentFlags are the flags of -try, -lr-find and -lsuv.
type experimentFlags struct {
	budget              float64
	seeds, images, crop int
	variants            listFlag
	out, lsuv           string
	lrFind              bool
	iterations          int
	parsed              []doctor.Variant
}

func (e *experimentFlags) add(fs *flag.FlagSet) {
	fs.Float64Var(&e.budget, "budget", 30, "`minutes` that -try may take")
	fs.IntVar(&e.seeds, "seeds", 2, "runs with different seeds that -try gives to the best variants")
	fs.IntVar(&e.images, "images", 64, "`number` of training images in the fixed set of -try")
	fs.IntVar(&e.crop, "crop", 0, "crop_size that -try trains with; 0 is the smallest multiple of 32 from 96 that the net can be built with, or the configured one if that is smaller")
	fs.Var(&e.variants, "variant", "`'NAME: --set A=B …'`, one more variant for -try; repeatable")
	fs.StringVar(&e.out, "out", "", "`folder` that -try writes try.json, try.txt, try.svg and try.png to, made if need be")
	fs.BoolVar(&e.lrFind, "lr-find", false, "test a range of learning rates; -plot draws it")
	fs.IntVar(&e.iterations, "iterations", 100, "`number` of iterations of -lr-find")
	fs.StringVar(&e.lsuv, "lsuv", "", "write layer-sequential unit-variance weights to this .caffemodel `file`")
}

// check reports flags that make no sense.
func (e *experimentFlags) check(try bool, solver string) error {
	modes := 0
	for _, on := range []bool{try, e.lrFind, e.lsuv != ""} {
		if on {
			modes++
		}
	}
	switch {
	case modes > 1:
		return errors.New("give one of -try, -lr-find and -lsuv")
	case (try || e.lrFind) && solver == "":
		return errors.New("-try and -lr-find need -solver")
	case !(e.budget > 0):
		return fmt.Errorf("-budget=%g: must be above 0", e.budget)
	case e.seeds < 1:
		return fmt.Errorf("-seeds=%d: must be at least 1", e.seeds)
	case e.images < 2:
		return fmt.Errorf("-images=%d: must be at least 2", e.images)
	case e.crop < 0:
		return fmt.Errorf("-crop=%d: must not be negative", e.crop)
	case e.iterations < 10:
		return fmt.Errorf("-iterations=%d: must be at least 10", e.iterations)
	case !try && (len(e.variants) > 0 || e.out != ""):
		return errors.New("-variant and -out go with -try")
	}
	for _, s := range e.variants {
		v, err := doctor.ParseVariant(s)
		if err != nil {
			return fmt.Errorf("-variant: %w", err)
		}
		e.parsed = append(e.parsed, v)
	}
	return nil
}

// options returns the options of -try; progress goes to w.
func (e *experimentFlags) options(f *netFlags, in doctor.Inputs, log *slog.Logger, w io.Writer) doctor.TryOptions {
	var args []string
	if in.Model != "" {
		args = append(args, "--set", "net="+in.Model)
	}
	for _, s := range f.sets {
		args = append(args, "--set", s)
	}
	for _, r := range f.roots {
		args = append(args, "--data-root", r)
	}
	if f.level != 0 {
		args = append(args, fmt.Sprintf("--level=%d", f.level))
	}
	if f.stage != "" {
		args = append(args, "--stage="+f.stage)
	}
	if f.weights != "" {
		args = append(args, "--weights="+f.weights)
	}
	for _, m := range f.weightsMap {
		args = append(args, "--weights-map", m)
	}
	if f.weightsAny {
		args = append(args, "--weights-any")
	}
	return doctor.TryOptions{
		Budget: time.Duration(e.budget * float64(time.Minute)), Seeds: e.seeds, Images: e.images, Crop: e.crop, Variants: e.parsed, Args: args,
		Progress: func(line string) { fmt.Fprintln(w, line) }, Log: log,
	}
}

// write writes the outcome of -try to the folder of -out.
func (e *experimentFlags) write(t *doctor.Tried) error {
	if e.out == "" {
		return nil
	}
	if err := os.MkdirAll(e.out, 0o777); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	c := t.Chart()
	return cmp.Or(
		atomicfile.Write(filepath.Join(e.out, "try.json"), func(w io.Writer) error { return writeJSON(w, t) }),
		atomicfile.Write(filepath.Join(e.out, "try.txt"), t.WriteText),
		c.Save(filepath.Join(e.out, "try.svg")),
		c.Save(filepath.Join(e.out, "try.png")),
	)
}

// doctorRun is what a run of the command has found so far.
type doctorRun struct {
	s      stdio
	json   bool
	report doctorReport
	// unmeasured says why there is no measurement, though nothing is wrong.
	unmeasured error
}

// finish writes the report; err is what kept it from being whole, which it
// returns.
func (d *doctorRun) finish(err error) error {
	if d.report.Findings == nil {
		d.report.Findings = []doctor.Finding{}
	}
	if d.json {
		return cmp.Or(err, writeJSON(d.s.out, d.report))
	}
	r := &d.report
	var werr error
	switch {
	case r.Tried != nil:
		werr = r.Tried.WriteText(d.s.out)
	case r.Rates != nil:
		werr = r.Rates.WriteText(d.s.out)
	default:
		fmt.Fprintf(d.s.out, "%s\n\n", doctor.Verdict(r.Findings))
		werr = doctor.WriteText(d.s.out, r.Findings)
		if r.Measurement != nil && werr == nil {
			fmt.Fprintln(d.s.out)
			werr = r.Measurement.WriteText(d.s.out)
		}
		if d.unmeasured != nil {
			fmt.Fprintf(d.s.out, "\nNot measured: %v\n", d.unmeasured)
		}
	}
	return cmp.Or(err, werr)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
