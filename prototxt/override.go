package prototxt

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"crema/prototxt/caffepb"
)

// Overrides are changes to single fields, given as PATH=VALUE (--set).
//
// A PATH is a field of the solver (max_iter, test_state[0].level) or
// layer.NAME.FIELD…, a field of every layer of that name in any net. In NAME,
// '*' stands for any characters, and @TRAIN or @TEST after it picks the layers
// that a net of that phase includes (by their include and exclude rules; a
// layer without rules is in both); @TYPE, such as @Convolution, picks those of
// that type, also before @TRAIN or @TEST (layer.*@InnerProduct.FIELD…). A NAME
// may contain dots, slashes and @: the longest one that names a layer is taken.
//
// Messages on the path are created where they are missing. A repeated message
// needs an index (param[0].lr_mult; the index one past the end appends), or all
// its elements are meant, of which there must then be at least one.
//
// The VALUE is written as in a file, but strings need no quotes: numbers,
// true/false, names or numbers of enum values, {…} for a message. For a
// repeated field, comma-separated values replace all elements (stepvalue=10,20)
// and FIELD[1]=V sets one or, one past the end, appends it. An empty VALUE
// clears the field or removes the element; "" is the empty string.
//
// The methods of a nil *Overrides do nothing.
type Overrides struct {
	all  []*override
	seen []string // names of the layers of all nets so far, for error messages
}

type override struct {
	flag  string // PATH=VALUE as given
	used  bool
	ways  []way // how to understand PATH, the longest layer name first
	layer bool
}

// A way is one reading of a path.
type way struct {
	pattern string // of the layer's name
	kind    string // of the layer, "" for any
	phase   *caffepb.Phase
	steps   []step
	value   fieldValue

	hidden bool // pattern named a layer, but of the other phase
}

// A step is a field on a path.
type step struct {
	fd    protoreflect.FieldDescriptor
	index int // -1: none given
}

// fieldValue is a parsed VALUE.
type fieldValue struct {
	clear bool
	vals  []protoreflect.Value // one unless the whole of a repeated field is set
}

