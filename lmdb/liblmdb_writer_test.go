//go:build lmdbgo && cgo

package lmdb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"

	liblmdb "github.com/bmatsuo/lmdb-go/lmdb"
)

// TestWriterCommits counts the commits of a real writer.
func TestWriterCommits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	recs := makeRecords(2000, constant(20), constant(300))
	env := openEnv(t, path, 1<<28, 0)
	commit := func(version int) {
		updateEnv(t, env, func(txn *liblmdb.Txn, dbi liblmdb.DBI) error {
			for i, r := range recs {
				if err := txn.Put(dbi, r.key, fill(version*10000+i, 300), 0); err != nil {
					return err
				}
			}
			return nil
		})
	}
	commit(1)
	commit(2)
	commit(3)
	db := mustOpen(t, path)
	before, err := walk(db)
	if err != nil {
		t.Fatal(err)
	}
	commit(4)
	after, err := walk(db)
	if err != nil {
		t.Fatalf("after one commit: %v", err)
	}
	sameRecords(t, after, before)
	commit(5)
	if _, err := walk(db); !errors.Is(err, ErrChanged) {
		t.Fatalf("after two commits: %v, want ErrChanged", err)
	}
}

// TestSoundnessUnderWriter lets a writer replace all records over and over. A
// walk that ends well must have seen one state only.
func TestSoundnessUnderWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	env := openEnv(t, path, 1<<26, 0)
	const n = 300
	key := func(i int) []byte { return fmt.Appendf(nil, "%08d", i) }
	commit := func(version uint64) error {
		return env.Update(func(txn *liblmdb.Txn) error {
			dbi, err := txn.OpenRoot(0)
			if err != nil {
				return err
			}
			for i := range n {
				v := bytes.Repeat(le.AppendUint64(nil, version), 20+int(version+uint64(i))%3*300)
				if err := txn.Put(dbi, key(i), v, 0); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := commit(1); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var writeErr error
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer end() // before the environment is closed
	wg.Go(func() {
		for v := uint64(2); ; v++ {
			select {
			case <-stop:
				return
			default:
			}
			if writeErr = commit(v); writeErr != nil {
				return
			}
		}
	})
	var sound, changed int
	for round := 0; round < 4000 && (round < 400 || sound < 50 || changed < 50); round++ {
		db, err := open(path, round%2 == 0)
		if errors.Is(err, ErrChanged) {
			changed++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		c := db.Cursor()
		versions := map[uint64]bool{}
		count := 0
		var v []byte
		for err == nil {
			if _, v, err = c.Next(); err == nil {
				count++
				for i := 0; i+8 <= len(v); i += 8 {
					versions[le.Uint64(v[i:])] = true
				}
			}
		}
		switch {
		case errors.Is(err, ErrChanged):
			changed++
		case err != io.EOF:
			t.Fatalf("round %d: %v", round, err)
		case count != n || len(versions) != 1:
			t.Fatalf("round %d: %d records of %d versions without an error", round, count, len(versions))
		default:
			sound++
		}
		db.Close()
	}
	end()
	if writeErr != nil {
		t.Fatal(writeErr)
	}
	t.Logf("%d sound walks, %d noticed the writer", sound, changed)
	if changed == 0 {
		t.Error("the writer was never in the way")
	}
}
