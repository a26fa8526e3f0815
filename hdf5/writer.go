package hdf5

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// A Builder collects the groups and datasets of a new file, which WriteTo then
// writes. Values are not copied and must not change until then. Its zero value
// is an empty file. A mistake (a name given twice, a shape that does not fit
// its values) is reported by WriteTo.
type Builder struct {
	root node
	err  error
}

// A node is a group or a dataset to be written.
type node struct {
	name  string
	to    *node // another link to that
	group bool
	sub   []*node
	byKey map[string]*node

	dims  []int
	typ   []byte // datatype message
	size  uint64 // bytes of values
	write func(w io.Writer) error

	links      uint32 // to it, beside the first
	header     uint64 // address
	tree, heap uint64 // of a group
}

// Group makes sure that there is a group at a path of names, each taken as it
// stands except that it must not be empty or hold a NUL. A '/' within a name is
// a part of it: most readers cannot follow such a link by its name, so it is for
// aliases.
func (b *Builder) Group(path ...string) {
	b.group(path)
}

func (b *Builder) group(path []string) *node {
	n := &b.root
	n.group = true
	for i, name := range path {
		next := n.byKey[name]
		if next == nil {
			next = &node{group: true}
			b.add(n, name, next)
		}
		if !next.group {
			b.fail("/%s is not a group", strings.Join(path[:i+1], "/"))
			return &node{group: true}
		}
		n = next
	}
	return n
}

func (b *Builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf("hdf5: "+format, args...)
	}
}

func (b *Builder) add(g *node, name string, n *node) {
	n.name = name
	switch {
	case name == "" || strings.Contains(name, "\x00"):
		b.fail("%q cannot be a name in the file", name)
		return
	case g.byKey[name] != nil:
		b.fail("two objects of the name %q in one group", name)
		return
	}
	if g.byKey == nil {
		g.byKey = map[string]*node{}
	}
	g.byKey[name] = n
	g.sub = append(g.sub, n)
}

func (b *Builder) dataset(path []string, typ []byte, dims []int, size int, write func(w io.Writer) error) {
	if len(path) == 0 {
		b.fail("a dataset without a name")
		return
	}
	g, name := b.group(path[:len(path)-1]), path[len(path)-1]
	b.add(g, name, &node{dims: slices.Clone(dims), typ: typ, size: uint64(size), write: write})
}

// count returns the number of elements of a shape, -1 if it is none.
func count(dims []int) int {
	n := 1
	for _, d := range dims {
		if d < 0 || d > 0 && n > math.MaxInt/8/d {
			return -1
		}
		n *= d
	}
	if len(dims) > 32 {
		return -1
	}
	return n
}

// Floats adds a dataset of float32 at a path of names (see Group), whose groups
// are made if they are not there.
func (b *Builder) Floats(dims []int, v []float32, path ...string) {
	if count(dims) != len(v) {
		b.fail("%d values of shape %v at /%s", len(v), dims, strings.Join(path, "/"))
		return
	}
	b.dataset(path, typeFloat32, dims, 4*len(v), func(w io.Writer) error { return WriteFloats(w, v) })
}

// FloatsFrom is Floats whose values are written by a function when their turn
// comes: little-endian IEEE 754, as many as the shape has.
func (b *Builder) FloatsFrom(dims []int, write func(w io.Writer) error, path ...string) {
	n := count(dims)
	if n < 0 {
		b.fail("a dataset of shape %v at /%s", dims, strings.Join(path, "/"))
		return
	}
	b.dataset(path, typeFloat32, dims, 4*n, write)
}

// Int adds a dataset of one int32, in one dimension as Caffe writes it.
func (b *Builder) Int(v int32, path ...string) {
	b.dataset(path, typeInt32, []int{1}, 4, func(w io.Writer) error {
		_, err := w.Write(le.AppendUint32(nil, uint32(v)))
		return err
	})
}

