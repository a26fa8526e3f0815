package netinfo

import (
	"crema/graph"
)

// macs returns the multiply-adds of a layer's forward pass for the whole batch,
// and false if the layer's work is not known.
func macs(n *graph.Node) (count int64, ok bool) {
	f, ok := macsOf[n.Type]
	if !ok {
		// Other types have no products with weights; only of a layer of the
		// user's own program nothing is known.
		return 0, n.Type != "Python"
	}
	if len(n.Layer.Params()) == 0 {
		return 0, true
	}
	return f(n), true
}

var macsOf = map[string]func(n *graph.Node) int64{
	"Convolution":   perOutput,
	"InnerProduct":  perOutput,
	"Deconvolution": perInput,
	"LSTM":          perStep,
	"RNN":           perStep,
}

// outputs returns num_output of a layer with weights.
func outputs(n *graph.Node) int64 {
	if p := n.Param.GetInnerProductParam(); n.Type == "InnerProduct" {
		return int64(p.GetNumOutput())
	}
	return int64(n.Param.GetConvolutionParam().GetNumOutput())
}

// perOutput: every value of a top is the product of a row of the weights with
// some of the bottom; there are num_output rows.
func perOutput(n *graph.Node) int64 {
	var tops int64
	for _, t := range n.Tops {
		tops += int64(t.Count())
	}
	return tops * (int64(n.Layer.Params()[0].Count()) / max(1, outputs(n)))
}

// perInput: every value of a bottom is multiplied by all the weights of its
// channel. The first axis of the weights is the bottom's channels.
func perInput(n *graph.Node) int64 {
	w := n.Layer.Params()[0]
	if w.Axes() == 0 || w.Dim(0) == 0 {
		return 0
	}
	var bottoms int64
	for _, b := range n.Bottoms {
		bottoms += int64(b.Count())
	}
	return bottoms * int64(w.Count()/w.Dim(0))
}

// perStep: each matrix of a recurrent layer is used once for each of T×N
// elements of the sequences, that of the static input once for each of N.
func perStep(n *graph.Node) int64 {
	x := n.Bottoms[0]
	if x.Axes() < 2 {
		return 0
	}
	steps, streams := int64(x.CountRange(0, 2)), int64(x.Dim(1))
	static := -1
	if hasStatic(n) {
		static = 2 // behind the matrix and the bias of the sequence
	}
	var sum int64
	for i, p := range n.Layer.Params() {
		switch {
		case p.Axes() < 2: // a bias
		case i == static:
			sum += streams * int64(p.Count())
		default:
			sum += steps * int64(p.Count())
		}
	}
	return sum
}

// hasStatic reports whether a recurrent layer has an input that is the same in
// all steps: the third bottom, unless that is a state (expose_hidden).
func hasStatic(n *graph.Node) bool {
	states := 0
	if n.Param.GetRecurrentParam().GetExposeHidden() {
		if states = 1; n.Type == "LSTM" {
			states = 2
		}
	}
	return len(n.Bottoms)-2-states > 0
}
