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
// them. While a blob has a layout it may be reshaped only to what Layout.Check
// accepts.
func (b *Blob) SetLayout(l Layout) { b.layout = l }

// Values returns the values in row-major order, whatever the layout: to be read
// only, and maybe a copy.
func (b *Blob) Values() []float32 { return b.plain(b.ReadData()) }

// Gradients is Values for the gradients.
func (b *Blob) Gradients() []float32 { return b.plain(b.Diff()) }

// plain returns s, which is in the blob's layout, in row-major order.
func (b *Blob) plain(s []float32) []float32 {
	if b.layout == NCHW {
		return s
	}
	d := make([]float32, len(s))
	pixels := b.CountFrom(2)
	for g := range b.CountRange(0, 2) / Lanes {
		from, to := s[g*Lanes*pixels:], d[g*Lanes*pixels:]
		for c := range Lanes {
			for p := range pixels {
				to[c*pixels+p] = from[p*Lanes+c]
			}
		}
	}
	return d
}
