package doctor

import (
	"fmt"
	"slices"

	"crema/prototxt/caffepb"
)

// dropouts judges the shares that are dropped.
func dropouts(c *Case, k *collector) {
	for _, l := range c.Train.layers {
		if l.GetType() != "Dropout" {
			continue
		}
		ratio := l.GetDropoutParam().GetDropoutRatio()
		f := l.in("dropout-ratio", Warning, Likely, "dropout_param.dropout_ratio")
		f.What = fmt.Sprintf("dropout_ratio is %s, the share that is dropped.", f32(ratio))
		f.Fix, f.Set = "dropout_ratio: 0.5", []string{l.set("dropout_param.dropout_ratio", "0.5")}
		switch {
		case ratio >= 1 || ratio < 0:
			f.Severity, f.Sure, f.Why = Error, Certain, "It must be at least 0 and below 1."
		case ratio > 0.9:
			f.Why = fmt.Sprintf("One unit in %.0f is left, so next to nothing gets through; perhaps the share that is kept was meant.", 1/(1-ratio))
		case ratio == 0:
			f.Severity, f.Sure, f.Why, f.Fix = Note, Certain, noHarm, "Remove the layer, or dropout_ratio: 0.5."
		default:
			continue
		}
		k.add(f)
	}
}

// normalisations judges layers that bring their inputs to a common size.
func normalisations(c *Case, k *collector) {
	for _, l := range c.Train.layers {
		switch l.GetType() {
		case "BatchNorm":
			statisticsLearned(l, k)
			averageFraction(c, l, k)
			batchStatistics(c, l, k)
			dropoutBefore(l, k)
		case "LRN":
			responseNorm(l, k)
		}
	}
	for _, n := range c.Tests {
		for _, l := range n.layers {
			if p := l.GetBatchNormParam(); l.GetType() == "BatchNorm" && p.UseGlobalStats != nil && !p.GetUseGlobalStats() {
				f := l.in("batch-statistics", Warning, Certain, "batch_norm_param.use_global_stats")
				f.What = "use_global_stats is false in TEST."
				f.Why = "What the net says of a picture then depends on the others of its batch, and a batch of one class is judged as if it were all."
				f.Fix, f.Set = "Remove use_global_stats: TRAIN and TEST then do what is right by themselves.", []string{l.set("batch_norm_param.use_global_stats", "")}
				k.add(f)
			}
		}
	}
	withoutScale(c, k)
	uselessBias(c, k)
	statisticsDecay(c, k)
}

// statisticsLearned finds a learning rate for the statistics of a BatchNorm layer.
func statisticsLearned(l *layer, k *collector) {
	var bad []int
	for i, p := range l.Param {
		if p.GetLrMult() != 0 {
			bad = append(bad, i)
		}
	}
	if len(bad) == 0 {
		return
	}
	f := l.in("batch-norm-learned", Error, Certain, fmt.Sprintf("param[%d]", bad[0]))
	f.What = fmt.Sprintf("lr_mult of param %d is %s.", bad[0], f32(l.Param[bad[0]].GetLrMult()))
	if l.Param[bad[0]].LrMult == nil {
		f.What = fmt.Sprintf("param %d gives no lr_mult, so it is 1.", bad[0])
	}
	f.Why = "The parameters of BatchNorm are mean, variance and a count, which are measured and not learned: the net is refused. Its scale and shift are those of a Scale layer behind it."
	f.Fix = "Remove the param entries, or lr_mult: 0 in each"
	for _, i := range bad {
		f.Set = append(f.Set, l.set(fmt.Sprintf("param[%d].lr_mult", i), "0"))
	}
	k.add(f)
}

// averageFraction judges for how long a BatchNorm layer remembers.
func averageFraction(c *Case, l *layer, k *collector) {
	p := l.GetBatchNormParam()
	q := p.GetMovingAverageFraction()
	f := l.in("moving-average-fraction", Warning, Certain, "batch_norm_param.moving_average_fraction")
	f.What = fmt.Sprintf("moving_average_fraction is %s, the share of the old averages that each batch keeps.", f32(q))
	f.Fix, f.Set = "Remove moving_average_fraction (0.999).", []string{l.set("batch_norm_param.moving_average_fraction", "")}
	switch {
	case p.GetUseGlobalStats():
		return // nothing is averaged
	case q > 1:
		f.Severity, f.Why = Error, "The averages grow without end."
	case q == 1:
		f.Sure, f.Why = Likely, "Nothing is forgotten: in TEST, the first batches of the untrained net count as much as the last."
	case q < 0:
		f.Severity, f.Why = Error, "It must not be negative: the net is refused."
	case q < 0.5:
		f.Why = fmt.Sprintf("In TEST, the averages are of the last %s batches of TRAIN and as uncertain as these; perhaps the share of the new batch was meant.", num(1/(1-float64(q))))
	default:
		return
	}
	k.add(f)
}

