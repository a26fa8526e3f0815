package graph

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"crema/layers"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// A LayerError is an error in one layer of a net. Index is the layer's
// position in the NetParameter that New was given, Net what messages call the
// net.
type LayerError struct {
	Net   string
	Index int
	Layer string
	Type  string
	Err   error

	written int // layers of the NetParameter
}

// Error names the net, the layer and its type.
func (e *LayerError) Error() string {
	return fmt.Sprintf("%slayer %q (%s): %v", prefix(e.Net), e.Layer, e.Type, e.Err)
}

// Unwrap returns the cause.
func (e *LayerError) Unwrap() error { return e.Err }

func prefix(net string) string {
	if net == "" {
		return ""
	}
	return net + ": "
}

// A TypesError has all layers of a net whose types are not known.
type TypesError struct {
	Net    string
	Layers []*LayerError
}

// Error has a line for each type.
func (e *TypesError) Error() string { return e.text(func(*LayerError) string { return "" }) }

// text is Error with the places that at tells for layers, "" for none.
func (e *TypesError) text(at func(*LayerError) string) string {
	var order []string
	byType := map[string][]*LayerError{}
	for _, l := range e.Layers {
		if byType[l.Type] == nil {
			order = append(order, l.Type)
		}
		byType[l.Type] = append(byType[l.Type], l)
	}
	listed := false
	var lines []string
	for _, t := range order {
		ls := byType[t]
		why := ""
		fork := prototxt.ForkOfType(t)
		switch near := prototxt.Nearest(t, layers.Types()); {
		case fork != "":
			why = fmt.Sprintf(" of %s, not of Caffe", fork)
		case near != "":
			why = fmt.Sprintf(" (did you mean %q?)", near)
		case !listed:
			why = " (known: " + strings.Join(layers.Types(), ", ") + ")"
			listed = true
		}
		line := fmt.Sprintf("%s%slayer %q (%s): unknown layer type %q%s", at(ls[0]), prefix(e.Net), ls[0].Layer, t, t, why)
		if more := ls[1:]; len(more) > 0 {
			var others []string
			for _, l := range more {
				o := strconv.Quote(l.Layer)
				if p := at(l); p != "" {
					o += " (" + strings.TrimSuffix(p, ": ") + ")"
				}
				others = append(others, o)
			}
			line += "; so are " + firstOf(others)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors of the layers.
func (e *TypesError) Unwrap() []error {
	out := make([]error, len(e.Layers))
	for i, l := range e.Layers {
		out[i] = l
	}
	return out
}

// Locate puts before an error of New the place in its file of the layer that
// has it; only the file where an upgrade may have moved the layers.
func Locate(src *prototxt.Source, err error) error {
	var types *TypesError
	if errors.As(err, &types) {
		return &located{types.text(func(l *LayerError) string { return l.place(src) + ": " }), err}
	}
	var in *LayerError
	if errors.As(err, &in) {
		return fmt.Errorf("%s: %w", in.place(src), err)
	}
	return fmt.Errorf("%s: %w", src.At(""), err)
}

// located is an error with a text that has places.
type located struct {
	text string
	err  error
}

func (e *located) Error() string { return e.text }

func (e *located) Unwrap() error { return e.err }

// place returns where the layer stands in its file.
func (e *LayerError) place(src *prototxt.Source) string {
	if e.written == 0 && len(src.Notes) == 0 { // not made by New
		return src.At(fmt.Sprintf("layer[%d]", e.Index))
	}
	for _, form := range []string{"layer", "layers"} {
		n := 0
		for src.Has(fmt.Sprintf("%s[%d]", form, n)) {
			n++
		}
		// An upgrade of input fields has put one layer before the others; one
		// that took padding layers away has left nothing to count by.
		added := e.written - n
		if i := e.Index - added; n > 0 && (added == 0 || added == 1 && len(src.Notes) > 0) && i >= 0 {
			return src.At(fmt.Sprintf("%s[%d]", form, i))
		}
	}
	return src.At("")
}

// named says in an error which net it is in.
func (n *Net) named(err error) error {
	var in *LayerError
	if errors.As(err, &in) {
		in.Net, in.written = n.title, n.written
		return err
	}
	return fmt.Errorf("%s: %w", n.title, err)
}

// wrap makes a LayerError of an error of a layer.
func (n *Net) wrap(l *Node, err error) error {
	return &LayerError{Net: n.title, Index: l.index, Layer: l.Name, Type: l.Type, Err: err, written: n.written}
}

// checkLayers reports a net without layers, and all layers of unknown types.
func (n *Net) checkLayers(np *caffepb.NetParameter, kept []*caffepb.LayerParameter, index []int) error {
	switch {
	case len(np.Layer) == 0:
		return fmt.Errorf("%s: the net has no layers", n.title)
	case len(kept) == 0:
		return fmt.Errorf("%s: the net has no layers: the include and exclude rules leave out all %d", n.title, len(np.Layer))
	}
	e := &TypesError{Net: n.title}
	for i, l := range kept {
		if _, err := layers.Lookup(l.GetType()); err != nil {
			e.Layers = append(e.Layers, &LayerError{n.title, index[i], l.GetName(), l.GetType(), err, n.written})
		}
	}
	if len(e.Layers) == 0 {
		return nil
	}
	return e
}

// A missingBlob is a bottom that no layer before makes; known are the blobs
// that there are.
type missingBlob struct {
	name  string
	known []string
	why   string
}

func (e *missingBlob) Error() string { return fmt.Sprintf("unknown bottom blob %q%s", e.name, e.why) }

// whyMissing says in the error of insertSplits why the blob is not there: the
// layer that makes it is left out by a rule, or comes later.
func whyMissing(np *caffepb.NetParameter, err error) error {
	var in *LayerError
	var m *missingBlob
	if !errors.As(err, &in) || !errors.As(err, &m) {
		return err
	}
	kept, index, _ := Select(np)
	phase := np.GetState().GetPhase()
	for i, l := range np.Layer {
		if !slices.Contains(l.Top, m.name) {
			continue
		}
		if !slices.Contains(index, i) {
			m.why = fmt.Sprintf("; layer %q makes it, but %s it out of the %s net", l.GetName(), ruleText(l), phase)
			return err
		}
	}
	for i, l := range kept {
		if index[i] >= in.Index && slices.Contains(l.Top, m.name) {
			m.why = fmt.Sprintf("; layer %q makes it, but comes later: move it up", l.GetName())
			if index[i] == in.Index {
				m.why = "; the layer itself makes it: a loop"
			}
			return err
		}
	}
	if near := prototxt.Nearest(m.name, m.known); near != "" {
		m.why = fmt.Sprintf("; did you mean %q?", near)
		return err
	}
	m.why = "; no layer makes it"
	return err
}

// ruleText writes the rules of a layer that leave it out, up to this verb.
func ruleText(l *caffepb.LayerParameter) string {
	var rules []string
	add := func(field string, rs []*caffepb.NetStateRule) {
		for _, r := range rs {
			rules = append(rules, field+" { "+strings.Join(strings.Fields(string(prototxt.MarshalText(r))), " ")+" }")
		}
	}
	add("include", l.Include)
	add("exclude", l.Exclude)
	if len(rules) == 1 {
		return "its rule " + rules[0] + " leaves"
	}
	return "its rules " + strings.Join(rules, " ") + " leave"
}

// madeTwice returns the error for a top of a name that is taken. A layer that
// would write over a blob in place which others read got a copy to read, so that
// its top is a second blob of that name.
func (b *builder) madeTwice(name string) error {
	last := len(b.nodes) - 1
	for _, other := range b.nodes[:last] {
		copied := func(bottom string) bool { return slices.Contains(other.TopNames, bottom) }
		if other.Type == "Split" && other.BottomNames[0] == name && slices.ContainsFunc(b.nodes[last].BottomNames, copied) {
			return fmt.Errorf("cannot work in place on blob %q, which other layers read as well: give the top another name, and its readers that one", name)
		}
	}
	for _, other := range b.nodes[:last] {
		if slices.Contains(other.TopNames, name) {
			return fmt.Errorf("top blob %q is produced by more than one layer: %q makes it, too; rename one, or give each layer an include rule if they are for two phases", name, other.Name)
		}
	}
	return fmt.Errorf("top blob %q is produced by more than one layer", name)
}

// otherData tells in what the data of two nets differ, for the error of
// parameters that cannot be shared; "" if they do not.
func otherData(ours, theirs []*Node) string {
	first := func(nodes []*Node) *Node {
		for _, n := range nodes {
			if len(n.Bottoms) == 0 && len(n.Tops) > 0 && n.Tops[0].Axes() == 4 {
				return n
			}
		}
		return nil
	}
	a, b := first(ours), first(theirs)
	if a == nil || b == nil {
		return ""
	}
	s, t := a.Tops[0].Shape()[1:], b.Tops[0].Shape()[1:]
	if slices.Equal(s, t) {
		return ""
	}
	msg := fmt.Sprintf("; data layer %q gives pictures of %s here (channels×height×width), there of %s: ", a.Name, tensor.FormatShape(s), tensor.FormatShape(t))
	if s[0] != t[0] {
		msg += "make both grey or both coloured (force_color or force_gray in transform_param for encoded records, is_color for ImageData, convert_imageset --gray for databases)"
		if s[1] != t[1] || s[2] != t[2] {
			msg += " and "
		}
	}
	if s[1] != t[1] || s[2] != t[2] {
		msg += "give both the same crop_size"
	}
	return msg
}

// warnChangedConstants reports a trap of Caffe's: DummyData fills a constant
// blob once, so a layer that changes it in place does so again in every pass
// (dummy_data_layer.cpp).
func (n *Net) warnChangedConstants() {
	constant := map[int]*Node{} // blobs that are filled once
	for _, l := range n.nodes {
		if l.Type == "DummyData" {
			f := l.Param.GetDummyDataParam().GetDataFiller()
			for i, id := range l.topIDs {
				if len(f) == 0 || f[min(i, len(f)-1)].GetType() == "constant" {
					constant[id] = l
				}
			}
			continue
		}
		for i, id := range l.topIDs {
			if d := constant[id]; d != nil && !l.repeatable() {
				n.log.Warn(fmt.Sprintf("Layer %s (%s) changes the blob %s in place, which layer %s (DummyData) fills only once, as in Caffe: each pass begins with what the last one left. "+
					"Give %s a top of another name.", l.Name, l.Type, l.TopNames[i], d.Name, l.Name))
				delete(constant, id)
			}
		}
	}
}

// repeatable reports whether a layer leaves as it is what it has made before.
func (l *Node) repeatable() bool {
	switch l.Type {
	case "ReLU":
		return l.Param.GetReluParam().GetNegativeSlope() == 0
	case "AbsVal", "Clip":
		return true
	case "Dropout":
		return l.Param.GetPhase() == caffepb.Phase_TEST
	}
	return false
}
