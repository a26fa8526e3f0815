package prototxt

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/prototxt/caffepb"
)

// A literal is a scalar as written: one token, with a sign before it, or
// several strings that follow each other.
type literal struct {
	token
	neg bool
}

// String is the literal as it may be shown in a message.
func (l literal) String() string {
	s := l.token.String()
	if l.kind != tokString && l.kind != tokEOF {
		s = l.text
	}
	if l.neg {
		s = "-" + s
	}
	return s
}

func (p *parser) literal() (literal, bool) {
	l := literal{token: p.tok}
	if l.is("-") {
		l.neg = true
		if !p.advance() {
			return l, false
		}
		l.token = token{p.tok.kind, p.tok.text, l.pos}
		if l.kind != tokInt && l.kind != tokFloat && l.kind != tokIdent {
			return l, p.broken(p.tok.pos, "expected a number after \"-\", found %v", p.tok)
		}
	}
	if l.kind == tokEOF || l.kind == tokSymbol {
		return l, p.broken(l.pos, "expected a value, found %v", l.token)
	}
	if !p.advance() {
		return l, false
	}
	if l.kind == tokString && p.tok.kind == tokString {
		parts := []string{l.text}
		for p.tok.kind == tokString {
			parts = append(parts, p.tok.text)
			if !p.advance() {
				return l, false
			}
		}
		l.text = strings.Join(parts, "")
	}
	return l, true
}

// value converts l to the type of fd, or says why it cannot.
func (l literal) value(fd protoreflect.FieldDescriptor) (v protoreflect.Value, msg string) {
	wrong := func(what string) (protoreflect.Value, string) {
		return protoreflect.Value{}, fmt.Sprintf("%s takes %s, not %v", fd.Name(), what, l)
	}
	switch kind := fd.Kind(); kind {
	case protoreflect.StringKind, protoreflect.BytesKind:
		if l.kind != tokString {
			v, msg := wrong("a string in quotes")
			if t, ok := v1TypeNames[l.text]; ok && fd.FullName() == "caffe.LayerParameter.type" {
				msg += fmt.Sprintf(" (it is of the old form \"layers\"; write type: %q)", t)
			}
			return v, msg
		}
		if kind == protoreflect.BytesKind {
			return protoreflect.ValueOfBytes([]byte(l.text)), ""
		}
		return protoreflect.ValueOfString(l.text), ""
	case protoreflect.BoolKind:
		switch {
		case l.neg || l.kind != tokInt && l.kind != tokIdent:
			return wrong("true or false")
		case l.kind == tokInt:
			if n, err := strconv.ParseUint(l.text, 0, 64); err == nil && n <= 1 {
				return protoreflect.ValueOfBool(n == 1), ""
			}
		case l.text == "true" || l.text == "True" || l.text == "t":
			return protoreflect.ValueOfBool(true), ""
		case l.text == "false" || l.text == "False" || l.text == "f":
			return protoreflect.ValueOfBool(false), ""
		}
		return wrong("true or false")
	case protoreflect.EnumKind:
		return l.enum(fd)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		f, ok := l.float()
		if !ok {
			return wrong("a decimal number")
		}
		if kind == protoreflect.FloatKind {
			return protoreflect.ValueOfFloat32(float32(f)), ""
		}
		return protoreflect.ValueOfFloat64(f), ""
	}
	return l.integer(fd, wrong)
}

