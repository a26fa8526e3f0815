package prototxt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/prototxt/caffepb"
)

// ErrInconsistent is wrapped by errors about files that mix old and new fields
// in a way that has no meaning.
var ErrInconsistent = errors.New("old and new fields are mixed")

// A Note says what an upgrade did or could not do, for the log.
type Note struct {
	Level slog.Level // Info: done; Warn: look at it; Error: something was lost
	Text  string
}

// Notes are the notes of one upgrade. None means that the file was up to date.
type Notes []Note

// Log writes the notes on file to log.
func (n Notes) Log(log *slog.Logger, file string) {
	for _, note := range n {
		log.Log(context.Background(), note.Level, file+": "+note.Text)
	}
}

// OK reports whether nothing was lost.
func (n Notes) OK() bool {
	for _, note := range n {
		if note.Level >= slog.LevelError {
			return false
		}
	}
	return true
}

func (n *Notes) add(level slog.Level, format string, args ...any) {
	*n = append(*n, Note{level, fmt.Sprintf(format, args...)})
}

// UpgradeNet brings np to the current format in place, as UpgradeNetAsNeeded
// of Caffe's util/upgrade_proto.cpp does: V0 layers, padding layers, the
// transformation fields of V1 data layers, V1 layers, input fields, BatchNorm
// layers with three param messages.
//
// It returns what it did. An error means that np has no meaning, and np is
// then half upgraded; what merely cannot be carried over is a note of level
// Error, as Caffe goes on too.
func UpgradeNet(np *caffepb.NetParameter) (Notes, error) {
	var notes Notes
	if len(np.Layers) > 0 && len(np.Layer) > 0 {
		return notes, fmt.Errorf("%w: the net has both \"layer\" and \"layers\"; write all as \"layer\" with a type in quotes, such as type: \"Convolution\"", ErrInconsistent)
	}
	if needsV0(np) {
		if err := upgradeV0(np, &notes); err != nil {
			return notes, err
		}
		notes.add(slog.LevelInfo, "Upgraded deprecated V0 layers (\"layers\" with \"layer\" inside)")
	}
	if upgradeTransform(np) {
		notes.add(slog.LevelInfo, "Moved deprecated transformation fields of data layers to transform_param")
	}
	if len(np.Layers) > 0 {
		if err := upgradeV1(np, &notes); err != nil {
			return notes, err
		}
		notes.add(slog.LevelInfo, "Upgraded deprecated V1 layers (\"layers\")")
	}
	if len(np.Input) > 0 {
		if err := upgradeInput(np, &notes); err != nil {
			return notes, err
		}
		notes.add(slog.LevelInfo, "Replaced deprecated input fields by an Input layer")
	}
	if upgradeBatchNorm(np) {
		notes.add(slog.LevelInfo, "Set lr_mult and decay_mult of BatchNorm layers to 0: their statistics are not learned")
	}
	return notes, nil
}

// transformFields are the fields that data layers of V1 nets have themselves
// and that belong into transform_param.
var transformFields = []protoreflect.Name{"scale", "mean_file", "crop_size", "mirror"}

// transformParams names the message of each V1 data layer that may have them.
var transformParams = map[caffepb.V1LayerParameter_LayerType]protoreflect.Name{
	caffepb.V1LayerParameter_DATA:        "data_param",
	caffepb.V1LayerParameter_IMAGE_DATA:  "image_data_param",
	caffepb.V1LayerParameter_WINDOW_DATA: "window_data_param",
}

// upgradeTransform moves the transformation fields of V1 data layers and
// reports whether there were any. As in Caffe, the data layers of a net that
// needs it all get both messages, if empty.
func upgradeTransform(np *caffepb.NetParameter) bool {
	eachData := func(f func(l, param protoreflect.Message, name protoreflect.Name)) {
		for _, l := range np.Layers {
			if name, ok := transformParams[l.GetType()]; ok {
				m := l.ProtoReflect()
				f(m, m, name)
			}
		}
	}
	needed := false
	eachData(func(l, _ protoreflect.Message, name protoreflect.Name) {
		param := l.Get(fieldOf(l, name)).Message()
		for _, f := range transformFields {
			needed = needed || param.Has(fieldOf(param, f))
		}
	})
	if !needed {
		return false
	}
	eachData(func(l, _ protoreflect.Message, name protoreflect.Name) {
		param := l.Mutable(fieldOf(l, name)).Message()
		to := l.Mutable(fieldOf(l, "transform_param")).Message()
		for _, f := range transformFields {
			if fd := fieldOf(param, f); param.Has(fd) {
				to.Set(fieldOf(to, f), param.Get(fd))
				param.Clear(fd)
			}
		}
	})
	return true
}

