package data

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

// database writes records to an LMDB and returns its path.
func database(t *testing.T, records ...*caffepb.Datum) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	w, err := CreateDB(path, LMDB)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range records {
		b, err := proto.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Put([]byte{'0' + byte(i)}, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return path
}

// loadAll reads one batch of all records under a transform and returns the
// log and the error.
func loadAll(t *testing.T, path string, transform *caffepb.TransformationParameter, n int) (string, error) {
	t.Helper()
	log, lines := logged()
	db, err := OpenDB(path, LMDB)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := NewTransformer(transform, TransformOptions{})
	if err != nil {
		t.Fatal(err)
	}
	src, err := NewDBSource(path, db, tr.Mode(), log)
	if err != nil {
		return lines.String(), err
	}
	l, err := NewLoader(src, tr, LoaderOptions{BatchSize: n, Log: log})
	if err != nil {
		return lines.String(), err
	}
	defer l.Close()
	err = l.Next(tensor.New(), tensor.New())
	return lines.String(), err
}

func logged() (*slog.Logger, *strings.Builder) {
	var b strings.Builder
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

// TestShapeAdvice: what is wrong with the shapes of records is said with what
// to do, for each kind of mistake another thing.
func TestShapeAdvice(t *testing.T) {
	raw := func(c, h, w int) *caffepb.Datum { return rawDatum(c, h, w, 1, make([]byte, c*h*w)) }
	encoded := func(m image.Image) *caffepb.Datum {
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		return &caffepb.Datum{Data: b.Bytes(), Encoded: proto.Bool(true), Label: proto.Int32(1)}
	}
	grey, colour := encoded(image.NewGray(image.Rect(0, 0, 8, 8))), encoded(image.NewRGBA(image.Rect(0, 0, 8, 8)))
	with := func(d *caffepb.Datum, edit func(*caffepb.Datum)) *caffepb.Datum { edit(d); return d }
	mean := func(c, h, w int) *caffepb.TransformationParameter {
		path := filepath.Join(t.TempDir(), "mean.binaryproto")
		b, err := proto.Marshal(&caffepb.BlobProto{Num: proto.Int32(1), Channels: proto.Int32(int32(c)), Height: proto.Int32(int32(h)), Width: proto.Int32(int32(w)), Data: make([]float32, c*h*w)})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return &caffepb.TransformationParameter{MeanFile: &path}
	}
	for _, c := range []struct {
		name      string
		transform *caffepb.TransformationParameter
		records   []*caffepb.Datum
		want, not string
	}{
		{"grey and colour", nil, []*caffepb.Datum{raw(3, 8, 8), raw(1, 8, 8)}, "some pictures are grey and others in colour, or have transparency: make the database anew with crema convert_imageset", "sizes differ"},
		{"grey and colour, encoded", nil, []*caffepb.Datum{colour, grey}, "set force_color: true (or force_gray: true) in transform_param", ""},
		{"sizes", nil, []*caffepb.Datum{raw(3, 8, 8), raw(3, 8, 9)}, "sizes differ: make the database with crema convert_imageset --resize_height and --resize_width", "grey"},
		{"axes of one record", nil, []*caffepb.Datum{raw(3, 8, 9), raw(8, 9, 3)}, "it looks like height×width×channels", "--resize"},
		{"axes under a crop", &caffepb.TransformationParameter{CropSize: proto.Uint32(8)}, []*caffepb.Datum{raw(8, 9, 3)}, "picture of 9×3 pixels is smaller than crop_size 8: of 8×9×3 (channels×height×width), it looks like height×width×channels", ""},
		{"axes and mean_values", &caffepb.TransformationParameter{MeanValue: []float32{1, 2, 3}}, []*caffepb.Datum{raw(8, 9, 3)}, "3 mean_value for a picture of 8 channels: give one, or one for each channel; the picture is 8×9×3: it looks like height", ""},
		{"axes and mean", mean(3, 8, 9), []*caffepb.Datum{raw(8, 9, 3)}, "is 3×8×9; it looks like height×width×channels", ""},
		{"axes of the mean", mean(8, 9, 3), []*caffepb.Datum{raw(3, 8, 9)}, "the mean looks like height×width×channels", ""},
		{"mean in colour", mean(3, 8, 8), []*caffepb.Datum{raw(1, 8, 8)}, "the one is of grey pictures: set force_color: true", ""},
		{"mean of a crop", mean(3, 7, 7), []*caffepb.Datum{raw(3, 8, 8)}, "a mean_file is of whole records, before crop_size", ""},
		{"mean over sizes", mean(3, 8, 8), []*caffepb.Datum{raw(3, 8, 8), raw(3, 9, 9)}, "mean_value, the mean of each channel, fits every size", ""},
		{"no flag", nil, []*caffepb.Datum{with(raw(3, 8, 8), func(d *caffepb.Datum) { d.Data = colour.Data })}, "they are those of a picture file, so the record's encoded flag is missing (Datum.encoded)", ""},
		{"a flag too many", nil, []*caffepb.Datum{with(raw(3, 8, 8), func(d *caffepb.Datum) { d.Encoded = proto.Bool(true) })}, "the record is marked as encoded, and has as many bytes as 3×8×8 samples: write it without the flag", ""},
		{"floats as bytes", nil, []*caffepb.Datum{with(raw(3, 8, 8), func(d *caffepb.Datum) { d.Data = make([]byte, 4*3*8*8) })}, "they are 4 for each sample: numbers of floating point belong into float_data", ""},
		{"doubles as bytes", nil, []*caffepb.Datum{with(raw(3, 8, 8), func(d *caffepb.Datum) { d.Data = make([]byte, 8*3*8*8) })}, "they are 8 for each sample", ""},
		{"grey bytes", nil, []*caffepb.Datum{with(raw(3, 8, 8), func(d *caffepb.Datum) { d.Data = make([]byte, 64) })}, "as many as a grey picture has", ""},
		{"bytes in colour", nil, []*caffepb.Datum{with(raw(1, 8, 8), func(d *caffepb.Datum) { d.Data = make([]byte, 3*64) })}, "as many as a picture in colour has", ""},
	} {
		log, err := loadAll(t, database(t, c.records...), c.transform, len(c.records))
		if err == nil || !strings.Contains(err.Error(), c.want) || c.not != "" && strings.Contains(err.Error(), c.not) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want …%s…", c.name, err, c.want)
		}
		if strings.Contains(log, "looks like height") {
			t.Errorf("%s: warned of what is an error:\n%s", c.name, log)
		}
	}
	// All records in the other order are no error, so there is a warning.
	for shape, warns := range map[[3]int]bool{{8, 9, 3}: true, {8, 9, 1}: true, {3, 8, 9}: false, {1, 9, 3}: false, {4, 8, 4}: false} {
		log, err := loadAll(t, database(t, raw(shape[0], shape[1], shape[2])), nil, 1)
		if err != nil || strings.Contains(log, "looks like height×width×channels") != warns {
			t.Errorf("%v: %v, log\n%s", shape, err, log)
		}
	}
}

func TestMeanAdvice(t *testing.T) {
	raw := func(c, h, w int) *caffepb.Datum { return rawDatum(c, h, w, 1, make([]byte, c*h*w)) }
	for _, c := range []struct {
		name      string
		records   []*caffepb.Datum
		want, not string
	}{
		{"sizes", []*caffepb.Datum{raw(3, 8, 8), raw(3, 9, 8)}, "a mean needs pictures of one size; sizes differ: make the database with crema convert_imageset --resize_height and --resize_width; or use mean_value, the mean of each channel, which fits every size", "grey"},
		{"channels", []*caffepb.Datum{raw(3, 8, 8), raw(1, 8, 8)}, "some pictures are grey and others in colour", "sizes differ"},
	} {
		_, err := ComputeMean(context.Background(), database(t, c.records...), LMDB, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), c.not) {
			t.Errorf("%s: %v, want …%s…", c.name, err, c.want)
		}
	}
}

