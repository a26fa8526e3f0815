package tensor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"crema/internal/hugepage"
	"crema/internal/memory"
)

// MaxCount is the largest number of elements a blob may have. Caffe counts in
// 32-bit ints (blob.cpp, Blob::Reshape).
const MaxCount = 1<<31 - 1

// storage is one allocation, shared by every blob that points at it.
type storage struct {
	mem    atomic.Pointer[[]float32]
	grow   sync.Mutex    // held while mem is replaced
	writes atomic.Uint64 // how often it was given out for writing
}

// slice returns the first n elements, allocating zeroed memory if the present
// is smaller. Where it is large enough nothing is written, so that readers may
// run at once.
func (s *storage) slice(n int) []float32 {
	if m := s.mem.Load(); m != nil && len(*m) >= n {
		return (*m)[:n:n]
	}
	s.grow.Lock()
	defer s.grow.Unlock()
	if m := s.mem.Load(); m != nil && len(*m) >= n {
		return (*m)[:n:n]
	}
	if err := memory.Check(4 * int64(n)); err != nil {
		panic(err) // an *memory.Error: graph makes an error of it
	}
	m := hugepage.Make(n)
	m = m[:cap(m)]
	s.mem.Store(&m)
	return m[:n:n]
}

// place lets a [Placer] say where the memory is, for a blob of n elements.
func (s *storage) place(n int, where Placer) error {
	s.grow.Lock()
	defer s.grow.Unlock()
	var now []float32
	if m := s.mem.Load(); m != nil {
		now = *m
	}
	to, err := where(now, max(n, len(now)))
	if err != nil {
		return err
	}
	if len(to) < max(n, len(now)) {
		panic("tensor: a Placer returned too little memory")
	}
	if len(to) == 0 || len(now) > 0 && &to[0] == &now[0] {
		return nil
	}
	if n <= len(now) { // else the values are zeros from here on, as with slice
		copy(to, now)
	}
	s.mem.Store(&to)
	return nil
}

// A Placer decides where elements of blobs lie. It is given where they lie now,
// nil if nowhere yet, and how many there must be room for, and returns now
// itself or other memory of at least that many elements, all zero, that nothing
// else uses.
type Placer func(now []float32, n int) ([]float32, error)

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
// panics on a shape that CheckShape or the blob's Layout refuses: callers that
// take shapes from a file check first.
func (b *Blob) Reshape(shape ...int) {
	if err := CheckShape(shape); err != nil {
		panic("tensor: " + err.Error())
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	if err := b.layout.Check(shape); err != nil {
		panic("tensor: " + err.Error())
	}
	b.shape = append(b.shape[:0], shape...)
	b.count = n
}

// ReshapeLike gives b the shape of o.
func (b *Blob) ReshapeLike(o *Blob) { b.Reshape(o.shape...) }

// Shape returns a copy of the dimensions.
func (b *Blob) Shape() []int { return slices.Clone(b.shape) }

// HasShape reports whether the dimensions are these.
func (b *Blob) HasShape(shape ...int) bool { return slices.Equal(b.shape, shape) }

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
	b.data.writes.Add(1)
	return b.data.slice(b.count)
}

// ReadData is Data for reading only: the Version stays as it is, and several
// goroutines may call it at once.
func (b *Blob) ReadData() []float32 { return b.data.slice(b.count) }

// Diff returns the gradients in the blob's layout, Count() long, allocating
// zeros on first use.
func (b *Blob) Diff() []float32 { return b.diff.slice(b.count) }

// Version returns what tells whether the values, which other blobs may share,
// were changed since it was returned before: it is another after every Data of
// any of these blobs, and after ShareData with other values. So what was
// computed from parameters can be kept until they change.
func (b *Blob) Version() Version { return Version{b.data, b.data.writes.Load()} }

// HasDiff reports whether gradients were ever allocated.
func (b *Blob) HasDiff() bool { return b.diff.mem.Load() != nil }

// ShareData makes b use the values of o from now on. It panics if the counts
// differ.
func (b *Blob) ShareData(o *Blob) {
	if b.count != o.count {
		panic("tensor: ShareData between blobs of different counts")
	}
	b.data = o.data
}

// ShareDiff makes b use the gradients of o from now on. It panics if the counts
// differ.
func (b *Blob) ShareDiff(o *Blob) {
	if b.count != o.count {
		panic("tensor: ShareDiff between blobs of different counts")
	}
	b.diff = o.diff
}

// PlaceData moves the values of b, which stay as they are, to where the placer
// says, also for all blobs that share them: to memory that another process sees,
// for one. Should they need more room later, they go to ordinary memory. An
// error is the placer's; then nothing was moved.
func (b *Blob) PlaceData(where Placer) error { return b.data.place(b.count, where) }

// PlaceDiff is PlaceData for the gradients.
func (b *Blob) PlaceDiff(where Placer) error { return b.diff.place(b.count, where) }

// SharesData reports whether b and o use one storage for their values.
func (b *Blob) SharesData(o *Blob) bool { return b.data == o.data }

// SharesDiff is SharesData for the gradients.
func (b *Blob) SharesDiff(o *Blob) bool { return b.diff == o.diff }

// SameShape reports whether b and o have equal dimensions.
func (b *Blob) SameShape(o *Blob) bool {
	return slices.Equal(b.shape, o.shape)
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
