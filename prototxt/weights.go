package prototxt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"google.golang.org/protobuf/encoding/protowire"

	"crema/internal/infile"
	"crema/prototxt/caffepb"
)

// A WeightsFile is an open .caffemodel, of which only the layers' names, types
// and parameters count. Everything else is skipped unread: field numbers that
// forks of Caffe give other meanings do no harm, and the values of parameters
// stay in the file until ReadValues takes them to their place. It is used by one
// goroutine at a time.
type WeightsFile struct {
	// Path of the file.
	Path string
	// Net is the net's name.
	Net string
	// Layers has all layers in the file's order, those without parameters
	// included.
	Layers []WeightsLayer

	f *os.File
}

// A WeightsLayer is a layer of a WeightsFile. Type is in the present form
// ("Convolution"), whatever the file's.
type WeightsLayer struct {
	Name, Type string
	Blobs      []WeightsBlob
}

// A WeightsBlob is a parameter of a layer. Legacy says that Shape is the four
// numbers of files older than BlobShape, where leading ones may be padding.
type WeightsBlob struct {
	Shape  []int64
	Legacy bool
	// Count is the number of values that the file has.
	Count int64

	spans []span
}

// A span is a run of numbers in a file, stride bytes from one to the next.
type span struct {
	off, n, stride int64
	form           form
}

// A form is how a number is stored.
type form uint8

const (
	float32s form = iota
	float64s
	float16s
)

// size is how many bytes a number takes.
func (f form) size() int64 { return [...]int64{4, 8, 2}[f] }

// The numbers of the fields that count, by the message they are in.
const (
	numNetName   = 1
	numNetLayers = 2 // V1
	numNetLayer  = 100

	numLayerName  = 1
	numLayerType  = 2
	numLayerBlobs = 7

	numV1Layer = 1 // V0
	numV1Name  = 4
	numV1Type  = 5
	numV1Blobs = 6

	numV0Name  = 1
	numV0Type  = 2
	numV0Blobs = 50

	numBlobNum     = 1 // channels, height and width follow
	numBlobWidth   = 4
	numBlobData    = 5
	numBlobShape   = 7
	numBlobDouble  = 8
	numBlobRawType = 10 // of NVIDIA's Caffe
	numBlobRaw     = 12

	numShapeDim = 1
)

// maxDims is the most dimensions a blob may have (Caffe's kMaxBlobAxes).
const maxDims = 32

// OpenWeights reads which layers a .caffemodel has (V0, V1 or present form) and
// where their parameters lie. Errors name the file and are as those of
// ReadBinary. Close the file when done.
func OpenWeights(path string) (*WeightsFile, error) {
	w, err := openWeights(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the weights: %w", err)
	}
	return w, nil
}

func openWeights(path string) (_ *WeightsFile, err error) {
	f, err := infile.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() == 0 {
		return nil, fmt.Errorf("%q: %w: it is empty", path, ErrTruncated)
	}
	kind := infile.Sniff(path)
	instead := kind.Instead(infile.Weights)
	if instead != "" && kind.IsMessage() {
		return nil, &kindError{path, instead}
	}
	w := &WeightsFile{Path: path, f: f}
	s := weightsScanner{wireReader: wireReader{path: path, r: f, size: st.Size()}, file: w}
	if err = s.net(); err == nil && len(s.v1)+len(s.v2) == 0 && w.Net == "" {
		err = fmt.Errorf("%q: %w: it holds no layers of a net", path, ErrFormat)
	}
	if err != nil {
		if instead != "" && kind != infile.Empty {
			err = &kindError{path, instead}
		}
		return nil, err
	}
	// Caffe ignores the layers of the newer form where there are old ones.
	if w.Layers = s.v2; len(s.v1) > 0 {
		w.Layers = s.v1
	}
	return w, nil
}

// Close closes the file.
func (w *WeightsFile) Close() error { return w.f.Close() }

// A weightsScanner finds a file's layers.
type weightsScanner struct {
	wireReader
	file   *WeightsFile
	v1, v2 []WeightsLayer
}

