package doctor

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"crema/internal/summary"
)

// Limits of the rules about measurements. They are far from what nets that
// learn show, since a wrong alarm costs trust.
const (
	// A classifier's output does not depend on the image if less than deadShare
	// of it does, or less than faintShare and by less than faintScore: scores
	// are compared with 1 by a softmax. AlexNet, whose biases of 1 leave a
	// fiftieth to the images, has a K of 20 and learns: K decides.
	deadShare  = 0.02
	faintShare = 0.15
	faintScore = 0.01
	// seenK is the K below which an output that was seen hardly moves. The files'
	// prediction warns from a larger one on (weakK), since it may be wrong by a
	// factor.
	seenK = 0.5
	// A signal vanishes or explodes if it changes by these over the net, and
	// steadily, over so many layers with weights.
	vanishLayers  = 8
	explodeLayers = 5
	vanishTotal   = 1. / 30
	vanishStep    = 0.8
	explodeStep   = 1.25
	// deadUnits is the share of a ReLU's units that are never on.
	deadUnits = 0.8
	// saturatedUnits is the share of outputs at the limits of a sigmoid.
	saturatedUnits = 0.8
	// Updates are steps as a share of the weights. About 0.001 is usual. What
	// they do to the output adds up over the layers: largeUpdates and hugeUpdates
	// are of the sum over all but the one with the largest, whose weights may be
	// meant to be tiny. Float32 rounds what is below lostUpdate away.
	largeUpdates = 0.5
	hugeUpdates  = 5
	smallUpdate  = 1e-6
	lostUpdate   = 3e-8
	// Of weights before BatchNorm only the direction matters, and large steps
	// make the weights grow until their steps are small (Arora, Li and Lyu 2018):
	// ResNet-50 at its usual rate of 0.1 begins with steps of up to 0.01. They
	// count as this part of what they are.
	normalisedUpdate = 0.1
	// floorLoss is the loss of a batch half of which is at the floor of 87.34.
	floorLoss = 43.5
	// stuckIter is the iteration from which a loss of chance is no beginning.
	stuckIter = 1000
)

// Findings returns what the measurement says about the net, the gravest first.
func (m *Measurement) Findings() []Finding {
	var fs []Finding
	for _, rule := range []func(*Measurement) []Finding{
		(*Measurement).findNonFinite, (*Measurement).findDead, (*Measurement).findTrend, (*Measurement).findUnits,
		(*Measurement).findLoss, (*Measurement).findTargets, (*Measurement).findMarks, (*Measurement).findBranches, (*Measurement).findResponses,
		(*Measurement).findUpdates, (*Measurement).findInput, (*Measurement).findRange,
	} {
		fs = append(fs, rule(m)...)
	}
	sortFindings(fs)
	return fs
}

func (m *Measurement) findNonFinite() []Finding {
	n := m.NonFinite
	if n == nil {
		return nil
	}
	return []Finding{{Rule: "measured-non-finite", Severity: Error, Sure: Certain, Layer: n.Layer,
		What: fmt.Sprintf("The %s of layer %q has values that are not finite: %d NaN, %d infinite.", n.What, n.Layer, n.NaN, n.Inf),
		Why:  "It is the first such blob of the pass; everything computed from it is lost."}}
}

// dead reports whether an output does not depend on the image, nor can soon.
func (l *Loss) dead() bool {
	share, across := float64(l.Share), float64(l.Across)
	return l.Output.Finite() && (l.Output.RMS == 0 || !l.moves() && (share < deadShare || share < faintShare && across < faintScore))
}

// moves reports whether steps of a usual rate move the output for single images:
// then it comes to depend on them, however small a part of it does so yet.
func (l *Loss) moves() bool {
	if l.Classes == 0 {
		return float64(l.K) >= seenK/otherLosses
	}
	return float64(l.K) >= seenK
}

func (m *Measurement) findDead() []Finding {
	for _, l := range m.Losses {
		if l.From == "" || l.Classes == 0 || m.Images < 2 || !l.dead() || l.Waiting || l.Targets != nil && l.Targets.Ignored == 1 {
			continue
		}
		f := Finding{Rule: "measured-dead-signal", Severity: Error, Sure: Certain, Layer: l.From,
			What: fmt.Sprintf("The output of %q hardly depends on the image: over %s it varies by %.2g, %.2g %% of what it is (RMS %.3g).",
				l.From, m.extent(), float64(l.Across), 100*float64(l.Share), l.Output.RMS),
			Why: "What arrives there are the biases. The net can learn how frequent the classes are, and nothing about images."}
		if l.Output.RMS == 0 {
			f.What = fmt.Sprintf("The output of %q is zero for all of %s.", l.From, m.extent())
		}
		if at := m.faintest(); at != "" && at != l.From {
			f.What += fmt.Sprintf(" Of the signal at %q a tenth is left at %q.", m.Signal.From, at)
		}
		if !m.Trained {
			f.Fix = "Give the layers before ReLU layers the msra filler, or start from unit-variance weights (crema doctor --lsuv); then find a rate for it (--lr-find)."
		}
		return []Finding{f}
	}
	return nil
}

