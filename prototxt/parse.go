package prototxt

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDepth bounds the nesting of messages. The schema's own depth is under
// ten; only unknown fields can be nested deeper.
const maxDepth = 100

// UnmarshalText reads protobuf's text format into m, which it clears first.
// It accepts what the C++ reader of Caffe accepts (and a byte order mark).
// file is used in messages only.
//
// An error is a *TextError. Unknown fields and wrong values do not end
// reading: all of them are reported. m is then incomplete.
func UnmarshalText(file string, src []byte, m proto.Message) error {
	return unmarshalText(file, src, m, nil)
}

// unmarshalTextPos is UnmarshalText that also returns where the fields are.
func unmarshalTextPos(file string, src []byte, m proto.Message) (*Source, error) {
	s := &Source{File: file, pos: map[string]position{}}
	if err := unmarshalText(file, src, m, s); err != nil {
		return nil, err
	}
	return s, nil
}

func unmarshalText(file string, src []byte, m proto.Message, s *Source) error {
	proto.Reset(m)
	p := &parser{scanner: newScanner(string(src)), source: s}
	if p.advance() {
		p.message(m.ProtoReflect(), "", "", 0, token{pos: position{1, 1}})
	}
	if len(p.problems) > 0 {
		return &TextError{file, p.problems}
	}
	return nil
}

// A parser fills messages from tokens. Its methods return false if parsing
// cannot go on (the syntax is broken); the reason is then the last problem.
type parser struct {
	scanner
	tok      token
	problems []Problem
	source   *Source                        // nil: positions are not kept
	listed   map[protoreflect.FullName]bool // long enums whose names were listed
}

func (p *parser) report(at position, format string, args ...any) {
	p.problems = append(p.problems, *problem(at, format, args...))
}

// reportAs is report of a problem that is of one kind with others whose
// messages differ.
func (p *parser) reportAs(kind string, at position, format string, args ...any) {
	p.report(at, format, args...)
	p.problems[len(p.problems)-1].kind = kind
}

// broken reports a syntax error.
func (p *parser) broken(at position, format string, args ...any) bool {
	p.report(at, format, args...)
	return false
}

func (p *parser) advance() bool {
	t, prob := p.scanner.next()
	if prob != nil {
		p.problems = append(p.problems, *prob)
		return false
	}
	p.tok = t
	return true
}

// accept moves over the symbol s if it is next. ok is as for all methods.
func (p *parser) accept(s string) (found, ok bool) {
	if !p.tok.is(s) {
		return false, true
	}
	return true, p.advance()
}

// message parses fields up to the symbol end, or to the end of the file if end
// is empty. path is that of m ("" at the top), open the token that began it.
func (p *parser) message(m protoreflect.Message, path, end string, depth int, open token) bool {
	var seen []fieldAt
	for {
		switch {
		case end != "" && p.tok.is(end):
			p.checkRequired(m, open.pos)
			return p.advance()
		case p.tok.kind == tokEOF && end == "":
			p.checkRequired(m, open.pos)
			return true
		case p.tok.kind == tokEOF:
			return p.broken(p.tok.pos, "the file ends inside the message that begins at line %d: %q is missing", open.pos.line, end)
		case p.tok.kind != tokIdent:
			return p.broken(p.tok.pos, "expected a field name, found %v", p.tok)
		}
		if !p.field(m, path, depth, &seen) {
			return false
		}
		// One separator may follow a field.
		if found, ok := p.accept(";"); !ok {
			return false
		} else if !found {
			if _, ok := p.accept(","); !ok {
				return false
			}
		}
	}
}

// fieldAt is where a field of the message at hand was first set.
type fieldAt struct {
	num protoreflect.FieldNumber
	pos position
}