// batchStatistics finds statistics that cannot be right in training.
func batchStatistics(c *Case, l *layer, k *collector) {
	if l.GetBatchNormParam().GetUseGlobalStats() {
		if c.pretrained() {
			return // fine-tuning often leaves them as they are
		}
		f := l.in("batch-statistics", Error, Certain, "batch_norm_param.use_global_stats")
		f.What = "use_global_stats is true in TRAIN, and no trained weights are loaded."
		f.Why = "The statistics are 0 and stay so: every output is divided by next to nothing."
		f.Fix, f.Set = "Remove use_global_stats: TRAIN and TEST then do what is right by themselves.", []string{l.set("batch_norm_param.use_global_stats", "")}
		k.add(f)
		return
	}
	if len(l.bottoms) == 0 {
		return
	}
	s := l.bottoms[0].shape
	if len(s) == 0 || s[0] != 1 {
		return
	}
	f := l.in("batch-statistics", Error, Certain, "")
	f.Fix = "A larger batch_size; iter_size does not help, since each pass has its own statistics."
	if len(s) < 3 || product(s[2:]) == 1 {
		f.What, f.Why = "The batch is a single picture, and each channel a single value.", "Less its own mean it is always 0."
	} else {
		f.Severity, f.Sure = Warning, Likely
		f.What = "The batch is a single picture."
		f.Why = "Each picture is normalised by its own mean and variance, in TEST by averages over many pictures: the net is tested on what it was not trained for."
	}
	k.add(f)
}

// dropoutBefore finds Dropout between the last weights and a BatchNorm layer.
func dropoutBefore(l *layer, k *collector) {
	if len(l.bottoms) == 0 {
		return
	}
	for _, d := range before(l.bottoms[0]) {
		ratio := d.GetDropoutParam().GetDropoutRatio()
		if d.GetType() != "Dropout" || ratio <= 0 || ratio >= 1 {
			continue
		}
		f := d.in("dropout-before-batch-norm", Note, Likely, "")
		if ratio >= 0.5 {
			f.Severity = Warning
		}
		f.What = fmt.Sprintf("Dropout of %s goes into the BatchNorm layer %q.", f32(ratio), l.GetName())
		f.Why = fmt.Sprintf("In TRAIN dropout raises the variance, by up to a factor of %s, and BatchNorm remembers that; in TEST nothing is dropped, and all outputs are too small (Li et al. 2018).", num(1/(1-float64(ratio))))
		f.Fix = "Move the Dropout layer behind the last BatchNorm layer, or remove it."
		f.Set = []string{d.set("dropout_param.dropout_ratio", "0")}
		k.add(f)
		return
	}
}

