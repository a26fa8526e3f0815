package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"crema/data"
)

func init() {
	register(command{name: "lmdb", args: "stat|list|show|verify DB",
		summary: "look into a database, LMDB or LevelDB, and check it", group: groupData, run: runLMDB})
}

// An lmdbVerb is what is done with a database.
type lmdbVerb struct {
	name, args, summary string
	// flags declares the verb's own flags and returns what runs it.
	flags func(fs *flag.FlagSet) func(d *openDB, args []string, s stdio) error
}

var lmdbVerbs = []lmdbVerb{
	{"stat", "DB", "size, tree, and what kinds of records there are", lmdbStat},
	{"list", "DB", "keys, shapes and labels of the records", lmdbList},
	{"show", "DB [KEY ...]", "all about single records; with -out their pictures", lmdbShow},
	{"verify", "DB", "read and decode everything, and name what is wrong", lmdbVerify},
}

// runLMDB is the command lmdb. It works on both kinds of databases; the name is
// the one that users look for.
func runLMDB(args []string, s stdio) error {
	find := func(name string) int {
		return slices.IndexFunc(lmdbVerbs, func(v lmdbVerb) bool { return v.name == name })
	}
	at := slices.IndexFunc(args, func(a string) bool { return find(a) >= 0 })
	if at < 0 {
		if i := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") }); i >= 0 {
			return usageError{fmt.Errorf("unknown verb %q: stat, list, show or verify", args[i])}
		}
		fmt.Fprint(s.out, "usage: crema lmdb VERB DB [flags]   ('crema lmdb VERB --help' lists the flags)\n\nDB is an LMDB or a LevelDB database.\n\n")
		for _, v := range lmdbVerbs {
			fmt.Fprintf(s.out, "  %-20s %s\n", v.name+" "+v.args, v.summary)
		}
		if len(args) == 0 {
			return exitError(2)
		}
		return errHelp
	}
	v := lmdbVerbs[find(args[at])]
	fs := newFlags("lmdb "+v.name, v.args, s)
	lf := addLogFlags(fs)
	backend := fs.String("backend", "", "kind of `database`, lmdb or leveldb (default: found out)")
	run := v.flags(fs)
	pos, err := parseFlags(fs, slices.Delete(slices.Clone(args), at, at+1))
	if err != nil {
		return err
	}
	if len(pos) == 0 {
		return usageError{fmt.Errorf("%s wants %s", v.name, v.args)}
	}
	if len(pos) > 1 && !strings.Contains(v.args, "KEY") {
		return usageError{fmt.Errorf("unexpected argument %q", pos[1])}
	}
	return withLog(lf, s, func(ctx context.Context, log *runLog) error {
		d, err := openDatabase(pos[0], *backend)
		if err != nil {
			return err
		}
		d.ctx, d.log = ctx, log
		return errors.Join(d.Guard(func() error { return run(d, pos[1:], s) }), d.Close())
	})
}

// An openDB is the database that a verb works on.
type openDB struct {
	data.DB
	path    string
	backend data.Backend
	ctx     context.Context
	log     *runLog
}

func openDatabase(path, backend string) (d *openDB, err error) {
	d = &openDB{path: path}
	if backend == "" {
		d.backend, err = data.DetectBackend(path)
	} else if d.backend, err = data.ParseBackend(backend); err != nil {
		err = usageError{err}
	}
	if err != nil {
		return nil, err
	}
	d.DB, err = data.OpenDB(path, d.backend)
	return d, err
}

// each calls f for the records from the key on, until it returns false.
func (d *openDB) each(from []byte, f func(key, value []byte) (more bool, err error)) error {
	cur := d.Cursor()
	defer cur.Close()
	k, v, err := cur.Seek(from)
	for ; err == nil; k, v, err = cur.Next() {
		if d.ctx.Err() != nil {
			return d.ctx.Err()
		}
		if more, err := f(k, v); !more || err != nil {
			return err
		}
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// shapeOf writes a record's shape and how its picture is stored.
func shapeOf(i data.DatumInfo) string {
	kind := "raw"
	switch {
	case i.Encoded:
		kind = i.Format
	case i.Float:
		kind = "floats"
	}
	return fmt.Sprintf("%d×%d×%d %s", i.C, i.H, i.W, kind)
}

// keyText writes a key as it is if that can be read, and quoted if not.
func keyText(k []byte) string {
	q := fmt.Sprintf("%q", k)
	if q == `"`+string(k)+`"` && len(k) > 0 && !strings.ContainsAny(string(k), " \t") {
		return string(k)
	}
	return q
}

// lmdbList lists records, a line each.
func lmdbList(fs *flag.FlagSet) func(d *openDB, args []string, s stdio) error {
	from := fs.String("from", "", "begin at this `key`, or at the first one behind it")
	limit := fs.Int("limit", 50, "list at most this `many` records, 0: all")
	return func(d *openDB, _ []string, s stdio) error {
		if *limit < 0 {
			return usageError{errors.New("-limit must not be negative")}
		}
		n := 0
		err := d.each([]byte(*from), func(k, v []byte) (bool, error) {
			if *limit > 0 && n == *limit {
				fmt.Fprintf(s.out, "… and more: list them with -from %s, or all with -limit 0\n", keyText(k))
				return false, nil
			}
			n++
			i, err := data.InspectDatum(v, data.Native)
			if err != nil {
				_, err = fmt.Fprintf(s.out, "%-28s %d bytes: %v\n", keyText(k), len(v), err)
				return true, err
			}
			_, err = fmt.Fprintf(s.out, "%-28s label %-5d %-20s %9d bytes\n", keyText(k), i.Label, shapeOf(i), i.Bytes)
			return true, err
		})
		if err == nil && n == 0 {
			fmt.Fprintln(s.out, "no records")
		}
		return err
	}
}

// lmdbVerify checks a database, page by page and record by record.
func lmdbVerify(fs *flag.FlagSet) func(d *openDB, args []string, s stdio) error {
	limit := fs.Int("limit", 20, "name at most this `many` records, 0: all")
	return func(d *openDB, _ []string, s stdio) error {
		var faults []error
		if err := data.CheckStructure(d.DB); err != nil {
			faults = append(faults, err)
			fmt.Fprintln(s.out, err)
		}
		wrong, damaged := 0, 0
		records, err := data.Verify(d.ctx, d.DB, func(key string, err error) {
			if errors.Is(err, data.ErrDamaged) {
				damaged++
			} else {
				wrong++
			}
			if n := wrong + damaged; *limit == 0 || n <= *limit {
				fmt.Fprintf(s.out, "record %s: %v\n", keyText([]byte(key)), err)
			} else if n == *limit+1 {
				fmt.Fprintln(s.out, "… and more: -limit 0 names all")
			}
		})
		if d.ctx.Err() != nil {
			return d.ctx.Err()
		}
		if err != nil {
			faults = append(faults, err)
			fmt.Fprintln(s.out, err)
		}
		switch {
		case len(faults)+wrong+damaged == 0:
			fmt.Fprintf(s.out, "%s: %d records, all sound\n", d.path, records)
		case len(faults) > 0:
			return fmt.Errorf("%s is damaged; %d records could be read, %d of them wrong", d.path, records, wrong+damaged)
		case wrong > 0:
			return fmt.Errorf("%s: %d of %d records are wrong", d.path, wrong, records)
		case damaged > 0:
			return fmt.Errorf("%s: %d of %d pictures are damaged, but can be read in part", d.path, damaged, records)
		}
		return nil
	}
}
