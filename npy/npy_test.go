package npy

import (
	"bytes"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestRead reads what numpy wrote.
func TestRead(t *testing.T) {
	for file, want := range map[string][]int{"mean_f8.npy": {3, 2, 2}, "channels_f4.npy": {3}} {
		f, err := os.Open("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		shape, values, err := Read(f)
		if err != nil || !slices.Equal(shape, want) {
			t.Errorf("%s: shape %v, %v", file, shape, err)
			continue
		}
		for i, v := range values {
			if first := float32(i); v != first && v != first+1 {
				t.Errorf("%s: value %d is %v", file, i, v)
			}
		}
	}
}

// TestHeader: the header is numpy's but for its length, which does not depend on
// the number of rows.
func TestHeader(t *testing.T) {
	h := Header([]int{3})
	if want := "\x93NUMPY\x01\x00"; !bytes.HasPrefix(h, []byte(want)) || !strings.Contains(string(h), "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }") {
		t.Errorf("header %q", h)
	}
	for _, shape := range [][]int{nil, {0}, {1, 2}, {math.MaxInt32, 3, 4, 5}} {
		h := Header(shape)
		if len(h)%64 != 0 || h[len(h)-1] != '\n' || int(h[8])+int(h[9])<<8 != len(h)-10 {
			t.Errorf("%v: header of %d bytes, %q", shape, len(h), h)
		}
		if len(shape) > 0 {
			other := slices.Clone(shape)
			other[0] = math.MaxInt
			if n := len(Header(other)); n != len(h) {
				t.Errorf("%v: %d bytes, with many rows %d", shape, len(h), n)
			}
		}
	}
}

func TestWrite(t *testing.T) {
	for _, shape := range [][]int{nil, {0}, {5}, {2, 3}, {2, 1, 3, 2}, {20000}} {
		n := 1
		for _, d := range shape {
			n *= d
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i) - 0.5
		}
		var b bytes.Buffer
		if err := Write(&b, shape, values); err != nil {
			t.Fatal(err)
		}
		s, v, err := Read(&b)
		if err != nil || !slices.Equal(s, shape) || !slices.Equal(v, values) {
			t.Errorf("%v: read as %v with %d values, %v", shape, s, len(v), err)
		}
	}
}

func TestRefused(t *testing.T) {
	whole, err := os.ReadFile("testdata/mean_f8.npy")
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, _, err := Read(bytes.NewReader(whole[:n])); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "cut short") {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	header := func(text string) string {
		return "\x93NUMPY\x01\x00" + string([]byte{byte(len(text)), byte(len(text) >> 8)}) + text
	}
	for name, c := range map[string]struct{ file, want string }{
		"another file":  {"P6 3 3 255\n", "begins with"},
		"long header":   {"\x93NUMPY\x02\x00\xff\xff\xff\xff", "header of 4294967295 bytes"},
		"integers":      {header("{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }"), `"<i8"`},
		"big endian":    {header("{'descr': '>f4', 'fortran_order': False, 'shape': (3,), }"), `">f4"`},
		"no dictionary": {header("hello"), `"hello"`},
		"huge":          {header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 99999), }"), "more than"},
		"too large":     {header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }"), "99999999999"},
		"claims more":   {header("{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000,), }") + "1234", "cut short"},
	} {
		if _, _, err := Read(strings.NewReader(c.file)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, file := range []string{"fortran.npy", "integers.npy"} {
		f, err := os.Open("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, _, err := Read(f); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, file := range []string{"mean_f8.npy", "fortran.npy", "integers.npy", "channels_f4.npy"} {
		b, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		shape, values, err := Read(bytes.NewReader(b))
		n := 1
		for _, d := range shape {
			n *= d
		}
		if err == nil && n != len(values) {
			t.Errorf("shape %v, %d values", shape, len(values))
		}
	})
}
