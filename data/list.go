package data

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"

	"crema/internal/infile"
)

// A ListedFile is a line of a list of images.
type ListedFile struct {
	Name  string
	Label int32
	Line  int32 // of the list, from 1
	Bare  bool  // the line has no label
}

// WarnBare logs how many files of a list have no label, if any: Caffe takes them
// to be of class 0 without a word.
func WarnBare(path string, files []ListedFile, log *slog.Logger) {
	first, n := 0, 0
	for i := range files {
		if files[i].Bare {
			if n++; n == 1 {
				first = i
			}
		}
	}
	if n > 0 {
		log.Warn(fmt.Sprintf("%s:%d: %q has no label, which a blank or a tab would set off: it counts as 0, as in Caffe (%d of %d lines are so)", path, files[first].Line, files[first].Name, n, len(files)))
	}
}

// ReadList reads a list of image files: on each line a name and, after the
// last space or tab, a label, a whole number. Names may hold spaces. A line
// without either is a name with label 0, as in Caffe; empty lines, a byte order
// mark of UTF-8 and carriage returns at the end of a line are passed over.
// The error says the first bad line and how many there are.
func ReadList(path string) ([]ListedFile, error) {
	f, err := infile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	files, err := readList(f)
	var bad *badLines
	switch {
	case errors.As(err, &bad):
		if k := infile.Sniff(path); k != infile.Text && k != infile.Empty {
			if msg := k.Instead(infile.List); msg != "" {
				return nil, fmt.Errorf("%q: %s", path, msg)
			}
		}
		return nil, fmt.Errorf("%s:%w", path, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return files, nil
}

// badLines is the error of a list in which lines are bad.
type badLines struct {
	first, n, of int // line, from 1; bad ones; all
	err          error
}

func (b *badLines) Error() string {
	s := fmt.Sprintf("%d: %v", b.first, b.err)
	if b.n > 1 {
		s += fmt.Sprintf(" (the first of %d such lines of %d)", b.n, b.of)
	}
	return s
}

func readList(from io.Reader) ([]ListedFile, error) {
	var files []ListedFile
	var bad badLines
	r, err := textReader(from)
	if err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		line, err := r.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		if s := strings.TrimSpace(line); s != "" {
			bad.of++
			lf, err := parseListLine(strings.TrimRight(line, " \t\r\n"))
			if err == nil {
				lf.Line = int32(n)
				files = append(files, lf)
			} else if bad.n++; bad.n == 1 {
				bad.first, bad.err = n, err
			}
		}
		if err == io.EOF {
			break
		}
	}
	if bad.n > 0 {
		return nil, &bad
	}
	return files, nil
}

// textReader returns a reader of a list, past a byte order mark of UTF-8.
func textReader(from io.Reader) (*bufio.Reader, error) {
	r := bufio.NewReader(from)
	switch b, _ := r.Peek(3); {
	case string(b) == utf8BOM:
		r.Discard(3)
	case len(b) >= 2 && (string(b[:2]) == "\xff\xfe" || string(b[:2]) == "\xfe\xff"):
		return nil, errors.New("the list is in UTF-16: save it as UTF-8")
	}
	return r, nil
}

// parseListLine reads a line that does not end in white space.
func parseListLine(s string) (ListedFile, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return ListedFile{}, errors.New("a zero byte: this is no text file")
	}
	i := strings.LastIndexAny(s, " \t")
	if i < 0 {
		return ListedFile{Name: s, Bare: true}, nil
	}
	l := s[i+1:]
	v, err := strconv.ParseInt(l, 10, 64)
	if err != nil || v < math.MinInt32 || v > math.MaxInt32 {
		return ListedFile{}, fmt.Errorf("label %q (what follows the last space or tab) is not a whole number in range", l)
	}
	return ListedFile{Name: strings.TrimRight(s[:i], " \t"), Label: int32(v)}, nil
}
