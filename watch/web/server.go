package web

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"crema/internal/glog"
	"crema/watch"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
)

// A Source is what a page shows; *watch.Recorder is one. Its methods are
// called from any goroutine and must return at once.
type Source interface {
	State() *watch.State
	Series(since int) *watch.Series
	Pictures() *watch.Pictures
}

// A Control is what the buttons act on. Its methods are called from any
// goroutine and return at once: they ask, training answers later.
type Control interface {
	Pause()
	Resume()
	Snapshot()
	Stop()
	Status() ControlStatus
}

// A ControlStatus is what became of the buttons pressed.
type ControlStatus struct {
	// Paused is whether training was asked to pause and not yet to resume,
	// Stopping whether it was asked to stop.
	Paused   bool `json:"paused"`
	Stopping bool `json:"stopping"`
	// Done and Error say what became of the last button; Messages counts what
	// they said so far, so that a page can tell a new message from an old one.
	Done     string `json:"done,omitempty"`
	Error    string `json:"error,omitempty"`
	Messages int    `json:"messages"`
}

// Options say what a server shows and to whom. Source is needed.
type Options struct {
	Source Source
	// Control is what the buttons act on; nil for a page without buttons.
	Control Control
	// Token, if not empty, is needed for everything but /healthz.
	Token string
	// Host is the name or address listened at, which clients may call the
	// server by, beside localhost, IP addresses and the machine's name.
	Host string
	// Dir is the folder of runs that can be laid over this one; "" for none.
	Dir string
	// MaxConns is the number of connections at a time; 0 is 256.
	MaxConns int
	// Log is told of what goes wrong within the server; nil drops it.
	Log *slog.Logger
}

// Times after which a client is given up.
const (
	headerTimeout = 5 * time.Second  // to send a request's header
	readTimeout   = 10 * time.Second // to send a request
	writeTimeout  = 15 * time.Second // to take an answer, or the next part of a file
	idleTimeout   = 60 * time.Second // to ask again
)

//go:embed static
var static embed.FS

// A Server serves the page of a run.
type Server struct {
	o        Options
	log      *slog.Logger
	http     *http.Server
	conns    *conns
	registry *prometheus.Registry
	names    map[string]bool // of this host, lower case
	wrong    *wrongTokens

	encoding *semaphore.Weighted // of one: one answer is encoded at a time
	plots    *plotter
	state    cached
	series   cached
	runs     runCache

	asked atomic.Int64 // when the state was last asked for, in Unix nanoseconds
}

// New returns a server of a run's page.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = glog.Discard
	}
	if o.MaxConns == 0 {
		o.MaxConns = 256
	}
	s := &Server{o: o, log: o.Log, names: map[string]bool{}, wrong: newWrongTokens(),
		encoding: semaphore.NewWeighted(1), plots: newPlotter(o.Source)}
	if o.Host != "" {
		s.names[strings.ToLower(o.Host)] = true
	}
	if h, err := os.Hostname(); err == nil {
		s.names[strings.ToLower(h)] = true
	}
	s.conns = &conns{max: o.MaxConns, idle: map[net.Conn]time.Time{}}
	s.registry = newRegistry(o.Source, s.conns)
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		ConnState:         s.conns.changed,
	}
	return s
}

// Serve answers on the connections of l until Close, which it takes for
// success.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(s.conns.listen(l)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends Serve. If a page asked for the state within the last seconds, it
// first waits up to the given time for it to ask again, so that the page can
// show how the run ended.
func (s *Server) Close(wait time.Duration) error {
	before := s.asked.Load()
	if before > 0 && time.Since(time.Unix(0, before)) < 3*time.Second {
		s.state.drop()
		until := time.Now().Add(wait)
		began := time.Now()
		for time.Now().Before(until) {
			time.Sleep(20 * time.Millisecond)
			// The page fetches the series right after the state.
			if at := s.asked.Load(); at > began.UnixNano() && time.Since(time.Unix(0, at)) > 150*time.Millisecond {
				break
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// Handler returns what answers to requests, with all the rules of who may ask.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic("web: no embedded files")
	}
	page := newStaticFiles(files)
	mux.Handle("GET /{$}", page)
	mux.Handle("GET /{file}", page)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("POST /api/login", s.login)

	read := func(pattern string, h http.HandlerFunc) { mux.Handle("GET "+pattern, s.needToken(h)) }
	read("/api/session", s.session)
	read("/api/state", s.getState)
	read("/api/series", s.getSeries)
	read("/api/pictures", s.getPictures)
	read("/api/runs", s.getRuns)
	read("/api/runs/series", s.getRunSeries)
	read("/api/files", s.getFiles)
	read("/pictures/{file}", s.getPicture)
	read("/files/{file}", s.getFile)
	read("/plots/{file}", s.getPlot)
	read("/data/config.prototxt", s.getConfig)
	read("/data/{file}", s.getChart)
	read("/metrics", s.metrics())

	press := func(action string, f func()) {
		mux.Handle("POST /api/"+action, s.needControl(func(w http.ResponseWriter, r *http.Request) {
			f()
			s.state.drop()
			w.WriteHeader(http.StatusAccepted)
		}))
	}
	if c := s.o.Control; c != nil {
		press("pause", c.Pause)
		press("resume", c.Resume)
		press("snapshot", c.Snapshot)
		press("stop", c.Stop)
	}
	return s.guard(mux)
}

// healthz answers 200 with the run's status, or 503 if the run failed.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	st := s.o.Source.State()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if st.Status == watch.StatusFailed {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	w.Write([]byte(st.Status + "\n"))
}
