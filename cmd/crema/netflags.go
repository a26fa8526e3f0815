package main

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"crema/asm"
	"crema/graph"
	"crema/internal/glog"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// netFlags are the flags of the commands that run a net.
type netFlags struct {
	model, weights, phase, stage, gpu string
	level, threads                    int
	iterations                        *int // the default differs between commands
	sets, roots, weightsMap           listFlag
	weightsAny                        bool
	log                               *logFlags
	ignored                           []string
}

// addRunFlags adds those flags that say how to run, not what.
func addRunFlags(fs *flag.FlagSet) *netFlags {
	f := &netFlags{log: addLogFlags(fs)}
	fs.StringVar(&f.weights, "weights", "", "trained weights: `files`, separated by commas")
	fs.BoolVar(&f.weightsAny, "weights-any", false, "go on if nothing in a file of -weights has the name of a layer with parameters")
	fs.Var(&f.weightsMap, "weights-map", "`LAYER=OTHER,…`: layers of the net take their parameters from these layers of the -weights files, also in another shape of as many values (fc6_conv=fc6); LAYER= takes nothing; repeatable")
	fs.IntVar(&f.level, "level", 0, "network level")
	fs.StringVar(&f.stage, "stage", "", "network `stages`, separated by commas (not to be confused with phase)")
	fs.StringVar(&f.gpu, "gpu", "", "accepted for Caffe's sake; the CPU is used")
	fs.IntVar(&f.threads, "threads", 0, "`number` of threads that compute; 0 is one per core")
	fs.Var(&f.sets, "set", "`FIELD=VALUE` overrides a field of the prototxt files (max_iter=100, layer.conv*.convolution_param.bias_term=false); repeatable")
	fs.Var(&f.roots, "data-root", "`OLD=NEW` replaces a path, or the folder it begins with, in the prototxt files; repeatable")
	return f
}

// addNetFlags adds the flags of a command that runs one net.
func addNetFlags(fs *flag.FlagSet) *netFlags {
	f := addRunFlags(fs)
	fs.StringVar(&f.model, "model", "", "the net, a prototxt `file`")
	fs.StringVar(&f.phase, "phase", "", "network `phase`, TRAIN or TEST")
	return f
}

// accept adds flags that caffe takes with every action, though this one does
// not look at them; a line in the log says so when one is given.
func (f *netFlags) accept(fs *flag.FlagSet, names ...string) {
	for _, n := range names {
		if fs.Lookup(n) == nil {
			fs.String(n, "", "accepted for Caffe's sake; no effect here")
		}
		f.ignored = append(f.ignored, n)
	}
}

// need reports the first of the named flags that has no value.
func need(fs *flag.FlagSet, names ...string) error {
	for _, n := range names {
		if fs.Lookup(n).Value.String() == "" {
			return usageError{fmt.Errorf("needs -%s; 'crema %s --help' lists the flags", n, fs.Name())}
		}
	}
	return nil
}

// parsePhase reads the value of -phase.
func parsePhase(v string, unset caffepb.Phase) (caffepb.Phase, error) {
	switch v {
	case "":
		return unset, nil
	case "TRAIN":
		return caffepb.Phase_TRAIN, nil
	case "TEST":
		return caffepb.Phase_TEST, nil
	}
	return 0, usageError{fmt.Errorf("-phase=%s: must be TRAIN or TEST", v)}
}

// splitList splits a comma-separated list, dropping empty items.
func splitList(s string) []string {
	var list []string
	for x := range strings.SplitSeq(s, ",") {
		if x = strings.TrimSpace(x); x != "" {
			list = append(list, x)
		}
	}
	return list
}

// A runEnv is what a command that runs a net has beside its flags.
type runEnv struct {
	console *console
	log     *runLog
	sets    *prototxt.Overrides
	load    graph.LoadOptions
	roots   prototxt.Roots
}

// maxThreads is the largest -threads, unless the machine has more processors.
const maxThreads = 1024

// checkThreads reports why -threads cannot have the value n.
func checkThreads(n int) error {
	switch cpus := runtime.NumCPU(); {
	case n < 0:
		return usageError{fmt.Errorf("-threads=%d: must not be negative", n)}
	case n > max(maxThreads, cpus):
		return usageError{fmt.Errorf("-threads=%d: must be at most %d; this machine has %d processors, and more threads than that gain nothing", n, max(maxThreads, cpus), cpus)}
	}
	return nil
}

// start is startArgs of a command that takes flags only.
func (f *netFlags) start(fs *flag.FlagSet, args []string, s stdio) (*runEnv, error) {
	pos, err := parseFlags(fs, args)
	if err != nil {
		return nil, err
	}
	if len(pos) > 0 {
		return nil, usageError{fmt.Errorf("unexpected argument %q", pos[0])}
	}
	return f.begin(fs, s)
}

// startArgs parses the arguments, opens the log and sets the number of threads.
// It returns the arguments that are not flags.
func (f *netFlags) startArgs(fs *flag.FlagSet, args []string, s stdio) (*runEnv, []string, error) {
	pos, err := parseFlags(fs, args)
	if err != nil {
		return nil, nil, err
	}
	r, err := f.begin(fs, s)
	return r, pos, err
}

