package doctor

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/layers"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// paramsOf has Caffe's layer types and, after LayerParameter's common fields,
// the fields that each reads.
var paramsOf = map[string][]protoreflect.Name{
	"AbsVal": {}, "Accuracy": {"accuracy_param"}, "ArgMax": {"argmax_param"}, "BNLL": {}, "BatchNorm": {"batch_norm_param"},
	"BatchReindex": {}, "Bias": {"bias_param"}, "Clip": {"clip_param"}, "Concat": {"concat_param"},
	"ContrastiveLoss": {"contrastive_loss_param", "loss_param"}, "Convolution": {"convolution_param"}, "Crop": {"crop_param"},
	"Data": {"data_param", "transform_param"}, "Deconvolution": {"convolution_param"}, "Dropout": {"dropout_param"},
	"DummyData": {"dummy_data_param"}, "ELU": {"elu_param"}, "Eltwise": {"eltwise_param"}, "Embed": {"embed_param"},
	"EuclideanLoss": {"loss_param"}, "Exp": {"exp_param"}, "Filter": {}, "Flatten": {"flatten_param"},
	"HDF5Data": {"hdf5_data_param", "transform_param"}, "HDF5Output": {"hdf5_output_param"}, "HingeLoss": {"hinge_loss_param", "loss_param"},
	"Im2col": {"convolution_param"}, "ImageData": {"image_data_param", "transform_param"},
	"InfogainLoss": {"infogain_loss_param", "loss_param", "softmax_param"}, "InnerProduct": {"inner_product_param"}, "Input": {"input_param"},
	"LRN": {"lrn_param"}, "LSTM": {"recurrent_param"}, "LSTMUnit": {}, "Log": {"log_param"}, "MVN": {"mvn_param"},
	"MemoryData": {"memory_data_param", "transform_param"}, "MultinomialLogisticLoss": {"loss_param"}, "PReLU": {"prelu_param"},
	"Parameter": {"parameter_param"}, "Pooling": {"pooling_param"}, "Power": {"power_param"}, "Python": {"python_param", "loss_param"},
	"RNN": {"recurrent_param"}, "ReLU": {"relu_param"}, "Reduction": {"reduction_param"}, "Reshape": {"reshape_param"},
	"SPP": {"spp_param"}, "Scale": {"scale_param"}, "Sigmoid": {"sigmoid_param"}, "SigmoidCrossEntropyLoss": {"loss_param", "sigmoid_param"},
	"Silence": {}, "Slice": {"slice_param"}, "Softmax": {"softmax_param"}, "SoftmaxWithLoss": {"softmax_param", "loss_param"}, "Split": {},
	"Swish": {"swish_param"}, "TanH": {"tanh_param"}, "Threshold": {"threshold_param"}, "Tile": {"tile_param"},
	"WindowData": {"window_data_param", "transform_param"},
}

// typeNames returns Caffe's layer types, sorted.
func typeNames() []string {
	var out []string
	for t := range paramsOf {
		out = append(out, t)
	}
	slices.Sort(out)
	return out
}

// wiring finds blobs that nothing makes and layer types that do not exist.
func wiring(c *Case, k *collector) {
	for _, n := range c.nets() {
		if n.err != nil {
			k.add(Finding{Rule: "net-refused", Severity: Error, Sure: Certain, Where: n.File, Net: n.Title, What: n.err.Error() + ".", Why: "The net cannot be built."})
		}
		for _, l := range n.layers {
			for _, name := range l.lost {
				f := l.in("unknown-blob", Error, Certain, "bottom")
				f.What = fmt.Sprintf("No layer before it makes the blob %q in the %s net.", name, n.Title)
				f.Why, f.Fix = "The net cannot be built.", "Name a top of an earlier layer."
				if by := n.leftOut(name); by != "" {
					f.What = fmt.Sprintf("The layer %q makes the blob %q, and its rules leave it out of the %s net.", by, name, n.Title)
					f.Fix = "Change the include or exclude rule of that layer, or leave this one out by the same rule."
				}
				k.add(f)
			}
			t := l.GetType()
			_, inCaffe := paramsOf[t]
			_, err := layers.Lookup(t)
			switch {
			case err == nil:
			case inCaffe:
				f := l.in("type-not-here", Note, Certain, "type")
				f.What = fmt.Sprintf("crema has no layer type %s yet.", t)
				f.Why = "The net can be judged by its files, but not measured or trained here."
				k.add(f)
			default:
				f := l.in("unknown-type", Error, Likely, "type")
				f.What, f.Why = fmt.Sprintf("Caffe has no layer type %q.", t), "The net cannot be built."
				f.Fix = "Types are case-sensitive: Convolution, InnerProduct, ReLU, SoftmaxWithLoss, …"
				if near := prototxt.Nearest(t, typeNames()); near != "" {
					f.Fix, f.Set = fmt.Sprintf("type: %q", near), []string{l.set("type", near)}
				}
				if fork := prototxt.ForkOfType(t); fork != "" {
					f.What, f.Sure = fmt.Sprintf("The layer type %q is of %s, not of Caffe.", t, fork), Certain
					f.Fix, f.Set = "Replace the layer, or write it as a Python layer.", nil
				}
				k.add(f)
			}
		}
	}
}