func (p *parser) field(m protoreflect.Message, path string, depth int, seen *[]fieldAt) bool {
	name := p.tok
	if !p.advance() {
		return false
	}
	md := m.Descriptor()
	fd := md.Fields().ByName(protoreflect.Name(name.text))
	if fd == nil || fd.IsMap() {
		p.report(name.pos, "%s has no field %q%s", md.Name(), name.text, fieldHint(md, name.text))
		return p.skipField(name, depth+1)
	}
	isMessage := fd.Message() != nil
	colon, ok := p.accept(":")
	if !ok {
		return false
	}
	if !colon && !isMessage {
		return p.broken(p.tok.pos, "expected \":\" after %s, found %v", name.text, p.tok)
	}
	if fd.IsList() {
		if found, ok := p.accept("["); !ok {
			return false
		} else if found {
			return p.list(m, fd, path, depth)
		}
	} else {
		// The C++ reader refuses a second value rather than take the last:
		// one of the two is a mistake.
		for _, s := range *seen {
			if s.num == fd.Number() {
				p.reportAs("twice "+string(fd.FullName()), name.pos, "%s is set twice (first at line %d)", name.text, s.pos.line)
				return p.skipValue(depth + 1)
			}
		}
		*seen = append(*seen, fieldAt{fd.Number(), name.pos})
	}
	return p.value(m, fd, path, depth, name.pos)
}

// list parses the rest of "[a, b, c]".
func (p *parser) list(m protoreflect.Message, fd protoreflect.FieldDescriptor, path string, depth int) bool {
	if found, ok := p.accept("]"); found || !ok {
		return ok
	}
	for {
		if !p.value(m, fd, path, depth, p.tok.pos) {
			return false
		}
		if found, ok := p.accept("]"); found || !ok {
			return ok
		}
		if !p.tok.is(",") {
			return p.broken(p.tok.pos, "expected \",\" or \"]\" in the list of %s, found %v", fd.Name(), p.tok)
		}
		if !p.advance() {
			return false
		}
	}
}

// value parses one value and sets or appends it. at is where the field (or the
// element of a list) begins.
func (p *parser) value(m protoreflect.Message, fd protoreflect.FieldDescriptor, path string, depth int, at position) bool {
	if p.source != nil {
		path = p.note(m, fd, path, at)
	}
	if fd.Message() != nil {
		end := closing(p.tok)
		if end == "" {
			return p.broken(p.tok.pos, "expected \"{\" after %s, found %v", fd.Name(), p.tok)
		}
		if depth >= maxDepth {
			return p.broken(p.tok.pos, "messages are nested deeper than %d", maxDepth)
		}
		open := token{pos: at}
		if !p.advance() {
			return false
		}
		var sub protoreflect.Message
		if fd.IsList() {
			sub = m.Mutable(fd).List().AppendMutable().Message()
		} else {
			sub = m.Mutable(fd).Message()
		}
		return p.message(sub, path, end, depth+1, open)
	}
	lit, ok := p.literal()
	if !ok {
		return false
	}
	v, msg := lit.value(fd)
	switch {
	case msg != "":
		p.wrongValue(lit, fd, msg)
	case fd.IsList():
		m.Mutable(fd).List().Append(v)
	default:
		m.Set(fd, v)
	}
	return true
}

// wrongValue reports a value that a field cannot have. Wrong values of a field
// are of one kind, but for those of an enum: each is another mistake.
func (p *parser) wrongValue(l literal, fd protoreflect.FieldDescriptor, msg string) {
	kind := "value " + string(fd.FullName())
	if e := fd.Enum(); e != nil {
		kind += " " + l.String()
		if e.Values().Len() > shortEnum {
			if p.listed[e.FullName()] {
				msg = l.wrongEnum(fd, false)
			}
			if p.listed == nil {
				p.listed = map[protoreflect.FullName]bool{}
			}
			p.listed[e.FullName()] = true
		}
	}
	p.reportAs(kind, l.pos, "%s", msg)
}

// note records the position of a value and returns its path.
func (p *parser) note(m protoreflect.Message, fd protoreflect.FieldDescriptor, path string, at position) string {
	if path != "" {
		path += "."
	}
	path += string(fd.Name())
	if fd.IsList() {
		path += "[" + strconv.Itoa(m.Get(fd).List().Len()) + "]"
	}
	p.source.pos[path] = at
	return path
}

func (p *parser) checkRequired(m protoreflect.Message, at position) {
	md := m.Descriptor()
	for i, req := 0, md.RequiredNumbers(); i < req.Len(); i++ {
		if fd := md.Fields().ByNumber(req.Get(i)); !m.Has(fd) {
			p.report(at, "%s lacks the required field %s", md.Name(), fd.Name())
		}
	}
}

