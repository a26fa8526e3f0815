package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"crema/graph"
	"crema/internal/glog"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// Inputs say what to look at. Either Solver or Model is needed.
type Inputs struct {
	// Solver is the path of a solver prototxt, Model that of a net. With both,
	// Model replaces the solver's nets.
	Solver, Model string
	// Weights has .caffemodel files that training starts from, comma-separated
	// as in the solver's field; Snapshot a .solverstate that it resumes from.
	// With either, fillers do not matter.
	Weights, Snapshot string
	// Load says how the files of Weights find their layers.
	Load graph.LoadOptions
	// Sets are changes to the solver and the nets (--set); nil for none.
	Sets *prototxt.Overrides
	// ResolvePath maps paths of the prototxt files to paths that can be opened;
	// nil leaves them as they are.
	ResolvePath func(string) string
	// Level and Stages are added to the state of the TRAIN net.
	Level  int
	Stages []string
	// Log receives what upgrades did; nil drops it.
	Log *slog.Logger
}

// A Case is what a run would read.
type Case struct {
	// Solver is the solver with the overrides applied; nil if only a model was
	// given.
	Solver *caffepb.SolverParameter
	// Train is the net that is trained, Tests those that test it.
	Train *Net
	Tests []*Net

	in       Inputs
	src      *prototxt.Source // of the solver; nil without
	refusals []refusal        // what a solver would not begin with
	scan     int              // records of a database to look at in a row
	sources  map[string]*records
	means    map[string]*meanFile
	built    map[string]built // layers that were built for their shapes
}

// A refusal is a setting of the solver that makes it end at once.
type refusal struct{ field, what string }

// A Net is a net as one phase selects its layers.
type Net struct {
	// File it stands in.
	File string
	// Title is "train", "test" or, of several, "test 0", "test 1", ….
	Title string
	// Param is the whole net, upgraded, with overrides and state applied: what
	// graph.New takes.
	Param *caffepb.NetParameter

	src    *prototxt.Source
	prefix string // of the net's fields in src
	layers []*layer
	err    error // of the selection of layers
}

// dir is the folder of the net's file.
func (n *Net) dir() string { return filepath.Dir(n.File) }

// A layer is one that the net's state selects, with its wiring. Of its
// parameter, the messages that its type reads are never nil.
type layer struct {
	*caffepb.LayerParameter
	net     *Net
	index   int // in Net.Param.Layer
	bottoms []*blob
	tops    []*blob
	lost    []string // bottoms that no layer before it makes
	params  [][]int  // shapes of its parameters, as far as they are known
	refused error    // why it cannot be built
	unread  error    // why the files of its data cannot be read, where that shows in shapes
}

// A blob is what one layer writes. A layer that works in place makes another
// blob of the same name.
type blob struct {
	name    string
	by      *layer
	top     int // its number among by's tops
	readers []*layer
	shape   []int // 0 for an extent that is not known; nil if nothing is
	signal  signal
}

// Open reads the files that in names. An error means that one cannot be read
// or parsed; everything else that is wrong is left to Check.
func Open(in Inputs) (*Case, error) {
	if in.Log == nil {
		in.Log = glog.Discard
	}
	if in.ResolvePath == nil {
		in.ResolvePath = func(p string) string { return p }
	}
	c := &Case{in: in, scan: scanRecords, sources: map[string]*records{}, means: map[string]*meanFile{}, built: map[string]built{}}
	if err := c.open(); err != nil {
		return nil, err
	}
	for _, n := range c.nets() {
		n.wire()
	}
	return c, nil
}

func (c *Case) open() (err error) {
	if c.in.Solver == "" {
		if c.in.Model == "" {
			return errors.New("neither a solver nor a model is given")
		}
		return c.openModel()
	}
	if c.Solver, c.src, err = prototxt.ReadSolverPos(c.in.Solver); err != nil {
		return err
	}
	c.src.Notes.Log(c.in.Log, c.src.File)
	if err := c.in.Sets.ApplySolver(c.Solver); err != nil {
		return err
	}
	if c.in.Model != "" {
		return c.openModel()
	}
	return c.openNets()
}

