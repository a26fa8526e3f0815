package doctor

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
)

// When a net's first outputs are judged. Each weight's gradient is as large as
// the share of the outputs that depends on it; so K, the sum over all weights of
// the squared derivative of an output, counting what differs between pictures,
// says by how much a step of rate 1 moves that output for one picture. With
// weights of variance s² and outputs of variance v it is v·Σ 1/s². Nets that are
// known to learn have K of 3 and more (CIFAR "full" 3, SqueezeNet 5, AlexNet 8,
// LeNet 100).
const (
	weakK = 1.
	deadK = 0.1
	// Other losses than a softmax's add up the errors of many outputs, which
	// move the weights together: they get on with that much less.
	otherLosses = 100
	// Outputs of this RMS make a softmax certain of something wrong; from about
	// 30 on, its loss begins at the floor of float32, with no gradient.
	loudRMS   = 10
	deafRMS   = 30
	fillerGap = 0.75 // of the ideal gain that passes for right
)

// signalAtTheEnd predicts whether pictures make a difference to the outputs of
// a net with fresh weights.
func signalAtTheEnd(c *Case, k *collector) {
	if c.pretrained() {
		return
	}
	end := c.lastWeights()
	if end == nil {
		return
	}
	path := behind(end.tops[0])
	source := dataOf(end.tops[0])
	out := end.tops[0].signal
	if !out.known || source == nil {
		return
	}
	var weights []*layer
	for _, l := range path {
		w, ok := weightsOf(l)
		if !ok {
			continue
		}
		if len(l.Blobs) > 0 || w.weight.GetType() == "constant" {
			return // constantWeights has more to say
		}
		weights = append(weights, l)
	}
	if !slices.ContainsFunc(weights, func(l *layer) bool { return rateOf(l) > 0 }) {
		return // frozen has more to say
	}
	in := source.tops[0].signal
	if !in.known {
		return // what a BatchNorm begins anew
	}
	moves, sure := gradientSquares(end, weights)
	shown := 1.0 // what padding leaves of the signal's mean square
	for _, l := range weights {
		shown *= inside(l)
	}
	depth := depthOf(end)
	weak, dead := weakK, deadK
	if !end.softmaxAhead() {
		weak, dead = weak/otherLosses, dead/otherLosses
	}
	from := fmt.Sprintf("The input has RMS %s", num(in.rms()))
	if got, _ := c.input(source); !got.measured {
		from += " (if the data are photographs of 8 bits)"
	}
	switch {
	case moves < weak && (!sure || moves/shown >= weak):
		// Of some weights it is not known how many they are; or maps has more to
		// say: the kernels see little but padding.
	case moves < weak:
		f, fault := c.fillerFinding("signal-vanishes", weights, func(g, ideal float64) bool { return g < fillerGap*ideal })
		if moves < dead {
			f.Severity = Error
		}
		factor := out.imageRMS() / in.imageRMS()
		f.What = fmt.Sprintf("The signal dies out: %s; of what differs between pictures, %s is predicted to reach %q, %s of the input's (%s a layer over %d layers with weights), beside %s that is the same for every picture.%s",
			strings.ToLower(from[:1])+from[1:], num(out.imageRMS()), end.GetName(), num(factor), num(math.Pow(factor, 1/float64(depth))), depth, num(math.Sqrt(out.fixed)), fault)
		f.Why = "Gradients are proportional to what differs between pictures; with so little, the net gives every picture the same answer and the loss stays where it began"
		if s := end.tops[0].shape; len(s) > 1 && s[1] > 1 && end.softmaxAhead() {
			f.Why += fmt.Sprintf(" (near ln %d = %.4g for a softmax)", s[1], math.Log(float64(s[1])))
		}
		f.Why += ". A larger rate makes noise of it, not signal."
		c.prescribe(&f, end, weights, source)
		k.add(f)
	case out.rms() > loudRMS && end.softmaxAhead():
		f, fault := c.fillerFinding("signal-explodes", weights, func(g, ideal float64) bool { return g > 2*ideal })
		if out.rms() > deafRMS {
			f.Severity = Error
		}
		f.What = fmt.Sprintf("The signal explodes: %s, and the outputs of %q are predicted to have RMS %s (a factor of %s a layer over %d layers with weights).%s",
			strings.ToLower(from[:1])+from[1:], end.GetName(), num(out.rms()), num(math.Pow(out.rms()/in.rms(), 1/float64(depth))), depth, fault)
		f.Why = fmt.Sprintf("A softmax of such scores is certain of a class at random: the loss begins at about %s or at its floor, 87.34, and the first steps are huge.", num(min(out.rms()*3, 87.34)))
		c.prescribe(&f, end, weights, source)
		k.add(f)
	}
}

