package doctor

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"crema/graph"
	"crema/internal/summary"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

// An inputProbe looks at what a data layer makes, with and without mean and
// scale.
type inputProbe struct {
	in     Input
	index  int        // of the layer
	top    int        // of the layer's
	first  int        // the first layer with weights that it goes into, -1 without
	raw    *graph.Net // the data layer alone, without mean and scale; nil if it has neither
	shift  *graph.Net // without scale; nil if it does not have both
	order  Order
	sum    float64 // of the samples with a divided mean, and of their squares
	square float64
	count  int
}

// prepareInputs finds what the data layers make that layers with weights read;
// labels are none. In a net without weights, all that is more than one number a
// sample.
func (p *probe) prepareInputs() error {
	any := slices.ContainsFunc(p.net.Layers(), weighted)
	for k, n := range p.net.Layers() {
		if !graph.IsSource(n.Param) {
			continue
		}
		for j, t := range n.Tops {
			fed := p.wires.fed(k, j)
			if len(fed) == 0 && (any || t.CountFrom(min(1, t.Axes())) <= 1) {
				continue
			}
			in := &inputProbe{index: k, top: j, first: -1, in: Input{Layer: n.Name, Blob: n.TopNames[j]}}
			if len(fed) > 0 {
				in.first = fed[0]
				in.in.FirstLayer = p.net.Layers()[fed[0]].Name
			}
			in.in.Judged = p.judged(k, t)
			p.inputs = append(p.inputs, in)
			if j == 0 {
				if err := p.prepareRaw(in, n); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// judged reports whether the range of an input is to be judged: what is read
// from databases and lists is by the files, and a layer that changes the range
// may follow.
func (p *probe) judged(k int, top *tensor.Blob) bool {
	n := p.net.Layers()[k]
	if n.Type == "Data" || n.Type == "ImageData" {
		return false
	}
	for _, r := range p.wires.readers[k] {
		reader := p.net.Layers()[r]
		if !slices.Contains(reader.Bottoms, top) {
			continue
		}
		if !weighted(reader) || len(p.wires.chain(r, []string{"BatchNorm"})) > 0 {
			return false
		}
	}
	return true
}

// prepareRaw makes the data layer once more without mean and scale, if it has
// either.
func (p *probe) prepareRaw(in *inputProbe, n *graph.Node) (err error) {
	t := n.Param.GetTransformParam()
	mean := t.GetMeanFile() != "" || len(t.GetMeanValue()) > 0
	scaled := t.GetScale() != 1
	if !mean && !scaled {
		return nil
	}
	if in.raw, err = p.alone(n, func(t *caffepb.TransformationParameter) { t.Scale, t.MeanFile, t.MeanValue = nil, nil, nil }); err != nil {
		return err
	}
	if mean && scaled {
		in.order.Scale = float64(t.GetScale())
		in.shift, err = p.alone(n, func(t *caffepb.TransformationParameter) { t.Scale = nil })
	}
	return err
}

// alone builds a net of one data layer with its transform_param edited. It
// reads the same records, and crops and mirrors them alike.
func (p *probe) alone(n *graph.Node, edit func(*caffepb.TransformationParameter)) (*graph.Net, error) {
	l := proto.CloneOf(n.Param)
	l.Include, l.Exclude = nil, nil
	edit(l.TransformParam)
	np := &caffepb.NetParameter{Name: proto.String("input"), Layer: []*caffepb.LayerParameter{l}}
	net, err := graph.New(trainState(np), graph.Options{Seed: p.seed, ResolvePath: p.c.in.ResolvePath, Dir: p.c.Train.dir()})
	if err != nil {
		return nil, fmt.Errorf("%s: the data alone: %w", n.Name, err)
	}
	return net, nil
}

// Close releases the data layers.
func (in *inputProbe) Close() error {
	var errs []error
	for _, n := range []*graph.Net{in.raw, in.shift} {
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	return errors.Join(errs...)
}

// passed takes in what layer k, n, has just made.
func (in *inputProbe) passed(k int, n *graph.Node) error {
	switch k {
	case in.index:
		v := n.Tops[in.top].Values()
		in.in.After.add(n.Tops[in.top], v)
		return in.batch(v)
	case in.first:
		in.in.First.add(n.Tops[0], n.Tops[0].Values())
	}
	return nil
}

// batch reads the same batch of samples without mean and scale, and settles
// what the order of the two does; after are the samples with both.
func (in *inputProbe) batch(after []float32) error {
	if in.raw == nil {
		return nil
	}
	if _, err := in.raw.Forward(); err != nil {
		return err
	}
	top := in.raw.Layers()[0].Tops[0]
	x := top.Values()
	in.in.Before.add(top, x)
	if in.shift == nil {
		return nil
	}
	if _, err := in.shift.Forward(); err != nil {
		return err
	}
	c := in.shift.Layers()[0].Tops[0].Values()
	s := float32(in.order.Scale)
	for i := range min(len(x), len(c), len(after)) {
		m := x[i] - c[i]
		other := x[i]*s - m*s
		in.order.Difference = max(in.order.Difference, math.Abs(float64(after[i])-float64(other)))
		d := float64((x[i] - m/255) * s)
		in.sum += d
		in.square += d * d
	}
	in.count += len(x)
	return nil
}

func (in *inputProbe) report() Input {
	r := in.in
	if in.raw == nil {
		r.Before = r.After
	}
	if in.shift != nil && in.count > 0 {
		o := in.order
		o.DividedMean = in.sum / float64(in.count)
		o.DividedRMS = math.Sqrt(in.square / float64(in.count))
		r.Order = &o
	}
	return r
}

// add takes in the values of one batch. The histogram is of the first.
func (s *Values) add(b *tensor.Blob, v []float32) {
	if s.Count == 0 {
		s.Histogram = summary.HistogramOf(v, 1<<20, histogramBins)
	}
	merge(&s.Summary, summary.Of(v, 0))
	if b.Axes() < 3 {
		return
	}
	channels, size := b.Dim(1), b.CountFrom(2)
	if s.Channels == nil {
		s.Channels = make([]summary.Summary, channels)
	}
	for k := 0; size > 0 && (k+1)*size <= len(v); k++ {
		if c := k % channels; c < len(s.Channels) {
			merge(&s.Channels[c], summary.Of(v[k*size:(k+1)*size], 0))
		}
	}
}
