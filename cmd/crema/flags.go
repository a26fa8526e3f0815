package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"sort"
	"strings"
)

// errHelp says that --help was asked for and answered.
var errHelp = exitError(0)

// isBool reports whether a flag takes no value.
func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// splitAction returns the first argument that names a command (or, if none
// does, the first that is not a flag) and the others. Flags may stand before
// the action as gflags allows: crema --solver=s.prototxt train.
func splitAction(args []string) (name string, rest []string) {
	pick := -1
	for i, a := range args {
		if a == "--help" || a == "-help" || a == "-h" {
			if pick < 0 && i == 0 {
				return "help", nil
			}
		}
		if strings.HasPrefix(a, "-") {
			continue
		}
		if _, ok := commands[a]; ok || a == "help" {
			pick = i
			break
		}
		if pick < 0 {
			pick = i
		}
	}
	if pick < 0 {
		return "", args
	}
	return args[pick], append(append([]string{}, args[:pick]...), args[pick+1:]...)
}

// newFlags returns a flag set for a command. Its usage goes to s.out.
func newFlags(name, args string, s stdio) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {
		fmt.Fprintf(s.out, "usage: crema %s [flags] %s\n\nflags:\n", name, args)
		fs.SetOutput(s.out)
		fs.PrintDefaults()
		fs.SetOutput(io.Discard)
	}
	return fs
}

// parseFlags parses gflags' syntax: -x and --x, '=' or a space before the
// value, flags before and after the positional arguments, -nofoo for
// booleans, '--' ends flags. It returns the positional arguments; an unknown
// flag or a bad value is a usageError, --help prints the usage and returns
// errHelp.
func parseFlags(fs *flag.FlagSet, args []string) ([]string, error) {
	// The package flag would print the usage after every error, too.
	usage := fs.Usage
	fs.Usage = func() {}
	var pos []string
	for len(args) > 0 {
		a := args[0]
		if a == "--" {
			return append(pos, args[1:]...), nil
		}
		if len(a) < 2 || a[0] != '-' {
			pos, args = append(pos, a), args[1:]
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if fs.Lookup(name) == nil && !hasValue && strings.HasPrefix(name, "no") {
			if f := fs.Lookup(name[2:]); f != nil && isBool(f) {
				fs.Set(name[2:], "false")
				args = args[1:]
				continue
			}
		}
		n := 1
		if f := fs.Lookup(name); f != nil && !hasValue && !isBool(f) {
			n = 2
		}
		if err := fs.Parse(args[:min(n, len(args))]); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				usage()
				return nil, errHelp
			}
			if fs.Lookup(name) == nil {
				return nil, usageError{fmt.Errorf("unknown flag %s (flags: %s)", a, strings.Join(flagNames(fs), " "))}
			}
			return nil, usageError{err}
		}
		args = args[min(n, len(args)):]
	}
	return pos, nil
}

func flagNames(fs *flag.FlagSet) []string {
	var s []string
	fs.VisitAll(func(f *flag.Flag) { s = append(s, "-"+f.Name) })
	sort.Strings(s)
	return s
}

// listFlag collects the values of a flag that may be repeated.
type listFlag []string

func (l *listFlag) String() string     { return strings.Join(*l, " ") }
func (l *listFlag) Set(s string) error { *l = append(*l, s); return nil }
