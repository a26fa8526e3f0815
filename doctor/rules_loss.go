package doctor

import (
	"fmt"
	"slices"
)

// losses finds train nets that minimise nothing.
func losses(c *Case, k *collector) {
	n := c.Train
	var all []*layer
	for _, l := range n.layers {
		if takesLoss(l) || len(l.LossWeight) > 0 {
			all = append(all, l)
		}
		if slices.ContainsFunc(l.LossWeight, func(w float32) bool { return w < 0 }) {
			f := l.in("loss-weight", Error, Likely, "loss_weight")
			f.What, f.Why = "loss_weight is negative.", "Training makes this loss larger."
			f.Fix, f.Set = "loss_weight: 1", []string{l.set("loss_weight", "1")}
			k.add(f)
		}
	}
	if slices.ContainsFunc(all, isLoss) {
		return
	}
	if len(all) > 0 {
		f := all[0].in("loss-weight", Error, Certain, "loss_weight")
		f.What, f.Why = fmt.Sprintf("The loss_weight of %s is 0, and there is no other loss.", list(quoted(names(all)))), "Nothing is minimised, so nothing is learned."
		f.Fix, f.Set = "loss_weight: 1", []string{all[0].set("loss_weight", "1")}
		k.add(f)
		return
	}
	f := Finding{Rule: "no-loss", Severity: Error, Sure: Certain, Where: n.File, Net: n.Title}
	f.What, f.Why = "The train net has no loss.", "Nothing is minimised, so nothing is learned."
	f.Fix = "Add a layer of type SoftmaxWithLoss that reads the outputs and the labels; its include rule must not leave out TRAIN."
	if c.Solver == nil {
		f.Severity, f.Why = Note, "It can be run, not trained."
	}
	k.add(f)
}

// classifier finds mistakes between the last weights and the loss.
func classifier(c *Case, k *collector) {
	for _, n := range c.nets() {
		for _, e := range n.ends(true) {
			top := int(e.loss.GetAccuracyParam().GetTopK())
			if e.loss.GetType() == "Accuracy" {
				if top > 1 && e.classes > 0 && top >= e.classes {
					f := e.loss.in("top-k", Warning, Certain, "accuracy_param.top_k")
					f.What = fmt.Sprintf("top_k is %d of %d classes.", top, e.classes)
					f.Why, f.Fix = "It is always 1.", "top_k: 1"
					f.Set = []string{e.loss.set("accuracy_param.top_k", "1")}
					k.add(f)
				}
				continue
			}
			classifierEndRules(e, k)
		}
	}
}

func classifierEndRules(e classifierEnd, k *collector) {
	kind := e.loss.GetType()
	softmax := kind == "SoftmaxWithLoss" || kind == "InfogainLoss"
	var by *layer // what ends the search if it is not weights
	if e.last == nil && len(e.between) > 0 {
		by = e.between[len(e.between)-1]
	}
	switch {
	case softmax && by != nil && by.GetType() == "Softmax":
		f := e.loss.in("softmax-twice", Error, Certain, "bottom")
		f.What = fmt.Sprintf("%s reads the probabilities of the Softmax layer %q.", kind, by.GetName())
		f.Why = "It takes a softmax itself: the second one flattens the first, gradients are tiny and the loss cannot fall far."
		if len(by.bottoms) > 0 {
			f.Fix, f.Set = fmt.Sprintf("bottom: %q", by.bottoms[0].name), []string{e.loss.set("bottom[0]", by.bottoms[0].name)}
		}
		k.add(f)
	case kind == "HingeLoss" && by != nil && by.GetType() == "Softmax":
		f := e.loss.in("activation-before-loss", Warning, Certain, "bottom")
		f.What = fmt.Sprintf("HingeLoss reads the probabilities of the Softmax layer %q.", by.GetName())
		f.Why = "It wants the right class's score above 1 and the others below -1, which no probability reaches: it pushes on for ever."
		if len(by.bottoms) > 0 {
			f.Fix, f.Set = fmt.Sprintf("bottom: %q", by.bottoms[0].name), []string{e.loss.set("bottom[0]", by.bottoms[0].name)}
		}
		k.add(f)
	case kind == "MultinomialLogisticLoss" && e.last != nil:
		f := e.loss.in("softmax-missing", Error, Certain, "type")
		f.What, f.Why = "MultinomialLogisticLoss takes probabilities and gets outputs that were not made such.", "The logarithm of any number below 1e-20 is cut off there: no gradient."
		f.Fix, f.Set = "type: \"SoftmaxWithLoss\"", []string{e.loss.set("type", "SoftmaxWithLoss")}
		k.add(f)
	}
	if e.last == nil || slices.ContainsFunc(e.between, func(l *layer) bool { return l.GetType() == "Pooling" }) {
		return
	}
	for _, l := range e.between {
		switch {
		case l.GetType() == "Dropout" && l.GetDropoutParam().GetDropoutRatio() != 0:
			f := l.in("dropout-after-classifier", Warning, Certain, "")
			f.What = fmt.Sprintf("Dropout is applied to the class scores of %q.", e.last.GetName())
			f.Why = "In training, the scores of random classes are 0, that of the right one, too; the loss stays high."
			f.Fix, f.Set = "Move it before the last layer with weights, or remove it.", []string{l.set("dropout_param.dropout_ratio", "0")}
			k.add(f)
		case isActivation(l) && softmax:
			f := l.in("activation-before-loss", Warning, Likely, "")
			f.What = fmt.Sprintf("The class scores of %q go through %s before the loss.", e.last.GetName(), l.GetType())
			f.Why = "Scores must be free to take any value; cut to a range, they cannot say that a class is unlikely, and units in the flat part get no gradient."
			f.Fix = fmt.Sprintf("Remove layer %q.", l.GetName())
			k.add(f)
		}
	}
}
