package doctor

import (
	"fmt"
	"slices"

	"crema/prototxt/caffepb"
)

// missingNonlinearity finds layers with weights whose outputs go into the next
// ones as they are.
func missingNonlinearity(c *Case, k *collector) {
	type pair struct{ l, next *layer }
	var bare, all []pair
	have := map[string]int{}
	lacks := map[string][]pair{}
	anywhere := false
	for _, l := range c.Train.layers {
		anywhere = anywhere || isActivation(l)
		if l.GetType() != "Convolution" && l.GetType() != "InnerProduct" {
			continue
		}
		var next *layer
		met, pooled := false, false
		ahead(l, func(r *layer) bool {
			if isActivation(r) {
				met = true
				return false
			}
			if r.GetType() == "Deconvolution" {
				return true // it brings scores to a larger size, mostly
			}
			if _, ok := weightsOf(r); ok {
				next = r
				return false
			}
			switch r.GetType() {
			case "Pooling":
				pooled = pooled || r.GetPoolingParam().GetPool() == caffepb.PoolingParameter_MAX
				return true
			case "Concat", "Eltwise":
				return true
			}
			if passes(r) {
				return true
			}
			// A loss, or a layer of its own kind: not a plain chain.
			met = met || !takesLoss(r) && r.GetType() != "Accuracy" && r.GetType() != "Silence"
			return false
		})
		switch {
		case met:
			have[l.GetType()]++
		case next != nil:
			p := pair{l, next}
			if bottleneck(l, next) {
				bare = append(bare, p)
				continue
			}
			lacks[l.GetType()] = append(lacks[l.GetType()], p)
			all = append(all, p)
			if !pooled {
				bare = append(bare, p)
			}
		}
	}
	if len(all) > 0 && !anywhere {
		l := all[0].l
		f := l.in("no-nonlinearity", Warning, Certain, "")
		f.What = fmt.Sprintf("The net has no nonlinearity but the loss behind its %d layers with weights.", len(all)+1)
		if len(bare) < len(all) {
			f.What = fmt.Sprintf("The net has no nonlinearity but max pooling between its %d layers with weights.", len(all)+1)
		}
		f.Why = "Linear layers in a row can do no more than one."
		f.Fix = fmt.Sprintf("layer { name: \"relu\" type: \"ReLU\" bottom: %q top: %q } behind %q, and so for the others", l.tops[0].name, l.tops[0].name, l.GetName())
		k.add(f)
		return
	}
	odd := map[*layer]bool{}
	for _, t := range []string{"Convolution", "InnerProduct"} {
		few := lacks[t]
		if n := have[t]; n < 3 || len(few) > max(1, (n+len(few))/10) {
			continue
		}
		for _, p := range few {
			odd[p.l] = true
			f := p.l.in("missing-nonlinearity", Warning, Likely, "")
			f.What = fmt.Sprintf("%q goes into %q without a nonlinearity; the other %d layers of type %s have one.", p.l.GetName(), p.next.GetName(), have[t], t)
			f.Why = "It looks like an oversight: two linear layers in a row can do little more than one."
			f.Fix = fmt.Sprintf("layer { name: \"%s_relu\" type: \"ReLU\" bottom: %q top: %q } right behind it", p.l.GetName(), p.l.tops[0].name, p.l.tops[0].name)
			k.add(f)
		}
	}
	bare = slices.DeleteFunc(bare, func(p pair) bool { return odd[p.l] })
	if len(bare) == 0 {
		return
	}
	var pairs []string
	for _, p := range bare {
		pairs = append(pairs, fmt.Sprintf("%q into %q", p.l.GetName(), p.next.GetName()))
	}
	l := bare[0].l
	f := l.in("linear-pair", Note, Possible, "")
	f.What = fmt.Sprintf("Without a nonlinearity between them go %s.", list(pairs))
	f.Why = "Two linear layers in a row can do no more than one of the smaller width; as a bottleneck it may be meant."
	f.Fix = fmt.Sprintf("layer { name: \"%s_relu\" type: \"ReLU\" bottom: %q top: %q } between them, unless it is meant so", l.GetName(), l.tops[0].name, l.tops[0].name)
	k.add(f)
}

// bottleneck reports whether a layer is much narrower than its neighbours: it
// then is a code or a factor of a larger matrix, and usually linear by intent.
func bottleneck(l, next *layer) bool {
	w, _ := weightsOf(l)
	n, _ := weightsOf(next)
	in := w.fanIn
	if len(l.bottoms) == 0 {
		return false
	}
	if s := l.bottoms[0].shape; l.GetType() == "Convolution" && len(s) > 1 {
		in = s[1]
	}
	return 2*w.outputs < in && 2*w.outputs < n.outputs
}

