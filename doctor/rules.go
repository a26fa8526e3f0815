package doctor

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"crema/layers"
)

// rules has all rules; of what is equally grave, the findings of earlier ones
// are shown first. docs/doctor.md lists what they find.
var rules = []func(*Case, *collector){
	refusedSettings,
	wiring,
	losses,
	signalAtTheEnd,
	constantWeights,
	missingNonlinearity,
	inputRange,
	meanRange,
	sources,
	pictureSizes,
	preprocessing,
	labels,
	labelImages,
	shuffling,
	testPass,
	baseRate,
	rateSchedule,
	momentum,
	decay,
	snapshots,
	solverFields,
	classifier,
	targets,
	classPositions,
	dropouts,
	normalisations,
	maps,
	sequences,
	upsampling,
	frozen,
	layerFields,
	fillerFields,
	layerNames,
	refusedLayers, // last: others know better
}

// num prints a whole number as it is and another figure with three significant
// digits.
func num(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1e12 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

// f32 prints a value of a file as short as it was written.
func f32(x float32) string { return strconv.FormatFloat(float64(x), 'g', -1, 32) }

// list joins words: a, b and c.
func list(words []string) string {
	const most = 6
	if n := len(words); n > most {
		words = append(slices.Clone(words[:most-1]), fmt.Sprintf("%d more", n-most+1))
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// quoted puts names in quotes.
func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strconv.Quote(n)
	}
	return out
}

// names returns the names of layers.
func names(ls []*layer) []string {
	var out []string
	for _, l := range ls {
		out = append(out, l.GetName())
	}
	return out
}

// plural puts an s behind the word unless n is 1.
func plural(n int, word string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, word)
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// in returns a finding about a layer, at one of its fields.
func (l *layer) in(rule string, sev Severity, sure Confidence, field string) Finding {
	return Finding{Rule: rule, Severity: sev, Sure: sure, Where: l.at(field), Net: l.net.Title, Layer: l.GetName()}
}

// set returns the --set argument for a field of a layer. Where the net has
// several layers of that name, it picks those of the layer's phase.
func (l *layer) set(field, value string) string {
	phase := ""
	for i, m := range l.net.Param.Layer {
		if i != l.index && m.GetName() == l.GetName() {
			phase = "@" + l.net.Param.GetState().GetPhase().String()
		}
	}
	return fmt.Sprintf("layer.%s%s.%s=%s", l.GetName(), phase, field, value)
}

// setAll returns arguments that set a field of several layers of one net, by
// patterns where these meet no other layer.
func setAll(ls []*layer, field, value string) []string {
	var out []string
	done := map[*layer]bool{}
	for _, l := range ls {
		if done[l] {
			continue
		}
		pattern := l.GetName()
		for n := 1; n < len(pattern); n++ {
			prefix := pattern[:n]
			meets := func(name string) bool { return strings.HasPrefix(name, prefix) }
			other := false
			for i, m := range l.net.Param.Layer {
				other = other || meets(m.GetName()) && !slices.ContainsFunc(ls, func(k *layer) bool { return k.index == i })
			}
			if other || strings.ContainsAny(prefix, "*@=") {
				continue
			}
			count := 0
			for _, k := range ls {
				if meets(k.GetName()) {
					count++
				}
			}
			if count > 1 {
				for _, k := range ls {
					done[k] = done[k] || meets(k.GetName())
				}
				pattern = prefix + "*"
			}
			break
		}
		if pattern == l.GetName() {
			out = append(out, l.set(field, value))
			continue
		}
		out = append(out, fmt.Sprintf("layer.%s.%s=%s", pattern, field, value))
	}
	return out
}

// isLoss reports whether a layer adds to what is minimised.
func isLoss(l *layer) bool {
	for _, w := range l.LossWeight {
		if w != 0 {
			return true
		}
	}
	return takesLoss(l) && len(l.LossWeight) == 0
}

// takesLoss reports whether a layer's type adds to the loss unless it says
// otherwise.
func takesLoss(l *layer) bool {
	if t, err := layers.Lookup(l.GetType()); err == nil {
		return t.Loss
	}
	return strings.HasSuffix(l.GetType(), "Loss")
}

// passes reports whether a layer hands its input on unit by unit, so that what
// stands before it stands behind it.
func passes(l *layer) bool {
	switch l.GetType() {
	case "Split", "Dropout", "Pooling", "LRN", "BatchNorm", "Scale", "Bias", "MVN", "Flatten", "Reshape", "Power", "Slice", "Crop":
		return true
	}
	return activation(l) != nil
}

// isActivation reports whether a layer is a nonlinearity of single elements.
func isActivation(l *layer) bool {
	switch l.GetType() {
	case "Exp", "Log", "Threshold":
		return true
	case "Power":
		return l.GetPowerParam().GetPower() != 1
	case "ReLU":
		return l.GetReluParam().GetNegativeSlope() != 1
	}
	return activation(l) != nil
}

// before returns the layers between b and the layer with weights (or of another
// kind that does not pass units on) that makes it, the latest first and that
// layer last.
func before(b *blob) []*layer {
	var out []*layer
	for b.by != nil {
		out = append(out, b.by)
		if !passes(b.by) || len(b.by.bottoms) == 0 {
			break
		}
		b = b.by.bottoms[0]
	}
	return out
}

// ahead calls f for the layers that read what l makes, and those behind them,
// as far as f returns true.
func ahead(l *layer, f func(*layer) bool) {
	seen := map[*layer]bool{}
	var walk func(*layer)
	walk = func(l *layer) {
		for _, t := range l.tops {
			for _, r := range t.readers {
				if !seen[r] {
					seen[r] = true
					if f(r) {
						walk(r)
					}
				}
			}
		}
	}
	walk(l)
}

// behind returns the layers that b depends on, b's own included, each once, in
// the net's order.
func behind(b *blob) []*layer {
	seen := map[*layer]bool{}
	var walk func(*blob)
	walk = func(b *blob) {
		if b.by == nil || seen[b.by] {
			return
		}
		seen[b.by] = true
		for _, in := range b.by.bottoms {
			walk(in)
		}
	}
	walk(b)
	var out []*layer
	if b.by == nil {
		return nil
	}
	for _, l := range b.by.net.layers {
		if seen[l] {
			out = append(out, l)
		}
	}
	return out
}

// dataOf returns the data layer whose records a blob comes from, if it comes
// from one alone.
func dataOf(b *blob) *layer {
	var found *layer
	for _, l := range behind(b) {
		if len(l.bottoms) == 0 && l.GetType() != "Parameter" {
			if found != nil {
				return nil
			}
			found = l
		}
	}
	return found
}

// batch returns how many pictures a data layer hands out at a time, 0 if it is
// not known.
func batch(l *layer) int {
	if len(l.tops) == 0 || len(l.tops[0].shape) == 0 {
		return 0
	}
	return l.tops[0].shape[0]
}

// trainData returns the data layer of the train net that the first loss hangs
// on, nil if there is none.
func (c *Case) trainData() *layer {
	for _, l := range c.Train.layers {
		if isLoss(l) && len(l.bottoms) > 0 {
			if d := dataOf(l.bottoms[0]); d != nil {
				return d
			}
		}
	}
	return nil
}

// A classifierEnd is where a net says which class a picture is of.
type classifierEnd struct {
	loss    *layer // or Accuracy
	last    *layer // the last layer with weights, nil if there is none
	between []*layer
	classes int // 0 if not known
}

// classAxis returns the axis of the classes in the first bottom of a loss over
// classes or of Accuracy; negative counts from the end.
func classAxis(l *layer) int {
	switch l.GetType() {
	case "SoftmaxWithLoss":
		return int(l.GetSoftmaxParam().GetAxis())
	case "InfogainLoss":
		return int(l.GetInfogainLossParam().GetAxis())
	case "Accuracy":
		return int(l.GetAccuracyParam().GetAxis())
	}
	return 1
}

// ends returns where a net's classifiers end: at losses over classes and, if
// accuracies, at Accuracy layers.
func (n *Net) ends(accuracies bool) []classifierEnd {
	var out []classifierEnd
	for _, l := range n.layers {
		switch l.GetType() {
		case "SoftmaxWithLoss", "MultinomialLogisticLoss", "HingeLoss", "InfogainLoss":
		case "Accuracy":
			if !accuracies {
				continue
			}
		default:
			continue
		}
		if len(l.bottoms) < 2 {
			continue
		}
		e := classifierEnd{loss: l, between: before(l.bottoms[0])}
		if s := l.bottoms[0].shape; len(s) > 1 {
			e.classes = s[axis(classAxis(l), len(s))]
		}
		if n := len(e.between); n > 0 {
			if _, ok := weightsOf(e.between[n-1]); ok {
				e.last, e.between = e.between[n-1], e.between[:n-1]
			}
		}
		out = append(out, e)
	}
	return out
}