// fieldOf returns the field of m called name, which must exist.
func fieldOf(m protoreflect.Message, name protoreflect.Name) protoreflect.FieldDescriptor {
	return m.Descriptor().Fields().ByName(name)
}

// v1Types are the type strings of V1's enum values.
var v1Types = map[caffepb.V1LayerParameter_LayerType]string{
	caffepb.V1LayerParameter_NONE:                       "",
	caffepb.V1LayerParameter_ABSVAL:                     "AbsVal",
	caffepb.V1LayerParameter_ACCURACY:                   "Accuracy",
	caffepb.V1LayerParameter_ARGMAX:                     "ArgMax",
	caffepb.V1LayerParameter_BNLL:                       "BNLL",
	caffepb.V1LayerParameter_CONCAT:                     "Concat",
	caffepb.V1LayerParameter_CONTRASTIVE_LOSS:           "ContrastiveLoss",
	caffepb.V1LayerParameter_CONVOLUTION:                "Convolution",
	caffepb.V1LayerParameter_DATA:                       "Data",
	caffepb.V1LayerParameter_DECONVOLUTION:              "Deconvolution",
	caffepb.V1LayerParameter_DROPOUT:                    "Dropout",
	caffepb.V1LayerParameter_DUMMY_DATA:                 "DummyData",
	caffepb.V1LayerParameter_EUCLIDEAN_LOSS:             "EuclideanLoss",
	caffepb.V1LayerParameter_ELTWISE:                    "Eltwise",
	caffepb.V1LayerParameter_EXP:                        "Exp",
	caffepb.V1LayerParameter_FLATTEN:                    "Flatten",
	caffepb.V1LayerParameter_HDF5_DATA:                  "HDF5Data",
	caffepb.V1LayerParameter_HDF5_OUTPUT:                "HDF5Output",
	caffepb.V1LayerParameter_HINGE_LOSS:                 "HingeLoss",
	caffepb.V1LayerParameter_IM2COL:                     "Im2col",
	caffepb.V1LayerParameter_IMAGE_DATA:                 "ImageData",
	caffepb.V1LayerParameter_INFOGAIN_LOSS:              "InfogainLoss",
	caffepb.V1LayerParameter_INNER_PRODUCT:              "InnerProduct",
	caffepb.V1LayerParameter_LRN:                        "LRN",
	caffepb.V1LayerParameter_MEMORY_DATA:                "MemoryData",
	caffepb.V1LayerParameter_MULTINOMIAL_LOGISTIC_LOSS:  "MultinomialLogisticLoss",
	caffepb.V1LayerParameter_MVN:                        "MVN",
	caffepb.V1LayerParameter_POOLING:                    "Pooling",
	caffepb.V1LayerParameter_POWER:                      "Power",
	caffepb.V1LayerParameter_RELU:                       "ReLU",
	caffepb.V1LayerParameter_SIGMOID:                    "Sigmoid",
	caffepb.V1LayerParameter_SIGMOID_CROSS_ENTROPY_LOSS: "SigmoidCrossEntropyLoss",
	caffepb.V1LayerParameter_SILENCE:                    "Silence",
	caffepb.V1LayerParameter_SOFTMAX:                    "Softmax",
	caffepb.V1LayerParameter_SOFTMAX_LOSS:               "SoftmaxWithLoss",
	caffepb.V1LayerParameter_SPLIT:                      "Split",
	caffepb.V1LayerParameter_SLICE:                      "Slice",
	caffepb.V1LayerParameter_TANH:                       "TanH",
	caffepb.V1LayerParameter_THRESHOLD:                  "Threshold",
	caffepb.V1LayerParameter_WINDOW_DATA:                "WindowData",
}

// v1TypeNames has v1Types by the names of the enum's values.
var v1TypeNames = func() map[string]string {
	names := map[string]string{}
	for v, t := range v1Types {
		if t != "" {
			names[v.String()] = t
		}
	}
	return names
}()

// v1Special are the fields of V1 layers that have another form in V2.
var v1Special = map[protoreflect.Name]bool{
	"type": true, "layer": true, "param": true, "blob_share_mode": true, "blobs_lr": true, "weight_decay": true,
}

