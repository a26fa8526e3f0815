//go:build lmdbgo && cgo

package lmdb

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	liblmdb "github.com/bmatsuo/lmdb-go/lmdb"

	"crema/lmdb/lmdbgo"
)

var update = flag.Bool("update", false, "write the samples in testdata anew")

// The two back ends offer the same.
type reader interface {
	Next() (key, value []byte, err error)
	First() (key, value []byte, err error)
	Last() (key, value []byte, err error)
	Seek(key []byte) (k, value []byte, err error)
}

var (
	_ reader = (*Cursor)(nil)
	_ reader = (*lmdbgo.Cursor)(nil)
)

// openEnv opens a database with liblmdb for writing. mapSize 0 takes the size
// the file says.
func openEnv(t testing.TB, path string, mapSize int64, flags uint) *liblmdb.Env {
	t.Helper()
	env, err := liblmdb.NewEnv()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { env.Close() })
	if mapSize != 0 {
		if err := env.SetMapSize(mapSize); err != nil {
			t.Fatal(err)
		}
	}
	if err := env.SetMaxDBs(4); err != nil {
		t.Fatal(err)
	}
	if flags&liblmdb.NoSubdir == 0 {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := env.Open(path, flags|liblmdb.NoSync, 0o644); err != nil {
		t.Fatal(err)
	}
	return env
}

// updateEnv runs one transaction on the main database.
func updateEnv(t testing.TB, env *liblmdb.Env, f func(txn *liblmdb.Txn, dbi liblmdb.DBI) error) {
	t.Helper()
	err := env.Update(func(txn *liblmdb.Txn) error {
		dbi, err := txn.OpenRoot(0)
		if err != nil {
			return err
		}
		return f(txn, dbi)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// oracleRecords reads a database with liblmdb, and checks the cursor of the
// back end on the way.
func oracleRecords(t testing.TB, path string) []record {
	t.Helper()
	db, err := lmdbgo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c := db.Cursor()
	defer c.Close()
	var recs []record
	for {
		k, v, err := c.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, record{bytes.Clone(k), bytes.Clone(v)})
	}
	if db.Len() != uint64(len(recs)) {
		t.Fatalf("liblmdb: Len %d, %d records", db.Len(), len(recs))
	}
	return recs
}

// dumpRecords reads a database with Debian's mdb_dump.
func dumpRecords(t testing.TB, path string) []record {
	t.Helper()
	args := []string{path}
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		args = []string{"-n", path}
	}
	out, err := exec.Command("mdb_dump", args...).Output()
	if err != nil {
		t.Fatalf("mdb_dump: %v", err)
	}
	_, body, ok := strings.Cut(string(out), "HEADER=END\n")
	if !ok {
		t.Fatal("mdb_dump: no header")
	}
	var lines [][]byte
	for line := range strings.Lines(body) {
		if line == "DATA=END\n" {
			break
		}
		b, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, b)
	}
	var recs []record
	for i := 0; i+1 < len(lines); i += 2 {
		recs = append(recs, record{lines[i], lines[i+1]})
	}
	return recs
}

// statLine returns a figure of the main database from Debian's mdb_stat.
func statLine(t testing.TB, path, name string) string {
	t.Helper()
	args := []string{path}
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		args = []string{"-n", path}
	}
	out, err := exec.Command("mdb_stat", args...).Output()
	if err != nil {
		t.Fatalf("mdb_stat: %v", err)
	}
	sc := bufio.NewScanner(bytes.NewReader(out))
	for sc.Scan() {
		if v, ok := strings.CutPrefix(strings.TrimSpace(sc.Text()), name+": "); ok {
			return v
		}
	}
	t.Fatalf("mdb_stat: no %q in %s", name, out)
	return ""
}

// witness checks a database against all readers there are.
func witness(t testing.TB, path string, want []record) {
	t.Helper()
	verify(t, path, want)
	sameRecords(t, oracleRecords(t, path), want)
	if _, err := exec.LookPath("mdb_stat"); err != nil {
		t.Log("mdb_stat and mdb_dump (lmdb-utils) are not installed and bear no witness")
		return
	}
	sameRecords(t, dumpRecords(t, path), want)
	info := mustOpen(t, path).Info()
	for _, n := range []struct {
		name string
		want uint64
	}{
		{"Tree depth", uint64(info.Depth)},
		{"Branch pages", info.BranchPages},
		{"Leaf pages", info.LeafPages},
		{"Overflow pages", info.OverflowPages},
		{"Entries", uint64(len(want))},
	} {
		if got := statLine(t, path, n.name); got != fmt.Sprint(n.want) {
			t.Errorf("mdb_stat: %s: %s, want %d", n.name, got, n.want)
		}
	}
}

