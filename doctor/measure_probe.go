package doctor

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"crema/graph"
	"crema/internal/summary"
	"crema/prototxt/caffepb"
	"crema/solver"
	"crema/tensor"
)

// A probe measures one net.
type probe struct {
	m       *Measurement
	c       *Case
	o       MeasureOptions
	sv      *solver.Solver // nil without
	net     *graph.Net
	still   *graph.Net // the net without dropout's noise; net itself if it has none
	seed    uint64
	batches int
	passes  int           // so far
	samples int           // pictures or time steps in a batch, 0 if unknown
	layers  []*layerProbe // of each layer of the net; nil for those without tops
	wires   *wires
	// Time steps and streams of the recurrent layers, 0 without any.
	steps, streams int
	inputs         []*inputProbe
	losses         []float64
}

type layerProbe struct {
	Layer
	node   *graph.Node
	alive  []bool // of a ReLU's units
	across *imageSums
	near   int            // saturated values
	params []*graph.Param // its own that are learned
	sights sights
}

// newProbe builds the net (with its solver, if sp is not nil) to measure. The
// solver's own tests, snapshots and displays are left out.
func (c *Case) newProbe(sp *caffepb.SolverParameter, np *caffepb.NetParameter, o MeasureOptions) (_ *probe, err error) {
	for _, l := range c.Train.layers {
		if t := l.GetType(); t == "Input" || t == "MemoryData" {
			return nil, fmt.Errorf("%s: layer %q (%s): %w", c.Train.File, l.GetName(), t, ErrNoData)
		}
	}
	p := &probe{c: c, o: o, seed: 1, m: &Measurement{Net: np.GetName()}}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	g := graph.Options{Log: o.Log, ResolvePath: c.in.ResolvePath, Dir: c.Train.dir(), NoLayout: true, NoFuse: true}
	if sp != nil {
		sp := quietSolver(sp, np)
		if c.in.Weights != "" {
			sp.Weights = []string{c.in.Weights}
		}
		if p.sv, err = solver.New(sp, solver.Options{Log: o.Log, ResolvePath: c.in.ResolvePath, Dir: c.Train.dir(), Load: c.in.Load, Snapshot: c.in.Snapshot,
			OnIteration: func(q solver.Progress) { p.m.Rate = Number(q.Rate) }}); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Train.File, err)
		}
		g.ShareParams, p.seed = p.sv.Net(), uint64(sp.GetRandomSeed())
		p.m.Solver = sp.GetType()
		p.m.Iter, p.m.Momentum = p.sv.Iter(), float64(sp.GetMomentum())
		p.m.Trained = len(sp.Weights) > 0 || c.in.Snapshot != ""
	}
	g.Seed = p.seed
	if p.net, err = graph.New(trainState(np), g); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Train.File, err)
	}
	p.still = p.net
	if quiet := withoutNoise(np); quiet != nil {
		g.ShareParams = p.net
		if p.still, err = graph.New(trainState(quiet), g); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Train.File, err)
		}
	}
	if sp == nil && c.in.Weights != "" {
		p.m.Trained = true
		if err := p.net.Finetune(c.in.Weights, c.in.Load); err != nil {
			return nil, err
		}
	}
	if err := p.prepare(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Train.File, err)
	}
	return p, nil
}

// Close releases the nets.
func (p *probe) Close() error {
	var errs []error
	for _, in := range p.inputs {
		errs = append(errs, in.Close())
	}
	if p.still != nil && p.still != p.net {
		errs = append(errs, p.still.Close())
	}
	if p.net != nil {
		errs = append(errs, p.net.Close())
	}
	if p.sv != nil {
		errs = append(errs, p.sv.Close())
	}
	return errors.Join(errs...)
}