// String adds a scalar of a string of fixed length, which ends with a NUL.
func (b *Builder) String(s string, path ...string) {
	if strings.Contains(s, "\x00") || len(s) >= math.MaxInt32 {
		b.fail("a string that holds a NUL or is too long at /%s", strings.Join(path, "/"))
		return
	}
	// Class 3, version 1; padding: NUL at the end; ASCII, as libhdf5 has it
	// by default whatever the bytes are.
	typ := le.AppendUint32([]byte{0x13, 0, 0, 0}, uint32(len(s)+1))
	b.dataset(path, typ, nil, len(s)+1, func(w io.Writer) error {
		_, err := io.WriteString(w, s+"\x00")
		return err
	})
}

// Bytes adds a dataset of uint8 in one dimension.
func (b *Builder) Bytes(v []byte, path ...string) {
	b.dataset(path, typeUint8, []int{len(v)}, len(v), func(w io.Writer) error {
		_, err := w.Write(v)
		return err
	})
}

// HardLink adds another link to the group or dataset at target, a path of names.
// It must lie in a group that target leads through.
func (b *Builder) HardLink(target []string, path ...string) {
	if len(path) == 0 || len(path) > len(target) || !slices.Equal(target[:len(path)-1], path[:len(path)-1]) {
		b.fail("a link at /%s to /%s, which is not below its group", strings.Join(path, "/"), strings.Join(target, "/"))
		return
	}
	n := &b.root
	for _, name := range target {
		if n = n.byKey[name]; n == nil || n.to != nil {
			b.fail("a link at /%s to /%s, which is not there", strings.Join(path, "/"), strings.Join(target, "/"))
			return
		}
	}
	n.links++
	b.add(b.group(path[:len(path)-1]), path[len(path)-1], &node{to: n})
}

// Datatype messages: class and version, bits, size; bit offset, precision; of
// floats exponent's and mantissa's place and size, and bias.
var (
	typeFloat32 = []byte{0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0}
	typeInt32   = []byte{0x10, 0x08, 0, 0, 4, 0, 0, 0, 0, 0, 32, 0}
	typeUint8   = []byte{0x10, 0x00, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0}
)

// WriteFloats writes floats as little-endian IEEE 754.
func WriteFloats(w io.Writer, v []float32) error {
	return writeFloats(w, v, make([]byte, min(1<<16, 4*len(v))))
}

// writeFloats is WriteFloats by way of buf, which must not be empty if v is not.
func writeFloats(w io.Writer, v []float32, buf []byte) error {
	for len(v) > 0 {
		n := min(len(buf)/4, len(v))
		for i, x := range v[:n] {
			le.PutUint32(buf[4*i:], math.Float32bits(x))
		}
		if _, err := w.Write(buf[:4*n]); err != nil {
			return err
		}
		v = v[n:]
	}
	return nil
}

// WriteTo writes the file: all that describes it, then the values of the
// datasets. It returns the number of bytes written.
func (b *Builder) WriteTo(w io.Writer) (int64, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.root.group = true
	l := layouter{b: make([]byte, superSize)}
	l.group(&b.root)
	end := l.place(&b.root)
	c := &counter{w: w}
	if _, err := c.Write(l.b); err != nil {
		return c.n, err
	}
	for _, v := range l.values {
		before := c.n
		if err := v.n.write(c); err != nil {
			return c.n, err
		}
		if wrote := uint64(c.n - before); wrote != v.n.size {
			return c.n, fmt.Errorf("hdf5: %d bytes written for the %d of %s", wrote, v.n.size, v.n.name)
		}
		if _, err := c.Write(make([]byte, -v.n.size&7)); err != nil {
			return c.n, err
		}
	}
	if uint64(c.n) != end {
		return c.n, fmt.Errorf("hdf5: %d bytes written, %d planned", c.n, end)
	}
	return c.n, nil
}

// A counter counts what is written to w.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