// ParseOverrides parses values of the flag --set. All are checked against the
// schema; an error has a line for each bad one and names it.
func ParseOverrides(flags []string) (*Overrides, error) {
	o := &Overrides{}
	var errs []error
	for _, f := range flags {
		ov, err := parseOverride(f)
		if err != nil {
			errs = append(errs, fmt.Errorf("--set %s: %w", f, err))
			continue
		}
		o.all = append(o.all, ov)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return o, nil
}

func parseOverride(flag string) (*override, error) {
	path, value, ok := strings.Cut(flag, "=")
	if !ok {
		return nil, errors.New("want PATH=VALUE, such as max_iter=100")
	}
	path, value = strings.TrimSpace(path), strings.TrimSpace(value)
	ov := &override{flag: flag}
	rest, ok := strings.CutPrefix(path, "layer.")
	if !ok {
		md := (&caffepb.SolverParameter{}).ProtoReflect().Descriptor()
		steps, err := parsePath(md, path)
		if err != nil {
			return nil, err
		}
		v, err := parseValue(steps[len(steps)-1], value)
		if err != nil {
			return nil, err
		}
		ov.ways = []way{{steps: steps, value: v}}
		return ov, nil
	}

	ov.layer = true
	md := (&caffepb.LayerParameter{}).ProtoReflect().Descriptor()
	var firstErr error // of the shortest name, which is what people mean
	for i := len(rest) - 1; i > 0; i-- {
		if rest[i] != '.' {
			continue
		}
		w := way{pattern: rest[:i]}
		var err error
		if w.steps, err = parsePath(md, rest[i+1:]); err == nil {
			w.value, err = parseValue(w.steps[len(w.steps)-1], value)
		}
		if err != nil {
			firstErr = err
			continue
		}
		for _, ph := range []caffepb.Phase{caffepb.Phase_TRAIN, caffepb.Phase_TEST} {
			if name, ok := strings.CutSuffix(w.pattern, "@"+ph.String()); ok {
				w.pattern, w.phase = name, &ph
			}
		}
		ov.ways = append(ov.ways, w)
		// All types begin with a capital letter.
		if at := strings.LastIndexByte(w.pattern, '@'); at > 0 && at+1 < len(w.pattern) && unicode.IsUpper(rune(w.pattern[at+1])) {
			w.pattern, w.kind = w.pattern[:at], w.pattern[at+1:]
			ov.ways = append(ov.ways, w)
		}
	}
	switch {
	case len(ov.ways) > 0:
		return ov, nil
	case firstErr != nil:
		return nil, firstErr
	}
	return nil, errors.New("want layer.NAME.FIELD=VALUE")
}

// parsePath finds the fields a.b[1].c names, starting in md.
func parsePath(md protoreflect.MessageDescriptor, path string) ([]step, error) {
	var steps []step
	for _, part := range strings.Split(path, ".") {
		if md == nil {
			last := steps[len(steps)-1].fd
			return nil, fmt.Errorf("%s has no field %q inside: it is no message", last.Name(), part)
		}
		name, index := part, -1
		if n := strings.IndexByte(part, '['); n >= 0 {
			i, err := strconv.ParseUint(strings.TrimSuffix(part[n+1:], "]"), 10, 31)
			if err != nil || !strings.HasSuffix(part, "]") {
				return nil, fmt.Errorf("%q is no field with an index, such as param[0]", part)
			}
			name, index = part[:n], int(i)
		}
		fd := md.Fields().ByName(protoreflect.Name(name))
		if fd == nil {
			return nil, fmt.Errorf("%s has no field %q%s", md.Name(), name, fieldHint(md, name))
		}
		if index >= 0 && !fd.IsList() {
			return nil, fmt.Errorf("%s is not repeated and takes no index", name)
		}
		steps = append(steps, step{fd, index})
		md = fd.Message()
	}
	return steps, nil
}

// parseValue parses text as a value of the field s.
func parseValue(s step, text string) (fieldValue, error) {
	fd := s.fd
	if text == "" {
		return fieldValue{clear: true}, nil
	}
	whole := fd.IsList() && s.index < 0
	var vals []protoreflect.Value
	if fd.Message() != nil {
		if text[0] != '{' && text[0] != '<' && (!whole || text[0] != '[') {
			return fieldValue{}, fmt.Errorf("%s is a message: name one of its fields (%s.…=…) or write {…}", fd.Name(), fd.Name())
		}
		// Let the text reader read it as the only field of the parent.
		parent, err := newMessage(fd.ContainingMessage())
		if err != nil {
			return fieldValue{}, err
		}
		p := parser{scanner: newScanner(string(fd.Name()) + ":" + text)}
		if p.advance() {
			p.message(parent, "", "", 0, token{pos: position{1, 1}})
		}
		if len(p.problems) > 0 {
			return fieldValue{}, errors.New(p.problems[0].Msg)
		}
		if other := slices.IndexFunc(sortedFields(parent), func(f protoreflect.FieldDescriptor) bool { return f != fd }); other >= 0 {
			return fieldValue{}, fmt.Errorf("%s takes one {…}", fd.Name())
		}
		if !fd.IsList() {
			return fieldValue{vals: []protoreflect.Value{parent.Get(fd)}}, nil
		}
		for i, l := 0, parent.Get(fd).List(); i < l.Len(); i++ {
			vals = append(vals, l.Get(i))
		}
		if !whole && len(vals) != 1 {
			return fieldValue{}, fmt.Errorf("%s[%d] takes one {…}", fd.Name(), s.index)
		}
		return fieldValue{vals: vals, clear: len(vals) == 0}, nil
	}
	parts := []string{text}
	if whole {
		parts = splitCommas(text)
	}
	for _, part := range parts {
		l, err := parseLiteral(fd, strings.TrimSpace(part))
		if err != nil {
			return fieldValue{}, err
		}
		v, msg := l.value(fd)
		if msg != "" {
			return fieldValue{}, errors.New(msg)
		}
		vals = append(vals, v)
	}
	return fieldValue{vals: vals}, nil
}

// newMessage returns an empty message of the generated type.
func newMessage(md protoreflect.MessageDescriptor) (protoreflect.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName())
	if err != nil {
		return nil, err
	}
	return t.New(), nil
}

