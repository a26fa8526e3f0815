// Package infile opens the files that a user names and says what they are.
//
// Open and ReadFile take regular files only: a named pipe would wait for ever
// for someone to write to it, a device may have no end. Their errors quote the
// path, so that a tab, a line end or a byte order mark in it is seen, and say
// what looks wrong about it.
//
// Sniff and Of tell from a file's first bytes what kind of file it is, for the
// message when it is not the kind that was wanted ([Kind.Instead]).
package infile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
)

// ErrNotRegular is wrapped by errors about pipes, devices, sockets and folders
// where a file is wanted.
var ErrNotRegular = errors.New("not a regular file")

// A PathError says what is wrong with a path that a user gave. It wraps its
// cause.
type PathError struct {
	Path string
	Err  error
}

// Error quotes the path and adds what looks wrong about it.
func (e *PathError) Error() string {
	msg := strconv.Quote(e.Path) + ": " + e.Err.Error()
	var hints []string
	if h := Odd(e.Path); h != "" {
		hints = append(hints, h)
	}
	if errors.Is(e.Err, fs.ErrNotExist) && e.Path != "" && !filepath.IsAbs(e.Path) {
		if wd, err := os.Getwd(); err == nil {
			hints = append(hints, fmt.Sprintf("relative paths begin at the folder crema was started in, %q", wd))
		}
	}
	if len(hints) > 0 {
		msg += " (" + strings.Join(hints, "; ") + ")"
	}
	return msg
}

// Unwrap returns the cause.
func (e *PathError) Unwrap() error { return e.Err }

// Cause returns an error about a file without the path, for messages that have
// it already.
func Cause(err error) error {
	var ours *PathError
	var theirs *fs.PathError
	switch {
	case errors.As(err, &ours):
		return ours.Err
	case errors.As(err, &theirs):
		return theirs.Err
	}
	return err
}

// wrap makes a PathError of an error of package os.
func wrap(path string, err error) error {
	return &PathError{path, Cause(err)}
}

// Odd says what looks wrong about a path, "" if nothing does.
func Odd(path string) string {
	name := func(r rune) string {
		switch r {
		case '\t':
			return "a tab"
		case '\n', '\r':
			return "a line end"
		case '\ufeff':
			return "a byte order mark"
		case '\a', '\b', '\f', '\v':
			return "a control character"
		}
		return ""
	}
	for _, r := range path {
		what := name(r)
		if what == "" && !unicode.IsPrint(r) {
			what = "a character that cannot be seen"
		}
		switch {
		case what == "":
			continue
		case strings.ContainsRune("\t\n\r\a\b\f\v", r):
			return "it holds " + what + ": in a prototxt a backslash begins an escape, such as \\t for a tab; write / between folders"
		}
		return "it holds " + what
	}
	switch {
	case strings.ContainsRune(path, '\\') && filepath.Separator != '\\':
		return "it holds a backslash, which is part of a name on this system; write / between folders"
	case strings.TrimSpace(path) != path:
		return "it begins or ends with a blank"
	case len(path) > 1 && strings.ContainsAny(path[:1], `"'`):
		return "it begins with a quotation mark"
	case strings.HasPrefix(path, "~"):
		return "~ is not replaced here, only by a shell; write the folder out"
	case strings.Contains(path, "$"):
		return "variables are not replaced here, only by a shell; write the path out"
	}
	return ""
}

// Stat is os.Stat with the errors of this package.
func Stat(path string) (fs.FileInfo, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, wrap(path, err)
	}
	return st, nil
}

// Check reports why a path cannot be opened as a file, as far as can be said
// without opening it.
func Check(path string) error {
	st, err := Stat(path)
	if err != nil {
		return err
	}
	switch k := ofMode(st.Mode()); k {
	case Unknown:
		return nil
	case Pipe:
		return &PathError{path, fmt.Errorf("%w: it is %s: %s", ErrNotRegular, k, anyWant[Pipe])}
	default:
		return &PathError{path, fmt.Errorf("%w: it is %s", ErrNotRegular, k)}
	}
}

// Open opens a regular file for reading.
func Open(path string) (*os.File, error) {
	if err := Check(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, wrap(path, err)
	}
	return f, nil
}

// ReadFile returns what a regular file holds.
func ReadFile(path string) ([]byte, error) {
	if err := Check(path); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, wrap(path, err)
	}
	return b, nil
}

// headSize is how much of a file Sniff reads.
const headSize = 1 << 16

// Sniff tells what there is at a path. What cannot be read is Unknown.
func Sniff(path string) Kind {
	st, err := os.Stat(path)
	if err != nil {
		return Unknown
	}
	if st.IsDir() {
		has := func(name string) bool {
			_, err := os.Stat(filepath.Join(path, name))
			return err == nil
		}
		switch {
		case has("data.mdb"):
			return LMDB
		case has("CURRENT"):
			return LevelDB
		}
		return Folder
	}
	if k := ofMode(st.Mode()); k != Unknown {
		return k
	}
	f, err := os.Open(path)
	if err != nil {
		return Unknown
	}
	defer f.Close()
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return Unknown
	}
	return Of(head[:n])
}

// ofMode tells what is no regular file, Unknown for what is.
func ofMode(m fs.FileMode) Kind {
	switch {
	case m.IsRegular():
		return Unknown
	case m.IsDir():
		return Folder
	case m&fs.ModeNamedPipe != 0:
		return Pipe
	case m&fs.ModeSocket != 0:
		return Socket
	}
	return Device
}
