package doctor

import (
	"math"
	"slices"
	"strings"
)

// report makes the figures of all batches into the report.
func (p *probe) report() {
	index := map[int]int{} // of p.layers in m.Layers
	for i, l := range p.layers {
		if len(l.node.Bottoms) == 0 || l.Type == "Split" {
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
		index[i] = len(p.m.Layers)
		p.m.Layers = append(p.m.Layers, l.Layer)
	}
	for i := range p.m.Layers {
		if s := p.m.Layers[i].Shown; s >= 0 {
			p.m.Layers[i].Shown = index[s]
		}
	}
	for i, l := range p.layers {
		for t, w := range l.node.LossWeights {
			if w == 0 || t > 0 || len(l.node.Bottoms) == 0 {
				continue
			}
			p.m.Losses = append(p.m.Losses, p.loss(l, p.losses[i]/float64(p.batches), float64(w)))
		}
	}
	for _, in := range p.inputs {
		p.m.Inputs = append(p.m.Inputs, in.report())
	}
	p.m.Signal = p.m.trend(func(l, shown *Layer) float64 { return float64(shown.Across) })
	p.m.Gradient = p.m.trend(func(l, shown *Layer) float64 { return l.Gradient.RMS })
}

// loss describes a loss layer.
func (p *probe) loss(l *layerProbe, value, weight float64) Loss {
	r := Loss{Layer: l.Name, Type: l.Type, Weight: weight, Value: Number(value), Across: Number(math.NaN()), Share: Number(math.NaN())}
	scores := l.node.Bottoms[0]
	if strings.HasPrefix(l.Type, "Softmax") && scores.Axes() > 0 {
		axis, err := scores.Axis(int(l.node.Param.GetSoftmaxParam().GetAxis()))
		if err == nil {
			r.Classes = scores.Dim(axis)
			r.Chance = math.Log(float64(r.Classes))
		}
	}
	// Splits have no values of their own: look through them.
	for source := scores; ; {
		j := -1
		for k, x := range p.layers {
			if x.node != l.node && slices.Contains(x.node.Tops, source) {
				j = k
			}
		}
		if j < 0 {
			return r
		}
		if p.layers[j].Type == "Split" {
			source = p.layers[j].node.Bottoms[0]
			continue
		}
		from := p.layers[j]
		r.From, r.Output = from.Name, from.Output
		r.Across, r.Share = from.across.deviation()
		return r
	}
}

// points calls f for every layer with weights and the layer that stands for its
// output.
func (m *Measurement) points(f func(l, shown *Layer)) {
	for i := range m.Layers {
		if s := m.Layers[i].Shown; s >= 0 {
			f(&m.Layers[i], &m.Layers[s])
		}
	}
}

// trend fits a quantity of the layers with weights by depth.
func (m *Measurement) trend(of func(l, shown *Layer) float64) Trend {
	var t Trend
	var n, sx, sy, sxx, sxy float64
	m.points(func(l, shown *Layer) {
		v := of(l, shown)
		if !(v > 0) || math.IsInf(v, 0) {
			return
		}
		if t.Layers == 0 {
			t.From, t.First = l.Name, v
		}
		t.To, t.Last = l.Name, v
		t.Layers++
		x, y := n, math.Log(v)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	})
	if d := n*sxx - sx*sx; d > 0 {
		t.Factor = math.Exp((n*sxy - sx*sy) / d)
	}
	return t
}
