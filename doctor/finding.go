package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Severity says how much a finding matters.
type Severity int

// The severities, the gravest last.
const (
	// Note is for what is useless or worth knowing and does no harm.
	Note Severity = iota
	// Warning is for what makes learning or its results worse.
	Warning
	// Error is for what keeps the net from learning or the run from working.
	Error
)

var severities = []string{"note", "warning", "error"}

func (s Severity) String() string { return severities[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Severity) UnmarshalText(b []byte) error { return parseName(b, severities, (*int)(s)) }

// Confidence says how sure a finding is.
type Confidence int

// The degrees of confidence.
const (
	// Possible findings depend on what the files do not say.
	Possible Confidence = iota
	// Likely findings follow from what is usual or from a prediction.
	Likely
	// Certain findings follow from the files alone.
	Certain
)

var confidences = []string{"possible", "likely", "certain"}

func (c Confidence) String() string { return confidences[c] }

// MarshalText implements encoding.TextMarshaler.
func (c Confidence) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Confidence) UnmarshalText(b []byte) error { return parseName(b, confidences, (*int)(c)) }

func parseName(b []byte, names []string, to *int) error {
	for i, n := range names {
		if n == string(b) {
			*to = i
			return nil
		}
	}
	return fmt.Errorf("%q is none of %q", b, names)
}

// A Finding is something that a rule has to say about a case.
type Finding struct {
	// Rule is the stable name of the rule, in kebab case.
	Rule     string     `json:"rule"`
	Severity Severity   `json:"severity"`
	Sure     Confidence `json:"sure"`
	// Where is file:line:column, or the file alone.
	Where string `json:"where,omitempty"`
	// Net names the net the layer is in: train, or test with its index if there
	// are several.
	Net string `json:"net,omitempty"`
	// Layer is the name of the layer it is about; "" if it is about none. Of
	// several, the first.
	Layer string `json:"layer,omitempty"`
	// What is one sentence with the figures.
	What string `json:"what"`
	// Why says what follows from it.
	Why string `json:"why,omitempty"`
	// Fix is the smallest edit that mends it, in words or prototxt text.
	Fix string `json:"fix,omitempty"`
	// Set has the same edit as values of --set, where it can be made so.
	Set []string `json:"set,omitempty"`
}

// textWidth is where lines of WriteText end, in characters.
const textWidth = 100

// WriteText writes findings for people: one paragraph each, wrapped, and the
// flags that make its edit.
func WriteText(w io.Writer, fs []Finding) error {
	var b strings.Builder
	for i, f := range fs {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %s (%s)", f.Severity, f.Rule, f.Sure)
		if f.Where != "" {
			fmt.Fprintf(&b, "  %s", f.Where)
		}
		if f.Layer != "" {
			fmt.Fprintf(&b, "  layer %q", f.Layer)
		}
		b.WriteByte('\n')
		wrap(&b, f.What)
		wrap(&b, f.Why)
		if f.Fix != "" {
			wrap(&b, "Edit: "+f.Fix)
		}
		for _, s := range f.Set {
			fmt.Fprintf(&b, "    --set %s\n", quoteArg(s))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap writes a paragraph with an indent.
func wrap(b *strings.Builder, text string) {
	const indent = "  "
	n := 0
	for _, word := range strings.Fields(text) {
		l := utf8.RuneCountInString(word)
		switch {
		case n == 0:
			b.WriteString(indent)
			n = len(indent)
		case n+1+l > textWidth:
			b.WriteString("\n" + indent)
			n = len(indent)
		default:
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += l
	}
	if n > 0 {
		b.WriteByte('\n')
	}
}

// quoteArg quotes an argument for a POSIX shell if it needs it.
func quoteArg(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./@=+-,:%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
