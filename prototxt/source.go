package prototxt

import (
	"fmt"
	"strings"
)

// A Problem is one thing wrong with a text file.
type Problem struct {
	Line, Col int // from 1; columns count bytes
	Msg       string
}

func problem(p position, format string, args ...any) *Problem {
	return &Problem{int(p.line), int(p.col), fmt.Sprintf(format, args...)}
}

// A TextError lists everything wrong with a text file, in the file's order.
// Its message has one line per problem, each beginning file:line:column.
type TextError struct {
	File     string
	Problems []Problem
}

func (e *TextError) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s", e.File, p.Line, p.Col, p.Msg)
	}
	return b.String()
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
		return s.File
	}
	return fmt.Sprintf("%s:%d:%d", s.File, line, col)
}

// Has reports whether the field at path, with its index if it is repeated, was
// written.
func (s *Source) Has(path string) bool {
	_, ok := s.pos[path]
	return ok
}