func (l literal) integer(fd protoreflect.FieldDescriptor, wrong func(string) (protoreflect.Value, string)) (protoreflect.Value, string) {
	var bits int
	var signed bool
	switch fd.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		bits, signed = 32, true
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		bits, signed = 64, true
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		bits = 32
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		bits = 64
	default:
		return wrong(fmt.Sprintf("a value of kind %v, which text cannot give", fd.Kind()))
	}
	what := "a whole number"
	if !signed {
		what = "a whole number from 0"
	}
	if l.kind != tokInt || l.neg && !signed {
		return wrong(what)
	}
	text := l.text
	if l.neg {
		text = "-" + text
	}
	if signed {
		n, err := strconv.ParseInt(text, 0, bits)
		if err != nil {
			return wrong(fmt.Sprintf("a whole number from %d to %d", int64(-1)<<(bits-1), int64(1)<<(bits-1)-1))
		}
		if bits == 32 {
			return protoreflect.ValueOfInt32(int32(n)), ""
		}
		return protoreflect.ValueOfInt64(n), ""
	}
	n, err := strconv.ParseUint(text, 0, bits)
	if err != nil {
		return wrong(fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-bits)))
	}
	if bits == 32 {
		return protoreflect.ValueOfUint32(uint32(n)), ""
	}
	return protoreflect.ValueOfUint64(n), ""
}

// float returns l as a number. Like the C++ reader it goes through float64,
// takes what is too large as infinite, and refuses octal and hexadecimal.
func (l literal) float() (float64, bool) {
	var f float64
	switch l.kind {
	case tokInt, tokFloat:
		if len(l.text) > 1 && l.text[0] == '0' && l.text[1] != '.' && l.kind == tokInt {
			return 0, false
		}
		// A range error leaves ±Inf or 0 in f, as wanted.
		f, _ = strconv.ParseFloat(strings.TrimRight(l.text, "fF"), 64)
	case tokIdent:
		switch strings.ToLower(l.text) {
		case "inf", "infinity":
			f = math.Inf(1)
		case "nan":
			f = math.NaN()
		default:
			return 0, false
		}
	default:
		return 0, false
	}
	if l.neg {
		f = -f
	}
	return f, true
}

// enum takes names and the numbers of known values.
func (l literal) enum(fd protoreflect.FieldDescriptor) (protoreflect.Value, string) {
	values := fd.Enum().Values()
	switch {
	case l.kind == tokIdent && !l.neg:
		if ev := values.ByName(protoreflect.Name(l.text)); ev != nil {
			return protoreflect.ValueOfEnum(ev.Number()), ""
		}
	case l.kind == tokInt:
		text := l.text
		if l.neg {
			text = "-" + text
		}
		n, err := strconv.ParseInt(text, 0, 32)
		if err == nil && values.ByNumber(protoreflect.EnumNumber(n)) != nil {
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n)), ""
		}
	}
	return protoreflect.Value{}, l.wrongEnum(fd, true)
}

// shortEnum is the most values of an enum that every message about it lists.
const shortEnum = 8

// wrongEnum says that l is no value of fd's enum, with the names that are, but
// only the number of many if list is false.
func (l literal) wrongEnum(fd protoreflect.FieldDescriptor, list bool) string {
	values := fd.Enum().Values()
	names := make([]string, values.Len())
	for i := range names {
		names[i] = string(values.Get(i).Name())
	}
	hint := ""
	isType := fd.Enum() == caffepb.V1LayerParameter_LayerType(0).Descriptor()
	fork := ""
	if isType {
		fork = ForkOfType(l.text)
	}
	switch near := nearest(l.text, names, 1); {
	case l.kind == tokString && values.ByName(protoreflect.Name(l.text)) != nil:
		hint = fmt.Sprintf(" (write %s without quotes)", l.text)
	case isType && v1Name(l.text) != "":
		hint = fmt.Sprintf(" (in \"layers\" write %s; %q belongs to the newer form \"layer\")", v1Name(l.text), l.text)
	case fork != "":
		hint = fmt.Sprintf(" (a layer type of %s, not of Caffe)", fork)
	case len(near) > 0:
		hint = fmt.Sprintf(" (did you mean %s?)", near[0])
	}
	what := orList(names)
	if len(names) > shortEnum && (!list || hint != "") {
		what = fmt.Sprintf("one of %d names", len(names))
	}
	return fmt.Sprintf("%s takes %s, not %v%s", fd.Name(), what, l, hint)
}

// v1Name returns the name in V1's enum of a layer type of the newer form, ""
// for none.
func v1Name(t string) string {
	for v1, name := range v1TypeNames {
		if name == t {
			return v1
		}
	}
	return ""
}