// extent says how many samples were looked at.
func (m *Measurement) extent() string { return plural(m.Images, m.unit()) }

// unit is what a sample is.
func (m *Measurement) unit() string {
	if m.Unit == "" {
		return "image"
	}
	return m.Unit
}

// faintest returns the first layer at which the signal has fallen to a tenth of
// what it was at the first one, or "".
func (m *Measurement) faintest() string {
	at := ""
	m.points(func(l, shown *Layer) {
		if at == "" && float64(shown.Across) < m.Signal.First/10 {
			at = l.Name
		}
	})
	return at
}

func (m *Measurement) findTrend() []Finding {
	s := m.Signal
	if s.First == 0 {
		return nil
	}
	ratio := s.Last / s.First
	what := fmt.Sprintf("What differs from image to image changes by a factor of %.2f a layer, from %.3g at %q to %.3g at %q", s.Factor, s.First, s.From, s.Last, s.To)
	switch {
	case s.Layers >= vanishLayers && s.Factor < vanishStep && ratio < vanishTotal && !slices.ContainsFunc(m.Losses, func(l Loss) bool { return l.moves() }):
		f := Finding{Rule: "measured-vanishing-signal", Severity: Warning, Sure: Certain, Layer: m.faintest(),
			What: what + fmt.Sprintf(" (%d layers).", s.Layers),
			Why:  "The gradients of the early layers shrink with it, and what biases and rounding add covers it."}
		for _, l := range m.Losses {
			if l.dead() {
				f.Severity = Error
			}
		}
		return []Finding{f}
	case s.Layers >= explodeLayers && s.Factor > explodeStep && ratio > 1/vanishTotal:
		return []Finding{{Rule: "measured-exploding-signal", Severity: Error, Sure: Certain, Layer: m.loudest(),
			What: what + fmt.Sprintf(" (%d layers).", s.Layers),
			Why:  "The classifier is sure of itself from the start and mostly wrong; gradients explode with the signal."}}
	}
	return nil
}

// loudest returns the first layer whose signal is ten times that of the first.
func (m *Measurement) loudest() string {
	at := ""
	m.points(func(l, shown *Layer) {
		if at == "" && float64(shown.Across) > m.Signal.First*10 {
			at = l.Name
		}
	})
	return at
}

func (m *Measurement) findUnits() []Finding {
	var fs []Finding
	for _, l := range m.Layers {
		switch {
		case l.Dead >= deadUnits && m.Images > 1:
			f := Finding{Rule: "measured-dead-units", Severity: Warning, Sure: Certain, Layer: l.Name,
				What: fmt.Sprintf("%.0f %% of the units of %q are zero for all of %s.", 100*l.Dead, l.Name, m.extent()),
				Why:  "A ReLU that is never on passes no gradient: its unit learns nothing."}
			if l.Dead == 1 {
				f.Severity = Error
			}
			fs = append(fs, f)
		case l.Saturated >= saturatedUnits && !(m.Trained && l.Last): // outputs that have learned to be sure
			fs = append(fs, Finding{Rule: "measured-saturated-units", Severity: Warning, Sure: Certain, Layer: l.Name,
				What: fmt.Sprintf("%.0f %% of the outputs of %q are within 1 %% of a limit.", 100*l.Saturated, l.Name),
				Why:  "There the slope is next to nothing, and so is the gradient that comes through."})
		}
	}
	if len(fs) > 1 { // one layer that is off switches off those behind it
		fs[0].What += fmt.Sprintf(" So are %d layers behind it.", len(fs)-1)
		fs = fs[:1]
	}
	return fs
}