// prepare settles what is measured where.
func (p *probe) prepare() error {
	nodes := p.net.Layers()
	p.wires = newWires(p.net)
	p.countSamples()
	p.batches = p.o.Batches
	if p.batches <= 0 {
		p.batches = defaultBatches
		if p.samples > 0 {
			p.batches = min(max((defaultImages+p.samples-1)/p.samples, 1), defaultBatches)
		}
	}
	p.layers = make([]*layerProbe, len(nodes))
	for i, n := range nodes {
		if len(n.Tops) == 0 {
			continue
		}
		l := &layerProbe{node: n, Layer: Layer{Name: n.Name, Type: n.Type, Shown: -1, Linear: -1, Depth: p.wires.depth[i]}}
		p.layers[i] = l
		if len(n.Bottoms) == 0 || n.Type == "Split" {
			continue
		}
		switch {
		case weighted(n):
			l.Shown, l.Linear = i, i
			if c := p.wires.chain(i, followers); len(c) > 0 {
				l.Shown = c[len(c)-1]
			}
			if c := p.wires.chain(i, linear); len(c) > 0 {
				l.Linear = c[len(c)-1]
				l.Normalised = slices.ContainsFunc(c, func(k int) bool { return nodes[k].Type == "BatchNorm" })
			}
		case n.Type == "Eltwise":
			l.Join, l.Shown, l.Linear = true, i, i
		}
		if p.rows(n.Tops[0]) > 0 {
			l.across = &imageSums{}
		}
		if n.Type != "BatchNorm" { // its parameters are statistics
			for _, lp := range p.net.Params() {
				if lp.Owner == n {
					l.params = append(l.params, lp)
					l.Params = append(l.Params, Param{Name: lp.Name, Update: Number(math.NaN()), Weight: lp.Blob.Axes() > 1})
				}
			}
		}
		l.prepareSights()
	}
	p.losses = make([]float64, len(nodes))
	return p.prepareInputs()
}

// countSamples finds out what a batch consists of: pictures, or the time steps
// of several streams.
func (p *probe) countSamples() {
	for _, n := range p.net.Layers() {
		if n.Type == "LSTM" || n.Type == "RNN" {
			p.steps, p.streams = n.Bottoms[0].Dim(0), n.Bottoms[0].Dim(1)
			break
		}
	}
	for _, n := range p.net.Layers() {
		if !graph.IsSource(n.Param) || len(n.Tops) == 0 || n.Tops[0].Axes() == 0 {
			continue
		}
		p.samples = n.Tops[0].Dim(0)
		if p.sequence(n.Tops[0]) {
			p.samples, p.m.Unit = p.steps*p.streams, "time step"
		}
		break
	}
}

// sequence reports whether the first two axes of a blob are time steps and
// streams.
func (p *probe) sequence(b *tensor.Blob) bool {
	return p.steps > 0 && b.Axes() > 1 && b.Dim(0) == p.steps && b.Dim(1) == p.streams
}

// rows returns how many samples lie one after the other in a blob, 0 if it does
// not hold some for each of the batch.
func (p *probe) rows(b *tensor.Blob) int {
	switch {
	case p.samples == 0 || b.Axes() == 0 || b.Count() == 0:
		return 0
	case p.sequence(b):
		return p.steps * p.streams
	case b.Dim(0)%p.samples == 0:
		return b.Dim(0)
	case p.steps > 0 && b.Dim(0) == p.streams:
		return b.Dim(0) // a static input
	}
	return 0
}

// run passes the batches through the net and makes the report.
func (p *probe) run() error {
	for range p.batches {
		if err := p.forward(); err != nil {
			return err
		}
		p.net.ClearParamDiffs()
		if err := p.backward(); err != nil {
			return err
		}
	}
	p.m.Batches, p.m.Images = p.batches, p.batches*p.samples
	if err := p.step(); err != nil {
		return err
	}
	p.report()
	return nil
}

// nonFinite notes the first value that is not finite.
func (p *probe) nonFinite(layer, what string, s summary.Summary) {
	if p.m.NonFinite == nil && !s.Finite() {
		p.m.NonFinite = &NonFinite{Layer: layer, What: what, NaN: s.NaN, Inf: s.Inf}
	}
}

