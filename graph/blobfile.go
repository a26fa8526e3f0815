package graph

import (
	"fmt"
	"slices"

	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// protoShape returns the shape a BlobProto declares: its shape field, or the
// four legacy dimensions (Blob::FromProto in blob.cpp).
func protoShape(p *caffepb.BlobProto) (shape []int, legacy bool, err error) {
	if p.Num != nil || p.Channels != nil || p.Height != nil || p.Width != nil {
		shape = []int{int(p.GetNum()), int(p.GetChannels()), int(p.GetHeight()), int(p.GetWidth())}
		legacy = true
	} else {
		for _, d := range p.GetShape().GetDim() {
			if d < 0 || d > tensor.MaxCount {
				return nil, false, fmt.Errorf("dimension %d is out of range", d)
			}
			shape = append(shape, int(d))
		}
	}
	return shape, legacy, tensor.CheckShape(shape)
}

// shapeEquals reports whether a blob has the shape of a BlobProto; a legacy
// 4-D shape matches a blob of fewer axes padded with leading ones
// (Blob::ShapeEquals in blob.cpp).
func shapeEquals(b *tensor.Blob, shape []int, legacy bool) bool {
	s := b.Shape()
	if legacy {
		if len(s) > 4 {
			return false
		}
		for len(s) < 4 {
			s = append([]int{1}, s...)
		}
	}
	return slices.Equal(s, shape)
}

// copyValues fills dst from the float or, if there are any, the double values
// of a BlobProto field.
func copyValues(dst []float32, f []float32, d []float64, what string) error {
	if len(d) > 0 {
		if len(d) != len(dst) {
			return fmt.Errorf("holds %d %s values, its shape %d", len(d), what, len(dst))
		}
		for i, v := range d {
			dst[i] = float32(v)
		}
		return nil
	}
	if len(f) != len(dst) {
		return fmt.Errorf("holds %d %s values, its shape %d", len(f), what, len(dst))
	}
	copy(dst, f)
	return nil
}

// BlobFromProto makes a blob of a BlobProto: shape, values and, where there
// are any, gradients. A file whose counts do not fit its shape is an error.
func BlobFromProto(p *caffepb.BlobProto) (*tensor.Blob, error) {
	shape, _, err := protoShape(p)
	if err != nil {
		return nil, err
	}
	b := tensor.New(shape...)
	if err := copyValues(b.Data(), p.Data, p.DoubleData, "data"); err != nil {
		return nil, err
	}
	if len(p.Diff)+len(p.DoubleDiff) > 0 {
		if err := copyValues(b.Diff(), p.Diff, p.DoubleDiff, "diff"); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// BlobToProto returns a BlobProto of the blob's values (and its gradients, if
// withDiff), in row-major order. It may alias them: do not keep it while the
// blob changes.
func BlobToProto(b *tensor.Blob, withDiff bool) *caffepb.BlobProto {
	p := &caffepb.BlobProto{Shape: &caffepb.BlobShape{}, Data: b.Values()}
	for _, d := range b.Shape() {
		p.Shape.Dim = append(p.Shape.Dim, int64(d))
	}
	if withDiff {
		p.Diff = b.Gradients()
	}
	return p
}

// ReadBlobFile reads a BlobProto file (.binaryproto).
func ReadBlobFile(path string) (*tensor.Blob, error) {
	var p caffepb.BlobProto
	if err := prototxt.ReadBinary(path, &p); err != nil {
		return nil, err
	}
	b, err := BlobFromProto(&p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// WriteBlobFile writes a BlobProto file (.binaryproto): shape, values and, if
// withDiff, gradients.
func WriteBlobFile(path string, b *tensor.Blob, withDiff bool) error {
	return prototxt.WriteBinary(path, BlobToProto(b, withDiff))
}
