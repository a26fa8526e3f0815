package data

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"crema/lmdb"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// makeDB writes records under their number in 8 digits.
func makeDB(t testing.TB, backend Backend, n int, rec func(i int) []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	w, err := CreateDB(path, backend)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range n {
		if err := w.Put(fmt.Appendf(nil, "%08d", i), rec(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return path
}

// numbered is a 1×6×5 record full of its number, which is its label too.
func numbered(t testing.TB) func(i int) []byte {
	return func(i int) []byte {
		return marshal(t, rawDatum(1, 6, 5, int32(i), bytes.Repeat([]byte{byte(i)}, 30)))
	}
}

func openLoader(t testing.TB, path string, backend Backend, transform string, o LoaderOptions) (*Loader, error) {
	t.Helper()
	var p caffepb.TransformationParameter
	if err := prototxt.UnmarshalText("test", []byte(transform), &p); err != nil {
		t.Fatal(err)
	}
	tr, err := NewTransformer(&p, TransformOptions{Phase: caffepb.Phase_TRAIN, Seed: 1, Name: "data"})
	if err != nil {
		t.Fatal(err)
	}
	db, err := OpenDB(path, backend)
	if err != nil {
		return nil, err
	}
	src, err := NewDBSource(path, db, tr.Mode(), nil)
	if err != nil {
		return nil, err
	}
	l, err := NewLoader(src, tr, o)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { l.Close() })
	return l, nil
}

func mustLoader(t testing.TB, path string, backend Backend, transform string, o LoaderOptions) *Loader {
	t.Helper()
	l, err := openLoader(t, path, backend, transform, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLoaderOrder: records come in order and go round, with every back end,
// batch size, number of batches ahead and number of workers.
func TestLoaderOrder(t *testing.T) {
	const n = 23
	for _, backend := range []Backend{LMDB, LevelDB} {
		path := makeDB(t, backend, n, numbered(t))
		for _, o := range []LoaderOptions{
			{BatchSize: 1, Prefetch: 1, Workers: 1},
			{BatchSize: 7},
			{BatchSize: 8, Prefetch: 9, Workers: 5},
			{BatchSize: 2*n + 3, Prefetch: 2, Workers: 3},
		} {
			t.Run(fmt.Sprintf("%v/batch=%d/prefetch=%d/workers=%d", backend, o.BatchSize, o.Prefetch, o.Workers), func(t *testing.T) {
				l := mustLoader(t, path, backend, `crop_size: 4 mirror: true`, o)
				data, label := tensor.New(), tensor.New()
				for i := 0; i < 3*n; {
					if err := l.Next(data, label); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(data.Shape(), []int{o.BatchSize, 1, 4, 4}) || !slices.Equal(label.Shape(), []int{o.BatchSize}) {
						t.Fatalf("shapes %v and %v", data.Shape(), label.Shape())
					}
					for j, v := range label.Data() {
						want := float32(i % n)
						if v != want || data.Data()[16*j] != want || data.Data()[16*j+15] != want {
							t.Fatalf("record %d: label %g, value %g, want %g", i, v, data.Data()[16*j], want)
						}
						i++
					}
					if p := l.Position(); p.Records != uint64(i) || string(p.NextKey) != fmt.Sprintf("%08d", i%n) {
						t.Fatalf("position %d, %q after %d records", p.Records, p.NextKey, i)
					}
				}
			})
		}
	}
}

// TestLoaderPosition: SetPosition goes anywhere and back, with batches already
// read ahead thrown away; a key that is gone is replaced by the next one.
func TestLoaderPosition(t *testing.T) {
	path := makeDB(t, LMDB, 10, numbered(t))
	l := mustLoader(t, path, LMDB, ``, LoaderOptions{BatchSize: 3})
	label := tensor.New()
	for _, c := range []struct {
		key  string
		want float32
	}{{"00000007", 7}, {"00000002", 2}, {"", 0}, {"00000004x", 5}, {"9", 0}, {"00000009", 9}} {
		if err := l.SetPosition(Position{Records: 100, NextKey: []byte(c.key)}); err != nil {
			t.Fatal(err)
		}
		if err := l.Next(tensor.New(), label); err != nil {
			t.Fatal(err)
		}
		if got := label.Data()[0]; got != c.want {
			t.Errorf("after a seek to %q: record %g, want %g", c.key, got, c.want)
		}
		if p := l.Position(); p.Records != 103 {
			t.Errorf("after a seek to %q: %d records, want 103", c.key, p.Records)
		}
	}
}

func TestLoaderErrors(t *testing.T) {
	good := numbered(t)
	for _, c := range []struct {
		name   string
		n      int
		rec    func(i int) []byte
		params string
		want   []string
	}{
		{"no records", 0, good, ``, []string{"no records"}},
		{"first record bad", 3, func(int) []byte { return []byte("\xff") }, ``, []string{`"00000000"`, "not a Datum"}},
		{"crop too large", 3, good, `crop_size: 6`, []string{`"00000000"`, "crop_size 6"}},
		{"later record bad", 9, func(i int) []byte {
			if i == 5 || i == 7 {
				return good(i)[:10]
			}
			return good(i)
		}, ``, []string{`"00000005"`, "not a Datum"}},
		{"sizes differ", 9, func(i int) []byte {
			if i == 2 {
				return marshal(t, rawDatum(1, 5, 5, 0, make([]byte, 25)))
			}
			return good(i)
		}, ``, []string{`"00000002"`, "1×5×5", "1×6×5", "crop_size"}},
		{"channels differ", 9, func(i int) []byte {
			if i == 4 {
				return marshal(t, rawDatum(2, 6, 5, 0, make([]byte, 60)))
			}
			return good(i)
		}, `crop_size: 3`, []string{`"00000004"`, "2×3×3"}},
		{"one too small for the crop", 9, func(i int) []byte {
			if i == 4 {
				return marshal(t, rawDatum(1, 2, 5, 0, make([]byte, 10)))
			}
			return good(i)
		}, `crop_size: 3`, []string{`"00000004"`, "crop_size 3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := makeDB(t, LMDB, c.n, c.rec)
			l, err := openLoader(t, path, LMDB, c.params, LoaderOptions{BatchSize: 9, Workers: 4})
			if err == nil {
				err = l.Next(tensor.New(), tensor.New())
				if again := l.Next(tensor.New(), nil); again != err {
					t.Errorf("second call gives %v, the first %v", again, err)
				}
			}
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %q", err, want)
				}
			}
		})
	}
	t.Run("crop makes sizes equal", func(t *testing.T) {
		path := makeDB(t, LMDB, 4, func(i int) []byte {
			return marshal(t, rawDatum(1, 3+i, 6-i, 0, make([]byte, (3+i)*(6-i))))
		})
		l := mustLoader(t, path, LMDB, `crop_size: 3`, LoaderOptions{BatchSize: 4})
		if err := l.Next(tensor.New(), nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("batch size", func(t *testing.T) {
		path := makeDB(t, LMDB, 1, good)
		if _, err := openLoader(t, path, LMDB, ``, LoaderOptions{}); err == nil {
			t.Error("batch size 0 is accepted")
		}
	})
}

// TestLoaderDamagedDB: an error of the database surfaces with its name.
func TestLoaderDamagedDB(t *testing.T) {
	path := makeDB(t, LMDB, 2000, numbered(t))
	name := filepath.Join(path, "data.mdb")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// Zeros over all pages but the metas and the last ones (the branches) and
	// the first leaf.
	clear(b[5*4096 : len(b)-3*4096])
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := openLoader(t, path, LMDB, ``, LoaderOptions{BatchSize: 50})
	for range 100 {
		if err != nil {
			break
		}
		err = l.Next(tensor.New(), nil)
	}
	if !errors.Is(err, lmdb.ErrCorrupt) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that wraps lmdb.ErrCorrupt and names %s", err, path)
	}
}

// TestLoaderClose: no goroutine stays, whatever the loader was doing.
func TestLoaderClose(t *testing.T) {
	path := makeDB(t, LMDB, 10, numbered(t))
	before := runtime.NumGoroutine()
	for i := range 30 {
		l := mustLoader(t, path, LMDB, ``, LoaderOptions{BatchSize: 4, Workers: 3})
		for range i % 4 {
			if err := l.Next(tensor.New(), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := l.Next(tensor.New(), nil); !errors.Is(err, errClosed) {
			t.Fatalf("Next after Close: %v", err)
		}
		if err := l.SetPosition(Position{}); !errors.Is(err, errClosed) {
			t.Fatalf("SetPosition after Close: %v", err)
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// photo draws a 256×256 picture about as hard to compress as a photograph:
// gradients, edges and some grain.
func photo(seed uint64) *image.RGBA {
	r := rand.New(rand.NewPCG(seed, 1))
	m := image.NewRGBA(image.Rect(0, 0, 256, 256))
	for i := range 40 {
		c := color.RGBA{uint8(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32()), 255}
		x0, y0 := r.IntN(256), r.IntN(256)
		w, h := 256/(1+i/3), 256/(1+i/4)
		for y := y0; y < min(256, y0+h); y++ {
			for x := x0; x < min(256, x0+w); x++ {
				c.G += uint8(y & x & 1)
				m.SetRGBA(x, y, c)
			}
		}
	}
	for i := range m.Pix {
		if i%4 != 3 {
			m.Pix[i] = byte(max(0, min(int(m.Pix[i])+r.IntN(13)-6, 255)))
		}
	}
	return m
}

// BenchmarkLoader measures records a second: 256×256 records, 224 crops,
// mirrors, mean file and scale, as ImageNet nets use them.
func BenchmarkLoader(b *testing.B) {
	const n = 64
	mean := &caffepb.BlobProto{Num: proto.Int32(1), Channels: proto.Int32(3), Height: proto.Int32(256), Width: proto.Int32(256)}
	mean.Data = make([]float32, 3*256*256)
	for i := range mean.Data {
		mean.Data[i] = 100 + float32(i%40)
	}
	meanFile := filepath.Join(b.TempDir(), "mean.binaryproto")
	if err := prototxt.WriteBinary(meanFile, mean); err != nil {
		b.Fatal(err)
	}
	encoded := make([][]byte, n)
	raw := make([][]byte, n)
	var im Image
	bytesEach := 0
	for i := range n {
		var buf bytes.Buffer
		if err := jpeg.Encode(&buf, photo(uint64(i)), &jpeg.Options{Quality: 85}); err != nil {
			b.Fatal(err)
		}
		bytesEach += buf.Len() / n
		encoded[i] = marshal(b, &caffepb.Datum{Data: buf.Bytes(), Encoded: proto.Bool(true), Label: proto.Int32(int32(i))})
		if err := DecodeImage(buf.Bytes(), Native, &im); err != nil {
			b.Fatal(err)
		}
		raw[i] = marshal(b, im.Datum(i))
	}
	for _, c := range []struct {
		name string
		recs [][]byte
	}{{"raw", raw}, {"jpeg", encoded}} {
		b.Run(c.name, func(b *testing.B) {
			path := makeDB(b, LMDB, n, func(i int) []byte { return c.recs[i] })
			l := mustLoader(b, path, LMDB, fmt.Sprintf("crop_size: 224 mirror: true scale: 0.00390625 mean_file: %q", meanFile), LoaderOptions{BatchSize: 32})
			data, label := tensor.New(), tensor.New()
			if err := l.Next(data, label); err != nil { // allocates
				b.Fatal(err)
			}
			for b.Loop() {
				if err := l.Next(data, label); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(32*b.N)/b.Elapsed().Seconds(), "records/s")
			if c.name == "jpeg" {
				b.ReportMetric(float64(bytesEach), "B/file")
			}
		})
	}
}

func BenchmarkStages(b *testing.B) {
	var file bytes.Buffer
	if err := jpeg.Encode(&file, photo(1), &jpeg.Options{Quality: 85}); err != nil {
		b.Fatal(err)
	}
	var im, small Image
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if err := DecodeImage(file.Bytes(), Color, &im); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("colour", func(b *testing.B) {
		for b.Loop() {
			im.jpeg.picture(&im)
		}
	})
	b.Run("resize", func(b *testing.B) {
		for b.Loop() {
			Resize(&small, &im, 227, 227)
		}
	})
	tr, err := NewTransformer(&caffepb.TransformationParameter{CropSize: proto.Uint32(224), Mirror: proto.Bool(true)}, TransformOptions{})
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]float32, 3*224*224)
	b.Run("transform", func(b *testing.B) {
		for i := uint64(0); b.Loop(); i++ {
			if err := tr.Transform(dst, &im, i); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestLoaderPrefetch: more batches ahead than memory holds are refused.
func TestLoaderPrefetch(t *testing.T) {
	path := makeDB(t, LMDB, 10, numbered(t))
	for _, n := range []int{1_000_000_000, math.MaxInt} {
		_, err := openLoader(t, path, LMDB, ``, LoaderOptions{BatchSize: 64, Prefetch: n})
		if err == nil || !strings.Contains(err.Error(), "prefetch") {
			t.Errorf("prefetch %d: %v", n, err)
		}
	}
}
