package tfevents

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// TestMaskedCRC has checksums from elsewhere: the check value of CRC-32C
// (RFC 3720, appendix B.4 has more), and the header of TensorFlow's first
// record, whose length is always 24.
func TestMaskedCRC(t *testing.T) {
	unmask := func(m uint32) uint32 {
		r := m - 0xa282ead8
		return r>>17 | r<<15
	}
	for in, want := range map[string]uint32{
		"123456789":                0xe3069283,
		strings.Repeat("\x00", 32): 0x8a9136aa,
		strings.Repeat("\xff", 32): 0x62a8ab43,
	} {
		if got := unmask(maskedCRC([]byte(in))); got != want {
			t.Errorf("checksum of %q is %#x, want %#x", in, got, want)
		}
	}
	if got := maskedCRC([]byte{24, 0, 0, 0, 0, 0, 0, 0}); got != 0x224b7fa3 {
		t.Errorf("masked checksum of the length 24 is %#x, want 0x224b7fa3", got)
	}
}

// records splits a file and checks its checksums.
func records(t *testing.T, b []byte) [][]byte {
	t.Helper()
	var out [][]byte
	for len(b) > 0 {
		if len(b) < 16 {
			t.Fatalf("%d bytes are left over", len(b))
		}
		n := int(binary.LittleEndian.Uint64(b))
		if binary.LittleEndian.Uint32(b[8:]) != maskedCRC(b[:8]) {
			t.Fatal("bad checksum of a length")
		}
		data := b[12 : 12+n]
		if binary.LittleEndian.Uint32(b[12+n:]) != maskedCRC(data) {
			t.Fatal("bad checksum of data")
		}
		out = append(out, data)
		b = b[16+n:]
	}
	return out
}

// A message holds the fields of a message by number: uint64 for numbers,
// []byte for the rest.
type message map[protowire.Number][]any

func parse(t *testing.T, b []byte) message {
	t.Helper()
	m := message{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		var v any
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var x uint32
			x, n = protowire.ConsumeFixed32(b)
			v = uint64(x)
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		default:
			t.Fatalf("field %d has type %d", num, typ)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		m[num] = append(m[num], v)
		b = b[n:]
	}
	return m
}

func (m message) sub(t *testing.T, num protowire.Number) message {
	t.Helper()
	return parse(t, m.bytes(t, num))
}

func (m message) bytes(t *testing.T, num protowire.Number) []byte {
	t.Helper()
	if len(m[num]) != 1 {
		t.Fatalf("field %d is there %d times", num, len(m[num]))
	}
	return m[num][0].([]byte)
}

func (m message) double(num protowire.Number) float64 {
	return math.Float64frombits(m[num][0].(uint64))
}

