package doctor

import (
	"fmt"
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

// batchNorm finds statistics that cannot be right in training.
func batchNorm(c *Case, l *layer, k *collector) {
	if l.GetBatchNormParam().GetUseGlobalStats() && !c.pretrained() {
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
	if s := l.bottoms[0].shape; len(s) > 0 && s[0] == 1 && !l.GetBatchNormParam().GetUseGlobalStats() && (len(s) < 3 || product(s[2:]) == 1) {
		f := l.in("batch-statistics", Error, Certain, "")
		f.What, f.Why = "The batch is a single picture, and each channel a single value.", "Less its own mean it is always 0."
		f.Fix = "A larger batch_size."
		k.add(f)
	}
}