// rateOf returns the lr_mult of a layer's weights.
func rateOf(l *layer) float32 {
	if len(l.Param) == 0 {
		return 1
	}
	return l.Param[0].GetLrMult()
}

// frozen finds what is never trained though it should be.
func frozen(c *Case, k *collector) {
	var weights, still []*layer
	for _, l := range c.Train.layers {
		if !l.mixes() {
			continue
		}
		weights = append(weights, l)
		if r := rateOf(l); r < 0 {
			f := l.in("rate-multiplier", Error, Certain, "param[0].lr_mult")
			f.What, f.Why = fmt.Sprintf("lr_mult is %s.", f32(r)), "Its weights go uphill."
			f.Fix, f.Set = "lr_mult: 1", []string{l.set("param[0].lr_mult", "1")}
			k.add(f)
		} else if r == 0 && !l.interpolates() {
			still = append(still, l)
		}
	}
	if len(weights) == 0 || c.Solver == nil && !slices.ContainsFunc(c.Train.layers, isLoss) {
		return
	}
	switch {
	case len(still) == len(weights):
		f := still[0].in("frozen", Error, Certain, "param[0].lr_mult")
		f.What, f.Why = fmt.Sprintf("lr_mult of the weights of all %d layers that have some is 0.", len(still)), "Nothing is learned."
		if s := learnsBeside(c.Train); s != "" {
			f.Why = s
		}
		f.Fix, f.Set = "lr_mult: 1", setAll(still, "param[0].lr_mult", "1")
		k.add(f)
	case len(still) > 0 && !c.pretrained() && !slices.ContainsFunc(still, func(l *layer) bool { return len(l.Blobs) > 0 }):
		f := still[0].in("frozen", Warning, Likely, "param[0].lr_mult")
		f.What = fmt.Sprintf("lr_mult is 0 for the weights of %s, and no trained weights are loaded.", list(quoted(names(still))))
		f.Why = "They stay random for the whole run."
		f.Fix, f.Set = "lr_mult: 1, or start from trained weights (--weights)", setAll(still, "param[0].lr_mult", "1")
		k.add(f)
	}
	c.unreached(k, weights)
}

// unreached finds layers with weights that no loss sends a gradient to.
func (c *Case) unreached(k *collector, weights []*layer) {
	used, reached := map[*layer]bool{}, map[*layer]bool{}
	var stops []*layer
	var walk func(b *blob, gradient bool)
	walk = func(b *blob, gradient bool) {
		l := b.by
		if l == nil || reached[l] || !gradient && used[l] {
			return
		}
		used[l] = true
		reached[l] = gradient
		for i, in := range l.bottoms {
			g := gradient
			if i < len(l.PropagateDown) && !l.PropagateDown[i] {
				g = false
				if gradient && !slices.Contains(stops, l) {
					stops = append(stops, l)
				}
			}
			walk(in, g)
		}
	}
	for _, l := range c.Train.layers {
		if !isLoss(l) {
			continue
		}
		for i, in := range l.bottoms {
			stop := i < len(l.PropagateDown) && !l.PropagateDown[i]
			walk(in, !stop)
			if stop && !slices.Contains(stops, l) {
				stops = append(stops, l)
			}
		}
	}
	var cut, loose []*layer
	for _, l := range weights {
		switch {
		case rateOf(l) == 0:
		case used[l] && !reached[l]:
			cut = append(cut, l)
		case !used[l]:
			loose = append(loose, l)
		}
	}
	if len(cut) > 0 && len(stops) > 0 {
		f := stops[0].in("gradient-stopped", Warning, Certain, "propagate_down")
		f.What = fmt.Sprintf("propagate_down is false here, so no gradient reaches %s.", list(quoted(names(cut))))
		f.Why = c.untouched(cut)
		if c.pretrained() {
			f.Severity = Note
		}
		f.Fix, f.Set = "Remove propagate_down.", []string{stops[0].set("propagate_down", "")}
		k.add(f)
	}
	if len(loose) > 0 && len(loose) < len(weights) {
		f := loose[0].in("not-in-the-loss", Warning, Certain, "top")
		f.What = fmt.Sprintf("No loss depends on %s in TRAIN.", list(quoted(names(loose))))
		f.Why = "They are computed and never trained. " + c.untouched(loose)
		f.Fix = "Check bottom and top of the layers behind: a wrong name may bypass them. What is for TEST alone wants include { phase: TEST }."
		k.add(f)
	}
}
