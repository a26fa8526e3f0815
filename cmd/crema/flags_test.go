package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// flagProbe returns a flag set with one flag of each kind.
func flagProbe() *flag.FlagSet {
	fs := newFlags("probe", "", stdio{out: &bytes.Buffer{}, err: &bytes.Buffer{}})
	fs.String("solver", "", "")
	fs.Int("iterations", 50, "")
	fs.Bool("gray", false, "")
	fs.Bool("normal", true, "")
	fs.Var(new(listFlag), "set", "")
	return fs
}

func TestParseFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // flags that were set, then positional arguments
	}{
		{"", ""},
		{"-solver=a", "solver=a"},
		{"--solver=a", "solver=a"},
		{"-solver a", "solver=a"},
		{"--solver a", "solver=a"},
		{"--solver=", "solver="},
		{"-solver a=b", "solver=a=b"},
		{"-iterations -3", "iterations=-3"},
		{"-gray", "gray=true"},
		{"--gray pos", "gray=true pos"},
		{"-gray=false", "gray=false"},
		{"-gray=1", "gray=true"},
		{"-nonormal", "normal=false"},
		{"--nogray", "gray=false"},
		{"a -gray b -solver s c", "gray=true solver=s a b c"},
		{"-solver a -solver b", "solver=b"},
		{"-set a=1 --set b=2", "set=a=1 b=2"},
		{"-gray -- -solver x", "gray=true -solver x"},
		{"-", "-"},
	} {
		t.Run(c.args, func(t *testing.T) {
			fs := flagProbe()
			pos, err := parseFlags(fs, strings.Fields(c.args))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			fs.Visit(func(f *flag.Flag) { got = append(got, f.Name+"="+f.Value.String()) })
			if s := strings.Join(append(got, pos...), " "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

func TestParseFlagsErrors(t *testing.T) {
	for args, want := range map[string]string{
		"-solvr a":        "-solver",
		"-nosuch":         "-nosuch",
		"-iterations x":   "-iterations",
		"-iterations 1.5": "1.5",
		"-iterations":     "-iterations",
		"-gray=maybe":     "maybe",
		"---solver=a":     "---solver",
		"-=a":             "-=a",
	} {
		_, err := parseFlags(flagProbe(), strings.Fields(args))
		if u := (usageError{}); !errors.As(err, &u) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want a usage error with %q in it", args, err, want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %q is more than one line", args, err)
		}
	}
}

func TestSplitAction(t *testing.T) {
	old := commands
	defer func() { commands = old }()
	commands = map[string]*command{"train": {}, "test": {}}
	for args, want := range map[string]string{
		"":                              "|",
		"train":                         "train|",
		"train -solver s":               "train|-solver s",
		"-solver=s train":               "train|-solver=s",
		"--solver s train -gpu 0":       "train|--solver s -gpu 0",
		"train -model test":             "train|-model test",
		"-solver=s tain":                "tain|-solver=s",
		"tain -solver s":                "tain|-solver s",
		"-solver s":                     "s|-solver",
		"--help":                        "help|",
		"-h":                            "help|",
		"help train":                    "help|train",
		"train --help":                  "train|--help",
		"-sigint_effect=none test -v 1": "test|-sigint_effect=none -v 1",
	} {
		name, rest := splitAction(strings.Fields(args))
		if got := name + "|" + strings.Join(rest, " "); got != want {
			t.Errorf("%q: got %q, want %q", args, got, want)
		}
	}
}

func TestExitStatus(t *testing.T) {
	old := commands
	defer func() { commands = old }()
	commands = map[string]*command{}
	for name, err := range map[string]error{
		"good": nil, "bad": errors.New("net.prototxt:3:1: oops"), "usage": usageError{errors.New("needs -x")},
		"wrapped": fmt.Errorf("w: %w", usageError{errors.New("needs -x")}), "exit": exitError(7),
	} {
		register(command{name: name, run: func([]string, stdio) error { return err }})
	}
	for args, want := range map[string]struct {
		status   int
		out, err string
	}{
		"good":    {0, "", ""},
		"bad":     {1, "", "crema bad: net.prototxt:3:1: oops\n"},
		"usage":   {2, "", "crema usage: needs -x\n"},
		"wrapped": {2, "", "crema wrapped: w: needs -x\n"},
		"exit":    {7, "", ""},
		"goood":   {2, "", "crema: unknown command \"goood\" (did you mean good?); 'crema help' lists them\n"},
		"xyz":     {2, "", "crema: unknown command \"xyz\"; 'crema help' lists them\n"},
	} {
		var out, errOut bytes.Buffer
		if got := run(strings.Fields(args), stdio{nil, &out, &errOut}); got != want.status || out.String() != want.out || errOut.String() != want.err {
			t.Errorf("%q: status %d, stdout %q, stderr %q; want %v", args, got, out.String(), errOut.String(), want)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--help"}, {"-h"}} {
		var out, errOut bytes.Buffer
		if status := run(args, stdio{nil, &out, &errOut}); status != 0 || errOut.Len() > 0 {
			t.Errorf("%v: status %d, stderr %q", args, status, errOut.String())
		}
		for name, c := range commands {
			if !strings.Contains(out.String(), name) || c.summary == "" {
				t.Errorf("%v does not say what %s does", args, name)
			}
		}
	}
	var out, errOut bytes.Buffer
	if status := run(nil, stdio{nil, &out, &errOut}); status != 2 || !strings.Contains(errOut.String(), "usage: crema") {
		t.Errorf("no arguments: status %d, stderr %q", status, errOut.String())
	}
	for name := range commands {
		for _, h := range []string{"--help", "-h", "-help"} {
			var out, errOut bytes.Buffer
			if status := run([]string{name, h}, stdio{nil, &out, &errOut}); status != 0 || !strings.Contains(out.String(), "usage: crema "+name) || errOut.Len() > 0 {
				t.Errorf("%s %s: status %d, stdout %q, stderr %q", name, h, status, out.String(), errOut.String())
			}
		}
		out.Reset()
		if status := run([]string{"help", name}, stdio{nil, &out, &errOut}); status != 0 || !strings.Contains(out.String(), "usage: crema "+name) {
			t.Errorf("help %s: status %d, stdout %q", name, status, out.String())
		}
	}
}

func TestCommandsAreSorted(t *testing.T) {
	var out bytes.Buffer
	usage(&out)
	var group []string // under one heading
	total := 0
	list, _, _ := strings.Cut(out.String(), "environment variables")
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, "  ") {
			group = nil
			continue
		}
		group = append(group, strings.Fields(line)[0])
		total++
		if !slices.IsSorted(group) {
			t.Errorf("help lists %v", group)
		}
	}
	if total != len(commands) {
		t.Errorf("help lists %d of %d commands", total, len(commands))
	}
}

// TestBadFlagIsOneLine: an error in a flag is one line on stderr and nothing
// on stdout; --help is the usage.
func TestBadFlagIsOneLine(t *testing.T) {
	for _, args := range [][]string{{"train", "--no_such_flag=1"}, {"convert_imageset", "--resize_width=x", "a", "b", "c"}, {"train", "--solver"}} {
		r := crema(args...)
		if r.status != 2 || r.out != "" || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%v: status %d, stdout %q, stderr %q", args, r.status, r.out, r.err)
		}
	}
	if r := crema("train", "--help"); r.status != 0 || !strings.Contains(r.out, "-solver") {
		t.Errorf("--help: status %d, stdout %q", r.status, r.out)
	}
}
