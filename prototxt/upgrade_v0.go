package prototxt

import (
	"fmt"
	"log/slog"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/prototxt/caffepb"
)

// needsV0 reports whether any layer has the V0 form: its fields in a message
// "layer" inside "layers".
func needsV0(np *caffepb.NetParameter) bool {
	for _, l := range np.Layers {
		if l.Layer != nil {
			return true
		}
	}
	return false
}

// v0Types are V0's type strings.
var v0Types = map[string]caffepb.V1LayerParameter_LayerType{
	"accuracy":                  caffepb.V1LayerParameter_ACCURACY,
	"bnll":                      caffepb.V1LayerParameter_BNLL,
	"concat":                    caffepb.V1LayerParameter_CONCAT,
	"conv":                      caffepb.V1LayerParameter_CONVOLUTION,
	"data":                      caffepb.V1LayerParameter_DATA,
	"dropout":                   caffepb.V1LayerParameter_DROPOUT,
	"euclidean_loss":            caffepb.V1LayerParameter_EUCLIDEAN_LOSS,
	"flatten":                   caffepb.V1LayerParameter_FLATTEN,
	"hdf5_data":                 caffepb.V1LayerParameter_HDF5_DATA,
	"hdf5_output":               caffepb.V1LayerParameter_HDF5_OUTPUT,
	"im2col":                    caffepb.V1LayerParameter_IM2COL,
	"images":                    caffepb.V1LayerParameter_IMAGE_DATA,
	"infogain_loss":             caffepb.V1LayerParameter_INFOGAIN_LOSS,
	"innerproduct":              caffepb.V1LayerParameter_INNER_PRODUCT,
	"lrn":                       caffepb.V1LayerParameter_LRN,
	"multinomial_logistic_loss": caffepb.V1LayerParameter_MULTINOMIAL_LOGISTIC_LOSS,
	"pool":                      caffepb.V1LayerParameter_POOLING,
	"relu":                      caffepb.V1LayerParameter_RELU,
	"sigmoid":                   caffepb.V1LayerParameter_SIGMOID,
	"softmax":                   caffepb.V1LayerParameter_SOFTMAX,
	"softmax_loss":              caffepb.V1LayerParameter_SOFTMAX_LOSS,
	"split":                     caffepb.V1LayerParameter_SPLIT,
	"tanh":                      caffepb.V1LayerParameter_TANH,
	"window_data":               caffepb.V1LayerParameter_WINDOW_DATA,
}

// anyType is the key of v0Moves' entries for fields of every layer type.
const anyType = "*"

// v0Moves says where the value of each V0 field goes in the V1 layer, by layer
// type. (util/upgrade_proto.cpp, UpgradeV0LayerParameter.)
var v0Moves = map[protoreflect.Name]map[string]string{
	"name":              {anyType: "name"},
	"blobs":             {anyType: "blobs"},
	"blobs_lr":          {anyType: "blobs_lr"},
	"weight_decay":      {anyType: "weight_decay"},
	"num_output":        {"conv": "convolution_param.num_output", "innerproduct": "inner_product_param.num_output"},
	"biasterm":          {"conv": "convolution_param.bias_term", "innerproduct": "inner_product_param.bias_term"},
	"weight_filler":     {"conv": "convolution_param.weight_filler", "innerproduct": "inner_product_param.weight_filler"},
	"bias_filler":       {"conv": "convolution_param.bias_filler", "innerproduct": "inner_product_param.bias_filler"},
	"pad":               {"conv": "convolution_param.pad", "pool": "pooling_param.pad"},
	"kernelsize":        {"conv": "convolution_param.kernel_size", "pool": "pooling_param.kernel_size"},
	"group":             {"conv": "convolution_param.group"},
	"stride":            {"conv": "convolution_param.stride", "pool": "pooling_param.stride"},
	"pool":              {"pool": "pooling_param.pool"},
	"dropout_ratio":     {"dropout": "dropout_param.dropout_ratio"},
	"local_size":        {"lrn": "lrn_param.local_size"},
	"alpha":             {"lrn": "lrn_param.alpha"},
	"beta":              {"lrn": "lrn_param.beta"},
	"k":                 {"lrn": "lrn_param.k"},
	"source":            {"data": "data_param.source", "hdf5_data": "hdf5_data_param.source", "images": "image_data_param.source", "window_data": "window_data_param.source", "infogain_loss": "infogain_loss_param.source"},
	"scale":             {anyType: "transform_param.scale"},
	"meanfile":          {anyType: "transform_param.mean_file"},
	"batchsize":         {"data": "data_param.batch_size", "hdf5_data": "hdf5_data_param.batch_size", "images": "image_data_param.batch_size", "window_data": "window_data_param.batch_size"},
	"cropsize":          {anyType: "transform_param.crop_size"},
	"mirror":            {anyType: "transform_param.mirror"},
	"rand_skip":         {"data": "data_param.rand_skip", "images": "image_data_param.rand_skip"},
	"shuffle_images":    {"images": "image_data_param.shuffle"},
	"new_height":        {"images": "image_data_param.new_height"},
	"new_width":         {"images": "image_data_param.new_width"},
	"concat_dim":        {"concat": "concat_param.concat_dim"},
	"det_fg_threshold":  {"window_data": "window_data_param.fg_threshold"},
	"det_bg_threshold":  {"window_data": "window_data_param.bg_threshold"},
	"det_fg_fraction":   {"window_data": "window_data_param.fg_fraction"},
	"det_context_pad":   {"window_data": "window_data_param.context_pad"},
	"det_crop_mode":     {"window_data": "window_data_param.crop_mode"},
	"hdf5_output_param": {"hdf5_output": "hdf5_output_param"},
}

