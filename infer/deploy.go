package infer

import (
	"fmt"

	"crema/graph"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// dataTypes are the layers that read pictures and labels.
var dataTypes = map[string]bool{"Data": true, "ImageData": true, "WindowData": true, "HDF5Data": true, "MemoryData": true}

// scoreTypes are the losses behind which there are scores, and the layers that
// make these of what the loss takes.
var scoreTypes = map[string]string{"SoftmaxWithLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}

// Deploy makes of a net that is trained and tested on labelled data, in its state
// np.State, the net to be used: without the layers that need labels, and with
// scores in place of losses that have such (a Softmax for SoftmaxWithLoss). Layers
// that give data remain, with their first top only; their transform_param is
// returned, nil if there is none. What was changed is said in notes; if there
// are none, np was a net to be used already, and is returned.
func Deploy(np *caffepb.NetParameter) (deploy *caffepb.NetParameter, tp *caffepb.TransformationParameter, notes []string, err error) {
	kept, _, err := graph.Select(np)
	if err != nil {
		return nil, nil, nil, err
	}
	deploy = proto.CloneOf(np)
	deploy.Layer = nil
	labels := map[string]bool{} // blobs that are made of labels
	for _, l := range kept {
		l = proto.CloneOf(l)
		l.Include, l.Exclude = nil, nil
		if dataTypes[l.GetType()] && len(l.Bottom) == 0 && len(l.Top) > 0 {
			for _, t := range l.Top[1:] {
				labels[t] = true
			}
			l.Top = l.Top[:1]
			tp = l.GetTransformParam()
			notes = append(notes, fmt.Sprintf("layer %q (%s) is replaced by the pictures", l.GetName(), l.GetType()))
			deploy.Layer = append(deploy.Layer, l)
			continue
		}
		needsLabel := false
		for _, b := range l.Bottom {
			needsLabel = needsLabel || labels[b]
		}
		if !needsLabel {
			deploy.Layer = append(deploy.Layer, l)
			continue
		}
		if s := scoreTypes[l.GetType()]; s != "" && !labels[l.Bottom[0]] {
			name := l.GetName()
			deploy.Layer = append(deploy.Layer, &caffepb.LayerParameter{Name: proto.String(name), Type: proto.String(s),
				Bottom: l.Bottom[:1], Top: []string{name}, SoftmaxParam: l.SoftmaxParam})
			notes = append(notes, fmt.Sprintf("layer %q (%s) is replaced by a %s", name, l.GetType(), s))
			continue
		}
		for _, t := range l.Top {
			labels[t] = true
		}
		notes = append(notes, fmt.Sprintf("layer %q (%s) is left out: it needs labels", l.GetName(), l.GetType()))
	}
	if tp == nil && len(labels) == 0 {
		return np, nil, nil, nil
	}
	return deploy, tp, notes, nil
}
