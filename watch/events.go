package watch

import (
	"fmt"
	"strconv"
	"time"

	"crema/internal/summary"
	"crema/watch/tfevents"
)

// addScalars adds an iteration's figures to the event file.
func (f *files) addScalars(x *row, now time.Time) {
	values := []tfevents.Tagged{
		{Tag: "train/loss", Value: tfevents.Scalar(x.loss)},
		{Tag: "train/smoothed", Value: tfevents.Scalar(x.smoothed)},
		{Tag: "train/learning_rate", Value: tfevents.Scalar(x.rate)},
		{Tag: "speed/wait_share", Value: tfevents.Scalar(x.waits)},
	}
	if x.images > 0 {
		values = append(values, tfevents.Tagged{Tag: "speed/images_per_second", Value: tfevents.Scalar(x.images)})
	}
	f.addValues(now, x.iter, values)
}

func (f *files) addValues(now time.Time, iter int, values []tfevents.Tagged) {
	if len(values) > 0 {
		f.events.add(func(b []byte) []byte { return tfevents.AppendSummary(b, now, int64(iter), values...) })
	}
}

// addTest adds a test pass to the event file.
func (f *files) addTest(t *Test, now time.Time) {
	group := "test/"
	if t.Net > 0 {
		group = fmt.Sprintf("test%d/", t.Net)
	}
	var values []tfevents.Tagged
	for _, v := range t.Values {
		values = append(values, tfevents.Tagged{Tag: group + v.Name, Value: tfevents.Scalar(v.Value)})
	}
	f.addValues(now, t.Iter, values)
}

// addLayers adds a sample of the layers to the event file.
func (f *files) addLayers(s *sample, now time.Time) {
	var values []tfevents.Tagged
	add := func(group, layer string, v float64) {
		values = append(values, tfevents.Tagged{Tag: group + "/" + layer, Value: tfevents.Scalar(v)})
	}
	for i := range s.layers {
		l := &s.layers[i]
		if a := l.Activation; a != nil {
			add("activation_rms", l.Name, a.RMS)
			add("zero_share", l.Name, a.Zero)
		}
		if l.Gradient != nil {
			add("gradient_rms", l.Name, l.Gradient.RMS)
		}
		if l.Weight != nil {
			add("weight_rms", l.Name, l.Weight.RMS)
		}
		if l.Update != nil {
			add("update_ratio", l.Name, float64(l.Ratio))
		}
		add("time_share", l.Name, float64(l.Forward+l.Backward))
	}
	f.addValues(now, s.iter, values)
}

// histogramLimit is how many values of a blob a histogram looks at.
const histogramLimit = 1 << 12

// addHistograms adds histograms of the layers' activations and weights, as they
// are before the update of iteration iter, to the event file.
func (f *files) addHistograms(probes []*probe, iter int, now time.Time) {
	var values []tfevents.Tagged
	add := func(group, layer string, v []float32) {
		h := &tfevents.Histogram{}
		summary.Each(v, histogramLimit, h.Add)
		values = append(values, tfevents.Tagged{Tag: group + "/" + layer, Value: h})
	}
	for _, p := range probes {
		if p.top != nil {
			add("activations", p.node.Name, p.top.ReadData())
		}
		if p.weight != nil {
			add("weights", p.node.Name, p.weight.ReadData())
		}
	}
	f.addValues(now, iter, values)
}

// addPictures adds pictures to the event file.
func (f *files) addPictures(p *Pictures, now time.Time) {
	var values []tfevents.Tagged
	add := func(tag string, m *Picture) {
		values = append(values, tfevents.Tagged{Tag: tag, Value: tfevents.Image{Width: m.Width, Height: m.Height, Channels: 3, PNG: m.PNG}})
	}
	if p.Filters != nil {
		add("pictures/filters", p.Filters)
	}
	for i := range p.Inputs {
		add("pictures/input_"+strconv.Itoa(i), &p.Inputs[i])
	}
	for i := range p.Labels {
		add("pictures/labels_"+strconv.Itoa(i), &p.Labels[i])
	}
	f.addValues(now, p.Iter, values)
}
