package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// screen plays what was written to a terminal of one growing column of lines:
// it knows a carriage return and the two sequences that erase.
func screen(s string) []string {
	lines := []string{""}
	col := 0
	for len(s) > 0 {
		cur := &lines[len(lines)-1]
		switch {
		case strings.HasPrefix(s, "\x1b[2K"):
			*cur, s = "", s[4:]
			continue
		case strings.HasPrefix(s, "\x1b[0K"):
			*cur, s = (*cur)[:min(col, len(*cur))], s[4:]
			continue
		case s[0] == '\r':
			col = 0
		case s[0] == '\n':
			lines, col = append(lines, ""), 0
		default:
			for len(*cur) < col {
				*cur += " "
			}
			*cur = (*cur)[:col] + s[:1] + (*cur)[min(col+1, len(*cur)):]
			col++
		}
		s = s[1:]
	}
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

func TestProgressBelowLogLines(t *testing.T) {
	var b bytes.Buffer
	c := &console{w: &b, columns: func() int { return 0 }}
	p := c.startProgress(100, 300)
	clock := p.begin
	p.now = func() time.Time { return clock }
	c.Write([]byte("first\n"))
	clock = clock.Add(2 * time.Second)
	p.update(101, 1.5, 32, 2)
	c.Write([]byte("second\n"))
	got := screen(b.String())
	if len(got) != 3 || got[0] != "first" || got[1] != "second" {
		t.Fatalf("log lines and progress are mixed: %q", got)
	}
	for _, want := range []string{"101/300", "loss 1.5", "16 images/s", "ETA 6m38s"} {
		if !strings.Contains(got[2], want) {
			t.Errorf("progress line %q lacks %q", got[2], want)
		}
	}
	clock = clock.Add(2 * time.Second)
	p.update(102, 1.25, 32, 2)
	if got := screen(b.String()); len(got) != 3 || !strings.Contains(got[2], "loss 1.25") {
		t.Errorf("after an update: %q", got)
	}
	p.stop()
	c.Write([]byte("last\n"))
	if got := screen(b.String()); len(got) != 4 || got[2] != "last" || got[3] != "" {
		t.Errorf("after the end: %q", got)
	}
}

func TestProgressEndsAtTotal(t *testing.T) {
	var b bytes.Buffer
	c := &console{w: &b, columns: func() int { return 0 }}
	p := c.startProgress(0, 2)
	clock := p.begin
	p.now = func() time.Time { return clock }
	for i := 1; i <= 2; i++ {
		clock = clock.Add(time.Second)
		p.update(i, 1, 0, 1)
	}
	c.Write([]byte("Optimization Done.\n"))
	p.stop()
	if got := screen(b.String()); len(got) != 2 || got[0] != "Optimization Done." || got[1] != "" {
		t.Errorf("got %q", got)
	}
}

// Slow updates must not be needed to keep fast ones cheap: within a tenth of a
// second nothing is drawn again.
func TestProgressIsThrottled(t *testing.T) {
	var b bytes.Buffer
	c := &console{w: &b, columns: func() int { return 0 }}
	p := c.startProgress(0, 1000)
	clock := p.begin
	p.now = func() time.Time { return clock }
	for i := 1; i <= 500; i++ {
		clock = clock.Add(time.Millisecond)
		p.update(i, 1, 0, 1)
	}
	if n := strings.Count(b.String(), "ETA"); n < 4 || n > 12 {
		t.Errorf("drawn %d times in half a second, want 5 to 10 times", n)
	}
}

func TestProgressFitsNarrowTerminal(t *testing.T) {
	for _, columns := range []int{5, 40, 60, 80} {
		var b bytes.Buffer
		c := &console{w: &b, columns: func() int { return columns }}
		p := c.startProgress(0, 18900000)
		p.bar.Clear()
		p.update(20, 6.9087, 6, 15)
		// The library asks the terminal itself, and so has its full bar here.
		got := strings.TrimRight(screen(b.String())[0], " ")
		if _, text, ok := strings.Cut(got, "]"); !ok || len("   0% []")+len(text) > max(columns, len("   0% []")) {
			t.Errorf("on %d columns: %q", columns, got)
		}
	}
}

func TestNoProgressWithoutTerminal(t *testing.T) {
	var b bytes.Buffer
	c := newConsole(&b)
	p := c.startProgress(0, 10)
	p.update(1, 1, 1, 1)
	p.stop()
	if b.Len() > 0 {
		t.Errorf("wrote %q to something that is no terminal", b.String())
	}
}

func TestFormatETA(t *testing.T) {
	for s, want := range map[float64]string{
		0: "0s", 59.4: "59s", 61: "1m01s", 3599: "59m59s", 3600: "1h00m", 90061: "1d01h",
		1.7e9: "53.9 years",
	} {
		if got := formatETA(s); got != want {
			t.Errorf("formatETA(%g) = %s, want %s", s, got, want)
		}
	}
}
