package doctor

import (
	"math"
	"slices"

	"crema/internal/summary"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// Marks describes the second bottom of a recurrent layer, which says for each
// time step of each stream whether a sequence goes on (1) or begins (0).
type Marks struct {
	Steps   int `json:"steps"`
	Streams int `json:"streams"`
	Count   int `json:"count"`
	// Zero is the share of 0, Other that of values that are neither 0 nor 1.
	Zero  float64 `json:"zero"`
	Other float64 `json:"other"`
	// FirstStep is the share of 0 at the first time step of a batch, FirstStream
	// that in the first stream.
	FirstStep   float64 `json:"first_step"`
	FirstStream float64 `json:"first_stream"`
}

// Targets describes what a loss compares outputs with, as far as it counts.
type Targets struct {
	summary.Summary
	// Ignored is the share of labels that are the ignore_label; the others are
	// those of Summary.
	Ignored float64 `json:"ignored"`
	// Halves is the share of values that are neither 0 nor 1.
	Halves float64 `json:"halves"`
	// Faults are those of an InfogainLoss's matrix that comes from a blob.
	Faults [][2]string `json:"faults,omitempty"`
}

// A Branch describes a bottom of an element-wise sum, times its coefficient.
type Branch struct {
	From string `json:"from"`
	// RMS of its values, and of what differs from sample to sample.
	RMS    float64 `json:"rms"`
	Across Number  `json:"across_images"`
}

// sights is what is seen of a layer's bottoms before it runs: a layer that works
// in place changes them.
type sights struct {
	marks              *Marks
	zeros              [3]int // marks of 0 in all, at the first time step, in the first stream
	other              int
	targets            *Targets
	labels, out, minor int // of targets: all, ignored, neither 0 nor 1
	branches           []branchSums
	in                 summary.Summary // of LRN
}

type branchSums struct {
	summary summary.Summary
	across  *imageSums
}

// prepareSights says what is looked at.
func (l *layerProbe) prepareSights() {
	n := l.node
	switch {
	case n.Type == "LSTM" || n.Type == "RNN":
		l.sights.marks = &Marks{Steps: n.Bottoms[0].Dim(0), Streams: n.Bottoms[0].Dim(1)}
	case n.Type == "Eltwise" && n.Param.GetEltwiseParam().GetOperation() == caffepb.EltwiseParameter_SUM:
		l.sights.branches = make([]branchSums, len(n.Bottoms))
	case len(n.Bottoms) > 1 && slices.ContainsFunc(n.LossWeights, func(w float32) bool { return w != 0 }):
		l.sights.targets = &Targets{}
	}
}

// look sees the bottoms of layer k.
func (p *probe) look(k int) {
	l := p.layers[k]
	if l == nil {
		return
	}
	s, n := &l.sights, l.node
	switch {
	case s.marks != nil:
		s.mark(n.Bottoms[1].ReadData())
	case s.branches != nil:
		for i := range s.branches {
			b := p.still.Layers()[k].Bottoms[i]
			v := b.Values()
			merge(&s.branches[i].summary, summary.Of(v, 0))
			if rows := p.rows(b); rows > 0 {
				if s.branches[i].across == nil {
					s.branches[i].across = &imageSums{}
				}
				s.branches[i].across.add(v, rows)
			}
		}
	case s.targets != nil:
		s.target(l)
	case l.Type == "LRN":
		merge(&s.in, summary.Of(n.Bottoms[0].Values(), 0))
	}
}

// mark takes in the marks of a batch.
func (s *sights) mark(v []float32) {
	m := s.marks
	m.Count += len(v)
	for i, x := range v {
		switch {
		case x == 0:
			s.zeros[0]++
			if i < m.Streams {
				s.zeros[1]++
			}
			if i%m.Streams == 0 {
				s.zeros[2]++
			}
		case x != 1:
			s.other++
		}
	}
}

// target takes in the labels of a batch.
func (s *sights) target(l *layerProbe) {
	n := l.node
	at := 1
	if n.Type == "ContrastiveLoss" {
		at = 2
	}
	if at >= len(n.Bottoms) {
		return
	}
	var ignore *int32
	if q := n.Param.GetLossParam(); q != nil {
		ignore = q.IgnoreLabel
	}
	var counted []float32
	for _, x := range n.Bottoms[at].ReadData() {
		s.labels++
		if ignore != nil && int32(x) == *ignore {
			s.out++
			continue
		}
		if x != 0 && x != 1 {
			s.minor++
		}
		counted = append(counted, x)
	}
	merge(&s.targets.Summary, summary.Of(counted, 0))
	if n.Type == "InfogainLoss" && len(n.Bottoms) > 2 && s.targets.Faults == nil {
		s.targets.Faults = bottomMatrix(n.Bottoms[2])
	}
}

// bottomMatrix judges the matrix of an InfogainLoss.
func bottomMatrix(b *tensor.Blob) [][2]string {
	var h []float64
	for _, v := range b.ReadData() {
		h = append(h, float64(v))
	}
	k := int(math.Round(math.Sqrt(float64(len(h)))))
	if k*k != len(h) {
		return nil
	}
	return matrixFaults(h, k)
}

// report puts what was seen into the layer's description.
func (s *sights) report(l *layerProbe, p *probe, k int) {
	if m := s.marks; m != nil && m.Count > 0 {
		n := float64(m.Count)
		m.Zero, m.Other = float64(s.zeros[0])/n, float64(s.other)/n
		m.FirstStep, m.FirstStream = float64(s.zeros[1])*float64(m.Steps)/n, float64(s.zeros[2])*float64(m.Streams)/n
		l.Marks = m
	}
	for i, b := range s.branches {
		c := 1.0
		if q := l.node.Param.GetEltwiseParam().GetCoeff(); i < len(q) {
			c = math.Abs(float64(q[i]))
		}
		d := Branch{RMS: c * b.summary.RMS}
		across, _ := b.across.deviation()
		d.Across = Number(c * float64(across))
		if from := p.wires.origin(k, i); from >= 0 {
			d.From = p.wires.nodes[from].Name
		}
		l.Branches = append(l.Branches, d)
	}
	if t := s.targets; t != nil && s.labels > 0 {
		t.Ignored = float64(s.out) / float64(s.labels)
		t.Halves = float64(s.minor) / float64(s.labels)
	}
	if s.in.Count > 0 {
		l.InputRMS, l.Idle = s.in.RMS, 1
		if q := l.node.Param.GetLrnParam(); q.GetNormRegion() == caffepb.LRNParameter_ACROSS_CHANNELS {
			l.Idle = math.Pow(float64(q.GetK()), float64(q.GetBeta()))
		}
	}
}
