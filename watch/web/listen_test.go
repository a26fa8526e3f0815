package web

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crema/watch"
)

// serve starts a server of its own port, which ends with the test.
func serve(t *testing.T, s *Server) (addr string) {
	t.Helper()
	l, _, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(0); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// TestStalledReader has a client that asks for much and reads nothing, and 20
// that are silent: others get their answers, and the one is dropped.
func TestStalledReader(t *testing.T) {
	f := newFake()
	f.large = 400000
	s := New(Options{Source: f})
	s.http.WriteTimeout = 500 * time.Millisecond
	var stalledAddr atomic.Value
	dropped := make(chan struct{})
	s.http.ConnState = func(c net.Conn, st http.ConnState) {
		s.conns.changed(c, st)
		if st == http.StateClosed && c.RemoteAddr().String() == stalledAddr.Load() {
			close(dropped)
		}
	}
	addr := serve(t, s)
	for range 20 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	stalled, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	stalledAddr.Store(stalled.LocalAddr().String())
	stalled.(*net.TCPConn).SetReadBuffer(4096)
	if _, err := io.WriteString(stalled, strings.Repeat("GET /api/series HTTP/1.1\r\nHost: localhost\r\n\r\n", 8)); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 20 * time.Second}
	for range 10 {
		r, err := client.Get("http://" + addr + "/api/state")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
	}
	select {
	case <-dropped:
	case <-time.After(30 * time.Second):
		t.Error("the client that reads nothing is not dropped")
	}
}

// ask sends a request on a connection and reads the answer.
func ask(c net.Conn, r *bufio.Reader) error {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func TestConnectionLimit(t *testing.T) {
	const limit = 4
	s := New(Options{Source: newFake(), MaxConns: limit})
	addr := serve(t, s)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var first net.Conn
	for i := range 3 * limit { // each stays open, idle
		c := dial()
		if err := ask(c, bufio.NewReader(c)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if first == nil {
			first = c
		}
		for { // until the server has noted that it is idle
			s.conns.mu.Lock()
			n := len(s.conns.idle)
			s.conns.mu.Unlock()
			if n == min(i+1, limit) {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	first.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the oldest idle connection is open")
	}
	// Connections that have not asked anything yet are not idle: with all
	// places taken by such, the next is refused.
	for {
		c := dial()
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			continue // admitted, and it waits
		}
		break
	}
	if open, refused := s.conns.counts(); refused == 0 || open > limit {
		t.Errorf("%d connections open, %d refused", open, refused)
	}
}

// TestCloseWaitsForThePage checks that a page that follows the run gets to see
// how it ended, and that without one nothing waits.
func TestCloseWaitsForThePage(t *testing.T) {
	f := newFake()
	s := New(Options{Source: f})
	l, _, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	read := func() string {
		r, err := http.Get("http://" + l.Addr().String() + "/api/state")
		if err != nil {
			return err.Error()
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return string(b)
	}
	read()
	f.mu.Lock()
	f.status = watch.StatusFinished
	f.mu.Unlock()
	last := make(chan string)
	go func() {
		time.Sleep(100 * time.Millisecond)
		last <- read()
	}()
	closed := make(chan error)
	go func() { closed <- s.Close(time.Minute) }()
	if got := <-last; !strings.Contains(got, `"finished"`) {
		t.Errorf("the last look: %s", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// TestConcurrentClients has many clients read while the run goes on, for the
// race detector.
func TestConcurrentClients(t *testing.T) {
	f := newFake()
	h := New(Options{Source: f, Control: &fakeControl{}}).Handler()
	var stop atomic.Bool
	var wg, trainer sync.WaitGroup
	trainer.Go(func() {
		for !stop.Load() {
			f.mu.Lock()
			f.iter++
			f.mu.Unlock()
		}
	})
	for range 8 {
		wg.Go(func() {
			for range 20 {
				for _, path := range []string{"/api/state", "/api/series", "/api/series?since=1", "/metrics", "/data/depth.csv", "/api/pictures", "/api/runs"} {
					if w := request(h, "GET", path, nil); w.Code != http.StatusOK && w.Code != http.StatusServiceUnavailable {
						t.Errorf("GET %s: status %d", path, w.Code)
					}
				}
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	trainer.Wait()
}

func TestListen(t *testing.T) {
	l, url, err := Listen("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !Local(l) || !regexp.MustCompile(`^http://localhost:\d+/$`).MatchString(url) {
		t.Errorf("local %v, URL %s", Local(l), url)
	}
	if _, _, err := Listen(strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")); err == nil || !strings.Contains(err.Error(), "in use by another program") {
		t.Errorf("the same port again: %v", err)
	}
	all, url, err := Listen(":0")
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	if Local(all) || !strings.HasPrefix(url, "http://localhost:") {
		t.Errorf("all interfaces: local %v, URL %s", Local(all), url)
	}
	if _, _, err := Listen("8080"); err == nil || !strings.Contains(err.Error(), "HOST:PORT") {
		t.Errorf("a port alone: %v", err)
	}
}
