package doctor

import (
	"fmt"
	"math"
)

// Limits of the rules about single layers.
const (
	// allIgnored is the share of labels that are left out from which on next to
	// nothing is left.
	allIgnored = 0.99
	// lostBranch is by how many times one branch of a sum may exceed another.
	lostBranch = 100
	// idleResponse is the change of the RMS below which LRN does nothing,
	// swampedResponse the part that is left when it divides by little but the
	// values themselves.
	idleResponse    = 0.01
	swampedResponse = 0.1
	// narrowRange and wideRange are the limits of an input's RMS, offInput that
	// of its mean, if that is also larger than its standard deviation.
	narrowRange = 0.001
	wideRange   = 1000
	offInput    = 5
)

// findTargets judges what losses compare outputs with.
func (m *Measurement) findTargets() []Finding {
	var fs []Finding
	for _, l := range m.Losses {
		t := l.Targets
		if t == nil {
			continue
		}
		for _, fault := range t.Faults {
			fs = append(fs, Finding{Rule: "measured-infogain-matrix", Severity: Warning, Sure: Likely, Layer: l.Layer, What: fault[0], Why: fault[1]})
		}
		if t.Ignored >= allIgnored {
			f := Finding{Rule: "measured-all-ignored", Severity: Error, Sure: Certain, Layer: l.Layer,
				What: fmt.Sprintf("All labels of %s are the ignore_label.", m.extent()),
				Why:  "Nothing counts in the loss, so nothing is learned."}
			if t.Ignored < 1 {
				f.Severity, f.Sure = Warning, Likely
				f.What = fmt.Sprintf("%.2f %% of the labels of %s are the ignore_label.", 100*t.Ignored, m.extent())
				f.Why = "Next to nothing counts in the loss."
			}
			fs = append(fs, f)
		}
		if t.Count == 0 {
			continue
		}
		f := Finding{Rule: "measured-targets", Severity: Error, Sure: Certain, Layer: l.Layer,
			What: fmt.Sprintf("What %q compares with lies between %s and %s.", l.Layer, num(t.Min), num(t.Max))}
		switch {
		case l.Type == "SigmoidCrossEntropyLoss" && (t.Min < 0 || t.Max > 1):
			f.Why = "Targets must be between 0 and 1: with others the loss has no lowest value, and the scores run away."
			f.Fix = "Scale the targets, or mark what is to be left out by an ignore_label."
		case l.Type == "ContrastiveLoss" && t.Halves > 0:
			f.Why = "It must be 1 for pairs that are alike and 0 for others; all but 0 counts as alike, what lies between -1 and 1 as not alike."
		case l.Type == "ContrastiveLoss" && t.Min == t.Max && t.Count >= 20:
			f.Severity, f.Sure = Warning, Likely
			f.What = fmt.Sprintf("All %d pairs have the label %s.", t.Count, num(t.Min))
			f.Why = "Pairs of one kind alone teach nothing: the outputs all become the same, or only move apart."
		default:
			continue
		}
		fs = append(fs, f)
	}
	return fs
}

// findMarks judges where recurrent layers are told that sequences begin.
func (m *Measurement) findMarks() []Finding {
	for _, l := range m.Layers {
		k := l.Marks
		if k == nil || k.Count == 0 {
			continue
		}
		f := Finding{Rule: "measured-cont", Severity: Warning, Sure: Likely, Layer: l.Name}
		shape := fmt.Sprintf("%d×%d (time steps × streams)", k.Steps, k.Streams)
		switch {
		case k.Other > 0:
			f.Sure = Certain
			f.What = fmt.Sprintf("%.2g %% of the values of cont are neither 0 nor 1.", 100*k.Other)
			f.Why = "The state is multiplied by them at each time step: it fades, or grows without end."
			f.Fix = "0 where a sequence begins, 1 where it goes on."
		case k.Zero == 1 && k.Steps > 1:
			f.Severity, f.Sure = Error, Certain
			f.What = fmt.Sprintf("cont is 0 at all %d places: every time step begins a new sequence.", k.Count)
			f.Why = "The layer remembers nothing, and works on each time step alone."
			f.Fix = "0 at the first time step of a sequence, 1 at the others."
		case k.Zero == 0 && m.Iter == 0:
			f.What = fmt.Sprintf("cont is 1 at all %d places, the first of the data included: no sequence ever begins.", k.Count)
			f.Why = "The state at the end of a batch goes on into the next: right for a single endless sequence, while of others each begins with what is left of the one before."
			f.Fix = "0 at the first time step of each sequence."
		case k.Streams > 1 && k.Steps > 1 && k.FirstStream == 1 && k.FirstStep < 1:
			f.What = fmt.Sprintf("cont is %s and 0 all along the first stream, but at the first time step of the others only in %.0f %%.", shape, 100*k.FirstStep)
			f.Why = "It looks as if the axes were streams × time steps: the layer takes one sequence for many."
			f.Fix = "Store time steps × streams × values: all first time steps one after the other, then all second ones, …"
		default:
			continue
		}
		return []Finding{f}
	}
	return nil
}