// leftOut returns the name of a layer that makes a blob of that name and that
// the rules leave out of the net, "" if there is none.
func (n *Net) leftOut(blob string) string {
	for i, l := range n.Param.Layer {
		if slices.Contains(l.Top, blob) && !slices.ContainsFunc(n.layers, func(k *layer) bool { return k.index == i }) {
			return l.GetName()
		}
	}
	return ""
}

// losses finds train nets that minimise nothing.
func losses(c *Case, k *collector) {
	n := c.Train
	var all []*layer
	for _, l := range n.layers {
		if strings.HasSuffix(l.GetType(), "Loss") || len(l.LossWeight) > 0 {
			all = append(all, l)
		}
		if slices.ContainsFunc(l.LossWeight, func(w float32) bool { return w < 0 }) {
			f := l.in("loss-weight", Error, Likely, "loss_weight")
			f.What, f.Why = "loss_weight is negative.", "Training makes this loss larger."
			f.Fix, f.Set = "loss_weight: 1", []string{l.set("loss_weight", "1")}
			k.add(f)
		}
	}
	if slices.ContainsFunc(all, isLoss) {
		return
	}
	if len(all) > 0 {
		f := all[0].in("loss-weight", Error, Certain, "loss_weight")
		f.What, f.Why = fmt.Sprintf("The loss_weight of %s is 0, and there is no other loss.", list(quoted(names(all)))), "Nothing is minimised, so nothing is learned."
		f.Fix, f.Set = "loss_weight: 1", []string{all[0].set("loss_weight", "1")}
		k.add(f)
		return
	}
	f := Finding{Rule: "no-loss", Severity: Error, Sure: Certain, Where: n.File, Net: n.Title}
	f.What, f.Why = "The train net has no loss.", "Nothing is minimised, so nothing is learned."
	f.Fix = "Add a layer of type SoftmaxWithLoss that reads the outputs and the labels; its include rule must not leave out TRAIN."
	if c.Solver == nil {
		f.Severity, f.Why = Note, "It can be run, not trained."
	}
	k.add(f)
}

// classifier finds mistakes between the last weights and the loss.
func classifier(c *Case, k *collector) {
	for _, n := range c.nets() {
		for _, e := range n.ends(true) {
			top := int(e.loss.GetAccuracyParam().GetTopK())
			if e.loss.GetType() == "Accuracy" {
				if top > 1 && e.classes > 0 && top >= e.classes {
					f := e.loss.in("top-k", Warning, Certain, "accuracy_param.top_k")
					f.What = fmt.Sprintf("top_k is %d of %d classes.", top, e.classes)
					f.Why, f.Fix = "It is always 1.", "top_k: 1"
					f.Set = []string{e.loss.set("accuracy_param.top_k", "1")}
					k.add(f)
				}
				continue
			}
			classifierEndRules(e, k)
		}
	}
}

