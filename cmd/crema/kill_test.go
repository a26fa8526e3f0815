package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// newest returns the .solverstate in dir of the highest iteration, and that
// iteration; "" if there is none.
func newest(t *testing.T, dir string) (string, int) {
	t.Helper()
	states, err := filepath.Glob(filepath.Join(dir, "*.solverstate"))
	if err != nil {
		t.Fatal(err)
	}
	best, iter := "", -1
	for _, s := range states {
		m := regexp.MustCompile(`_iter_(\d+)\.solverstate$`).FindStringSubmatch(s)
		if m == nil {
			t.Fatalf("unexpected file %s", s)
		}
		if n, _ := strconv.Atoi(m[1]); n > iter {
			best, iter = s, n
		}
	}
	return best, iter
}

// TestKill kills a run that snapshots every other iteration 20 times at random
// moments. Every time it must resume from the newest state there is, and what
// it reaches in the end must have the bits of a run that was left alone.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	last := -1
	start := func(iters int, state string) *exec.Cmd {
		args := []string{fmt.Sprintf("--set=max_iter=%d", iters), "--set=snapshot=2", "--set=snapshot_after_train=true", "--set=random_seed=7", "--set=test_interval=5"}
		if state == "" {
			args = append(args, initWeights)
		} else {
			args = append(args, "--snapshot", state)
		}
		cmd := exec.Command(os.Args[0], trainArgs(dir, args...)...)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		cmd.Dir = golden(t, "runs")
		return cmd
	}
	for k := range 20 {
		state, iter := newest(t, dir)
		if iter < last {
			t.Fatalf("kill %d: the newest state is of iteration %d, there was one of %d", k, iter, last)
		}
		last = iter
		cmd := start(100000000, state)
		log, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// From the first snapshot on, however slow the machine is, it writes one
		// after the other.
		lines := bufio.NewScanner(log)
		for lines.Scan() && !strings.Contains(lines.Text(), "Snapshotting to") {
		}
		go io.Copy(io.Discard, log)
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatalf("kill %d: the run from %q had ended by itself", k, state)
		}
		cmd.Wait()
	}
	state, iter := newest(t, dir)
	if iter < 2 {
		t.Fatalf("20 runs reached no snapshot")
	}
	end := iter/2*2 + 4
	if out, err := start(end, state).CombinedOutput(); err != nil {
		t.Fatalf("resuming from %s: %v\n%s", state, err, out)
	}
	killed, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("run_iter_%d.caffemodel", end)))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if out, err := start(end, "").CombinedOutput(); err != nil {
		t.Fatalf("the run left alone: %v\n%s", err, out)
	}
	whole, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("run_iter_%d.caffemodel", end)))
	if err != nil {
		t.Fatal(err)
	}
	if string(killed) != string(whole) {
		t.Errorf("after 20 kills and %d iterations the weights differ from those of the run left alone", end)
	}
}