// findBranches finds sums one part of which counts for nothing.
func (m *Measurement) findBranches() []Finding {
	var fs []Finding
	for _, l := range m.Layers {
		if len(l.Branches) < 2 {
			continue
		}
		small, large := l.Branches[0], l.Branches[0]
		for _, b := range l.Branches {
			if b.size() < small.size() {
				small = b
			}
			if b.size() > large.size() {
				large = b
			}
		}
		// A branch of 0 is one that has yet to begin.
		if small.size() == 0 || !(large.size() > lostBranch*small.size()) {
			continue
		}
		fs = append(fs, Finding{Rule: "measured-branch-lost", Severity: Warning, Sure: Likely, Layer: l.Name,
			What: fmt.Sprintf("%q adds up what is of very different sizes: %.3g from %q and %.3g from %q.", l.Name, small.size(), small.From, large.size(), large.From),
			Why:  "The smaller part makes no difference to the sum, and what it has learned is not heard.",
			Fix:  "Bring both to one size: BatchNorm and Scale behind each, or the coeff of eltwise_param."})
	}
	return firstOf(fs)
}

// size is what differs from sample to sample, or else the RMS.
func (b Branch) size() float64 {
	if a := float64(b.Across); !math.IsNaN(a) {
		return a
	}
	return b.RMS
}

// findResponses judges what LRN does to what it is given.
func (m *Measurement) findResponses() []Finding {
	var idle, swamped []Finding
	for _, l := range m.Layers {
		if l.InputRMS == 0 || l.Output.Count == 0 {
			continue
		}
		rest := l.Output.RMS / l.InputRMS * l.Idle
		what := fmt.Sprintf("%q is given values of RMS %.3g and divides them by %.4g on the whole", l.Name, l.InputRMS, l.InputRMS/max(l.Output.RMS, 1e-30))
		switch {
		case rest > 1-idleResponse:
			idle = append(idle, Finding{Rule: "measured-lrn-idle", Severity: Note, Sure: Certain, Layer: l.Name, What: what + ": next to nothing of that comes from its neighbours.",
				Why: "alpha is made for larger values, such as those of pixels up to 255. Unless they grow with training, the layer costs time and does nothing.",
				Fix: "A larger alpha, or an input that is not scaled; or remove the layer."})
		case rest < swampedResponse:
			swamped = append(swamped, Finding{Rule: "measured-lrn-swamps", Severity: Warning, Sure: Likely, Layer: l.Name, What: what + ".",
				Why: "It divides by little but the values themselves: with beta above 0.5 the larger a value the smaller what comes out.",
				Fix: "A smaller alpha, or a smaller input."})
		}
	}
	return append(firstOf(swamped), firstOf(idle)...)
}

// firstOf keeps the first of findings of several layers, and says how many more
// there are.
func firstOf(fs []Finding) []Finding {
	if len(fs) < 2 {
		return fs
	}
	fs[0].What += fmt.Sprintf(" The same holds for %s.", plural(len(fs)-1, "other layer"))
	return fs[:1]
}

// findRange judges inputs of whose range the files say nothing.
func (m *Measurement) findRange() []Finding {
	var fs []Finding
	for _, in := range m.Inputs {
		s := in.After.Summary
		if !in.Judged || s.Count == 0 || s.Min == s.Max {
			continue
		}
		span := fmt.Sprintf("%q lies between %s and %s, its RMS is %s", in.Blob, num(s.Min), num(s.Max), num(s.RMS))
		switch {
		case s.RMS < narrowRange || s.RMS > wideRange:
			fs = append(fs, Finding{Rule: "measured-input-range", Severity: Warning, Sure: Likely, Layer: in.Layer, What: span + ".",
				Why: "Nets and their fillers are made for inputs of about 1, or of 8-bit pixels.",
				Fix: "Store them scaled, or add a Power layer (scale, shift) or BatchNorm behind the data."})
		case math.Abs(s.Mean) > offInput && offCentre(s) > 1:
			fs = append(fs, Finding{Rule: "measured-input-range", Severity: Warning, Sure: Likely, Layer: in.Layer, What: span + fmt.Sprintf(" and its mean %s.", num(s.Mean)),
				Why: "An input that is the same sign everywhere moves all weights of a unit together; it needs much smaller rates and may not learn at all.",
				Fix: "Subtract the mean: a Power layer with shift, a Bias layer or BatchNorm behind the data."})
		}
	}
	return fs
}
