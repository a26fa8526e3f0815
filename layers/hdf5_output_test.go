package layers

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/hdf5"
	"crema/tensor"
)

const h5Out = `name: "out" type: "HDF5Output" bottom: "x" bottom: "y" hdf5_output_param { file_name: "out.h5" }`

// readH5 returns a dataset's shape and values.
func readH5(t *testing.T, path, name string) ([]int, []float32) {
	t.Helper()
	f, err := hdf5.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	d, err := root.Dataset(name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := d.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return d.Shape(), v
}

func closeLayer(t *testing.T, l Layer) {
	t.Helper()
	if err := l.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
}

// TestHDF5OutputAppends: every pass appends its rows, of batches of any size,
// and the file is there, whole, after Close and not before.
func TestHDF5OutputAppends(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("out.h5", []byte("the old one"), 0o644); err != nil {
		t.Fatal(err)
	}
	x, y := randomBlob(1, 3, 2, 2), randomBlob(2, 3)
	l, _ := newLayer(t, testContext(test), h5Out, blobs(x, y), 0)
	var wantX, wantY []float32
	for i, n := range []int{3, 1, 4} {
		b, c := randomBlob(uint64(3+i), n, 2, 2), randomBlob(uint64(9+i), n)
		if err := l.Reshape(blobs(b, c), nil); err != nil {
			t.Fatal(err)
		}
		forward(t, l, blobs(b, c), nil)
		wantX, wantY = append(wantX, b.Data()...), append(wantY, c.Data()...)
	}
	if b, err := os.ReadFile("out.h5"); string(b) != "the old one" || err != nil {
		t.Errorf("before Close the file has %d bytes, %v", len(b), err)
	}
	closeLayer(t, l)
	closeLayer(t, l) // does nothing
	for name, want := range map[string]struct {
		shape []int
		v     []float32
	}{"data": {[]int{8, 2, 2, 1}, wantX}, "label": {[]int{8, 1, 1, 1}, wantY}} {
		shape, v := readH5(t, "out.h5", name)
		if !slices.Equal(shape, want.shape) {
			t.Errorf("%s has shape %v, want %v", name, shape, want.shape)
		}
		equal(t, name, v, want.v...)
	}
	if files, err := os.ReadDir("."); len(files) != 1 || err != nil {
		t.Errorf("%d files, %v", len(files), err)
	}

	// Without a pass the file stays, and the layer's name is free again.
	l, _ = newLayer(t, testContext(test), h5Out, blobs(x, y), 0)
	closeLayer(t, l)
	if shape, _ := readH5(t, "out.h5", "data"); shape[0] != 8 {
		t.Errorf("without a pass the file has %d rows now", shape[0])
	}
}

func TestHDF5OutputGradient(t *testing.T) {
	t.Chdir(t.TempDir())
	x, y := randomBlob(1, 2, 3), randomBlob(2, 2)
	copy(x.Diff(), x.Data())
	copy(y.Diff(), y.Data())
	l, _ := newLayer(t, testContext(train), h5Out, blobs(x, y), 0)
	defer closeLayer(t, l)
	if err := l.Backward(nil, []bool{true, false}, blobs(x, y)); err != nil {
		t.Fatal(err)
	}
	equal(t, "gradient", x.Diff(), make([]float32, 6)...)
	equal(t, "gradient nobody wants", y.Diff(), y.Data()...)
}

func TestHDF5OutputAllocates(t *testing.T) {
	t.Chdir(t.TempDir())
	in := blobs(randomBlob(1, 2, 3), randomBlob(2, 2))
	l, _ := newLayer(t, testContext(train), h5Out, in, 0)
	defer closeLayer(t, l)
	forward(t, l, in, nil)
	if n := testing.AllocsPerRun(20, func() { forward(t, l, in, nil) }); n > 0 {
		t.Errorf("%g allocations a pass", n)
	}
}

func TestHDF5OutputErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	x, y := randomBlob(1, 2, 3), randomBlob(2, 2)
	const head = `name: "out" type: "HDF5Output" bottom: "x" bottom: "y" `
	for _, c := range []struct {
		text   string
		bottom []*tensor.Blob
		words  string
	}{
		{head, blobs(x, y), "file_name is not set"},
		{head + `hdf5_output_param { file_name: "none/out.h5" }`, blobs(x, y), `"none/out.h5" cannot be written`},
		{head + `hdf5_output_param { file_name: "file/out.h5" }`, blobs(x, y), `"file/out.h5" cannot be written`},
		{head + `hdf5_output_param { file_name: "." }`, blobs(x, y), "is a folder"},
		{head + `hdf5_output_param { file_name: "a.h5" }`, blobs(x, randomBlob(3, 4)), `the same batch size, not 2 ("x") and 4 ("y")`},
		{head + `hdf5_output_param { file_name: "b.h5" }`, blobs(randomBlob(3, 2, 1, 1, 1, 1), y), "at most 4 axes"},
		{head + `hdf5_output_param { file_name: "c.h5" }`, blobs(x), "exactly 2 bottom"},
	} {
		wantError(t, train, c.text, c.bottom, 0, c.words)
	}
	// Two layers, as of a train net and its test net, cannot write one file.
	l, _ := newLayer(t, testContext(train), h5Out, blobs(x, y), 0)
	wantError(t, test, strings.Replace(h5Out, "out.h5", filepath.Join("..", filepath.Base(wd(t)), "out.h5"), 1), blobs(x, y), 0, `already written by layer "out"`)
	// Rows of another size: a pass fails, and no file is written.
	forward(t, l, blobs(x, y), nil)
	x = randomBlob(1, 2, 4)
	if err := l.Reshape(blobs(x, y), nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Forward(blobs(x, y), nil); err == nil || !strings.Contains(err.Error(), "rows of data were of shape [3 1 1] and are [4 1 1] now") {
		t.Errorf("rows of another size: %v", err)
	}
	closeLayer(t, l)
	if _, err := os.Stat("out.h5"); err == nil {
		t.Error("a file was written after a pass that failed")
	}
}

func wd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
