package data

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"crema/internal/infile"
)

// A Window is a rectangle of a picture with a class.
type Window struct {
	Image int32 // index of the picture in the window file
	Label int32 // 0 for background
	// X1, Y1 and X2, Y2 are the first and the last column and row, from 0.
	X1, Y1, X2, Y2 int32
	Line           int32 // of the window file, for messages
}

// A WindowImage is a picture of a window file.
type WindowImage struct {
	Name string
	// Size is what the file says: channels, height, width. Only messages use
	// it; the picture's own size counts.
	Size    [3]int
	Windows int // in the file, whatever their overlap
	Line    int // of the number of channels
}

// A WindowFile is the content of a window file (R-CNN's list of region
// proposals).
type WindowFile struct {
	Path   string
	Images []WindowImage
	// Foreground windows overlap an object by at least the one threshold,
	// Background windows by less than the other. Those in between are left out.
	Foreground, Background []Window
}

// ReadWindows reads a window file as Caffe's window_data_layer.cpp does. For
// each picture it holds, separated by white space,
//
//	# index             the number of pictures before this one
//	name channels height width
//	number of windows
//	class overlap x1 y1 x2 y2    of each window
//
// A name cannot hold white space. A window whose overlap is at least fg is
// foreground, one below bg is background and loses its class. Errors name file
// and line.
func ReadWindows(path string, fg, bg float32) (*WindowFile, error) {
	f, err := infile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	w := &WindowFile{Path: path}
	s := newWordScanner(f)
	if err := w.read(s, fg, bg); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", path, s.wordLine, err)
	}
	if len(w.Images) == 0 {
		return nil, fmt.Errorf("%s: the window file is empty", path)
	}
	return w, nil
}

func (f *WindowFile) read(s *wordScanner, fg, bg float32) error {
	for {
		mark, err := s.word()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if string(mark) != "#" {
			return fmt.Errorf("%q instead of the # before a picture: the number of windows before it is wrong, or a name holds a space", mark)
		}
		index, err := s.int("picture index")
		if err != nil {
			return err
		}
		// Caffe would take other pictures for the windows, or fail.
		if int(index) != len(f.Images) {
			return fmt.Errorf("picture index %d, but %d pictures come before it", index, len(f.Images))
		}
		if err := f.image(s, index, fg, bg); err != nil {
			return err
		}
	}
}

// image reads a picture and its windows.
func (f *WindowFile) image(s *wordScanner, index int32, fg, bg float32) error {
	name, err := s.need("file name")
	if err != nil {
		return err
	}
	im := WindowImage{Name: string(name)}
	for i, what := range []string{"number of channels", "height", "width"} {
		v, err := s.int(what)
		if err != nil {
			return fmt.Errorf("%w (after the file name %q, which cannot hold a space)", err, im.Name)
		}
		im.Size[i] = int(v)
		if i == 0 {
			im.Line = s.wordLine
		}
	}
	n, err := s.int("number of windows")
	if err != nil {
		return err
	}
	if n < 0 {
		return fmt.Errorf("%d windows", n)
	}
	im.Windows = int(n)
	f.Images = append(f.Images, im)
	for range n {
		w := Window{Image: index}
		if w.Label, err = s.int("class of a window"); err != nil {
			return err
		}
		w.Line = int32(s.wordLine)
		overlap, err := s.float("overlap of a window")
		if err != nil {
			return err
		}
		for _, v := range []*int32{&w.X1, &w.Y1, &w.X2, &w.Y2} {
			if *v, err = s.int("corner of a window"); err != nil {
				return err
			}
		}
		switch {
		case overlap >= fg:
			if w.Label <= 0 {
				return fmt.Errorf("window of overlap %g is foreground (threshold %g), but its class is %d: classes begin at 1, 0 is the background", overlap, fg, w.Label)
			}
			f.Foreground = append(f.Foreground, w)
		case overlap < bg:
			w.Label = 0
			f.Background = append(f.Background, w)
		}
	}
	return nil
}

// A wordScanner reads words between white space and counts lines.
type wordScanner struct {
	r        *bufio.Reader
	buf      []byte
	line     int
	wordLine int // of the last word
}

func newWordScanner(r io.Reader) *wordScanner {
	return &wordScanner{r: bufio.NewReaderSize(r, 1<<16), line: 1}
}

var errLongWord = errors.New("word of more than 64 KB: this is no window file")

// utf8BOM is what some editors put before the first byte of a text.
const utf8BOM = "\xef\xbb\xbf"

// word returns the next word, valid until the next call; io.EOF if there is
// none.
func (s *wordScanner) word() ([]byte, error) {
	s.buf = s.buf[:0]
	for {
		c, err := s.r.ReadByte()
		switch {
		case err == io.EOF && len(s.buf) > 0:
			return s.buf, nil
		case err != nil:
			s.wordLine = s.line
			return nil, err
		case c != ' ' && (c < '\t' || c > '\r'):
			if s.wordLine == 0 && len(s.buf) == 0 && c == utf8BOM[0] {
				if b, _ := s.r.Peek(2); string(b) == utf8BOM[1:] {
					s.r.Discard(2)
					continue
				}
			}
			if len(s.buf) == 0 {
				s.wordLine = s.line
			}
			if s.buf = append(s.buf, c); len(s.buf) > 1<<16 {
				return nil, errLongWord
			}
			continue
		case len(s.buf) > 0:
			s.r.UnreadByte()
			return s.buf, nil
		case c == '\n':
			s.line++
		}
	}
}

// need is word where the file must not end.
func (s *wordScanner) need(what string) ([]byte, error) {
	w, err := s.word()
	if err == io.EOF {
		err = fmt.Errorf("the file ends where a %s should be", what)
	}
	return w, err
}

func (s *wordScanner) int(what string) (int32, error) {
	w, err := s.need(what)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(string(bytes.TrimPrefix(w, []byte("+"))), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a whole number in range", what, w)
	}
	return int32(v), nil
}

func (s *wordScanner) float(what string) (float32, error) {
	w, err := s.need(what)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(string(w), 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a number", what, w)
	}
	return float32(v), nil
}
