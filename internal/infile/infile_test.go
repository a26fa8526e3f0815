package infile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const golden = "../../testdata/golden"

func TestOf(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte("\x00\x00\x08\x01\x00\x00\x00\x02\x07\x08"))
	z.Close()
	page := make([]byte, 4096)
	copy(page[16:], "\xde\xc0\xef\xbe")
	utf16 := func(s string, low int) []byte {
		b := make([]byte, 2*len(s))
		for i := range s {
			b[2*i+low] = s[i]
		}
		return b
	}
	for _, c := range []struct {
		name string
		head []byte
		want Kind
	}{
		{"nothing", nil, Empty},
		{"blanks", []byte(" \n"), Empty},
		{"hdf5", []byte("\x89HDF\r\n\x1a\n\x00"), HDF5},
		{"lfs", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:"), LFSPointer},
		{"jpeg", []byte("\xff\xd8\xff\xe0\x00\x10JFIF"), Picture},
		{"png", []byte("\x89PNG\r\n\x1a\n\x00"), Picture},
		{"bmp", []byte("BM\x36\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00\x01"), Picture},
		{"images", []byte("\x00\x00\x08\x03\x00\x00\xea\x60"), IdxImages},
		{"labels in gzip", zipped.Bytes(), IdxLabels},
		{"gzip", []byte("\x1f\x8b\x08\x00"), Gzip},
		{"npy", []byte("\x93NUMPY\x01\x00"), NumPy},
		{"npz", []byte("PK\x03\x04\x14\x00\x00\x00\x00\x00arr_0.npy"), NumPyArchive},
		{"pth", []byte("PK\x03\x04\x00\x00model/data.pkl"), PyTorch},
		{"zip", []byte("PK\x03\x04\x14\x00a.txt"), Archive},
		{"tar", append(make([]byte, 257), "ustar\x0000"...), Archive},
		{"data.mdb", page, LMDBFile},
		{"utf-16 with a mark", append([]byte("\xff\xfe"), utf16("net", 0)...), UTF16},
		{"utf-16", utf16("name: \"LeNet\"", 0), UTF16},
		{"utf-16, the other way", utf16("name: \"LeNet\"", 1), UTF16},
		{"html", []byte("\n<!DOCTYPE html>\n<html>"), WebPage},
		{"net", []byte("# layer\nname: \"max_iter: 5\"\nlayer {\n"), Net},
		{"net with a mark", []byte("\ufefflayers { layer { name: 'x' } }"), Net},
		{"old input", []byte("name: \"x\"\ninput: \"data\"\n"), Net},
		{"solver", []byte("# a net\nnet: \"train_val.prototxt\"\n"), Solver},
		{"label map", []byte("item {\n  name: \"none\"\n label: 0 }"), LabelMap},
		{"only a name", []byte("name: \"x\"\n"), Text},
		{"list", []byte("a b.jpg 3\nc.jpg -1\nd.jp"), List},
		{"a program", []byte("package x\n\nvar layer = map[int]int{layer: 1}\n"), Text},
		{"a field", []byte("max_itr: 1\n"), Text},
		{"python", []byte("import caffe\nnet = 1\n"), Python},
		{"json", []byte("{\"layer\": 1}"), JSON},
		{"words", []byte("See the README for the weights."), Text},
		{"a sealed state", []byte("\xca\x3e\x00\x08\x05\x12\x01x"), SolverState},
		{"sealed weights", []byte("\xca\x3e\x00\x0a\x01x\xa2\x06\x00"), Weights},
		{"noise", []byte{0x0f, 1, 2, 3, 0}, Unknown},
	} {
		if got := Of(c.head); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestGolden looks at all files that Caffe wrote.
func TestGolden(t *testing.T) {
	want := map[string]Kind{".caffemodel": Weights, ".solverstate": SolverState, ".binaryproto": Blob, ".h5": HDF5, ".mdb": LMDBFile}
	seen := map[Kind]int{}
	err := filepath.WalkDir(golden, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		k, ok := want[filepath.Ext(path)]
		switch d.Name() {
		case "net.prototxt", "train_val.prototxt":
			k, ok = Net, true
		case "solver.prototxt":
			k, ok = Solver, true
		case "lock.mdb":
			return nil
		}
		if d.IsDir() && strings.HasSuffix(d.Name(), "_lmdb") {
			k, ok = LMDB, true
		}
		if !ok {
			return nil
		}
		seen[k]++
		if got := Sniff(path); got != k {
			t.Errorf("%s: %v, want %v", path, got, k)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range want {
		if seen[k] == 0 {
			t.Errorf("no file of kind %v", k)
		}
	}
	if seen[Net] < 300 || seen[Solver] < 10 || seen[LMDB] < 3 {
		t.Errorf("only %v were seen", seen)
	}
}

func TestInstead(t *testing.T) {
	for _, c := range []struct {
		got, want Kind
		text      string
	}{
		{Weights, Weights, ""},
		{Unknown, Weights, ""},
		{Empty, Net, "the file is empty"},
		{SolverState, Weights, "this is a solver's state (.solverstate), not a net with trained weights (.caffemodel): resume from it with --snapshot"},
		{LFSPointer, LMDB, "git lfs pull"},
		{Python, Weights, "this is a Python program, not a net with trained weights (.caffemodel)"},
	} {
		got := c.got.Instead(c.want)
		if !strings.Contains(got, c.text) || (c.text == "") != (got == "") {
			t.Errorf("%v in place of %v: %q", c.got, c.want, got)
		}
	}
}

func TestPaths(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("layer {}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(filepath.Join(dir, "x")); err != nil || string(b) != "layer {}" {
		t.Errorf("%q, %v", b, err)
	}
	t.Chdir(dir)
	for _, c := range []struct {
		path, want string
		is         error
	}{
		{dir, "it is a folder", ErrNotRegular},
		{os.DevNull, "it is a device", ErrNotRegular},
		{"data\train.txt", `"data\train.txt": no such file or directory (it holds a tab: in a prototxt a backslash`, fs.ErrNotExist},
		{"x\n", "a line end", fs.ErrNotExist},
		{"\ufeffx", `"\ufeffx"`, fs.ErrNotExist},
		{"\ufeffx", "a byte order mark", fs.ErrNotExist},
		{"a\u200bb", "cannot be seen", fs.ErrNotExist},
		{`data\x`, "write / between folders", fs.ErrNotExist},
		{"x ", "begins or ends with a blank", fs.ErrNotExist},
		{`"x"`, "a quotation mark", fs.ErrNotExist},
		{"~/x", "~ is not replaced", fs.ErrNotExist},
		{"$HOME/x", "variables are not replaced", fs.ErrNotExist},
		{"y", "relative paths begin at the folder crema was started in", fs.ErrNotExist},
		{"", `""`, fs.ErrNotExist},
	} {
		_, err := ReadFile(c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.is) {
			t.Errorf("%q: %v, want …%s…", c.path, err, c.want)
		}
	}
	if Odd("../data/ilsvrc12_train_lmdb") != "" || Odd("/data/My Pictures/é.jpg") != "" {
		t.Error("a usual path is odd")
	}
}
