package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"crema/watch"
)

// Ages up to which an answer is given again to another client.
const (
	stateAge  = 200 * time.Millisecond
	seriesAge = time.Second
)

// A cached is an answer that is made once for all who ask at about the same
// time.
type cached struct {
	mu   sync.Mutex
	at   time.Time
	body []byte
}

// get returns the answer, which make makes if it is older than age.
func (c *cached) get(age time.Duration, make func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body != nil && time.Since(c.at) < age {
		return c.body, nil
	}
	b, err := make()
	if err != nil {
		return nil, err
	}
	c.body, c.at = b, time.Now()
	return b, nil
}

// drop makes the next get make the answer anew.
func (c *cached) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.body = nil
}

// encode makes JSON, one answer at a time: however many ask, it takes no more
// than one of the processors. A client that has gone away is not served.
func (s *Server) encode(ctx context.Context, v any) ([]byte, error) {
	if err := s.encoding.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer s.encoding.Release(1)
	return json.Marshal(v)
}

func (s *Server) sendJSON(w http.ResponseWriter, r *http.Request, v any) {
	b, err := s.encode(r.Context(), v)
	s.send(w, b, err)
}

func (s *Server) send(w http.ResponseWriter, b []byte, err error) {
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(b)
}

// A badRequest is an error of the client's.
type badRequest struct{ error }

