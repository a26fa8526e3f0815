//go:build lmdbgo && cgo

package data

import (
	"bytes"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	liblmdb "github.com/bmatsuo/lmdb-go/lmdb"

	"crema/tensor"
)

// TestLoaderRealWriter reads while liblmdb changes all records and adds some,
// over and over: every record read must be one that was written whole, in the
// order of the keys.
func TestLoaderRealWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if err := createEmpty(path); err != nil {
		t.Fatal(err)
	}
	env, err := liblmdb.NewEnv()
	if err != nil {
		t.Fatal(err)
	}
	defer env.Close()
	if err := env.SetMapSize(1 << 28); err != nil {
		t.Fatal(err)
	}
	if err := env.Open(path, liblmdb.NoSync, 0o644); err != nil {
		t.Fatal(err)
	}
	commit := func(version, n int) error {
		return env.Update(func(txn *liblmdb.Txn) error {
			dbi, err := txn.OpenRoot(0)
			if err != nil {
				return err
			}
			for i := range n {
				v := marshal(t, rawDatum(1, 6, 1000, int32(i), bytes.Repeat([]byte{byte(i), byte(version)}, 3000)))
				if err := txn.Put(dbi, fmt.Appendf(nil, "%08d", i), v, 0); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := commit(0, 100); err != nil {
		t.Fatal(err)
	}
	l := mustLoader(t, path, LMDB, ``, LoaderOptions{BatchSize: 5, Prefetch: 3})
	var stop atomic.Bool
	done := make(chan error)
	go func() {
		var err error
		for v := 1; err == nil && !stop.Load(); v++ {
			err = commit(v, 100+v%50)
		}
		done <- err
	}()
	data, label := tensor.New(), tensor.New()
	last := -1
	for range 2000 {
		if err := l.Next(data, label); err != nil {
			t.Fatal(err)
		}
		for j, v := range label.ReadData() {
			x := data.ReadData()[j*6000:][:6000]
			for k := range x {
				if k%2 == 0 && x[k] != float32(byte(v)) || x[k] != x[k%2] {
					t.Fatalf("record %g has the value %g at %d, after %g and %g", v, x[k], k, x[0], x[1])
				}
			}
			if int(v) != last+1 && v != 0 {
				t.Fatalf("record %g after %d", v, last)
			}
			last = int(v)
		}
	}
	stop.Store(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Logf("opened again %d times", l.src.(*dbSource).reopened)
}

func createEmpty(path string) error {
	w, err := CreateDB(path, LMDB)
	if err != nil {
		return err
	}
	return w.Commit()
}
