package doctor

import (
	"fmt"
	"math"
	"slices"

	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// targets judges losses that are not over classes, and the matrix of those that
// weigh them.
func targets(c *Case, k *collector) {
	for _, n := range c.nets() {
		for _, l := range n.layers {
			switch l.GetType() {
			case "SigmoidCrossEntropyLoss":
				c.sigmoidTargets(l, k)
			case "ContrastiveLoss":
				c.pairLabels(l, k)
				twoTowers(l, k)
			case "InfogainLoss":
				c.infogain(l, k)
			}
		}
	}
}

// thinned returns what stands directly before b, the latest first, layers aside
// that only arrange values.
func thinned(b *blob) []*layer {
	arranges := []string{"Split", "Flatten", "Reshape", "Slice", "Crop", "Dropout"}
	return slices.DeleteFunc(before(b), func(l *layer) bool { return slices.Contains(arranges, l.GetType()) })
}

// labelSource returns the data layer whose records' labels a blob has as they
// are, and what is known of them; nil if it is none.
func (c *Case) labelSource(b *blob) (*layer, *records) {
	for b.by != nil && len(b.by.bottoms) == 1 && slices.Contains([]string{"Split", "Flatten", "Reshape"}, b.by.GetType()) {
		b = b.by.bottoms[0]
	}
	if b.by == nil || b.top != 1 {
		return nil, nil
	}
	r := c.source(b.by)
	if r == nil || r.err != nil || r.read == 0 {
		return nil, nil
	}
	return b.by, r
}

// sigmoidTargets judges a SigmoidCrossEntropyLoss.
func (c *Case) sigmoidTargets(l *layer, k *collector) {
	if len(l.bottoms) < 2 {
		return
	}
	if b := thinned(l.bottoms[0]); len(b) > 0 {
		switch by := b[0]; {
		case by.GetType() == "Sigmoid" && len(by.bottoms) > 0:
			f := l.in("sigmoid-twice", Error, Certain, "bottom")
			f.What = fmt.Sprintf("SigmoidCrossEntropyLoss reads what the Sigmoid layer %q makes.", by.GetName())
			f.Why = "It takes a sigmoid itself: the second one only reaches from 0.5 to 0.73, gradients are tiny and the loss cannot fall far."
			f.Fix = fmt.Sprintf("bottom: %q", by.bottoms[0].name)
			if by.bottoms[0].name != by.tops[0].name {
				f.Set = []string{l.set("bottom[0]", by.bottoms[0].name)}
			} else {
				f.Fix = fmt.Sprintf("Remove layer %q.", by.GetName())
			}
			k.add(f)
		case isActivation(by):
			f := by.in("activation-before-loss", Warning, Likely, "")
			f.What = fmt.Sprintf("The scores go through %s before SigmoidCrossEntropyLoss.", by.GetType())
			f.Why = "Scores must be free to take any value; cut to a range, they cannot say that something is unlikely, and units in the flat part get no gradient."
			f.Fix = fmt.Sprintf("Remove layer %q.", by.GetName())
			k.add(f)
		}
	}
	d, r := c.labelSource(l.bottoms[1])
	if d == nil {
		return
	}
	ignore := l.GetLossParam().IgnoreLabel
	for v := range r.counts {
		if v == 0 || v == 1 || ignore != nil && v == *ignore {
			continue
		}
		f := l.in("label-range", Error, Certain, "bottom")
		f.What = fmt.Sprintf("The labels of %s (%s) go from %d to %d, and SigmoidCrossEntropyLoss wants a target between 0 and 1 for each output.", r.path, r.extent(), r.min, r.max)
		f.Why = "With other targets the loss has no lowest value: the scores run away."
		f.Fix = "For labels of classes: type: \"SoftmaxWithLoss\", with an output for each class."
		k.add(f)
		return
	}
}

// pairLabels judges the labels of a ContrastiveLoss, and its margin.
func (c *Case) pairLabels(l *layer, k *collector) {
	if m := l.GetContrastiveLossParam().GetMargin(); !(m > 0) {
		f := l.in("margin", Error, Certain, "contrastive_loss_param.margin")
		f.What, f.Why = fmt.Sprintf("margin is %s.", f32(m)), "Pairs that differ are never pushed apart: all outputs become the same."
		f.Fix, f.Set = "margin: 1", []string{l.set("contrastive_loss_param.margin", "1")}
		k.add(f)
	}
	if len(l.bottoms) < 3 {
		return
	}
	d, r := c.labelSource(l.bottoms[2])
	if d == nil {
		return
	}
	f := l.in("label-range", Error, Certain, "bottom")
	switch {
	case r.min < 0 || r.max > 1:
		f.What = fmt.Sprintf("The labels of %s (%s) go from %d to %d, and ContrastiveLoss wants 1 for pairs that are alike and 0 for others.", r.path, r.extent(), r.min, r.max)
		f.Why = "All but 0 counts as alike: the outputs of different things are pulled together."
		f.Fix = "Store whether the two of a pair are of one class, not the class."
		k.add(f)
	case len(r.counts) == 1 && r.read >= 20:
		f = d.in("one-label", Error, Certain, sourceField(d))
		f.What = fmt.Sprintf("All labels of %s (%s) are %d.", r.path, r.extent(), r.min)
		f.Why = "Pairs that are all alike make all outputs the same, and the loss falls to 0 at once."
		if r.min == 0 {
			f.Why = "Pairs of which none is alike are only pushed apart: the loss falls to 0, and outputs mean nothing."
		}
		f.Fix = "Store pairs of both kinds, about as many of each."
		k.add(f)
	}
}

// twoTowers finds a siamese net whose two halves do not share their weights.
func twoTowers(l *layer, k *collector) {
	if len(l.bottoms) < 2 || l.net.Param.GetState().GetPhase() != caffepb.Phase_TRAIN {
		return
	}
	tower := func(b, other *blob) (own []*layer) {
		theirs := behind(other)
		for _, m := range behind(b) {
			if m.mixes() && !slices.Contains(theirs, m) {
				own = append(own, m)
			}
		}
		return own
	}
	a, b := tower(l.bottoms[0], l.bottoms[1]), tower(l.bottoms[1], l.bottoms[0])
	if len(a) == 0 || len(a) != len(b) {
		return
	}
	for i := range a {
		if a[i].GetType() != b[i].GetType() || fmt.Sprint(a[i].params) != fmt.Sprint(b[i].params) {
			return // they are meant to differ
		}
		for _, p := range b[i].Param {
			if p.GetName() != "" {
				return
			}
		}
	}
	f := b[0].in("towers-apart", Warning, Likely, "")
	f.What = fmt.Sprintf("The two halves before %q are made alike, and share no weights: %s and %s.", l.GetName(), list(quoted(names(a))), list(quoted(names(b))))
	f.Why = "The same thing gives two answers, one of each half, and each half learns from half of the examples."
	f.Fix = "Give the params of each two layers the same name: param { name: \"w\" } param { name: \"b\" }"
	for i := range a {
		for _, m := range []*layer{a[i], b[i]} {
			for j := range m.params {
				f.Set = append(f.Set, m.set(fmt.Sprintf("param[%d].name", j), fmt.Sprintf("%s_%d", a[i].GetName(), j)))
			}
		}
	}
	k.add(f)
}

// infogain judges the matrix of an InfogainLoss that comes from a file.
func (c *Case) infogain(l *layer, k *collector) {
	path := l.GetInfogainLossParam().GetSource()
	if path == "" || len(l.bottoms) != 2 || len(l.bottoms[0].shape) == 0 {
		return
	}
	const field = "infogain_loss_param.source"
	classes := l.bottoms[0].shape[axis(classAxis(l), len(l.bottoms[0].shape))]
	var b caffepb.BlobProto
	if err := prototxt.ReadBinary(c.in.ResolvePath(path), &b); err != nil {
		f := l.in("source-unreadable", Error, Certain, field)
		f.What, f.Why = fmt.Sprintf("The matrix cannot be read: %v.", err), "A run ends where it begins."
		k.add(f)
		return
	}
	h := make([]float64, 0, len(b.Data)+len(b.DoubleData))
	for _, v := range b.Data {
		h = append(h, float64(v))
	}
	h = append(h, b.DoubleData...)
	if classes == 0 || len(h) != classes*classes {
		return // the layer refuses it, if the classes are known
	}
	for _, fault := range matrixFaults(h, classes) {
		f := l.in("infogain-matrix", Warning, Likely, field)
		f.What, f.Why = fault[0], fault[1]
		f.Fix = "Row L, column C of the matrix says what the logarithm of the probability of C counts for a record of label L."
		k.add(f)
	}
}

// matrixFaults returns what is wrong with the K×K matrix of an InfogainLoss, and
// why that matters.
func matrixFaults(h []float64, classes int) (faults [][2]string) {
	var empty, other, negative []string
	for r := range classes {
		row := h[r*classes : (r+1)*classes]
		best, sum := 0, 0.0
		for i, v := range row {
			sum += math.Abs(v)
			if v > row[best] {
				best = i
			}
		}
		switch {
		case sum == 0:
			empty = append(empty, fmt.Sprint(r))
		case slices.Min(row) < 0:
			negative = append(negative, fmt.Sprint(r))
		case row[best] > row[r]:
			other = append(other, fmt.Sprintf("%d (%d)", r, best))
		}
	}
	if len(empty) > 0 {
		faults = append(faults, [2]string{fmt.Sprintf("The rows of the labels %s are all 0.", list(empty)), "Records of these labels count for nothing."})
	}
	if len(negative) > 0 {
		faults = append(faults, [2]string{fmt.Sprintf("The rows of the labels %s have values below 0.", list(negative)), "The loss falls without end as these classes are made impossible."})
	}
	if len(other) > 0 {
		faults = append(faults, [2]string{fmt.Sprintf("In the rows of these labels another column than their own is the largest (in brackets): %s.", list(other)),
			"For records of these labels the net learns to say the other class; perhaps rows and columns are swapped."})
	}
	return faults
}

// classPositions compares where a loss over classes or Accuracy looks for the
// classes with the labels it is given.
func classPositions(c *Case, k *collector) {
	for _, n := range c.nets() {
		axes := map[*blob]*layer{} // the loss of each blob of scores
		for _, e := range n.ends(true) {
			l := e.loss
			s, y := l.bottoms[0].shape, l.bottoms[1].shape
			if len(s) == 0 || slices.Contains(s, 0) {
				continue
			}
			a := axis(classAxis(l), len(s))
			if axisField(l) == "" {
				continue
			}
			if y != nil && !slices.Contains(y, 0) && product(s)/s[a] != product(y) {
				misplaced(l, s, y, k)
				continue
			}
			if l.GetType() != "Accuracy" {
				axes[l.bottoms[0]] = l
				continue
			}
			loss := axes[l.bottoms[0]]
			if loss == nil {
				continue
			}
			if b := axis(classAxis(loss), len(s)); a != b {
				f := l.in("class-axis", Error, Certain, "accuracy_param.axis")
				f.What = fmt.Sprintf("Accuracy takes axis %d of %s for the classes, %q axis %d.", a, shapeText(s), loss.GetName(), b)
				f.Why = "It compares other numbers than the net was trained for."
				f.Fix, f.Set = fmt.Sprintf("axis: %d", b), []string{l.set("accuracy_param.axis", fmt.Sprint(b))}
				k.add(f)
			}
			accuracyIgnores(l, loss, k)
		}
	}
}

// axisField is the field of classAxis, "" for layers that have none.
func axisField(l *layer) string {
	switch l.GetType() {
	case "SoftmaxWithLoss":
		return "softmax_param.axis"
	case "InfogainLoss":
		return "infogain_loss_param.axis"
	case "Accuracy":
		return "accuracy_param.axis"
	}
	return ""
}

// misplaced reports scores and labels that do not go together.
func misplaced(l *layer, s, y []int, k *collector) {
	field := axisField(l)
	a := axis(classAxis(l), len(s))
	f := l.in("class-axis", Error, Certain, field)
	f.What = fmt.Sprintf("Scores of %s with their classes along axis %d want %s, and the labels are %s.", shapeText(s), a, plural(product(s)/s[a], "label"), shapeText(y))
	f.Why = "The net is refused."
	f.Fix = "Bring scores and labels to the same places: a label for every position of the scores."
	for b, d := range s {
		if d > 0 && product(s)/d == product(y) {
			f.Fix, f.Set = fmt.Sprintf("axis: %d", b), []string{l.set(field, fmt.Sprint(b))}
			break
		}
	}
	k.add(f)
}

// accuracyIgnores finds an Accuracy layer that counts what the loss leaves out.
func accuracyIgnores(l, loss *layer, k *collector) {
	p, q := loss.GetLossParam().IgnoreLabel, l.GetAccuracyParam().IgnoreLabel
	if p == nil || q != nil && *p == *q {
		return
	}
	f := l.in("accuracy-ignore", Warning, Certain, "accuracy_param")
	f.What = fmt.Sprintf("%q ignores the label %d, and Accuracy does not.", loss.GetName(), *p)
	f.Why = "What the net is not trained for counts as wrong; a label that is no class ends the test."
	f.Fix, f.Set = fmt.Sprintf("accuracy_param { ignore_label: %d }", *p), []string{l.set("accuracy_param.ignore_label", fmt.Sprint(*p))}
	k.add(f)
}

// shapeText writes a shape for a message.
func shapeText(s []int) string {
	if len(s) == 0 {
		return "a single number"
	}
	text := ""
	for i, d := range s {
		if i > 0 {
			text += "×"
		}
		text += fmt.Sprint(d)
	}
	return text
}
