package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// severities are glog's, in its order; their number is a --minloglevel.
var severities = [...]string{"INFO", "WARNING", "ERROR", "FATAL"}

// levelFatal logs with glog's letter F.
const levelFatal = slog.LevelError + 4

// severity maps a slog level to an index of severities.
func severity(l slog.Level) int {
	switch {
	case l >= levelFatal:
		return 3
	case l >= slog.LevelError:
		return 2
	case l >= slog.LevelWarn:
		return 1
	}
	return 0
}

// logFlags are glog's flags.
type logFlags struct {
	dir      string
	min      int
	toStderr bool
	v        int
}

// addLogFlags adds glog's flags to a command. Those that say where the
// standard error's lines come from or what colour they have are accepted, since
// scripts pass them, and change nothing: as with caffe, every line goes there.
func addLogFlags(fs *flag.FlagSet) *logFlags {
	f := &logFlags{}
	fs.StringVar(&f.dir, "log_dir", "", "also write the log to files in this `folder`, named as glog names them")
	fs.IntVar(&f.min, "minloglevel", 0, "log only messages of at least this `level`: 0 INFO, 1 WARNING, 2 ERROR, 3 FATAL")
	fs.BoolVar(&f.toStderr, "logtostderr", false, "log to stderr only, whatever -log_dir says")
	fs.IntVar(&f.v, "v", 0, "from 1 on, log debug messages too")
	fs.Bool("alsologtostderr", true, "accepted for glog's sake; the log always goes to stderr")
	fs.Bool("colorlogtostderr", false, "accepted for glog's sake; no effect")
	fs.Int("stderrthreshold", 0, "accepted for glog's sake; no effect")
	return f
}

// open returns the logger that the flags describe. Its lines go to c and, with
// -log_dir, to files.
func (f *logFlags) open(c *console) (*runLog, error) {
	if f.min < 0 || f.min >= len(severities) {
		return nil, usageError{fmt.Errorf("-minloglevel=%d: must be 0 (INFO) to 3 (FATAL)", f.min)}
	}
	g := &runLog{console: c, min: f.min, debug: f.v >= 1, pid: os.Getpid()}
	g.Logger = slog.New(glogHandler{log: g})
	if f.dir == "" || f.toStderr {
		return g, nil
	}
	g.dir = f.dir
	if _, err := g.file(f.min, time.Now()); err != nil {
		return nil, fmt.Errorf("-log_dir: %w", err)
	}
	return g, nil
}

// A runLog writes log lines in the format of Google's logging library in the
// version that Caffe's log parsers know (a date of four digits):
//
//	Immdd hh:mm:ss.uuuuuu TID file.cpp:LINE] message
//
// The thread id is the process id, since goroutines have no stable thread; the
// file is the Go source file of the call, as if it were Caffe's. It is safe for
// concurrent use.
type runLog struct {
	*slog.Logger
	console *console
	min     int
	debug   bool
	pid     int

	mu    sync.Mutex
	dir   string // "" without files
	files [len(severities)]*os.File
}

