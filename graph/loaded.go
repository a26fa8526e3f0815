package graph

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/internal/glog"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// missing returns the layers of the net whose parameters did not come from a
// file, nor from the prototxt or another net.
func (l *loading) missing() []*Node {
	var out []*Node
	for _, n := range l.net.nodes {
		if !n.wants() || len(n.Param.Blobs) > 0 {
			continue
		}
		if slices.ContainsFunc(n.owners, func(p *Param) bool { return !l.got[p] }) {
			out = append(out, n)
		}
	}
	return out
}

// wants reports whether a layer has parameters that it does not take from
// another net.
func (n *Node) wants() bool { return len(n.Layer.Params()) > 0 && !n.borrowed }

// report logs what was loaded, what of the net got nothing and begins as its
// fillers say, and what of the files was left over.
func (l *loading) report() {
	all, values, allValues := 0, 0, 0
	for _, n := range l.net.nodes {
		if !n.wants() {
			continue
		}
		all++
		for i, p := range n.Layer.Params() {
			if !n.owns(i) {
				continue
			}
			allValues += p.Count()
			if l.got[n.owners[i]] {
				values += p.Count()
			}
		}
	}
	if all == 0 {
		return
	}
	log, missing := l.net.log, l.missing()
	glog.Infof(log, "Loaded the parameters of %d of %s (%d of %d values)", all-len(missing), countOf(all, "layer"), values, allValues)
	if len(missing) > 0 {
		var texts []string
		for _, n := range missing {
			texts = append(texts, strconv.Quote(n.Name)+beginsAs(n.Param))
		}
		glog.Warnf(log, "%s of the net got no weights from the file; what fills them stays: %s", countOf(len(missing), "layer"), firstOf(texts))
	}
	if len(l.left) > 0 {
		var texts []string
		for i := range l.left {
			texts = append(texts, strconv.Quote(l.left[i].name)+l.left[i].describe())
		}
		glog.Infof(log, "%s of the file went nowhere: %s", countOf(len(l.left), "layer"), firstOf(texts))
	}
	if s := l.suggest(missing); len(s) > 0 {
		glog.Warnf(log, "By their shapes, parameters that went nowhere fit layers that got none: --weights-map %s would load them", strings.Join(s, ","))
	}
}

// suggest pairs layers that got nothing with those of the files that went
// nowhere and whose parameters fit, as arguments of --weights-map. Of several
// that fit, those of the most similar names go together.
func (l *loading) suggest(missing []*Node) []string {
	const most = 5
	used := map[int]bool{}
	var out []string
	for _, n := range missing {
		best, alike := -1, -1
		for i := range l.left {
			from := &l.left[i]
			if used[i] || !sameWork(n.Type, from.typ) || fits(n, from, true) != nil {
				continue
			}
			if a := affixes(n.Name, from.name); a > alike {
				best, alike = i, a
			}
		}
		if best >= 0 && len(out) < most {
			used[best] = true
			out = append(out, mapArg(n.Name, l.left[best].name))
		}
	}
	return out
}

// sameWork reports whether layers of two types may use each other's parameters;
// of a file's, the type may not be known.
func sameWork(a, b string) bool {
	dense := []string{"InnerProduct", "Convolution"}
	return a == b || b == "" || slices.Contains(dense, a) && slices.Contains(dense, b)
}

// affixes counts the letters that two names have in common at their beginnings
// and ends.
func affixes(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	a, b = a[n:], b[n:]
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
		n++
	}
	return n
}

// mapArg writes a pair as --weights-map takes it.
func mapArg(to, from string) string { return to + "=" + from }

// describe tells a source's layer's type and shapes, in brackets.
func (s *sourceLayer) describe() string {
	text := strings.Join(s.shapes(), ", ")
	if s.typ != "" {
		text = s.typ + " " + text
	}
	return " (" + text + ")"
}

// shapes returns the shapes of the parameters that have values.
func (s *sourceLayer) shapes() []string {
	var out []string
	for i := range s.blobs {
		if s.blobs[i].read != nil {
			out = append(out, tensor.FormatShape(s.blobs[i].shape))
		}
	}
	return out
}

// beginsAs tells, in brackets, what fills a layer's first parameter; "" where
// the layer has no filler.
func beginsAs(p *caffepb.LayerParameter) string {
	text := ""
	p.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Message() == nil || fd.IsList() {
			return true
		}
		for _, name := range []protoreflect.Name{"weight_filler", "filler"} {
			sub := fd.Message().Fields().ByName(name)
			if sub == nil || sub.IsList() {
				continue
			}
			f := v.Message().Get(sub).Message().Interface().(*caffepb.FillerParameter)
			text = " (" + f.GetType() + ")"
			if f.GetType() == "constant" {
				text = fmt.Sprintf(" (constant %s)", glog.G(f.GetValue()))
			}
			return false
		}
		return true
	})
	return text
}

// withParams returns the names of the layers that want parameters.
func (n *Net) withParams() []string {
	var names []string
	for _, l := range n.nodes {
		if l.wants() {
			names = append(names, l.Name)
		}
	}
	return names
}

// countOf writes a number with what it counts.
func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// firstOf joins texts, of many the first ones.
func firstOf(texts []string) string {
	const most = 8
	if n := len(texts); n > most {
		texts = append(slices.Clone(texts[:most-1]), fmt.Sprintf("%d more", n-most+1))
	}
	if len(texts) == 0 {
		return "none"
	}
	return strings.Join(texts, ", ")
}

// namesOf quotes names and joins them, of many the first ones.
func namesOf(names []string) string {
	quoted := make([]string, len(names))
	for i, s := range names {
		quoted[i] = strconv.Quote(s)
	}
	return firstOf(quoted)
}
