package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"crema/internal/glog"
	"crema/solver"
	"crema/watch"
	"crema/watch/web"
)

// httpFlags are the flags of the page that shows a run.
type httpFlags struct {
	addr, token string
}

func addHTTPFlags(fs *flag.FlagSet) *httpFlags {
	f := &httpFlags{}
	fs.StringVar(&f.addr, "http", "", "serve a page that shows the run at this `HOST:PORT`, as localhost:8080")
	fs.StringVar(&f.token, "http-token", "", "`token` to ask for before the page is shown, or @FILE that has it; with it, the page's buttons work from other machines too")
	return f
}

// minToken is the least length of a token.
const minToken = 8

// open opens the port, so that one that is taken is known before anything else
// is done. It returns nil if no page is wanted.
func (f *httpFlags) open(log *slog.Logger) (*page, error) {
	if f.addr == "" {
		if f.token != "" {
			return nil, usageError{errors.New("-http-token needs -http")}
		}
		return nil, nil
	}
	token := f.token
	if file, ok := strings.CutPrefix(token, "@"); ok {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("-http-token: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	if f.token != "" && len(token) < minToken {
		return nil, usageError{fmt.Errorf("-http-token: must have at least %d characters", minToken)}
	}
	host, _, err := net.SplitHostPort(f.addr)
	if err != nil {
		return nil, usageError{fmt.Errorf("-http=%s: must be HOST:PORT, as localhost:8080", f.addr)}
	}
	l, url, err := web.Listen(f.addr)
	if err != nil {
		return nil, fmt.Errorf("-http: %w", err)
	}
	return &page{listener: l, url: url, token: token, host: host, log: log}, nil
}

// A page is the HTTP server of a run. Its methods do nothing on a nil page.
type page struct {
	listener         net.Listener
	url, host, token string
	log              *slog.Logger
	server           *web.Server
	served           chan struct{} // closed when the server has ended
}

// start begins to answer.
func (p *page) start(rec *watch.Recorder, c *control, dir string) {
	if p == nil {
		return
	}
	p.server = web.New(web.Options{Source: rec, Control: c, Token: p.token, Host: p.host, Dir: dir, Log: p.log})
	p.served = make(chan struct{})
	go func() {
		defer close(p.served)
		if err := p.server.Serve(p.listener); err != nil {
			glog.Errorf(p.log, "The page at %s is gone: %v", p.url, err)
		}
	}()
	glog.Infof(p.log, "Watch this run at %s", p.url)
	if p.token == "" && !web.Local(p.listener) {
		glog.Warnf(p.log, "Whoever reaches %s can watch this run, though not control it; -http-token asks them for a token", p.listener.Addr())
	}
}

// lastLook is how long the program stays for a page to see how the run ended.
const lastLook = 2500 * time.Millisecond

// Close ends the page.
func (p *page) Close() error {
	switch {
	case p == nil:
		return nil
	case p.server == nil:
		return p.listener.Close()
	}
	err := p.server.Close(lastLook)
	<-p.served
	return err
}

// A control holds what the page's buttons ask for until the goroutine that
// trains polls it, and is the solver's Action: signals come first.
type control struct {
	signals func() solver.Action
	log     *slog.Logger
	// Of the run, set before it trains: snapshot takes one now, setPaused says
	// that training is held up, or no longer.
	snapshot  func() error
	setPaused func(bool)

	wake chan struct{} // has an element after a button

	mu     sync.Mutex
	status web.ControlStatus
	wanted bool // a snapshot
}

func newControl(signals func() solver.Action, log *slog.Logger) *control {
	return &control{signals: signals, log: log, wake: make(chan struct{}, 1)}
}

// pollSignals is the time between two looks at the signals while paused.
const pollSignals = 50 * time.Millisecond

// action is solver.Options.Action. It returns only when training may go on or
// must end. Snapshots are taken within: one that fails is shown on the page and
// logged, and the run goes on.
func (c *control) action() solver.Action {
	held := false
	defer func() {
		if held {
			c.setPaused(false)
			glog.Infof(c.log, "Going on.")
		}
	}()
	for {
		a := c.signals()
		c.mu.Lock()
		paused, stopping, wanted := c.status.Paused, c.status.Stopping, c.wanted
		c.wanted = false
		c.mu.Unlock()
		if wanted || paused && a == solver.ActionSnapshot {
			err := c.snapshot()
			c.took(err)
		}
		switch {
		case stopping || a == solver.ActionStop:
			return solver.ActionStop
		case !paused:
			return a
		}
		if !held {
			held = true
			c.setPaused(true)
			glog.Infof(c.log, "Paused.")
		}
		select {
		case <-c.wake:
		case <-time.After(pollSignals):
		}
	}
}

// took notes how a snapshot went.
func (c *control) took(err error) {
	if err != nil {
		glog.Errorf(c.log, "The snapshot failed, training goes on: %v", err)
	}
	c.note(func(s *web.ControlStatus) {
		if err != nil {
			s.Error = "The snapshot failed: " + err.Error()
		} else {
			s.Done = "The snapshot is written."
		}
	})
}

// note changes the status, whose earlier message then goes.
func (c *control) note(change func(*web.ControlStatus)) {
	c.mu.Lock()
	c.status.Done, c.status.Error = "", ""
	c.status.Messages++
	change(&c.status)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Pause implements web.Control.
func (c *control) Pause() {
	glog.Infof(c.log, "Page: pausing after this iteration")
	c.note(func(s *web.ControlStatus) { s.Paused = true })
}

// Resume implements web.Control.
func (c *control) Resume() {
	glog.Infof(c.log, "Page: resuming")
	c.note(func(s *web.ControlStatus) { s.Paused = false })
}

// Snapshot implements web.Control.
func (c *control) Snapshot() {
	glog.Infof(c.log, "Page: taking a snapshot after this iteration")
	c.note(func(s *web.ControlStatus) {
		s.Done = "A snapshot is taken after this iteration."
		c.wanted = true
	})
}

// Stop implements web.Control.
func (c *control) Stop() {
	glog.Infof(c.log, "Page: stopping after this iteration")
	c.note(func(s *web.ControlStatus) { s.Stopping, s.Paused = true, false })
}

// Status implements web.Control.
func (c *control) Status() web.ControlStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}
