package layers

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/data"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

const goldenRuns = "../testdata/golden/runs"

// A dataLayer is what Data and ImageData implement.
type dataLayer interface {
	Stateful
	Waiter
	io.Closer
}

var (
	_ dataLayer = (*Data)(nil)
	_ dataLayer = (*ImageData)(nil)
)

// logBuffer returns a logger that writes bare messages to a buffer.
func logBuffer() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

// openData sets up a data layer from the text of a LayerParameter; relative
// paths are below root.
func openData(t *testing.T, text string, phase caffepb.Phase, seed uint64, root string) (dataLayer, []*tensor.Blob, *bytes.Buffer, error) {
	t.Helper()
	var p caffepb.LayerParameter
	if err := prototxt.UnmarshalText("test", []byte(text), &p); err != nil {
		t.Fatal(err)
	}
	log, buf := logBuffer()
	ctx := &Context{Phase: phase, Seed: seed, Log: log, ResolvePath: func(s string) string { return filepath.Join(root, s) }}
	typ, err := Lookup(p.GetType())
	if err != nil {
		t.Fatal(err)
	}
	l, err := typ.New(&p, ctx)
	if err != nil {
		return nil, nil, buf, err
	}
	top := make([]*tensor.Blob, len(p.GetTop()))
	for i := range top {
		top[i] = tensor.New(0)
	}
	d := l.(dataLayer)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.Setup(nil, top); err != nil {
		return nil, nil, buf, err
	}
	return d, top, buf, l.Reshape(nil, top)
}

func mustOpenData(t *testing.T, text string, phase caffepb.Phase, seed uint64, root string) (dataLayer, []*tensor.Blob) {
	t.Helper()
	l, top, _, err := openData(t, text, phase, seed, root)
	if err != nil {
		t.Fatal(err)
	}
	return l, top
}

// forwards runs n batches and returns copies of all of them, data and labels.
func forwards(t *testing.T, l Layer, top []*tensor.Blob, n int) [][]float32 {
	t.Helper()
	var out [][]float32
	for range n {
		if err := l.Forward(nil, top); err != nil {
			t.Fatal(err)
		}
		var b []float32
		for _, x := range top {
			b = append(b, x.Data()...)
		}
		out = append(out, b)
	}
	return out
}

// TestDataGolden compares batches with those of Caffe: crops, means, scales,
// raw, PNG and JPEG records, and going round at the end.
func TestDataGolden(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(goldenRuns, "data", "*"))
	if err != nil || len(dirs) != 7 {
		t.Fatalf("%d golden cases, %v; want 7", len(dirs), err)
	}
	for _, dir := range dirs {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			net, err := prototxt.ReadNet(filepath.Join(dir, "net.prototxt"))
			if err != nil {
				t.Fatal(err)
			}
			l, top := mustOpenData(t, string(prototxt.MarshalText(net.Layer[0])), caffepb.Phase_TEST, 1, goldenRuns)
			tol := 1e-6
			compared := 0
			for i := range 10 {
				if err := l.Forward(nil, top); err != nil {
					t.Fatal(err)
				}
				for k, blob := range []string{"data", "label"} {
					var want caffepb.BlobProto
					path := filepath.Join(dir, fmt.Sprintf("batch_%d_%s.binaryproto", i, blob))
					if _, err := os.Stat(path); err != nil {
						continue
					}
					if err := prototxt.ReadBinary(path, &want); err != nil {
						t.Fatal(err)
					}
					got := top[k].Data()
					if len(got) != len(want.Data) {
						t.Fatalf("batch %d: %d %s values, want %d", i, len(got), blob, len(want.Data))
					}
					compared++
					var worst float64
					for j, w := range want.Data {
						worst = max(worst, math.Abs(float64(got[j]-w)))
					}
					if !(worst <= tol) {
						t.Errorf("batch %d: %s off by %g, allowed %g", i, blob, worst, tol)
					}
				}
			}
			if compared < 4 {
				t.Errorf("only %d blobs compared", compared)
			}
		})
	}
}

const photosData = `name: "data" type: "Data" top: "data" top: "label"
	transform_param { crop_size: 24 mirror: true mean_file: "photos_mean.binaryproto" }
	data_param { source: "photos_png_lmdb" batch_size: 7 backend: LMDB prefetch: %d }`

