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

// followers are the types that belong to the layer with weights in front of
// them.
var followers = []string{"ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "BNLL", "AbsVal", "BatchNorm", "Scale", "Bias"}

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
	passes  int // so far
	images  int // in a batch, 0 if unknown
	layers  []*layerProbe
	inputs  []*inputProbe
	losses  []float64
}

type layerProbe struct {
	Layer
	node   *graph.Node
	alive  []bool // of a ReLU's units
	across *imageSums
	near   int // saturated values
	params []*graph.Param
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
	for _, n := range nodes {
		if graph.IsSource(n.Param) && len(n.Tops) > 0 && n.Tops[0].Axes() > 0 {
			p.images = n.Tops[0].Dim(0)
			break
		}
	}
	p.batches = p.o.Batches
	if p.batches <= 0 {
		p.batches = defaultBatches
		if p.images > 0 {
			p.batches = min(max((defaultImages+p.images-1)/p.images, 1), defaultBatches)
		}
	}
	for i, n := range nodes {
		if len(n.Tops) == 0 {
			continue
		}
		l := &layerProbe{node: n, Layer: Layer{Name: n.Name, Type: n.Type, Shown: -1}}
		if len(n.Bottoms) > 0 && n.Type != "Split" {
			if weighted(n) {
				l.Shown = i
			}
			if p.images > 0 && n.Tops[0].Axes() > 0 && n.Tops[0].Dim(0) == p.images {
				l.across = &imageSums{}
			}
			for _, lp := range p.net.Params() {
				if lp.Owner == n {
					l.params = append(l.params, lp)
					l.Params = append(l.Params, Param{Name: lp.Name, Update: Number(math.NaN()), Weight: lp.Blob.Axes() > 1})
				}
			}
		}
		p.layers = append(p.layers, l)
	}
	for i, l := range p.layers {
		if l.Shown < 0 {
			continue
		}
		l.Shown = i
		for at := l.node.Tops[0]; ; {
			j := slices.IndexFunc(p.layers[l.Shown+1:], func(x *layerProbe) bool { return slices.Contains(x.node.Bottoms, at) })
			if j < 0 {
				break
			}
			j += l.Shown + 1
			if !slices.Contains(followers, p.layers[j].Type) {
				break
			}
			l.Shown, at = j, p.layers[j].node.Tops[0]
		}
	}
	p.losses = make([]float64, len(p.layers))
	return p.prepareInputs()
}

// weighted reports whether a layer has weights that mix its inputs.
func weighted(n *graph.Node) bool {
	if slices.Contains(followers, n.Type) {
		return false
	}
	return slices.ContainsFunc(n.Layer.Params(), func(b *tensor.Blob) bool { return b.Axes() > 1 })
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
	p.m.Batches, p.m.Images = p.batches, p.batches*p.images
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
	i := 0
	for k, n := range p.net.Layers() {
		if p.passes == 0 {
			for _, lp := range p.paramsOf(n) {
				p.nonFinite(n.Name, "parameter "+lp.Name, summary.Of(lp.Blob.ReadData(), 0))
			}
		}
		if _, err := p.net.ForwardLayer(k); err != nil {
			return err
		}
		if p.still != p.net {
			if _, err := p.still.ForwardLayer(k); err != nil {
				return err
			}
		}
		if len(n.Tops) == 0 {
			continue
		}
		l := p.layers[i]
		v := n.Tops[0].Values()
		s := summary.Of(v, 0)
		p.nonFinite(n.Name, "output", s)
		merge(&l.Output, s)
		for t, w := range n.LossWeights {
			if w != 0 && t == 0 && len(v) > 0 {
				p.losses[i] += float64(v[0])
			}
		}
		l.count(n.Tops[0], v)
		if l.across != nil {
			b := p.still.Layers()[k].Tops[0]
			l.across.add(b.Values(), b.Dim(0))
		}
		for _, in := range p.inputs {
			if err := in.passed(n, v); err != nil {
				return err
			}
		}
		i++
	}
	p.passes++
	return nil
}

func (p *probe) paramsOf(n *graph.Node) []*graph.Param {
	for _, l := range p.layers {
		if l.node == n {
			return l.params
		}
	}
	return nil
}

// count counts dead and saturated units.
func (l *layerProbe) count(b *tensor.Blob, v []float32) {
	switch l.Type {
	case "ReLU":
		if l.node.Param.GetReluParam().GetNegativeSlope() != 0 || b.Axes() < 2 {
			break
		}
		units := b.Dim(1)
		if l.alive == nil {
			l.alive = make([]bool, units)
		}
		size := b.CountFrom(2)
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
	case "TanH":
		for _, x := range v {
			if x < -0.99 || x > 0.99 {
				l.near++
			}
		}
	}
}

// backward runs one batch backward and looks at each gradient when it is whole.
func (p *probe) backward() error {
	nodes := p.net.Layers()
	i := len(p.layers) - 1
	for k := len(nodes) - 1; k >= 0; k-- {
		n := nodes[k]
		if len(n.Tops) == 0 {
			if err := p.net.BackwardLayer(k); err != nil {
				return err
			}
			continue
		}
		l := p.layers[i]
		i--
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
	for _, l := range p.layers {
		for j, lp := range l.params {
			l.Params[j].Weights = summary.Of(lp.Blob.ReadData(), 0)
		}
	}
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
		if w > 0 {
			ratio = math.Sqrt(d / w)
		}
		after[lp.Layer+"\x00"+lp.Name] = Number(ratio)
	}
	for _, l := range p.layers {
		for j := range l.Params {
			l.Params[j].Update = after[l.Name+"\x00"+l.Params[j].Name]
		}
	}
	return nil
}
