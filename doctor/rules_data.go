package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"crema/prototxt/caffepb"
)

// pictureLayers returns the data layers of all nets that apply a
// transform_param.
func (c *Case) pictureLayers() []*layer {
	var out []*layer
	for _, n := range c.nets() {
		for _, l := range n.layers {
			if c.source(l) != nil {
				out = append(out, l)
			}
		}
	}
	return out
}

// sourceField is the field that names what a data layer reads.
func sourceField(l *layer) string {
	switch l.GetType() {
	case "ImageData":
		return "image_data_param.source"
	case "HDF5Data":
		return "hdf5_data_param.source"
	case "WindowData":
		return "window_data_param.source"
	}
	return "data_param.source"
}

// sources finds what cannot be read.
func sources(c *Case, k *collector) {
	for _, n := range c.nets() {
		for _, l := range n.layers {
			if err := l.unread; err != nil {
				f := l.in("source-unreadable", Error, Certain, sourceField(l))
				f.What, f.Why = fmt.Sprintf("The source cannot be read: %v.", err), "A run ends where it begins."
				if errors.Is(err, fs.ErrNotExist) {
					f = l.in("source-missing", Note, Certain, sourceField(l))
					f.What, f.Why = fmt.Sprintf("The source cannot be read: %v.", err), "Nothing that depends on the data was looked at."
					f.Fix = "--data-root OLD=NEW maps the folders of another machine."
				}
				k.add(f)
			}
		}
	}
	for _, l := range c.pictureLayers() {
		r := c.source(l)
		switch {
		case r.missing:
			f := l.in("source-missing", Note, Certain, sourceField(l))
			f.What = fmt.Sprintf("%s does not exist here.", r.path)
			f.Why = "Labels, sizes, order and range of the data were not looked at."
			f.Fix = "--data-root OLD=NEW maps the folders of another machine."
			k.add(f)
		case r.err != nil:
			f := l.in("source-unreadable", Error, Certain, sourceField(l))
			f.What = fmt.Sprintf("The source cannot be read: %v.", r.err)
			f.Why = "A run ends where it begins."
			if strings.Contains(r.err.Error(), "set backend to LMDB") {
				f.Fix, f.Set = "backend: LMDB", []string{l.set("data_param.backend", "LMDB")}
			} else if strings.Contains(r.err.Error(), "set backend to LEVELDB") {
				f.Fix, f.Set = "backend: LEVELDB", []string{l.set("data_param.backend", "LEVELDB")}
			}
			k.add(f)
		case r.total == 0:
			f := l.in("source-unreadable", Error, Certain, sourceField(l))
			f.What, f.Why = fmt.Sprintf("%s holds no records.", r.path), "A run ends where it begins."
			k.add(f)
		}
		if n := len(r.unread); n > 0 {
			f := l.in("images-missing", Error, Certain, "image_data_param.root_folder")
			f.What = fmt.Sprintf("%d of %d images that were tried cannot be read; the first: %v.", n, n+r.pix.n, r.unread[0])
			f.Why = "A run ends at the first of them."
			if errors.Is(r.unread[0], fs.ErrNotExist) {
				f.Fix = "root_folder is put before each name as it is: end it with a slash."
			}
			k.add(f)
		}
		if r.damaged > 0 {
			f := l.in("images-damaged", Warning, Certain, sourceField(l))
			f.What = fmt.Sprintf("%d of %d images that were tried are damaged; the first: %s.", r.damaged, r.pix.n, r.lack)
			f.Why = "What is missing is learnt as grey, and there may be more of them."
			if l.GetType() == "Data" {
				f.Fix = "crema lmdb verify names all of them."
			}
			k.add(f)
		}
		if m := c.means[l.GetTransformParam().GetMeanFile()]; m != nil && m.err != nil {
			f := l.in("source-missing", Note, Certain, "transform_param.mean_file")
			f.What = fmt.Sprintf("%s does not exist here.", m.path)
			f.Why, f.Fix = "The mean was not looked at.", "crema compute_image_mean makes one from a database."
			if !m.missing {
				f.Rule, f.Severity = "source-unreadable", Error
				f.What, f.Why = fmt.Sprintf("The mean file cannot be read: %v.", m.err), "A run ends where it begins."
			}
			k.add(f)
		}
	}
}