// splitCommas cuts text at the commas outside quotes.
func splitCommas(text string) []string {
	var parts []string
	var quote byte
	start := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == ',':
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

// parseLiteral reads one scalar. A string without quotes is taken as it is.
func parseLiteral(fd protoreflect.FieldDescriptor, text string) (literal, error) {
	isString := fd.Kind() == protoreflect.StringKind || fd.Kind() == protoreflect.BytesKind
	if isString && !(strings.HasPrefix(text, `"`) || strings.HasPrefix(text, "'")) {
		return literal{token: token{kind: tokString, text: text}}, nil
	}
	p := parser{scanner: newScanner(text)}
	if p.advance() {
		if l, ok := p.literal(); ok {
			if p.tok.kind != tokEOF {
				return l, fmt.Errorf("%s takes one value, not %s", fd.Name(), quoteShort(text))
			}
			return l, nil
		}
	}
	if text == "" {
		return literal{}, fmt.Errorf("%s: a value is missing between commas", fd.Name())
	}
	return literal{}, fmt.Errorf("%s: %s", fd.Name(), p.problems[0].Msg)
}

// ApplySolver sets the solver's fields.
func (o *Overrides) ApplySolver(sp *caffepb.SolverParameter) error {
	if o == nil {
		return nil
	}
	for _, ov := range o.all {
		if ov.layer {
			continue
		}
		ov.used = true
		if err := ov.ways[0].apply(sp.ProtoReflect(), ov.ways[0].steps); err != nil {
			return fmt.Errorf("--set %s: %w", ov.flag, err)
		}
	}
	return nil
}

// ApplyNet sets the fields of the net's layers. Call it for every net that is
// read (upgraded, and before layers are filtered by phase), then Unused.
func (o *Overrides) ApplyNet(np *caffepb.NetParameter) error {
	if o == nil {
		return nil
	}
	for _, l := range np.Layer {
		o.seen = append(o.seen, l.GetName())
	}
	for _, ov := range o.all {
		if !ov.layer {
			continue
		}
		for i := range ov.ways {
			found, err := ov.ways[i].applyLayers(np)
			if err != nil {
				return fmt.Errorf("--set %s: %w", ov.flag, err)
			}
			if found {
				ov.used = true
				break
			}
		}
	}
	return nil
}

// Unused returns an error with a line for each override that changed nothing:
// those whose layer is in none of the nets given to ApplyNet, and those of the
// solver if ApplySolver was not called. It is nil if all were used.
func (o *Overrides) Unused() error {
	if o == nil {
		return nil
	}
	var errs []error
	for _, ov := range o.all {
		if !ov.used {
			errs = append(errs, fmt.Errorf("--set %s: %s", ov.flag, ov.whyUnused(o.seen)))
		}
	}
	return errors.Join(errs...)
}

func (ov *override) whyUnused(seen []string) string {
	if !ov.layer {
		return "this is a field of the solver, and no solver was read"
	}
	for _, w := range ov.ways {
		if w.hidden {
			return fmt.Sprintf("the layers named %q are not in the %v phase", w.pattern, w.phase)
		}
	}
	last := ov.ways[len(ov.ways)-1]
	if last.kind != "" {
		return fmt.Sprintf("no layer of type %q is named %q", last.kind, last.pattern)
	}
	pattern := last.pattern
	var names []string
	for _, n := range seen {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	hint := ""
	if near := nearest(pattern, names, 3); len(near) > 0 {
		hint = fmt.Sprintf(" (did you mean %s?)", orList(near))
	} else if len(names) > 0 {
		const most = 12
		more := ""
		if len(names) > most {
			more = fmt.Sprintf(" and %d more", len(names)-most)
		}
		hint = fmt.Sprintf(" (the layers are %s%s)", strings.Join(names[:min(most, len(names))], ", "), more)
	}
	return fmt.Sprintf("no layer is named %q%s", pattern, hint)
}

// applyLayers applies w to the layers it names and reports whether there were
// any.
func (w *way) applyLayers(np *caffepb.NetParameter) (found bool, err error) {
	for _, l := range np.Layer {
		if !globMatch(w.pattern, l.GetName()) || w.kind != "" && w.kind != l.GetType() {
			continue
		}
		if w.phase != nil && !inPhase(l, *w.phase) {
			w.hidden = true
			continue
		}
		found = true
		if err := w.apply(l.ProtoReflect(), w.steps); err != nil {
			return true, fmt.Errorf("layer %q: %w", l.GetName(), err)
		}
	}
	return found, nil
}

// apply sets the field at steps in m.
func (w *way) apply(m protoreflect.Message, steps []step) error {
	s := steps[0]
	if len(steps) == 1 {
		return w.set(m, s)
	}
	if w.value.clear && !m.Has(s.fd) {
		return nil // nothing to clear, and nothing to create for it
	}
	if !s.fd.IsList() {
		return w.apply(m.Mutable(s.fd).Message(), steps[1:])
	}
	l := m.Mutable(s.fd).List()
	switch n := l.Len(); {
	case s.index < 0 && n == 0:
		return fmt.Errorf("there is no %s; name the one to add: %s[0].%s", s.fd.Name(), s.fd.Name(), steps[1].fd.Name())
	case s.index < 0:
		for i := range n {
			if err := w.apply(l.Get(i).Message(), steps[1:]); err != nil {
				return err
			}
		}
		return nil
	case s.index > n:
		return tooFar(s, n)
	case s.index == n:
		if w.value.clear {
			return nil
		}
		return w.apply(l.AppendMutable().Message(), steps[1:])
	}
	return w.apply(l.Get(s.index).Message(), steps[1:])
}

func tooFar(s step, n int) error {
	return fmt.Errorf("%s has %d elements, so the index %d leaves a gap", s.fd.Name(), n, s.index)
}

// set puts w's value into the field s of m.
func (w *way) set(m protoreflect.Message, s step) error {
	if s.index < 0 {
		m.Clear(s.fd)
		switch {
		case w.value.clear:
		case s.fd.IsList():
			l := m.Mutable(s.fd).List()
			for _, v := range w.value.vals {
				l.Append(cloned(v))
			}
		default:
			m.Set(s.fd, cloned(w.value.vals[0]))
		}
		return nil
	}
	l := m.Mutable(s.fd).List()
	n := l.Len()
	switch {
	case s.index > n || s.index == n && w.value.clear:
		return tooFar(s, n)
	case w.value.clear:
		for i := s.index; i+1 < n; i++ {
			l.Set(i, l.Get(i+1))
		}
		l.Truncate(n - 1)
	case s.index == n:
		l.Append(cloned(w.value.vals[0]))
	default:
		l.Set(s.index, cloned(w.value.vals[0]))
	}
	return nil
}

// cloned copies message values, so that layers do not share them.
func cloned(v protoreflect.Value) protoreflect.Value {
	if m, ok := v.Interface().(protoreflect.Message); ok {
		return protoreflect.ValueOfMessage(proto.Clone(m.Interface()).ProtoReflect())
	}
	return v
}

// inPhase reports whether a net of the phase includes l, as far as the phase
// decides: rules that also ask for levels or stages count as met for include
// and as not met for exclude. (Net::FilterNet of Caffe's net.cpp.)
func inPhase(l *caffepb.LayerParameter, phase caffepb.Phase) bool {
	for _, r := range l.Exclude {
		onlyPhase := r.MinLevel == nil && r.MaxLevel == nil && len(r.Stage) == 0 && len(r.NotStage) == 0
		if onlyPhase && (r.Phase == nil || r.GetPhase() == phase) {
			return false
		}
	}
	if len(l.Include) == 0 {
		return true
	}
	for _, r := range l.Include {
		if r.Phase == nil || r.GetPhase() == phase {
			return true
		}
	}
	return false
}

// globMatch reports whether '*' in pattern can stand for parts of s such that
// they are equal.
func globMatch(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	s, ok := strings.CutPrefix(s, first)
	if !star || !ok {
		return ok && s == ""
	}
	// Each part between stars may as well be matched where it first occurs.
	parts := strings.Split(rest, "*")
	for _, part := range parts[:len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}