// lastWeights returns the layer with weights before the loss that most such
// layers lead to, nil if there is none.
func (c *Case) lastWeights() *layer {
	var best *layer
	most := 0
	for _, l := range c.Train.layers {
		if !isLoss(l) || len(l.bottoms) == 0 {
			continue
		}
		for b := l.bottoms[0]; b.by != nil; b = b.by.bottoms[0] {
			if _, ok := weightsOf(b.by); ok {
				n := 0
				for _, m := range behind(b) {
					if _, ok := weightsOf(m); ok {
						n++
					}
				}
				if n > most {
					best, most = b.by, n
				}
				break
			}
			if !passes(b.by) || len(b.by.bottoms) == 0 {
				break
			}
		}
	}
	return best
}

// depthOf returns the number of layers with weights on the longest way to l, l
// included.
func depthOf(l *layer) int {
	depth := map[*layer]int{}
	for _, m := range l.net.layers {
		for _, b := range m.bottoms {
			if b.by != nil {
				depth[m] = max(depth[m], depth[b.by])
			}
		}
		if _, ok := weightsOf(m); ok {
			depth[m]++
		}
		if m == l {
			break
		}
	}
	return max(depth[l], 1)
}

// softmaxAhead reports whether l's outputs are scores of a softmax.
func (l *layer) softmaxAhead() bool {
	found := false
	ahead(l, func(r *layer) bool {
		found = found || slices.Contains([]string{"SoftmaxWithLoss", "Softmax", "InfogainLoss"}, r.GetType())
		return passes(r)
	})
	return found
}

// gradientSquares returns K of the outputs of end (see weakK), as far as their
// layers' weights are trained; if it is not sure, it may be more.
func gradientSquares(end *layer, weights []*layer) (k float64, sure bool) {
	sum := 0.0
	sure = true
	for _, l := range weights {
		w, _ := weightsOf(l)
		fanIn := w.fanIn
		if fanIn == 0 {
			fanIn = 1 // xavier of an unknown fan-in: the least that can be
			sure = sure && rateOf(l) == 0
		}
		if _, v, ok := fillerMoments(w.weight, fanIn, max(1, w.fanOut), w.outputs); ok && v > 0 && rateOf(l) > 0 {
			sum += float64(rateOf(l)) / v
		}
	}
	return sum * end.tops[0].signal.image, sure
}

// gain returns the factor by which a layer's fresh weights change the mean
// square of its input, and that which the nonlinearity behind it wants, so that
// both together keep it.
func gain(l *layer) (is, ideal float64, ok bool) {
	w, _ := weightsOf(l)
	ideal = 1
	ahead(l, func(r *layer) bool {
		switch r.GetType() {
		case "ReLU":
			s := float64(r.GetReluParam().GetNegativeSlope())
			ideal = 2 / (1 + s*s)
		case "PReLU", "ELU", "BNLL", "Swish":
			ideal = 2
		}
		return passes(r) && !isActivation(r)
	})
	_, v, ok := fillerMoments(w.weight, w.fanIn, w.fanOut, w.outputs)
	if !ok || w.reach == 0 {
		switch {
		case w.weight.GetVarianceNorm() != caffepb.FillerParameter_FAN_IN:
		case w.weight.GetType() == "xavier":
			return 1, ideal, true
		case w.weight.GetType() == "msra":
			return 2, ideal, true
		}
		return 0, ideal, false
	}
	return v * w.reach, ideal, true
}