// inputRange judges what the train net is fed with.
func inputRange(c *Case, k *collector) {
	for _, l := range c.Train.layers {
		in, ok := c.input(l)
		if !ok || len(l.tops) == 0 || normalised(l) || !feedsWeights(l) {
			continue
		}
		t := l.GetTransformParam()
		sure := Likely
		if !in.measured {
			sure = Possible
		}
		span := fmt.Sprintf("The input lies between %s and %s, its RMS is %s", num(in.min), num(in.max), num(in.signal.rms()))
		if !in.measured {
			span += " (if the data are photographs of 8 bits)"
		}
		switch s := in.signal; {
		case s.rms() < 0.01 || s.rms() > 1000:
			f := l.in("input-range", Error, sure, "transform_param.scale")
			f.What = fmt.Sprintf("%s, with scale %s.", span, f32(t.GetScale()))
			f.Why = "Nets and their fillers are made for inputs of about 1, or of 8-bit pixels."
			f.Fix, f.Set = "scale: 0.00390625 (1/256)", []string{l.set("transform_param.scale", "0.00390625")}
			k.add(f)
		case t.MeanFile == nil && len(t.GetMeanValue()) == 0 && math.Abs(s.mean) > 5:
			f := l.in("mean-missing", Warning, sure, "transform_param")
			f.What = span + ", and no mean is subtracted."
			f.Why = "An input that is the same sign everywhere moves all weights of a unit together; it needs much smaller rates and may not learn at all."
			v := num(math.Round(s.mean / float64(t.GetScale())))
			f.Fix, f.Set = "mean_value: "+v+", or a mean_file made by crema compute_image_mean", []string{l.set("transform_param.mean_value", v)}
			k.add(f)
		}
	}
}

// feedsWeights reports whether a layer with weights depends on what a data layer
// makes; else it holds labels, or what an output is compared with.
func feedsWeights(l *layer) bool {
	found := false
	ahead(l, func(r *layer) bool {
		found = found || r.mixes()
		return !found
	})
	return found
}

// normalised reports whether what a data layer makes goes through a layer that
// gives it mean 0 and variance 1, at once or behind the first weights, or through
// another that changes its range.
func normalised(l *layer) bool {
	for _, r := range l.tops[0].readers {
		if _, ok := weightsOf(r); ok && len(r.tops) > 0 && len(r.tops[0].readers) > 0 && r.tops[0].readers[0].GetType() == "BatchNorm" {
			return true
		}
		switch r.GetType() {
		case "BatchNorm", "MVN", "Power", "Scale", "Bias", "Slice", "Eltwise", "Python":
			return true
		}
	}
	return false
}

