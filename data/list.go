package data

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

// A ListedFile is a line of a list of images.
type ListedFile struct {
	Name  string
	Label int32
}

// ReadList reads a list of image files: on each line a name and, after the
// last space, a label, a whole number. Names may hold spaces. A line without a
// space is a name with label 0, as in Caffe; empty lines are skipped. Errors
// say the line.
func ReadList(path string) ([]ListedFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var files []ListedFile
	r := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := r.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if s := strings.TrimRight(line, "\r\n"); strings.TrimSpace(s) != "" {
			lf, err := parseListLine(s)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, n, err)
			}
			files = append(files, lf)
		}
		if err == io.EOF {
			return files, nil
		}
	}
}

func parseListLine(s string) (ListedFile, error) {
	s = strings.TrimRight(s, " \t")
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return ListedFile{Name: s}, nil
	}
	l := s[i+1:]
	v, err := strconv.ParseInt(l, 10, 64)
	if err != nil || v < math.MinInt32 || v > math.MaxInt32 {
		return ListedFile{}, fmt.Errorf("label %q (what follows the last space) is not a whole number in range", l)
	}
	return ListedFile{strings.TrimRight(s[:i], " "), int32(v)}, nil
}