// fillerFinding begins a finding about layers whose fillers have a gain that is
// off, with what they should have, and a sentence that says which those are.
func (c *Case) fillerFinding(rule string, weights []*layer, off func(is, ideal float64) bool) (f Finding, fault string) {
	var bad []*layer
	for _, l := range weights {
		if is, ideal, ok := gain(l); ok && off(is, ideal) {
			bad = append(bad, l)
		}
	}
	at := weights[0]
	if len(bad) > 0 {
		at = bad[0]
	}
	w, _ := weightsOf(at)
	f = at.in(rule, Warning, Likely, w.field+".weight_filler")
	// One group for each filler that is wanted and place it is written in.
	type group struct{ field, filler string }
	groups := map[group][]*layer{}
	var order []group
	for _, l := range bad {
		w, _ := weightsOf(l)
		_, ideal, _ := gain(l)
		g := group{w.field + ".weight_filler", "xavier"}
		if ideal > 1.5 {
			g.filler = "msra"
		}
		if t := w.weight.GetType(); t == "xavier" || t == "msra" {
			g.field += ".type"
		} else {
			g.filler = fmt.Sprintf("{type: %q}", g.filler)
		}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], l)
	}
	wants := map[string][]string{}
	for _, g := range order {
		f.Set = append(f.Set, setAll(groups[g], g.field, g.filler)...)
		kind := "msra"
		if strings.Contains(g.filler, "xavier") {
			kind = "xavier"
		}
		wants[kind] = append(wants[kind], names(groups[g])...)
	}
	var texts []string
	for _, kind := range []string{"msra", "xavier"} {
		if len(wants[kind]) > 0 {
			texts = append(texts, fmt.Sprintf("weight_filler { type: %q } in %s", kind, list(quoted(wants[kind]))))
		}
	}
	f.Fix = strings.Join(texts, "; ")
	return f, blame(bad)
}

// blame says which fillers of layers have a gain that is off, and by how much;
// it begins with a blank, or is "" without layers.
func blame(ls []*layer) string {
	type culprit struct {
		layers []*layer
		lo, hi float64 // gain as a part of what it should be
	}
	var order []string
	of := map[string]*culprit{}
	for _, l := range ls {
		w, _ := weightsOf(l)
		is, ideal, _ := gain(l)
		text := fillerText(w.weight)
		g := of[text]
		if g == nil {
			g = &culprit{lo: math.Inf(1)}
			of[text], order = g, append(order, text)
		}
		g.layers = append(g.layers, l)
		g.lo, g.hi = min(g.lo, is/ideal), max(g.hi, is/ideal)
	}
	var parts []string
	for _, text := range order {
		g := of[text]
		share := num(g.lo)
		if num(g.hi) != share {
			share += " to " + num(g.hi)
		}
		parts = append(parts, fmt.Sprintf("%s in %s gives weights %s times the variance that keeps a signal as it is", text, list(quoted(names(g.layers))), share))
	}
	if len(parts) == 0 {
		return ""
	}
	return " At fault are the fillers: " + strings.Join(parts, "; ") + "."
}

// fillerText writes a filler's type with the fields that set its spread.
func fillerText(p *caffepb.FillerParameter) string {
	switch p.GetType() {
	case "gaussian":
		return "gaussian of std " + f32(p.GetStd())
	case "uniform":
		return fmt.Sprintf("uniform from %s to %s", f32(p.GetMin()), f32(p.GetMax()))
	}
	return p.GetType()
}

