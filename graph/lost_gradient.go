package graph

import (
	"fmt"
	"slices"
)

// warnLostGradients reports a trap of Caffe's: a layer whose top is its bottom
// in another shape shares the gradients of the two, but Flatten gives its bottom
// those of its own top, so that a Flatten behind such a layer undoes the
// sharing, and what lies before that layer gets no gradient (flatten_layer.cpp,
// reshape_layer.cpp). Results must be Caffe's, but nobody wants this one.
func (n *Net) warnLostGradients() {
	maker := map[int]*Node{} // of each blob
	for _, l := range n.nodes {
		if l.Type == "Flatten" && l.NeedBackward && l.PropagateDown[0] {
			if m := maker[l.bottomIDs[0]]; m != nil && m.NeedBackward && m.sharesGradient() {
				n.log.Warn(fmt.Sprintf("Layer %s (Flatten) stops the gradient of the blob %s before layer %s (%s), as it does in Caffe: no layer before that learns from it. "+
					"Leave the Flatten layer out and let %s make the final shape.", l.Name, l.BottomNames[0], m.Name, m.Type, m.Name))
			}
		}
		for _, id := range l.topIDs {
			if !slices.Contains(l.bottomIDs, id) {
				maker[id] = l
			}
		}
	}
}

// sharesGradient reports whether the layer's top shares its gradient with the
// bottom, or with a parameter.
func (l *Node) sharesGradient() bool {
	switch l.Type {
	case "Reshape", "Parameter":
		return true
	case "Concat":
		return len(l.Bottoms) == 1
	case "Slice":
		return len(l.Tops) == 1
	}
	return false
}
