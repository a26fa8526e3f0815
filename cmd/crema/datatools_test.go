package main

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crema/data"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// tool runs the program and returns its status and what it printed.
func tool(args ...string) (status int, output string) {
	var b bytes.Buffer
	status = run(args, stdio{strings.NewReader(""), &b, &b})
	return status, b.String()
}

// TestDataTools makes a database from files and a mean from the database.
func TestDataTools(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	m := image.NewGray(image.Rect(0, 0, 4, 2))
	for i := range m.Pix {
		m.Pix[i] = 100
	}
	f, err := os.Create(at("a.png"))
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, m); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("list"), []byte("a.png 5\nnone.png 6\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	status, out := tool("--gray", "convert_imageset", "-backend=leveldb", "--resize_width", "3", dir+"/", at("list"), at("db"), "-resize_height=5", "--shuffle", "--noencoded")
	if status != 0 {
		t.Fatalf("status %d: %s", status, out)
	}
	for _, want := range []string{"] A total of 2 images.", "] Processed 1 files.", "] Could not open or find file " + dir + "/none.png"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the log:\n%s", want, out)
		}
	}
	if status, out = tool("compute_image_mean", "--backend=leveldb", at("db"), at("mean.binaryproto")); status != 0 {
		t.Fatalf("status %d: %s", status, out)
	}
	if !strings.Contains(out, "] mean_value channel [0]: 100\n") {
		t.Errorf("no mean in the log:\n%s", out)
	}
	var mean caffepb.BlobProto
	if err := prototxt.ReadBinary(at("mean.binaryproto"), &mean); err != nil {
		t.Fatal(err)
	}
	if mean.GetNum() != 1 || mean.GetChannels() != 1 || mean.GetHeight() != 5 || mean.GetWidth() != 3 || len(mean.Data) != 15 || mean.Data[14] != 100 {
		t.Errorf("mean is %v", &mean)
	}
}

func TestConvertMNISTData(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	files := map[string]string{
		"images": "\x00\x00\x08\x03\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x03abcdef",
		"labels": "\x00\x00\x08\x01\x00\x00\x00\x02\x04\x09",
	}
	for name, text := range files {
		if err := os.WriteFile(at(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if status, out := tool("convert_mnist_data", at("images"), at("labels"), at("db")); status != 0 || !strings.Contains(out, "] Processed 2 files.") {
		t.Fatalf("status %d: %s", status, out)
	}
	db, err := data.OpenDB(at("db"), data.LMDB)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cur := db.Cursor()
	defer cur.Close()
	_, v, err := cur.Seek([]byte("00000001"))
	if err != nil {
		t.Fatal(err)
	}
	var im data.Image
	label, err := data.DecodeDatum(v, data.Native, &im)
	if err != nil || label != 9 || string(im.Pix) != "def" {
		t.Errorf("second record has label %d, pixels %q, %v", label, im.Pix, err)
	}
}

func TestDataToolsUsage(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"convert_imageset a b", 2, "ROOTFOLDER/ LISTFILE DB_NAME"},
		{"convert_imageset --backend=hdf5 a b c", 2, `unknown backend "hdf5"`},
		{"convert_imageset --resize_width=4 a b c", 2, "given together"},
		{"convert_imageset /nonexistent/ /nonexistent/list /nonexistent/db", 1, "/nonexistent/list"},
		{"convert_mnist_data a", 2, "IMAGES LABELS DB_NAME"},
		{"convert_mnist_data --backend x a b c", 2, `"x"`},
		{"compute_image_mean", 2, "INPUT_DB"},
		{"compute_image_mean /nonexistent/db", 1, "/nonexistent/db"},
		{"compute_image_mean --backend=x db", 2, `"x"`},
		{"convert_imageset --help", 0, "-resize_height"},
	} {
		t.Run(c.args, func(t *testing.T) {
			status, out := tool(strings.Fields(c.args)...)
			if status != c.status || !strings.Contains(out, c.want) {
				t.Errorf("status %d, want %d and %q: %s", status, c.status, c.want, out)
			}
		})
	}
}
