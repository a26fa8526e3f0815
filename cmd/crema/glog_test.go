package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"crema/internal/glog"
)

// glogLine is the prefix that Caffe's log tools split on blanks: a date of
// four digits, a time with six decimals, one field of thread id.
var glogLine = regexp.MustCompile(`^[IWEF][01]\d[0-3]\d [0-2]\d:[0-5]\d:[0-5]\d\.\d{6} \d+ (\w+\.cpp:\d+)\] (.*)$`)

// openLog opens a log over a buffer with glog's flags.
func openLog(t *testing.T, args ...string) (*runLog, *bytes.Buffer, error) {
	t.Helper()
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	f := addLogFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	l, err := f.open(newConsole(&b))
	return l, &b, err
}

func TestGlogFormat(t *testing.T) {
	for _, c := range []struct {
		name string
		log  func(*slog.Logger)
		want string // letter, then message
	}{
		{"info", func(l *slog.Logger) { l.Info("Iteration 1, lr = 0.01") }, "I|Iteration 1, lr = 0.01"},
		{"warning", func(l *slog.Logger) { l.Warn("w") }, "W|w"},
		{"error", func(l *slog.Logger) { l.Error("e") }, "E|e"},
		{"fatal", func(l *slog.Logger) { l.Log(t.Context(), levelFatal, "f") }, "F|f"},
		{"through a helper", func(l *slog.Logger) { glog.Infof(l, "%s net", "Solving") }, "I|Solving net"},
		{"no second line end", func(l *slog.Logger) { l.Info("x\n") }, "I|x"},
		{"attributes", func(l *slog.Logger) { l.Info("x", "a", 1, slog.Group("g", "b", "two")) }, "I|x a=1 g.b=two"},
		{"attributes of the logger", func(l *slog.Logger) { l.With("a", 1).WithGroup("g").With("b", 2).Info("x", "c", 3) }, "I|x a=1 g.b=2 g.c=3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, b, err := openLog(t)
			if err != nil {
				t.Fatal(err)
			}
			c.log(l.Logger)
			s := b.String()
			if strings.Count(s, "\n") != 1 || !strings.HasSuffix(s, "\n") {
				t.Fatalf("%q is not one line", s)
			}
			m := glogLine.FindStringSubmatch(strings.TrimSuffix(s, "\n"))
			if m == nil {
				t.Fatalf("%q is not a glog line", s)
			}
			if !strings.HasPrefix(m[1], "glog_test.cpp:") {
				t.Errorf("logged as from %s, not from this file", m[1])
			}
			if got := s[:1] + "|" + m[2]; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestGlogMultiline(t *testing.T) {
	l, b, err := openLog(t)
	if err != nil {
		t.Fatal(err)
	}
	l.Info("Initializing net from parameters: \nname: \"x\"\nlayer {\n}")
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 5 || !glogLine.MatchString(lines[0]) || lines[1] != `name: "x"` || lines[3] != "}" || lines[4] != "" {
		t.Errorf("got %q", b.String())
	}
}

func TestMinLogLevel(t *testing.T) {
	for level, want := range []string{"IWEF", "WEF", "EF", "F"} {
		l, b, err := openLog(t, fmt.Sprintf("-minloglevel=%d", level))
		if err != nil {
			t.Fatal(err)
		}
		l.Debug("d")
		l.Info("i")
		l.Warn("w")
		l.Error("e")
		l.Log(t.Context(), levelFatal, "f")
		got := ""
		for line := range strings.Lines(b.String()) {
			got += line[:1]
		}
		if got != want {
			t.Errorf("-minloglevel=%d let through %s, want %s", level, got, want)
		}
	}
	for _, bad := range []string{"-1", "4"} {
		_, _, err := openLog(t, "-minloglevel="+bad)
		if u := (usageError{}); !errors.As(err, &u) {
			t.Errorf("-minloglevel=%s: got %v, want a usage error", bad, err)
		}
	}
	l, b, err := openLog(t, "-v=1")
	if err != nil {
		t.Fatal(err)
	}
	if l.Debug("d"); !strings.HasSuffix(b.String(), "] d\n") {
		t.Errorf("-v=1 logged %q", b.String())
	}
}

func TestLogDir(t *testing.T) {
	dir := t.TempDir()
	// An old link is replaced, as glog does.
	if err := os.Symlink("old", filepath.Join(dir, "crema.INFO")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	l, b, err := openLog(t, "-log_dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	l.Info("one")
	l.Warn("two")
	if err := l.Close(errors.New("the end")); err == nil || err.Error() != "the end" {
		t.Errorf("Close returned %v, want the error it was given", err)
	}
	if strings.Contains(b.String(), "the end") {
		t.Error("the error went to stderr too, where the program prints it itself")
	}
	name := regexp.MustCompile(`^crema\.[^.]+\..+\.log\.(INFO|WARNING|ERROR|FATAL)\.\d{8}-\d{6}\.\d+$`)
	for sev, want := range map[string]string{"INFO": "one two the end", "WARNING": "two the end", "ERROR": "the end", "FATAL": "the end"} {
		link := filepath.Join(dir, "crema."+sev)
		to, err := os.Readlink(link)
		if err != nil {
			t.Fatal(err)
		}
		if m := name.FindStringSubmatch(to); m == nil || m[1] != sev {
			t.Errorf("crema.%s links to %q", sev, to)
		}
		text, err := os.ReadFile(link)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		if !strings.HasPrefix(lines[0], "Log file created at: ") {
			t.Errorf("%s begins with %q", sev, lines[0])
		}
		var got []string
		for _, line := range lines[3:] {
			m := glogLine.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("%s: %q is not a glog line", sev, line)
			}
			got = append(got, m[2])
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s has %q, want %q", sev, s, want)
		}
	}
}

func TestLogDirErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if _, _, err := openLog(t, "-log_dir", missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing folder: got %v, want an error that names it", err)
	}
	if _, _, err := openLog(t, "-log_dir", missing, "-logtostderr"); err != nil {
		t.Errorf("-logtostderr should leave -log_dir alone, got %v", err)
	}
}

// A full disk ends the log files, with one line that says so, not the run.
func TestLogFileFails(t *testing.T) {
	l, b, err := openLog(t, "-log_dir", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l.files[0].Close()
	l.Info("one")
	l.Info("two")
	if n := strings.Count(b.String(), "no more log files"); n != 1 {
		t.Errorf("said %d times that log files end, want once: %q", n, b.String())
	}
	if !strings.Contains(b.String(), "] one\n") || !strings.Contains(b.String(), "] two\n") {
		t.Errorf("lines are missing from stderr: %q", b.String())
	}
}

func TestSourceName(t *testing.T) {
	for path, want := range map[string]string{
		"/x/graph/net.go":         "net.cpp",
		"/x/graph/weights.go":     "net.cpp",
		"/x/solver/sgd_solver.go": "sgd_solver.cpp",
		"/x/solver/snapshot.go":   "solver.cpp",
		"/x/cmd/crema/train.go":   "caffe.cpp",
		"/x/other/train.go":       "train.cpp",
		"asm.s":                   "asm.s",
	} {
		if got := sourceName(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	// The table must name files that exist.
	for path := range caffeNames {
		if dir := filepath.Dir(path); dir == "crema" {
			path = filepath.Base(path)
		} else {
			path = filepath.Join("../..", path)
		}
		if !exists(path) {
			t.Errorf("no file %s", path)
		}
	}
}