// prescribe predicts what the finding's edit does, and names another one where
// the input's scale is the reason.
func (c *Case) prescribe(f *Finding, end *layer, weights []*layer, source *layer) {
	if f.Fix != "" {
		changed := c.with(weights, func(l *layer) {
			is, ideal, ok := gain(l)
			if !ok || f.Rule == "signal-vanishes" && is >= fillerGap*ideal || f.Rule == "signal-explodes" && is <= 2*ideal {
				return
			}
			p := &caffepb.FillerParameter{Type: proto.String("xavier")}
			if ideal > 1.5 {
				p.Type = proto.String("msra")
			}
			if q := l.ConvolutionParam; q != nil {
				q.WeightFiller = p
			} else {
				l.InnerProductParam.WeightFiller = p
			}
		}, end)
		f.Fix += fmt.Sprintf(": %s of what differs between pictures is then predicted at %q, RMS %s in all", num(changed.imageRMS()), end.GetName(), num(changed.rms()))
		if changed.rms() > loudRMS {
			f.Fix += "; that is too much for an input of this range, so scale it as well"
		}
		f.Fix += ". A net that passes the signal on wants a smaller rate."
	}
	t := source.GetTransformParam()
	gaussian := slices.ContainsFunc(weights, func(l *layer) bool {
		w, _ := weightsOf(l)
		return w.weight.GetType() == "gaussian"
	})
	scale := ""
	switch in := source.tops[0].signal; {
	case f.Rule == "signal-vanishes" && t.GetScale() < 1 && (gaussian || f.Fix == ""):
		scale = "1"
	case f.Rule == "signal-explodes" && in.rms() > 10:
		scale = "0.00390625"
	default:
		return
	}
	alternative := fmt.Sprintf("scale: %s in the data layers, which the fillers seem to be made for", scale)
	if scale != "1" {
		alternative = fmt.Sprintf("scale: %s in the data layers", scale)
	}
	if f.Fix == "" {
		f.Fix, f.Where, f.Layer = alternative, source.at("transform_param.scale"), source.GetName()
		f.Set = []string{fmt.Sprintf("layer.%s.transform_param.scale=%s", source.GetName(), scale)}
		return
	}
	f.Fix += " Or " + alternative + "."
}

// with returns the signal at end if the layers were edited, and leaves them as
// they are.
func (c *Case) with(ls []*layer, edit func(*layer), end *layer) signal {
	saved := make([]*caffepb.LayerParameter, len(ls))
	edits := make([]*caffepb.LayerParameter, len(ls))
	for i, l := range ls {
		saved[i] = l.LayerParameter
		l.LayerParameter = proto.CloneOf(l.LayerParameter)
		edit(l)
		edits[i] = l.LayerParameter
	}
	c.followSignal(end.net)
	out := end.tops[0].signal
	for i, l := range ls {
		l.LayerParameter = saved[i]
	}
	c.followSignal(end.net)
	return out
}

// constantWeights finds layers whose weights all begin with one value.
func constantWeights(c *Case, k *collector) {
	if c.pretrained() {
		return
	}
	var weights, constant []*layer
	for _, l := range c.Train.layers {
		if weight, _, ok := weightFiller(l); ok && rateOf(l) > 0 && len(l.Blobs) == 0 && !sharesWeights(l) {
			weights = append(weights, l)
			if weight.GetType() == "constant" {
				constant = append(constant, l)
			}
		}
	}
	if len(weights) == 1 && len(constant) == 1 {
		return // a linear classifier may begin anywhere
	}
	var dead, same, last []*layer
	for _, l := range constant {
		w, _ := weightsOf(l)
		rectified, hidden := false, false
		ahead(l, func(r *layer) bool {
			if r.mixes() && !r.interpolates() {
				hidden = true
				return false
			}
			if r.GetType() == "ReLU" && r.GetReluParam().GetNegativeSlope() == 0 {
				rectified = true
			}
			return true
		})
		bias := w.bias.GetType() != "constant" || w.bias.GetValue() > 0
		switch {
		case !hidden:
			last = append(last, l)
		case w.weight.GetValue() == 0 && rectified && !(w.hasBias && bias):
			dead = append(dead, l)
		case w.groups > 1 && w.groups == w.outputs && w.weight.GetValue() != 0:
		default:
			same = append(same, l)
		}
	}
	report := func(ls []*layer, sev Severity, sure Confidence, what, why string) {
		if len(ls) == 0 {
			return
		}
		weight, field, _ := weightFiller(ls[0])
		f := ls[0].in("constant-weights", sev, sure, field)
		how := "a constant weight_filler"
		if weight == nil {
			how = "no weight_filler, so constant 0"
		}
		f.What = fmt.Sprintf("%s %s (%s): %s.", list(quoted(names(ls))), verb(ls), how, what)
		f.Why = why
		filler := "msra"
		if ls[0].recurrent() {
			filler = "xavier"
		}
		f.Fix = fmt.Sprintf("weight_filler { type: %q }", filler)
		for _, field := range []string{"convolution_param", "inner_product_param", "recurrent_param"} {
			var group []*layer
			for _, l := range ls {
				if _, at, _ := weightFiller(l); at == field {
					group = append(group, l)
				}
			}
			filler := "msra"
			if field == "recurrent_param" {
				filler = "xavier"
			}
			if len(group) > 0 {
				f.Set = append(f.Set, setAll(group, field+".weight_filler.type", filler)...)
			}
		}
		k.add(f)
	}
	report(dead, Error, Certain, "every output is 0, and the ReLU behind passes no gradient at 0",
		"Neither these weights nor those before them get a gradient. "+c.untouched(weights))
	sev := Warning
	if len(same) > 0 && len(constant) == len(weights) {
		sev = Error
	}
	report(same, sev, Likely, "all their units compute the same",
		"Units that begin equal learn the same, or next to it: the layer works like a single unit.")
	report(last, Note, Certain, "the first outputs do not depend on the picture",
		"The first gradient reaches this layer alone; later ones reach the others.")
}