// meanRange compares the mean with the samples it is subtracted from.
func meanRange(c *Case, k *collector) {
	for _, l := range c.pictureLayers() {
		t, r := l.GetTransformParam(), c.source(l)
		m := c.means[t.GetMeanFile()]
		var mean, top float64
		field, what := "transform_param.mean_file", ""
		switch {
		case m != nil && m.err == nil:
			mean, top = m.mean, max(math.Abs(m.min), math.Abs(m.max))
			what = fmt.Sprintf("The mean file's values lie between %s and %s", num(m.min), num(m.max))
		case len(t.GetMeanValue()) > 0:
			field = "transform_param.mean_value"
			for _, v := range t.MeanValue {
				mean += float64(v) / float64(len(t.MeanValue))
				top = max(top, math.Abs(float64(v)))
			}
			what = fmt.Sprintf("mean_value is %s", num(mean))
			if len(t.MeanValue) > 1 {
				what += " on average"
			}
		case m != nil && t.GetScale() != 1:
			scaleOrder(l, k, "")
			continue
		default:
			continue
		}
		f := l.in("mean-range", Error, Certain, field)
		f.Why = "The mean is subtracted before scale is applied, so both must be on the range of the records; as it is, it removes next to nothing."
		measured := r.err == nil && r.pix.n > 0
		switch pix := r.pix.mean(); {
		case measured && mean > 0 && pix > 2 && pix > 50*mean:
			f.What = fmt.Sprintf("%s, but the samples of the records between %s and %s, with mean %s.", what, num(r.pix.min), num(r.pix.max), num(pix))
		case measured && pix > 0 && r.pix.max <= 2 && mean > 50*pix:
			f.What = fmt.Sprintf("%s, but the samples of the records between %s and %s, with mean %s.", what, num(r.pix.min), num(r.pix.max), num(pix))
			f.Why = "The mean is subtracted before scale is applied, so both must be on the range of the records; as it is, it drowns them."
		case !measured && top > 0 && top <= 1.5:
			f.Sure = Likely
			f.What = what + ", as if of samples between 0 and 1; records of Caffe's tools hold 0 to 255."
		default:
			if t.GetScale() != 1 && t.GetScale() != 0 {
				scaleOrder(l, k, what)
			}
			if measured {
				channelOrder(l, k, r)
			}
			continue
		}
		f.Fix = "Make the mean from the records as they are: crema compute_image_mean " + r.path + " mean.binaryproto"
		if field == "transform_param.mean_value" && measured {
			var v []string
			for _, ch := range r.pix.chans {
				v = append(v, num(ch.mean()))
			}
			f.Fix, f.Set = "mean_value: "+strings.Join(v, " mean_value: "), []string{l.set(field, strings.Join(v, ","))}
		}
		k.add(f)
	}
}

// scaleOrder notes that a mean and a scale together are right as they are: it
// is often advised to scale the mean.
func scaleOrder(l *layer, k *collector, what string) {
	if l.net.Param.GetState().GetPhase() != caffepb.Phase_TRAIN {
		return
	}
	if what == "" {
		what = "The mean could not be looked at; if it is of the records as they are"
	}
	f := l.in("mean-scale-order", Note, Certain, "transform_param")
	f.What = fmt.Sprintf("%s, and scale is %s: right so.", what, f32(l.GetTransformParam().GetScale()))
	f.Why = "(x - mean) × scale is x × scale - mean × scale: the order makes no difference, and a mean divided by 255 would remove next to nothing."
	k.add(f)
}

// channelOrder notes means that fit the channels better in reverse order.
func channelOrder(l *layer, k *collector, r *records) {
	v := l.GetTransformParam().GetMeanValue()
	if len(v) != 3 || len(r.pix.chans) != 3 {
		return
	}
	var as, reversed float64
	for i, ch := range r.pix.chans {
		as += math.Pow(ch.mean()-float64(v[i]), 2)
		reversed += math.Pow(ch.mean()-float64(v[2-i]), 2)
	}
	if math.Abs(float64(v[0]-v[2])) < 10 || as < 4*reversed+100 {
		return
	}
	f := l.in("mean-order", Note, Likely, "transform_param.mean_value")
	f.What = fmt.Sprintf("The records' channels have means %s, %s and %s; the mean_values fit better in reverse order.",
		num(r.pix.chans[0].mean()), num(r.pix.chans[1].mean()), num(r.pix.chans[2].mean()))
	f.Why = "Records hold blue, green, red, in this order."
	f.Fix = fmt.Sprintf("mean_value: %s mean_value: %s mean_value: %s", f32(v[2]), f32(v[1]), f32(v[0]))
	f.Set = []string{l.set("transform_param.mean_value", fmt.Sprintf("%s,%s,%s", f32(v[2]), f32(v[1]), f32(v[0])))}
	k.add(f)
}

