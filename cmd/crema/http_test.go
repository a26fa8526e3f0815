package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crema/internal/glog"
	"crema/solver"
)

func TestHTTPFlags(t *testing.T) {
	t.Chdir(golden(t, "runs"))
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	token := writeFile(t, dir, "token", " 1234567\n")
	for _, c := range []struct {
		name   string
		args   []string
		status int
		words  []string
	}{
		{"port in use", []string{"--http=" + l.Addr().String()}, 1, []string{"-http: " + l.Addr().String(), "in use by another program"}},
		{"no port", []string{"--http=localhost"}, 2, []string{"-http=localhost", "HOST:PORT"}},
		{"a port alone", []string{"--http=8080"}, 2, []string{"-http=8080", "HOST:PORT"}},
		{"no such port", []string{"--http=localhost:99999"}, 1, []string{"-http", "99999"}},
		{"token without page", []string{"--http-token=0123456789"}, 2, []string{"-http-token needs -http"}},
		{"short token", []string{"--http=localhost:0", "--http-token=1234567"}, 2, []string{"-http-token", "8 characters"}},
		{"short token in a file", []string{"--http=localhost:0", "--http-token=@" + token}, 2, []string{"-http-token", "8 characters"}},
		{"no token file", []string{"--http=localhost:0", "--http-token=@" + dir + "/none"}, 1, []string{"-http-token", "none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := crema(trainArgs(dir, append(c.args, initWeights)...)...)
			wantError(t, r, c.status, c.words...)
			if strings.Contains(r.err, "Creating training net") {
				t.Error("the net was built before the error")
			}
		})
	}
}

// A held is a control whose action runs on a goroutine of its own, as a
// solver's does, with what it calls.
type held struct {
	*control
	signal atomic.Int32 // a solver.Action, taken by the next poll
	took   atomic.Int32 // snapshots
	paused atomic.Bool
	fail   atomic.Bool
	result chan solver.Action
}

func newHeld() *held {
	h := &held{result: make(chan solver.Action)}
	h.control = newControl(func() solver.Action { return solver.Action(h.signal.Swap(int32(solver.ActionNone))) }, glog.Discard)
	h.snapshot = func() error {
		h.took.Add(1)
		if h.fail.Load() {
			return errors.New("disk full")
		}
		return nil
	}
	h.setPaused = h.paused.Store
	return h
}

func (h *held) start() { go func() { h.result <- h.action() }() }

// eventually waits for something that must come.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 30000 { // looks, not seconds: a machine may stand still meanwhile
		if f() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("waited in vain: %s", what)
}