// forward runs one batch forward and looks at each layer's output before a
// later layer changes it in place.
func (p *probe) forward() error {
	for k, n := range p.net.Layers() {
		l := p.layers[k]
		if p.passes == 0 && l != nil {
			for j, lp := range l.params {
				l.Params[j].Weights = summary.Of(lp.Blob.ReadData(), 0)
				p.nonFinite(n.Name, "parameter "+lp.Name, l.Params[j].Weights)
			}
		}
		p.look(k) // in place, the bottoms are lost
		if _, err := p.net.ForwardLayer(k); err != nil {
			return err
		}
		if p.still != p.net {
			if _, err := p.still.ForwardLayer(k); err != nil {
				return err
			}
		}
		if l == nil {
			continue
		}
		v := n.Tops[0].Values()
		s := summary.Of(v, 0)
		p.nonFinite(n.Name, "output", s)
		merge(&l.Output, s)
		for t, w := range n.LossWeights {
			if w != 0 && t == 0 && len(v) > 0 {
				p.losses[k] += float64(v[0])
			}
		}
		p.count(l, n.Tops[0], v)
		if l.across != nil {
			b := p.still.Layers()[k].Tops[0]
			l.across.add(b.Values(), p.rows(b))
		}
		for _, in := range p.inputs {
			if err := in.passed(k, n); err != nil {
				return err
			}
		}
	}
	p.passes++
	return nil
}

// count counts dead and saturated units.
func (p *probe) count(l *layerProbe, b *tensor.Blob, v []float32) {
	switch l.Type {
	case "ReLU":
		axis := 1 // of the units
		if p.sequence(b) {
			axis = 2
		}
		if l.node.Param.GetReluParam().GetNegativeSlope() != 0 || b.Axes() <= axis {
			break
		}
		units := b.Dim(axis)
		if l.alive == nil {
			l.alive = make([]bool, units)
		}
		size := b.CountFrom(axis + 1)
		for c := 0; size > 0 && c*size < len(v); c++ {
			if u := c % units; !l.alive[u] {
				l.alive[u] = slices.ContainsFunc(v[c*size:(c+1)*size], func(x float32) bool { return x != 0 })
			}
		}
	case "Sigmoid":
		for _, x := range v {
			if x < 0.01 || x > 0.99 {
				l.near++
			}
		}
	case "TanH", "LSTM":
		for _, x := range v {
			if x < -0.99 || x > 0.99 {
				l.near++
			}
		}
	}
}

// backward runs one batch backward and looks at each gradient when it is whole.
func (p *probe) backward() error {
	for k, n := range slices.Backward(p.net.Layers()) {
		l := p.layers[k]
		if l == nil {
			if err := p.net.BackwardLayer(k); err != nil {
				return err
			}
			continue
		}
		loss := slices.ContainsFunc(n.LossWeights, func(w float32) bool { return w != 0 })
		if n.NeedBackward && !loss && n.Tops[0].HasDiff() && n.Type != "Split" {
			s := summary.Of(n.Tops[0].Gradients(), 0)
			p.nonFinite(n.Name, "gradient of the output", s)
			merge(&l.Gradient, s)
		}
		if err := p.net.BackwardLayer(k); err != nil {
			return err
		}
		if !n.NeedBackward {
			continue
		}
		for j, lp := range l.params {
			if lp.LRMult == 0 {
				continue // it has none
			}
			s := summary.Of(lp.Blob.Diff(), 0)
			p.nonFinite(n.Name, "gradient of parameter "+lp.Name, s)
			merge(&l.Params[j].Gradient, s)
		}
	}
	return nil
}

// step lets the solver make one iteration and compares the weights before and
// after.
func (p *probe) step() error {
	if p.sv == nil {
		return nil
	}
	var before [][]float32
	for _, lp := range p.sv.Net().Params() {
		before = append(before, sampled(lp.Blob))
	}
	if err := p.sv.Step(1); err != nil {
		return err
	}
	after := map[string]Number{}
	for i, lp := range p.sv.Net().Params() {
		var d, w float64
		for k, v := range sampled(lp.Blob) {
			x := float64(before[i][k])
			d += (float64(v) - x) * (float64(v) - x)
			w += x * x
		}
		ratio := math.NaN()
		if w > 0 && lp.LRMult != 0 {
			ratio = math.Sqrt(d / w)
		}
		after[lp.Layer+"\x00"+lp.Name] = Number(ratio)
	}
	for _, l := range p.layers {
		if l == nil {
			continue
		}
		for j := range l.Params {
			l.Params[j].Update = after[l.Name+"\x00"+l.Params[j].Name]
		}
	}
	return nil
}
