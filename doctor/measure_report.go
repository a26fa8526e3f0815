package doctor

import (
	"math"
	"slices"

	"crema/prototxt/caffepb"
)

// report makes the figures of all batches into the report.
func (p *probe) report() {
	index := map[int]int{} // of p.layers in m.Layers
	for i, l := range p.layers {
		if l == nil || len(l.node.Bottoms) == 0 || l.Type == "Split" {
			continue
		}
		l.Across, l.Share = l.across.deviation()
		if l.Output.Count > 0 {
			l.Saturated = float64(l.near) / float64(l.Output.Count)
		}
		if len(l.alive) > 0 {
			dead := 0
			for _, a := range l.alive {
				if !a {
					dead++
				}
			}
			l.Dead = float64(dead) / float64(len(l.alive))
		}
		l.Last = !p.leads(i)
		l.sights.report(l, p, i)
		index[i] = len(p.m.Layers)
		p.m.Layers = append(p.m.Layers, l.Layer)
	}
	for i := range p.m.Layers {
		if l := &p.m.Layers[i]; l.Shown >= 0 {
			l.Shown, l.Linear = index[l.Shown], index[l.Linear]
		}
	}
	for i, l := range p.layers {
		if l == nil || len(l.node.Bottoms) == 0 || len(l.node.LossWeights) == 0 || l.node.LossWeights[0] == 0 {
			continue
		}
		p.m.Losses = append(p.m.Losses, p.loss(i, p.losses[i]/float64(p.batches), float64(l.node.LossWeights[0])))
	}
	for _, in := range p.inputs {
		p.m.Inputs = append(p.m.Inputs, in.report())
	}
	p.m.Signal = p.m.trend(func(l, shown *Layer) float64 { return float64(shown.Across) })
	p.m.Gradient = p.m.trend(func(l, _ *Layer) float64 { return p.m.gradient(l) })
}

// leads reports whether a layer with weights depends on layer i.
func (p *probe) leads(i int) bool {
	reached := map[int]bool{i: true}
	for k := i + 1; k < len(p.wires.nodes); k++ {
		for j, m := range p.wires.makers[k] {
			if reached[m] && !sideBottom(p.wires.nodes[k], j) {
				reached[k] = true
			}
		}
		if reached[k] && weighted(p.wires.nodes[k]) {
			return true
		}
	}
	return false
}

// gradient returns the RMS of the gradient with respect to what goes into a
// layer's nonlinearity: behind a BatchNorm, it does not depend on the size of the
// weights before.
func (m *Measurement) gradient(l *Layer) float64 {
	if l.Linear >= 0 && m.Layers[l.Linear].Gradient.Count > 0 {
		return m.Layers[l.Linear].Gradient.RMS
	}
	return l.Gradient.RMS
}

// loss describes the loss layer i.
func (p *probe) loss(i int, value, weight float64) Loss {
	l := p.layers[i]
	r := Loss{Layer: l.Name, Type: l.Type, Weight: weight, Value: Number(value), Across: Number(math.NaN()), Share: Number(math.NaN()),
		K: Number(math.NaN()), Targets: l.sights.targets, Terms: 1}
	scores := l.node.Bottoms[0]
	if l.Type == "SoftmaxWithLoss" && scores.Axes() > 0 && scores.Count() > 0 {
		if axis, err := scores.Axis(int(l.node.Param.GetSoftmaxParam().GetAxis())); err == nil {
			r.Classes = scores.Dim(axis)
			outer := scores.Count() / scores.CountFrom(axis)
			r.Terms = lossTerms(l.node.Param.GetLossParam(), scores.Count()/r.Classes, outer, l.sights.targets)
			r.Chance = r.Terms * math.Log(float64(r.Classes))
		}
	}
	from := p.wires.origin(i, 0)
	if from < 0 || p.layers[from] == nil {
		return r
	}
	f := p.layers[from]
	r.From, r.Output = f.Name, f.Output
	r.Across, r.Share = f.across.deviation()
	sum := 0.0
	for _, k := range p.wires.before(i) {
		if n := p.wires.nodes[k]; p.layers[k] != nil && weighted(n) {
			r.Waiting = r.Waiting || waiting(p.layers[k])
			sum += p.layers[k].inverseSquares()
		}
	}
	r.K = r.Across * r.Across * Number(sum)
	return r
}

// waiting reports whether a layer's weights are all 0 and a gradient will change
// them: a classifier may well begin so.
func waiting(l *layerProbe) bool {
	return slices.ContainsFunc(l.Params, func(q Param) bool { return q.Weight && q.Weights.RMS == 0 && q.Gradient.RMS > 0 })
}

// inverseSquares returns the sum over the layer's weights of lr_mult over the
// mean square.
func (l *layerProbe) inverseSquares() (sum float64) {
	for j, q := range l.Params {
		if s := q.Weights.RMS; q.Weight && s > 0 {
			sum += float64(l.params[j].LRMult) / (s * s)
		}
	}
	return sum
}

// lossTerms returns how many losses of single labels the value of a softmax loss
// is the sum of: 1 for a mean over those that count.
func lossTerms(p *caffepb.LossParameter, labels, outer int, t *Targets) float64 {
	counted := float64(labels)
	if t != nil {
		counted *= 1 - t.Ignored
	}
	mode := p.GetNormalization()
	if p != nil && p.Normalization == nil && p.Normalize != nil && !p.GetNormalize() {
		mode = caffepb.LossParameter_BATCH_SIZE
	}
	switch mode {
	case caffepb.LossParameter_FULL:
		return counted / float64(max(labels, 1))
	case caffepb.LossParameter_BATCH_SIZE:
		return counted / float64(max(outer, 1))
	case caffepb.LossParameter_NONE:
		return counted
	}
	return 1
}

// points calls f for every layer with weights and the layer that stands for its
// output.
func (m *Measurement) points(f func(l, shown *Layer)) {
	m.lines(func(l, shown *Layer) {
		if !l.Join {
			f(l, shown)
		}
	})
}

// lines is points with the layers at which branches meet.
func (m *Measurement) lines(f func(l, shown *Layer)) {
	for i := range m.Layers {
		if s := m.Layers[i].Shown; s >= 0 {
			f(&m.Layers[i], &m.Layers[s])
		}
	}
}

// trend fits a quantity of the layers with weights by depth: branches beside
// each other are as deep as each other.
func (m *Measurement) trend(of func(l, shown *Layer) float64) Trend {
	var t Trend
	var n, sx, sy, sxx, sxy float64
	depths, deepest := map[int]bool{}, 0
	m.points(func(l, shown *Layer) {
		v := of(l, shown)
		if !(v > 0) || math.IsInf(v, 0) {
			return
		}
		if n == 0 {
			t.From, t.First = l.Name, v
		}
		if l.Depth >= deepest {
			t.To, t.Last, deepest = l.Name, v, l.Depth
		}
		depths[l.Depth] = true
		x, y := float64(l.Depth), math.Log(v)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	})
	t.Layers = len(depths)
	if d := n*sxx - sx*sx; d > 0 {
		t.Factor = math.Exp((n*sxy - sx*sy) / d)
	}
	return t
}
