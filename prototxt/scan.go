package prototxt

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokIdent
	tokInt // decimal, octal (0…) or hexadecimal (0x…), without sign
	tokFloat
	tokString
	tokSymbol
)

type position struct{ line, col int32 } // from 1; columns count bytes

type token struct {
	kind tokenKind
	text string // as in the file; for strings the decoded contents
	pos  position
}

// is reports whether t is the symbol s.
func (t token) is(s string) bool { return t.kind == tokSymbol && t.text == s }

// String describes a token in an error message.
func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "the end of the file"
	case tokString:
		return "the string " + quoteShort(t.text)
	}
	return quoteShort(t.text)
}

// quoteShort quotes s for a message, cut if it is long.
func quoteShort(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// A scanner cuts text into tokens by the rules of protobuf's C++ tokenizer as
// the text format sets it up: # comments, and f after floats.
type scanner struct {
	src       string
	off       int
	line      int32
	lineStart int
}

func newScanner(src string) scanner {
	// Editors on Windows put a byte order mark before UTF-8.
	return scanner{src: strings.TrimPrefix(src, "\ufeff"), line: 1}
}

func (s *scanner) pos() position { return s.posAt(s.off) }

func (s *scanner) posAt(off int) position {
	return position{s.line, int32(off-s.lineStart) + 1}
}

func (s *scanner) newline() {
	s.line++
	s.lineStart = s.off
}

// peek returns the byte n after the current one, 0 past the end.
func (s *scanner) peek(n int) byte {
	if s.off+n < len(s.src) {
		return s.src[s.off+n]
	}
	return 0
}

// next returns the next token. An error is a *Problem: nothing after it can be
// trusted.
func (s *scanner) next() (token, *Problem) {
	s.skipSpace()
	t := token{pos: s.pos()}
	if s.off >= len(s.src) {
		return t, nil
	}
	start := s.off
	switch c := s.src[s.off]; {
	case isLetter(c):
		for s.off < len(s.src) && (isLetter(s.src[s.off]) || isDigit(s.src[s.off])) {
			s.off++
		}
		t.kind, t.text = tokIdent, s.src[start:s.off]
	case isDigit(c) || c == '.' && isDigit(s.peek(1)):
		kind, prob := s.number()
		t.kind, t.text = kind, s.src[start:s.off]
		return t, prob
	case c == '"' || c == '\'':
		text, prob := s.str(c)
		t.kind, t.text = tokString, text
		return t, prob
	case c < ' ' || c == 0x7f:
		return t, problem(t.pos, "control character 0x%02x: this is not a text file (is it a binary one?)", c)
	case c >= utf8.RuneSelf:
		r, _ := utf8.DecodeRuneInString(s.src[s.off:])
		if r == utf8.RuneError {
			return t, problem(t.pos, "byte 0x%02x outside a string", c)
		}
		return t, problem(t.pos, "character %q outside a string", r)
	default:
		s.off++
		t.kind, t.text = tokSymbol, s.src[start:s.off]
	}
	return t, nil
}

func (s *scanner) skipSpace() {
	for s.off < len(s.src) {
		switch s.src[s.off] {
		case '\n':
			s.off++
			s.newline()
		case ' ', '\t', '\r', '\v', '\f':
			s.off++
		case '#':
			n := strings.IndexByte(s.src[s.off:], '\n')
			if n < 0 {
				s.off = len(s.src)
				return
			}
			s.off += n
		default:
			return
		}
	}
}

// number scans a number and checks that it ends where it seems to.
func (s *scanner) number() (tokenKind, *Problem) {
	start := s.off
	kind, prob := s.numberBody()
	if c := s.peek(0); prob == nil && (isLetter(c) || c == '.') {
		prob = problem(s.pos(), "unexpected %q right after the number %s", c, s.src[start:s.off])
	}
	return kind, prob
}

func (s *scanner) numberBody() (tokenKind, *Problem) {
	start := s.off
	if s.src[s.off] == '0' {
		switch c := s.peek(1); {
		case c == 'x' || c == 'X':
			s.off += 2
			if s.digits(isHex) == 0 {
				return tokInt, problem(s.posAt(start), "\"0x\" must be followed by hexadecimal digits")
			}
			return tokInt, nil
		case isDigit(c):
			s.off++
			s.digits(isOctal)
			if isDigit(s.peek(0)) {
				return tokInt, problem(s.posAt(start), "a number that starts with 0 is octal, and %q is no octal digit", s.peek(0))
			}
			return tokInt, nil
		}
	}
	kind := tokInt
	s.digits(isDigit)
	if s.peek(0) == '.' {
		kind = tokFloat
		s.off++
		s.digits(isDigit)
	}
	if c := s.peek(0); c == 'e' || c == 'E' {
		kind = tokFloat
		s.off++
		if c := s.peek(0); c == '+' || c == '-' {
			s.off++
		}
		if s.digits(isDigit) == 0 {
			return kind, problem(s.posAt(start), "\"e\" must be followed by an exponent")
		}
	}
	if c := s.peek(0); c == 'f' || c == 'F' {
		kind = tokFloat
		s.off++
	}
	return kind, nil
}

// digits moves over bytes that satisfy ok and returns their number.
func (s *scanner) digits(ok func(byte) bool) int {
	start := s.off
	for s.off < len(s.src) && ok(s.src[s.off]) {
		s.off++
	}
	return s.off - start
}

// str scans a quoted string and returns its decoded contents.
func (s *scanner) str(quote byte) (string, *Problem) {
	open := s.pos()
	s.off++
	start := s.off
	var b []byte // the contents so far, once there was an escape
	escaped := false
	for {
		if s.off >= len(s.src) {
			return "", problem(open, "this string is never closed")
		}
		switch c := s.src[s.off]; c {
		case quote:
			raw := s.src[start:s.off]
			s.off++
			if !escaped {
				return raw, nil
			}
			return string(append(b, raw...)), nil
		case 0:
			return "", problem(s.pos(), "zero byte in a string; write \\000")
		case '\n':
			return "", problem(open, "this string is not closed on its line")
		case '\\':
			b = append(b, s.src[start:s.off]...)
			escaped = true
			var prob *Problem
			if b, prob = s.escape(b); prob != nil {
				return "", prob
			}
			start = s.off
		default:
			s.off++
		}
	}
}

// escape decodes one backslash sequence and appends what it stands for.
func (s *scanner) escape(b []byte) ([]byte, *Problem) {
	at := s.pos()
	c := s.peek(1)
	s.off = min(s.off+2, len(s.src))
	switch c {
	case 'a':
		return append(b, '\a'), nil
	case 'b':
		return append(b, '\b'), nil
	case 'f':
		return append(b, '\f'), nil
	case 'n':
		return append(b, '\n'), nil
	case 'r':
		return append(b, '\r'), nil
	case 't':
		return append(b, '\t'), nil
	case 'v':
		return append(b, '\v'), nil
	case '\\', '\'', '"', '?':
		return append(b, c), nil
	case '0', '1', '2', '3', '4', '5', '6', '7':
		v := int(c - '0')
		for n := 1; n < 3 && isOctal(s.peek(0)); n++ {
			v = v*8 + int(s.peek(0)-'0')
			s.off++
		}
		return append(b, byte(v)), nil
	case 'x':
		v, n := s.hex(2)
		if n == 0 {
			return nil, problem(at, "\\x must be followed by hexadecimal digits")
		}
		return append(b, byte(v)), nil
	case 'u', 'U':
		want := 4
		if c == 'U' {
			want = 8
		}
		v, n := s.hex(want)
		// Two escapes may form one code point, as UTF-16 surrogates.
		if isHigh := v >= 0xd800 && v < 0xdc00; isHigh && s.peek(0) == '\\' && s.peek(1) == 'u' {
			s.off += 2
			if lo, m := s.hex(4); m == 4 && lo >= 0xdc00 && lo < 0xe000 {
				v = 0x10000 + (v-0xd800)<<10 + (lo - 0xdc00)
			}
		}
		if n < want || !utf8.ValidRune(rune(v)) {
			return nil, problem(at, "\\%c must be followed by %d hexadecimal digits that are a Unicode code point", c, want)
		}
		return utf8.AppendRune(b, rune(v)), nil
	}
	return nil, problem(at, "unknown escape %s in a string; between folders write /, and a backslash itself as \\\\", quoteShort("\\"+string(rune(c))))
}

// hex reads at most most hexadecimal digits.
func (s *scanner) hex(most int) (v uint32, n int) {
	for n < most && isHex(s.peek(0)) {
		c := s.peek(0)
		switch {
		case c <= '9':
			v = v<<4 + uint32(c-'0')
		default:
			v = v<<4 + uint32(c|0x20-'a') + 10
		}
		s.off++
		n++
	}
	return v, n
}

func isLetter(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isOctal(c byte) bool { return '0' <= c && c <= '7' }
func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
