package web

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"crema/internal/summary"
	"crema/watch"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// A fakeSource is a run of two layers and a few iterations.
type fakeSource struct {
	mu     sync.Mutex
	iter   int
	status string
	loss   float64
	dir    string
	files  []string
	large  int // points of the series beside those below
}

func (f *fakeSource) State() *watch.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	nan := watch.Number(math.NaN())
	return &watch.State{
		Run: "now", Net: "net", Solver: "solver.prototxt", Status: f.status, Iter: f.iter, MaxIter: 100,
		Loss: watch.Number(f.loss), Smoothed: 2, Rate: 0.01, Remaining: nan, Dir: f.dir, Files: f.files,
		Config: "base_lr: 0.01\n", NetConfig: "name: \"net\"\n",
		Layers: []watch.Layer{
			{Name: "data", Type: "Data", Forward: 0.25, Ratio: nan, Activation: &summary.Summary{Count: 8, RMS: 1}},
			{Name: "ip", Type: "InnerProduct", Forward: 0.25, Backward: 0.5, Ratio: 0.001, Activation: &summary.Summary{Count: 8, NaN: 2, RMS: 3, Zero: 0.5},
				Gradient: &summary.Summary{Count: 8, RMS: 0.1}, Weight: &summary.Summary{Count: 4, RMS: 0.5}},
			{Name: "ip", Type: "InnerProduct", Ratio: nan},
		},
		Tests: []watch.Test{{Iter: 10, Values: []watch.NamedNumber{{Name: "accuracy", Value: 0.5}, {Name: "loss", Value: nan}}}},
	}
}

func (f *fakeSource) Series(since int) *watch.Series {
	nan := math.NaN()
	s := &watch.Series{
		Revision: 7, Iter: []int{0, 1, 2}, Loss: watch.Column{3, nan, 1}, Smoothed: watch.Column{3, 2.5, 2}, Rate: watch.Column{.1, .1, .01},
		Seconds: watch.Column{1, 2, 3}, ImagesPerSecond: watch.Column{10, 11, 12}, WaitShare: watch.Column{0, 0, .5},
		Tests:     []watch.TestSeries{{Name: "accuracy", Iter: []int{0, 2}, Value: watch.Column{.1, .5}}},
		LayerIter: []int{0, 2},
		Layers: []watch.LayerSeries{
			{Name: "data", Type: "Data", Activation: watch.Column{1, 1}, Zero: watch.Column{0, 0}},
			{Name: "ip", Type: "InnerProduct", Activation: watch.Column{3, nan}, Gradient: watch.Column{.1, .2}, Ratio: watch.Column{1e-3, 1e-4}, Time: watch.Column{.5, .5}},
		},
	}
	for i := range f.large {
		s.Iter = append(s.Iter, 3+i)
		s.Loss = append(s.Loss, math.Sqrt(float64(i)))
	}
	for len(s.Iter) > 0 && s.Iter[0] <= since {
		s.Iter, s.Loss = s.Iter[1:], s.Loss[1:]
	}
	return s
}

func (f *fakeSource) Pictures() *watch.Pictures {
	return &watch.Pictures{Iter: 5, Filters: &watch.Picture{Title: "filters", Width: 2, Height: 2, PNG: []byte("png f")},
		Inputs: []watch.Picture{{Title: "first", PNG: []byte("png 0")}, {Title: "second", PNG: []byte("png 1")}},
		Labels: []watch.Picture{{Title: "labels", PNG: []byte("png l")}}}
}

// A fakeControl notes the buttons.
type fakeControl struct {
	mu      sync.Mutex
	pressed []string
}

func (c *fakeControl) press(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pressed = append(c.pressed, name)
}
func (c *fakeControl) Pause()    { c.press("pause") }
func (c *fakeControl) Resume()   { c.press("resume") }
func (c *fakeControl) Snapshot() { c.press("snapshot") }
func (c *fakeControl) Stop()     { c.press("stop") }
func (c *fakeControl) Status() ControlStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ControlStatus{Paused: len(c.pressed) > 0}
}
func (c *fakeControl) all() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.pressed, " ")
}

func newFake() *fakeSource {
	return &fakeSource{iter: 3, status: watch.StatusTraining, loss: math.NaN()}
}

