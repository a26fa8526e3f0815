package doctor

import (
	"fmt"
	"math"
	"slices"

	"crema/prototxt/caffepb"
)

// labels compares the labels of the records with the classifiers' outputs.
func labels(c *Case, k *collector) {
	for _, n := range c.nets() {
		for _, e := range n.ends(true) {
			if d, r := c.labelSource(e.loss.bottoms[1]); d != nil && e.classes > 0 {
				c.labelRange(k, e, d, r)
			}
		}
	}
}

func (c *Case) labelRange(k *collector, e classifierEnd, d *layer, r *records) {
	ignore := ignoredBy(e.loss)
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
		f := e.loss.in("all-ignored", Error, Certain, "loss_param.ignore_label")
		f.What = fmt.Sprintf("All labels of %s (%s) are %d, which is the ignore_label.", r.path, r.extent(), *ignore)
		f.Why = "Nothing counts in the loss, so nothing is learned."
		f.Fix = "Remove ignore_label, or look at how the labels were made."
		k.add(f)
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

// ignoredBy returns the label that a loss over classes, or Accuracy, leaves out;
// nil if there is none.
func ignoredBy(l *layer) *int32 {
	if l.GetType() == "Accuracy" {
		return l.GetAccuracyParam().IgnoreLabel
	}
	return l.GetLossParam().IgnoreLabel
}

// labelImages judges labels that are pictures themselves, a label for each pixel.
func labelImages(c *Case, k *collector) {
	for _, n := range c.nets() {
		for _, e := range n.ends(true) {
			d, picture := imageSource(e.loss.bottoms[1]), dataOf(e.loss.bottoms[0])
			if d == nil || d == picture {
				continue
			}
			t := d.GetTransformParam()
			if t.GetScale() != 1 || t.GetMeanFile() != "" || len(t.MeanValue) > 0 {
				f := d.in("label-transform", Error, Certain, "transform_param")
				f.What = fmt.Sprintf("The pictures of %q are labels of %q, and a mean or a scale is applied to them.", d.GetName(), e.loss.GetName())
				f.Why = "Labels are the numbers of classes: other numbers are other classes, or none."
				f.Fix = "Remove scale, mean_file and mean_value here."
				f.Set = []string{d.set("transform_param.scale", ""), d.set("transform_param.mean_file", ""), d.set("transform_param.mean_value", "")}
				k.add(f)
				continue
			}
			drawnApart(c, d, picture, k)
			c.pixelRange(k, e, d)
		}
	}
}

// imageSource returns the layer whose pictures a blob is, parts cut out of them
// included; nil if it is none.
func imageSource(b *blob) *layer {
	for b.by != nil && len(b.by.bottoms) > 0 && slices.Contains([]string{"Split", "Flatten", "Reshape", "Slice", "Crop"}, b.by.GetType()) {
		b = b.by.bottoms[0]
	}
	if b.by == nil || b.top != 0 {
		return nil
	}
	if t := b.by.GetType(); t != "Data" && t != "ImageData" {
		return nil
	}
	return b.by
}

// drawnApart finds pictures and label pictures that are mirrored or cropped each
// by chances of its own.
func drawnApart(c *Case, labels, pictures *layer, k *collector) {
	random := func(l *layer) string {
		t := l.GetTransformParam()
		if t.GetMirror() {
			return "mirror"
		}
		r := c.source(l)
		crop := int(t.GetCropSize())
		if crop > 0 && l.net.Param.GetState().GetPhase() == caffepb.Phase_TRAIN && r != nil && (r.odd != "" || r.h > crop || r.w > crop) {
			return "crop_size"
		}
		return ""
	}
	for _, l := range []*layer{labels, pictures} {
		if l == nil || random(l) == "" {
			continue
		}
		field := random(l)
		f := l.in("label-transform", Error, Certain, "transform_param."+field)
		f.What = fmt.Sprintf("%s of %q is drawn by chance, for pictures and labels each by itself.", field, l.GetName())
		f.Why = "A picture and its labels are then of different places."
		f.Fix = "Store what is mirrored or cropped; or store picture and label as channels of one record, and take them apart by a Slice layer."
		f.Set = []string{l.set("transform_param."+field, "")}
		k.add(f)
		return
	}
}

// pixelRange compares the labels in pictures with the classes.
func (c *Case) pixelRange(k *collector, e classifierEnd, d *layer) {
	r := c.source(d)
	if r == nil || r.err != nil || r.pix.n == 0 || r.pix.levels == nil || e.classes == 0 {
		return
	}
	ignore := ignoredBy(e.loss)
	lo, hi, out, counted, all := math.Inf(1), math.Inf(-1), 0, 0, 0
	for v, n := range r.pix.levels {
		all += n
		if ignore != nil && v == float32(*ignore) {
			continue
		}
		counted += n
		lo, hi = min(lo, float64(v)), max(hi, float64(v))
		if v < 0 || int(v) >= e.classes {
			out += n
		}
	}
	of := fmt.Sprintf("in %s of %s", plural(r.pix.n, "label picture"), r.path)
	switch {
	case counted == 0:
		f := e.loss.in("all-ignored", Error, Likely, "loss_param.ignore_label")
		f.What = fmt.Sprintf("All pixels %s are %d, which is the ignore_label.", of, *ignore)
		f.Why, f.Fix = "Nothing counts in the loss, so nothing is learned.", "Remove ignore_label, or look at how the labels were made."
		k.add(f)
	case out > 0:
		f := e.loss.in("label-range", Error, Certain, "")
		f.What = fmt.Sprintf("The labels %s go from %s to %s, and there are scores of %d classes, 0 to %d; %.2g %% of the pixels have no class.", of, num(lo), num(hi), e.classes, e.classes-1, 100*float64(out)/float64(all))
		f.Why = "A run ends at the first of them."
		f.Fix = fmt.Sprintf("%d channels of scores; pixels to leave out want a loss_param { ignore_label }.", int(hi)+1)
		if hi == 255 && ignore == nil {
			f.Fix = "loss_param { ignore_label: 255 }, which is what the borders of objects are in many sets of labels"
			f.Set = []string{e.loss.set("loss_param.ignore_label", "255")}
			if e.loss.GetType() == "Accuracy" {
				f.Fix, f.Set = "accuracy_param { ignore_label: 255 }", []string{e.loss.set("accuracy_param.ignore_label", "255")}
			}
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