func (m *Measurement) findLoss() []Finding {
	most := 0.0
	for _, l := range m.Losses {
		most = max(most, l.Weight)
	}
	for _, l := range m.Losses {
		if l.Weight < most {
			continue // an auxiliary classifier
		}
		if l.Classes < 2 || math.IsNaN(float64(l.Value)) || !(l.Terms > 0) {
			continue
		}
		v, chance := float64(l.Value)/l.Terms, math.Log(float64(l.Classes)) // of one label
		each := ""
		if l.Terms != 1 {
			each = " for each label"
		}
		severity := Warning
		if v >= 87.3 {
			severity = Error
		}
		switch {
		case v >= floorLoss:
			return []Finding{{Rule: "measured-loss-floor", Severity: severity, Sure: Certain, Layer: l.Layer,
				What: fmt.Sprintf("The loss%s is %.4g: for most images the right class has no probability that float32 can hold (which counts as 87.34).", each, v),
				Why:  "There the gradient no longer follows the loss. The scores are far too large."}}
		case !m.Trained && v > max(2.5*chance, chance+4):
			return []Finding{{Rule: "measured-loss-above-chance", Severity: Warning, Sure: Certain, Layer: l.Layer,
				What: fmt.Sprintf("The loss of the fresh net%s is %.3f, far above that of guessing among %d classes, ln %d = %.3f.", each, v, l.Classes, l.Classes, chance),
				Why:  "The scores are too large at the start, so the first updates are, too."}}
		case m.Trained && m.Iter >= stuckIter && math.Abs(v-chance) < 0.02*chance:
			return []Finding{{Rule: "measured-loss-at-chance", Severity: Error, Sure: Likely, Layer: l.Layer,
				What: fmt.Sprintf("After %d iterations the loss%s is %.3f, that of guessing among %d classes (ln %d = %.3f).", m.Iter, each, v, l.Classes, l.Classes, chance),
				Why:  "The net has learned nothing."}}
		}
	}
	return nil
}

func (m *Measurement) findUpdates() []Finding {
	if m.Rate <= 0 {
		return nil
	}
	type update struct {
		layer  string
		ratio  float64
		counts float64 // in the sum
	}
	var all []update
	waiting := slices.ContainsFunc(m.Losses, func(l Loss) bool { return l.Waiting })
	m.points(func(l, _ *Layer) {
		for _, p := range l.Params {
			if waiting && p.Gradient.RMS == 0 {
				continue // its gradient comes after the first step
			}
			if u := float64(p.Update); p.Weight && !math.IsNaN(u) && p.Gradient.Count > 0 {
				counts := u
				if l.Normalised {
					counts *= normalisedUpdate
				}
				all = append(all, update{l.Name, u, counts})
			}
		}
	})
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b update) int { return cmp.Compare(a.ratio, b.ratio) })
	sum := 0.0
	for _, u := range all[:len(all)-1] {
		sum += u.counts
	}
	low, middle, high := all[0], all[len(all)/2], all[len(all)-1]
	adaptive := m.Solver != "SGD" && m.Solver != "Nesterov" // their first steps are as large as the rate
	momentum := ""
	if m.Momentum > 0 && m.Momentum < 1 && m.Iter == 0 {
		momentum = fmt.Sprintf(" Momentum %.3g makes it up to %.3g times as much in the long run.", m.Momentum, 1/(1-m.Momentum))
	}
	rate := float64(m.Rate)
	switch {
	case sum > largeUpdates && !adaptive:
		fix := fmt.Sprintf("%.1g", rate*1e-3/middle.ratio)
		f := Finding{Rule: "measured-update-too-large", Severity: Warning, Sure: Likely, Layer: middle.layer,
			What: fmt.Sprintf("At the rate %.4g one step changes the weights of half of the layers by %.2g of their size or more (%q); about 0.001 is usual.%s",
				rate, middle.ratio, middle.layer, momentum),
			Why: "Steps of that size throw away what the weights were, and training diverges or wanders.",
			Fix: "base_lr: " + fix,
			Set: []string{"base_lr=" + fix}}
		if sum > hugeUpdates {
			f.Severity = Error
		}
		return []Finding{f}
	case high.ratio < smallUpdate:
		f := Finding{Rule: "measured-update-too-small", Severity: Warning, Sure: Likely, Layer: high.layer,
			What: fmt.Sprintf("At the rate %.4g one step changes no layer's weights by more than %.2g of their size (%q); about 0.001 is usual.%s", rate, high.ratio, high.layer, momentum),
			Why:  "At that pace nothing is learned in any number of iterations that one can wait for."}
		if high.ratio < lostUpdate {
			f.Severity = Error
			f.Why = "Float32 rounds such steps away: the weights do not change at all."
		}
		return []Finding{f}
	case low.ratio < lostUpdate && low.ratio > 0:
		return []Finding{{Rule: "measured-update-lost", Severity: Warning, Sure: Likely, Layer: low.layer,
			What: fmt.Sprintf("At the rate %.4g one step changes the weights of %q by %.2g of their size, which float32 rounds away.%s", rate, low.layer, low.ratio, momentum),
			Why:  "The layer stays as it is."}}
	}
	return nil
}