// request asks a handler as a browser on the same machine would.
func request(h http.Handler, method, path string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr, r.Host = "127.0.0.1:5000", "localhost:8080"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get(t *testing.T, h http.Handler, path string) string {
	t.Helper()
	w := request(h, "GET", path, nil)
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: status %d: %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

func TestPageNeedsNothingElse(t *testing.T) {
	h := New(Options{Source: newFake()}).Handler()
	for _, path := range []string{"/", "/app.js", "/charts.js", "/style.css", "/favicon.svg"} {
		w := request(h, "GET", path, nil)
		if w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("GET %s: status %d, %d bytes", path, w.Code, w.Body.Len())
		}
		body := strings.ReplaceAll(w.Body.String(), "http://www.w3.org/2000/svg", "")
		if url := regexp.MustCompile(`(https?:)?//[a-z0-9]+\.[a-z.]+`).FindString(body); url != "" {
			t.Errorf("%s names %s", path, url)
		}
		for k, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin"} {
			if got := w.Header().Get(k); got != want {
				t.Errorf("%s: %s is %q", path, k, got)
			}
		}
		etag := w.Header().Get("ETag")
		if w := request(h, "GET", path, func(r *http.Request) { r.Header.Set("If-None-Match", etag) }); w.Code != http.StatusNotModified {
			t.Errorf("GET %s again: status %d", path, w.Code)
		}
	}
	// What the page asks for is there.
	w := request(h, "GET", "/", nil)
	for _, m := range regexp.MustCompile(`(?:href|src)="([^"#]+)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		get(t, h, "/"+m[1])
	}
	if w := request(h, "GET", "/none.js", nil); w.Code != http.StatusNotFound {
		t.Errorf("GET /none.js: status %d", w.Code)
	}
}

func TestRules(t *testing.T) {
	const token = "a long secret"
	remote := func(r *http.Request) { r.RemoteAddr, r.Host = "192.0.2.7:999", "192.0.2.1:8080" }
	set := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	ours := set(headerName, "1")
	bearer := set("Authorization", "Bearer "+token)
	for _, c := range []struct {
		name, token, method, path string
		change                    []func(*http.Request)
		status                    int
	}{
		{"look", "", "GET", "/api/state", nil, 200},
		{"look from elsewhere", "", "GET", "/api/state", []func(*http.Request){remote}, 200},
		{"look by the name listened at", "", "GET", "/api/state", []func(*http.Request){host("trainer.example:8080")}, 200},
		{"look by IPv6", "", "GET", "/api/state", []func(*http.Request){host("[::1]:8080")}, 200},
		{"look by a rebound name", "", "GET", "/api/state", []func(*http.Request){host("evil.example:8080")}, 421},
		{"metrics by a rebound name", "", "GET", "/metrics", []func(*http.Request){host("evil.example")}, 421},
		{"page by a rebound name", "", "GET", "/", []func(*http.Request){host("evil.example")}, 421},
		{"health by any name", "", "GET", "/healthz", []func(*http.Request){host("evil.example")}, 200},
		{"press", "", "POST", "/api/pause", []func(*http.Request){ours}, 202},
		{"press by IPv6", "", "POST", "/api/pause", []func(*http.Request){ours, host("[::1]:8080"), func(r *http.Request) { r.RemoteAddr = "[::1]:9" }}, 202},
		{"press without the header", "", "POST", "/api/pause", nil, 403},
		{"press by GET", "", "GET", "/api/pause", []func(*http.Request){ours}, 405},
		{"press by PUT", "", "PUT", "/api/pause", []func(*http.Request){ours}, 405},
		{"press from elsewhere", "", "POST", "/api/stop", []func(*http.Request){remote, ours}, 403},
		{"press from elsewhere as localhost", "", "POST", "/api/stop", []func(*http.Request){remote, ours, host("localhost:8080")}, 403},
		{"press through a proxy", "", "POST", "/api/stop", []func(*http.Request){ours, set("X-Forwarded-For", "192.0.2.7")}, 403},
		{"press by a rebound name", "", "POST", "/api/stop", []func(*http.Request){ours, host("evil.example:8080")}, 421},
		{"press by the name listened at", "", "POST", "/api/stop", []func(*http.Request){ours, host("trainer.example:8080")}, 403},
		{"press from our origin", "", "POST", "/api/stop", []func(*http.Request){ours, set("Origin", "http://localhost:8080")}, 202},
		{"press from another origin", "", "POST", "/api/stop", []func(*http.Request){ours, set("Origin", "http://evil.example")}, 403},
		{"press from another port", "", "POST", "/api/stop", []func(*http.Request){ours, set("Origin", "http://localhost:9999")}, 403},
		{"press from a file", "", "POST", "/api/stop", []func(*http.Request){ours, set("Origin", "null")}, 403},
		{"press from another site", "", "POST", "/api/stop", []func(*http.Request){ours, set("Sec-Fetch-Site", "cross-site")}, 403},
		{"log in without a token to give", "", "POST", "/api/login", []func(*http.Request){ours}, 404},

		{"token: page's files", token, "GET", "/app.js", nil, 200},
		{"token: health", token, "GET", "/healthz", nil, 200},
		{"token: look without", token, "GET", "/api/state", nil, 401},
		{"token: metrics without", token, "GET", "/metrics", nil, 401},
		{"token: data without", token, "GET", "/data/loss.csv", nil, 401},
		{"token: pictures without", token, "GET", "/pictures/filters.png", nil, 401},
		{"token: look", token, "GET", "/api/state", []func(*http.Request){bearer}, 200},
		{"token: metrics", token, "GET", "/metrics", []func(*http.Request){bearer}, 200},
		{"token: wrong", token, "GET", "/api/state", []func(*http.Request){set("Authorization", "Bearer a long secreT")}, 401},
		{"token: beginning", token, "GET", "/api/state", []func(*http.Request){set("Authorization", "Bearer a long")}, 401},
		{"token: other scheme", token, "GET", "/api/state", []func(*http.Request){set("Authorization", "Basic "+token)}, 401},
		{"token: in the address", token, "GET", "/api/state?token=a+long+secret", nil, 401},
		{"token: by any name", token, "GET", "/api/state", []func(*http.Request){bearer, host("proxy.example")}, 200},
		{"token: press without", token, "POST", "/api/stop", []func(*http.Request){ours}, 401},
		{"token: press from elsewhere", token, "POST", "/api/stop", []func(*http.Request){remote, ours, bearer}, 202},
		{"token: press without the header", token, "POST", "/api/stop", []func(*http.Request){bearer}, 403},
		{"token: press from another origin", token, "POST", "/api/stop", []func(*http.Request){ours, bearer, set("Origin", "http://evil.example")}, 403},
		{"token: log in from another origin", token, "POST", "/api/login", []func(*http.Request){ours, set("Origin", "http://evil.example")}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctl := &fakeControl{}
			h := New(Options{Source: newFake(), Control: ctl, Token: c.token, Host: "trainer.example"}).Handler()
			w := request(h, c.method, c.path, func(r *http.Request) {
				for _, f := range c.change {
					f(r)
				}
			})
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if acted := ctl.all() != ""; acted != (w.Code == 202) {
				t.Errorf("pressed %q with status %d", ctl.all(), w.Code)
			}
		})
	}
}

func TestButtons(t *testing.T) {
	ctl := &fakeControl{}
	h := New(Options{Source: newFake(), Control: ctl}).Handler()
	get(t, h, "/api/state")
	for _, b := range []string{"pause", "resume", "snapshot", "stop"} {
		request(h, "POST", "/api/"+b, func(r *http.Request) { r.Header.Set(headerName, "1") })
	}
	if got := ctl.all(); got != "pause resume snapshot stop" {
		t.Errorf("pressed %q", got)
	}
	// The state shows it at once, though it was asked for a moment ago.
	if s := get(t, h, "/api/state"); !strings.Contains(s, `"paused":true`) {
		t.Errorf("state after the button: %s", s)
	}
	var ses session
	decode(t, get(t, h, "/api/session"), &ses)
	if !ses.Control || ses.Run != "now" {
		t.Errorf("session %+v", ses)
	}
	w := request(h, "GET", "/api/session", func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" })
	decode(t, w.Body.String(), &ses)
	if ses.Control || !strings.Contains(ses.Reason, "machine that trains") {
		t.Errorf("session from elsewhere %+v", ses)
	}
	h = New(Options{Source: newFake()}).Handler()
	if w := request(h, "POST", "/api/stop", func(r *http.Request) { r.Header.Set(headerName, "1") }); w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
		t.Errorf("a button without control: status %d", w.Code)
	}
}

func TestLogin(t *testing.T) {
	h := New(Options{Source: newFake(), Control: &fakeControl{}, Token: "a long secret"}).Handler()
	login := func(body string) *httptest.ResponseRecorder {
		return request(h, "POST", "/api/login", func(r *http.Request) {
			r.Header.Set(headerName, "1")
			r.Body = io.NopCloser(strings.NewReader(body))
		})
	}
	if w := login("guess"); w.Code != http.StatusForbidden || len(w.Result().Cookies()) > 0 {
		t.Errorf("wrong token: status %d, cookies %v", w.Code, w.Result().Cookies())
	}
	w := login("a long secret\n")
	if w.Code != http.StatusNoContent || len(w.Result().Cookies()) != 1 {
		t.Fatalf("right token: status %d, cookies %v", w.Code, w.Result().Cookies())
	}
	c := w.Result().Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || strings.Contains(c.Value, "secret") {
		t.Errorf("cookie %v", c)
	}
	with := func(value string) int {
		return request(h, "POST", "/api/pause", func(r *http.Request) {
			r.RemoteAddr = "192.0.2.9:1"
			r.Header.Set(headerName, "1")
			r.AddCookie(&http.Cookie{Name: c.Name, Value: value})
		}).Code
	}
	if got := with(c.Value); got != http.StatusAccepted {
		t.Errorf("with the cookie: status %d", got)
	}
	for _, v := range []string{"", c.Value[1:], strings.Repeat("0", len(c.Value)), "a long secret"} {
		if got := with(v); got != http.StatusUnauthorized {
			t.Errorf("with cookie %q: status %d", v, got)
		}
	}
}

func decode(t *testing.T, s string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), v); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
}

func TestState(t *testing.T) {
	h := New(Options{Source: newFake()}).Handler()
	var s map[string]any
	decode(t, get(t, h, "/api/state"), &s)
	if s["iter"] != 3.0 || s["loss"] != nil || s["status"] != "training" {
		t.Errorf("state %v", s)
	}
	for _, k := range []string{"config", "net_config"} {
		if _, ok := s[k]; ok {
			t.Errorf("the state has %s", k)
		}
	}
	if c := get(t, h, "/data/config.prototxt"); !strings.Contains(c, "base_lr: 0.01") || !strings.Contains(c, `name: "net"`) {
		t.Errorf("configuration %q", c)
	}
}

func TestSeries(t *testing.T) {
	h := New(Options{Source: newFake()}).Handler()
	var s watch.Series
	decode(t, get(t, h, "/api/series"), &s)
	if s.Revision != 7 || len(s.Iter) != 3 || !math.IsNaN(s.Loss[1]) {
		t.Errorf("series %+v", s)
	}
	decode(t, get(t, h, "/api/series?since=1"), &s)
	if len(s.Iter) != 1 || s.Iter[0] != 2 {
		t.Errorf("since 1: %+v", s.Iter)
	}
	if w := request(h, "GET", "/api/series?since=x", nil); w.Code != http.StatusBadRequest {
		t.Errorf("since=x: status %d", w.Code)
	}
}

func TestCharts(t *testing.T) {
	h := New(Options{Source: newFake()}).Handler()
	rows := map[string]string{
		"loss":       "iter,loss,smoothed|0,3,3|1,,2.5|2,1,2",
		"rate":       "iter,rate|0,0.1|1,0.1|2,0.01",
		"speed":      "iter,seconds,images_per_second,wait_share|0,1,10,0|1,2,11,0|2,3,12,0.5",
		"tests":      "net,name,iter,value|0,accuracy,0,0.1|0,accuracy,2,0.5",
		"activation": "iter,data,ip|0,1,3|2,1,",
		"gradient":   "iter,ip|0,0.1|2,0.2",
		"ratio":      "iter,ip|0,0.001|2,0.0001",
		"zero":       "iter,data|0,0|2,0",
		"time":       "layer,type,forward,backward|data,Data,0.25,0|ip,InnerProduct,0.25,0.5|ip,InnerProduct,0,0",
		"depth":      "layer,type,activation,gradient,ratio,zero|data,Data,1,,,0|ip,InnerProduct,,0.2,0.0001,",
	}
	for name := range chartTables {
		want, ok := rows[name]
		if !ok {
			t.Errorf("chart %s is not tested", name)
			continue
		}
		got := strings.ReplaceAll(strings.TrimSpace(get(t, h, "/data/"+name+".csv")), "\n", "|")
		if got != want {
			t.Errorf("%s.csv:\n%s, want\n%s", name, got, want)
		}
		var tab struct {
			Columns []string
			Data    [][]any
		}
		decode(t, get(t, h, "/data/"+name+".json"), &tab)
		all, err := csv.NewReader(strings.NewReader(strings.ReplaceAll(want, "|", "\n"))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Join(tab.Columns, ",") != strings.Join(all[0], ",") || len(tab.Data) != len(all)-1 {
			t.Errorf("%s.json: %v with %d rows", name, tab.Columns, len(tab.Data))
		}
		for i, row := range tab.Data {
			for k, v := range row {
				text := fmt.Sprint(v)
				if v == nil {
					text = ""
				}
				if text != all[i+1][k] {
					t.Errorf("%s.json row %d column %d is %q, want %q", name, i, k, text, all[i+1][k])
				}
			}
		}
	}
	for _, bad := range []string{"/data/none.json", "/data/loss", "/data/loss.xml"} {
		if w := request(h, "GET", bad, nil); w.Code != http.StatusNotFound {
			t.Errorf("GET %s: status %d", bad, w.Code)
		}
	}
	// The page links only charts that there are.
	for _, file := range []string{"/app.js", "/"} {
		for _, m := range regexp.MustCompile(`links\('(\w+)'\)|data/(\w+)\.(?:json|csv)`).FindAllStringSubmatch(get(t, h, file), -1) {
			if _, ok := chartTables[m[1]+m[2]]; !ok {
				t.Errorf("%s links chart %q", file, m[1]+m[2])
			}
		}
	}
}

func TestPlots(t *testing.T) {
	h := New(Options{Source: newFake()}).Handler()
	var f filesView
	decode(t, get(t, h, "/api/files"), &f)
	if len(f.Plots) < 3 {
		t.Errorf("plots %v", f.Plots)
	}
	if s := get(t, h, "/plots/loss.svg"); !strings.Contains(s, "<svg") {
		t.Errorf("loss.svg is %.60q", s)
	}
	if s := get(t, h, "/plots/loss.png"); !strings.HasPrefix(s, "\x89PNG") {
		t.Errorf("loss.png is %.20q", s)
	}
	for _, bad := range []string{"/plots/none.svg", "/plots/loss.pdf", "/plots/loss"} {
		if w := request(h, "GET", bad, nil); w.Code != http.StatusNotFound {
			t.Errorf("GET %s: status %d", bad, w.Code)
		}
	}
}

func TestPictures(t *testing.T) {
	h := New(Options{Source: newFake()}).Handler()
	var p picturesView
	decode(t, get(t, h, "/api/pictures"), &p)
	if p.Filters == nil || len(p.Inputs) != 2 || len(p.Labels) != 1 {
		t.Fatalf("pictures %+v", p)
	}
	if s := get(t, h, "/"+p.Filters.Src); s != "png f" {
		t.Errorf("filters %q", s)
	}
	if s := get(t, h, "/"+p.Inputs[1].Src); s != "png 1" {
		t.Errorf("second input %q", s)
	}
	if s := get(t, h, "/"+p.Labels[0].Src); s != "png l" {
		t.Errorf("labels %q", s)
	}
	for _, bad := range []string{"/pictures/input-2.png", "/pictures/labels-1.png", "/pictures/input--1.png", "/pictures/input-x.png", "/pictures/filters.gif"} {
		if w := request(h, "GET", bad, nil); w.Code != http.StatusNotFound {
			t.Errorf("GET %s: status %d", bad, w.Code)
		}
	}
}

// write makes a file with its folders.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const trainHead = "iter,loss,smoothed,lr,seconds,images_per_second,wait_share\n"

func TestRuns(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "runs")
	write(t, filepath.Join(dir, "a b", "train.csv"), trainHead+"0,4,4,0.1,1,8,0\n1,2,3,0.1,2,8,0\n")
	write(t, filepath.Join(top, "secret", "train.csv"), trainHead+"0,4,4,0.1,1,8,0\n")
	h := New(Options{Source: newFake(), Dir: dir}).Handler()
	var runs []watch.RunInfo
	decode(t, get(t, h, "/api/runs"), &runs)
	if len(runs) != 1 || runs[0].Name != "a b" || runs[0].Iter != 1 {
		t.Errorf("runs %+v", runs)
	}
	for range 2 { // the second is from memory
		var s watch.Series
		decode(t, get(t, h, "/api/runs/series?run=a+b"), &s)
		if len(s.Iter) != 2 || s.Loss[1] != 2 {
			t.Errorf("series %+v", s)
		}
	}
	if got := get(t, h, "/data/loss.csv?run=a+b"); got != "iter,loss,smoothed\n0,4,4\n1,2,3\n" {
		t.Errorf("loss of the run: %q", got)
	}
	for _, bad := range []string{"../secret", "..", ".", "", "none", filepath.Join(top, "secret")} {
		for _, path := range []string{"/api/runs/series?run=", "/data/loss.csv?run="} {
			if path == "/data/loss.csv?run=" && bad == "" {
				continue // this run
			}
			if w := request(h, "GET", path+strings.ReplaceAll(bad, "/", "%2f"), nil); w.Code != http.StatusNotFound {
				t.Errorf("%s%s: status %d", path, bad, w.Code)
			}
		}
	}
	// Without a folder there are no other runs.
	if s := get(t, New(Options{Source: newFake()}).Handler(), "/api/runs"); s != "[]" {
		t.Errorf("runs of no folder: %s", s)
	}
}

func TestRunCache(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{Source: newFake(), Dir: dir})
	h := s.Handler()
	for i := range maxCachedRuns + 3 {
		name := fmt.Sprint("run", i)
		write(t, filepath.Join(dir, name, "train.csv"), trainHead+"0,4,4,0.1,1,8,0\n")
		get(t, h, "/api/runs/series?run="+name)
	}
	if n := len(s.runs.runs); n != maxCachedRuns {
		t.Errorf("%d runs are kept, want %d", n, maxCachedRuns)
	}
}

func TestFiles(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "run")
	write(t, filepath.Join(dir, "train.csv"), "iter\n1\n")
	write(t, filepath.Join(dir, "other.txt"), "not the run's")
	write(t, filepath.Join(top, "secret.csv"), "secret")
	f := newFake()
	f.dir, f.files = dir, []string{"train.csv", "gone.csv"}
	h := New(Options{Source: f}).Handler()
	var v filesView
	decode(t, get(t, h, "/api/files"), &v)
	if len(v.Files) != 1 || v.Files[0].Size != 7 {
		t.Fatalf("files %+v", v.Files)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	for _, c := range []struct {
		bytes, want string
		status      int
	}{{"", "iter\n1\n", http.StatusOK}, {"bytes=5-5", "1", http.StatusPartialContent}} {
		r, err := http.NewRequest("GET", srv.URL+"/"+v.Files[0].Href, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Range", c.bytes)
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(w.Body)
		w.Body.Close()
		if err != nil || w.StatusCode != c.status || string(b) != c.want {
			t.Errorf("range %q: status %d, %q, %v", c.bytes, w.StatusCode, b, err)
		}
	}
	for _, bad := range []string{"other.txt", "gone.csv", "..%2fsecret.csv", "%2e%2e%2fsecret.csv", ""} {
		if w := request(h, "GET", "/files/"+bad, nil); w.Code == http.StatusOK {
			t.Errorf("GET /files/%s is %q", bad, w.Body)
		}
	}
}

func TestHealth(t *testing.T) {
	f := newFake()
	h := New(Options{Source: f}).Handler()
	if s := get(t, h, "/healthz"); s != "training\n" {
		t.Errorf("health %q", s)
	}
	f.status = watch.StatusFailed
	if w := request(h, "GET", "/healthz", nil); w.Code != http.StatusServiceUnavailable {
		t.Errorf("health of a failed run: status %d", w.Code)
	}
}

func TestMetrics(t *testing.T) {
	h := New(Options{Source: newFake()}).Handler()
	text := get(t, h, "/metrics")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, want := range []string{
		"\ncrema_iterations_total 3\n",
		"\ncrema_loss NaN\n",
		"\ncrema_loss_smoothed 2\n",
		"\ncrema_learning_rate 0.01\n",
		"\ncrema_status{status=\"training\"} 1\n",
		"\ncrema_status{status=\"failed\"} 0\n",
		"\ncrema_run_info{net=\"net\",run=\"now\",solver=\"solver.prototxt\"} 1\n",
		"\ncrema_test_output{net=\"0\",output=\"accuracy\"} 0.5\n",
		"\ncrema_layer_time_ratio{depth=\"1\",layer=\"ip\",pass=\"backward\",type=\"InnerProduct\"} 0.5\n",
		"\ncrema_layer_activation_rms{depth=\"1\",layer=\"ip\",type=\"InnerProduct\"} 3\n",
		"\ncrema_layer_nonfinite_ratio{depth=\"1\",layer=\"ip\",of=\"activation\",type=\"InnerProduct\"} 0.25\n",
		"\ncrema_layer_update_ratio{depth=\"1\",layer=\"ip\",type=\"InnerProduct\"} 0.001\n",
		"\ngo_goroutines ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %q", strings.TrimSpace(want))
		}
	}
	for i, m := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile(`^(crema|go|process)_`).MatchString(m[1]) {
			t.Errorf("metric %d is named %s", i, m[1])
		}
	}
}
