package graph

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"crema/internal/seal"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// SaveWeights writes all layers with their parameters to a .caffemodel file
// (Net::ToProto) or, if its name ends in .h5, to an HDF5 file (Net::ToHDF5),
// with gradients if withDiff. The file appears whole or not at all; values are
// streamed, so no second copy is made in memory.
func (n *Net) SaveWeights(path string, withDiff bool) error {
	_, err := n.SaveWeightsSum(path, withDiff)
	return err
}

// SaveWeightsSum is SaveWeights that returns the checksum with which the file
// ends. Loading it finds any damage by that.
func (n *Net) SaveWeightsSum(path string, withDiff bool) (sum uint64, err error) {
	write, format := func(w io.Writer) error { return n.writeProto(w, withDiff) }, seal.Proto
	if isHDF5Name(path) {
		b, err := n.buildHDF5(withDiff)
		if err != nil {
			return 0, err
		}
		write, format = func(w io.Writer) error {
			_, err := b.WriteTo(w)
			return err
		}, seal.HDF5
	}
	s, err := seal.Write(path, format, 0, write)
	return s.Sum, err
}

// Field numbers of caffe.proto that the streaming writers use.
const (
	fieldNetName    = 1   // NetParameter.name
	fieldNetLayer   = 100 // NetParameter.layer
	fieldLayerBlobs = 7   // LayerParameter.blobs
	fieldBlobData   = 5   // BlobProto.data
	fieldBlobDiff   = 6   // BlobProto.diff
	fieldBlobShape  = 7   // BlobProto.shape
)

func (n *Net) writeProto(w io.Writer, withDiff bool) error {
	var head []byte
	head = protowire.AppendTag(head, fieldNetName, protowire.BytesType)
	head = protowire.AppendString(head, n.Name)
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, l := range n.nodes {
		if l.added {
			continue
		}
		p := proto.CloneOf(l.Param)
		p.Blobs = nil
		body, err := proto.Marshal(p)
		if err != nil {
			return fmt.Errorf("layer %q: %w", l.Name, err)
		}
		size := len(body)
		for _, b := range l.Layer.Params() {
			size += protowire.SizeTag(fieldLayerBlobs) + protowire.SizeBytes(blobSize(b, withDiff))
		}
		head = protowire.AppendTag(head[:0], fieldNetLayer, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(size))
		head = append(head, body...)
		if _, err := w.Write(head); err != nil {
			return err
		}
		for _, b := range l.Layer.Params() {
			if err := WriteBlobField(w, fieldLayerBlobs, b, withDiff); err != nil {
				return err
			}
		}
	}
	return nil
}

// floatsSize is the size of a packed float field of n values, tag included.
func floatsSize(n int) int {
	if n == 0 {
		return 0
	}
	return protowire.SizeTag(fieldBlobData) + protowire.SizeBytes(4*n)
}

func shapeBytes(b *tensor.Blob) []byte {
	s := &caffepb.BlobShape{}
	for _, d := range b.Shape() {
		s.Dim = append(s.Dim, int64(d))
	}
	body, err := proto.Marshal(s)
	if err != nil {
		panic("graph: a BlobShape cannot be marshalled: " + err.Error())
	}
	return body
}

// blobSize is the size of the blob as a BlobProto.
func blobSize(b *tensor.Blob, withDiff bool) int {
	n := floatsSize(b.Count())
	if withDiff {
		n += floatsSize(b.Count())
	}
	return n + protowire.SizeTag(fieldBlobShape) + protowire.SizeBytes(len(shapeBytes(b)))
}

// WriteBlobField writes a blob as the BlobProto field num of an enclosing
// message: what proto.Marshal would write, without building it in memory.
func WriteBlobField(w io.Writer, num protowire.Number, b *tensor.Blob, withDiff bool) error {
	head := protowire.AppendTag(nil, num, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(blobSize(b, withDiff)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	if err := writeFloats(w, fieldBlobData, b.Values()); err != nil {
		return err
	}
	if withDiff {
		if err := writeFloats(w, fieldBlobDiff, b.Gradients()); err != nil {
			return err
		}
	}
	shape := shapeBytes(b)
	tail := protowire.AppendTag(nil, fieldBlobShape, protowire.BytesType)
	tail = protowire.AppendBytes(tail, shape)
	_, err := w.Write(tail)
	return err
}

// writeFloats writes a packed field of floats, nothing if there are none.
func writeFloats(w io.Writer, num protowire.Number, v []float32) error {
	if len(v) == 0 {
		return nil
	}
	buf := protowire.AppendTag(nil, num, protowire.BytesType)
	buf = protowire.AppendVarint(buf, uint64(4*len(v)))
	if _, err := w.Write(buf); err != nil {
		return err
	}
	const chunk = 1 << 14
	buf = make([]byte, 0, 4*chunk)
	for len(v) > 0 {
		n := min(chunk, len(v))
		buf = buf[:0]
		for _, x := range v[:n] {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
		v = v[n:]
	}
	return nil
}

// HasOwnParams reports whether some layer has parameters that it does not take
// from Options.ShareParams.
func (n *Net) HasOwnParams() bool { return n.unshared }
