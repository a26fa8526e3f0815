package tensor

import "fmt"

// Values returns the values in row-major order (N×C×H×W), Count() long,
// whatever the layout: to be read only, and maybe a copy. Ask again after a
// change.
func (b *Blob) Values() []float32 { return b.plain(b.ReadData()) }

// Gradients is Values for the gradients.
func (b *Blob) Gradients() []float32 { return b.plain(b.Diff()) }

// SetValues sets all values, given in row-major order. v must have Count()
// elements; otherwise nothing is changed.
func (b *Blob) SetValues(v []float32) error {
	if err := b.checkLength(v); err != nil {
		return err
	}
	b.scatter(b.Data(), v)
	return nil
}

// SetGradients is SetValues for the gradients.
func (b *Blob) SetGradients(v []float32) error {
	if err := b.checkLength(v); err != nil {
		return err
	}
	b.scatter(b.Diff(), v)
	return nil
}

// At returns the value at an index, one number for each axis. It panics where
// an index of a slice would.
func (b *Blob) At(index ...int) float32 { return b.ReadData()[b.offset(index)] }

// Set changes the value at an index, one number for each axis. It panics where
// an index of a slice would. To set many, use SetValues.
func (b *Blob) Set(v float32, index ...int) { b.Data()[b.offset(index)] = v }

func (b *Blob) checkLength(v []float32) error {
	if len(v) != b.count {
		return fmt.Errorf("%d values for a blob of shape %s, which has %d", len(v), FormatShape(b.shape), b.count)
	}
	return nil
}

// offset returns where in memory the element at an index is.
func (b *Blob) offset(index []int) int {
	if len(index) != len(b.shape) {
		panic(fmt.Sprintf("tensor: index of %d numbers for a blob of shape %s", len(index), FormatShape(b.shape)))
	}
	at := 0
	for i, x := range index {
		if x < 0 || x >= b.shape[i] {
			panic(fmt.Sprintf("tensor: index %v out of range for a blob of shape %s", index, FormatShape(b.shape)))
		}
		at = at*b.shape[i] + x
	}
	if b.layout == Blocked {
		n, c, pixels := index[0], index[1], b.CountFrom(2)
		pixel := index[2]*b.shape[3] + index[3]
		at = ((n*b.shape[1]+c)/Lanes*pixels+pixel)*Lanes + c%Lanes
	}
	return at
}

// plain returns s, which is in the blob's layout, in row-major order.
func (b *Blob) plain(s []float32) []float32 {
	if b.layout == NCHW {
		return s
	}
	d := make([]float32, len(s))
	b.eachBlock(func(at, pixels int) {
		for c := range Lanes {
			to := d[at+c*pixels:][:pixels]
			for p := range to {
				to[p] = s[at+p*Lanes+c]
			}
		}
	})
	return d
}

// scatter copies v, which is in row-major order, to d in the blob's layout.
func (b *Blob) scatter(d, v []float32) {
	if b.layout == NCHW {
		copy(d, v)
		return
	}
	b.eachBlock(func(at, pixels int) {
		for c := range Lanes {
			from := v[at+c*pixels:][:pixels]
			for p, x := range from {
				d[at+p*Lanes+c] = x
			}
		}
	})
}

// eachBlock calls f for each block of Lanes channels of a Blocked blob: where
// it begins, in either order, and how many pixels a channel has.
func (b *Blob) eachBlock(f func(at, pixels int)) {
	pixels := b.CountFrom(2)
	for g := range b.CountRange(0, 2) / Lanes {
		f(g*Lanes*pixels, pixels)
	}
}