// begin does what start does after the arguments were parsed.
func (f *netFlags) begin(fs *flag.FlagSet, s stdio) (_ *runEnv, err error) {
	if f.iterations != nil && *f.iterations < 1 {
		return nil, usageError{fmt.Errorf("-iterations=%d: must be at least 1", *f.iterations)}
	}
	if err := checkThreads(f.threads); err != nil {
		return nil, err
	}
	if err := asm.EnvError(); err != nil {
		return nil, err
	}
	r := &runEnv{console: newConsole(s.err)}
	if r.sets, err = prototxt.ParseOverrides(f.sets); err != nil {
		return nil, usageError{err}
	}
	if r.roots, err = prototxt.ParseRoots(f.roots); err != nil {
		return nil, usageError{err}
	}
	if r.load, err = f.loadOptions(); err != nil {
		return nil, usageError{err}
	}
	if r.log, err = f.log.open(r.console); err != nil {
		return nil, err
	}
	if f.threads > 0 {
		runtime.GOMAXPROCS(f.threads)
	}
	fs.Visit(func(x *flag.Flag) {
		if slices.Contains(f.ignored, x.Name) {
			glog.Warnf(r.log.Logger, "-%s has no effect on %s", x.Name, fs.Name())
		}
	})
	return r, nil
}

// errMapAlone says that -weights-map is of no use.
var errMapAlone = usageError{errors.New("-weights-map says where weights go, and there is no -weights")}

// loadOptions reads -weights-any and -weights-map.
func (f *netFlags) loadOptions() (graph.LoadOptions, error) {
	o := graph.LoadOptions{Any: f.weightsAny, From: map[string]string{}}
	for _, m := range f.weightsMap {
		for _, pair := range splitList(m) {
			to, from, ok := strings.Cut(pair, "=")
			old, given := o.From[to]
			switch {
			case !ok || to == "":
				return o, fmt.Errorf("-weights-map %s: want LAYER=OTHER: a layer of the net and one of the weights", pair)
			case given && old != from:
				return o, fmt.Errorf("-weights-map: layer %q is given both %q and %q", to, old, from)
			}
			o.From[to] = from
		}
	}
	return o, nil
}

// Close closes the log; err is what the command ended with, which it returns.
func (r *runEnv) Close(err error) error {
	if err == nil {
		return r.log.Close(nil)
	}
	var exit exitError
	if errors.As(err, &exit) {
		return errors.Join(err, r.log.Close(nil))
	}
	return r.log.Close(err)
}

// useCPU logs what computes: always the CPU, whatever asked for a GPU.
func (r *runEnv) useCPU(gpu string, sp *caffepb.SolverParameter) {
	asked := ""
	switch {
	case gpu != "":
		asked = "-gpu=" + gpu
	case sp != nil && sp.SolverMode != nil && sp.GetSolverMode() == caffepb.SolverParameter_GPU:
		asked = "solver_mode: GPU"
	}
	if asked != "" {
		glog.Infof(r.log.Logger, "%s is ignored: crema computes on the CPU.", asked)
	}
	glog.Infof(r.log.Logger, "Use CPU.")
}

// loadNet builds the net of -model, with -set applied, and loads -weights.
func (r *runEnv) loadNet(f *netFlags, phase caffepb.Phase, seed uint64) (*graph.Net, error) {
	np, src, err := r.readNet(f, phase)
	if err != nil {
		return nil, err
	}
	return r.buildNet(f, np, src, graph.Options{Seed: seed, Log: r.log.Logger})
}

// readNet reads the net of -model and applies -set.
func (r *runEnv) readNet(f *netFlags, phase caffepb.Phase) (*caffepb.NetParameter, *prototxt.Source, error) {
	r.useCPU(f.gpu, nil)
	np, src, err := prototxt.ReadNetPos(f.model)
	if err != nil {
		return nil, nil, err
	}
	src.Notes.Log(r.log.Logger, f.model)
	graph.SetState(np, phase, f.level, splitList(f.stage))
	if err := r.sets.ApplyNet(np); err != nil {
		return nil, nil, err
	}
	return np, src, r.sets.Unused()
}

// buildNet builds a net that was read from -model and loads -weights.
func (r *runEnv) buildNet(f *netFlags, np *caffepb.NetParameter, src *prototxt.Source, o graph.Options) (*graph.Net, error) {
	o.ResolvePath, o.Dir = r.roots.Resolve, filepath.Dir(f.model)
	net, err := graph.New(np, o)
	if err != nil {
		return nil, graph.Locate(src, err)
	}
	var files []string
	for _, w := range splitList(f.weights) {
		files = append(files, r.roots.Resolve(w))
	}
	switch {
	case len(files) > 0:
		err = net.LoadFiles(files, r.load)
	case len(r.load.From) > 0:
		err = errMapAlone
	}
	if err != nil {
		return nil, errors.Join(err, net.Close())
	}
	return net, nil
}
