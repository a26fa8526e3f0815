package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"crema/data"
	"crema/lmdb"
	"crema/netinfo"
)

// statRecords is the number of records that stat looks at unless it is to look
// at all: of a large database, one page of each must come from disk.
const statRecords = 10000

// A tally counts the records of a database by what they are.
type tally struct {
	records, size   int
	first, last     []byte
	short, long     int // lengths of keys
	small, large    int // sizes of values
	kinds           map[string]int
	labels          map[int]int
	unread          int
	unreadKey, what string // the first that is not read
}

func (t *tally) add(k, v []byte) {
	if t.records == 0 {
		t.first, t.short, t.small = slices.Clone(k), len(k), len(v)
		t.kinds, t.labels = map[string]int{}, map[int]int{}
	}
	t.records++
	t.size += len(v)
	t.last = append(t.last[:0], k...)
	t.short, t.long = min(t.short, len(k)), max(t.long, len(k))
	t.small, t.large = min(t.small, len(v)), max(t.large, len(v))
	i, err := data.InspectDatum(v, data.Native)
	if err != nil {
		if t.unread++; t.unread == 1 {
			t.unreadKey, t.what = keyText(k), err.Error()
		}
		return
	}
	t.kinds[shapeOf(i)]++
	t.labels[i.Label]++
}

// lmdbStat tells what a database consists of.
func lmdbStat(fs *flag.FlagSet) func(d *openDB, args []string, s stdio) error {
	all := fs.Bool("all", false, fmt.Sprintf("look at all records, not only at the first %d", statRecords))
	return func(d *openDB, _ []string, s stdio) error {
		var t tally
		more := false
		if err := d.each(nil, func(k, v []byte) (bool, error) {
			if more = !*all && t.records == statRecords; more {
				return false, nil
			}
			t.add(k, v)
			return true, nil
		}); err != nil {
			return err
		}
		var b strings.Builder
		row := func(name, format string, args ...any) {
			fmt.Fprintf(&b, "%-10s %s\n", name, fmt.Sprintf(format, args...))
		}
		if d.backend == data.LMDB {
			db, err := lmdb.Open(d.path)
			if err != nil {
				return err
			}
			i := db.Info()
			if err := db.Close(); err != nil {
				return err
			}
			// Two meta pages; the rest is free or the list of free pages.
			free := i.Pages - 2 - i.BranchPages - i.LeafPages - i.OverflowPages
			row("database", "LMDB, %s; a writer may make it %s", netinfo.Bytes(i.FileSize), netinfo.Bytes(int64(i.MapSize)))
			row("pages", "%d of %s: %d branch, %d leaf, %d overflow, %d free; depth %d, transaction %d", i.Pages, netinfo.Bytes(int64(i.PageSize)), i.BranchPages, i.LeafPages, i.OverflowPages, free, i.Depth, i.TxnID)
			row("records", "%d", i.Entries)
		} else {
			size, tables, logs, err := levelFiles(d.path)
			if err != nil {
				return err
			}
			row("database", "LevelDB, %s: %d tables, %d logs", netinfo.Bytes(size), tables, logs)
			if !more {
				row("records", "%d", t.records)
			}
		}
		if more {
			row("below", "of the first %d records; -all looks at all", statRecords)
		}
		if t.records > 0 {
			t.write(row)
		}
		_, err := fmt.Fprint(s.out, b.String())
		return err
	}
}

func (t *tally) write(row func(name, format string, args ...any)) {
	row("keys", "%s to %s, of %s bytes", keyText(t.first), keyText(t.last), span(t.short, t.long))
	row("values", "%s on average, from %s to %s", netinfo.Bytes(int64(t.size/t.records)), netinfo.Bytes(int64(t.small)), netinfo.Bytes(int64(t.large)))
	kinds := slices.SortedFunc(maps.Keys(t.kinds), func(a, b string) int {
		if d := t.kinds[b] - t.kinds[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	const most = 8
	for n, k := range kinds {
		name := ""
		if n == 0 {
			name = "pictures"
		}
		if n == most {
			row("", "… and %d other shapes", len(kinds)-most)
			break
		}
		row(name, "%d of %s", t.kinds[k], k)
	}
	if len(t.labels) > 0 {
		labels := slices.Sorted(maps.Keys(t.labels))
		few, many := t.labels[labels[0]], 0
		for _, n := range t.labels {
			few, many = min(few, n), max(many, n)
		}
		row("labels", "%d different, from %d to %d, %s records each", len(labels), labels[0], labels[len(labels)-1], span(few, many))
	}
	if t.unread > 0 {
		row("not read", "%d; the first is %s: %s", t.unread, t.unreadKey, t.what)
	}
}

// span writes a range of numbers.
func span(a, b int) string {
	if a == b {
		return fmt.Sprint(a)
	}
	return fmt.Sprintf("%d to %d", a, b)
}

// levelFiles measures the files of a LevelDB database.
func levelFiles(path string) (size int64, tables, logs int, err error) {
	files, err := os.ReadDir(path)
	if err != nil {
		return 0, 0, 0, err
	}
	for _, f := range files {
		i, err := f.Info()
		if err != nil {
			return 0, 0, 0, err
		}
		size += i.Size()
		switch filepath.Ext(f.Name()) {
		case ".ldb", ".sst":
			tables++
		case ".log":
			logs++
		}
	}
	return size, tables, logs, nil
}