func (h *held) want(t *testing.T, a solver.Action) {
	t.Helper()
	select {
	case got := <-h.result:
		if got != a {
			t.Errorf("action %v, want %v", got, a)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the action does not return")
	}
}

func TestControlPasses(t *testing.T) {
	for _, a := range []solver.Action{solver.ActionNone, solver.ActionStop, solver.ActionSnapshot} {
		h := newHeld()
		h.signal.Store(int32(a))
		h.start()
		h.want(t, a)
		if n := h.took.Load(); n != 0 {
			t.Errorf("%d snapshots", n)
		}
	}
}

func TestControlPause(t *testing.T) {
	pause := func(t *testing.T) *held {
		h := newHeld()
		h.Pause()
		h.start()
		eventually(t, "the pause", h.paused.Load)
		return h
	}
	t.Run("resume", func(t *testing.T) {
		h := pause(t)
		if !h.Status().Paused {
			t.Error("the status is not paused")
		}
		h.Resume()
		h.want(t, solver.ActionNone)
		if h.paused.Load() || h.Status().Paused {
			t.Error("it is still paused")
		}
	})
	t.Run("snapshot", func(t *testing.T) {
		h := pause(t)
		h.Snapshot()
		eventually(t, "the snapshot", func() bool { return h.Status().Done == "The snapshot is written." })
		h.signal.Store(int32(solver.ActionSnapshot)) // by SIGHUP
		eventually(t, "the second snapshot", func() bool { return h.took.Load() == 2 })
		if !h.paused.Load() {
			t.Error("a snapshot ends the pause")
		}
		h.fail.Store(true)
		h.Snapshot()
		eventually(t, "the failure", func() bool { return strings.Contains(h.Status().Error, "disk full") })
		h.Resume()
		h.want(t, solver.ActionNone)
		if n := h.took.Load(); n != 3 {
			t.Errorf("%d snapshots, want 3", n)
		}
	})
	t.Run("stop", func(t *testing.T) {
		h := pause(t)
		h.Stop()
		h.want(t, solver.ActionStop)
		if h.paused.Load() || !h.Status().Stopping {
			t.Errorf("paused %v, status %+v", h.paused.Load(), h.Status())
		}
	})
	t.Run("signal", func(t *testing.T) {
		h := pause(t)
		h.signal.Store(int32(solver.ActionStop))
		h.want(t, solver.ActionStop)
	})
}

func TestControlSnapshot(t *testing.T) {
	h := newHeld()
	h.Snapshot()
	h.start()
	h.want(t, solver.ActionNone)
	h.start()
	h.want(t, solver.ActionNone)
	if n := h.took.Load(); n != 1 {
		t.Errorf("%d snapshots, want 1", n)
	}
}

// A growing is a buffer that is written and read at the same time.
type growing struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (g *growing) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Write(p)
}

func (g *growing) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.String()
}

// TestTrainPage trains with a page, uses its buttons and ends the run by them.
func TestTrainPage(t *testing.T) {
	t.Chdir(golden(t, "runs"))
	dir := t.TempDir()
	var log growing
	status := make(chan int)
	go func() {
		args := trainArgs(dir, initWeights, "--http=localhost:0", "--set=max_iter=100000000", "--set=snapshot_after_train=true", "--set=display=0")
		status <- run(args, stdio{strings.NewReader(""), io.Discard, &log})
	}()
	url := ""
	eventually(t, "the URL in the log", func() bool {
		if m := regexp.MustCompile(`Watch this run at (http://localhost:\d+/)\n`).FindStringSubmatch(log.String()); m != nil {
			url = m[1]
		}
		return url != ""
	})
	type state struct {
		Status  string
		Iter    int
		Control struct{ Done string }
	}
	read := func() (s state) {
		t.Helper()
		r, err := http.Get(url + "api/state")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	press := func(button string) {
		t.Helper()
		r, err := http.NewRequest("POST", url+"api/"+button, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Crema", "1")
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		w.Body.Close()
		if w.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: status %d", button, w.StatusCode)
		}
	}
	eventually(t, "iterations", func() bool { return read().Iter > 3 })
	press("pause")
	eventually(t, "the pause", func() bool { return read().Status == "paused" })
	at := read().Iter
	press("snapshot")
	eventually(t, "the snapshot", func() bool { return read().Control.Done == "The snapshot is written." })
	if s := read(); s.Iter != at || s.Status != "paused" {
		t.Errorf("after a snapshot in the pause of iteration %d: %+v", at, s)
	}
	if path, iter := newest(t, dir); iter != at {
		t.Errorf("the snapshot of iteration %d is %s", at, path)
	}
	press("resume")
	eventually(t, "iterations after the pause", func() bool { return read().Iter > at })
	press("stop")
	if got := <-status; got != 0 {
		t.Errorf("status %d after stop:\n%s", got, log.String())
	}
	_, iter := newest(t, dir)
	if iter <= at {
		t.Errorf("the last snapshot is of iteration %d, the pause was at %d", iter, at)
	}
	if !strings.Contains(log.String(), "Optimization stopped early.") {
		t.Errorf("the log of the stop:\n%s", log.String())
	}
	if _, err := http.Get(url + "healthz"); err == nil {
		t.Error("the page answers after the end")
	}
}
