// Package npy reads and writes arrays of numpy (.npy files): floats of 32 and 64
// bits on reading, of 32 on writing, little-endian, in row-major order (the last
// axis changes fastest), of any number of axes.
//
// The format is that of NumPy Enhancement Proposal 1: six bytes of magic, two of
// version, the length of the header (two bytes, from version 2 on four), the
// header, a Python dictionary with the keys descr, fortran_order and shape, and
// then the values. The libraries that were tried panic on damaged files, and
// write no arrays of more than two axes.
package npy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
)

const magic = "\x93NUMPY"

// ErrFormat is wrapped by errors about files that are no arrays, or none of a
// kind that can be read.
var ErrFormat = errors.New("not an array of numpy that can be read")

var (
	descrRE   = regexp.MustCompile(`['"]descr['"]\s*:\s*['"]([^'"]*)['"]`)
	fortranRE = regexp.MustCompile(`['"]fortran_order['"]\s*:\s*(True|False)`)
	shapeRE   = regexp.MustCompile(`['"]shape['"]\s*:\s*\(([0-9,\sL]*)\)`)
)

// Read reads an array of floats of 32 or 64 bits. values are in row-major order,
// as many as the product of shape, at most 2³¹ − 1; an array without axes has
// one. Memory is taken as values come, whatever the header claims. Errors wrap
// ErrFormat, or are those of r, and do not name the file.
func Read(r io.Reader) (shape []int, values []float32, err error) {
	shape, values, err = read(bufio.NewReader(r))
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: the file is cut short", ErrFormat)
	}
	return shape, values, err
}

func read(r io.Reader) (shape []int, values []float32, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, nil, err
	}
	if string(head[:6]) != magic {
		return nil, nil, fmt.Errorf("%w: it begins with %q", ErrFormat, head[:6])
	}
	var size [4]byte
	n := 4
	if head[6] < 2 {
		n = 2
	}
	if _, err := io.ReadFull(r, size[:n]); err != nil {
		return nil, nil, err
	}
	const longest = 1 << 16
	length := binary.LittleEndian.Uint32(size[:])
	if length > longest {
		return nil, nil, fmt.Errorf("%w: a header of %d bytes", ErrFormat, length)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, nil, err
	}
	shape, width, err := parseHeader(string(text))
	if err != nil {
		return nil, nil, err
	}
	count := 1
	for _, d := range shape {
		if d > 0 && count > math.MaxInt32/d {
			return nil, nil, fmt.Errorf("%w: shape %v has more than %d values", ErrFormat, shape, math.MaxInt32)
		}
		count *= d
	}
	values, err = readValues(r, count, width)
	return shape, values, err
}

// parseHeader returns the shape and how many bytes a value has.
func parseHeader(text string) (shape []int, width int, err error) {
	descr, fortran, dims := descrRE.FindStringSubmatch(text), fortranRE.FindStringSubmatch(text), shapeRE.FindStringSubmatch(text)
	if descr == nil || fortran == nil || dims == nil {
		return nil, 0, fmt.Errorf("%w: its header is %q", ErrFormat, strings.TrimSpace(text))
	}
	switch descr[1] {
	case "<f4":
		width = 4
	case "<f8":
		width = 8
	default:
		return nil, 0, fmt.Errorf("%w: its numbers are %q, not floats of 32 or 64 bits (save it as numpy.float32)", ErrFormat, descr[1])
	}
	for d := range strings.SplitSeq(dims[1], ",") {
		if d = strings.TrimSuffix(strings.TrimSpace(d), "L"); d == "" {
			continue
		}
		n, err := strconv.ParseUint(d, 10, 31)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: shape (%s)", ErrFormat, dims[1])
		}
		shape = append(shape, int(n))
	}
	if fortran[1] == "True" && len(shape) > 1 {
		return nil, 0, fmt.Errorf("%w: it is in column-major order (save numpy.ascontiguousarray of it)", ErrFormat)
	}
	return shape, width, nil
}

func readValues(r io.Reader, count, width int) ([]float32, error) {
	var values []float32
	buf := make([]byte, 1<<16)
	for len(values) < count {
		part := buf[:min(len(buf), (count-len(values))*width)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, err
		}
		for ; len(part) > 0; part = part[width:] {
			if width == 4 {
				values = append(values, math.Float32frombits(binary.LittleEndian.Uint32(part)))
			} else {
				values = append(values, float32(math.Float64frombits(binary.LittleEndian.Uint64(part))))
			}
		}
	}
	return values, nil
}

// Header returns what stands before the values of an array of 32-bit floats: as
// long for any number of rows, so that it can be written again when that is
// known.
func Header(shape []int) []byte {
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = strconv.Itoa(d)
	}
	list := strings.Join(dims, ", ")
	if len(shape) == 1 {
		list += ","
	}
	text := "{'descr': '<f4', 'fortran_order': False, 'shape': (" + list + "), }"
	// The header ends with a new line, and values begin at a multiple of 64.
	const before, digits = len(magic) + 4, 20
	spare := digits
	if len(dims) > 0 {
		spare -= len(dims[0])
	}
	text += strings.Repeat(" ", spare)
	text += strings.Repeat(" ", 63-(before+len(text))%64) + "\n"
	h := append([]byte(magic), 1, 0)
	h = binary.LittleEndian.AppendUint16(h, uint16(len(text)))
	return append(h, text...)
}

// WriteValues writes values as they stand in a file, behind the header: row-major
// order, in as many calls as wanted. Errors are those of w.
func WriteValues(w io.Writer, values []float32) error {
	buf := make([]byte, 0, 1<<16)
	for len(values) > 0 {
		n := min(len(values), cap(buf)/4)
		buf = buf[:0]
		for _, v := range values[:n] {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

// Write writes an array; values must have as many elements as the product of
// shape. Errors are those of w.
func Write(w io.Writer, shape []int, values []float32) error {
	if _, err := w.Write(Header(shape)); err != nil {
		return err
	}
	return WriteValues(w, values)
}