// pictureSizes finds pictures, means and crops that do not fit each other.
func pictureSizes(c *Case, k *collector) {
	for _, l := range c.pictureLayers() {
		t, r := l.GetTransformParam(), c.source(l)
		m := c.means[t.GetMeanFile()]
		if m != nil && m.err != nil {
			m = nil
		}
		ch, h, w, of := r.c, r.h, r.w, "The pictures"
		if ch == 0 && m != nil {
			ch, h, w, of = m.c, m.h, m.w, "The mean file's pictures"
		}
		if ch == 0 {
			continue
		}
		if m != nil && (m.c != ch || m.h != h || m.w != w) {
			f := l.in("mean-size", Error, Certain, "transform_param.mean_file")
			f.What = fmt.Sprintf("The mean file is of %d×%d×%d pictures (channels×height×width), the records hold %d×%d×%d.", m.c, m.h, m.w, ch, h, w)
			f.Why, f.Fix = "A run ends at the first picture.", "crema compute_image_mean "+r.path+" mean.binaryproto"
			k.add(f)
		}
		if n := len(t.GetMeanValue()); n > 1 && n != ch {
			f := l.in("mean-size", Error, Certain, "transform_param.mean_value")
			f.What = fmt.Sprintf("There are %d mean_values for %s.", n, plural(ch, "channel"))
			f.Why, f.Fix = "A run ends at the first picture.", "Give one, or one for each channel."
			k.add(f)
		}
		if crop := int(t.GetCropSize()); crop > h || crop > w {
			f := l.in("crop-size", Error, Certain, "transform_param.crop_size")
			f.What = fmt.Sprintf("%s are of %d×%d pixels, smaller than crop_size %d.", of, h, w, crop)
			f.Why = "A run ends at the first picture."
			f.Fix, f.Set = fmt.Sprintf("crop_size: %d", min(h, w)), []string{l.set("transform_param.crop_size", fmt.Sprint(min(h, w)))}
			k.add(f)
		} else if r.odd != "" && (crop == 0 || m != nil) {
			f := l.in("picture-sizes", Error, Certain, sourceField(l))
			f.What = fmt.Sprintf("The records are not of one size: the first is %d×%d×%d, another %s.", ch, h, w, r.odd)
			f.Why = "Pictures of a batch must be of one size unless they are cropped, and of the mean file's if there is one."
			f.Fix = "Make the database with --resize_height and --resize_width, or set crop_size."
			if l.GetType() == "ImageData" {
				f.Fix = "Set new_height and new_width."
			}
			k.add(f)
		}
	}
}

// preprocessing compares how TRAIN and TEST prepare pictures.
func preprocessing(c *Case, k *collector) {
	train := c.trainData()
	if train == nil || len(train.tops) == 0 {
		return
	}
	a := train.GetTransformParam()
	for _, n := range c.Tests {
		var test *layer
		for _, l := range n.layers {
			if len(l.bottoms) == 0 && len(l.tops) > 0 && l.tops[0].name == train.tops[0].name {
				test = l
			}
		}
		if test == nil || test.GetType() != train.GetType() {
			continue
		}
		b := test.GetTransformParam()
		differ := func(field, x, y, why string, sev Severity, value string) {
			f := test.in("train-test-differ", sev, Likely, field)
			f.What = fmt.Sprintf("%s is %s in TRAIN (%s) and %s in TEST.", field[strings.LastIndexByte(field, '.')+1:], x, train.at(field), y)
			f.Why, f.Fix = why, "Make both the same."
			if value != "" || y != "not set" {
				f.Set = []string{test.set(field, value)}
			}
			k.add(f)
		}
		const other = "The net is tested on inputs it was not trained for: what the test shows is lower than what it learned."
		if a.GetScale() != b.GetScale() {
			differ("transform_param.scale", f32(a.GetScale()), f32(b.GetScale()), other, Error, f32(a.GetScale()))
		}
		c.compareMeans(a, b, differ)
		if x, y := a.GetCropSize(), b.GetCropSize(); x != y {
			value := ""
			if x != 0 {
				value = fmt.Sprint(x)
			}
			why, sev := "The net sees objects of another scale or with another margin in TEST.", Warning
			if spatial(c.Train) {
				why, sev = "Fully connected layers are made for one size: the test net cannot share the train net's weights.", Error
			}
			if x == 0 || y == 0 {
				// The size of uncropped pictures may be the crop's.
				if r := c.source(test); r == nil || r.c == 0 || r.h == int(max(x, y)) && r.w == int(max(x, y)) {
					sev = Note
				}
			}
			differ("transform_param.crop_size", cropText(x), cropText(y), why, sev, value)
		}
		if x, y := a.GetForceColor(), b.GetForceColor(); x != y {
			differ("transform_param.force_color", fmt.Sprint(x), fmt.Sprint(y), other, Warning, fmt.Sprint(x))
		}
		if x, y := a.GetForceGray(), b.GetForceGray(); x != y {
			differ("transform_param.force_gray", fmt.Sprint(x), fmt.Sprint(y), other, Warning, fmt.Sprint(x))
		}
		if p, q := train.GetImageDataParam(), test.GetImageDataParam(); p != nil && q != nil && (p.GetNewHeight() != q.GetNewHeight() || p.GetNewWidth() != q.GetNewWidth()) {
			differ("image_data_param.new_height", fmt.Sprintf("%d×%d", p.GetNewHeight(), p.GetNewWidth()), fmt.Sprintf("%d×%d", q.GetNewHeight(), q.GetNewWidth()),
				other, Warning, fmt.Sprint(p.GetNewHeight()))
		}
		if b.GetMirror() {
			f := test.in("test-mirror", Note, Certain, "transform_param.mirror")
			f.What, f.Why = "mirror is on in TEST.", "Each test mirrors other pictures, so its result changes from test to test a little."
			f.Fix, f.Set = "mirror: false", []string{test.set("transform_param.mirror", "false")}
			k.add(f)
		}
	}
}