func (m *Measurement) findInput() []Finding {
	var fs []Finding
	for _, in := range m.Inputs {
		if in.After.Count > 0 && in.After.Min == in.After.Max {
			fs = append(fs, Finding{Rule: "measured-constant-input", Severity: Error, Sure: Certain, Layer: in.Layer,
				What: fmt.Sprintf("All values of %q are %g.", in.Blob, in.After.Min), Why: "There is nothing in it to learn from."})
		}
		o := in.Order
		if o == nil || in.After.RMS == 0 {
			continue
		}
		f := Finding{Rule: "measured-mean-order", Severity: Note, Sure: Certain, Layer: in.Layer,
			What: fmt.Sprintf("(x − mean) × scale, which is what is computed, and x × scale − mean × scale differ by at most %.1g on %d values: their order makes no difference.",
				o.Difference, in.After.Count)}
		if o.Difference == 0 {
			f.What = fmt.Sprintf("(x − mean) × scale, which is what is computed, and x × scale − mean × scale are equal to the bit on %d values: their order makes no difference.", in.After.Count)
		}
		if in.Before.Max > 2 && offCentre(in.After.Summary) < 0.5 {
			f.What += fmt.Sprintf(" A mean divided by 255 would be wrong here: it would leave a mean of %.3g (now %.2g) and an RMS of %.3g (now %.3g).",
				o.DividedMean, in.After.Mean, o.DividedRMS, in.After.RMS)
		}
		fs = append(fs, f)
		if off := offCentre(in.After.Summary); off > 0.75 && offCentre(in.Before.Summary) > 0.75 {
			fs = append(fs, Finding{Rule: "measured-mean-left", Severity: Warning, Sure: Likely, Layer: in.Layer,
				What: fmt.Sprintf("After the mean was subtracted %q still has a mean of %.3g, %.2g times its standard deviation.", in.Blob, in.After.Mean, off),
				Why:  "The mean is not that of these samples: of another range, or of other data."})
		}
	}
	return fs
}

// offCentre returns the mean as a multiple of the standard deviation.
func offCentre(s summary.Summary) float64 {
	if s.Std() == 0 {
		return 0
	}
	return math.Abs(s.Mean) / s.Std()
}

// sortFindings puts the gravest first.
func sortFindings(fs []Finding) {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(b.Sure, a.Sure))
	})
}

// Join returns what the files and a measurement of their net said together, the
// gravest first, with the places of the measured layers filled in.
func (c *Case) Join(read, measured []Finding) []Finding {
	all := slices.Clone(read)
	if slices.ContainsFunc(measured, func(f Finding) bool { return f.Rule == "measured-mean-order" }) {
		// It says the same with figures.
		all = slices.DeleteFunc(all, func(f Finding) bool { return f.Rule == "mean-scale-order" })
	}
	said := map[string][]string{"measured-targets": {"label-range", "one-label"}, "measured-all-ignored": {"all-ignored"}}
	for _, f := range measured {
		if slices.ContainsFunc(all, func(g Finding) bool { return slices.Contains(said[f.Rule], g.Rule) }) {
			continue // the files say it
		}
		if l := c.Train.named(f.Layer); l != nil && f.Where == "" {
			f.Where, f.Net = l.at(""), c.Train.Title
		}
		all = append(all, f)
	}
	sortFindings(all)
	return all
}

// Verdict sums findings up in a line.
func Verdict(fs []Finding) string {
	var n [3]int
	for _, f := range fs {
		n[f.Severity]++
	}
	plural := func(k int, what string) string {
		if k == 1 {
			return "1 " + what
		}
		return fmt.Sprintf("%d %ss", k, what)
	}
	s := fmt.Sprintf("%s, %s, %s.", plural(n[Error], "error"), plural(n[Warning], "warning"), plural(n[Note], "note"))
	if len(fs) > 0 && fs[0].Severity > Note {
		s += " Gravest: " + fs[0].What
	}
	return s
}

// named returns the layer of that name that the net selects, or nil.
func (n *Net) named(name string) *layer {
	for _, l := range n.layers {
		if l.GetName() == name {
			return l
		}
	}
	return nil
}
