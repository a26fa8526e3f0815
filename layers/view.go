package layers

import "crema/tensor"

// shareWith makes top another view of the values and gradients of bottom.
// Layers call it in Reshape and again in Forward: the bottom may have got other
// storage since. What the consumer of the top then writes is the bottom's
// gradient already.
func shareWith(top, bottom *tensor.Blob) {
	top.ShareData(bottom)
	top.ShareDiff(bottom)
}
