package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"crema/graph"
	"crema/netinfo"
	"crema/prototxt"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// shapeFlags are the flags of the commands that look at a net without running
// it.
type shapeFlags struct {
	model, phase, stage string
	level               int
	sets, roots         listFlag
	shapes              shapeFlag
	log                 *logFlags
}

func addShapeFlags(fs *flag.FlagSet) *shapeFlags {
	f := &shapeFlags{log: addLogFlags(fs)}
	fs.StringVar(&f.model, "model", "", "the net, a prototxt `file`; it may also stand without the flag")
	fs.StringVar(&f.phase, "phase", "", "network `phase`, TRAIN or TEST (default TEST, or TRAIN if the net is for training only)")
	fs.IntVar(&f.level, "level", 0, "network level")
	fs.StringVar(&f.stage, "stage", "", "network `stages`, separated by commas")
	fs.Var(&f.sets, "set", "`FIELD=VALUE` overrides a field of the prototxt file (layer.data.data_param.batch_size=1); repeatable")
	fs.Var(&f.roots, "data-root", "`OLD=NEW` replaces a path, or the folder it begins with, in the prototxt file; repeatable")
	fs.Var(&f.shapes, "shape", "`BLOB=SHAPE` (data=1x3x224x224) is the shape of an input, in place of that of the data; repeatable")
	return f
}

// shapeFlag is the repeatable flag -shape BLOB=SHAPE.
type shapeFlag map[string][]int

// String implements flag.Value.
func (f *shapeFlag) String() string { return "" }

// Set implements flag.Value.
func (f *shapeFlag) Set(v string) error {
	blob, list, ok := strings.Cut(v, "=")
	if !ok || blob == "" {
		return errors.New("want BLOB=SHAPE, such as data=1x3x224x224")
	}
	var shape []int
	for d := range strings.SplitSeq(strings.NewReplacer("×", "x", ",", "x").Replace(list), "x") {
		n, err := strconv.Atoi(strings.TrimSpace(d))
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a positive whole number: want BLOB=SHAPE, such as data=1x3x224x224", d)
		}
		shape = append(shape, n)
	}
	if *f == nil {
		*f = shapeFlag{}
	}
	(*f)[blob] = shape
	return nil
}

// A netFile is a net that was read, to be looked at in either phase.
type netFile struct {
	flags *shapeFlags
	src   *prototxt.Source
	np    *caffepb.NetParameter
	roots prototxt.Roots
	// phase that -phase asks for; nil if it does not.
	phase *caffepb.Phase
}

// read reads the net. What is wrong with an upgrade is logged.
func (f *shapeFlags) read(log *runLog) (*netFile, error) {
	n := &netFile{flags: f}
	if f.phase != "" {
		p, err := parsePhase(f.phase, 0)
		if err != nil {
			return nil, err
		}
		n.phase = p.Enum()
	}
	sets, err := prototxt.ParseOverrides(f.sets)
	if err != nil {
		return nil, usageError{err}
	}
	if n.roots, err = prototxt.ParseRoots(f.roots); err != nil {
		return nil, usageError{err}
	}
	if n.np, n.src, err = prototxt.ReadNetPos(f.model); err != nil {
		return nil, err
	}
	problems := slices.DeleteFunc(slices.Clone(n.src.Notes), func(n prototxt.Note) bool { return n.Level < slog.LevelWarn })
	problems.Log(log.Logger, f.model)
	if err := sets.ApplyNet(n.np); err != nil {
		return nil, err
	}
	return n, sets.Unused()
}

// takeModel sets -model to the first positional argument if the flag was not
// given, and returns the other arguments.
func (f *shapeFlags) takeModel(fs *flag.FlagSet, pos []string) ([]string, error) {
	if f.model == "" && len(pos) > 0 {
		f.model, pos = pos[0], pos[1:]
	}
	return pos, need(fs, "model")
}

// in returns the net in a phase.
func (n *netFile) in(phase caffepb.Phase) *caffepb.NetParameter {
	np := proto.CloneOf(n.np)
	graph.SetState(np, phase, n.flags.level, splitList(n.flags.stage))
	return np
}

// info describes the net in a phase.
func (n *netFile) info(phase caffepb.Phase) (*netinfo.Info, error) {
	i, err := netinfo.Of(n.in(phase), netinfo.SourceOptions{Shapes: n.flags.shapes, ResolvePath: n.roots.Resolve, Dir: filepath.Dir(n.flags.model)})
	if err != nil {
		return nil, graph.Locate(n.src, err)
	}
	return i, nil
}

// hasSource reports whether the net has an input in a phase; if not, it is not
// meant for it.
func (n *netFile) hasSource(phase caffepb.Phase) bool {
	kept, _, err := graph.Select(n.in(phase))
	return err != nil || slices.ContainsFunc(kept, graph.IsSource)
}

// show returns the phase to show: that of -phase, or TEST, or TRAIN if the net
// is for that only.
func (n *netFile) show() caffepb.Phase {
	switch {
	case n.phase != nil:
		return *n.phase
	case !n.hasSource(caffepb.Phase_TEST) && n.hasSource(caffepb.Phase_TRAIN):
		return caffepb.Phase_TRAIN
	}
	return caffepb.Phase_TEST
}

// phases describes the net in the phase to show and, if it can be built there
// too, in the other one.
func (n *netFile) phases() ([]*netinfo.Info, error) {
	phase := n.show()
	i, err := n.info(phase)
	if err != nil {
		return nil, err
	}
	all := []*netinfo.Info{i}
	if o, err := n.info(1 - phase); err == nil {
		all = append(all, o)
	}
	return all, nil
}

// outline is what the file says of the net, without shapes.
func (n *netFile) outline() (*netinfo.Info, error) {
	i, err := netinfo.Outline(n.in(n.show()))
	if err != nil {
		return nil, graph.Locate(n.src, err)
	}
	return i, nil
}