func classifierEndRules(e classifierEnd, k *collector) {
	softmax := e.loss.GetType() == "SoftmaxWithLoss"
	var by *layer // what ends the search if it is not weights
	if e.last == nil && len(e.between) > 0 {
		by = e.between[len(e.between)-1]
	}
	switch {
	case softmax && by != nil && by.GetType() == "Softmax":
		f := e.loss.in("softmax-twice", Error, Certain, "bottom")
		f.What = fmt.Sprintf("SoftmaxWithLoss reads the probabilities of the Softmax layer %q.", by.GetName())
		f.Why = "It takes a softmax itself: the second one flattens the first, gradients are tiny and the loss cannot fall far."
		if len(by.bottoms) > 0 {
			f.Fix, f.Set = fmt.Sprintf("bottom: %q", by.bottoms[0].name), []string{e.loss.set("bottom[0]", by.bottoms[0].name)}
		}
		k.add(f)
	case e.loss.GetType() == "MultinomialLogisticLoss" && e.last != nil:
		f := e.loss.in("softmax-missing", Error, Certain, "type")
		f.What, f.Why = "MultinomialLogisticLoss takes probabilities and gets outputs that were not made such.", "The logarithm of any number below 1e-20 is cut off there: no gradient."
		f.Fix, f.Set = "type: \"SoftmaxWithLoss\"", []string{e.loss.set("type", "SoftmaxWithLoss")}
		k.add(f)
	}
	if e.last == nil || slices.ContainsFunc(e.between, func(l *layer) bool { return l.GetType() == "Pooling" }) {
		return
	}
	for _, l := range e.between {
		switch {
		case l.GetType() == "Dropout" && l.GetDropoutParam().GetDropoutRatio() != 0:
			f := l.in("dropout-after-classifier", Warning, Certain, "")
			f.What = fmt.Sprintf("Dropout is applied to the class scores of %q.", e.last.GetName())
			f.Why = "In training, the scores of random classes are 0, that of the right one, too; the loss stays high."
			f.Fix, f.Set = "Move it before the last layer with weights, or remove it.", []string{l.set("dropout_param.dropout_ratio", "0")}
			k.add(f)
		case isActivation(l) && softmax:
			f := l.in("activation-before-loss", Warning, Likely, "")
			f.What = fmt.Sprintf("The class scores of %q go through %s before the loss.", e.last.GetName(), l.GetType())
			f.Why = "Scores must be free to take any value; cut to a range, they cannot say that a class is unlikely, and units in the flat part get no gradient."
			f.Fix = fmt.Sprintf("Remove layer %q.", l.GetName())
			k.add(f)
		}
	}
}

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

// maps finds windows that do not fit their maps.
func maps(c *Case, k *collector) {
	for _, l := range c.Train.layers {
		conv := l.GetType() == "Convolution"
		if !conv && l.GetType() != "Pooling" || len(l.tops) == 0 || len(l.bottoms) == 0 {
			continue
		}
		in, out := l.bottoms[0].shape, l.tops[0].shape
		var h, w window
		field := "convolution_param"
		if conv {
			h, w = convWindows(l.GetConvolutionParam())
		} else {
			h, w = poolWindows(l.GetPoolingParam(), in)
			field = "pooling_param"
		}
		if len(in) == 4 && len(out) == 4 && (out[2] < 0 || out[3] < 0) {
			f := l.in("kernel-too-large", Error, Certain, field)
			f.What = fmt.Sprintf("The window of %d×%d is larger than the map of %d×%d with its padding.", h.extent(), w.extent(), in[2], in[3])
			f.Why, f.Fix = "The net cannot be built.", "Fewer or smaller steps before it, a larger crop_size, or a pad."
			if conv && h.oneInCaffe(in[2]) && w.oneInCaffe(in[3]) {
				f.Why = "Caffe makes an output of one pixel of it, most of it from outside of the map; this program refuses to build it."
			}
			k.add(f)
			return // what follows has no size
		}
		if share := inside(l); conv && share < 0.34 {
			f := l.in("mostly-padding", Warning, Certain, field)
			f.What = fmt.Sprintf("The map is %d×%d, so %.0f %% of what the %d×%d kernel sees is padding.", in[2], in[3], 100*(1-share), h.kernel, w.kernel)
			f.Why = "Most of the weights are multiplied by 0 and get no gradient; the picture was reduced too far before."
			f.Fix = "Keep the maps larger: check stride and pad of the layers before, or use a 1×1 kernel."
			k.add(f)
		}
		if h.kernel > 1 && h.stride > h.kernel || w.kernel > 1 && w.stride > w.kernel {
			f := l.in("stride-skips", Warning, Likely, field+".stride")
			f.What = fmt.Sprintf("Windows of %d×%d move by %d×%d.", h.kernel, w.kernel, h.stride, w.stride)
			f.Why = "What lies between them is never looked at."
			f.Fix, f.Set = fmt.Sprintf("stride: %d", h.kernel), []string{l.set(field+".stride", fmt.Sprint(h.kernel))}
			k.add(f)
		}
		if p := l.GetPoolingParam(); !conv && p.Stride == nil && p.StrideH == nil && h.kernel > 1 && !p.GetGlobalPooling() {
			f := l.in("pool-stride-missing", Warning, Likely, "pooling_param")
			f.What = fmt.Sprintf("Pooling over %d×%d has no stride, and the default is 1.", h.kernel, w.kernel)
			f.Why = "The maps keep their size: it hardly pools, and all that follows is that much larger."
			f.Fix, f.Set = fmt.Sprintf("stride: %d (or write stride: 1)", h.kernel), []string{l.set("pooling_param.stride", fmt.Sprint(h.kernel))}
			k.add(f)
		}
	}
	oddPadding(c, k)
}

