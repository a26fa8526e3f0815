package prototxt

import (
	"fmt"
	"strconv"
	"strings"

	"crema/internal/infile"
)

// A Problem is one thing wrong with a text file.
type Problem struct {
	Line, Col int // from 1; columns count bytes
	Msg       string

	kind string // what it has in common with others
}

func problem(p position, format string, args ...any) *Problem {
	msg := fmt.Sprintf(format, args...)
	return &Problem{int(p.line), int(p.col), msg, msg}
}

// A TextError lists everything wrong with a text file, in the file's order.
type TextError struct {
	File     string
	Problems []Problem
}

// maxKinds is how many kinds of problems the message of a TextError has.
const maxKinds = 20

// Error has one line for each kind of problem: file:line:column of the first,
// what it is and, if there are more, how many and where the last is.
func (e *TextError) Error() string {
	type group struct{ first, last, n int }
	var groups []*group
	kinds := map[string]*group{}
	for i, p := range e.Problems {
		g := kinds[p.kind]
		if g == nil || p.kind == "" {
			g = &group{first: i}
			kinds[p.kind], groups = g, append(groups, g)
		}
		g.last = i
		g.n++
	}
	var b strings.Builder
	rest := 0
	for i, g := range groups {
		if i >= maxKinds {
			rest += g.n
			continue
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		p := e.Problems[g.first]
		fmt.Fprintf(&b, "%s:%d:%d: %s", shownFile(e.File), p.Line, p.Col, p.Msg)
		switch last := e.Problems[g.last]; g.n {
		case 1:
		case 2:
			fmt.Fprintf(&b, "; and again at line %d", last.Line)
		default:
			fmt.Fprintf(&b, "; and %d more times, the last at line %d", g.n-1, last.Line)
		}
	}
	if rest > 0 {
		fmt.Fprintf(&b, "\n%s: and %d problems of %d other kinds", shownFile(e.File), rest, len(groups)-maxKinds)
	}
	return b.String()
}

// shownFile is a file's name before a line number: as it is, so that editors
// can jump there, but quoted if it holds what would not be seen.
func shownFile(name string) string {
	if infile.Odd(name) != "" {
		return strconv.Quote(name)
	}
	return name
}

// A Source knows where in a text file each field was written.
type Source struct {
	File string
	// Notes says what was upgraded after reading. Positions are those of the
	// fields as written, before any upgrade.
	Notes Notes

	pos map[string]position
}

// Pos returns line and column (from 1) of the field at path, such as
// layer[3].convolution_param.weight_filler.std. Repeated fields have an index;
// without one, the first element is meant. If the field was not written, it is
// the position of the innermost enclosing message that was, so that a message
// about a missing field has a place too; 0, 0 if there is none.
func (s *Source) Pos(path string) (line, col int) {
	for path != "" {
		p, ok := s.pos[path]
		if !ok {
			p, ok = s.pos[path+"[0]"]
		}
		if ok {
			return int(p.line), int(p.col)
		}
		path = path[:max(strings.LastIndexByte(path, '.'), 0)]
	}
	return 0, 0
}

// At is Pos in the form file:line:column, or only the file if the position is
// not known.
func (s *Source) At(path string) string {
	line, col := s.Pos(path)
	if line == 0 {
		return shownFile(s.File)
	}
	return fmt.Sprintf("%s:%d:%d", shownFile(s.File), line, col)
}

// Has reports whether the field at path, with its index if it is repeated, was
// written.
func (s *Source) Has(path string) bool {
	_, ok := s.pos[path]
	return ok
}
