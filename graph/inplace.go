package graph

import "crema/layers"

// spoiledBy returns the first layer so far that would go wrong if a layer of the
// given type changed the values of a blob in place, or nil: one that reads them
// for its gradient, or a split, whose readers all see the same memory. Caffe lets
// them go wrong.
func (b *builder) spoiledBy(kind string, blob int) *Node {
	for _, n := range b.nodes {
		if len(n.Tops) == 0 || !n.Tops[0].SharesData(b.blobs[blob]) {
			continue
		}
		if n.Type == "Split" {
			return n
		}
		r, ok := n.Layer.(layers.TopReader)
		if ok && b.training && n.NeedBackward && r.SpoiledBy(kind) {
			return n
		}
	}
	return nil
}
