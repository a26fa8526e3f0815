package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"crema/plot"
)

// TestPlotQueue holds up the drawing of a plot while others wait for theirs and
// give up: everything else is answered meanwhile, and what was given up is not
// drawn.
func TestPlotQueue(t *testing.T) {
	control := &fakeControl{}
	s := New(Options{Source: newFake(), Control: control})
	h := s.Handler()
	began, finish := make(chan bool), make(chan bool)
	var drawn atomic.Int32
	s.plots.draw = func(c *plot.Chart, ext string) ([]byte, error) {
		drawn.Add(1)
		began <- true
		<-finish
		return []byte("drawn"), nil
	}
	var first sync.WaitGroup
	first.Go(func() {
		if got := get(t, h, "/plots/loss.svg"); got != "drawn" {
			t.Errorf("the first got %q", got)
		}
	})
	<-began
	ctx, leave := context.WithCancel(t.Context())
	var gone sync.WaitGroup
	for i := range 8 {
		gone.Go(func() {
			r := httptest.NewRequestWithContext(ctx, "GET", fmt.Sprintf("/plots/%s.png", []string{"loss", "learning_rate"}[i%2]), nil)
			r.RemoteAddr, r.Host = "127.0.0.1:5000", "localhost:8080"
			h.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	for _, path := range []string{"/api/state", "/api/series", "/api/series?since=1", "/api/files", "/data/loss.csv", "/data/loss.json", "/metrics", "/healthz", "/api/session"} {
		get(t, h, path)
	}
	if w := request(h, "POST", "/api/pause", func(r *http.Request) { r.Header.Set(headerName, "1") }); w.Code != http.StatusAccepted || control.all() != "pause" {
		t.Errorf("a button: status %d, pressed %q", w.Code, control.all())
	}
	leave()
	gone.Wait() // although none was drawn
	finish <- true
	first.Wait()
	if n := drawn.Load(); n != 1 {
		t.Errorf("%d plots were drawn, want 1", n)
	}
}

// TestPlotsAreKept draws a plot once for a version of the course.
func TestPlotsAreKept(t *testing.T) {
	source := newFake()
	s := New(Options{Source: source})
	h := s.Handler()
	n := 0
	s.plots.draw = func(c *plot.Chart, ext string) ([]byte, error) {
		n++
		return fmt.Appendf(nil, "%s %d", ext, n), nil
	}
	for i, c := range []struct{ file, want string }{
		{"loss.svg", "svg 1"}, {"loss.svg", "svg 1"}, {"loss.png", "png 2"}, {"loss.svg", "svg 1"},
		{"loss.svg", "svg 3"}, {"loss.png", "png 4"}, {"loss.png", "png 4"},
	} {
		if i == 4 {
			source.large++ // an iteration more
		}
		if got := get(t, h, "/plots/"+c.file); got != c.want {
			t.Errorf("request %d got %q, want %q", i, got, c.want)
		}
	}
}

// TestWrongTokens tries wrong tokens by both doors: they wait for each other,
// and when too many wait no token is looked at any more, but a cookie is.
func TestWrongTokens(t *testing.T) {
	s := New(Options{Source: newFake(), Token: "right"})
	s.wrong.delay = 0
	h := s.Handler()
	bearer := func(token string) int {
		return request(h, "GET", "/api/state", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }).Code
	}
	if got := bearer("right"); got != http.StatusOK {
		t.Errorf("right token: status %d", got)
	}
	if got := bearer("wrong"); got != http.StatusUnauthorized {
		t.Errorf("wrong token: status %d", got)
	}
	if !s.wrong.turn.TryAcquire(1) {
		t.Fatal("a wrong token is still being answered")
	}
	ctx, leave := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for i := range maxWrongTokens {
		waiting.Go(func() {
			r := httptest.NewRequestWithContext(ctx, "GET", "/api/state", nil)
			r.Host, r.RemoteAddr = "localhost", "127.0.0.1:1"
			r.Header.Set("Authorization", "Bearer wrong")
			if i%2 == 0 {
				r = httptest.NewRequestWithContext(ctx, "POST", "/api/login", strings.NewReader("wrong"))
				r.Host, r.RemoteAddr = "localhost", "127.0.0.1:1"
				r.Header.Set(headerName, "1")
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	for s.wrong.waiting.Load() < maxWrongTokens {
		runtime.Gosched()
	}
	for _, token := range []string{"wrong", "right"} {
		if got := bearer(token); got != http.StatusTooManyRequests {
			t.Errorf("%s token while %d wait: status %d", token, maxWrongTokens, got)
		}
	}
	cookie := request(h, "GET", "/api/state", func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: cookieName(r), Value: s.cookieValue()})
	})
	if cookie.Code != http.StatusOK {
		t.Errorf("a cookie while %d wait: status %d", maxWrongTokens, cookie.Code)
	}
	leave()
	waiting.Wait()
	s.wrong.turn.Release(1)
	if got := bearer("right"); got != http.StatusOK {
		t.Errorf("right token afterwards: status %d", got)
	}
}