func cropText(n uint32) string {
	if n == 0 {
		return "not set"
	}
	return fmt.Sprint(n)
}

// spatial reports whether a fully connected layer reads maps larger than 1×1.
func spatial(n *Net) bool {
	return slices.ContainsFunc(n.layers, func(l *layer) bool {
		if l.GetType() != "InnerProduct" || len(l.bottoms) == 0 {
			return false
		}
		s := l.bottoms[0].shape
		return len(s) < 4 || s[2] != 1 || s[3] != 1
	})
}

// compareMeans compares what two transform_params subtract.
func (c *Case) compareMeans(a, b *caffepb.TransformationParameter, differ func(field, x, y, why string, sev Severity, value string)) {
	const why = "The test net's inputs are shifted against those the net was trained for."
	text := func(t *caffepb.TransformationParameter) string {
		var v []string
		for _, x := range t.GetMeanValue() {
			v = append(v, f32(x))
		}
		if len(v) == 0 {
			return "not set"
		}
		return strings.Join(v, ",")
	}
	x, y := a.GetMeanFile(), b.GetMeanFile()
	if x != y {
		p, q := c.means[x], c.means[y]
		if p != nil && q != nil {
			if p.err != nil || q.err != nil {
				return // names alone prove nothing
			}
			var d float64
			if len(p.values) == len(q.values) {
				for i, v := range p.values {
					d += math.Abs(float64(v - q.values[i]))
				}
				if d/float64(len(p.values)) < 0.05*math.Abs(p.mean)+0.01 {
					return
				}
			}
		}
		switch {
		case y == "" && len(b.GetMeanValue()) == 0:
			differ("transform_param.mean_file", fmt.Sprintf("%q", x), "not set", why, Error, x)
		case x == "" && len(a.GetMeanValue()) == 0:
			differ("transform_param.mean_file", "not set", fmt.Sprintf("%q", y), why, Error, "")
		case x != "" && y != "":
			differ("transform_param.mean_file", fmt.Sprintf("%q", x), fmt.Sprintf("%q, which holds other values", y), why, Warning, x)
		}
		return // a mean file here and values there may be of the same data
	}
	if x == "" && text(a) != text(b) {
		value := text(a)
		if value == "not set" {
			value = ""
		}
		differ("transform_param.mean_value", text(a), text(b), why, Error, value)
	}
}
