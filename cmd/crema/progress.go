package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A console is the standard error of a run: log lines scroll by and a progress
// line, if it is a terminal, stays below them. It is safe for concurrent use.
type console struct {
	mu  sync.Mutex
	w   io.Writer
	bar *progressbar.ProgressBar // nil while none is shown
	// columns returns the width of the terminal (0: unknown); nil if it is none.
	columns func() int
}

// newConsole returns the console on w, which shows a progress line only if w
// is a terminal that can rewrite a line. From then on a pipe whose reader is gone
// (a tee that Ctrl-C ended, a head that has seen enough) does not end the program
// by SIGPIPE: writing to it fails, the lines are lost, and the work goes on.
func newConsole(w io.Writer) *console {
	c := &console{w: w}
	if w == os.Stderr {
		signal.Ignore(syscall.SIGPIPE)
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		c.columns = func() int {
			n, _, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 0
			}
			return n
		}
	}
	return c
}

// Write writes whole lines above the progress line.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bar == nil {
		return c.w.Write(p)
	}
	c.bar.Clear()
	n, err := c.w.Write(p)
	c.bar.RenderBlank()
	return n, err
}

// A progress is the progress line of a training run. Its methods do nothing on
// a nil progress, which is what a console that is no terminal gives.
type progress struct {
	c          *console
	bar        *progressbar.ProgressBar
	total      int
	begin      time.Time
	beginIter  int
	lastIter   int
	perIter    float64   // smoothed seconds an iteration
	shown      time.Time // when the line was last drawn
	now        func() time.Time
	everyShown time.Duration
}

// startProgress shows a progress line for a run from iteration first to total.
func (c *console) startProgress(first, total int) *progress {
	if c.columns == nil || total <= first {
		return nil
	}
	p := &progress{c: c, total: total, beginIter: first, lastIter: first, now: time.Now, everyShown: 100 * time.Millisecond}
	p.begin = p.now()
	p.bar = progressbar.NewOptions(total,
		progressbar.OptionSetWriter(c.w),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionSetWidth(20),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetTheme(progressbar.ThemeASCII))
	c.mu.Lock()
	defer c.mu.Unlock()
	p.bar.StartWithoutRender()
	return p
}

// update says that iteration iter (so many are complete) had that loss and
// took so many seconds, tests and snapshots aside, for so many images (0 if
// that is not known).
func (p *progress) update(iter int, loss float32, images int, seconds float64) {
	if p == nil || iter <= p.lastIter {
		return
	}
	if p.lastIter == p.beginIter {
		p.perIter = seconds
	}
	p.perIter += (seconds - p.perIter) / 16
	p.lastIter = iter
	now := p.now()
	if now.Sub(p.shown) < p.everyShown && iter < p.total {
		return
	}
	p.shown = now
	// The time left follows the mean of the whole run, which unlike the rate
	// has the test passes and snapshots in it.
	mean := now.Sub(p.begin).Seconds() / float64(iter-p.beginIter)
	rate := formatRate(1/p.perIter) + " iter/s"
	if images > 0 {
		rate = formatRate(float64(images)/p.perIter) + " images/s"
	}
	text := fmt.Sprintf("%d/%d  loss %.4g  %s  ETA %s", iter, p.total, loss, rate, formatETA(mean*float64(p.total-iter)))
	// The bar shrinks to fit; a line that even then is too long would wrap and
	// could not be erased.
	const withoutBar = len(" 100% []   ")
	if n := p.c.columns(); n > 0 && withoutBar+len(text) > n {
		text = text[:max(n-withoutBar, 0)]
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.bar = p.bar
	p.bar.Set(iter)
	p.bar.Describe(text)
}

// stop removes the progress line.
func (p *progress) stop() {
	if p == nil {
		return
	}
	p.c.hideProgress()
	p.bar.Exit()
}

// hideProgress takes the progress line away, if one is shown.
func (c *console) hideProgress() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bar != nil {
		c.bar.Clear()
		c.bar = nil
	}
}

// formatRate writes three digits, or all those before the point.
func formatRate(r float64) string {
	if r >= 100 {
		return fmt.Sprintf("%.0f", r)
	}
	return fmt.Sprintf("%.3g", r)
}

// formatETA writes seconds as 8s, 5m08s, 3h12m, 4d07h or, past a thousand
// days, as years.
func formatETA(s float64) string {
	n := int64(s + 0.5)
	switch {
	case !(s < 1000*86400):
		return fmt.Sprintf("%.3g years", s/(365.25*86400))
	case n < 60:
		return fmt.Sprintf("%ds", n)
	case n < 3600:
		return fmt.Sprintf("%dm%02ds", n/60, n%60)
	case n < 86400:
		return fmt.Sprintf("%dh%02dm", n/3600, n/60%60)
	default:
		return fmt.Sprintf("%dd%02dh", n/86400, n/3600%24)
	}
}
