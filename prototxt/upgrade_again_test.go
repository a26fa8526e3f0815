package prototxt

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/prototxt/caffepb"
)

// scramble fills a message with random values of its fields, which are all set
// with the given probability; messages within are filled to a depth. Enum values
// are known ones. skip names fields that are left alone.
func scramble(r *rand.Rand, m protoreflect.Message, p float64, depth int, skip map[protoreflect.FullName]bool) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if skip[fd.FullName()] || fd.Cardinality() != protoreflect.Required && (r.Float64() >= p || fd.Message() != nil && depth == 0) {
			continue
		}
		value := func() protoreflect.Value {
			if fd.Message() != nil {
				v := m.NewField(fd)
				if fd.IsList() {
					v = v.List().NewElement()
				}
				scramble(r, v.Message(), p, depth-1, skip)
				return v
			}
			return scalar(r, fd)
		}
		if fd.IsList() {
			l := m.Mutable(fd).List()
			for range 1 + r.IntN(3) {
				l.Append(value())
			}
			continue
		}
		m.Set(fd, value())
	}
}

func scalar(r *rand.Rand, fd protoreflect.FieldDescriptor) protoreflect.Value {
	pick := func(v ...float64) float64 { return v[r.IntN(len(v))] }
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(fd.Enum().Values().Get(r.IntN(fd.Enum().Values().Len())).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(pick(0, 1, -1, math.MaxInt32, math.MinInt32, 7)))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(pick(0, 1, -1, 1<<40, -1<<40)))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(pick(0, 1, math.MaxUint32, 7)))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(pick(0, 1, 1<<50)))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(pick(0, math.Copysign(0, -1), 1, -0.1, 1e-45, 3e38, math.Inf(1), math.Inf(-1), math.NaN(), r.NormFloat64())))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(pick(0, 1, -0.1, 5e-324, 1e308, math.Inf(-1), math.NaN(), r.NormFloat64()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte([]string{"", "\x00\xff\n", "a\"b'c\\", "plain"}[r.IntN(4)]))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString([]string{"", "data", "a\tb\r\n", "é \"q\" 'x' \\n", "layer#1 { }"}[r.IntN(5)])
	}
	panic(fd.FullName() + " is of kind " + protoreflect.FullName(fd.Kind().String()))
}

// TestUpgradeAgain: what an upgrade printed is read back as it was, text and
// binary, and needs no upgrade.
func TestUpgradeAgain(t *testing.T) {
	// V0 layers must have types of V0, and both forms of layers do not go
	// together.
	v0Types := []string{"conv", "innerproduct", "relu", "pool", "data", "softmax_loss", "dropout", "lrn", "images", "concat", "hdf5_data"}
	upgraded := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 5))
		np := &caffepb.NetParameter{}
		old := []protoreflect.FullName{"caffe.NetParameter.layer", "caffe.NetParameter.layers"}[r.IntN(2)]
		skip := map[protoreflect.FullName]bool{old: true, "caffe.V0LayerParameter.type": true}
		if r.IntN(2) == 0 {
			skip["caffe.V1LayerParameter.layer"] = true
		}
		scramble(r, np.ProtoReflect(), []float64{0.05, 0.2, 0.6}[r.IntN(3)], 4, skip)
		for _, l := range np.Layers {
			if l.Layer != nil {
				l.Layer.Type = proto.String(v0Types[r.IntN(len(v0Types))])
			}
		}
		for i, l := range np.Layer {
			if i%2 == 0 {
				l.Type, l.Param = proto.String("BatchNorm"), []*caffepb.ParamSpec{{}, {LrMult: proto.Float32(0)}, {DecayMult: proto.Float32(2)}}
			}
		}
		if _, err := UpgradeNet(np); err != nil {
			continue // it has no meaning: there is nothing to print
		}
		upgraded++
		checkAgain(t, seed, np, func(m proto.Message) (Notes, error) { return UpgradeNet(m.(*caffepb.NetParameter)) })
		sp := &caffepb.SolverParameter{}
		scramble(r, sp.ProtoReflect(), 0.4, 3, map[protoreflect.FullName]bool{"caffe.SolverParameter.type": true})
		if _, err := UpgradeSolver(sp); err != nil {
			t.Fatal(err)
		}
		checkAgain(t, seed, sp, func(m proto.Message) (Notes, error) { return UpgradeSolver(m.(*caffepb.SolverParameter)) })
	}
	if upgraded < 100 {
		t.Errorf("only %d nets could be upgraded at all", upgraded)
	}
}

func checkAgain(t *testing.T, seed uint64, m proto.Message, upgrade func(proto.Message) (Notes, error)) {
	t.Helper()
	text := MarshalText(m)
	var bin bytes.Buffer
	if err := EncodeBinary(&bin, m); err != nil {
		t.Fatal(err)
	}
	back := m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(bin.Bytes(), back); err != nil {
		t.Fatal(err)
	}
	if again := MarshalText(back); string(again) != string(text) {
		t.Errorf("seed %d: what was written as binary is not what was printed", seed)
	}
	back = m.ProtoReflect().New().Interface()
	if err := UnmarshalText("printed", text, back); err != nil {
		t.Fatalf("seed %d: what was printed cannot be read: %v\n%s", seed, err, text)
	}
	if notes, err := upgrade(back); err != nil || len(notes) > 0 {
		t.Errorf("seed %d: what was upgraded is upgraded again: %v, %v\n%s", seed, notes, err, text)
	}
	if again := MarshalText(back); string(again) != string(text) {
		t.Errorf("seed %d: printed again it is\n%s\nand was\n%s", seed, again, text)
	}
}