func (s *Server) fail(w http.ResponseWriter, err error) {
	var bad badRequest
	switch {
	case errors.As(err, &bad):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, context.Canceled): // the client is gone
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "not found", http.StatusNotFound)
	default:
		s.log.Warn("web page", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// A session tells a page about itself.
type session struct {
	// Run is the run's name.
	Run string `json:"run"`
	// Control is whether the buttons work and Reason why not.
	Control bool   `json:"control"`
	Reason  string `json:"reason,omitempty"`
}

func (s *Server) session(w http.ResponseWriter, r *http.Request) {
	v := session{Run: s.o.Source.State().Run}
	v.Control, v.Reason = s.mayControl(r)
	s.sendJSON(w, r, v)
}

// stateView is watch.State with what the buttons did and without the
// configuration, which is long and stays as it is.
type stateView struct {
	*watch.State
	Config    *string       `json:"config,omitempty"`
	NetConfig *string       `json:"net_config,omitempty"`
	Control   ControlStatus `json:"control"`
}

func (s *Server) getState(w http.ResponseWriter, r *http.Request) {
	b, err := s.state.get(stateAge, func() ([]byte, error) {
		v := stateView{State: s.o.Source.State()}
		if s.o.Control != nil {
			v.Control = s.o.Control.Status()
		}
		return s.encode(r.Context(), v)
	})
	s.send(w, b, err)
	s.asked.Store(time.Now().UnixNano())
}

func (s *Server) getSeries(w http.ResponseWriter, r *http.Request) {
	since := -1
	if q := r.URL.Query().Get("since"); q != "" {
		n, err := strconv.Atoi(q)
		if err != nil {
			s.fail(w, badRequest{fmt.Errorf("since=%s is not an iteration", q)})
			return
		}
		since = n
	}
	if since >= 0 {
		s.sendJSON(w, r, s.o.Source.Series(since))
		return
	}
	b, err := s.series.get(seriesAge, func() ([]byte, error) { return s.encode(r.Context(), s.o.Source.Series(-1)) })
	s.send(w, b, err)
}

// picturesView has the addresses of the pictures instead of their bytes.
type picturesView struct {
	Iter    int           `json:"iter"`
	Filters *pictureView  `json:"filters,omitempty"`
	Inputs  []pictureView `json:"inputs,omitempty"`
	Labels  []pictureView `json:"labels,omitempty"`
}

type pictureView struct {
	Title  string `json:"title"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Src    string `json:"src"`
}

func (s *Server) getPictures(w http.ResponseWriter, r *http.Request) {
	var v picturesView
	if p := s.o.Source.Pictures(); p != nil {
		v.Iter = p.Iter
		view := func(x watch.Picture, file string) pictureView {
			return pictureView{x.Title, x.Width, x.Height, fmt.Sprintf("pictures/%s.png?iter=%d", file, p.Iter)}
		}
		if p.Filters != nil {
			f := view(*p.Filters, "filters")
			v.Filters = &f
		}
		for i, x := range p.Inputs {
			v.Inputs = append(v.Inputs, view(x, fmt.Sprintf("input-%d", i)))
		}
		for i, x := range p.Labels {
			v.Labels = append(v.Labels, view(x, fmt.Sprintf("labels-%d", i)))
		}
	}
	s.sendJSON(w, r, v)
}

func (s *Server) getPicture(w http.ResponseWriter, r *http.Request) {
	name, isPNG := strings.CutSuffix(r.PathValue("file"), ".png")
	p := s.o.Source.Pictures()
	var x *watch.Picture
	numbered := func(prefix string, of []watch.Picture) {
		if index, ok := strings.CutPrefix(name, prefix); ok {
			if i, err := strconv.Atoi(index); err == nil && i >= 0 && i < len(of) {
				x = &of[i]
			}
		}
	}
	switch {
	case p == nil || !isPNG:
	case name == "filters":
		x = p.Filters
	default:
		numbered("input-", p.Inputs)
		numbered("labels-", p.Labels)
	}
	if x == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(x.PNG)
}

// runCache keeps the runs of the folder that were read last: a page asks for
// them again and again, and most do not change.
type runCache struct {
	mu   sync.Mutex // one run is read at a time
	runs map[string]cachedRun
}

type cachedRun struct {
	info   watch.RunInfo
	read   time.Time
	series *watch.Series
	state  *watch.State
	body   []byte
}

// maxCachedRuns is how many runs are kept; runAge how long one that is being
// written is not read again.
const (
	maxCachedRuns = 8
	runAge        = 10 * time.Second
)

// loadRun returns a run of the folder.
func (s *Server) loadRun(ctx context.Context, name string) (cachedRun, error) {
	c := &s.runs
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := s.findRun(name)
	if err != nil {
		return cachedRun{}, err
	}
	old, ok := c.runs[name]
	if ok && (old.info.Modified.Equal(info.Modified) || time.Since(old.read) < runAge) {
		return old, nil
	}
	run := cachedRun{info: info}
	if run.series, run.state, err = watch.LoadRun(filepath.Join(s.o.Dir, name)); err != nil {
		return cachedRun{}, err
	}
	run.read = time.Now()
	if run.body, err = s.encode(ctx, run.series); err != nil {
		return cachedRun{}, err
	}
	if c.runs == nil {
		c.runs = map[string]cachedRun{}
	}
	if !ok && len(c.runs) >= maxCachedRuns {
		oldest := ""
		for n, r := range c.runs {
			if oldest == "" || r.read.Before(c.runs[oldest].read) {
				oldest = n
			}
		}
		delete(c.runs, oldest)
	}
	c.runs[name] = run
	return run, nil
}

// findRun returns a run by a name that a client gave, which is used as a path
// only if it is that of a run in the folder.
func (s *Server) findRun(name string) (watch.RunInfo, error) {
	runs, err := s.listRuns()
	if err != nil {
		return watch.RunInfo{}, err
	}
	for _, r := range runs {
		if r.Name == name {
			return r, nil
		}
	}
	return watch.RunInfo{}, fmt.Errorf("run %q: %w", name, fs.ErrNotExist)
}

func (s *Server) listRuns() ([]watch.RunInfo, error) {
	if s.o.Dir == "" {
		return []watch.RunInfo{}, nil
	}
	runs, err := watch.Runs(s.o.Dir)
	if runs == nil {
		runs = []watch.RunInfo{}
	}
	return runs, err
}

func (s *Server) getRuns(w http.ResponseWriter, r *http.Request) {
	runs, err := s.listRuns()
	if err != nil {
		s.fail(w, err)
		return
	}
	s.sendJSON(w, r, runs)
}

func (s *Server) getRunSeries(w http.ResponseWriter, r *http.Request) {
	run, err := s.loadRun(r.Context(), r.URL.Query().Get("run"))
	s.send(w, run.body, err)
}

// filesView lists what can be had below /files/ and /plots/.
type filesView struct {
	Files []fileView `json:"files"`
	Plots []fileView `json:"plots"`
}

type fileView struct {
	Name string `json:"name"`
	Size int64  `json:"size,omitempty"` // of what is a file
	Href string `json:"href"`
}

func (s *Server) getFiles(w http.ResponseWriter, r *http.Request) {
	v := filesView{Files: []fileView{}, Plots: []fileView{}}
	st := s.o.Source.State()
	for _, n := range st.Files {
		if fi, err := os.Stat(filepath.Join(st.Dir, n)); err == nil {
			v.Files = append(v.Files, fileView{Name: n, Size: fi.Size(), Href: "files/" + n})
		}
	}
	for _, n := range slices.Sorted(maps.Keys(watch.Charts(st.Run, s.o.Source.Series(-1)))) {
		v.Plots = append(v.Plots, fileView{Name: n + ".svg", Href: "plots/" + n + ".svg"})
	}
	s.sendJSON(w, r, v)
}

// getFile sends a file of the run. Such files may be long: every part of them
// has its own time to be taken in.
func (s *Server) getFile(w http.ResponseWriter, r *http.Request) {
	st, name := s.o.Source.State(), r.PathValue("file")
	if !slices.Contains(st.Files, name) {
		http.NotFound(w, r)
		return
	}
	f, err := os.Open(filepath.Join(st.Dir, name))
	if err != nil {
		s.fail(w, err)
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		s.fail(w, err)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	switch filepath.Ext(name) {
	case ".csv":
		h.Set("Content-Type", "text/csv; charset=utf-8")
		h.Set("Content-Disposition", "attachment")
	case ".prototxt":
		h.Set("Content-Type", "text/plain; charset=utf-8")
	default:
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", "attachment")
	}
	http.ServeContent(patientWriter{w, http.NewResponseController(w)}, r, name, fi.ModTime(), f)
}

// A patientWriter gives a client writeTimeout for each part of an answer.
type patientWriter struct {
	http.ResponseWriter
	c *http.ResponseController
}

func (p patientWriter) Write(b []byte) (int, error) {
	if err := p.c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}

func (s *Server) getConfig(w http.ResponseWriter, r *http.Request) {
	st := s.o.Source.State()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintf(w, "# The solver, with all overrides.\n%s\n# The train net.\n%s", st.Config, st.NetConfig)
}
