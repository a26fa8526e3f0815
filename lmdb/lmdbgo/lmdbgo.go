//go:build lmdbgo && cgo

package lmdbgo

import (
	"fmt"
	"io"
	"os"

	"github.com/bmatsuo/lmdb-go/lmdb"
)

// DB is a database opened read-only. It may be used by several goroutines,
// each with a [Cursor] of its own.
type DB struct {
	path    string
	env     *lmdb.Env
	dbi     lmdb.DBI
	entries uint64
}

// Open opens the main database at path, a folder or a data file
// (MDB_NOSUBDIR). liblmdb creates the lock file if it can, and does without
// where the file system is read-only.
func Open(path string) (db *DB, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("lmdbgo: %s: %w", path, err)
		}
	}()
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	env, err := lmdb.NewEnv()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			env.Close()
		}
	}()
	flags := uint(lmdb.Readonly)
	if !st.IsDir() {
		flags |= lmdb.NoSubdir
	}
	if err := env.Open(path, flags, 0o644); err != nil {
		return nil, err
	}
	db = &DB{path: path, env: env}
	err = env.View(func(txn *lmdb.Txn) error {
		if db.dbi, err = txn.OpenRoot(0); err != nil {
			return err
		}
		stat, err := txn.Stat(db.dbi)
		if err != nil {
			return err
		}
		db.entries = stat.Entries
		return nil
	})
	if err != nil {
		return nil, err
	}
	return db, nil
}

// Len is the number of records at the time of Open.
func (db *DB) Len() uint64 { return db.entries }

// Close closes the database. All its cursors must have been closed.
func (db *DB) Close() error { return db.env.Close() }

// Cursor walks the records in ascending key order. It reads the snapshot that
// was the newest at its first step, and holds it until Close.
//
// Keys and values are copies: lmdb-go's uncopied reads (Txn.RawRead) fault on
// an empty value that ends at the file's end, whose address is out of the map.
type Cursor struct {
	db  *DB
	txn *lmdb.Txn
	cur *lmdb.Cursor
	end bool // past the last record
}

// Cursor returns a new cursor before the first record.
func (db *DB) Cursor() *Cursor { return &Cursor{db: db} }

// First moves to the first record; io.EOF if there is none.
func (c *Cursor) First() (key, value []byte, err error) { return c.get(nil, lmdb.First) }

// Next moves to the next record, the first one on a new cursor; io.EOF past
// the last.
func (c *Cursor) Next() (key, value []byte, err error) { return c.get(nil, lmdb.Next) }

// Last moves to the last record; io.EOF if there is none.
func (c *Cursor) Last() (key, value []byte, err error) { return c.get(nil, lmdb.Last) }

// Seek moves to the first record whose key is not below key; io.EOF if there
// is none.
func (c *Cursor) Seek(key []byte) (k, value []byte, err error) {
	if len(key) == 0 {
		return c.First() // liblmdb takes no empty key
	}
	return c.get(key, lmdb.SetRange)
}

func (c *Cursor) get(target []byte, op uint) (key, value []byte, err error) {
	if c.cur == nil {
		if err := c.begin(); err != nil {
			return nil, nil, fmt.Errorf("lmdbgo: %s: %w", c.db.path, err)
		}
	}
	if c.end && op == lmdb.Next {
		// liblmdb would start again after a search that found nothing.
		return nil, nil, io.EOF
	}
	key, value, err = c.cur.Get(target, nil, op)
	c.end = lmdb.IsNotFound(err)
	switch {
	case c.end:
		return nil, nil, io.EOF
	case err != nil:
		return nil, nil, fmt.Errorf("lmdbgo: %s: %w", c.db.path, err)
	}
	return key, value, nil
}

func (c *Cursor) begin() error {
	txn, err := c.db.env.BeginTxn(nil, lmdb.Readonly)
	if err != nil {
		return err
	}
	cur, err := txn.OpenCursor(c.db.dbi)
	if err != nil {
		txn.Abort()
		return err
	}
	c.txn, c.cur = txn, cur
	return nil
}

// Close releases the cursor and its snapshot.
func (c *Cursor) Close() error {
	if c.cur != nil {
		c.cur.Close()
		c.txn.Abort()
		c.cur, c.txn = nil, nil
	}
	return nil
}