// closing returns the symbol that ends a message begun by t, "" if t begins
// none.
func closing(t token) string {
	switch {
	case t.is("{"):
		return "}"
	case t.is("<"):
		return ">"
	}
	return ""
}

// skipField moves over what follows the name of an unknown field.
func (p *parser) skipField(name token, depth int) bool {
	colon, ok := p.accept(":")
	if !ok {
		return false
	}
	if !colon && closing(p.tok) == "" {
		return p.broken(p.tok.pos, "expected \":\" or \"{\" after %s, found %v", name.text, p.tok)
	}
	return p.skipValue(depth)
}

// skipValue moves over a literal, a message or a list.
func (p *parser) skipValue(depth int) bool {
	if depth > maxDepth {
		return p.broken(p.tok.pos, "messages are nested deeper than %d", maxDepth)
	}
	open := p.tok
	switch end := closing(open); {
	case end != "":
		if !p.advance() {
			return false
		}
		for !p.tok.is(end) {
			name := p.tok
			if name.kind == tokEOF {
				return p.broken(name.pos, "the file ends inside the message that begins at line %d: %q is missing", open.pos.line, end)
			}
			if name.kind != tokIdent {
				return p.broken(name.pos, "expected a field name, found %v", name)
			}
			if !p.advance() || !p.skipField(name, depth+1) {
				return false
			}
			if p.tok.is(";") || p.tok.is(",") {
				if !p.advance() {
					return false
				}
			}
		}
		return p.advance()
	case open.is("["):
		if !p.advance() {
			return false
		}
		if found, ok := p.accept("]"); found || !ok {
			return ok
		}
		for {
			if !p.skipValue(depth + 1) {
				return false
			}
			if found, ok := p.accept("]"); found || !ok {
				return ok
			}
			if !p.tok.is(",") {
				return p.broken(p.tok.pos, "expected \",\" or \"]\", found %v", p.tok)
			}
			if !p.advance() {
				return false
			}
		}
	}
	_, ok := p.literal()
	return ok
}

// fieldHint tells what an unknown field name may have meant: another spelling,
// a field that belongs one level deeper, an old form, or another kind of file.
func fieldHint(md protoreflect.MessageDescriptor, name string) string {
	fields := md.Fields()
	var names, inside []string
	for i := range fields.Len() {
		fd := fields.Get(i)
		names = append(names, string(fd.Name()))
		if sub := fd.Message(); sub != nil && sub.Fields().ByName(protoreflect.Name(name)) != nil {
			inside = append(inside, string(fd.Name()))
		}
	}
	if md.Name() == "LayerParameter" {
		switch name {
		case "blobs_lr":
			return " (it is of the old form \"layers\"; write param { lr_mult: … } for each parameter)"
		case "weight_decay":
			return " (it is of the old form \"layers\"; write param { decay_mult: … } for each parameter)"
		}
	}
	if fork := forkOfField(string(md.Name()), name); fork != "" {
		return fmt.Sprintf(" (a field of %s, not of Caffe)", fork)
	}
	if near := nearest(name, names, 2); len(near) > 0 {
		return fmt.Sprintf(" (did you mean %s?)", orList(near))
	}
	// Names such as axis or source belong to a dozen messages; a list of them
	// helps nobody.
	if len(inside) > 0 && len(inside) <= 6 {
		return fmt.Sprintf(" (it belongs inside %s)", orList(inside))
	}
	kinds := map[protoreflect.Name]string{"NetParameter": "net", "SolverParameter": "solver", "LayerParameter": "layer"}
	if kinds[md.Name()] != "" {
		messages := md.ParentFile().Messages()
		for _, other := range []protoreflect.Name{"SolverParameter", "NetParameter", "LayerParameter"} {
			if other != md.Name() && messages.ByName(other).Fields().ByName(protoreflect.Name(name)) != nil {
				return fmt.Sprintf(" (it is a field of a %s, and this is a %s)", kinds[other], kinds[md.Name()])
			}
		}
	}
	return ""
}
