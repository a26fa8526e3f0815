package browsertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var screenshots = flag.String("screenshots", "", "keep the screenshots in this `folder`")

// limit is how long anything that must happen may take on a slow machine.
const limit = 90 * time.Second

// A training is a run of the program with a page.
type training struct {
	cmd  *exec.Cmd
	url  string
	log  *growing
	done chan error
}

// growing is a buffer that is read while it is written.
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

// The program, and a folder where quickstart has drawn its data.
var crema, dir string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		var err error
		if dir, err = os.MkdirTemp("", "crema-page"); err != nil {
			log.Print(err)
			return 1
		}
		defer os.RemoveAll(dir)
		crema = filepath.Join(dir, "crema")
		build := exec.Command("go", "build", "-o", crema, "./cmd/crema")
		build.Dir = filepath.Join("..", "..", "..")
		draw := exec.Command(crema, "quickstart", "-output", "set", "-count", "2000", "-max-iter", "1")
		draw.Dir = dir
		for _, cmd := range []*exec.Cmd{build, draw} {
			if out, err := cmd.CombinedOutput(); err != nil {
				log.Printf("%v: %v\n%s", cmd, err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// command runs the program to its end.
func command(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(crema, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// train starts a run that shows itself at a free port and waits until it does.
func train(t *testing.T, args ...string) *training {
	t.Helper()
	r := &training{log: &growing{}, done: make(chan error, 1)}
	r.cmd = exec.Command(crema, append([]string{"train", "--solver=set/solver.prototxt", "--http=localhost:0"}, args...)...)
	r.cmd.Dir, r.cmd.Stderr = dir, r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.done <- r.cmd.Wait() }()
	t.Cleanup(func() { r.cmd.Process.Kill() })
	eventually(t, "the URL in the log", func() bool {
		if m := regexp.MustCompile(`Watch this run at (\S+)\n`).FindStringSubmatch(r.log.String()); m != nil {
			r.url = m[1]
		}
		return r.url != ""
	})
	return r
}

// eventually waits for something that must come.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	// Looks are counted, not seconds: a machine may stand still meanwhile.
	const pause = 50 * time.Millisecond
	for range limit / pause {
		if f() {
			return
		}
		time.Sleep(pause)
	}
	t.Fatalf("waited in vain for %s", what)
}

// get reads JSON from the run.
func (r *training) get(t *testing.T, path string, v any) {
	t.Helper()
	resp, err := http.Get(r.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

type state struct {
	Status string
	Iter   int
}

func (r *training) state(t *testing.T) (s state) {
	t.Helper()
	r.get(t, "api/state", &s)
	return s
}

// A browser is a tab of a headless Chromium.
type browser struct {
	t        *testing.T
	ctx      context.Context
	problems *problems
}

func open(t *testing.T, url string) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Fatal("no chromium or google-chrome on the PATH")
	}
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true))...)
	t.Cleanup(cancelAlloc)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	// The browser lives as long as the context of the first call.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, ctx: ctx, problems: &problems{}}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			switch m.Type {
			case chromedp.ConsoleWarning, chromedp.ConsoleError, chromedp.ConsoleException:
				b.problems.add(m.String() + " " + m.URL)
			}
		}
	}()
	b.do(chromedp.Navigate(url))
	return b
}

// problems are what the page's console says went wrong.
type problems struct {
	mu  sync.Mutex
	all []string
}

func (p *problems) add(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, s)
}

func (p *problems) list() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all)
}

// do carries out actions, which must succeed in time.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	result(b, chromedp.Steps(actions...))
}

// result carries out an action, which must succeed in time.
func result[T any](b *browser, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*limit)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// eval evaluates JavaScript in the page.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	return result(b, chromedp.Evaluate[T](js))
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// emulate gives the page a size and a theme.
func (b *browser) emulate(width int64, theme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900, chromedp.EmulateScale(1)), func(ctx context.Context, _ *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
		return chromedp.Void{}, err
	})
}

// until waits for an expression of JavaScript to be true.
func (b *browser) until(what, js string) {
	b.t.Helper()
	eventually(b.t, what, func() bool { return eval[bool](b, js) })
}

