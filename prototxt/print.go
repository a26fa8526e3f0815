package prototxt

import (
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MarshalText prints m as the C++ printer does (DebugString, TextFormat::Print):
// fields in the order of their numbers, one per line, two spaces of indent,
// floats with six digits or, where those do not read back exactly, nine, bytes
// outside printable ASCII as octal escapes. The same message always gives the
// same text. Unknown fields, which the text format cannot name, are left out.
func MarshalText(m proto.Message) []byte {
	return appendMessage(nil, m.ProtoReflect(), 0)
}

func appendMessage(b []byte, m protoreflect.Message, indent int) []byte {
	for _, fd := range sortedFields(m) {
		v := m.Get(fd)
		switch {
		case fd.IsMap(): // there is none in Caffe's messages
		case fd.IsList():
			for i, l := 0, v.List(); i < l.Len(); i++ {
				b = appendField(b, fd, l.Get(i), indent)
			}
		default:
			b = appendField(b, fd, v, indent)
		}
	}
	return b
}

// sortedFields returns the fields of m that are set, in the order of their
// numbers.
func sortedFields(m protoreflect.Message) []protoreflect.FieldDescriptor {
	var set []protoreflect.FieldDescriptor
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		set = append(set, fd)
		return true
	})
	slices.SortFunc(set, func(x, y protoreflect.FieldDescriptor) int { return int(x.Number()) - int(y.Number()) })
	return set
}

func appendField(b []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value, indent int) []byte {
	b = appendIndent(b, indent)
	b = append(b, fd.Name()...)
	if fd.Message() != nil {
		b = append(b, " {\n"...)
		b = appendMessage(b, v.Message(), indent+1)
		b = appendIndent(b, indent)
		return append(b, "}\n"...)
	}
	b = append(b, ": "...)
	switch fd.Kind() {
	case protoreflect.BoolKind:
		b = strconv.AppendBool(b, v.Bool())
	case protoreflect.EnumKind:
		if ev := fd.Enum().Values().ByNumber(v.Enum()); ev != nil {
			b = append(b, ev.Name()...)
		} else {
			b = strconv.AppendInt(b, int64(v.Enum()), 10)
		}
	case protoreflect.StringKind:
		b = appendQuoted(b, v.String())
	case protoreflect.BytesKind:
		b = appendQuoted(b, string(v.Bytes()))
	case protoreflect.FloatKind:
		b = appendFloat(b, v.Float(), 32)
	case protoreflect.DoubleKind:
		b = appendFloat(b, v.Float(), 64)
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		b = strconv.AppendUint(b, v.Uint(), 10)
	default:
		b = strconv.AppendInt(b, v.Int(), 10)
	}
	return append(b, '\n')
}

func appendIndent(b []byte, n int) []byte {
	for range n {
		b = append(b, "  "...)
	}
	return b
}

// appendFloat is protobuf's SimpleFtoa and SimpleDtoa: C's %g with FLT_DIG (6)
// or DBL_DIG (15) digits, or with the number that is always enough if that
// does not read back as the same value.
func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, "nan"...)
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	}
	few, enough, normal := 6, 9, 0x1p-126
	if bits == 64 {
		few, enough, normal = 15, 17, 0x1p-1022
	}
	// C's strtof reports a range error for subnormal numbers, so C++ takes
	// few digits not to read back.
	if f != 0 && math.Abs(f) < normal {
		return strconv.AppendFloat(b, f, 'g', enough, 64)
	}
	n := len(b)
	b = strconv.AppendFloat(b, f, 'g', few, 64)
	if back, err := strconv.ParseFloat(string(b[n:]), bits); err != nil || back != f {
		b = strconv.AppendFloat(b[:n], f, 'g', enough, 64)
	}
	return b
}

// appendQuoted is protobuf's CEscape between double quotes.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '"' || c == '\'' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
