package prototxt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
)

// checkWeights compares what OpenWeights finds in a file with what reading all
// of it gives.
func checkWeights(t *testing.T, path string) {
	t.Helper()
	want, err := ReadWeights(path)
	if err != nil {
		t.Error(err)
		return
	}
	w, err := OpenWeights(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer w.Close()
	if w.Net != want.GetName() || len(w.Layers) != len(want.Layer) {
		t.Fatalf("%s: net %q of %d layers, want %q of %d", path, w.Net, len(w.Layers), want.GetName(), len(want.Layer))
	}
	for i := range w.Layers {
		l, v := &w.Layers[i], want.Layer[i]
		if l.Name != v.GetName() || l.Type != v.GetType() || len(l.Blobs) != len(v.Blobs) {
			t.Errorf("%s: layer %d is %q (%s) with %d blobs, want %q (%s) with %d", path, i, l.Name, l.Type, len(l.Blobs), v.GetName(), v.GetType(), len(v.Blobs))
			continue
		}
		for j := range l.Blobs {
			b, p := &l.Blobs[j], v.Blobs[j]
			shape := p.GetShape().GetDim()
			if b.Legacy {
				shape = []int64{int64(p.GetNum()), int64(p.GetChannels()), int64(p.GetHeight()), int64(p.GetWidth())}
			}
			got := make([]float32, b.Count)
			if err := w.ReadValues(b, got); err != nil {
				t.Error(err)
			}
			if !slices.Equal(b.Shape, shape) || b.Legacy != (p.Num != nil) || !slices.Equal(got, p.Data) {
				t.Errorf("%s: blob %d of layer %q differs (shape %v, want %v)", path, j, l.Name, b.Shape, shape)
			}
		}
	}
}

func TestOpenWeights(t *testing.T) {
	eachFile(t, filepath.Join(golden, "runs", "solver"), ".caffemodel", func(path string) { checkWeights(t, path) })
	eachFile(t, filepath.Join(golden, "layers"), ".caffemodel", func(path string) { checkWeights(t, path) })
}

func TestOpenSharedWeights(t *testing.T) {
	dir := sharedDir(t)
	for _, file := range []string{"zoo/lenet_v1/lenet_iter_10000.caffemodel", "zoo/squeezenet/squeezenet.caffemodel"} {
		checkWeights(t, filepath.Join(dir, file))
	}
}

// field appends a field of bytes.
func field(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// floats packs values.
func floats(v ...float32) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func write(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.caffemodel")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestForkWeights reads files whose layers have fields that mean something else
// in Caffe, of other types and with contents that cannot be read as Caffe's.
func TestForkWeights(t *testing.T) {
	blob := field(field(nil, numBlobData, floats(1, 2, 3)), numBlobShape, field(nil, numShapeDim, []byte{3}))
	layer := field(field(nil, numLayerName, []byte("conv")), numLayerType, []byte("SomethingNew"))
	layer = field(layer, 148, []byte{0x0d, 0, 0, 0x80, 0x3f})                                   // clip_param without its required max
	layer = field(layer, 106, []byte{0xff, 0xff, 0xff})                                         // convolution_param, not a message
	layer = protowire.AppendVarint(protowire.AppendTag(layer, 5, protowire.VarintType), 7)      // loss_weight
	layer = protowire.AppendVarint(protowire.AppendTag(layer, 10, protowire.VarintType), 99)    // phase
	layer = protowire.AppendFixed64(protowire.AppendTag(layer, 6, protowire.Fixed64Type), 1)    // param
	layer = append(protowire.AppendTag(layer, 300, protowire.StartGroupType), 0x08, 1)          // a group
	layer = append(protowire.AppendTag(layer, 301, protowire.StartGroupType), 0x0d, 1, 2, 3, 4) // in a group
	layer = protowire.AppendTag(protowire.AppendTag(layer, 301, protowire.EndGroupType), 300, protowire.EndGroupType)
	layer = field(layer, numLayerBlobs, blob)
	net := field(nil, numNetName, []byte("fork"))
	net = protowire.AppendVarint(protowire.AppendTag(net, 11, protowire.VarintType), 3)
	net = field(net, numNetLayer, layer)
	path := write(t, net)
	if _, err := ReadWeights(path); err == nil {
		t.Fatal("the file has nothing that Caffe's form refuses")
	}
	w, err := OpenWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if len(w.Layers) != 1 || w.Layers[0].Name != "conv" || w.Layers[0].Type != "SomethingNew" || len(w.Layers[0].Blobs) != 1 {
		t.Fatalf("%+v", w.Layers)
	}
	got := make([]float32, 3)
	if err := w.ReadValues(&w.Layers[0].Blobs[0], got); err != nil || !slices.Equal(got, []float32{1, 2, 3}) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestWeightForms reads values in all forms that they are stored in.
func TestWeightForms(t *testing.T) {
	unpacked := func(v ...float32) (b []byte) {
		for _, x := range v {
			b = protowire.AppendFixed32(protowire.AppendTag(b, numBlobData, protowire.Fixed32Type), math.Float32bits(x))
		}
		return b
	}
	var doubles, halves []byte
	for _, x := range []float64{1, -2.5, 1e-3} {
		doubles = binary.LittleEndian.AppendUint64(doubles, math.Float64bits(x))
	}
	for _, x := range []uint16{0x3c00, 0xc100, 0x0001, 0x7c00, 0x8000} {
		halves = binary.LittleEndian.AppendUint16(halves, x)
	}
	raw := func(typ uint64, b []byte) []byte {
		return field(protowire.AppendVarint(protowire.AppendTag(nil, numBlobRawType, protowire.VarintType), typ), numBlobRaw, b)
	}
	many := make([]float32, 200000)
	for i := range many {
		many[i] = float32(i)
	}
	for _, c := range []struct {
		name string
		blob []byte
		want []float32
	}{
		{"packed", field(nil, numBlobData, floats(1, 2)), []float32{1, 2}},
		{"packed twice", field(field(nil, numBlobData, floats(1, 2)), numBlobData, floats(3)), []float32{1, 2, 3}},
		{"single", unpacked(1, 2, 3), []float32{1, 2, 3}},
		{"many single", unpacked(many...), many},
		{"many packed", field(nil, numBlobData, floats(many...)), many},
		{"single, with something between", slices.Concat(unpacked(1, 2), field(nil, 77, make([]byte, 9)), unpacked(3, 4)), []float32{1, 2, 3, 4}},
		{"packed and single", slices.Concat(field(nil, numBlobData, floats(1)), unpacked(2, 3)), []float32{1, 2, 3}},
		{"doubles", field(nil, numBlobDouble, doubles), []float32{1, -2.5, 1e-3}},
		{"doubles come first", slices.Concat(field(nil, numBlobData, floats(7, 7, 7)), field(nil, numBlobDouble, doubles)), []float32{1, -2.5, 1e-3}},
		{"no doubles", slices.Concat(field(nil, numBlobDouble, nil), field(nil, numBlobData, floats(7))), []float32{7}},
		{"NVIDIA's floats", raw(1, floats(1, 2)), []float32{1, 2}},
		{"NVIDIA's doubles", raw(0, doubles), []float32{1, -2.5, 1e-3}},
		{"NVIDIA's halves", raw(2, halves), []float32{1, -2.5, 0x1p-24, float32(math.Inf(1)), 0}},
		{"none", nil, []float32{}},
		{"gradients are not values", field(nil, 6, floats(1)), []float32{}},
	} {
		w, err := OpenWeights(write(t, field(field(nil, numNetName, []byte("n")), numNetLayer, field(nil, numLayerBlobs, c.blob))))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		b := &w.Layers[0].Blobs[0]
		got := make([]float32, b.Count)
		if err := w.ReadValues(b, got); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v of %d values, want %d (%v)", c.name, got[:min(len(got), 10)], len(got), len(c.want), err)
		}
		if err := w.ReadValues(b, make([]float32, b.Count+1)); err == nil {
			t.Errorf("%s: one more value was read", c.name)
		}
		w.Close()
	}
}

// TestHalf compares with the definition: (−1)^s · 2^(e−15) · 1.f.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		s, e, f := h>>15, h>>10&31, float64(h&1023)
		want := math.Ldexp(1+f/1024, e-15)
		switch {
		case e == 0:
			want = math.Ldexp(f/1024, -14)
		case e == 31 && f == 0:
			want = math.Inf(1)
		case e == 31:
			want = math.NaN()
		}
		if s == 1 {
			want = -want
		}
		got := float64(halfToFloat(uint16(h)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != (s == 1) {
			t.Fatalf("%#04x is %g, want %g", h, got, want)
		}
	}
}

// TestOldWeights reads layers of the forms V0 and V1.
func TestOldWeights(t *testing.T) {
	blob := &caffepb.BlobProto{Num: proto.Int32(1), Channels: proto.Int32(1), Height: proto.Int32(2), Width: proto.Int32(3), Data: []float32{1, 2, 3, 4, 5, 6}}
	np := &caffepb.NetParameter{Name: proto.String("old"), Layers: []*caffepb.V1LayerParameter{
		{Name: proto.String("ip"), Type: caffepb.V1LayerParameter_INNER_PRODUCT.Enum(), Blobs: []*caffepb.BlobProto{blob}},
		{Bottom: []string{"data"}, Layer: &caffepb.V0LayerParameter{Name: proto.String("c"), Type: proto.String("conv"), Blobs: []*caffepb.BlobProto{blob, blob}}},
	}}
	b, err := proto.Marshal(np)
	if err != nil {
		t.Fatal(err)
	}
	// A layer of a type that only a fork has.
	fork := protowire.AppendVarint(protowire.AppendTag(field(nil, numV1Name, []byte("x")), numV1Type, protowire.VarintType), 101)
	b = field(b, numNetLayers, field(fork, numV1Blobs, field(nil, numBlobData, floats(9))))
	w, err := OpenWeights(write(t, b))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i, want := range []struct {
		name, typ string
		blobs     int
	}{{"ip", "InnerProduct", 1}, {"c", "Convolution", 2}, {"x", "V1 type 101", 1}} {
		l := w.Layers[i]
		if l.Name != want.name || l.Type != want.typ || len(l.Blobs) != want.blobs {
			t.Errorf("layer %d: %+v", i, l)
		}
	}
	if b := w.Layers[1].Blobs[1]; !b.Legacy || !slices.Equal(b.Shape, []int64{1, 1, 2, 3}) || b.Count != 6 {
		t.Errorf("%+v", b)
	}
}

// TestDamagedWeights cuts a file off at every byte and changes every byte: an
// error or a result, never a panic, and none of a cut file unless the cut is
// where a field ends.
func TestDamagedWeights(t *testing.T) {
	good, err := proto.Marshal(someWeights())
	if err != nil {
		t.Fatal(err)
	}
	ends := map[int]bool{}
	for n := 0; n < len(good); {
		_, _, m := protowire.ConsumeField(good[n:])
		n += m
		ends[n] = true
	}
	path := filepath.Join(t.TempDir(), "x.caffemodel")
	read := func(b []byte) error {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		w, err := OpenWeights(path)
		if err != nil {
			return err
		}
		defer w.Close()
		for i := range w.Layers {
			for j := range w.Layers[i].Blobs {
				b := &w.Layers[i].Blobs[j]
				if err := w.ReadValues(b, make([]float32, b.Count)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for n := range good {
		if err := read(good[:n]); !ends[n] && !errors.Is(err, ErrTruncated) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for i := range min(len(good), 300) {
		for _, x := range []byte{0, 1, 0x80, 0xff, good[i] ^ 4} {
			b := bytes.Clone(good)
			b[i] = x
			if err := read(b); err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTruncated) {
				t.Errorf("byte %d as %d: %v", i, x, err)
			}
		}
	}
}

func TestOpenWeightsErrors(t *testing.T) {
	deep := bytes.Repeat(protowire.AppendTag(nil, 200, protowire.StartGroupType), 200)
	blob := func(b []byte) []byte { return field(nil, numNetLayer, field(nil, numLayerBlobs, b)) }
	for _, c := range []struct {
		name string
		b    []byte
		want string
		is   error
	}{
		{"nothing", nil, "it is empty", ErrTruncated},
		{"a net as text", []byte("layer {\n}"), "this is a net (prototxt)", ErrFormat},
		{"a state", field(protowire.AppendVarint([]byte{8}, 3), 2, []byte("x.caffemodel")), "resume from it with --snapshot", ErrFormat},
		{"a mean", field(field(nil, 5, floats(1)), 7, []byte{8, 1}), "this is a file of one blob", ErrFormat},
		{"hdf5", []byte("\x89HDF\r\n\x1a\n\x00"), "only the binary format can be read here", ErrFormat},
		{"no layers", []byte{8, 1}, "it holds no layers", ErrFormat},
		{"noise", []byte{0x0f, 1, 2}, "byte 0 cannot begin a field", ErrFormat},
		{"groups in groups", deep, "groups are nested deeper than 100", ErrFormat},
		{"the end of no group", protowire.AppendTag(nil, 200, protowire.EndGroupType), "byte 0 cannot begin a field", ErrFormat},
		{"C3D", blob(protowire.AppendVarint(protowire.AppendTag(nil, 5, protowire.VarintType), 3)), "facebook/C3D", ErrFormat},
		{"integers of NVIDIA", blob(field([]byte{0x50, 3}, numBlobRaw, make([]byte, 4))), "values of type 3 of NVIDIA's Caffe", ErrFormat},
		{"three bytes", blob(field(nil, numBlobData, make([]byte, 3))), "3 bytes of values", ErrFormat},
		{"dimensions", blob(field(nil, numBlobShape, field(nil, numShapeDim, make([]byte, 40)))), "more than 32 dimensions", ErrFormat},
		{"inside", field(field(nil, numNetLayer, []byte{0x3a, 9, 0}), numNetLayer, nil), "damaged inside: the field at byte 3 reaches beyond byte 6", ErrFormat},
	} {
		_, err := OpenWeights(write(t, c.b))
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if _, err := OpenWeights("none/x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := OpenWeights(os.DevNull); err == nil || !strings.Contains(err.Error(), "a device") {
		t.Errorf("a device: %v", err)
	}
}

// TestWeightsMemory: reading needs no memory for the values but where they go.
func TestWeightsMemory(t *testing.T) {
	const n = 4 << 20
	path := write(t, field(nil, numNetLayer, field(field(nil, numLayerName, []byte("fc")), numLayerBlobs, field(nil, numBlobData, make([]byte, 4*n)))))
	dst := make([]float32, n)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w, err := OpenWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.ReadValues(&w.Layers[0].Blobs[0], dst); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes were allocated to read %d", got, 4*n)
	}
}

func FuzzOpenWeights(f *testing.F) {
	b, err := proto.Marshal(someWeights())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("\x12\x10\x0a\x0e\x0a\x01c\x12\x04conv\x92\x03\x03\x2d\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &WeightsFile{}
		s := weightsScanner{wireReader: wireReader{path: "f", r: bytes.NewReader(b), size: int64(len(b))}, file: w}
		if err := s.net(); err != nil {
			return
		}
		var np caffepb.NetParameter
		if proto.Unmarshal(b, &np) != nil {
			return // fields that do not matter here
		}
		if len(np.Layer) != len(s.v2) || len(np.Layers) != len(s.v1) {
			t.Fatalf("%d and %d layers, want %d and %d", len(s.v2), len(s.v1), len(np.Layer), len(np.Layers))
		}
		for i, l := range np.Layer {
			if len(l.Blobs) != len(s.v2[i].Blobs) {
				t.Fatalf("layer %d: %d blobs, want %d", i, len(s.v2[i].Blobs), len(l.Blobs))
			}
			for j, p := range l.Blobs {
				n := len(p.Data)
				if len(p.DoubleData) > 0 {
					n = len(p.DoubleData)
				}
				if b := s.v2[i].Blobs[j]; b.Count != int64(n) && n > 0 {
					t.Fatalf("layer %d, blob %d: %d values, want %d", i, j, b.Count, n)
				}
			}
		}
	})
}
