package doctor

import (
	"fmt"
	"slices"

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

// refusedLayers reports what layers say that cannot be built and of which no
// rule knows better.
func refusedLayers(c *Case, k *collector) {
	explained := func(l *layer) bool {
		for _, f := range k.found {
			if f.Severity == Error && f.Layer == l.GetName() {
				return true
			}
		}
		return false
	}
	for _, n := range c.nets() {
		for _, l := range n.layers {
			if l.refused == nil || explained(l) {
				continue
			}
			f := l.in("net-refused", Error, Certain, "")
			f.What = fmt.Sprintf("The layer cannot be built: %v.", l.refused)
			f.Why = "The net is refused."
			if n.Param.GetState().GetPhase() == caffepb.Phase_TEST && n != c.Train {
				f.Why = "The test net is refused, and a run that tests ends where it begins."
			}
			k.add(f)
		}
	}
}

// layerFields finds messages that a layer's type does not read.
func layerFields(c *Case, k *collector) {
	for _, n := range c.nets() {
		for _, l := range n.layers {
			l.LayerParameter.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
				if l.reads(fd) {
					return true
				}
				f := l.in("layer-field", Warning, Certain, string(fd.Name()))
				f.What = fmt.Sprintf("A layer of type %s does not read %s.", l.GetType(), fd.Name())
				f.Why, f.Fix = "What it says has no effect.", "Remove it, or correct the type."
				f.Set = []string{l.set(string(fd.Name()), "")}
				k.add(f)
				return true
			})
		}
	}
}

// layerNames finds layers with weights that share a name.
func layerNames(c *Case, k *collector) {
	for _, n := range c.nets() {
		first := map[string]*layer{}
		for _, l := range n.layers {
			if !l.hasParams() {
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