// TestOtherFiles: files that are no database, no list and no MNIST file are
// named for what they are.
func TestOtherFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	jpeg := file("a.jpg", "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01")
	list := file("list.txt", "a.jpg 1\nb.jpg 2\n")
	labels := file("labels", "\x00\x00\x08\x01\x00\x00\x00\x01\x07")
	net := file("net.prototxt", "layer {\n  name: \"a\"\n}\n")
	hdf5 := file("x.h5", "\x89HDF\r\n\x1a\n\x00")
	for path, want := range map[string]string{
		jpeg:            "this is a picture, not an LMDB database: pictures that are files are read by a layer of type ImageData",
		list:            "this is a list of files and labels, not an LMDB database: a list is read by a layer of type ImageData",
		labels:          "this is a file of labels as MNIST's (idx), not an LMDB database: crema convert_mnist_data makes a database from it",
		hdf5:            "it is read by a layer of type HDF5Data",
		dir:             "this is a folder, not an LMDB database: the folder of a database holds a file data.mdb",
		os.DevNull:      "this is a device, not an LMDB database",
		dir + "/none\t": `none\t": no such file or directory (it holds a tab`,
		dir + `\db`:     "write / between folders",
		"train_lmdb":    "relative paths begin at the folder crema was started in",
	} {
		if _, err := OpenDB(path, LMDB); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("as LMDB: %v, want …%s…", err, want)
		}
	}
	for path, want := range map[string]string{
		jpeg:       "this is a picture, not a list of files and labels",
		net:        "this is a net (prototxt), not a list of files and labels",
		dir:        "it is a folder",
		os.DevNull: "it is a device",
		hdf5:       "this is an HDF5 file, not a list",
	} {
		if _, err := ReadList(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("as a list: %v, want …%s…", err, want)
		}
	}
	db := filepath.Join(dir, "db")
	for _, c := range []struct{ images, labels, want string }{
		{labels, labels, "this is a file of labels as MNIST's (idx), not a file of images as MNIST's (idx): the two files are swapped"},
		{jpeg, labels, "this is a picture, not a file of images"},
	} {
		if _, err := ConvertMNIST(context.Background(), c.images, c.labels, db, LMDB, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("as MNIST: %v, want …%s…", err, c.want)
		}
	}
}

func TestWarnBare(t *testing.T) {
	files, err := readList(strings.NewReader("a 1\nb\n\nc,2\n"))
	if err != nil {
		t.Fatal(err)
	}
	log, lines := logged()
	WarnBare("list.txt", files, log)
	if got := lines.String(); !strings.Contains(got, `list.txt:2: \"b\" has no label`) || !strings.Contains(got, "(2 of 3 lines are so)") || strings.Count(got, "\n") != 1 {
		t.Error(got)
	}
	lines.Reset()
	WarnBare("list.txt", files[:1], log)
	if lines.Len() > 0 {
		t.Error(lines)
	}
}