// upgradeV0 turns the V0 layers of np into V1 layers.
func upgradeV0(np *caffepb.NetParameter, notes *Notes) error {
	layers, err := foldPadding(np)
	if err != nil {
		return err
	}
	for i, l := range layers {
		if l.Layer == nil {
			continue // already V1: files written by hand mix them
		}
		if layers[i], err = upgradeV0Layer(l, notes); err != nil {
			return err
		}
	}
	np.Layers = layers
	return nil
}

// foldPadding returns the layers without V0's padding layers, which become the
// pad of the convolution or pooling layer that reads them.
func foldPadding(np *caffepb.NetParameter) ([]*caffepb.V1LayerParameter, error) {
	producer := map[string]*caffepb.V1LayerParameter{} // of each blob, nil for the net's inputs
	for _, name := range np.Input {
		producer[name] = nil
	}
	var out []*caffepb.V1LayerParameter
	for i, l := range np.Layers {
		t := l.GetLayer().GetType()
		if t != "padding" {
			out = append(out, l)
		}
		for j, bottom := range l.Bottom {
			from, ok := producer[bottom]
			if !ok {
				return nil, fmt.Errorf("layer %d (%q) reads the blob %q, which no layer before it makes", i, v0Name(l), bottom)
			}
			if from == nil || from.GetLayer().GetType() != "padding" {
				continue
			}
			switch {
			case t != "conv" && t != "pool":
				return nil, fmt.Errorf("the padding layer %q is read by %q of type %q; only conv and pool can take its padding", v0Name(from), v0Name(l), t)
			case len(l.Bottom) != 1 || len(from.Bottom) != 1 || len(from.Top) != 1:
				return nil, fmt.Errorf("the padding layer %q and the layer %q must have one bottom, and the former one top", v0Name(from), v0Name(l))
			}
			l.Layer.Pad = proto.Uint32(from.Layer.GetPad())
			l.Bottom[j] = from.Bottom[0]
		}
		for _, top := range l.Top {
			producer[top] = l
		}
	}
	return out, nil
}

func v0Name(l *caffepb.V1LayerParameter) string {
	if l.Layer != nil {
		return l.Layer.GetName()
	}
	return l.GetName()
}

// upgradeV0Layer returns the V1 form of a V0 layer.
func upgradeV0Layer(old *caffepb.V1LayerParameter, notes *Notes) (*caffepb.V1LayerParameter, error) {
	v0 := old.Layer
	l := &caffepb.V1LayerParameter{Bottom: old.Bottom, Top: old.Top}
	if v0.Type != nil {
		t, ok := v0Types[v0.GetType()]
		if !ok {
			return nil, fmt.Errorf("layer %q has the unknown V0 type %q", v0.GetName(), v0.GetType())
		}
		l.Type = t.Enum()
	}
	from := v0.ProtoReflect()
	for i, fields := 0, from.Descriptor().Fields(); i < fields.Len(); i++ {
		fd := fields.Get(i)
		if fd.Name() == "type" || !from.Has(fd) {
			continue
		}
		path, ok := v0Moves[fd.Name()][v0.GetType()]
		if !ok {
			path, ok = v0Moves[fd.Name()][anyType]
		}
		if !ok {
			notes.add(slog.LevelError, "Layer %q: a V0 layer of type %q has no parameter %s; it is lost", v0.GetName(), v0.GetType(), fd.Name())
			continue
		}
		moveField(l.ProtoReflect(), path, from.Get(fd), fd.IsList())
	}
	return l, nil
}

// moveField sets the field at path in m to v, or appends v where only the new
// field is repeated.
func moveField(m protoreflect.Message, path string, v protoreflect.Value, isList bool) {
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		m = m.Mutable(fieldOf(m, protoreflect.Name(name))).Message()
	}
	fd := fieldOf(m, protoreflect.Name(names[len(names)-1]))
	switch {
	case fd.IsList() && !isList:
		m.Mutable(fd).List().Append(v)
	case fd.Kind() == protoreflect.Uint32Kind:
		m.Set(fd, uint32Of(v))
	default:
		m.Set(fd, v)
	}
}

// uint32Of converts an int32 of V0 (new_height) to the uint32 it became.
func uint32Of(v protoreflect.Value) protoreflect.Value {
	if n, ok := v.Interface().(int32); ok {
		return protoreflect.ValueOfUint32(uint32(n))
	}
	return v
}
