package doctor

import (
	"fmt"
	"math"

	"crema/prototxt/caffepb"
)

// labels compares the labels of the records with the classifiers' outputs.
func labels(c *Case, k *collector) {
	for _, n := range c.nets() {
		for _, e := range n.ends(true) {
			d := e.loss.bottoms[1].by
			if d == nil || e.loss.bottoms[1].top != 1 || e.classes == 0 {
				continue
			}
			r := c.source(d)
			if r == nil || r.err != nil || r.read == 0 {
				continue
			}
			c.labelRange(k, e, d, r)
		}
	}
}

func (c *Case) labelRange(k *collector, e classifierEnd, d *layer, r *records) {
	var ignore *int32
	if p := e.loss.GetLossParam(); p != nil {
		ignore = p.IgnoreLabel
	}
	if p := e.loss.GetAccuracyParam(); p != nil {
		ignore = p.IgnoreLabel
	}
	lo, hi, kinds, out := int32(math.MaxInt32), int32(math.MinInt32), 0, 0
	for v, n := range r.counts {
		if ignore != nil && v == *ignore {
			continue
		}
		lo, hi = min(lo, v), max(hi, v)
		kinds++
		if v < 0 || int(v) >= e.classes {
			out += n
		}
	}
	if kinds == 0 {
		return
	}
	at, field := e.loss, ""
	if e.last != nil {
		w, _ := weightsOf(e.last)
		at, field = e.last, w.field+".num_output"
	}
	spread := fmt.Sprintf("The labels of %s (%s) go from %d to %d", r.path, r.extent(), lo, hi)
	switch {
	case out > 0:
		f := at.in("label-range", Error, Certain, field)
		f.What = fmt.Sprintf("%s, and the classifier has %d outputs, for labels 0 to %d; %s no output.", spread, e.classes, e.classes-1, plural2(out, "record has", "records have"))
		f.Why = "Caffe reads beyond the outputs there: the loss is garbage, or the run ends."
		switch {
		case lo >= 1 && int(hi) == e.classes:
			f.What = fmt.Sprintf("%s: they count from 1, and Caffe's count from 0; the classifier's %d outputs are for 0 to %d.", spread, e.classes, e.classes-1)
			f.Fix = fmt.Sprintf("Subtract 1 from the labels when the database is made, or num_output: %d.", hi+1)
		default:
			f.Fix = fmt.Sprintf("num_output: %d", hi+1)
		}
		if lo < 0 {
			f.Fix = "Labels must not be negative; ignore_label leaves one out of the loss."
		} else if field != "" {
			f.Set = []string{at.set(field, fmt.Sprint(hi+1))}
		}
		k.add(f)
	case kinds == 1 && r.read >= 20 && e.classes > 1:
		f := d.in("one-label", Error, Certain, sourceField(d))
		f.What = fmt.Sprintf("All labels of %s (%s) are %d.", r.path, r.extent(), lo)
		f.Why = "The net learns to say that, whatever the picture; the loss falls to 0 at once."
		f.Fix = "Look at the list that the database was made from: each line is a file and its label."
		k.add(f)
	case r.whole() && d.net.Param.GetState().GetPhase() == caffepb.Phase_TRAIN && int(hi)+1 < e.classes:
		f := at.in("unused-outputs", Note, Certain, field)
		f.What = fmt.Sprintf("%s, and the classifier has %d outputs.", spread, e.classes)
		f.Why = "The others are only learned not to be given; it does little harm."
		if lo == 1 {
			f.Why = "Output 0 has no records; labels seem to count from 1, where Caffe's count from 0."
		}
		f.Fix = fmt.Sprintf("num_output: %d", hi+1)
		if field != "" {
			f.Set = []string{at.set(field, fmt.Sprint(hi+1))}
		}
		k.add(f)
	}
}

func plural2(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// shuffling finds training records that are sorted by label.
func shuffling(c *Case, k *collector) {
	for _, l := range c.Train.layers {
		r := c.source(l)
		n := batch(l)
		if r == nil || r.err != nil || n < 2 || l.GetImageDataParam().GetShuffle() || len(l.Top) < 2 {
			continue
		}
		n *= int(max(1, c.Solver.GetIterSize()))
		if len(r.labels) < 4*n || len(r.counts) < 2 {
			continue
		}
		// The kinds of labels in a batch, as it is and as it would be with the
		// same records in random order.
		var kinds, expected float64
		batches := len(r.labels) / n
		for b := range batches {
			seen := map[int32]bool{}
			for _, v := range r.labels[b*n : (b+1)*n] {
				seen[v] = true
			}
			kinds += float64(len(seen)) / float64(batches)
		}
		for _, m := range r.counts {
			expected += 1 - math.Pow(1-float64(m)/float64(r.read), float64(n))
		}
		if kinds-1 > 0.5*(expected-1) {
			continue
		}
		f := l.in("not-shuffled", Error, Likely, sourceField(l))
		f.What = fmt.Sprintf("The records are in the order of their labels: a batch of %d has %s different ones on average, in random order it would have %s (%s read).",
			n, num(kinds), num(expected), r.extent())
		f.Why = "Each step unlearns the classes that the batch does not hold; the loss of a batch falls while the net learns nothing that lasts."
		f.Fix = "Make the database with crema convert_imageset --shuffle."
		if l.GetType() == "ImageData" {
			f.Fix, f.Set = "shuffle: true", []string{l.set("image_data_param.shuffle", "true")}
		}
		k.add(f)
	}
}
