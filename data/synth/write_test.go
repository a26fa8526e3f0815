package synth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"crema/data"
)

// A stored is a record as read back.
type stored struct {
	key   string
	value []byte
}

func readAll(t *testing.T, path string) []stored {
	t.Helper()
	db, err := data.OpenDB(path, data.LMDB)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cur := db.Cursor()
	defer cur.Close()
	var all []stored
	k, v, err := cur.First()
	for ; err == nil; k, v, err = cur.Next() {
		all = append(all, stored{string(k), bytes.Clone(v)})
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	return all
}

func TestWrite(t *testing.T) {
	for _, tc := range []struct {
		name  string
		shape Shape
		count int
		enc   Encoding
		// off is how far a value may be from what was drawn, on average.
		off float64
	}{
		{"raw", Shape{3, 32, 32}, 700, Raw, 0}, // several chunks
		{"raw grey", Shape{1, 24, 40}, 30, Raw, 0},
		{"one", Shape{3, 16, 16}, 1, Raw, 0},
		{"large", Shape{3, 700, 600}, 3, Raw, 0}, // a chunk each
		{"png", Shape{3, 40, 24}, 20, PNG, 0},
		{"png grey", Shape{1, 40, 24}, 20, PNG, 0},
		// JPEG stores colour at half the resolution.
		{"jpeg", Shape{3, 64, 48}, 20, JPEG, 20},
		{"jpeg grey", Shape{1, 64, 48}, 20, JPEG, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set, err := NewSigns(tc.shape, 50, 3)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "db")
			var seen []int
			err = Write(t.Context(), path, set, "train", tc.count, WriteOptions{
				Encoding: tc.enc,
				Progress: func(done int) { seen = append(seen, done) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(seen) == 0 || seen[len(seen)-1] != tc.count {
				t.Errorf("progress ended with %v, want %d", seen, tc.count)
			}
			recs := readAll(t, path)
			if len(recs) != tc.count {
				t.Fatalf("%d records, want %d", len(recs), tc.count)
			}
			var im data.Image
			for i, r := range recs {
				if want := fmt.Sprintf("%08d", i); r.key != want {
					t.Fatalf("record %d has key %q, want %q", i, r.key, want)
				}
				want, wantLabel := drawOne(set, "train", i)
				label, err := data.DecodeDatum(r.value, data.Native, &im)
				if err != nil {
					t.Fatal(err)
				}
				if label != wantLabel {
					t.Errorf("record %d: label %d, want %d", i, label, wantLabel)
				}
				if got := (Shape{im.C, im.H, im.W}); got != tc.shape {
					t.Fatalf("record %d: shape %v, want %v", i, got, tc.shape)
				}
				var sum float64
				for j, v := range im.Pix {
					d := float64(v) - float64(want[j])
					sum += max(d, -d)
				}
				if off := sum / float64(len(want)); off > tc.off {
					t.Errorf("record %d: off by %.2f levels on average, want at most %g", i, off, tc.off)
				}
			}
		})
	}
}

func TestWriteDoesNotDependOnThreads(t *testing.T) {
	set, err := NewDigits(Shape{3, 32, 32}, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var got [][]byte
	for _, threads := range []int{1, 5} {
		old := runtime.GOMAXPROCS(threads)
		path := filepath.Join(dir, fmt.Sprint(threads))
		err := Write(t.Context(), path, set, "test", 900, WriteOptions{})
		runtime.GOMAXPROCS(old)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(path, "data.mdb"))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b)
	}
	if !bytes.Equal(got[0], got[1]) {
		t.Error("databases drawn on 1 and 5 threads differ")
	}
}

func TestWriteErrors(t *testing.T) {
	set, err := NewDigits(Shape{3, 32, 32}, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	midway, cancelMidway := context.WithCancel(t.Context())
	defer cancelMidway()
	for _, tc := range []struct {
		name, path string
		ctx        context.Context
		count      int
		o          WriteOptions
		is         error
		want       string
	}{
		{"no images", filepath.Join(dir, "a"), t.Context(), 0, WriteOptions{}, nil, "0 images"},
		{"unknown encoding", filepath.Join(dir, "a"), t.Context(), 1, WriteOptions{Encoding: 9}, nil, "encoding"},
		{"exists", there, t.Context(), 1, WriteOptions{}, nil, "exists"},
		{"no folder", filepath.Join(dir, "no", "db"), t.Context(), 1, WriteOptions{}, os.ErrNotExist, ""},
		{"stopped before", filepath.Join(dir, "a"), stopped, 10, WriteOptions{}, context.Canceled, ""},
		{"stopped midway", filepath.Join(dir, "a"), midway, 5000, WriteOptions{Progress: func(int) { cancelMidway() }}, context.Canceled, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := Write(tc.ctx, tc.path, set, "train", tc.count, tc.o)
			if err == nil || tc.is != nil && !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v", err)
			}
		})
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("files are left: %v", left)
	}
	if b, _ := os.ReadFile(there); string(b) != "mine" {
		t.Error("the file that was there has changed")
	}
}

// TestWriteRawOnly: pairs have channels that no picture format has.
func TestWriteRawOnly(t *testing.T) {
	set, err := NewPairs(Shape{1, 16, 16}, 1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "db")
	for _, enc := range []Encoding{JPEG, PNG} {
		if err := Write(t.Context(), path, set, "train", 3, WriteOptions{Encoding: enc}); err == nil || !strings.Contains(err.Error(), "2 channels") {
			t.Errorf("encoding %d: %v", enc, err)
		}
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("a database stays")
	}
}