// as has the subtest t report what goes wrong.
func (b *browser) as(t *testing.T) *browser {
	return &browser{t: t, ctx: b.ctx, problems: b.problems}
}

// picture returns what a chart's canvas shows.
func (b *browser) picture(title string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`document.querySelector('canvas[aria-label=%q]').toDataURL()`, title))
}

func (b *browser) legend(title string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`document.querySelector('canvas[aria-label=%q]').closest('figure').querySelector('.legend').textContent`, title))
}

// charts are the titles of all charts of the page.
var charts = []string{"Loss", "Test results", "Learning rate", "Speed", "By depth, last sample", "Activations (RMS)",
	"Gradients (RMS)", "Update / weight (RMS)", "Activations that are 0"}

func TestPage(t *testing.T) {
	short := []string{"train", "--solver=set/solver.prototxt", "--watch=runs", "--set=max_iter=40", "--set=test_interval=10", "--set=test_iter=1", "--set=snapshot_after_train=false"}
	command(t, append(short, "--run-name=earlier")...)
	command(t, append(short, "--run-name=slower", "--set=base_lr=0.003")...)
	if err := os.Mkdir(filepath.Join(dir, "snaps"), 0o755); err != nil {
		t.Fatal(err)
	}
	run := train(t, "--watch=runs", "--run-name=live", "--set=max_iter=20000", "--set=test_interval=20", "--set=test_iter=1",
		"--set=snapshot=0", "--set=snapshot_prefix=snaps/live")
	b := open(t, run.url)

	t.Run("charts move", func(t *testing.T) {
		b := b.as(t)
		b.until("a test result", `document.querySelector('#tiles')?.textContent.includes('Test accuracy')`)
		before := map[string]string{}
		for _, c := range charts {
			before[c] = b.picture(c)
		}
		// Each is drawn anew with what was added.
		for _, c := range charts {
			eventually(t, "the chart "+c+" to change", func() bool { return b.picture(c) != before[c] })
		}
		progress := eval[string](b, `document.getElementById('progress-text').textContent`)
		b.until("progress", fmt.Sprintf(`document.getElementById('progress-text').textContent !== %q`, progress))
		b.until("pictures", `[...document.querySelectorAll('#pictures img')].length > 1 && [...document.querySelectorAll('#pictures img')].every((i) => i.complete && i.naturalWidth > 0)`)
		b.until("the configuration", `document.querySelector('#config pre').textContent.includes('base_lr')`)
		b.until("the downloads", `document.querySelectorAll('#downloads a').length > 8`)
	})

	t.Run("read-outs", func(t *testing.T) {
		b := b.as(t)
		for _, c := range []struct{ title, want string }{{"Loss", "iteration "}, {"Activations (RMS)", "iteration "}, {"By depth, last sample", "fc"}} {
			b.do(chromedp.Focus(chromedp.CSS(fmt.Sprintf(`canvas[aria-label=%q]`, c.title))), chromedp.KeyEvent(kb.ArrowLeft))
			eventually(t, c.title+" by keyboard", func() bool { return strings.Contains(b.legend(c.title), c.want) })
			b.do(chromedp.KeyEvent(kb.Escape))
			eventually(t, c.title+" back", func() bool { return !strings.Contains(b.legend(c.title), c.want) })
		}
		b.do(chromedp.ScrollIntoView(chromedp.CSS(`canvas[aria-label="Loss"]`)))
		at := eval[[]float64](b, `(() => { const r = document.querySelector('canvas[aria-label="Loss"]').getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`)
		b.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at[0], at[1]))
		eventually(t, "the loss under the pointer", func() bool { return strings.Contains(b.legend("Loss"), "iteration ") })
		toggle := `input[aria-label="Loss: logarithmic axis"]`
		before := b.picture("Loss")
		b.click(toggle)
		eventually(t, "a logarithmic axis", func() bool { return b.picture("Loss") != before })
		b.click(toggle)
	})

	t.Run("runs over each other", func(t *testing.T) {
		b := b.as(t)
		b.until("the list of runs", `document.querySelectorAll('#runs label').length === 2`)
		b.click(`#runs label[data-name="earlier"] input`)
		b.click(`#runs label[data-name="slower"] input`)
		for _, c := range []string{"Loss", "Learning rate", "Speed", "Test results"} {
			eventually(t, "both runs in "+c, func() bool {
				return strings.Contains(b.legend(c), "earlier") && strings.Contains(b.legend(c), "slower")
			})
		}
		b.click(`#runs label[data-name="earlier"] input`)
		eventually(t, "one of them to go", func() bool { return !strings.Contains(b.legend("Loss"), "earlier") })
		b.click(`#runs label[data-name="earlier"] input`)
		eventually(t, "both runs again", func() bool { return strings.Contains(b.legend("Loss"), "earlier") })
	})

	t.Run("buttons", func(t *testing.T) {
		b := b.as(t)
		b.click("#pause")
		b.until("the pause", `document.getElementById('status').textContent === 'paused'`)
		at := run.state(t).Iter
		eval[any](b, `(() => { window.notices = ''; new MutationObserver(() => { window.notices += notice.textContent + '|'; }).observe(notice, {childList: true, characterData: true, subtree: true}); })()`)
		b.click("#snapshot")
		b.until("word of the snapshot", `window.notices.includes('snapshot is written')`)
		b.until("its iteration", fmt.Sprintf(`tiles.textContent.includes('Last snapshot' + (%d).toLocaleString('en-US'))`, at))
		for _, ext := range []string{"caffemodel", "solverstate"} {
			if _, err := os.Stat(filepath.Join(dir, "snaps", fmt.Sprintf("live_iter_%d.%s", at, ext))); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
		if s := run.state(t); s.Iter != at || s.Status != "paused" {
			t.Errorf("a second after the pause of iteration %d: %+v", at, s)
		}
		b.until("a button to resume", `document.getElementById('pause').textContent === 'Resume' && !document.getElementById('pause').disabled`)
		b.click("#pause")
		b.until("the end of the pause", `document.getElementById('status').textContent !== 'paused'`)
		eventually(t, "iterations", func() bool { return run.state(t).Iter > at })
	})

	t.Run("clients that wait and one that does not read", func(t *testing.T) { slowClients(t, run) })

	t.Run("screenshots", func(t *testing.T) {
		b := b.as(t)
		folder := *screenshots
		if folder == "" {
			folder = t.TempDir()
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, theme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 390} {
				name := fmt.Sprintf("%s-%d", theme, width)
				b.emulate(width, theme)
				eval[any](b, `scrollTo(0, 0)`)
				b.do(chromedp.Sleep(1500 * time.Millisecond)) // until all is drawn anew
				if wide := eval[float64](b, `document.documentElement.scrollWidth`); wide > float64(width) {
					t.Errorf("%s: the page is %v wide", name, wide)
				}
				if cut := eval[[]string](b, cutJS); len(cut) > 0 {
					t.Errorf("%s: cut or outside: %s", name, strings.Join(cut, "; "))
				}
				if low := eval[[]string](b, contrastJS); len(low) > 0 {
					t.Errorf("%s: low contrast: %s", name, strings.Join(low, "; "))
				}
				png := result(b, chromedp.FullScreenshot(100))
				if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	})

	for _, p := range b.problems.list() {
		t.Errorf("the page's console: %s", p)
	}

	t.Run("stop", func(t *testing.T) {
		b := b.as(t)
		b.click("#stop")
		b.click(`#confirm button[value="cancel"]`)
		if s := run.state(t); s.Status == "stopped" {
			t.Error("cancel stops the run")
		}
		b.click("#stop")
		b.click(`#confirm button[value="stop"]`)
		select {
		case err := <-run.done:
			if err != nil {
				t.Errorf("the run ended with %v\n%s", err, run.log)
			}
		case <-time.After(limit):
			t.Fatal("the run does not end")
		}
		b.until("the page to show the end", `document.getElementById('status').textContent === 'stopped'`)
		if !eval[bool](b, `document.getElementById('stop').disabled`) {
			t.Error("a button of a run that has ended works")
		}
		if found, _ := filepath.Glob(filepath.Join(dir, "snaps", "live_iter_*.solverstate")); len(found) != 2 {
			t.Errorf("snapshots %v, want that of the button and that of the end", found)
		}
	})
}

// cutJS lists what has text and reaches out of the window, or out of a box that
// cannot be scrolled.
const cutJS = `[...document.querySelectorAll('body *')].filter((e) => {
  if (!e.checkVisibility() || e.closest('.sr, .skip, .scroll, pre, select') || !e.textContent.trim()) return false;
  const r = e.getBoundingClientRect();
  const style = getComputedStyle(e);
  return r.left < -0.5 || r.right > innerWidth + 0.5 || (style.overflowX === 'hidden' && e.scrollWidth > e.clientWidth + 1);
}).map((e) => e.tagName + ' ' + e.textContent.trim().slice(0, 40))`

// contrastJS lists texts of less contrast than WCAG 2.2 asks for (1.4.3, AA):
// 4.5 against the background.
const contrastJS = `(() => {
  const rgb = (s) => s.match(/[\d.]+/g).map(Number);
  const lum = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const back = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')].filter((e) => {
    if (!e.checkVisibility() || e.disabled || e.closest('.sr, .skip')) return false;
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) return false;
    const [a, b] = [lum(rgb(getComputedStyle(e).color)), lum(back(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05) < 4.5;
  }).map((e) => e.tagName + ' ' + e.textContent.trim().slice(0, 40));
})()`

// slowClients has 20 clients that are connected and silent and one that asks
// for everything and reads nothing. Training must go on meanwhile; how long its
// iterations take without and with them is logged.
func slowClients(t *testing.T, run *training) {
	const iterations = 60
	alone := medianIteration(t, run, iterations)
	addr := strings.TrimSuffix(strings.TrimPrefix(run.url, "http://"), "/")
	for i := range 20 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 { // half of them have looked once
			if _, err := io.WriteString(c, "GET /api/state HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	stalled, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	stalled.(*net.TCPConn).SetReadBuffer(4096)
	stop := make(chan struct{})
	var asker sync.WaitGroup
	asker.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			stalled.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			_, err := io.WriteString(stalled, "GET /api/series HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if ne := net.Error(nil); err != nil && !(errors.As(err, &ne) && ne.Timeout()) {
				return // given up, as it should be
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	with := medianIteration(t, run, iterations)
	close(stop)
	asker.Wait()
	t.Logf("median iteration: %.1f ms with one page, %.1f ms with 20 silent clients and one that reads nothing besides", 1000*alone, 1000*with)
}

// medianIteration waits for a number of iterations and returns the median of
// the seconds between them.
func medianIteration(t *testing.T, run *training, n int) float64 {
	t.Helper()
	begin := run.state(t).Iter
	eventually(t, fmt.Sprintf("%d iterations", n), func() bool { return run.state(t).Iter >= begin+n })
	var s struct{ Seconds []float64 }
	run.get(t, fmt.Sprintf("api/series?since=%d", begin), &s)
	var took []float64
	for i := 1; i < len(s.Seconds); i++ {
		took = append(took, s.Seconds[i]-s.Seconds[i-1])
	}
	if len(took) < n/2 {
		t.Fatalf("%d iterations are in the series since %d", len(took), begin)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// TestToken opens a run that asks for a token.
func TestToken(t *testing.T) {
	run := train(t, "--http-token=open sesame", "--set=max_iter=20000", "--set=snapshot_after_train=false")
	b := open(t, run.url)
	token := chromedp.CSS("#token")
	b.do(chromedp.WaitVisible(chromedp.CSS("#login")), chromedp.SendKeys(token, "close sesame"+kb.Enter))
	b.until("word of the wrong token", `document.getElementById('login-error').textContent.includes('not the token')`)
	b.do(chromedp.SendKeys(token, "open sesame"+kb.Enter), chromedp.WaitNotVisible(chromedp.CSS("#login")))
	b.until("the run", `document.getElementById('progress-text').textContent.includes('of 20,000')`)
	b.click("#stop")
	b.click(`#confirm button[value="stop"]`)
	select {
	case err := <-run.done:
		if err != nil {
			t.Errorf("the run ended with %v\n%s", err, run.log)
		}
	case <-time.After(limit):
		t.Fatal("the run does not end")
	}
}
