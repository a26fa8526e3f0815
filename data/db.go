package data

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"crema/data/leveldb"
	"crema/internal/infile"
	"crema/lmdb"
	"crema/prototxt/caffepb"

	goleveldb "github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// A Backend is a kind of database.
type Backend = caffepb.DataParameter_DB

// The kinds of databases Caffe has.
const (
	LMDB    = caffepb.DataParameter_LMDB
	LevelDB = caffepb.DataParameter_LEVELDB
)

// ParseBackend reads a --backend flag: lmdb or leveldb.
func ParseBackend(s string) (Backend, error) {
	if b, ok := caffepb.DataParameter_DB_value[strings.ToUpper(s)]; ok {
		return Backend(b), nil
	}
	return 0, fmt.Errorf("unknown backend %q (lmdb or leveldb)", s)
}

// DetectBackend finds out what kind of database is at path.
func DetectBackend(path string) (Backend, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if !st.IsDir() {
		return LMDB, nil // its data file, or none at all: OpenDB says so
	}
	for _, k := range []struct {
		file    string
		backend Backend
	}{{"data.mdb", LMDB}, {"CURRENT", LevelDB}} {
		if _, err := os.Stat(filepath.Join(path, k.file)); err == nil {
			return k.backend, nil
		}
	}
	return 0, fmt.Errorf("%s is no database: it has neither LMDB's data.mdb nor LevelDB's CURRENT", path)
}

// A DB is a database of records open for reading. It may be used by several
// goroutines, each with a cursor of its own.
type DB interface {
	// Cursor returns a cursor before the first record.
	Cursor() Cursor
	// Guard calls f and returns its error. Slices that cursors returned may be
	// views of a mapped file, which is gone if that is cut off or its disk
	// fails. Who reads them within f, in its goroutine, then gets an error;
	// elsewhere that ends the program.
	Guard(f func() error) error
	// Close frees the database and all slices its cursors returned. Cursors
	// must have been closed.
	Close() error
}

// A Cursor walks over records in the order of their keys. The slices it
// returns are valid until the database is closed and must not be written to.
// Behind the last record the error is io.EOF.
type Cursor interface {
	// First goes to the first record.
	First() (key, value []byte, err error)
	// Next goes to the record after the present one.
	Next() (key, value []byte, err error)
	// Seek goes to the first record whose key is not less than the given one.
	Seek(key []byte) (k, v []byte, err error)
	Close() error
}

// OpenDB opens a database for reading. It is not changed, and for LMDB no lock
// file is needed.
func OpenDB(path string, backend Backend) (DB, error) {
	if err := checkKind(path, backend); err != nil {
		return nil, err
	}
	if backend == LMDB {
		db, err := lmdb.Open(path)
		if err != nil {
			return nil, err
		}
		return lmdbDB{db}, nil
	}
	db, err := leveldb.Open(path)
	if err != nil {
		return nil, err
	}
	return levelDB{db}, nil
}

// checkKind names what is no database of that kind. The commonest mistake in a
// data layer is that LEVELDB is the default backend: an LMDB source without
// "backend: LMDB" ends here.
func checkKind(path string, backend Backend) error {
	if _, err := infile.Stat(path); err != nil {
		return err
	}
	kind, want := infile.Sniff(path), infile.LMDB
	if backend == LevelDB {
		want = infile.LevelDB
	}
	if backend == LMDB && (kind == infile.LMDBFile || kind == infile.Empty) {
		return nil // a data.mdb by itself, perhaps a damaged one
	}
	if msg := kind.Instead(want); msg != "" {
		return fmt.Errorf("%q: %s", path, msg)
	}
	return nil
}

// An intacter is a DB that notices when a writer has reused what it reads.
type intacter interface {
	// intact returns nil if all that was read so far is sound.
	intact() error
}

type lmdbDB struct{ db *lmdb.DB }

func (d lmdbDB) Cursor() Cursor { return lmdbCursor{d.db.Cursor()} }
func (d lmdbDB) Close() error   { return d.db.Close() }

func (d lmdbDB) Guard(f func() error) error { return d.db.Guard(f) }

// A reopener is a DB that can be opened again to see what has been written
// since.
type reopener interface {
	// reopen returns the newest state of the database, d staying open.
	reopen() (DB, error)
}

// reopen implements reopener.
func (d lmdbDB) reopen() (DB, error) {
	db, err := lmdb.Open(d.db.Info().Path)
	if err != nil {
		return nil, err
	}
	return lmdbDB{db}, nil
}

// intact implements intacter.
func (d lmdbDB) intact() error { return d.db.Intact() }