// liblmdbCases is what both directions are checked with.
func liblmdbCases() []struct {
	name string
	recs []record
} {
	mixed := func(i int) int { return []int{0, 1, 100, 3000, 70000, 17, 2026, 2027}[i%8] }
	var prefixes []record
	for n := 1; n <= MaxKeySize; n++ {
		prefixes = append(prefixes, record{bytes.Repeat([]byte{7}, n), fill(n, n%9)})
	}
	return []struct {
		name string
		recs []record
	}{
		{"empty", nil},
		{"one", makeRecords(1, constant(8), constant(5))},
		{"one empty value", makeRecords(1, constant(8), constant(0))},
		{"one of several MB", makeRecords(1, constant(8), constant(5<<20+3))},
		{"200000", makeRecords(200000, constant(16), func(i int) int { return i % 50 })},
		{"keys of 1 to 511 bytes", prefixes},
		{"long keys, many levels", makeRecords(3000, constant(511), constant(1500))},
		{"values of 0 bytes to several MB", makeRecords(22, constant(13), func(i int) int { return 1 << i >> 1 })},
		{"mixed sizes", makeRecords(1000, constant(13), mixed)},
		{"around the largest node of 4 KB pages", makeRecords(40, constant(8), func(i int) int { return 2002 + i })},
		{"around the largest node of 32 KB pages", makeRecords(40, constant(8), func(i int) int { return 16338 + i })},
		{"around full overflow pages", makeRecords(40, constant(8), func(i int) int { return 4096*(1+i/20) - 26 + i%20 })},
	}
}

func TestLiblmdbReadsOurs(t *testing.T) {
	for _, tc := range liblmdbCases() {
		for _, opts := range []Options{
			{PageSize: 4096}, {PageSize: 8192}, {PageSize: 16384}, {PageSize: 32768}, {PageSize: 4096, SingleFile: true},
		} {
			if len(tc.recs) > 10000 && opts != (Options{PageSize: 4096}) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d single=%v", tc.name, opts.PageSize, opts.SingleFile), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "db")
				writeRecords(t, path, opts, tc.recs)
				witness(t, path, tc.recs)
			})
		}
	}
}

func TestWeReadLiblmdb(t *testing.T) {
	for _, tc := range liblmdbCases() {
		for _, random := range []bool{false, true} {
			for _, flags := range []uint{0, liblmdb.NoSubdir, liblmdb.WriteMap} {
				if len(tc.recs) > 10000 && flags != 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s/random=%v/flags=%#x", tc.name, random, flags), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "db")
					env := openEnv(t, path, 1<<30, flags)
					order := make([]int, len(tc.recs))
					for i := range order {
						order[i] = i
					}
					if random {
						rand.New(rand.NewPCG(1, 2)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
					}
					for part := range slices.Chunk(order, max(1, len(order)/3)) {
						updateEnv(t, env, func(txn *liblmdb.Txn, dbi liblmdb.DBI) error {
							for _, i := range part {
								if err := txn.Put(dbi, tc.recs[i].key, tc.recs[i].value, 0); err != nil {
									return err
								}
							}
							return nil
						})
					}
					if len(order) == 0 {
						updateEnv(t, env, func(*liblmdb.Txn, liblmdb.DBI) error { return nil })
					}
					env.Close()
					witness(t, path, tc.recs)
				})
			}
		}
	}
}

func TestGoldenThroughLiblmdb(t *testing.T) {
	for _, g := range goldenRuns {
		t.Run(g.name, func(t *testing.T) {
			// A copy: liblmdb makes a lock file.
			path := filepath.Join(t.TempDir(), "db")
			if err := os.CopyFS(path, os.DirFS(goldenRun(t, g.name))); err != nil {
				t.Fatal(err)
			}
			recs := oracleRecords(t, path)
			if d := digest(recs); d != g.digest || len(recs) != g.entries {
				t.Errorf("liblmdb: %d records, digest %s, want %d, %s", len(recs), d, g.entries, g.digest)
			}
			witness(t, path, recs)
		})
	}
}