// TestDataResume stops after every batch and goes on in a new layer: all
// values must be the ones of the run that was not stopped.
func TestDataResume(t *testing.T) {
	text := fmt.Sprintf(photosData, 3)
	const n = 20
	l, top := mustOpenData(t, text, caffepb.Phase_TRAIN, 9, goldenRuns)
	want := forwards(t, l, top, n)
	var cursor *caffepb.LayerCursor
	for i := range n {
		l, top := mustOpenData(t, text, caffepb.Phase_TRAIN, 9, goldenRuns)
		if cursor != nil {
			// Through its wire form, as a snapshot holds it.
			b, err := proto.Marshal(cursor)
			if err != nil {
				t.Fatal(err)
			}
			var c caffepb.LayerCursor
			if err := proto.Unmarshal(b, &c); err != nil {
				t.Fatal(err)
			}
			if err := l.SetCursor(&c); err != nil {
				t.Fatal(err)
			}
		}
		if got := forwards(t, l, top, 1)[0]; !slices.Equal(got, want[i]) {
			t.Fatalf("batch %d differs after a resume", i)
		}
		cursor = l.Cursor()
		if cursor.GetName() != "data" || cursor.GetForwards() != uint64(i+1) || cursor.GetRecords() != uint64(7*(i+1)) {
			t.Fatalf("cursor after batch %d: %v", i, cursor)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDataDeterminism(t *testing.T) {
	run := func(phase caffepb.Phase, seed uint64, prefetch int) [][]float32 {
		l, top := mustOpenData(t, fmt.Sprintf(photosData, prefetch), phase, seed, goldenRuns)
		return forwards(t, l, top, 12)
	}
	same := func(a, b [][]float32) bool {
		return slices.EqualFunc(a, b, func(x, y []float32) bool { return slices.Equal(x, y) })
	}
	a := run(caffepb.Phase_TRAIN, 1, 1)
	if !same(a, run(caffepb.Phase_TRAIN, 1, 8)) {
		t.Error("batches depend on prefetch")
	}
	if same(a, run(caffepb.Phase_TRAIN, 2, 4)) {
		t.Error("batches do not depend on the seed")
	}
	if same(a, run(caffepb.Phase_TEST, 1, 4)) {
		t.Error("batches do not depend on the phase")
	}
}

func TestDataLog(t *testing.T) {
	l, top, log, err := openData(t, fmt.Sprintf(photosData, 4), caffepb.Phase_TEST, 1, goldenRuns)
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{7, 3, 24, 24}; !slices.Equal(top[0].Shape(), want) || !slices.Equal(top[1].Shape(), want[:1]) {
		t.Errorf("tops are %v and %v after Setup", top[0].Shape(), top[1].Shape())
	}
	for _, want := range []string{"Opened lmdb ", "Loading mean file from: ", "output data size: 7,3,24,24"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no line %q in the log:\n%s", want, log)
		}
	}
	const restart = "Restarting data prefetching from start."
	forwards(t, l, top, 8) // 56 of 60 records
	if strings.Contains(log.String(), restart) {
		t.Error("restart logged before the batch that reaches the end")
	}
	forwards(t, l, top, 1)
	if n := strings.Count(log.String(), restart); n != 1 {
		t.Errorf("restart logged %d times, want once", n)
	}
	if l.Waited() < 0 {
		t.Error("negative waiting time")
	}
}

func TestDataErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no batch size", `type: "Data" top: "d" data_param { source: "photos_raw_lmdb" backend: LMDB }`, "batch_size"},
		{"no source", `type: "Data" top: "d" data_param { batch_size: 1 backend: LMDB }`, "source"},
		{"no prefetch", `type: "Data" top: "d" data_param { source: "photos_raw_lmdb" batch_size: 1 backend: LMDB prefetch: 0 }`, "prefetch"},
		{"missing", `type: "Data" top: "d" data_param { source: "nowhere" batch_size: 1 backend: LMDB }`, "nowhere"},
		{"default backend", `type: "Data" top: "d" data_param { source: "photos_raw_lmdb" batch_size: 1 }`, "set backend to LMDB"},
		{"crop too large", `type: "Data" top: "d" transform_param { crop_size: 41 } data_param { source: "photos_raw_lmdb" batch_size: 1 backend: LMDB }`, "crop_size 41"},
		{"mean of another size", `type: "Data" top: "d" transform_param { mean_file: "photos_mean.binaryproto" } data_param { source: "digits_test_lmdb" batch_size: 1 backend: LMDB }`, `1×28×28 (channels×height×width) but mean_file "../testdata/golden/runs/photos_mean.binaryproto" is 3×40×48; a mean_file is of whole records`},
		{"two mean values", `type: "Data" top: "d" transform_param { mean_value: 1 mean_value: 2 } data_param { source: "photos_raw_lmdb" batch_size: 1 backend: LMDB }`, "2 mean_value"},
		{"mean file and value", `type: "Data" top: "d" transform_param { mean_value: 1 mean_file: "photos_mean.binaryproto" } data_param { source: "photos_raw_lmdb" batch_size: 1 backend: LMDB }`, "mean_file and mean_value"},
		{"no mean file", `type: "Data" top: "d" transform_param { mean_file: "none.binaryproto" } data_param { source: "photos_raw_lmdb" batch_size: 1 backend: LMDB }`, "none.binaryproto"},
		{"color and gray", `type: "Data" top: "d" transform_param { force_color: true force_gray: true } data_param { source: "photos_raw_lmdb" batch_size: 1 backend: LMDB }`, "force_color and force_gray"},
		{"one of two sizes", `type: "ImageData" top: "d" top: "l" image_data_param { source: "x" new_width: 3 }`, "new_height and new_width"},
		{"no list", `type: "ImageData" top: "d" top: "l" image_data_param { source: "nolist.txt" }`, "nolist.txt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, err := openData(t, c.text, caffepb.Phase_TRAIN, 1, goldenRuns)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestDataForceColor: force_encoded_color of data_param acts like force_color.
func TestDataForceColor(t *testing.T) {
	dir := t.TempDir()
	writePNG(t, filepath.Join(dir, "g.png"), 4, 4, 77)
	b, err := os.ReadFile(filepath.Join(dir, "g.png"))
	if err != nil {
		t.Fatal(err)
	}
	writeDB(t, filepath.Join(dir, "db"), []*caffepb.Datum{{Data: b, Encoded: proto.Bool(true), Label: proto.Int32(3)}})
	for _, c := range []struct {
		params string
		want   int
	}{{"", 1}, {"force_encoded_color: true", 3}} {
		l, top := mustOpenData(t, `type: "Data" top: "d" data_param { source: "db" backend: LMDB batch_size: 1 `+c.params+` }`, caffepb.Phase_TEST, 1, dir)
		forwards(t, l, top, 1)
		if got := top[0].Dim(1); got != c.want {
			t.Errorf("%q: %d channels, want %d", c.params, got, c.want)
		}
	}
}

// TestDataShapes: each batch has the shape of its first record.
func TestDataShapes(t *testing.T) {
	dir := t.TempDir()
	datum := func(h, w int) *caffepb.Datum {
		return &caffepb.Datum{Channels: proto.Int32(1), Height: proto.Int32(int32(h)), Width: proto.Int32(int32(w)), Data: make([]byte, h*w)}
	}
	writeDB(t, filepath.Join(dir, "db"), []*caffepb.Datum{datum(2, 3), datum(5, 4)})
	l, top := mustOpenData(t, `type: "Data" top: "d" data_param { source: "db" backend: LMDB batch_size: 1 }`, caffepb.Phase_TEST, 1, dir)
	for _, want := range [][]int{{1, 1, 2, 3}, {1, 1, 5, 4}, {1, 1, 2, 3}} {
		forwards(t, l, top, 1)
		if !slices.Equal(top[0].Shape(), want) {
			t.Errorf("batch of shape %v, want %v", top[0].Shape(), want)
		}
	}
	l, top = mustOpenData(t, `type: "Data" top: "d" data_param { source: "db" backend: LMDB batch_size: 2 }`, caffepb.Phase_TEST, 1, dir)
	if err := l.Forward(nil, top); err == nil || !strings.Contains(err.Error(), `record "00000001"`) {
		t.Errorf("batch of two sizes: error %v, want one that names the second record", err)
	}
}

func writeDB(t *testing.T, path string, recs []*caffepb.Datum) {
	t.Helper()
	w, err := data.CreateDB(path, data.LMDB)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range recs {
		b, err := proto.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Put(fmt.Appendf(nil, "%08d", i), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

// writePNG writes a grey picture of one value.
func writePNG(t *testing.T, path string, h, w int, v uint8) {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = v
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, m); err != nil {
		t.Fatal(err)
	}
}

// imageList makes n files of value 10·i and a list of them with label i.
func imageList(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	var list strings.Builder
	for i := range n {
		name := fmt.Sprintf("a picture %d.png", i)
		writePNG(t, filepath.Join(dir, name), 6, 8, uint8(10*i))
		fmt.Fprintf(&list, "%s %d\n", name, i)
	}
	if err := os.WriteFile(filepath.Join(dir, "list.txt"), []byte(list.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestImageData is computed by hand: value = (10·i − 3)·0.5 where i is the
// label.
func TestImageData(t *testing.T) {
	dir := imageList(t, 5)
	l, top := mustOpenData(t, `name: "data" type: "ImageData" top: "data" top: "label"
		transform_param { mean_value: 3 scale: 0.5 crop_size: 4 }
		image_data_param { source: "list.txt" batch_size: 3 }`, caffepb.Phase_TEST, 1, dir)
	if want := []int{3, 3, 4, 4}; !slices.Equal(top[0].Shape(), want) {
		t.Fatalf("shape %v, want %v", top[0].Shape(), want)
	}
	next := 0
	for range 4 {
		forwards(t, l, top, 1)
		for i, label := range top[1].Data() {
			if label != float32(next) {
				t.Fatalf("label %g, want %d", label, next)
			}
			want := float32(10*next-3) * 0.5
			for _, v := range top[0].Data()[i*48 : (i+1)*48] {
				if v != want {
					t.Fatalf("value %g of picture %d, want %g", v, next, want)
				}
			}
			next = (next + 1) % 5
		}
	}
}

func TestImageDataOptions(t *testing.T) {
	dir := imageList(t, 7)
	t.Run("grey and resized", func(t *testing.T) {
		l, top := mustOpenData(t, `type: "ImageData" top: "data" top: "label"
			image_data_param { source: "list.txt" is_color: false new_height: 9 new_width: 5 batch_size: 2 }`, caffepb.Phase_TEST, 1, dir)
		forwards(t, l, top, 1)
		if want := []int{2, 1, 9, 5}; !slices.Equal(top[0].Shape(), want) {
			t.Fatalf("shape %v, want %v", top[0].Shape(), want)
		}
		if v := top[0].Data()[45+7]; v != 10 {
			t.Errorf("value %g, want 10", v)
		}
	})
	t.Run("rand_skip", func(t *testing.T) {
		seen := map[float32]bool{}
		for seed := range uint64(20) {
			l, top := mustOpenData(t, `type: "ImageData" top: "data" top: "label"
				image_data_param { source: "list.txt" rand_skip: 3 }`, caffepb.Phase_TEST, seed, dir)
			forwards(t, l, top, 1)
			seen[top[1].Data()[0]] = true
		}
		if len(seen) != 3 || !seen[0] || !seen[1] || !seen[2] {
			t.Errorf("first labels over 20 seeds: %v, want 0, 1 and 2", seen)
		}
	})
	t.Run("missing file", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(dir, "bad.txt"), []byte("a picture 0.png 1\nnone.png 2\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		l, top := mustOpenData(t, `type: "ImageData" top: "data" top: "label" image_data_param { source: "bad.txt" batch_size: 2 }`, caffepb.Phase_TEST, 1, dir)
		if err := l.Forward(nil, top); err == nil || !strings.Contains(err.Error(), `bad.txt:2: "`) || !strings.Contains(err.Error(), "none.png") {
			t.Errorf("error %v, want one that names bad.txt:2 and none.png", err)
		}
	})
}

// TestImageDataShuffle: every epoch is a permutation, epochs differ, and a
// resume in the middle of any goes on exactly.
func TestImageDataShuffle(t *testing.T) {
	dir := imageList(t, 11)
	const text = `name: "data" type: "ImageData" top: "data" top: "label"
		transform_param { mirror: true crop_size: 3 } image_data_param { source: "list.txt" shuffle: true rand_skip: 4 batch_size: 4 }`
	l, top := mustOpenData(t, text, caffepb.Phase_TRAIN, 5, dir)
	var labels []float32
	var batches [][]float32
	for range 11 {
		batches = append(batches, forwards(t, l, top, 1)...)
		labels = append(labels, top[1].Data()...)
	}
	// Where the first epoch ends depends on rand_skip: find the cut at which
	// the epochs are permutations.
	skip := -1
	for s := range 4 {
		first, second := slices.Clone(labels[11-s:22-s]), slices.Clone(labels[22-s:33-s])
		if slices.Equal(first, second) {
			continue
		}
		slices.Sort(first)
		slices.Sort(second)
		if len(slices.Compact(first)) == 11 && len(slices.Compact(second)) == 11 {
			skip = s
		}
	}
	if skip < 0 {
		t.Fatalf("labels are no sequence of different permutations: %v", labels)
	}
	for _, at := range []int{1, 2, 3, 6} {
		a, top := mustOpenData(t, text, caffepb.Phase_TRAIN, 5, dir)
		forwards(t, a, top, at)
		c := a.Cursor()
		b, top := mustOpenData(t, text, caffepb.Phase_TRAIN, 5, dir)
		if err := b.SetCursor(c); err != nil {
			t.Fatal(err)
		}
		for i, got := range forwards(t, b, top, 4) {
			if !slices.Equal(got, batches[at+i]) {
				t.Errorf("resumed after %d batches: batch %d differs", at, at+i)
			}
		}
	}
}
