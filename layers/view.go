package layers

import "crema/tensor"

// view is embedded by layers whose top is their bottom in another shape: the two
// share values and gradients.
type view struct{ base }

// shareWith makes top another view of the values and gradients of bottom.
func shareWith(top, bottom *tensor.Blob) {
	top.ShareData(bottom)
	top.ShareDiff(bottom)
}

// Forward shares again: a layer may have given the bottom other storage since.
func (l *view) Forward(bottom, top []*tensor.Blob) error {
	shareWith(top[0], bottom[0])
	return nil
}

// Backward has nothing to do: what the consumer of the top wrote is the
// bottom's gradient already.
func (l *view) Backward(_ []*tensor.Blob, _ []bool, _ []*tensor.Blob) error { return nil }
