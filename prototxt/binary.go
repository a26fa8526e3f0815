package prototxt

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/internal/atomicfile"
	"crema/internal/infile"
	"crema/prototxt/caffepb"
)

// Errors about binary files wrap one of these.
var (
	ErrTruncated = errors.New("file is cut short")
	ErrFormat    = errors.New("not a binary protobuf file of the expected kind")
)

// A kindError says that a file is of another kind than was wanted. It is an
// ErrFormat.
type kindError struct{ path, msg string }

func (e *kindError) Error() string { return strconv.Quote(e.path) + ": " + e.msg }

func (e *kindError) Is(target error) bool { return target == ErrFormat }

// ReadBinary reads the binary protobuf file at path into m, which it clears
// first. It needs memory for the file and the message. Errors name the file
// and wrap ErrTruncated (the file ends early: a copy or download that was
// interrupted), ErrFormat (something else) or what the operating system says.
func ReadBinary(path string, m proto.Message) error {
	b, err := infile.ReadFile(path)
	if err != nil {
		return err
	}
	return UnmarshalBinary(path, b, m)
}

// UnmarshalBinary is ReadBinary of what was read of the file that path names.
func UnmarshalBinary(path string, b []byte, m proto.Message) error {
	if len(b) == 0 {
		return fmt.Errorf("%q: %w: it is empty", path, ErrTruncated)
	}
	// Another message's file may parse as this one's.
	instead := ""
	kind := infile.Of(b)
	if want := wanted(m); want != infile.Unknown {
		instead = kind.Instead(want)
	}
	if instead != "" && kind.IsMessage() {
		return &kindError{path, instead}
	}
	if err := proto.Unmarshal(b, m); err != nil {
		if instead != "" {
			return &kindError{path, instead}
		}
		return diagnose(path, b, m, err)
	}
	// Or as nothing but unknown fields.
	r := m.ProtoReflect()
	known := false
	r.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool {
		known = true
		return false
	})
	switch {
	case !known && instead != "":
		return &kindError{path, instead}
	case !known:
		return fmt.Errorf("%q: %w: it holds no field of %s", path, ErrFormat, r.Descriptor().Name())
	}
	return nil
}

// diagnose explains why b is not an m.
func diagnose(path string, b []byte, m proto.Message, cause error) error {
	name := m.ProtoReflect().Descriptor().Name()
	if missing := proto.CheckInitialized(m); missing != nil && wellFormed(b) {
		return fmt.Errorf("%q: %w: %w", path, ErrFormat, missing)
	}
	off := 0
	for off < len(b) {
		num, _, n := protowire.ConsumeField(b[off:])
		if n >= 0 {
			off += n
			continue
		}
		if errors.Is(protowire.ParseError(n), io.ErrUnexpectedEOF) {
			return fmt.Errorf("%q: %w: it ends at byte %d inside the field that begins at byte %d", path, ErrTruncated, len(b), off)
		}
		return fmt.Errorf("%q: %w: byte %d cannot begin a field of %s (field %d)", path, ErrFormat, off, name, num)
	}
	return fmt.Errorf("%q: %w: damaged inside (%w)", path, ErrFormat, cause)
}

// wanted is the kind of file that holds an m.
func wanted(m proto.Message) infile.Kind {
	switch m.(type) {
	case *caffepb.NetParameter:
		return infile.Weights
	case *caffepb.SolverState:
		return infile.SolverState
	case *caffepb.BlobProto:
		return infile.Blob
	case *caffepb.Datum:
		return infile.Datum
	}
	return infile.Unknown
}

// wellFormed reports whether b is a sequence of fields.
func wellFormed(b []byte) bool {
	for len(b) > 0 {
		_, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

// WriteBinary writes m to path: whole or not at all. Fields are in the order of
// their numbers and the same message gives the same bytes, which are those
// Caffe writes. Top-level messages (layers, blobs) are encoded one at a time,
// so the extra memory is that of the largest.
func WriteBinary(path string, m proto.Message) error {
	if err := proto.CheckInitialized(m); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	err := atomicfile.Write(path, func(w io.Writer) error { return EncodeBinary(w, m) })
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// EncodeBinary writes m as WriteBinary does. Required fields may be missing.
func EncodeBinary(w io.Writer, m proto.Message) error { return encode(w, m.ProtoReflect()) }

func encode(w io.Writer, m protoreflect.Message) error {
	opts := proto.MarshalOptions{Deterministic: true, AllowPartial: true}
	var buf []byte
	fields := sortedFields(m)
	for _, fd := range fields {
		if fd.IsList() && fd.Kind() == protoreflect.MessageKind {
			for i, l := 0, m.Get(fd).List(); i < l.Len(); i++ {
				el := l.Get(i).Message().Interface()
				buf = protowire.AppendTag(buf[:0], fd.Number(), protowire.BytesType)
				buf = protowire.AppendVarint(buf, uint64(opts.Size(el)))
				var err error
				if buf, err = opts.MarshalAppend(buf, el); err != nil {
					return err
				}
				if _, err = w.Write(buf); err != nil {
					return err
				}
			}
			continue
		}
		// A message with this one field shares its value and is not changed.
		one := m.New()
		one.Set(fd, m.Get(fd))
		var err error
		if buf, err = opts.MarshalAppend(buf[:0], one.Interface()); err != nil {
			return err
		}
		if _, err = w.Write(buf); err != nil {
			return err
		}
	}
	_, err := w.Write(m.GetUnknown())
	return err
}

// WarnSize returns a warning if a binary file of n bytes at path is larger than
// Caffe can read (it refuses more than 2 GiB - 1), and "" otherwise.
func WarnSize(path string, n int64) string {
	if n <= math.MaxInt32 {
		return ""
	}
	return fmt.Sprintf("%s has %.1f GiB; Caffe itself cannot read files over 2 GiB", path, float64(n)/(1<<30))
}