type lmdbCursor struct{ *lmdb.Cursor }

func (lmdbCursor) Close() error { return nil }

type levelDB struct{ *leveldb.DB }

func (d levelDB) Cursor() Cursor { return d.DB.Cursor() }

// Guard calls f: what the reader returns is memory of its own.
func (d levelDB) Guard(f func() error) error { return f() }

// A DBWriter fills a new database, which appears under its name when it is
// committed and not before.
type DBWriter interface {
	// Put adds a record; keys must ascend bytewise. The writer keeps neither
	// slice.
	Put(key, value []byte) error
	// Commit makes the database durable and visible.
	Commit() error
	// Abort removes what was written. It does nothing after Commit.
	Abort() error
}

// CreateDB begins a database at path, where nothing may exist yet. LMDB
// databases are folders with a data.mdb, as Caffe's tools make them.
func CreateDB(path string, backend Backend) (DBWriter, error) {
	path = filepath.Clean(path)
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s exists already", path)
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// A temporary folder beside it, renamed at the end.
	tmp, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp*")
	if err != nil {
		return nil, err
	}
	w, err := createIn(tmp, backend)
	if err != nil {
		os.RemoveAll(tmp)
		return nil, err
	}
	return &folderWriter{path: path, tmp: tmp, w: w}, nil
}

// createIn begins a database in an empty folder.
func createIn(dir string, backend Backend) (recordWriter, error) {
	if backend == LMDB {
		w, err := lmdb.Create(dir, lmdb.Options{})
		if err != nil {
			return nil, err
		}
		return lmdbWriter{w}, nil
	}
	// 64 KB blocks, as Caffe's own options.
	db, err := goleveldb.OpenFile(dir, &opt.Options{BlockSize: 64 << 10, WriteBuffer: levelBatch, Strict: opt.StrictAll})
	if err != nil {
		return nil, fmt.Errorf("leveldb: %w", err)
	}
	return &levelWriter{db: db}, nil
}

// A recordWriter writes a database in place.
type recordWriter interface {
	Put(key, value []byte) error
	// finish makes everything durable and closes; abandon just closes.
	finish() error
	abandon()
}

type lmdbWriter struct{ *lmdb.Writer }

func (w lmdbWriter) finish() error { return w.Commit() }
func (w lmdbWriter) abandon()      { w.Abort() }

// levelBatch is how many bytes are written to LevelDB at a time.
const levelBatch = 16 << 20

type levelWriter struct {
	db    *goleveldb.DB
	batch goleveldb.Batch
	bytes int
	last  []byte
}

func (w *levelWriter) Put(key, value []byte) error {
	if w.last != nil && string(key) <= string(w.last) {
		return fmt.Errorf("leveldb: key %q does not come after %q", key, w.last)
	}
	w.last = append(w.last[:0], key...)
	w.batch.Put(key, value)
	if w.bytes += len(key) + len(value); w.bytes < levelBatch {
		return nil
	}
	return w.flush(false)
}

func (w *levelWriter) flush(sync bool) error {
	if err := w.db.Write(&w.batch, &opt.WriteOptions{Sync: sync}); err != nil {
		return fmt.Errorf("leveldb: %w", err)
	}
	w.batch.Reset()
	w.bytes = 0
	return nil
}

func (w *levelWriter) finish() error {
	if err := w.flush(true); err != nil {
		w.db.Close()
		return err
	}
	if err := w.db.Close(); err != nil {
		return fmt.Errorf("leveldb: %w", err)
	}
	return nil
}

func (w *levelWriter) abandon() { w.db.Close() }

// A folderWriter writes to a temporary folder that gets its name at the end.
type folderWriter struct {
	path, tmp string
	w         recordWriter
	done      bool
}

func (f *folderWriter) Put(key, value []byte) error { return f.w.Put(key, value) }

func (f *folderWriter) Commit() (err error) {
	if f.done {
		return errors.New("database is closed")
	}
	f.done = true
	defer func() {
		if err != nil {
			os.RemoveAll(f.tmp)
		}
	}()
	if err := f.w.finish(); err != nil {
		return err
	}
	if err := os.Chmod(f.tmp, 0o755); err != nil {
		return err
	}
	if err := os.Rename(f.tmp, f.path); err != nil {
		return err
	}
	// The rename is done; a file system that cannot sync folders is no error.
	if d, err := os.Open(filepath.Dir(f.path)); err == nil {
		d.Sync()
		d.Close()
	}
	return nil
}

func (f *folderWriter) Abort() error {
	if f.done {
		return nil
	}
	f.done = true
	f.w.abandon()
	return os.RemoveAll(f.tmp)
}
