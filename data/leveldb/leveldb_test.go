package leveldb

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	goleveldb "github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// cppDB unpacks a database that C++ LevelDB 1.23 made with a write buffer of
// 64 KB (through plyvel) by putting 900 keys, deleting every seventh and putting
// every tenth, from 3, again. It was closed as Caffe's tools close theirs, with
// records in two logs that are older than the sequence number in its manifest.
func cppDB(t *testing.T) (path string, want map[string]string) {
	t.Helper()
	path = t.TempDir()
	z, err := zip.OpenReader("testdata/cpp.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, f.Name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want = map[string]string{}
	for i := range 900 {
		switch key := fmt.Sprintf("%08d_f", i); {
		case i%10 == 3:
			want[key] = fmt.Sprintf("second %d", i)
		case i%7 != 0:
			want[key] = strings.Repeat(fmt.Sprintf("value of %d ", i), 20)
		}
	}
	return path, want
}

// goDB makes a database with goleveldb: several levels, versions, deletions.
func goDB(t *testing.T) (path string, want map[string]string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "db")
	db, err := goleveldb.OpenFile(path, &opt.Options{WriteBuffer: 32 << 10, CompactionTableSize: 16 << 10, BlockSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	want = map[string]string{}
	for round := range 3 {
		for i := 0; i < 3000; i += 1 + 2*round {
			k, v := fmt.Sprintf("key %05d", i), strings.Repeat(fmt.Sprintf("%d/%d ", i, round), 15)
			if round == 2 {
				err = db.Delete([]byte(k), nil)
				delete(want, k)
			} else {
				err = db.Put([]byte(k), []byte(v), nil)
				want[k] = v
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path, want
}

// readAll returns all records and checks their order.
func readAll(db *DB) (map[string]string, error) {
	c := db.Cursor()
	defer c.Close()
	got := map[string]string{}
	last := ""
	k, v, err := c.First()
	for err == nil {
		if len(got) > 0 && string(k) <= last {
			return got, fmt.Errorf("key %q after %q", k, last)
		}
		last = string(k)
		got[last] = string(v)
		k, v, err = c.Next()
	}
	if err != io.EOF {
		return got, err
	}
	return got, nil
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(*testing.T) (string, map[string]string)
	}{{"written by C++ LevelDB", cppDB}, {"written by goleveldb", goDB}} {
		t.Run(c.name, func(t *testing.T) {
			path, want := c.make(t)
			db, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			got, err := readAll(db)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) {
				t.Errorf("%d records, want %d", len(got), len(want))
			}
			for k, v := range want {
				if got[k] != v {
					t.Fatalf("record %q is %q, want %q", k, got[k], v)
				}
			}
		})
	}
}

func TestSeek(t *testing.T) {
	path, want := cppDB(t)
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c := db.Cursor()
	defer c.Close()
	for i := range 900 {
		// The first key from i on that was not deleted, and the one after it.
		at := func(i int) (string, int) {
			for ; i < 900; i++ {
				if k := fmt.Sprintf("%08d_f", i); want[k] != "" {
					return k, i + 1
				}
			}
			return "", i
		}
		first, next := at(i)
		second, _ := at(next)
		k, v, err := c.Seek(fmt.Appendf(nil, "%08d", i))
		if err != nil || string(k) != first || string(v) != want[first] {
			t.Fatalf("Seek(%d) = %q, %v, want %q", i, k, err, first)
		}
		k, _, err = c.Next()
		if second == "" {
			if err != io.EOF {
				t.Fatalf("Next behind the end: %q, %v", k, err)
			}
		} else if err != nil || string(k) != second {
			t.Fatalf("Next after %q = %q, %v, want %q", first, k, err, second)
		}
	}
	if k, _, err := c.Seek([]byte("1")); err != io.EOF {
		t.Errorf("Seek behind the end: %q, %v", k, err)
	}
	if k, _, err := c.Next(); err == nil && string(k) <= "00000899" {
		t.Errorf("Next after a Seek behind the end: %q", k)
	}
	if k, _, err := db.Cursor().Next(); err != nil || string(k) != "00000001_f" {
		t.Errorf("Next on a new cursor: %q, %v", k, err)
	}
}

// TestDamage flips one byte after another: whatever is read must then be the
// truth or an error, never other records, and never a panic. Only in the last
// block of a log a changed length looks like a record that was cut off.
func TestDamage(t *testing.T) {
	path, want := cppDB(t)
	files, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := filepath.Join(path, f.Name())
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		step := max(1, len(b)/150)
		found := 0
		lossy := len(b)
		if filepath.Ext(f.Name()) == ".log" {
			lossy = len(b) / logBlock * logBlock
		}
		for i := 0; i < len(b); i += step {
			d := append([]byte(nil), b...)
			d[i] ^= 0x5a
			if err := os.WriteFile(name, d, 0o644); err != nil {
				t.Fatal(err)
			}
			db, err := Open(path)
			if err == nil {
				var got map[string]string
				if got, err = readAll(db); err == nil && i < lossy {
					for k, v := range got {
						if want[k] != v {
							t.Fatalf("%s with byte %d changed: record %q is %q", f.Name(), i, k, v)
						}
					}
					if len(got) != len(want) {
						t.Fatalf("%s with byte %d changed: %d records without an error, want %d", f.Name(), i, len(got), len(want))
					}
				}
			}
			if err != nil {
				found++
			}
		}
		if found < 2*len(b)/step/3 {
			t.Errorf("%s: only %d changed bytes of %d noticed", f.Name(), found, len(b)/step)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestErrors(t *testing.T) {
	write := func(t *testing.T, path, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
		want   error
	}{
		{"no CURRENT", func(t *testing.T, p string) { os.Remove(filepath.Join(p, "CURRENT")) }, os.ErrNotExist},
		{"CURRENT points elsewhere", func(t *testing.T, p string) { write(t, p, "CURRENT", "../MANIFEST-000002\n") }, ErrCorrupt},
		{"no manifest", func(t *testing.T, p string) { os.Remove(filepath.Join(p, "MANIFEST-000002")) }, os.ErrNotExist},
		{"empty manifest", func(t *testing.T, p string) { write(t, p, "MANIFEST-000002", "") }, ErrCorrupt},
		{"missing table", func(t *testing.T, p string) { os.Remove(filepath.Join(p, "000005.ldb")) }, ErrCorrupt},
		{"empty table", func(t *testing.T, p string) { write(t, p, "000005.ldb", "") }, ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, _ := cppDB(t)
			c.damage(t, path)
			db, err := Open(path)
			if err == nil {
				_, err = readAll(db)
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one that wraps %v and names %s", err, c.want, path)
			}
		})
	}
}

// TestTornLog: a record that the end of the newest log cuts off is ignored,
// and only that.
func TestTornLog(t *testing.T) {
	path, want := cppDB(t)
	name := filepath.Join(path, "000010.log")
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, st.Size()-1); err != nil {
		t.Fatal(err)
	}
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(db)
	if err != nil {
		t.Fatal(err)
	}
	// The last write was the second value of key 893, which had been deleted
	// or not before.
	const last = "00000893_f"
	if got[last] == want[last] || len(got) < len(want)-1 {
		t.Errorf("last record is %q, %d records of %d", got[last], len(got), len(want))
	}
}
