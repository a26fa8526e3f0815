package data

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
)

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rawDatum(c, h, w int, label int32, pix []byte) *caffepb.Datum {
	return &caffepb.Datum{Channels: proto.Int32(int32(c)), Height: proto.Int32(int32(h)), Width: proto.Int32(int32(w)), Label: &label, Data: pix}
}

func TestDecodeDatum(t *testing.T) {
	pix := []byte{1, 2, 3, 4, 5, 6}
	floats := []float32{1.5, -2, 3, 4, 5, float32(math.Inf(1))}
	fd := rawDatum(1, 2, 3, -7, nil)
	fd.FloatData = floats
	// The same, packed in two runs with one loose value between, and an
	// unknown field.
	le := func(v ...float32) []byte {
		var b []byte
		for _, f := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
		}
		return b
	}
	mixed := marshal(t, rawDatum(1, 2, 3, -7, nil))
	mixed = protowire.AppendBytes(protowire.AppendTag(mixed, 6, protowire.BytesType), le(floats[:2]...))
	mixed = append(protowire.AppendTag(mixed, 6, protowire.Fixed32Type), le(floats[2])...)
	mixed = protowire.AppendVarint(protowire.AppendTag(mixed, 99, protowire.VarintType), 5)
	mixed = protowire.AppendBytes(protowire.AppendTag(mixed, 6, protowire.BytesType), le(floats[3:]...))
	for _, c := range []struct {
		name   string
		b      []byte
		floats []float32
	}{
		{"bytes", marshal(t, rawDatum(1, 2, 3, -7, pix)), nil},
		{"floats", marshal(t, fd), floats},
		{"floats in pieces", mixed, floats},
	} {
		t.Run(c.name, func(t *testing.T) {
			var im Image
			label, err := DecodeDatum(c.b, Native, &im)
			if err != nil {
				t.Fatal(err)
			}
			if label != -7 || im.C != 1 || im.H != 2 || im.W != 3 {
				t.Errorf("label %d, shape %d×%d×%d", label, im.C, im.H, im.W)
			}
			if c.floats != nil {
				if !slices.Equal(im.Float, c.floats) || im.Pix != nil {
					t.Errorf("floats %v, bytes %v, want %v", im.Float, im.Pix, c.floats)
				}
			} else if !slices.Equal(im.Pix, pix) || im.Float != nil {
				t.Errorf("bytes %v, want %v", im.Pix, pix)
			}
		})
	}
}

func TestDecodeDatumErrors(t *testing.T) {
	good := marshal(t, rawDatum(1, 2, 3, 0, []byte("123456")))
	enc := rawDatum(3, 2, 2, 0, []byte("no picture"))
	enc.Encoded = proto.Bool(true)
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "0×0×0"},
		{"cut off", good[:len(good)-3], "not a Datum"},
		{"garbage", []byte("\xff\xff\xff\xff\xff"), "not a Datum"},
		{"bytes missing", marshal(t, rawDatum(1, 2, 4, 0, []byte("123456"))), "6 bytes, but its shape 1×2×4 needs 8"},
		{"no data", marshal(t, rawDatum(1, 2, 4, 0, nil)), "0 float values"},
		{"negative height", marshal(t, rawDatum(1, -2, 4, 0, []byte("1"))), "1×-2×4"},
		{"absurd size", marshal(t, rawDatum(1<<20, 1<<20, 1<<20, 0, []byte("1"))), "2^30"},
		{"bad picture", marshal(t, enc), "neither a JPEG, PNG, BMP"},
		{"ragged floats", protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), []byte("12345")), "5 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeDatum(c.b, Native, new(Image))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// FuzzDatum: the reader in place agrees with the generated code.
func FuzzDatum(f *testing.F) {
	f.Add(marshal(f, rawDatum(1, 2, 3, 4, []byte("123456"))))
	f.Add(marshal(f, &caffepb.Datum{FloatData: []float32{1, 2}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDatum(b)
		var m caffepb.Datum
		if want := proto.Unmarshal(b, &m); (err == nil) != (want == nil) {
			t.Fatalf("error %v, generated code says %v", err, want)
		} else if err != nil {
			return
		}
		if d.c != int(m.GetChannels()) || d.h != int(m.GetHeight()) || d.w != int(m.GetWidth()) || d.label != m.GetLabel() ||
			d.encoded != m.GetEncoded() || string(d.data) != string(m.GetData()) || d.nFloats != len(m.FloatData) {
			t.Fatalf("%+v, generated code says %v", d, &m)
		}
	})
}
