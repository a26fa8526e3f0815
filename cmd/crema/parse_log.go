package main

import (
	"context"
	"fmt"
	"os"
	"unicode/utf8"

	"crema/trainlog"
)

func init() {
	register(command{name: "parse_log", args: "LOG [OUTPUT_FOLDER]",
		summary: "make CSV tables of a training log: LOG.train and LOG.test", group: groupLook, run: runParseLog})
}

// runParseLog is Caffe's parse_log.py.
func runParseLog(args []string, s stdio) error {
	fs := newFlags("parse_log", "LOG [OUTPUT_FOLDER]", s)
	lf := addLogFlags(fs)
	delimiter := fs.String("delimiter", ",", "what stands between columns, one `character`")
	fs.Bool("verbose", false, "accepted for parse_log.py's sake; the files' names are always logged")
	again := fs.Bool("drop_repeated", false, "of iterations that a resumed run computed again, keep only the last")
	pos, err := parseFlags(fs, args)
	if err != nil {
		return err
	}
	if len(pos) < 1 || len(pos) > 2 {
		return usageError{fmt.Errorf("wants LOG [OUTPUT_FOLDER], got %d arguments", len(pos))}
	}
	sep, n := utf8.DecodeRuneInString(*delimiter)
	if n == 0 || n != len(*delimiter) || sep == '"' || sep == '\r' || sep == '\n' || sep == utf8.RuneError {
		return usageError{fmt.Errorf("-delimiter=%q: must be one character, not a quote or the end of a line", *delimiter)}
	}
	path, dir := pos[0], "."
	if len(pos) == 2 {
		dir = pos[1]
	}
	return withLog(lf, s, func(_ context.Context, log *runLog) error {
		l, err := trainlog.ReadFile(path)
		if err != nil {
			return err
		}
		if *again {
			l = l.Superseded()
		}
		if len(l.Train.Rows)+len(l.Test.Rows) == 0 {
			return fmt.Errorf("%s: it has no line with an output of a training or test net", path)
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		names, err := l.WriteCSV(path, dir, sep)
		for _, n := range names {
			log.Info("Wrote " + n)
		}
		return err
	})
}