func (s *weightsScanner) net() error {
	return s.each(0, s.size, func(f wireField) (err error) {
		if f.typ != protowire.BytesType {
			return nil
		}
		switch f.num {
		case numNetName:
			s.file.Net, err = s.text(f, 1<<10)
		case numNetLayer:
			var l WeightsLayer
			err = s.layer(&l, f, numLayerName, numLayerType, numLayerBlobs)
			s.v2 = append(s.v2, l)
		case numNetLayers:
			var l WeightsLayer
			err = s.v1Layer(&l, f)
			s.v1 = append(s.v1, l)
		}
		return err
	})
}

// layer reads a layer whose name, type (a string) and blobs have these numbers.
func (s *weightsScanner) layer(l *WeightsLayer, in wireField, name, typ, blobs protowire.Number) error {
	return s.each(in.begin, in.end, func(f wireField) (err error) {
		if f.typ != protowire.BytesType {
			return nil
		}
		switch f.num {
		case name:
			l.Name, err = s.text(f, 1<<12)
		case typ:
			l.Type, err = s.text(f, 1<<12)
		case blobs:
			err = s.blob(l, f)
		}
		return err
	})
}

func (s *weightsScanner) v1Layer(l *WeightsLayer, in wireField) error {
	return s.each(in.begin, in.end, func(f wireField) (err error) {
		switch {
		case f.num == numV1Type && f.typ == protowire.VarintType:
			t := caffepb.V1LayerParameter_LayerType(f.varint)
			if l.Type = v1Types[t]; l.Type == "" && t != caffepb.V1LayerParameter_NONE {
				l.Type = fmt.Sprintf("V1 type %d", f.varint)
			}
		case f.typ != protowire.BytesType:
		case f.num == numV1Layer:
			err = s.layer(l, f, numV0Name, numV0Type, numV0Blobs)
			if t, ok := v0Types[l.Type]; ok {
				l.Type = v1Types[t]
			}
		case f.num == numV1Name:
			l.Name, err = s.text(f, 1<<12)
		case f.num == numV1Blobs:
			err = s.blob(l, f)
		}
		return err
	})
}

// errOtherBlob marks blobs of C3D's form, whose numbers of fields differ.
var errOtherBlob = errors.New("its blobs are of C3D's form (github.com/facebook/C3D), which has a length beside height and width; only that fork reads it")

