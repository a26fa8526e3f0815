package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// headerName is a header that a page of another origin cannot send without
// asking first, which is never granted.
const headerName = "X-Crema"

// policy lets the page load nothing from elsewhere, and nothing else frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard applies the rules that hold for all requests.
func (s *Server) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if s.o.Token == "" && r.URL.Path != "/healthz" && !s.knownHost(r.Host) {
			http.Error(w, "this server does not go by the name "+hostOnly(r.Host)+"; use its IP address, or start the run with that name in --http, or with --http-token", http.StatusMisdirectedRequest)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if err := cross.Check(r); err != nil {
				http.Error(w, "a page of another origin may not do this", http.StatusForbidden)
				return
			}
			if r.Header.Get(headerName) == "" {
				http.Error(w, "the header "+headerName+": 1 is missing", http.StatusForbidden)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// knownHost reports whether a Host header names this server in a way that no
// foreign name server can make up (DNS rebinding).
func (s *Server) knownHost(host string) bool {
	name := strings.ToLower(hostOnly(host))
	return loopbackName(host) || net.ParseIP(name) != nil || s.names[name]
}

// needToken lets only requests with the token through, if there is one.
func (s *Server) needToken(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.o.Token == "" || s.hasCookie(r) {
			next(w, r)
			return
		}
		given, ok := bearer(r)
		if !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the token of --http-token is needed", http.StatusUnauthorized)
			return
		}
		if s.tryToken(w, r, given, http.StatusUnauthorized) {
			next(w, r)
		}
	}
}

// needControl lets only those through who may use the buttons.
func (s *Server) needControl(next http.HandlerFunc) http.HandlerFunc {
	return s.needToken(func(w http.ResponseWriter, r *http.Request) {
		if ok, why := s.mayControl(r); !ok {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		next(w, r)
	})
}

// mayControl reports whether a request that has passed needToken may use the
// buttons and, if not, why.
func (s *Server) mayControl(r *http.Request) (ok bool, why string) {
	const only = "without --http-token, the buttons work only "
	switch {
	case s.o.Control == nil:
		return false, "this run cannot be controlled"
	case s.o.Token != "":
		return true, ""
	case !fromLoopback(r):
		return false, only + "from the machine that trains"
	case !loopbackName(r.Host):
		return false, only + "if the page is opened as localhost"
	}
	return true, ""
}

// fromLoopback reports whether a request comes from this machine itself. One
// that a proxy on it passes on does not.
func fromLoopback(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// bearer returns the token that a request has in its Authorization header.
func bearer(r *http.Request) (token string, ok bool) {
	scheme, given, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(given), ok && strings.EqualFold(scheme, "Bearer")
}

// hasCookie reports whether a request has the cookie that a login gives.
func (s *Server) hasCookie(r *http.Request) bool {
	c, err := r.Cookie(cookieName(r))
	return err == nil && hmac.Equal([]byte(c.Value), []byte(s.cookieValue()))
}

// isToken compares in a time that depends on neither's content.
func (s *Server) isToken(given string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.o.Token))
	return hmac.Equal(a[:], b[:])
}

// cookieValue is derived from the token, which the browser then does not keep.
func (s *Server) cookieValue() string {
	m := hmac.New(sha256.New, []byte(s.o.Token))
	m.Write([]byte("crema page"))
	return hex.EncodeToString(m.Sum(nil))
}

// cookieName has the port in it, which browsers do not tell cookies apart by.
func cookieName(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = "default"
	}
	return "crema_" + port
}

// Wrong tokens are answered one by one, so that nobody tries many.
const (
	// wrongTokenDelay is the time between the answers to two of them.
	wrongTokenDelay = 300 * time.Millisecond
	// maxWrongTokens is how many may wait for their answer. While as many do, no
	// token is looked at; who has the cookie does not notice.
	maxWrongTokens = 32
)

// wrongTokens is the queue of wrong tokens.
type wrongTokens struct {
	turn    *semaphore.Weighted // of one
	waiting atomic.Int32
	delay   time.Duration
}

func newWrongTokens() *wrongTokens {
	return &wrongTokens{turn: semaphore.NewWeighted(1), delay: wrongTokenDelay}
}

// tryToken reports whether a token is the right one. If it is not, it answers
// with the given status, after a time.
func (s *Server) tryToken(w http.ResponseWriter, r *http.Request, given string, status int) bool {
	q := s.wrong
	if q.waiting.Load() >= maxWrongTokens {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many wrong tokens at a time; try again later", http.StatusTooManyRequests)
		return false
	}
	if s.isToken(given) {
		return true
	}
	q.waiting.Add(1)
	defer q.waiting.Add(-1)
	if q.turn.Acquire(r.Context(), 1) != nil {
		return false // the client is gone
	}
	time.Sleep(q.delay)
	q.turn.Release(1)
	http.Error(w, "That is not the token.", status)
	return false
}

// login gives the cookie for the token in the body.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	if s.o.Token == "" {
		http.Error(w, "this run needs no token", http.StatusNotFound)
		return
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4096))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !s.tryToken(w, r, strings.TrimSpace(string(b)), http.StatusForbidden) {
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: s.cookieValue(), Path: "/", HttpOnly: true,
		SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil, MaxAge: 30 * 24 * 3600})
	w.WriteHeader(http.StatusNoContent)
}
