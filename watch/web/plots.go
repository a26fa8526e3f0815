package web

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"crema/plot"
	"crema/watch"

	"golang.org/x/sync/semaphore"
)

// documentPolicy is the policy for files that a browser may show as pages of
// their own: plots style their parts inline, and that is all they may do.
const documentPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

// A plotter draws the charts of a run, one at a time, and keeps those of the
// newest version of its course. Nothing else waits for it.
type plotter struct {
	source Source
	draw   func(c *plot.Chart, ext string) ([]byte, error)
	work   *semaphore.Weighted // of one; guards what follows
	of     version
	drawn  map[string][]byte // by file name
}

// A version tells the states of a run's course apart.
type version struct {
	revision, rows, tests, samples, iter int
}

func versionOf(s *watch.Series) version {
	v := version{revision: s.Revision, rows: len(s.Iter), samples: len(s.LayerIter)}
	for _, t := range s.Tests {
		v.tests += len(t.Iter)
	}
	if v.rows > 0 {
		v.iter = s.Iter[v.rows-1]
	}
	return v
}

func newPlotter(source Source) *plotter {
	return &plotter{source: source, draw: drawChart, work: semaphore.NewWeighted(1)}
}

func drawChart(c *plot.Chart, ext string) ([]byte, error) {
	var b bytes.Buffer
	var err error
	if ext == "svg" {
		err = c.WriteSVG(&b)
	} else {
		err = c.WritePNG(&b)
	}
	return b.Bytes(), err
}

// get returns the chart of that name as it is now, nil if there is none. Who
// waits no longer, as its context says, leaves the queue.
func (p *plotter) get(ctx context.Context, name, ext string) ([]byte, error) {
	if err := p.work.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer p.work.Release(1)
	s := p.source.Series(-1)
	if v := versionOf(s); v != p.of || p.drawn == nil {
		p.of, p.drawn = v, map[string][]byte{}
	}
	file := name + "." + ext
	if b, ok := p.drawn[file]; ok {
		return b, nil
	}
	c := watch.Charts(p.source.State().Run, s)[name]
	if c == nil {
		return nil, nil
	}
	b, err := p.draw(c, ext)
	if err == nil {
		p.drawn[file] = b
	}
	return b, err
}

// getPlot sends a chart of the run as it is now.
func (s *Server) getPlot(w http.ResponseWriter, r *http.Request) {
	name, ext, _ := strings.Cut(r.PathValue("file"), ".")
	if ext != "svg" && ext != "png" {
		http.NotFound(w, r)
		return
	}
	b, err := s.plots.get(r.Context(), name, ext)
	if err != nil {
		s.fail(w, err)
		return
	}
	if b == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Security-Policy", documentPolicy)
	w.Header().Set("Content-Type", map[string]string{"svg": "image/svg+xml", "png": "image/png"}[ext])
	w.Header().Set("Cache-Control", "no-store")
	w.Write(b)
}
