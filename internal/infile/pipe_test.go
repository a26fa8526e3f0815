//go:build unix

package infile

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPipe: a named pipe that nobody writes to is refused, not waited for.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Skipf("no named pipes here: %v", err)
	}
	if _, err := ReadFile(pipe); !errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), "a named pipe") {
		t.Errorf("a pipe: %v", err)
	}
	if k := Sniff(pipe); k != Pipe {
		t.Errorf("a pipe is %v", k)
	}
	sock := filepath.Join(dir, "s")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Skipf("no sockets here: %v", err)
	}
	defer l.Close()
	if _, err := Open(sock); !errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), "a socket") {
		t.Errorf("a socket: %v", err)
	}
}