// openModel reads the model as the train net and as the only test net.
func (c *Case) openModel() (err error) {
	if c.Train, err = c.read(c.in.Model, caffepb.Phase_TRAIN, nil); err != nil {
		return err
	}
	c.Train.Title = "train"
	test, err := c.read(c.in.Model, caffepb.Phase_TEST, nil)
	if err != nil {
		return err
	}
	test.Title = "test"
	c.Tests = []*Net{test}
	return nil
}

// openNets reads the nets that the solver names (Solver::InitTrainNet and
// InitTestNets in solver.cpp).
func (c *Case) openNets() (err error) {
	p := c.Solver
	state := &caffepb.NetState{}
	if p.TrainState != nil {
		state = proto.CloneOf(p.TrainState)
	}
	switch {
	case p.Net != nil:
		c.Train, err = c.read(p.GetNet(), caffepb.Phase_TRAIN, state)
	case p.TrainNet != nil:
		c.Train, err = c.read(p.GetTrainNet(), caffepb.Phase_TRAIN, state)
	case p.NetParam != nil:
		c.Train, err = c.inSolver(p.NetParam, "net_param.", caffepb.Phase_TRAIN, state)
	case p.TrainNetParam != nil:
		c.Train, err = c.inSolver(p.TrainNetParam, "train_net_param.", caffepb.Phase_TRAIN, state)
	default:
		return fmt.Errorf("%s names no net (net, net_param, train_net or train_net_param)", c.in.Solver)
	}
	if err != nil {
		return err
	}
	c.Train.Title = "train"
	testState := func() *caffepb.NetState {
		if i := len(c.Tests); i < len(p.TestState) {
			return p.TestState[i]
		}
		return nil
	}
	add := func(n *Net, err error) error {
		if err == nil {
			c.Tests = append(c.Tests, n)
		}
		return err
	}
	for i, np := range p.TestNetParam {
		if err := add(c.inSolver(np, fmt.Sprintf("test_net_param[%d].", i), caffepb.Phase_TEST, testState())); err != nil {
			return err
		}
	}
	for _, f := range p.TestNet {
		if err := add(c.read(f, caffepb.Phase_TEST, testState())); err != nil {
			return err
		}
	}
	for len(c.Tests) < len(p.TestIter) {
		switch {
		case p.Net != nil:
			err = add(c.read(p.GetNet(), caffepb.Phase_TEST, testState()))
		case p.NetParam != nil:
			err = add(c.inSolver(p.NetParam, "net_param.", caffepb.Phase_TEST, testState()))
		default:
			c.refuse("test_iter", "test_iter is given %d times for %d test nets", len(p.TestIter), len(c.Tests))
			p.TestIter = p.TestIter[:len(c.Tests)]
		}
		if err != nil {
			return err
		}
	}
	if len(p.TestIter) < len(c.Tests) {
		c.refuse("test_iter", "test_iter is given %d times for %d test nets", len(p.TestIter), len(c.Tests))
	}
	for i, n := range c.Tests {
		n.Title = "test"
		if len(c.Tests) > 1 {
			n.Title = fmt.Sprintf("test %d", i)
		}
	}
	return nil
}

func (c *Case) refuse(field, format string, args ...any) {
	c.refusals = append(c.refusals, refusal{field, fmt.Sprintf(format, args...)})
}

func (c *Case) read(path string, phase caffepb.Phase, over *caffepb.NetState) (*Net, error) {
	np, src, err := prototxt.ReadNetPos(c.in.ResolvePath(path))
	if err != nil {
		return nil, err
	}
	if phase == caffepb.Phase_TRAIN {
		src.Notes.Log(c.in.Log, src.File)
	}
	return c.newNet(np, src, "", phase, over)
}

func (c *Case) inSolver(np *caffepb.NetParameter, prefix string, phase caffepb.Phase, over *caffepb.NetState) (*Net, error) {
	np = proto.CloneOf(np)
	if _, err := prototxt.UpgradeNet(np); err != nil {
		return nil, fmt.Errorf("%s: %w", c.src.At(strings.TrimSuffix(prefix, ".")), err)
	}
	return c.newNet(np, c.src, prefix, phase, over)
}