// churn applies random transactions to a database through liblmdb and checks
// it against a model after each of some.
func churn(t *testing.T, path string, model map[string][]byte, mapSize int64, flags uint, rounds int) {
	rnd := rand.New(rand.NewPCG(3, 4))
	keys := func() []string {
		var ks []string
		for k := range model {
			ks = append(ks, k)
		}
		slices.Sort(ks)
		return ks
	}
	want := func() []record {
		var recs []record
		for _, k := range keys() {
			recs = append(recs, record{[]byte(k), model[k]})
		}
		return recs
	}
	env := openEnv(t, path, mapSize, flags)
	for round := range rounds {
		updateEnv(t, env, func(txn *liblmdb.Txn, dbi liblmdb.DBI) error {
			ks := keys()
			deletions := rnd.IntN(2 + len(ks)/3)
			if round%10 == 9 {
				deletions = len(ks) * 9 / 10
			}
			rnd.Shuffle(len(ks), func(i, j int) { ks[i], ks[j] = ks[j], ks[i] })
			for _, k := range ks[:deletions] {
				delete(model, k)
				if err := txn.Del(dbi, []byte(k), nil); err != nil {
					return err
				}
			}
			for range rnd.IntN(200) {
				k := fmt.Appendf(nil, "%0*d", 1+rnd.IntN(200), rnd.IntN(100000))
				if len(ks) > deletions && rnd.IntN(3) == 0 {
					k = []byte(ks[deletions+rnd.IntN(len(ks)-deletions)])
				}
				v := fill(rnd.Int(), []int{0, 10, 500, 2000, 2100, 9000, 60000}[rnd.IntN(7)])
				model[string(k)] = v
				if err := txn.Put(dbi, k, v, 0); err != nil {
					return err
				}
			}
			return nil
		})
		if round%7 == 0 {
			verify(t, path, want())
		}
	}
	env.Close()
	witness(t, path, want())
	m := mustOpen(t, path).meta
	if m.free.entries == 0 {
		t.Error("nothing was freed")
	}
}

func TestModifiedByLiblmdb(t *testing.T) {
	for _, flags := range []uint{0, liblmdb.WriteMap} {
		churn(t, filepath.Join(t.TempDir(), "db"), map[string][]byte{}, 1<<30, flags, 60)
	}
}

// TestLiblmdbModifiesOurs changes our files through liblmdb, one of them
// without naming a map size, as other programs do.
func TestLiblmdbModifiesOurs(t *testing.T) {
	for _, psz := range []int{4096, 8192, 32768} {
		for _, n := range []int{0, 1, 3000} {
			t.Run(fmt.Sprintf("%d/%d", psz, n), func(t *testing.T) {
				recs := makeRecords(n, func(i int) int { return 8 + i*3%500 }, func(i int) int { return i * 13 % 12000 })
				path := filepath.Join(t.TempDir(), "db")
				writeRecords(t, path, Options{PageSize: psz}, recs)
				model := map[string][]byte{}
				for _, r := range recs {
					model[string(r.key)] = r.value
				}
				mapSize, rounds := int64(1<<28), 20
				if psz == 4096 && n == 3000 {
					// The map size of a file lets it grow to twice its size.
					mapSize, rounds = 0, 5
				}
				churn(t, path, model, mapSize, 0, rounds)
			})
		}
	}
}

func TestEmptiedByLiblmdb(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	recs := makeRecords(500, constant(20), constant(300))
	writeRecords(t, path, Options{PageSize: 4096}, recs)
	env := openEnv(t, path, 0, 0)
	updateEnv(t, env, func(txn *liblmdb.Txn, dbi liblmdb.DBI) error { return txn.Drop(dbi, false) })
	env.Close()
	witness(t, path, nil)
}

func TestRefusesLiblmdbKinds(t *testing.T) {
	for _, tc := range []struct {
		name, says string
		flags      uint
		put        func(txn *liblmdb.Txn, dbi liblmdb.DBI) error
	}{
		{"duplicates", "MDB_DUPSORT", liblmdb.DupSort, nil},
		{"fixed duplicates", "MDB_DUPSORT|MDB_DUPFIXED", liblmdb.DupSort | liblmdb.DupFixed, nil},
		{"reversed keys", "MDB_REVERSEKEY", liblmdb.ReverseKey, nil},
		{"named sub-database", `"inner" is a named sub-database`, 0, func(txn *liblmdb.Txn, _ liblmdb.DBI) error {
			inner, err := txn.OpenDBI("inner", liblmdb.Create)
			if err != nil {
				return err
			}
			return txn.Put(inner, []byte("k"), []byte("v"), 0)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			env := openEnv(t, path, 1<<28, 0)
			err := env.Update(func(txn *liblmdb.Txn) error {
				dbi, err := txn.OpenRoot(tc.flags | liblmdb.Create)
				if err != nil {
					return err
				}
				if tc.put != nil {
					return tc.put(txn, dbi)
				}
				return txn.Put(dbi, []byte("key"), []byte("v"), 0)
			})
			if err != nil {
				t.Fatal(err)
			}
			env.Close()
			db, err := Open(path)
			if err == nil {
				_, err = walk(db)
				db.Close()
			}
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v does not say %q", err, tc.says)
			}
		})
	}
}