// blob reads where a BlobProto's values lie and adds it to l.
func (s *weightsScanner) blob(l *WeightsLayer, in wireField) error {
	var b WeightsBlob
	var legacy [4]int64
	rawType := uint64(0)
	var raw, doubles, floats []span
	err := s.each(in.begin, in.end, func(f wireField) error {
		switch {
		case f.num >= numBlobNum && f.num <= numBlobWidth && f.typ == protowire.VarintType:
			legacy[f.num-numBlobNum] = int64(int32(f.varint))
			b.Legacy = true
		case f.num == numBlobData && f.typ == protowire.VarintType:
			return fmt.Errorf("%q: %w: %w", s.path, ErrFormat, errOtherBlob)
		case f.num == numBlobData:
			return s.values(&floats, f, float32s)
		case f.num == numBlobDouble:
			return s.values(&doubles, f, float64s)
		case f.num == numBlobRawType && f.typ == protowire.VarintType:
			rawType = f.varint
		case f.num == numBlobRaw && f.typ == protowire.BytesType:
			raw = append(raw, span{off: f.begin, n: f.end - f.begin}) // bytes, until the type is known
		case f.num == numBlobShape && f.typ == protowire.BytesType:
			return s.shape(&b.Shape, f)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if b.Legacy {
		b.Shape = legacy[:]
	}
	if b.spans = doubles; count(doubles) == 0 {
		b.spans = floats
	}
	if len(raw) > 0 && count(b.spans) == 0 {
		if b.spans, err = s.rawValues(raw, rawType); err != nil {
			return err
		}
	}
	b.Count = count(b.spans)
	l.Blobs = append(l.Blobs, b)
	return nil
}

// count returns how many numbers there are in spans.
func count(spans []span) (n int64) {
	for _, x := range spans {
		n += x.n
	}
	return n
}

// values adds the numbers of a field, packed or single, to spans.
func (s *weightsScanner) values(spans *[]span, f wireField, as form) error {
	size := as.size()
	switch {
	case f.typ == protowire.BytesType:
		n := f.end - f.begin
		if n%size != 0 {
			return fmt.Errorf("%q: %w: damaged inside: %d bytes of values at byte %d", s.path, ErrFormat, n, f.start)
		}
		*spans = append(*spans, span{f.begin, n / size, size, as})
	case f.end-f.begin == size:
		// Not packed: a tag before each. Equally spaced ones are one run.
		if k := len(*spans) - 1; k >= 0 {
			x := &(*spans)[k]
			switch step := f.begin - (x.off + (x.n-1)*x.stride); {
			case x.n == 1:
				x.stride, x.n = step, 2
				return nil
			case step == x.stride:
				x.n++
				return nil
			}
		}
		*spans = append(*spans, span{f.begin, 1, size, as})
	}
	return nil
}

// rawValues returns the numbers of NVIDIA's raw_data.
func (s *weightsScanner) rawValues(raw []span, typ uint64) ([]span, error) {
	forms := []form{float64s, float32s, float16s} // by NVIDIA's enum Type
	if typ >= uint64(len(forms)) {
		return nil, fmt.Errorf("%q: %w: values of type %d of NVIDIA's Caffe at byte %d; only those of floating-point types can be read", s.path, ErrFormat, typ, raw[0].off)
	}
	as := forms[typ]
	for i := range raw {
		x := &raw[i]
		if x.n%as.size() != 0 {
			return nil, fmt.Errorf("%q: %w: damaged inside: %d bytes of values at byte %d", s.path, ErrFormat, x.n, x.off)
		}
		*x = span{x.off, x.n / as.size(), as.size(), as}
	}
	return raw, nil
}

// shape reads the dimensions of a BlobShape.
func (s *weightsScanner) shape(dims *[]int64, in wireField) error {
	add := func(v uint64) error {
		if len(*dims) == maxDims {
			return fmt.Errorf("%q: %w: a blob of more than %d dimensions at byte %d", s.path, ErrFormat, maxDims, in.start)
		}
		*dims = append(*dims, int64(v))
		return nil
	}
	return s.each(in.begin, in.end, func(f wireField) error {
		switch {
		case f.num != numShapeDim:
		case f.typ == protowire.VarintType:
			return add(f.varint)
		case f.typ == protowire.BytesType:
			packed, err := s.text(f, maxDims*binary.MaxVarintLen64)
			if err != nil {
				return err
			}
			for b := []byte(packed); len(b) > 0; {
				v, n := protowire.ConsumeVarint(b)
				if n < 0 {
					return s.broken(f.start, in.end, n)
				}
				if err := add(v); err != nil {
					return err
				}
				b = b[n:]
			}
		}
		return nil
	})
}

// ReadValues reads the values of a blob of the file into dst, which must have
// b.Count elements. Numbers of 64 or 16 bits are converted.
func (w *WeightsFile) ReadValues(b *WeightsBlob, dst []float32) error {
	if int64(len(dst)) != b.Count {
		return fmt.Errorf("%q: %d values for a blob of %d", w.Path, b.Count, len(dst))
	}
	buf := make([]byte, 1<<18)
	for _, x := range b.spans {
		for done := int64(0); done < x.n; {
			n := min(x.n-done, int64(len(buf))/x.stride)
			if n == 0 { // single values far apart
				n = 1
			}
			size := min((n-1)*x.stride+x.form.size(), int64(len(buf)))
			part := buf[:size]
			if m, err := w.f.ReadAt(part, x.off+done*x.stride); m < len(part) {
				if err == io.EOF {
					err = fmt.Errorf("%w: it was cut off while it was read", ErrTruncated)
				}
				return fmt.Errorf("%q: %w", w.Path, err)
			}
			decode(dst[:n], part, x)
			dst = dst[n:]
			done += n
		}
	}
	return nil
}

// decode converts numbers that lie stride bytes apart in b.
func decode(dst []float32, b []byte, x span) {
	for i := range dst {
		p := b[int64(i)*x.stride:]
		switch x.form {
		case float32s:
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(p))
		case float64s:
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(p)))
		case float16s:
			dst[i] = halfToFloat(binary.LittleEndian.Uint16(p))
		}
	}
}

// halfToFloat converts a number of IEEE 754's binary16, exactly.
func halfToFloat(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch exp {
	case 0: // zero or subnormal: frac · 2⁻²⁴
		v := float32(frac) * 0x1p-24
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1f: // infinite or NaN
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}