func (c *Case) newNet(np *caffepb.NetParameter, src *prototxt.Source, prefix string, phase caffepb.Phase, over *caffepb.NetState) (*Net, error) {
	if err := c.in.Sets.ApplyNet(np); err != nil {
		return nil, fmt.Errorf("%s: %w", src.File, err)
	}
	st := &caffepb.NetState{Phase: phase.Enum()}
	proto.Merge(st, np.GetState())
	if over != nil {
		proto.Merge(st, over)
	}
	st.Phase = phase.Enum()
	if phase == caffepb.Phase_TRAIN {
		if c.in.Level != 0 {
			st.Level = proto.Int32(int32(c.in.Level))
		}
		st.Stage = append(st.Stage, c.in.Stages...)
	}
	np.State = st
	n := &Net{File: src.File, Param: np, src: src, prefix: prefix}
	kept, index, err := graph.Select(np)
	if err != nil {
		n.err = err
	}
	for i, l := range kept {
		n.layers = append(n.layers, &layer{LayerParameter: filledIn(l), net: n, index: index[i]})
	}
	return n, nil
}

// filledIn returns a copy of p that has all messages its type reads, so that
// rules need not ask whether they are there.
func filledIn(p *caffepb.LayerParameter) *caffepb.LayerParameter {
	p = proto.CloneOf(p)
	m := p.ProtoReflect()
	for _, name := range paramsOf[p.GetType()] {
		m.Mutable(m.Descriptor().Fields().ByName(name))
	}
	return p
}

// wire connects the layers' blobs.
func (n *Net) wire() {
	now := map[string]*blob{}
	for _, l := range n.layers {
		for _, name := range l.Bottom {
			b := now[name]
			if b == nil {
				l.lost = append(l.lost, name)
				b = &blob{name: name}
			}
			l.bottoms = append(l.bottoms, b)
			b.readers = append(b.readers, l)
		}
		for i, name := range l.Top {
			b := &blob{name: name, by: l, top: i}
			l.tops = append(l.tops, b)
			now[name] = b
		}
	}
}

// nets returns all nets, the train net first.
func (c *Case) nets() []*Net { return append([]*Net{c.Train}, c.Tests...) }

// pretrained reports whether training starts from weights of a file.
func (c *Case) pretrained() bool {
	return c.in.Weights != "" || c.in.Snapshot != "" || c.Solver != nil && len(c.Solver.Weights) > 0
}

// at returns the place of a field of the solver.
func (c *Case) at(field string) string { return c.src.At(field) }

// at returns the place of a field of a layer.
func (l *layer) at(field string) string {
	n := l.net
	if field != "" {
		field = "." + field
	}
	for _, form := range []string{"layer", "layers"} {
		written := n.written(form)
		// An upgrade of input fields has put one layer before the others.
		i := l.index - (len(n.Param.Layer) - written)
		if written == 0 || i < 0 || len(n.Param.Layer)-written > 1 {
			continue
		}
		return n.src.At(fmt.Sprintf("%s%s[%d]%s", n.prefix, form, i, field))
	}
	return n.File
}

// written returns how many layers the file has in the given form.
func (n *Net) written(form string) int {
	for i := 0; ; i++ {
		if !n.src.Has(fmt.Sprintf("%s%s[%d]", n.prefix, form, i)) {
			return i
		}
	}
}

// A collector gathers what the rules find.
type collector struct {
	ctx   context.Context
	found []Finding
}

// add keeps a finding, once: what stands in one place of a file and holds for
// several nets is reported for the first, and so is a note that says the same of
// several places.
func (k *collector) add(f Finding) {
	for _, g := range k.found {
		if g.Rule == f.Rule && g.What == f.What && (g.Layer == f.Layer && g.Where == f.Where || f.Severity == Note) {
			return
		}
	}
	k.found = append(k.found, f)
}

// Check runs all rules and returns what they found, the gravest first. Reading
// data sources stops early when ctx is done.
func (c *Case) Check(ctx context.Context) []Finding {
	k := &collector{ctx: ctx}
	c.loadSources(ctx)
	for _, n := range c.nets() {
		c.inferShapes(n)
		c.followSignal(n)
	}
	for _, rule := range rules {
		rule(c, k)
	}
	slices.SortStableFunc(k.found, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return k.found
}