func verb(ls []*layer) string {
	if len(ls) == 1 {
		return "begins with equal weights"
	}
	return "begin with equal weights"
}

// sharesWeights reports whether a layer's weights are another layer's.
func sharesWeights(l *layer) bool {
	if len(l.Param) == 0 || l.Param[0].GetName() == "" {
		return false
	}
	for _, m := range l.net.layers {
		if m == l {
			return false
		}
		if len(m.Param) > 0 && m.Param[0].GetName() == l.Param[0].GetName() {
			return true
		}
	}
	return false
}

// fillerReads has the fields that each type of filler reads.
var fillerReads = map[string][]string{
	"constant":          {"value"},
	"uniform":           {"min", "max"},
	"gaussian":          {"mean", "std", "sparse"},
	"positive_unitball": {},
	"xavier":            {"variance_norm"},
	"msra":              {"variance_norm"},
	"bilinear":          {},
}

// fillerFields notes fields that a filler's type ignores, once for each type
// and field.
func fillerFields(c *Case, k *collector) {
	type key struct{ kind, field string }
	found := map[key][]*layer{}
	at := map[key]string{}
	var order []key
	look := func(l *layer, path string, p *caffepb.FillerParameter) {
		reads, known := fillerReads[p.GetType()]
		if !known {
			f := l.in("unknown-filler", Error, Certain, path+".type")
			f.What, f.Why = fmt.Sprintf("There is no filler of type %q.", p.GetType()), "The net cannot be built."
			f.Fix, f.Set = "type: \"msra\"", []string{l.set(path+".type", "msra")}
			k.add(f)
			return
		}
		for _, u := range []struct {
			field string
			set   bool
		}{{"value", p.Value != nil}, {"min", p.Min != nil}, {"max", p.Max != nil}, {"mean", p.Mean != nil}, {"std", p.Std != nil},
			{"sparse", p.Sparse != nil}, {"variance_norm", p.VarianceNorm != nil}} {
			if !u.set || slices.Contains(reads, u.field) {
				continue
			}
			id := key{p.GetType(), u.field}
			if found[id] == nil {
				order = append(order, id)
				at[id] = path + "." + u.field
			}
			if !slices.Contains(found[id], l) {
				found[id] = append(found[id], l)
			}
		}
	}
	for _, l := range c.Train.layers {
		for _, f := range l.fillers() {
			look(l, f.path, f.filler)
		}
	}
	for _, id := range order {
		ls := found[id]
		f := ls[0].in("filler-field", Note, Certain, at[id])
		f.What = fmt.Sprintf("A filler of type %s ignores %s (%s).", id.kind, id.field, list(quoted(names(ls))))
		f.Why = "Weights are the same with and without it."
		if id.field == "std" && (id.kind == "xavier" || id.kind == "msra") {
			f.Why = fmt.Sprintf("%s takes its spread from the number of inputs; another std changes nothing.", id.kind)
		}
		f.Fix = fmt.Sprintf("Remove %s, or choose the type that reads it.", id.field)
		k.add(f)
	}
}
