// Package tensor holds the blob: an N-dimensional float32 array with a
// gradient of the same shape, the unit that layers exchange.
//
// Values are stored row-major (C order); a 4-D activation is N×C×H×W, but for
// those whose [Layout] is Blocked. Storage is allocated on the first call of
// Data or Diff, so a net whose gradients are never asked for does not pay for
// them, and two blobs may share one storage (in-place layers, Split, Flatten,
// shared parameters).
//
// A Blob is not safe for concurrent use; distinct elements of its slices may
// be written from several goroutines.
package tensor

import (
	"fmt"
	"strconv"
	"strings"

	"crema/internal/hugepage"
)

// MaxCount is the largest number of elements a blob may have. Caffe counts in
// 32-bit ints (blob.cpp, Blob::Reshape).
const MaxCount = 1<<31 - 1

// storage is one allocation, shared by every blob that points at it.
type storage struct {
	f      []float32
	writes uint64 // how often it was given out for writing
}

// slice returns the first n elements, allocating zeroed memory if the present
// storage is smaller.
func (s *storage) slice(n int) []float32 {
	if cap(s.f) < n {
		s.f = hugepage.Make(n)
	}
	s.f = s.f[:cap(s.f)]
	return s.f[:n:n]
}

// A Blob is an array of values (data) and one of gradients (diff), both of the
// same shape.
type Blob struct {
	shape []int
	count int
	data  *storage
	diff  *storage

	layout Layout
}

// A Version identifies the values of a blob at one time. Two are equal only if
// the values are the same: see [Blob.Version].
type Version struct {
	s      *storage
	writes uint64
}

// New returns a blob of the given shape; no dimensions make a scalar (one
// element). It panics on a shape that CheckShape refuses.
func New(shape ...int) *Blob {
	b := &Blob{data: &storage{}, diff: &storage{}}
	b.Reshape(shape...)
	return b
}

// CheckShape reports whether a shape is representable: no negative dimension,
// at most MaxCount elements.
func CheckShape(shape []int) error {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return fmt.Errorf("shape %s has a negative dimension", FormatShape(shape))
		}
		if d > 0 && n > MaxCount/d {
			return fmt.Errorf("shape %s has more than %d elements", FormatShape(shape), MaxCount)
		}
		n *= d
	}
	return nil
}

// Reshape changes the shape. Storage is kept when it is large enough (values
// stay as they are, in memory order) and replaced by zeros when it is not. It
// panics on a shape that CheckShape refuses: callers that take shapes from a
// file check first.
func (b *Blob) Reshape(shape ...int) {
	if err := CheckShape(shape); err != nil {
		panic("tensor: " + err.Error())
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	b.shape = append(b.shape[:0], shape...)
	b.count = n
}

// ReshapeLike gives b the shape of o.
func (b *Blob) ReshapeLike(o *Blob) { b.Reshape(o.shape...) }

// Shape returns the dimensions; the caller must not change them.
func (b *Blob) Shape() []int { return b.shape }

// Axes returns the number of dimensions.
func (b *Blob) Axes() int { return len(b.shape) }

// Count returns the number of elements.
func (b *Blob) Count() int { return b.count }

// Axis maps a possibly negative axis (-1 is the last) to 0 ≤ axis < Axes().
func (b *Blob) Axis(i int) (int, error) {
	if i < -len(b.shape) || i >= len(b.shape) {
		return 0, fmt.Errorf("axis %d out of range for a blob of shape %s", i, FormatShape(b.shape))
	}
	if i < 0 {
		i += len(b.shape)
	}
	return i, nil
}

// Dim returns the extent along axis i, which may be negative. It panics when i
// is out of range.
func (b *Blob) Dim(i int) int {
	i, err := b.Axis(i)
	if err != nil {
		panic("tensor: " + err.Error())
	}
	return b.shape[i]
}

// CountFrom returns the product of the dimensions from axis start to the end;
// 1 when start equals Axes().
func (b *Blob) CountFrom(start int) int { return b.CountRange(start, len(b.shape)) }

// CountRange returns the product of the dimensions start ≤ axis < end.
func (b *Blob) CountRange(start, end int) int {
	n := 1
	for _, d := range b.shape[start:end] {
		n *= d
	}
	return n
}

// Data returns the values in the blob's layout, Count() long, allocating zeros
// on first use. It counts as a change of the values (Version): who wants to
// change them later asks again instead of keeping the slice.
func (b *Blob) Data() []float32 {
	b.data.writes++
	return b.data.slice(b.count)
}

// ReadData is Data for reading only, and leaves the Version as it is.
func (b *Blob) ReadData() []float32 { return b.data.slice(b.count) }

// Diff returns the gradients in the blob's layout, Count() long, allocating
// zeros on first use.
func (b *Blob) Diff() []float32 { return b.diff.slice(b.count) }

// Version returns what tells whether the values, which other blobs may share,
// were changed since it was returned before: it is another after every Data of
// any of these blobs, and after ShareData with other values. So what was
// computed from parameters can be kept until they change.
func (b *Blob) Version() Version { return Version{b.data, b.data.writes} }

// HasDiff reports whether gradients were ever allocated.
func (b *Blob) HasDiff() bool { return b.diff.f != nil }

// ShareData makes b use the values of o from now on. The counts must be equal.
func (b *Blob) ShareData(o *Blob) {
	if b.count != o.count {
		panic("tensor: ShareData between blobs of different counts")
	}
	b.data = o.data
}

// ShareDiff makes b use the gradients of o from now on. The counts must be
// equal.
func (b *Blob) ShareDiff(o *Blob) {
	if b.count != o.count {
		panic("tensor: ShareDiff between blobs of different counts")
	}
	b.diff = o.diff
}

// SharesData reports whether b and o use one storage for their values.
func (b *Blob) SharesData(o *Blob) bool { return b.data == o.data }

// SameShape reports whether b and o have equal dimensions.
func (b *Blob) SameShape(o *Blob) bool {
	if len(b.shape) != len(o.shape) {
		return false
	}
	for i, d := range b.shape {
		if o.shape[i] != d {
			return false
		}
	}
	return true
}

// String formats the shape and count the way Caffe logs them: "6 3 224 224 (903168)".
func (b *Blob) String() string {
	var s strings.Builder
	for _, d := range b.shape {
		s.WriteString(strconv.Itoa(d))
		s.WriteByte(' ')
	}
	fmt.Fprintf(&s, "(%d)", b.count)
	return s.String()
}

// FormatShape writes a shape as "6×3×224×224", or "scalar" without dimensions.
func FormatShape(shape []int) string {
	if len(shape) == 0 {
		return "scalar"
	}
	s := make([]string, len(shape))
	for i, d := range shape {
		s[i] = strconv.Itoa(d)
	}
	return strings.Join(s, "×")
}
