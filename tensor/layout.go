package tensor

import "fmt"

// A Layout is the order in which a blob's elements lie in memory, values and
// gradients alike. The shape does not depend on it: it is N×C×H×W for both.
type Layout uint8

// The layouts.
const (
	// NCHW is row-major order, for blobs of any number of axes; the zero value.
	NCHW Layout = iota
	// Blocked is the row-major order of N×(C/16)×H×W×16, for blobs of four axes
	// whose C is a multiple of 16: a pixel's values of 16 channels, as many as
	// vectors have lanes, lie side by side.
	Blocked
)

// Lanes is the number of channels in a block.
const Lanes = 16

// String names the layout.
func (l Layout) String() string {
	if l == Blocked {
		return "blocked"
	}
	return "nchw"
}

// Check reports why a blob of the given shape cannot have the layout.
func (l Layout) Check(shape []int) error {
	if l == Blocked && (len(shape) != 4 || shape[1]%Lanes != 0) {
		return fmt.Errorf("shape %s is not N×C×H×W with C a multiple of %d", FormatShape(shape), Lanes)
	}
	return nil
}

// Layout returns the order of the elements.
func (b *Blob) Layout() Layout { return b.layout }

// SetLayout changes what the elements of Data and Diff mean; it does not move
// them. It panics if Layout.Check refuses the blob's shape, as Reshape does from
// then on.
func (b *Blob) SetLayout(l Layout) {
	if err := l.Check(b.shape); err != nil {
		panic("tensor: " + err.Error())
	}
	b.layout = l
}
