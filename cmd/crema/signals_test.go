//go:build unix

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"crema/solver"
)

func TestSignalPoll(t *testing.T) {
	clock := time.Unix(0, 0)
	var noted []string
	aborted := false
	s := &signals{sigint: solver.ActionStop, sighup: solver.ActionSnapshot, now: func() time.Time { return clock },
		noted: func(n string, _ solver.Action) { noted = append(noted, n) }, abort: func(string) { aborted = true }}
	if a := s.poll(); a != solver.ActionNone {
		t.Errorf("without a signal: %v", a)
	}
	s.receive(os.Interrupt)
	s.receive(syscall.SIGHUP)
	s.receive(syscall.SIGHUP)
	for i, want := range []solver.Action{solver.ActionSnapshot, solver.ActionStop, solver.ActionNone} {
		if a := s.poll(); a != want {
			t.Errorf("poll %d gave %v, want %v", i, a, want)
		}
	}
	if got := strings.Join(noted, " "); got != "SIGINT SIGHUP SIGHUP" {
		t.Errorf("noted %s", got)
	}
	// The same Ctrl-C through a parent is not a second one.
	clock = clock.Add(doubleDelivery / 2)
	s.receive(os.Interrupt)
	if a := s.poll(); aborted || a != solver.ActionNone {
		t.Errorf("a SIGINT right after the first: aborted %v, action %v", aborted, a)
	}
	clock = clock.Add(doubleDelivery)
	if s.receive(os.Interrupt); !aborted {
		t.Error("a second SIGINT did not end the run")
	}
}

func TestSignalOtherEffects(t *testing.T) {
	for _, effect := range []solver.Action{solver.ActionSnapshot, solver.ActionNone} {
		clock := time.Unix(0, 0)
		s := &signals{sigint: effect, now: func() time.Time { return clock }, noted: func(string, solver.Action) {},
			abort: func(string) { t.Errorf("effect %v: SIGINT ended the run", effect) }}
		for range 3 {
			s.receive(os.Interrupt)
			clock = clock.Add(time.Minute)
			if a := s.poll(); a != effect {
				t.Errorf("effect %v: got %v", effect, a)
			}
		}
	}
}

// A trainer is a process that trains the recorded run without an end.
type trainer struct {
	t   *testing.T
	cmd *exec.Cmd
	log *bufio.Scanner
	// pipe is what log reads.
	pipe io.Closer
	dir  string // of the snapshots
}

func startTrainer(t *testing.T, args ...string) *trainer {
	t.Helper()
	dir := t.TempDir()
	args = trainArgs(dir, append([]string{initWeights, "--set=max_iter=100000000", "--set=snapshot=0", "--set=snapshot_after_train=true", "--threads=1"}, args...)...)
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Dir = golden(t, "runs")
	p, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A run that does not react must not outlive the test.
	watchdog := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() })
	t.Cleanup(func() { watchdog.Stop(); cmd.Process.Kill() })
	return &trainer{t: t, cmd: cmd, log: bufio.NewScanner(p), pipe: p, dir: dir}
}

// wait reads the log up to a line that matches and returns its first group.
func (p *trainer) wait(expr string) string {
	p.t.Helper()
	re := regexp.MustCompile(expr)
	var last string
	for p.log.Scan() {
		last = p.log.Text()
		if m := re.FindStringSubmatch(last); m != nil {
			return m[len(m)-1]
		}
	}
	p.t.Fatalf("the log ended before a line %q; last: %s", expr, last)
	return ""
}

