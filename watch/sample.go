package watch

import (
	"math"
	"time"

	"crema/graph"
	"crema/internal/summary"
	"crema/tensor"
)

// passLimit and weightLimit are how many values of a blob, and of a parameter,
// a sample looks at.
const (
	passLimit   = 1 << 13
	weightLimit = 1 << 14
)

// A probe looks at one layer.
type probe struct {
	node   *graph.Node
	top    *tensor.Blob // nil if its values are not the layer's after the passes, or no signal but labels
	weight *tensor.Blob // nil without parameters that are learned
	before []float32    // sampled weights before the update

	forward, backward time.Duration // of the node at the last sample
	layer             Layer         // being filled in
}

// probes returns a probe for each layer of the net but those that the net
// inserts.
func probes(net *graph.Net) []*probe {
	last := map[*tensor.Blob]int{} // the layer that leaves a blob's final values
	for i, n := range net.Layers() {
		for _, top := range n.Tops {
			last[top] = i
		}
	}
	var ps []*probe
	for i, n := range net.Layers() {
		if n.Type == "Split" || n.Type == "Reorder" {
			continue
		}
		p := &probe{node: n}
		if len(n.Tops) > 0 && last[n.Tops[0]] == i && (!graph.IsSource(n.Param) || isSignal(net, n.Tops[0])) {
			p.top = n.Tops[0]
		}
		if params := n.Layer.Params(); len(params) > 0 && n.Type != "BatchNorm" { // whose parameters are statistics
			p.weight = params[0]
		}
		ps = append(ps, p)
	}
	return ps
}

// keepWeights copies a sample of the weights, before they change.
func (p *probe) keepWeights() {
	p.layer = Layer{Name: p.node.Name, Type: p.node.Type, Ratio: nan}
	if p.weight == nil {
		return
	}
	p.before = p.before[:0]
	summary.Each(p.weight.ReadData(), weightLimit, func(v []float32) { p.before = append(p.before, v...) })
	s := summary.Of(p.before, 0)
	p.layer.Weight = &s
}

// lookAtPasses describes activations and gradients.
func (p *probe) lookAtPasses() {
	if p.top == nil {
		return
	}
	s := summary.Of(p.top.ReadData(), passLimit)
	p.layer.Activation = &s
	if p.hasGradient() {
		s := summary.Of(p.top.Diff(), passLimit)
		p.layer.Gradient = &s
	}
}

// hasGradient reports whether the backward pass leaves the gradient of the
// layer's top, one that is not just its weight in the loss.
func (p *probe) hasGradient() bool {
	return p.node.NeedBackward && p.node.LossWeights[0] == 0 && p.top.HasDiff()
}

// lookAtUpdate describes what became of the weights and how long the passes
// took.
func (p *probe) lookAtUpdate() {
	if p.weight == nil {
		return
	}
	i := 0
	summary.Each(p.weight.ReadData(), weightLimit, func(v []float32) {
		b := p.before[i : i+len(v)]
		for j, x := range v {
			b[j] = x - b[j]
		}
		i += len(v)
	})
	s := summary.Of(p.before, 0)
	p.layer.Update = &s
	if w := p.layer.Weight.RMS; w > 0 {
		p.layer.Ratio = Number(s.RMS / w)
	}
}

// finishSample completes the layers' descriptions after the update.
func (r *Recorder) finishSample() []Layer {
	var total time.Duration
	for _, p := range r.layers {
		p.lookAtUpdate()
		total += p.node.ForwardTime - p.forward + p.node.BackwardTime - p.backward
	}
	layers := make([]Layer, len(r.layers))
	for i, p := range r.layers {
		n := p.node
		p.layer.Forward = Number(share(float64(n.ForwardTime-p.forward), float64(total)))
		p.layer.Backward = Number(share(float64(n.BackwardTime-p.backward), float64(total)))
		p.forward, p.backward = n.ForwardTime, n.BackwardTime
		layers[i] = p.layer
	}
	return layers
}

// layers puts the samples after iteration since into s.
func (s *Series) layers(samples []sample, since int) {
	for len(samples) > 0 && samples[0].iter <= since {
		samples = samples[1:]
	}
	s.LayerIter, s.Layers = make([]int, len(samples)), []LayerSeries{}
	if len(samples) == 0 {
		return
	}
	for i, x := range samples {
		s.LayerIter[i] = x.iter
	}
	for i, l := range samples[0].layers {
		column := func(f func(*Layer) float64) Column {
			c, any := make(Column, len(samples)), false
			for k := range samples {
				c[k] = f(&samples[k].layers[i])
				any = any || !math.IsNaN(c[k])
			}
			if !any {
				return nil
			}
			return c
		}
		rms := func(f func(*Layer) *summary.Summary) Column {
			return column(func(l *Layer) float64 { return field(f(l), func(s *summary.Summary) float64 { return s.RMS }) })
		}
		s.Layers = append(s.Layers, LayerSeries{
			Name: l.Name, Type: l.Type,
			Activation: rms(func(l *Layer) *summary.Summary { return l.Activation }),
			Zero: column(func(l *Layer) float64 {
				return field(l.Activation, func(s *summary.Summary) float64 { return s.Zero })
			}),
			Gradient: rms(func(l *Layer) *summary.Summary { return l.Gradient }),
			Weight:   rms(func(l *Layer) *summary.Summary { return l.Weight }),
			Ratio:    column(func(l *Layer) float64 { return float64(l.Ratio) }),
			Time:     column(func(l *Layer) float64 { return float64(l.Forward + l.Backward) }),
		})
	}
}

// field returns a figure of s, NaN if there is no s.
func field(s *summary.Summary, f func(*summary.Summary) float64) float64 {
	if s == nil {
		return math.NaN()
	}
	return f(s)
}