// upgradeV1 replaces np.Layers by np.Layer.
func upgradeV1(np *caffepb.NetParameter, notes *Notes) error {
	for i, v1 := range np.Layers {
		l := &caffepb.LayerParameter{}
		if v1.Type != nil {
			t, ok := v1Types[v1.GetType()]
			if !ok {
				return fmt.Errorf("layer %d (%q) has the unknown V1 type %d; Caffe has 0 to %d", i, v1.GetName(), v1.GetType(), len(v1Types)-1)
			}
			l.Type = proto.String(t)
		}
		// Most fields have the same name and type in both forms. Values are
		// moved, not copied: weights may be large.
		from, to := v1.ProtoReflect(), l.ProtoReflect()
		from.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			if !v1Special[fd.Name()] {
				to.Set(fieldOf(to, fd.Name()), v)
			}
			return true
		})
		spec := func(i int) *caffepb.ParamSpec {
			for len(l.Param) <= i {
				l.Param = append(l.Param, &caffepb.ParamSpec{})
			}
			return l.Param[i]
		}
		for i, name := range v1.Param {
			spec(i).Name = proto.String(name)
		}
		for i, mode := range v1.BlobShareMode {
			spec(i).ShareMode = caffepb.ParamSpec_DimCheckMode(mode).Enum()
		}
		for i, lr := range v1.BlobsLr {
			spec(i).LrMult = proto.Float32(lr)
		}
		for i, decay := range v1.WeightDecay {
			spec(i).DecayMult = proto.Float32(decay)
		}
		if v1.Layer != nil {
			notes.add(slog.LevelError, "Layer %d (%q) still has V0 fields, which are ignored", i, v1.GetName())
		}
		np.Layer = append(np.Layer, l)
	}
	np.Layers = nil
	return nil
}

// upgradeInput turns the net's input fields into an Input layer before all
// others. Inputs without shapes, as in old weight files, are dropped.
func upgradeInput(np *caffepb.NetParameter, notes *Notes) error {
	n := len(np.Input)
	if len(np.InputShape) > 0 || len(np.InputDim) > 0 {
		shapes := np.InputShape
		if len(shapes) == 0 {
			for d := np.InputDim; len(d) >= 4; d = d[4:] {
				shapes = append(shapes, &caffepb.BlobShape{Dim: []int64{int64(d[0]), int64(d[1]), int64(d[2]), int64(d[3])}})
			}
			if len(np.InputDim) != 4*n {
				notes.add(slog.LevelWarn, "The net has %d input and %d input_dim fields; four input_dim belong to each input", n, len(np.InputDim))
			}
		} else if len(shapes) != n {
			notes.add(slog.LevelWarn, "The net has %d input and %d input_shape fields", n, len(shapes))
		}
		if len(shapes) < n {
			return fmt.Errorf("the input %q has no shape: there are %d input, %d input_shape and %d input_dim fields (four for each input)", np.Input[len(shapes)], n, len(np.InputShape), len(np.InputDim))
		}
		input := &caffepb.LayerParameter{
			Name:       proto.String("input"),
			Type:       proto.String("Input"),
			Top:        np.Input,
			InputParam: &caffepb.InputParameter{Shape: shapes[:n]},
		}
		np.Layer = append([]*caffepb.LayerParameter{input}, np.Layer...)
	}
	np.Input, np.InputShape, np.InputDim = nil, nil, nil
	return nil
}

// upgradeBatchNorm stops the statistics of BatchNorm layers, which older nets
// list as three param messages, from being learned. It reports whether one was.
func upgradeBatchNorm(np *caffepb.NetParameter) bool {
	found := false
	for _, l := range np.Layer {
		if l.GetType() != "BatchNorm" || len(l.Param) != 3 {
			continue
		}
		for _, p := range l.Param {
			found = found || p.LrMult == nil || p.DecayMult == nil || p.GetLrMult() != 0 || p.GetDecayMult() != 0
			p.LrMult, p.DecayMult = proto.Float32(0), proto.Float32(0)
		}
	}
	return found
}

// solverTypes are the type strings of the old enum solver_type.
var solverTypes = map[caffepb.SolverParameter_SolverType]string{
	caffepb.SolverParameter_SGD:      "SGD",
	caffepb.SolverParameter_NESTEROV: "Nesterov",
	caffepb.SolverParameter_ADAGRAD:  "AdaGrad",
	caffepb.SolverParameter_RMSPROP:  "RMSProp",
	caffepb.SolverParameter_ADADELTA: "AdaDelta",
	caffepb.SolverParameter_ADAM:     "Adam",
}

// UpgradeSolver replaces the enum solver_type by the string type, in place.
// Having both is an error.
func UpgradeSolver(sp *caffepb.SolverParameter) (Notes, error) {
	var notes Notes
	if sp.SolverType == nil {
		return notes, nil
	}
	if sp.Type != nil {
		return notes, fmt.Errorf("%w: both the old solver_type and type are given; keep type: %q", ErrInconsistent, sp.GetType())
	}
	t, ok := solverTypes[sp.GetSolverType()]
	if !ok {
		return notes, fmt.Errorf("unknown solver_type %d", sp.GetSolverType())
	}
	sp.Type, sp.SolverType = proto.String(t), nil
	notes.add(slog.LevelInfo, "Replaced the deprecated solver_type by type: %q", t)
	return notes, nil
}