func (p *trainer) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end reads the rest of the log and returns the exit status.
func (p *trainer) end() int {
	p.t.Helper()
	for p.log.Scan() {
	}
	err := p.cmd.Wait()
	if p.cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func TestSigintStopsWithSnapshot(t *testing.T) {
	p := startTrainer(t)
	p.wait(`Iteration 3,? .*loss`)
	p.signal(os.Interrupt)
	p.wait(`SIGINT: stopping`)
	model := p.wait(`Snapshotting to binary proto file (.*)`)
	p.wait(`Optimization stopped early\.`)
	if status := p.end(); status != 0 {
		t.Errorf("exit status %d after a clean stop, want 0", status)
	}
	state := strings.TrimSuffix(model, ".caffemodel") + ".solverstate"
	m := regexp.MustCompile(`_iter_(\d+)\.`).FindStringSubmatch(state)
	if m == nil || !exists(model) || !exists(state) {
		t.Fatalf("no snapshot %s, %s", model, state)
	}
	n, _ := strconv.Atoi(m[1])
	t.Chdir(golden(t, "runs"))
	r := mustCrema(t, trainArgs(p.dir, "--snapshot", state, "--set=max_iter="+strconv.Itoa(n+2), "--set=snapshot=0")...)
	if !strings.Contains(r.err, "Iteration "+strconv.Itoa(n)+" (") {
		t.Errorf("the resumed run did not begin at iteration %d", n)
	}
}

func TestSighupSnapshotsAndGoesOn(t *testing.T) {
	p := startTrainer(t, "--sigint_effect=none")
	p.wait(`Iteration 3,? .*loss`)
	p.signal(syscall.SIGHUP)
	state := p.wait(`Snapshotting solver state to binary proto file (.*)`)
	p.wait(`Iteration \d+,? .*loss`)
	p.wait(`Iteration \d+,? .*loss`)
	if !exists(state) {
		t.Errorf("no snapshot %s", state)
	}
	p.signal(os.Interrupt) // without effect
	p.wait(`SIGINT: ignored`)
	p.wait(`Iteration \d+,? .*loss`)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.end()
}

func TestSighupEffectStop(t *testing.T) {
	p := startTrainer(t, "--sighup_effect=stop", "--set=snapshot_after_train=false")
	p.wait(`Iteration 1,? .*loss`)
	p.signal(syscall.SIGHUP)
	p.wait(`Optimization stopped early\.`)
	if status := p.end(); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "*")); len(left) > 0 {
		t.Errorf("snapshot_after_train: false, but there is %v", left)
	}
}

// iter_size makes the iteration last: nothing is polled while it runs.
func TestSecondSigintEndsAtOnce(t *testing.T) {
	p := startTrainer(t, "--set=iter_size=10000000", "--set=test_iter=1")
	p.wait(`Test net output #2`)
	p.signal(os.Interrupt)
	p.wait(`SIGINT: stopping.* once more`)
	time.Sleep(doubleDelivery + 100*time.Millisecond)
	p.signal(os.Interrupt)
	p.wait(`SIGINT again`)
	if status := p.end(); status != 130 {
		t.Errorf("exit status %d, want 130", status)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSigtermIsAsSigint(t *testing.T) {
	p := startTrainer(t)
	p.wait(`Iteration 3,? .*loss`)
	p.signal(syscall.SIGTERM)
	p.wait(`SIGTERM: stopping`)
	model := p.wait(`Snapshotting to binary proto file (.*)`)
	if status := p.end(); status != 0 {
		t.Errorf("exit status %d after a clean stop, want 0", status)
	}
	if !exists(model) {
		t.Errorf("no snapshot %s", model)
	}

	p = startTrainer(t, "--set=iter_size=10000000", "--set=test_iter=1")
	p.wait(`Test net output #2`)
	p.signal(syscall.SIGTERM)
	p.wait(`SIGTERM: stopping.* once more`)
	time.Sleep(doubleDelivery + 100*time.Millisecond)
	p.signal(syscall.SIGTERM)
	p.wait(`SIGTERM again`)
	if status := p.end(); status != 128+15 {
		t.Errorf("exit status %d after a second SIGTERM, want 143", status)
	}
}

// TestLogReaderGone closes the pipe that the log goes to while the run goes on,
// as Ctrl-C does to a tee, and as head does: the run must neither end nor lose
// its last snapshot.
func TestLogReaderGone(t *testing.T) {
	p := startTrainer(t)
	p.wait(`Iteration 3,? .*loss`)
	if err := p.pipe.Close(); err != nil {
		t.Fatal(err)
	}
	// Each of these is written to the pipe; the first would have ended it.
	for range 3 {
		time.Sleep(50 * time.Millisecond)
		p.signal(syscall.SIGHUP)
	}
	time.Sleep(50 * time.Millisecond)
	p.signal(os.Interrupt)
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("the run ended with %v", err)
	}
	states, _ := filepath.Glob(filepath.Join(p.dir, "*.solverstate"))
	if len(states) == 0 {
		t.Error("no snapshot")
	}
}
