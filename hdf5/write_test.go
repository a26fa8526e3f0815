package hdf5

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// build writes a builder's file and opens it.
func build(t *testing.T, b *Builder) (path string, root *Group) {
	t.Helper()
	var w bytes.Buffer
	n, err := b.WriteTo(&w)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(w.Len()) {
		t.Errorf("WriteTo says %d bytes and wrote %d", n, w.Len())
	}
	path = filepath.Join(t.TempDir(), "x.h5")
	if err := os.WriteFile(path, w.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path, open(t, path)
}

// h5dump runs libhdf5's tool of that name; without it the test ends.
func h5dump(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("h5dump"); err != nil {
		t.Skip("h5dump is not installed")
	}
	var errs bytes.Buffer
	cmd := exec.Command("h5dump", args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("h5dump %v: %v\n%s%s", args, err, out, errs.String())
	}
	return string(out)
}

func ramp(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i) / 4
	}
	return v
}

// TestWrite writes all that the Builder can and reads it with our reader and
// libhdf5's.
func TestWrite(t *testing.T) {
	var b Builder
	b.Int(-7, "iter")
	b.String("a/b ü.caffemodel.h5", "learned_net")
	b.Bytes([]byte{0, 200, 255}, "bytes")
	b.Group("data", "empty")
	b.Floats([]int{2, 3}, ramp(6), "data", "conv1", "0")
	b.Floats([]int{2}, ramp(2), "data", "conv1", "1")
	b.Floats(nil, []float32{0.5}, "data", "scalar")
	b.Floats([]int{0, 3}, nil, "data", "nothing")
	b.FloatsFrom([]int{1, 5}, func(w io.Writer) error { return WriteFloats(w, ramp(5)) }, "data", "streamed")
	b.Floats([]int{1}, ramp(1), "data", "conv1", "x", "0")
	b.HardLink([]string{"data", "conv1", "x"}, "data", "conv1/x")
	path, g := build(t, &b)

	for name, want := range map[string]struct {
		shape  []int
		values []float32
	}{
		"data/conv1/0":   {[]int{2, 3}, ramp(6)},
		"data/conv1/1":   {[]int{2}, ramp(2)},
		"data/scalar":    {nil, []float32{0.5}},
		"data/nothing":   {[]int{0, 3}, []float32{}},
		"data/streamed":  {[]int{1, 5}, ramp(5)},
		"data/conv1/x/0": {[]int{1}, ramp(1)},
	} {
		d, err := g.Dataset(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := floatsOf(t, g, name); !slices.Equal(d.Shape(), want.shape) || !slices.Equal(got, want.values) || d.Type() != "float32" {
			t.Errorf("%s: %v %v of %s", name, d.Shape(), got, d.Type())
		}
	}
	data, err := g.Group("data")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"conv1", "conv1/x", "empty", "nothing", "scalar", "streamed"}; !slices.Equal(data.Names(), want) {
		t.Errorf("names %q", data.Names())
	}
	alias, err := data.Child("conv1/x")
	if err != nil || alias.Path() != "/data/conv1/x" {
		t.Errorf("the alias leads to %v, %v", alias, err)
	}
	if d, err := g.Dataset("iter"); err != nil {
		t.Error(err)
	} else if v, err := d.ReadInts(); err != nil || !slices.Equal(v, []int64{-7}) || !slices.Equal(d.Shape(), []int{1}) {
		t.Errorf("iter: %v, %v", v, err)
	}
	if d, err := g.Dataset("learned_net"); err != nil {
		t.Error(err)
	} else if s, err := d.ReadString(); s != "a/b ü.caffemodel.h5" || err != nil || len(d.Shape()) != 0 {
		t.Errorf("learned_net: %q, %v", s, err)
	}
	if d, err := g.Dataset("bytes"); err != nil {
		t.Error(err)
	} else if v, err := d.ReadBytes(); err != nil || !bytes.Equal(v, []byte{0, 200, 255}) {
		t.Errorf("bytes: %v, %v", v, err)
	}

	out := strings.Join(strings.Fields(h5dump(t, path)), " ")
	for _, want := range []string{
		`GROUP "empty" { }`,
		`DATASET "0" { DATATYPE H5T_IEEE_F32LE DATASPACE SIMPLE { ( 2, 3 ) / ( 2, 3 ) } DATA { (0,0): 0, 0.25, 0.5, (1,0): 0.75, 1, 1.25 } }`,
		`DATASET "iter" { DATATYPE H5T_STD_I32LE DATASPACE SIMPLE { ( 1 ) / ( 1 ) } DATA { (0): -7 } }`,
		`DATASET "learned_net" { DATATYPE H5T_STRING { STRSIZE 21; STRPAD H5T_STR_NULLTERM; CSET H5T_CSET_ASCII; CTYPE H5T_C_S1; } DATASPACE SCALAR DATA { (0): "a/b`,
		`DATATYPE H5T_STD_U8LE DATASPACE SIMPLE { ( 3 ) / ( 3 ) } DATA { (0): 0, 200, 255 }`,
		`DATASET "nothing" { DATATYPE H5T_IEEE_F32LE DATASPACE SIMPLE { ( 0, 3 ) / ( 0, 3 ) } DATA { } }`,
		`DATASPACE SCALAR DATA { (0): 0.5 }`,
		`GROUP "conv1/x" { HARDLINK "/data/conv1/x" }`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("h5dump does not say %s", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestManyLinks writes groups that need several nodes and levels.
func TestManyLinks(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 255, 256, 257, 8193} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var b Builder
			b.Group("g")
			var want []string
			for i := range n {
				name := fmt.Sprintf("layer %d", i*7919%n)
				want = append(want, name)
				b.Floats([]int{1}, []float32{float32(i)}, "g", name)
			}
			slices.Sort(want)
			path, root := build(t, &b)
			g, err := root.Group("g")
			if err != nil {
				t.Fatal(err)
			}
			want = slices.Compact(want)
			if !slices.Equal(g.Names(), want) {
				t.Fatalf("%d names, want %d", len(g.Names()), len(want))
			}
			for _, name := range []string{"layer 0", fmt.Sprintf("layer %d", n-1)} {
				if n > 0 && len(floatsOf(t, g, name)) != 1 {
					t.Errorf("no %s", name)
				}
			}
			if out := h5dump(t, "-n", path); strings.Count(out, " dataset ") != len(want) {
				t.Errorf("h5dump lists %d datasets, want %d", strings.Count(out, " dataset "), len(want))
			}
			// Looking up by name takes another way through the tree.
			for i := 0; i < n; i += 1 + n/5 {
				h5dump(t, "-d", "/g/"+want[i], path)
			}
		})
	}
}

