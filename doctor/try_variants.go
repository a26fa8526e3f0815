package doctor

import (
	"errors"
	"fmt"
	"hash/crc64"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"crema/graph"
	"crema/internal/atomicfile"
	"crema/internal/summary"
	"crema/prototxt"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// rateFactors are the factors on the learning rate that are tried on the net as
// it is.
var rateFactors = []float64{0.001, 0.01, 0.1, 10, 255}

// dataLayers returns the names of the train net's layers that transform
// pictures.
func (t *trying) dataLayers() []*layer {
	var ls []*layer
	for _, l := range t.c.Train.layers {
		if len(l.Bottom) == 0 && l.TransformParam != nil {
			ls = append(ls, l)
		}
	}
	return ls
}

// inits makes the variants that differ in their weights or inputs, finds those
// that are equal, and measures the others' signal at full size.
func (t *trying) inits() error {
	base := Variant{Name: "as is"}
	variants := []Variant{base}
	var noScale, divided []string
	for _, l := range t.dataLayers() {
		p, name := l.TransformParam, "layer."+l.GetName()+".transform_param."
		if p.GetScale() != 1 {
			noScale = append(noScale, name+"scale=1")
		}
		switch {
		case len(p.MeanValue) > 0 && slices.Max(p.MeanValue) > 2:
			var vs []string
			for _, v := range p.MeanValue {
				vs = append(vs, strconv.FormatFloat(float64(v)/255, 'g', 7, 32))
			}
			divided = append(divided, name+"mean_value="+strings.Join(vs, ","))
		case p.GetMeanFile() != "":
			path := filepath.Join(t.dir, l.GetName()+"-mean255.binaryproto")
			if err := divideMean(t.c.in.ResolvePath(p.GetMeanFile()), path); err != nil {
				t.note("The mean file cannot be read, so dividing it was not tried: %v", err)
				continue
			}
			divided = append(divided, name+"mean_file="+path)
		}
	}
	if len(noScale) > 0 {
		variants = append(variants, Variant{Name: "without scale", Set: noScale})
	}
	if len(divided) > 0 {
		variants = append(variants, Variant{Name: "mean / 255", Set: divided})
	}
	if !t.c.pretrained() {
		if sets := t.c.fillers("type", "msra", notMsra); len(sets) > 0 {
			variants = append(variants, Variant{Name: "msra", Set: sets})
		}
		if sets := t.c.fillers("std", "0.1", func(f *caffepb.FillerParameter) bool { return f.GetType() == "xavier" }); len(sets) > 0 {
			variants = append(variants, Variant{Name: "std 0.1 on xavier", Set: sets})
		}
		variants = append(variants, Variant{Name: "unit variance", UnitVariance: true})
	}
	variants = append(variants, t.o.Variants...)
	for i, v := range variants {
		if t.ctx.Err() != nil {
			return nil
		}
		tr, err := t.add(v, nil)
		if err != nil {
			return err
		}
		tr.control = i == 0
		if err := t.compare(tr); err != nil {
			return err
		}
		if tr.EqualTo != "" || tr.dropped {
			continue
		}
		if err := t.measure(tr); err != nil {
			return err
		}
	}
	for _, k := range rateFactors {
		rate := twoDigits(float64(t.c.Solver.GetBaseLr()) * k)
		v := Variant{Name: fmt.Sprintf("rate × %g", k), Set: []string{fmt.Sprintf("base_lr=%g", rate)}, rate: k}
		tr, err := t.add(v, t.trials[0])
		if err != nil {
			return err
		}
		tr.Dead, tr.Signal = tr.init.Dead, tr.init.Signal
	}
	return nil
}

// divideMean writes a mean file with all values divided by 255.
func divideMean(from, to string) error {
	var b caffepb.BlobProto
	if err := prototxt.ReadBinary(from, &b); err != nil {
		return err
	}
	for i := range b.Data {
		b.Data[i] /= 255
	}
	for i := range b.DoubleData {
		b.DoubleData[i] /= 255
	}
	out, err := proto.Marshal(&b)
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(to, out)
}

// compare finds out whether a variant begins with the same bits as an earlier
// one: settings, weights and the first batch. A net that cannot be built drops
// the variant.
func (t *trying) compare(tr *Trial) error {
	sp, np := t.small(tr, 1)
	net, err := graph.New(trainState(np), graph.Options{Seed: 1, ResolvePath: t.c.in.ResolvePath, Dir: t.c.Train.dir()})
	if err != nil {
		if tr.control {
			return fmt.Errorf("%s: %w", t.c.Train.File, err)
		}
		t.drop(tr, fmt.Sprintf("cannot be built: %v", err))
		return nil
	}
	defer net.Close()
	if tr.UnitVariance {
		return nil
	}
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	var buf []byte
	hash := func(v []float32) {
		for len(v) > 0 {
			n := min(len(v), 1<<14)
			buf = buf[:0]
			for _, x := range v[:n] {
				b := math.Float32bits(x)
				buf = append(buf, byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
			}
			sum.Write(buf)
			v = v[n:]
		}
	}
	for _, p := range net.Params() {
		hash(p.Blob.ReadData())
	}
	for k, n := range net.Layers() {
		if len(n.Bottoms) == 0 {
			if _, err := net.ForwardLayer(k); err != nil {
				return fmt.Errorf("%s: %w", t.c.Train.File, err)
			}
			for _, b := range n.Tops {
				hash(b.Values())
			}
		}
	}
	// Fillers and transformations are in the bits already.
	np = proto.CloneOf(np)
	for _, l := range np.Layer {
		if l.TransformParam != nil {
			l.TransformParam.Scale, l.TransformParam.MeanFile, l.TransformParam.MeanValue = nil, nil, nil
		}
		for _, f := range (&layer{LayerParameter: l}).fillers() {
			proto.Reset(f.filler)
		}
	}
	sp.TrainNetParam = np
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(sp)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%x %s", sum.Sum64(), text)
	if other := t.equals[key]; other != nil {
		tr.EqualTo = other.Name
		t.drop(tr, fmt.Sprintf("the same as %q, to the bit: weights, inputs and settings", other.Name))
		return nil
	}
	t.equals[key] = tr
	return nil
}

// measure looks at the output of the untrained net at full size.
func (t *trying) measure(tr *Trial) (err error) {
	p, err := t.c.newProbe(nil, tr.np, MeasureOptions{Log: t.o.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if tr.UnitVariance {
		if err := t.c.unitVariance(p.net, tr.np, 1); err != nil {
			t.drop(tr, err.Error())
			return nil
		}
	}
	for range p.batches {
		if err := p.forward(); err != nil {
			return err
		}
		p.m.Images += p.samples
		if p.m.Images >= 12 {
			break
		}
	}
	p.batches = max(1, p.m.Images/max(1, p.samples))
	p.net.ClearParamDiffs()
	if err := p.backward(); err != nil {
		return err
	}
	tr.usual = p.usualRate()
	p.report()
	if tr.control {
		t.showOrder(p.m)
	}
	tr.Signal = p.m.mainLoss()
	if tr.control && t.r.Chance == 0 && tr.Signal != nil {
		t.r.Chance = tr.Signal.Chance // the labels are not known
	}
	switch l := tr.Signal; {
	case l == nil:
	case p.m.NonFinite != nil:
		t.drop(tr, fmt.Sprintf("not finite at %q before any training", p.m.NonFinite.Layer))
	default:
		tr.Dead = p.m.Images > 1 && l.dead()
		how := "live"
		if tr.Dead {
			how = "dead"
		}
		if tr.Dead || (tr.sp.GetType() != "SGD" && tr.sp.GetType() != "Nesterov") {
			tr.usual = 0
		}
		t.say("%s: signal %s: the output varies from image to image by %.2g, %.2g %% of it; loss %.4g", tr.Name, how, float64(l.Across), 100*float64(l.Share), float64(l.Value))
	}
	return nil
}

// usualRate returns the rate at which the gradients of the last backward pass
// would change half of the layers' weights by more than the usual share.
func (p *probe) usualRate() float64 {
	var ratios []float64
	for _, l := range p.layers {
		if l == nil {
			continue
		}
		for j, lp := range l.params {
			g, w := l.Params[j].Gradient.RMS, summary.Of(lp.Blob.ReadData(), weightSample).RMS
			if l.Params[j].Weight && g > 0 && w > 0 {
				ratios = append(ratios, g/w)
			}
		}
	}
	if len(ratios) == 0 {
		return 0
	}
	slices.Sort(ratios)
	return twoDigits(usualUpdate / ratios[len(ratios)/2])
}

// showOrder makes a trial of x·scale − mean·scale in place of (x − mean)·scale,
// which is equal by algebra and therefore compared on the data, not trained.
func (t *trying) showOrder(m *Measurement) {
	for _, in := range m.Inputs {
		o := in.Order
		if o == nil {
			continue
		}
		tr := &Trial{Variant: Variant{Name: "scale before mean"}, EqualTo: t.trials[0].Name, Rate: t.trials[0].Rate,
			Result: Number(math.NaN()), Spread: Number(math.NaN())}
		tr.init = tr
		t.trials = append(t.trials, tr)
		how := fmt.Sprintf("differ by at most %.1g", o.Difference)
		if o.Difference == 0 {
			how = "are equal to the bit"
		}
		t.drop(tr, fmt.Sprintf("the same as %q by algebra: the %d values of some batches %s", t.trials[0].Name, in.After.Count, how))
		return
	}
}

// mainLoss returns the loss of the largest weight, the last of equals.
func (m *Measurement) mainLoss() *Loss {
	var main *Loss
	for i := range m.Losses {
		if l := &m.Losses[i]; l.From != "" && (main == nil || l.Weight >= main.Weight) {
			main = l
		}
	}
	return main
}
