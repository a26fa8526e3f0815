package pylayer

import (
	"bufio"
	"slices"
	"strings"
	"sync"
	"time"

	"crema/internal/glog"
)

// log writes the process's output to the log, line by line.
func (p *Process) log() {
	defer close(p.logged)
	in := bufio.NewReaderSize(p.output, 1<<16)
	for {
		line, _, err := in.ReadLine() // longer lines come in pieces
		if err != nil {
			return
		}
		text := string(line)
		p.tail.add(text)
		glog.Infof(p.o.Log, "%s", text)
	}
}

// stopLog waits until what an ended process has printed is in the log.
func (p *Process) stopLog() {
	// Processes that left the group may have the pipe open.
	_ = p.output.SetReadDeadline(time.Now().Add(patience))
	<-p.logged
}

// A tail keeps the last lines of an output.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	const most = 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, "  "+line)
	if len(t.lines) > most {
		t.lines = slices.Delete(t.lines, 0, 1)
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