func TestBuilderErrors(t *testing.T) {
	for name, c := range map[string]struct {
		make func(b *Builder)
		want string
	}{
		"twice":        {func(b *Builder) { b.Int(1, "x"); b.Int(1, "x") }, `two objects of the name "x"`},
		"no name":      {func(b *Builder) { b.Int(1) }, "without a name"},
		"empty":        {func(b *Builder) { b.Int(1, "") }, `"" cannot be a name`},
		"NUL":          {func(b *Builder) { b.Int(1, "a\x00") }, "cannot be a name"},
		"in a leaf":    {func(b *Builder) { b.Int(1, "x"); b.Int(1, "x", "y") }, "/x is not a group"},
		"shape":        {func(b *Builder) { b.Floats([]int{2, 2}, ramp(3), "x") }, "3 values of shape [2 2]"},
		"negative":     {func(b *Builder) { b.FloatsFrom([]int{-1}, nil, "x") }, "shape [-1]"},
		"string":       {func(b *Builder) { b.String("a\x00b", "x") }, "NUL"},
		"link up":      {func(b *Builder) { b.Int(1, "x"); b.HardLink([]string{"x"}, "g", "x") }, "not below its group"},
		"link nowhere": {func(b *Builder) { b.HardLink([]string{"x"}, "y") }, "which is not there"},
		"short": {func(b *Builder) {
			b.FloatsFrom([]int{2}, func(w io.Writer) error { return WriteFloats(w, ramp(1)) }, "x")
		}, "4 bytes written for the 8 of x"},
	} {
		var b Builder
		c.make(&b)
		if _, err := b.WriteTo(io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestNoCopy: writing values takes no memory in their size.
func TestNoCopy(t *testing.T) {
	v := make([]float32, 1<<22)
	var b Builder
	b.Floats([]int{len(v)}, v, "x")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := b.WriteTo(io.Discard); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("writing %d bytes allocated %d", 4*len(v), n)
	}
}

func TestRowWriter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rows.h5")
	files := func() int {
		es, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(es)
	}
	w := NewRowWriter(path)
	for i := range 3 {
		n := i + 1
		if err := w.Append("data", []int{n, 2}, ramp(2*n)); err != nil {
			t.Fatal(err)
		}
		if err := w.Append("label", []int{n}, ramp(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Append("data", []int{1, 3}, ramp(3)); err == nil || !strings.Contains(err.Error(), "rows of data were of shape [2] and are [3] now") {
		t.Errorf("another shape: %v", err)
	}
	if n := w.Rows("data"); n != 6 {
		t.Errorf("%d rows", n)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is there before Close")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if files() != 1 {
		t.Error("temporary files stay")
	}
	g := open(t, path)
	if got, want := floatsOf(t, g, "data"), slices.Concat(ramp(2), ramp(4), ramp(6)); !slices.Equal(got, want) {
		t.Errorf("data %v", got)
	}
	if got, want := floatsOf(t, g, "label"), slices.Concat(ramp(1), ramp(2), ramp(3)); !slices.Equal(got, want) {
		t.Errorf("label %v", got)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w = NewRowWriter(path)
	if err := w.Append("data", []int{1}, ramp(1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Discard(); err != nil {
		t.Fatal(err)
	}
	if err := NewRowWriter(path).Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) || files() != 1 {
		t.Error("Discard, or Close without rows, changed the file or left another")
	}
}