// TestPast4GB has pages whose offsets need more than 32 bits.
func TestPast4GB(t *testing.T) {
	if testing.Short() {
		t.Skip("writes two files of more than 4 GB")
	}
	const n = 4200
	value := fill(1, 1<<20)
	stamp := func(i int) []byte {
		le.PutUint64(value, uint64(i))
		le.PutUint64(value[len(value)-8:], uint64(i))
		return value
	}
	key := func(i int) []byte { return fmt.Appendf(nil, "%08d", i) }
	check := func(c reader, n int) {
		t.Helper()
		for i := range n {
			k, v, err := c.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(k, key(i)) || len(v) != len(value) || le.Uint64(v) != uint64(i) || le.Uint64(v[len(v)-8:]) != uint64(i) {
				t.Fatalf("record %d: key %q, %d bytes", i, k, len(v))
			}
		}
		if _, _, err := c.Next(); err != io.EOF {
			t.Fatalf("after the last record: %v", err)
		}
		if k, _, err := c.Seek(key(n - 1)); err != nil || !bytes.Equal(k, key(n-1)) {
			t.Fatalf("Seek: %q, %v", k, err)
		}
	}
	bothRead := func(path string, n int) {
		t.Helper()
		ours := mustOpen(t, path)
		if size := ours.Info().FileSize; size <= 1<<32 {
			t.Fatalf("only %d bytes", size)
		}
		check(ours.Cursor(), n)
		if err := ours.Check(); err != nil {
			t.Fatal(err)
		}
		theirs, err := lmdbgo.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		c := theirs.Cursor()
		defer c.Close()
		check(c, n)
	}
	t.Run("ours", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		w, err := Create(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		for i := range n {
			if err := w.Put(key(i), stamp(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		bothRead(path, n)
		env := openEnv(t, path, 0, 0)
		updateEnv(t, env, func(txn *liblmdb.Txn, dbi liblmdb.DBI) error {
			for i := n; i < n+20; i++ {
				if err := txn.Put(dbi, key(i), stamp(i), 0); err != nil {
					return err
				}
			}
			return nil
		})
		env.Close()
		bothRead(path, n+20)
	})
	t.Run("liblmdb's", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		env := openEnv(t, path, 1<<33, 0)
		for from := 0; from < n; from += 100 {
			updateEnv(t, env, func(txn *liblmdb.Txn, dbi liblmdb.DBI) error {
				for i := from; i < from+100; i++ {
					if err := txn.Put(dbi, key(i), stamp(i), liblmdb.Append); err != nil {
						return err
					}
				}
				return nil
			})
		}
		env.Close()
		bothRead(path, n)
	})
}

func TestBackEndCursor(t *testing.T) {
	recs := makeRecords(300, constant(20), constant(300))
	path := filepath.Join(t.TempDir(), "db")
	writeRecords(t, path, Options{PageSize: 4096}, recs)
	db, err := lmdbgo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	theirs := db.Cursor()
	defer theirs.Close()
	ours := mustOpen(t, path).Cursor()
	for _, step := range []struct {
		name string
		f    func(c reader) ([]byte, []byte, error)
	}{
		{"Next of a new cursor", reader.Next},
		{"Next", reader.Next},
		{"First", reader.First},
		{"Last", reader.Last},
		{"Next past the end", reader.Next},
		{"Next again", reader.Next},
		{"Seek to nil", func(c reader) ([]byte, []byte, error) { return c.Seek(nil) }},
		{"Next", reader.Next},
		{"Seek between", func(c reader) ([]byte, []byte, error) { return c.Seek([]byte("00000123")) }},
		{"Next", reader.Next},
		{"Seek past the end", func(c reader) ([]byte, []byte, error) { return c.Seek([]byte("9")) }},
		{"Next past the end", reader.Next},
		{"First", reader.First},
	} {
		k1, v1, err1 := step.f(ours)
		k2, v2, err2 := step.f(theirs)
		if err1 != err2 || !bytes.Equal(k1, k2) || !bytes.Equal(v1, v2) {
			t.Errorf("%s: ours %q, %v; liblmdb's %q, %v", step.name, k1, err1, k2, err2)
		}
	}
	if _, err := lmdbgo.Open(filepath.Join(path, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
