package leveldb

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// bytewise is the only key order Caffe uses, and the only one read here.
const bytewise = "leveldb.BytewiseComparator"

// A table is a live table file. Its bounds are user keys.
type table struct {
	num         uint64
	first, last []byte
}

// A DB is a database open for reading.
type DB struct {
	path   string
	levels [][]table // level 0 from the newest table on, the others by key
	mem    []entry   // from the logs, by key, the newest version first
	names  map[uint64]string
}

// Open reads the manifest and the logs of the database in a folder.
func Open(path string) (*DB, error) {
	db := &DB{path: path, names: map[uint64]string{}}
	if err := db.open(); err != nil {
		return nil, fmt.Errorf("leveldb %s: %w", path, err)
	}
	return db, nil
}

func (db *DB) open() error {
	current, err := os.ReadFile(filepath.Join(db.path, "CURRENT"))
	if err != nil {
		return err
	}
	name, ok := strings.CutSuffix(string(current), "\n")
	if !ok || filepath.Base(name) != name || !strings.HasPrefix(name, "MANIFEST-") {
		return corrupt("CURRENT does not name a manifest")
	}
	m, err := readManifest(filepath.Join(db.path, name))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	logs, err := db.list(m)
	if err != nil {
		return err
	}
	for _, num := range logs {
		if err := db.readLog(db.names[num]); err != nil {
			return fmt.Errorf("%s: %w", db.names[num], err)
		}
	}
	slices.SortStableFunc(db.mem, func(a, b entry) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return cmp.Compare(b.tag, a.tag)
	})
	return db.sortTables(m)
}

// list notes the names of all tables and logs by number and returns the live
// logs in order.
func (db *DB) list(m *manifest) (logs []uint64, err error) {
	files, err := os.ReadDir(db.path)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		base, ext, _ := strings.Cut(f.Name(), ".")
		num, err := strconv.ParseUint(base, 10, 64)
		if err != nil {
			continue
		}
		switch ext {
		case "ldb", "sst": // sst: before LevelDB 1.14
			db.names[num] = f.Name()
		case "log":
			if num >= m.log || num == m.prevLog {
				db.names[num] = f.Name()
				logs = append(logs, num)
			}
		}
	}
	slices.Sort(logs)
	return logs, nil
}

func (db *DB) readLog(name string) error {
	b, err := os.ReadFile(filepath.Join(db.path, name))
	if err != nil {
		return err
	}
	r := logReader{b: b}
	for {
		rec, err := r.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if db.mem, err = appendBatch(db.mem, rec); err != nil {
			return err
		}
	}
}

// sortTables fills levels and checks that every table exists and that those of
// a level above 0 are apart.
func (db *DB) sortTables(m *manifest) error {
	db.levels = make([][]table, len(m.tables))
	for level, live := range m.tables {
		ts := make([]table, 0, len(live))
		for num, t := range live {
			if _, ok := db.names[num]; !ok {
				return corrupt("table %06d is missing", num)
			}
			ts = append(ts, t)
		}
		if level == 0 {
			slices.SortFunc(ts, func(a, b table) int { return cmp.Compare(b.num, a.num) })
		} else {
			slices.SortFunc(ts, func(a, b table) int { return bytes.Compare(a.first, b.first) })
			for i := 1; i < len(ts); i++ {
				// Two versions of one key may lie on either side of a border.
				if bytes.Compare(ts[i-1].last, ts[i].first) > 0 {
					return corrupt("tables %06d and %06d of level %d overlap", ts[i-1].num, ts[i].num, level)
				}
			}
		}
		db.levels[level] = ts
	}
	return nil
}

// Close frees nothing that is not freed by itself; cursors are closed by
// themselves.
func (db *DB) Close() error { return nil }

// A manifest is the state that all edits of a manifest file add up to.
type manifest struct {
	log, prevLog uint64
	tables       [7]map[uint64]table
}

// Fields of a version edit.
const (
	editComparator = 1
	editLog        = 2
	editNextFile   = 3
	editLastSeq    = 4
	editCompact    = 5
	editDelete     = 6
	editNew        = 7
	editPrevLog    = 9
)

func readManifest(path string) (*manifest, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := &manifest{}
	for i := range m.tables {
		m.tables[i] = map[uint64]table{}
	}
	r := logReader{b: b}
	edits := 0
	for ; ; edits++ {
		rec, err := r.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := m.apply(rec); err != nil {
			return nil, err
		}
	}
	if edits == 0 {
		return nil, corrupt("the manifest is empty")
	}
	// LevelDB would go back to the state before; but then a damaged length
	// could hide records.
	if r.torn {
		return nil, corrupt("the manifest is cut off")
	}
	return m, nil
}

// apply adds one version edit: deletions first, as LevelDB does.
func (m *manifest) apply(rec []byte) error {
	type added struct {
		level uint64
		t     table
	}
	var news []added
	d := decoder{rec, true}
	for len(d.b) > 0 {
		switch f := d.uvarint(); f {
		case editComparator:
			if c := string(d.bytes()); d.ok && c != bytewise {
				return fmt.Errorf("keys are in the order %q: only %s is supported", c, bytewise)
			}
		case editLog:
			m.log = d.uvarint()
		case editPrevLog:
			m.prevLog = d.uvarint()
		case editNextFile, editLastSeq:
			d.uvarint()
		case editCompact:
			d.uvarint()
			d.bytes()
		case editDelete:
			level, num := d.uvarint(), d.uvarint()
			if level >= uint64(len(m.tables)) {
				return corrupt("table of level %d", level)
			}
			delete(m.tables[level], num)
		case editNew:
			level, num := d.uvarint(), d.uvarint()
			d.uvarint() // the file's size
			first, last := d.bytes(), d.bytes()
			if level >= uint64(len(m.tables)) || len(first) < 8 || len(last) < 8 {
				return corrupt("bad entry for table %06d", num)
			}
			news = append(news, added{level, table{num, first[:len(first)-8], last[:len(last)-8]}})
		default:
			if d.ok {
				return corrupt("version edit with unknown field %d", f)
			}
		}
	}
	if !d.ok {
		return corrupt("version edit ends inside a field")
	}
	for _, n := range news {
		m.tables[n.level][n.t.num] = n.t
	}
	return nil
}

// splitTag divides a table's key into user key and tag.
func splitTag(ikey []byte) (key []byte, tag uint64, err error) {
	n := len(ikey) - 8
	if n < 0 {
		return nil, 0, corrupt("table key of %d bytes", len(ikey))
	}
	return ikey[:n], binary.LittleEndian.Uint64(ikey[n:]), nil
}