// oddPadding finds the one convolution that shrinks its maps where all others
// of its kernel keep them.
func oddPadding(c *Case, k *collector) {
	keep, lose := map[int][]*layer{}, map[int][]*layer{}
	for _, l := range c.Train.layers {
		if l.GetType() != "Convolution" || len(l.bottoms) == 0 {
			continue
		}
		if s := l.bottoms[0].shape; len(s) == 4 && s[2] > 0 && s[2] <= 1 {
			continue
		}
		h, w := convWindows(l.GetConvolutionParam())
		switch {
		case h != w || h.kernel%2 == 0 || h.kernel == 1 || h.stride != 1:
		case h.pad == (h.extent()-1)/2:
			keep[h.kernel] = append(keep[h.kernel], l)
		default:
			lose[h.kernel] = append(lose[h.kernel], l)
		}
	}
	for kernel, odd := range lose {
		if len(odd) > 1 || len(keep[kernel]) < 3 {
			continue
		}
		l := odd[0]
		h, _ := convWindows(l.GetConvolutionParam())
		f := l.in("odd-padding", Warning, Possible, "convolution_param")
		f.What = fmt.Sprintf("Its pad is %d; the other %d convolutions of %d×%d keep the size of their maps with pad %d.", h.pad, len(keep[kernel]), kernel, kernel, (h.extent()-1)/2)
		f.Why = "It looks like an oversight: maps change their size here, and borders are lost or made up."
		f.Fix, f.Set = fmt.Sprintf("pad: %d", (h.extent()-1)/2), []string{l.set("convolution_param.pad", fmt.Sprint((h.extent()-1)/2))}
		k.add(f)
	}
}

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
			met = met || !strings.HasSuffix(r.GetType(), "Loss") && r.GetType() != "Accuracy" && r.GetType() != "Silence"
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
		w, ok := weightsOf(l)
		if !ok {
			continue
		}
		weights = append(weights, l)
		if r := rateOf(l); r < 0 {
			f := l.in("rate-multiplier", Error, Certain, "param[0].lr_mult")
			f.What, f.Why = fmt.Sprintf("lr_mult is %s.", f32(r)), "Its weights go uphill."
			f.Fix, f.Set = "lr_mult: 1", []string{l.set("param[0].lr_mult", "1")}
			k.add(f)
		} else if r == 0 && w.weight.GetType() != "bilinear" {
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

// layerFields finds messages that a layer's type does not read.
func layerFields(c *Case, k *collector) {
	const firstTypeField = 100 // below are the common fields of LayerParameter
	for _, n := range c.nets() {
		for _, l := range n.layers {
			read, known := paramsOf[l.GetType()]
			if !known {
				continue
			}
			l.LayerParameter.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
				if fd.Number() < firstTypeField || slices.Contains(read, fd.Name()) {
					return true
				}
				f := l.in("layer-field", Warning, Certain, string(fd.Name()))
				f.What = fmt.Sprintf("A layer of type %s does not read %s.", l.GetType(), fd.Name())
				f.Why, f.Fix = "What it says has no effect.", "Remove it, or correct the type."
				f.Set = []string{l.set(string(fd.Name()), "")}
				k.add(f)
				return true
			})
			if l.GetType() == "BatchNorm" && n == c.Train {
				batchNorm(c, l, k)
			}
		}
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

// layerNames finds layers with weights that share a name.
func layerNames(c *Case, k *collector) {
	for _, n := range c.nets() {
		first := map[string]*layer{}
		for _, l := range n.layers {
			if _, ok := weightsOf(l); !ok {
				continue
			}
			other := first[l.GetName()]
			if other == nil {
				first[l.GetName()] = l
				continue
			}
			f := l.in("layer-names", Warning, Certain, "name")
			f.What = fmt.Sprintf("Another layer with weights has the name %q (%s).", l.GetName(), other.at("name"))
			f.Why = "Weights are saved and loaded by name: this layer gets none, or the other one's."
			f.Fix = "Give each layer a name of its own; what shares weights shares the name of a param."
			k.add(f)
		}
	}
}
