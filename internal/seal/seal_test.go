package seal

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func sealed(t *testing.T, format Format) (path string, b []byte, s Seal) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "x")
	s, err := Write(path, format, 77, func(w io.Writer) error {
		var b []byte
		if format == HDF5 {
			b = append(b, "\x89HDF\r\n\x1a\n"...)
			b = append(b, make([]byte, 32)...)
			b = append(b, 48+9*11, 0, 0, 0, 0, 0, 0, 0) // where it ends
		}
		for i := range 9 {
			b = protowire.AppendTag(b, protowire.Number(1+i%3), protowire.BytesType)
			b = protowire.AppendString(b, "some text")
		}
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return path, b, s
}

// TestDamage flips every bit of a sealed file, cuts it off everywhere, and adds
// to it.
func TestDamage(t *testing.T) {
	for _, format := range []Format{Proto, HDF5} {
		path, whole, want := sealed(t, format)
		got, err := Check(path)
		if err != nil || got == nil || *got != want || got.Of != 77 {
			t.Fatalf("format %d: seal %v, %v, want %v", format, got, err, want)
		}
		try := func(what string, at int, b []byte) {
			t.Helper()
			got, err := check(bytes.NewReader(b), int64(len(b)))
			if err == nil && got != nil || err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatalf("format %d, %s at %d: seal %v, %v", format, what, at, got, err)
			}
			// An HDF5 file that has lost its magic number, or is shorter than it
			// says, is found out when it is read.
			if err == nil && !(format == HDF5 && (at < 49 || what == "cut off")) {
				t.Fatalf("format %d, %s at %d: taken for a file without a seal", format, what, at)
			}
		}
		for i := range whole {
			for bit := range 8 {
				b := append([]byte(nil), whole...)
				b[i] ^= 1 << bit
				try("a bit flipped", i, b)
			}
			if i > 2 {
				try("cut off", i, whole[:i])
			}
		}
		try("a byte more", len(whole), append(append([]byte(nil), whole...), 0))
	}
}

// TestForeign: files without a seal are none of our business.
func TestForeign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	_, whole, _ := sealed(t, Proto)
	for _, b := range [][]byte{nil, {1}, []byte("text"), whole[3 : len(whole)-27], make([]byte, 1000)} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if s, err := Check(path); s != nil || err != nil {
			t.Errorf("%d bytes: %v, %v", len(b), s, err)
		}
	}
	if _, err := Check(path + "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
