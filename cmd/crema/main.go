package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// A command is one action of the program, in a file of its own that registers
// it from init.
type command struct {
	name    string
	args    string // what follows the flags in the usage line
	summary string // one line for the list of commands
	group   group
	// run gets the arguments without the program's and the action's name. An
	// error is printed as one line and ends the program with status 1; a
	// usageError with status 2.
	run func(args []string, stdio stdio) error
}

// A group is a part of the list of commands.
type group int

// The groups, in the order of the list.
const (
	groupOther group = iota // comes last
	groupTrain
	groupUse
	groupLook
	groupData
	groupFiles
)

// groupTitles are the headings.
var groupTitles = map[group]string{
	groupTrain: "train", groupUse: "use a trained net", groupLook: "look at nets, weights and logs",
	groupData: "data sets", groupFiles: "files of old versions", groupOther: "other",
}

// stdio is where a command reads and writes; tests put buffers here.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// usageError marks an error in how the program was called.
type usageError struct{ error }

// exitError ends the program with a status and prints nothing more.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

var commands = map[string]*command{}

func register(c command) { commands[c.name] = &c }

func main() {
	os.Exit(run(os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// run finds the action among the arguments (flags may come before it, as with
// gflags), runs it and returns the exit status.
func run(args []string, s stdio) int {
	name, rest := splitAction(args)
	switch name {
	case "":
		usage(s.err)
		return 2
	case "help":
		if len(rest) > 0 && commands[rest[0]] != nil {
			name, rest = rest[0], []string{"--help"}
			break
		}
		usage(s.out)
		return 0
	}
	c, ok := commands[name]
	if !ok {
		fmt.Fprintf(s.err, "crema: unknown command %q%s; 'crema help' lists them\n", name, didYouMean(name))
		return 2
	}
	err := c.run(rest, s)
	var exit exitError
	var bad usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &bad):
		fmt.Fprintf(s.err, "crema %s: %v\n", name, err)
		return 2
	default:
		fmt.Fprintf(s.err, "crema %s: %v\n", name, err)
		return 1
	}
}

// didYouMean suggests the command that is one letter away from a mistyped one:
// added, left out, changed or swapped with its neighbour.
func didYouMean(typed string) string {
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		a, b := typed, name
		if len(a) > len(b) {
			a, b = b, a
		}
		i := 0
		for i < len(a) && a[i] == b[i] {
			i++
		}
		a, b = a[i:], b[i:]
		one := len(a) == len(b) && len(a) > 0 && a[1:] == b[1:]
		one = one || len(a)+1 == len(b) && a == b[1:]
		one = one || len(a) == len(b) && len(a) > 1 && a[0] == b[1] && a[1] == b[0] && a[2:] == b[2:]
		if one {
			return fmt.Sprintf(" (did you mean %s?)", name)
		}
	}
	return ""
}

func usage(w io.Writer) {
	fmt.Fprint(w, "crema trains and runs Caffe networks on CPUs.\n\nusage: crema COMMAND [flags]   ('crema COMMAND --help' lists the flags)\n\n")
	names := slices.Sorted(maps.Keys(commands))
	width := 0
	for _, n := range names {
		width = max(width, len(n+" "+commands[n].args))
	}
	blank := ""
	for _, g := range []group{groupTrain, groupUse, groupLook, groupData, groupFiles, groupOther} {
		title := blank + groupTitles[g] + ":\n"
		for _, n := range names {
			if c := commands[n]; c.group == g {
				fmt.Fprintf(w, "%s  %-*s  %s\n", title, width, strings.TrimSpace(n+" "+c.args), c.summary)
				title, blank = "", "\n"
			}
		}
	}
	fmt.Fprint(w, `
environment variables:
  CREMA_PYTHON=PROGRAM            run Python layers in this python3, which must have numpy
and for comparisons:
  CREMA_ISA=generic|avx2|avx512   use the kernels of this instruction set
  CREMA_CONV=NAME                 convolve by this algorithm where it can be
  CREMA_LAYOUT=nchw               keep all blobs in the order of files
  CREMA_FUSE=off                  let every layer do its own work
`)
}