// file returns the log file of a severity, creating it and the link to it on
// the first call, now being the time in its name.
func (g *runLog) file(sev int, now time.Time) (*os.File, error) {
	if g.files[sev] != nil {
		return g.files[sev], nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "(unknown)"
	}
	login := "invalid-user"
	if u, err := user.Current(); err == nil && u.Username != "" {
		login = filepath.Base(u.Username)
	}
	short, _, _ := strings.Cut(host, ".")
	name := fmt.Sprintf("crema.%s.%s.log.%s.%s.%d", short, login, severities[sev], now.Format("20060102-150405"), g.pid)
	w, err := os.OpenFile(filepath.Join(g.dir, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "Log file created at: %s\nRunning on machine: %s\nLog line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n",
		now.Format("2006/01/02 15:04:05"), host)
	g.files[sev] = w
	// The link is a convenience (crema.INFO is always the newest log); a file
	// system without links does not stop the run.
	link := filepath.Join(g.dir, "crema."+severities[sev])
	if fi, err := os.Lstat(link); err == nil && fi.Mode()&os.ModeSymlink != 0 {
		os.Remove(link)
	}
	_ = os.Symlink(name, link)
	return w, nil
}

// Close closes the log files after noting in them the error a command ended
// with, which is not logged to stderr: there it is the program's last line.
func (g *runLog) Close(failure error) error {
	if g == nil {
		return failure
	}
	if failure != nil {
		var pcs [1]uintptr
		runtime.Callers(2, pcs[:])
		r := slog.NewRecord(time.Now(), levelFatal, failure.Error(), pcs[0])
		g.writeFiles(r.Time, 3, g.format(r, ""))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	errs := []error{failure}
	for i, f := range g.files {
		if f != nil {
			errs = append(errs, f.Close())
			g.files[i] = nil
		}
	}
	g.dir = ""
	if failure != nil {
		return failure
	}
	return errors.Join(errs...)
}

// writeFiles writes a line to the files of its severity and of all lower ones.
// A file that cannot be written is reported once and given up with the others:
// training goes on.
func (g *runLog) writeFiles(now time.Time, sev int, line []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dir == "" {
		return
	}
	for s := g.min; s <= sev; s++ {
		w, err := g.file(s, now)
		if err == nil {
			_, err = w.Write(line)
		}
		if err != nil {
			g.dir = ""
			fmt.Fprintf(g.console, "crema: no more log files: %v\n", err)
			return
		}
	}
}

// caffeNames has Caffe's file for each of ours that logs sentences of Caffe's
// under another name: scripts pick lines by it.
var caffeNames = map[string]string{
	"graph/filter.go":    "net.cpp",
	"graph/debug.go":     "net.cpp",
	"graph/weights.go":   "net.cpp",
	"graph/load.go":      "net.cpp",
	"graph/loaded.go":    "net.cpp",
	"solver/snapshot.go": "solver.cpp",
	"data/loader.go":     "data_layer.cpp",
	"layers/data.go":     "data_layer.cpp",
	"crema/train.go":     "caffe.cpp",
	"crema/test_cmd.go":  "caffe.cpp",
	"crema/time.go":      "caffe.cpp",
	"crema/netflags.go":  "caffe.cpp",
}

// sourceName is the file name a log line shows for a Go file.
func sourceName(path string) string {
	name := filepath.Base(path)
	if c, ok := caffeNames[filepath.Base(filepath.Dir(path))+"/"+name]; ok {
		return c
	}
	if s, ok := strings.CutSuffix(name, ".go"); ok {
		return s + ".cpp"
	}
	return name
}

// format makes the line of a record; attrs follow its message.
func (g *runLog) format(r slog.Record, attrs string) []byte {
	file, line := "unknown", 0
	if r.PC != 0 {
		f, _ := runtime.CallersFrames([]uintptr{r.PC}).Next()
		file, line = sourceName(f.File), f.Line
	}
	t := r.Time
	if t.IsZero() {
		t = time.Now()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%c%s %d %s:%d] %s%s", severities[severity(r.Level)][0], t.Format("0102 15:04:05.000000"), g.pid, file, line, r.Message, attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(formatAttr("", a))
		return true
	})
	s := b.String()
	if !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	return []byte(s)
}

func formatAttr(group string, a slog.Attr) string {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		var s string
		for _, x := range v.Group() {
			s += formatAttr(group, x)
		}
		return s
	}
	if a.Equal(slog.Attr{}) {
		return ""
	}
	return " " + group + a.Key + "=" + v.String()
}

// glogHandler is the slog.Handler of a runLog. Attributes are written after the
// message as key=value.
type glogHandler struct {
	log          *runLog
	attrs, group string
}

func (h glogHandler) Enabled(_ context.Context, l slog.Level) bool {
	return severity(l) >= h.log.min && (l >= slog.LevelInfo || h.log.debug)
}

func (h glogHandler) Handle(_ context.Context, r slog.Record) error {
	if h.group != "" {
		// Attributes of the call belong to the open group.
		var as []slog.Attr
		r.Attrs(func(a slog.Attr) bool { as = append(as, a); return true })
		x := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
		x.AddAttrs(slog.Attr{Key: strings.TrimSuffix(h.group, "."), Value: slog.GroupValue(as...)})
		r = x
	}
	line := h.log.format(r, h.attrs)
	_, err := h.log.console.Write(line)
	h.log.writeFiles(r.Time, severity(r.Level), line)
	return err
}

func (h glogHandler) WithAttrs(as []slog.Attr) slog.Handler {
	for _, a := range as {
		h.attrs += formatAttr(h.group, a)
	}
	return h
}

func (h glogHandler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.group += name + "."
	}
	return h
}
