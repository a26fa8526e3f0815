//go:build lmdbgo && cgo

package lmdb

import (
	"os"
	"path/filepath"
	"testing"

	liblmdb "github.com/bmatsuo/lmdb-go/lmdb"
)

// TestSamples makes the files in testdata that the tests without liblmdb use,
// if -update is given, and checks that liblmdb reads them as those tests
// expect.
func TestSamples(t *testing.T) {
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		for name, f := range map[string]func(env *liblmdb.Env){
			"modified.mdb": func(env *liblmdb.Env) {
				put := func(i, version int) func(txn *liblmdb.Txn, dbi liblmdb.DBI) error {
					return func(txn *liblmdb.Txn, dbi liblmdb.DBI) error {
						r := sampleRecord(i, version)
						return txn.Put(dbi, r.key, r.value, 0)
					}
				}
				each := func(f func(i int) func(txn *liblmdb.Txn, dbi liblmdb.DBI) error) {
					updateEnv(t, env, func(txn *liblmdb.Txn, dbi liblmdb.DBI) error {
						for i := range sampleCount {
							if g := f(i); g != nil {
								if err := g(txn, dbi); err != nil {
									return err
								}
							}
						}
						return nil
					})
				}
				type step = func(txn *liblmdb.Txn, dbi liblmdb.DBI) error
				each(func(i int) step { return put(i, 0) })
				each(func(i int) step {
					if !sampleDeleted(i) {
						return nil
					}
					return func(txn *liblmdb.Txn, dbi liblmdb.DBI) error {
						return txn.Del(dbi, sampleRecord(i, 0).key, nil)
					}
				})
				for range 3 {
					each(func(i int) step {
						if sampleVersion(i) == 0 || sampleDeleted(i) {
							return nil
						}
						return put(i, 1)
					})
				}
			},
			"named.mdb": func(env *liblmdb.Env) {
				err := env.Update(func(txn *liblmdb.Txn) error {
					dbi, err := txn.OpenDBI("inner", liblmdb.Create)
					if err != nil {
						return err
					}
					return txn.Put(dbi, []byte("key"), []byte("value"), 0)
				})
				if err != nil {
					t.Fatal(err)
				}
			},
			"dupsort.mdb": func(env *liblmdb.Env) {
				err := env.Update(func(txn *liblmdb.Txn) error {
					dbi, err := txn.OpenRoot(liblmdb.Create | liblmdb.DupSort)
					if err != nil {
						return err
					}
					for i := range 5 {
						if err := txn.Put(dbi, []byte("key"), []byte{byte(i)}, 0); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			},
			"empty.mdb": func(*liblmdb.Env) {},
		} {
			path := filepath.Join(t.TempDir(), name)
			env := openEnv(t, path, 1<<22, liblmdb.NoSubdir)
			f(env)
			env.Close()
			if err := os.WriteFile(filepath.Join("testdata", name), readFile(t, path), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	witness(t, filepath.Join(dir, "modified.mdb"), sampleRecords())
	witness(t, filepath.Join(dir, "empty.mdb"), nil)
}
