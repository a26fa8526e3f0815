package data

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// dump returns the keys and records of a database in order.
func dump(t *testing.T, path string, backend Backend) (keys []string, recs []*caffepb.Datum) {
	t.Helper()
	db, err := OpenDB(path, backend)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cur := db.Cursor()
	defer cur.Close()
	k, v, err := cur.First()
	for ; err == nil; k, v, err = cur.Next() {
		d := new(caffepb.Datum)
		if err := proto.Unmarshal(v, d); err != nil {
			t.Fatal(err)
		}
		keys, recs = append(keys, string(k)), append(recs, d)
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	return keys, recs
}

// pictures writes colour and grey files of one and of another size, one that
// is broken and one that is missing, and returns folder and list.
func pictures(t *testing.T) (dir, list string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	rgb := image.NewRGBA(image.Rect(0, 0, 6, 4))
	for i := range 24 {
		rgb.SetRGBA(i%6, i/6, color.RGBA{uint8(10 * i), uint8(5 * i), uint8(i), 255})
	}
	gray := image.NewGray(image.Rect(0, 0, 6, 4))
	for i := range gray.Pix {
		gray.Pix[i] = uint8(9 * i)
	}
	for _, f := range []struct {
		name string
		enc  func(w io.Writer) error
	}{
		{"sub/colour.png", func(w io.Writer) error { return png.Encode(w, rgb) }},
		{"grey file.png", func(w io.Writer) error { return png.Encode(w, gray) }},
		{"photo.jpeg", func(w io.Writer) error { return jpeg.Encode(w, rgb, nil) }},
		{"broken.jpg", func(w io.Writer) error { _, err := io.WriteString(w, "not a picture"); return err }},
	} {
		var b bytes.Buffer
		if err := f.enc(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.name), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	list = filepath.Join(dir, "list.txt")
	text := "sub/colour.png 3\ngrey file.png 1\nbroken.jpg 9\nmissing.png 8\nphoto.jpeg -2\r\n"
	if err := os.WriteFile(list, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, list
}

func TestConvertImages(t *testing.T) {
	dir, list := pictures(t)
	file := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// What a record must hold: bytes decoded from the file, or the file.
	decoded := func(name string, mode ColorMode) *Image {
		im := new(Image)
		if err := DecodeImage(file(name), mode, im); err != nil {
			t.Fatal(err)
		}
		return im
	}
	resized := func(name string) *Image {
		im := new(Image)
		Resize(im, decoded(name, Color), 5, 3)
		return im
	}
	names := []string{"sub/colour.png", "grey file.png", "photo.jpeg"}
	for _, c := range []struct {
		name string
		o    ConvertOptions
		want func(t *testing.T, i int, d *caffepb.Datum)
	}{
		{"plain", ConvertOptions{Backend: LMDB}, func(t *testing.T, i int, d *caffepb.Datum) {
			if !bytes.Equal(d.Data, decoded(names[i], Color).Pix) || d.GetChannels() != 3 || d.GetHeight() != 4 || d.GetWidth() != 6 || d.GetEncoded() {
				t.Errorf("record %d is wrong: %v", i, d)
			}
		}},
		{"leveldb and checked sizes", ConvertOptions{Backend: LevelDB, CheckSize: true}, func(t *testing.T, i int, d *caffepb.Datum) {
			if !bytes.Equal(d.Data, decoded(names[i], Color).Pix) {
				t.Errorf("record %d is wrong: %v", i, d)
			}
		}},
		{"grey", ConvertOptions{Backend: LMDB, Gray: true}, func(t *testing.T, i int, d *caffepb.Datum) {
			if !bytes.Equal(d.Data, decoded(names[i], Gray).Pix) || d.GetChannels() != 1 {
				t.Errorf("record %d is wrong: %v", i, d)
			}
		}},
		{"resized", ConvertOptions{Backend: LMDB, ResizeHeight: 5, ResizeWidth: 3}, func(t *testing.T, i int, d *caffepb.Datum) {
			if !bytes.Equal(d.Data, resized(names[i]).Pix) || d.GetHeight() != 5 || d.GetWidth() != 3 {
				t.Errorf("record %d is wrong: %v", i, d)
			}
		}},
		{"encoded as they are", ConvertOptions{Backend: LMDB, Encoded: true}, func(t *testing.T, i int, d *caffepb.Datum) {
			if !bytes.Equal(d.Data, file(names[i])) || !d.GetEncoded() {
				t.Errorf("record %d is not the file", i)
			}
		}},
		{"encoded as png", ConvertOptions{Backend: LMDB, EncodeType: "PNG"}, func(t *testing.T, i int, d *caffepb.Datum) {
			if isFile := bytes.Equal(d.Data, file(names[i])); isFile != (i < 2) {
				t.Errorf("record %d is the file: %v", i, isFile)
			}
			var im Image
			if err := DecodeImage(d.Data, Color, &im); err != nil || !bytes.Equal(im.Pix, decoded(names[i], Color).Pix) {
				t.Errorf("record %d does not decode to the picture: %v", i, err)
			}
		}},
		{"encoded as bmp", ConvertOptions{Backend: LMDB, EncodeType: "bmp"}, func(t *testing.T, i int, d *caffepb.Datum) {
			var im Image
			if err := DecodeImage(d.Data, Color, &im); err != nil || !bytes.HasPrefix(d.Data, bmpMagic) || !bytes.Equal(im.Pix, decoded(names[i], Color).Pix) {
				t.Errorf("record %d is no BMP file of the picture: %v", i, err)
			}
		}},
		{"encoded as jpg", ConvertOptions{Backend: LMDB, EncodeType: "jpg"}, func(t *testing.T, i int, d *caffepb.Datum) {
			if isFile := bytes.Equal(d.Data, file(names[i])); isFile != (i == 2) {
				t.Errorf("record %d is the file: %v", i, isFile)
			}
			if !bytes.HasPrefix(d.Data, jpegMagic) {
				t.Errorf("record %d is no JPEG file", i)
			}
		}},
		{"encoded grey", ConvertOptions{Backend: LMDB, Encoded: true, Gray: true}, func(t *testing.T, i int, d *caffepb.Datum) {
			// Only the grey file may be stored as it is.
			if isFile := bytes.Equal(d.Data, file(names[i])); isFile != (i == 1) {
				t.Errorf("record %d is the file: %v", i, isFile)
			}
			var im Image
			if err := DecodeImage(d.Data, Native, &im); err != nil || im.C != 1 {
				t.Errorf("record %d has %d channels, %v", i, im.C, err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			var log bytes.Buffer
			c.o.Log = slog.New(slog.NewTextHandler(&log, nil))
			// The folder without a slash: Caffe would look for "…dirsub/…".
			res, err := ConvertImages(context.Background(), dir, list, path, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if res != (ConvertResult{Stored: 3, Skipped: 2}) {
				t.Errorf("result %+v", res)
			}
			keys, recs := dump(t, path, c.o.Backend)
			if want := []string{"00000000_sub/colour.png", "00000001_grey file.png", "00000004_photo.jpeg"}; !slices.Equal(keys, want) {
				t.Fatalf("keys %q, want %q", keys, want)
			}
			for i, d := range recs {
				if want := []int32{3, 1, -2}[i]; d.GetLabel() != want {
					t.Errorf("label %d, want %d", d.GetLabel(), want)
				}
				c.want(t, i, d)
			}
			for _, want := range []string{"A total of 5 images.", "Could not open or find file " + dir + "/broken.jpg", "missing.png", "Processed 3 files.", "Skipped 2 files"} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("no %q in the log", want)
				}
			}
		})
	}
}

func TestConvertShuffle(t *testing.T) {
	dir := t.TempDir()
	var text strings.Builder
	for i := range 20 {
		name := fmt.Sprintf("%02d.png", i)
		var b bytes.Buffer
		if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s %d\n", name, i)
	}
	list := filepath.Join(dir, "list.txt")
	if err := os.WriteFile(list, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	labels := func(name string, seed uint64) []int32 {
		path := filepath.Join(dir, name)
		if _, err := ConvertImages(context.Background(), dir+"/", list, path, ConvertOptions{Backend: LMDB, Shuffle: true, Seed: seed}); err != nil {
			t.Fatal(err)
		}
		keys, recs := dump(t, path, LMDB)
		var l []int32
		for i, d := range recs {
			l = append(l, d.GetLabel())
			if want := fmt.Sprintf("%08d_%02d.png", i, d.GetLabel()); keys[i] != want {
				t.Errorf("key %q, want %q", keys[i], want)
			}
		}
		return l
	}
	a, again, b := labels("a", 1), labels("b", 1), labels("c", 2)
	if !slices.Equal(a, again) {
		t.Error("one seed gives two orders")
	}
	if slices.Equal(a, b) || slices.IsSorted(a) {
		t.Error("the order does not depend on the seed")
	}
	slices.Sort(a)
	if len(slices.Compact(a)) != 20 {
		t.Error("files are lost or doubled")
	}
}

func TestConvertErrors(t *testing.T) {
	dir, list := pictures(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	small := filepath.Join(dir, "small.png")
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(small, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		list string
		o    ConvertOptions
		want string
	}{
		{"no list", nil, filepath.Join(dir, "none"), ConvertOptions{}, "none"},
		{"bad label", nil, write("bad.txt", "a 1\nb c\n"), ConvertOptions{}, `bad.txt:2: label "c"`},
		{"label out of range", nil, write("big.txt", "a 2147483648\n"), ConvertOptions{}, "2147483648"},
		{"nothing readable", nil, write("gone.txt", "x.png 1\ny.png 2\n"), ConvertOptions{}, "no image could be read, of 2"},
		{"sizes differ", nil, write("sizes.txt", "photo.jpeg 1\nsmall.png 2\n"), ConvertOptions{CheckSize: true}, `small.png": picture of 12 values, the first one has 72: --resize_height`},
		{"unknown type", nil, list, ConvertOptions{EncodeType: "webp"}, `"webp"`},
		{"cancelled", cancelled, list, ConvertOptions{}, context.Canceled.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Backend = LMDB
			out := t.TempDir()
			if c.ctx == nil {
				c.ctx = context.Background()
			}
			_, err := ConvertImages(c.ctx, dir, c.list, filepath.Join(out, "db"), c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if left, _ := os.ReadDir(out); len(left) > 0 {
				t.Errorf("%s is left behind", left[0].Name())
			}
		})
	}
}

// TestCreateDB: nothing is visible before Commit, nothing is left after Abort,
// nothing is overwritten.
func TestCreateDB(t *testing.T) {
	for _, backend := range []Backend{LMDB, LevelDB} {
		t.Run(backend.String(), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "db")
			w, err := CreateDB(path, backend)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Put([]byte("b"), []byte("1")); err != nil {
				t.Fatal(err)
			}
			if err := w.Put([]byte("a"), []byte("2")); err == nil {
				t.Error("descending keys are accepted")
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Error("visible before Commit")
			}
			if err := w.Abort(); err != nil {
				t.Fatal(err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s is left after Abort", left[0].Name())
			}
			if w, err = CreateDB(path, backend); err != nil {
				t.Fatal(err)
			}
			if err := w.Put([]byte("k"), bytes.Repeat([]byte("v"), 40<<20)); err != nil { // more than levelBatch
				t.Fatal(err)
			}
			if err := w.Put([]byte("l"), nil); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := w.Abort(); err != nil {
				t.Fatal(err)
			}
			if _, err := CreateDB(path, backend); err == nil || !strings.Contains(err.Error(), "exists") {
				t.Errorf("error %v over an existing database", err)
			}
			db, err := OpenDB(path, backend)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			cur := db.Cursor()
			defer cur.Close()
			if k, v, err := cur.First(); err != nil || string(k) != "k" || len(v) != 40<<20 {
				t.Errorf("first record %q of %d bytes, %v", k, len(v), err)
			}
			if k, v, err := cur.Next(); err != nil || string(k) != "l" || len(v) != 0 {
				t.Errorf("second record %q of %d bytes, %v", k, len(v), err)
			}
			if _, _, err := cur.Next(); err != io.EOF {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

func TestOpenDBErrors(t *testing.T) {
	l, m := makeDB(t, LevelDB, 1, numbered(t)), makeDB(t, LMDB, 1, numbered(t))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path    string
		backend Backend
		want    string
	}{
		{m, LevelDB, "this is an LMDB database, not a LevelDB database: the backend is LEVELDB (Caffe's default): set backend to LMDB"},
		{l, LMDB, "this is a LevelDB database, not an LMDB database: set backend to LEVELDB"},
		{file, LevelDB, "this is a text file, not a LevelDB database"},
		{file, LMDB, file},
		{t.TempDir(), LevelDB, "CURRENT"},
		{file + "x", LMDB, "no such file"},
	} {
		if _, err := OpenDB(c.path, c.backend); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s as %v: error %v, want one with %q", c.path, c.backend, err, c.want)
		}
	}
	if _, err := ParseBackend("hdf5"); err == nil {
		t.Error("backend hdf5 is accepted")
	}
	if b, err := ParseBackend("lmdb"); err != nil || b != LMDB {
		t.Errorf("lmdb: %v, %v", b, err)
	}
}

// idx returns an idx file with the given dimensions and bytes.
func idx(magic uint32, dims []uint32, pix []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, pix...)
}

func TestConvertMNIST(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	zip := func(b []byte) []byte {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(b)
		w.Close()
		return z.Bytes()
	}
	im := idx(idxImages, []uint32{3, 2, 2}, []byte("abcdefghijkl"))
	lb := idx(idxLabels, []uint32{3}, []byte{7, 0, 255})
	images, labels := write("im", im), write("lb", lb)
	for i, c := range []struct {
		images, labels string
		backend        Backend
	}{{images, labels, LMDB}, {write("im.gz", zip(im)), write("lb.gz", zip(lb)), LevelDB}} {
		db := filepath.Join(dir, fmt.Sprint("db", i))
		n, err := ConvertMNIST(context.Background(), c.images, c.labels, db, c.backend, nil)
		if err != nil || n != 3 {
			t.Fatalf("%d records, %v", n, err)
		}
		keys, recs := dump(t, db, c.backend)
		if !slices.Equal(keys, []string{"00000000", "00000001", "00000002"}) {
			t.Errorf("keys %q", keys)
		}
		for i, d := range recs {
			want := rawDatum(1, 2, 2, []int32{7, 0, 255}[i], []byte("abcdefghijkl")[4*i:4*i+4])
			if !proto.Equal(d, want) {
				t.Errorf("record %d: %v, want %v", i, d, want)
			}
		}
	}
	for _, c := range []struct{ name, images, labels, want string }{
		{"missing", filepath.Join(dir, "none"), labels, "none"},
		{"exchanged", labels, images, "the two files are swapped: give the images first"},
		{"counts differ", images, write("lb2", idx(idxLabels, []uint32{2}, []byte{1, 2})), "3 pictures"},
		{"pictures cut off", write("im2", im[:len(im)-1]), labels, "picture 2"},
		{"labels cut off", images, write("lb3", lb[:len(lb)-1]), "label 2"},
		{"header cut off", write("im3", im[:9]), labels, "header"},
		{"no pixels", write("im4", idx(idxImages, []uint32{3, 0, 2}, nil)), labels, "0×2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := filepath.Join(t.TempDir(), "db")
			_, err := ConvertMNIST(context.Background(), c.images, c.labels, db, LMDB, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if left, _ := os.ReadDir(filepath.Dir(db)); len(left) > 0 {
				t.Errorf("%s is left behind", left[0].Name())
			}
		})
	}
}

// TestComputeMeanGolden compares with the file Caffe's tool wrote.
func TestComputeMeanGolden(t *testing.T) {
	const runs = "../testdata/golden/runs/"
	got, err := ComputeMean(context.Background(), runs+"photos_raw_lmdb", LMDB, nil)
	if err != nil {
		t.Fatal(err)
	}
	var want caffepb.BlobProto
	if err := prototxt.ReadBinary(runs+"photos_mean.binaryproto", &want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, &want) {
		t.Error("mean differs from Caffe's")
	}
	// The same pictures as PNG files: the same mean.
	if got, err = ComputeMean(context.Background(), runs+"photos_png_lmdb", LMDB, nil); err != nil || !proto.Equal(got, &want) {
		t.Errorf("mean of encoded records differs from Caffe's, %v", err)
	}
}

func TestComputeMean(t *testing.T) {
	floats := func(i int, v ...float32) []byte {
		d := rawDatum(2, 1, 1, 0, nil)
		d.FloatData = v
		return marshal(t, d)
	}
	path := makeDB(t, LMDB, 4, func(i int) []byte {
		switch i {
		case 1:
			return marshal(t, rawDatum(2, 1, 1, 0, []byte{255, 3}))
		case 2:
			return marshal(t, rawDatum(2, 1, 1, 0, []byte{254, 4}))
		}
		return floats(i, 0.5, -7)
	})
	var log bytes.Buffer
	m, err := ComputeMean(context.Background(), path, LMDB, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if want := []float32{127.5, -1.75}; !slices.Equal(m.Data, want) || !slices.Equal(ChannelMeans(m), want) {
		t.Errorf("mean %v, channels %v, want %v", m.Data, ChannelMeans(m), want)
	}
	for _, want := range []string{"Starting iteration", "Processed 4 files.", "Number of channels: 2", "mean_value channel [0]: 127.5", "mean_value channel [1]: -1.75"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log", want)
		}
	}
	for _, c := range []struct {
		name string
		n    int
		rec  func(i int) []byte
		want string
	}{
		{"empty", 0, numbered(t), "no records"},
		{"another size", 30, func(i int) []byte {
			if i == 20 {
				return floats(i, 1, 2)
			}
			return numbered(t)(i)
		}, `record "00000020": picture is 2×1×1`},
		{"bad record", 30, func(i int) []byte {
			if i == 11 || i == 25 {
				return marshal(t, rawDatum(1, 6, 5, 0, []byte("short")))
			}
			return numbered(t)(i)
		}, `record "00000011"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := makeDB(t, LMDB, c.n, c.rec)
			_, err := ComputeMean(context.Background(), path, LMDB, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one with %q and the path", err, c.want)
			}
		})
	}
}
