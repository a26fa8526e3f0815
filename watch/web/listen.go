package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Listen opens the port of a page, addr being HOST:PORT with an empty host for
// all interfaces and port 0 for a free one. It returns the URL to open.
func Listen(addr string) (l net.Listener, url string, err error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, "", fmt.Errorf("%q is not HOST:PORT, as in localhost:8080: %w", addr, err)
	}
	l, err = net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, "", fmt.Errorf("%s is in use by another program; choose another port, or 0 for a free one: %w", addr, syscall.EADDRINUSE)
	}
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, "", errors.Join(err, l.Close())
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return l, "http://" + net.JoinHostPort(host, port) + "/", nil
}

// Local reports whether only this machine reaches a listener.
func Local(l net.Listener) bool {
	a, ok := l.Addr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// conns limits the number of connections. When there are as many as may be, a
// new one takes the place of the one that is idle longest; if all are at work,
// it is refused, by closing it.
type conns struct {
	max int

	mu      sync.Mutex
	open    int
	refused int
	idle    map[net.Conn]time.Time
}

func (c *conns) listen(l net.Listener) net.Listener { return &listener{l, c} }

// changed is http.Server.ConnState.
func (c *conns) changed(conn net.Conn, st http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st == http.StateIdle {
		c.idle[conn] = time.Now()
	} else {
		delete(c.idle, conn)
	}
}

// admit counts a new connection in, or reports that there is no room.
func (c *conns) admit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open < c.max {
		c.open++
		return true
	}
	var oldest net.Conn
	for conn, since := range c.idle {
		if oldest == nil || since.Before(c.idle[oldest]) {
			oldest = conn
		}
	}
	if oldest == nil {
		c.refused++
		return false
	}
	// Its place is free when the server has noticed, which is soon: until then
	// there is one connection too many.
	delete(c.idle, oldest)
	go oldest.Close()
	c.open++
	return true
}

func (c *conns) left() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
}

func (c *conns) counts() (open, refused int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, c.refused
}

// A listener hands out the connections that conns admits.
type listener struct {
	net.Listener
	conns *conns
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.conns.admit() {
			return &conn{Conn: c, left: sync.OnceFunc(l.conns.left)}, nil
		}
		c.Close()
	}
}

// A conn tells when it is closed.
type conn struct {
	net.Conn
	left func()
}

func (c *conn) Close() error {
	c.left()
	return c.Conn.Close()
}

// loopbackName reports whether a request's Host is a name of this machine that
// no other machine's name server can give away.
func loopbackName(host string) bool {
	host = strings.ToLower(hostOnly(host))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// hostOnly takes the port, brackets and the final dot off a Host header.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.TrimSuffix(host, ".")
}