// withoutScale finds BatchNorm layers whose outputs keep mean 0 and variance 1.
func withoutScale(c *Case, k *collector) {
	var bare, unshifted []*layer
	for _, l := range c.Train.layers {
		if l.GetType() != "BatchNorm" || len(l.tops) == 0 || len(l.bottoms) == 0 {
			continue
		}
		if !slices.ContainsFunc(behind(l.bottoms[0]), (*layer).mixes) {
			continue // it normalises the input
		}
		scaled, shifted, weights, scores := false, false, false, ""
		ahead(l, func(r *layer) bool {
			switch t := r.GetType(); {
			case t == "Scale" && !weights:
				scaled, shifted = true, shifted || r.GetScaleParam().GetBiasTerm()
			case t == "Bias":
				shifted = true
			case t == "SoftmaxWithLoss" || t == "SigmoidCrossEntropyLoss" || t == "InfogainLoss":
				scores = t
			case r.mixes():
				weights = true
				return false
			case isActivation(r) || t == "Eltwise":
				return false
			}
			return true
		})
		switch {
		case scaled && (shifted || scores != ""):
		case scaled:
			unshifted = append(unshifted, l)
		case scores != "" && !weights:
			f := l.in("batch-norm-scores", Warning, Likely, "")
			f.What = fmt.Sprintf("The scores that %s reads come from BatchNorm and have no Scale layer: their variance is 1.", scores)
			f.Why = "The net can never be sure of anything: the loss stays far above 0."
			f.Fix = scaleBehind(l)
			k.add(f)
		default:
			bare = append(bare, l)
		}
	}
	if len(bare) > 0 {
		f := bare[0].in("batch-norm-scale", Note, Likely, "")
		f.What = fmt.Sprintf("No Scale layer follows the BatchNorm of %s.", list(quoted(names(bare))))
		f.Why = "Caffe's BatchNorm only makes mean 0 and variance 1; the scale and shift that are learned in papers, by which a unit can be on more or less often, are those of a Scale layer."
		f.Fix = scaleBehind(bare[0])
		k.add(f)
	}
	if len(unshifted) > 0 {
		f := unshifted[0].in("batch-norm-scale", Note, Likely, "")
		f.What = fmt.Sprintf("The Scale layer behind the BatchNorm of %s has no bias_term.", list(quoted(names(unshifted))))
		f.Why = "Behind it the mean is always 0: a ReLU is on half of the time, whatever is learned."
		f.Fix = "scale_param { bias_term: true }"
		k.add(f)
	}
}

// scaleBehind writes a Scale layer for what l makes.
func scaleBehind(l *layer) string {
	top := l.tops[0].name
	return fmt.Sprintf("layer { name: \"%s_scale\" type: \"Scale\" bottom: %q top: %q scale_param { bias_term: true } } right behind it", l.GetName(), top, top)
}

// uselessBias notes biases that a BatchNorm layer takes away again.
func uselessBias(c *Case, k *collector) {
	var found []*layer
	for _, l := range c.Train.layers {
		w, ok := weightsOf(l)
		if !ok || !w.hasBias || len(l.tops) == 0 || len(l.tops[0].readers) != 1 {
			continue
		}
		if r := l.tops[0].readers[0]; r.GetType() == "BatchNorm" && !r.GetBatchNormParam().GetUseGlobalStats() {
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return
	}
	w, _ := weightsOf(found[0])
	f := found[0].in("bias-before-batch-norm", Note, Certain, w.field)
	f.What = fmt.Sprintf("The biases of %s go straight into BatchNorm.", list(quoted(names(found))))
	f.Why = "It subtracts the mean, and the biases with it: they change nothing and cost a little time and memory."
	f.Fix = "bias_term: false"
	k.add(f)
}

// statisticsDecay notes that some solvers remember the decay of the statistics,
// though they do not apply it.
func statisticsDecay(c *Case, k *collector) {
	if c.Solver == nil || c.Solver.GetWeightDecay() == 0 {
		return
	}
	if t := kind(c.Solver); t == "SGD" || t == "Nesterov" {
		return // their history has the rate in it, which is 0
	}
	var found []*layer
	for _, l := range c.Train.layers {
		if l.GetType() != "BatchNorm" {
			continue
		}
		if len(l.Param) < 3 || slices.ContainsFunc(l.Param, func(p *caffepb.ParamSpec) bool { return p.GetDecayMult() != 0 }) {
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return
	}
	f := found[0].in("batch-norm-decay", Note, Certain, "")
	f.What = fmt.Sprintf("weight_decay goes into the history that %s keeps for the statistics of %s.", kind(c.Solver), plural(len(found), "BatchNorm layer"))
	f.Why = "Their lr_mult is 0, so they do not change; only the solver state holds what is of no use."
	f.Fix = "param { lr_mult: 0 decay_mult: 0 }, three times in each"
	k.add(f)
}

// responseNorm finds local response normalisation that does nothing by its
// fields alone; measurements show what it does to real values.
func responseNorm(l *layer, k *collector) {
	p := l.GetLrnParam()
	f := l.in("lrn-idle", Warning, Certain, "lrn_param")
	switch {
	case p.GetAlpha() == 0:
		f.What = "alpha is 0."
	case p.GetBeta() == 0:
		f.What = "beta is 0."
	default:
		return
	}
	f.Why = "Every value is divided by the same number, whatever its neighbours are."
	f.Fix, f.Set = "alpha: 0.0001 beta: 0.75, or remove the layer", []string{l.set("lrn_param.alpha", "0.0001"), l.set("lrn_param.beta", "0.75")}
	k.add(f)
}
