package data

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
)

// TestVerify: every wrong record is named, in the order of the keys, and
// damaged pictures are told from wrong records.
func TestVerify(t *testing.T) {
	whole, half := cutJPEG(t)
	encoded := func(b []byte) []byte { return marshal(t, &caffepb.Datum{Data: b, Encoded: proto.Bool(true)}) }
	bad := map[int][]byte{
		3:   []byte("no Datum"),
		100: encoded(half),
		300: encoded([]byte("no picture")),
		301: marshal(t, rawDatum(1, 2, 2, 0, make([]byte, 3))),
		700: marshal(t, &caffepb.Datum{Channels: proto.Int32(2), Height: proto.Int32(1), Width: proto.Int32(1), FloatData: []float32{1, float32(math.NaN())}}),
	}
	for _, backend := range []Backend{LMDB, LevelDB} {
		path := makeDB(t, backend, 701, func(i int) []byte {
			if b := bad[i]; b != nil {
				return b
			}
			return encoded(whole)
		})
		if got, err := DetectBackend(path); err != nil || got != backend {
			t.Errorf("a database of %v is taken for %v, %v", backend, got, err)
		}
		db, err := OpenDB(path, backend)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckStructure(db); err != nil {
			t.Error(err)
		}
		var got []string
		n, err := Verify(t.Context(), db, func(key string, err error) {
			got = append(got, fmt.Sprint(key, " ", errors.Is(err, ErrDamaged)))
		})
		if want := []string{"00000003 false", "00000100 true", "00000300 false", "00000301 false", "00000700 false"}; n != 701 || err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: %d records, %v; wrong are %q, want %q", backend, n, err, got, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Verify(ctx, db, func(string, error) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerifyStructure: the record behind which a database cannot be read is
// named.
func TestVerifyStructure(t *testing.T) {
	path := makeDB(t, LMDB, 400, numbered(t))
	file := filepath.Join(path, "data.mdb")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// A record in the middle, and the head of the page it is on.
	page := strings.Index(string(b), "00000200") &^ 4095
	copy(b[page+10:], "\xff\xff")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	db, err := OpenDB(path, LMDB)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := CheckStructure(db); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("page %d", page/4096)) {
		t.Errorf("structure: %v", err)
	}
	n, err := Verify(t.Context(), db, func(key string, err error) { t.Errorf("record %s: %v", key, err) })
	if want := fmt.Sprintf("behind record %q", fmt.Sprintf("%08d", n-1)); n < 100 || n > 200 || err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%d records, %v, want an error with %s", n, err, want)
	}
}

func TestDetectBackendErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := DetectBackend(dir); err == nil || !strings.Contains(err.Error(), "neither LMDB's data.mdb nor LevelDB's CURRENT") {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := DetectBackend(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
}