// doubles returns a packed field.
func (m message) doubles(t *testing.T, num protowire.Number) []float64 {
	var out []float64
	b := m.bytes(t, num)
	for ; len(b) > 0; b = b[8:] {
		out = append(out, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	return out
}

func TestEvents(t *testing.T) {
	at := time.Unix(1_700_000_000, 250_000_000)
	tag := strings.Repeat("a tag of some length/", 20)
	h := &Histogram{}
	h.Add([]float32{-2, 0, 1, 1})
	var b []byte
	b = AppendHeader(b, at)
	b = AppendRestart(b, at, 40)
	b = AppendSummary(b, at, 41, Tagged{tag, Scalar(1.5)}, Tagged{"nan", Scalar(math.NaN())}, Tagged{"h", h},
		Tagged{"m", Image{Width: 3, Height: 2, Channels: 4, PNG: []byte("png")}})
	got := records(t, b)
	if len(got) != 3 {
		t.Fatalf("%d records, want 3", len(got))
	}
	if len(got[0]) != 24 {
		t.Errorf("the header has %d bytes, want 24", len(got[0]))
	}
	head := parse(t, got[0])
	if head.double(1) != 1_700_000_000.25 || string(head.bytes(t, 3)) != "brain.Event:2" {
		t.Errorf("header %v", head)
	}
	restart := parse(t, got[1])
	if restart[2][0] != uint64(40) || restart.sub(t, 7)[1][0] != uint64(1) {
		t.Errorf("restart %v", restart)
	}
	event := parse(t, got[2])
	values := event.sub(t, 5)[1]
	if event[2][0] != uint64(41) || len(values) != 4 {
		t.Fatalf("step %v, %d values", event[2], len(values))
	}
	v := parse(t, values[0].([]byte))
	if string(v.bytes(t, 1)) != tag || math.Float32frombits(uint32(v[2][0].(uint64))) != 1.5 {
		t.Errorf("scalar %v", v)
	}
	v = parse(t, values[1].([]byte))
	if x := math.Float32frombits(uint32(v[2][0].(uint64))); x == x {
		t.Errorf("NaN came back as %g", x)
	}
	v = parse(t, values[2].([]byte)).sub(t, 5)
	for num, want := range map[protowire.Number]float64{1: -2, 2: 1, 3: 4, 4: 0, 5: 6} {
		if v.double(num) != want {
			t.Errorf("histogram field %d is %g, want %g", num, v.double(num), want)
		}
	}
	v = parse(t, values[3].([]byte)).sub(t, 4)
	if v[1][0] != uint64(2) || v[2][0] != uint64(3) || v[3][0] != uint64(4) || string(v.bytes(t, 4)) != "png" {
		t.Errorf("image %v", v)
	}
}

// TestHistogram compares bucket counts with counting directly.
func TestHistogram(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	random := make([]float32, 2000)
	for i := range random {
		random[i] = float32(rng.NormFloat64() * math.Pow(10, float64(rng.IntN(60)-30)))
	}
	for _, c := range []struct {
		name string
		in   []float32
	}{
		{"none", nil}, {"not finite", []float32{nan, inf, -inf}}, {"zero", []float32{0}},
		{"limits", []float32{1e-12, 1, -1, -1e-12, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32}},
		{"random", random},
	} {
		h := &Histogram{}
		h.Add(c.in)
		var finite []float64
		var sum, squares float64
		for _, x := range c.in {
			if x-x == 0 {
				finite = append(finite, float64(x))
				sum += float64(x)
				squares += float64(x) * float64(x)
			}
		}
		low, high := 0.0, 0.0
		if len(finite) > 0 {
			low, high = slices.Min(finite), slices.Max(finite)
		}
		m := parse(t, h.appendTo(nil)).sub(t, 5)
		for num, want := range map[protowire.Number]float64{1: low, 2: high, 3: float64(len(finite)), 4: sum, 5: squares} {
			if m.double(num) != want {
				t.Errorf("%s: field %d is %g, want %g", c.name, num, m.double(num), want)
			}
		}
		ends, counts := m.doubles(t, 6), m.doubles(t, 7)
		if len(ends) != len(counts) || len(ends) == 0 || ends[len(ends)-1] != math.MaxFloat64 || !slices.IsSorted(ends) {
			t.Fatalf("%s: %d limits and %d counts, the last limit %g", c.name, len(ends), len(counts), ends[len(ends)-1])
		}
		from := math.Inf(-1)
		for i, end := range ends {
			n := 0
			for _, x := range finite {
				if x >= from && x < end {
					n++
				}
			}
			if float64(n) != counts[i] {
				t.Errorf("%s: %g values in [%g, %g), want %d", c.name, counts[i], from, end, n)
			}
			if i > 0 && counts[i] == 0 && counts[i-1] == 0 {
				t.Errorf("%s: two empty buckets in a row before %g", c.name, end)
			}
			from = end
		}
	}
	// As many as TensorFlow has, from 1e-12 by tenths to above 1e20.
	if len(limits) != 2*775+1 || limits[775] != 0 || limits[776] != 1e-12 {
		t.Errorf("%d limits, those in the middle %g", len(limits), limits[770:780])
	}
}

func TestFileName(t *testing.T) {
	if n := FileName(time.Unix(5, 0)); !strings.HasPrefix(n, "events.out.tfevents.0000000005.") || strings.ContainsAny(n, "/ ") {
		t.Errorf("name %q", n)
	}
}
