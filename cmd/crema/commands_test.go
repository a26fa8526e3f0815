package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The expressions of Caffe's parse_log.py.
var (
	reIteration = regexp.MustCompile(`Iteration (\d+)`)
	reTrain     = regexp.MustCompile(`Train net output #(\d+): (\S+) = ([\.\deE+-]+)`)
	reTest      = regexp.MustCompile(`Test net output #(\d+): (\S+) = ([\.\deE+-]+)`)
	reRate      = regexp.MustCompile(`lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)`)
)

// parseLog reads a log as parse_log.py and extract_seconds.py do: the start is
// the first line with "Solving", times stand in the first two fields, outputs
// belong to the last iteration seen. It returns output name → iteration →
// value.
func parseLog(t *testing.T, text string) map[string]map[int]float64 {
	t.Helper()
	stamp := func(line string) time.Time {
		f := strings.Fields(line)
		if len(f) < 2 {
			t.Fatalf("no time in %q", line)
		}
		at, err := time.Parse("0102 15:04:05.000000", f[0][1:]+" "+f[1])
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return at
	}
	rows := map[string]map[int]float64{}
	put := func(name string, iter int, value string) {
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		if rows[name] == nil {
			rows[name] = map[int]float64{}
		}
		rows[name][iter] = v
	}
	iter, started := -1, false
	var last time.Time
	for line := range strings.Lines(text) {
		if !started {
			if strings.Contains(line, "Solving") {
				started, last = true, stamp(line)
			}
			continue
		}
		if m := reIteration.FindStringSubmatch(line); m != nil {
			iter, _ = strconv.Atoi(m[1])
		}
		if iter < 0 {
			continue
		}
		if at := stamp(line); at.Before(last) {
			t.Errorf("time runs backwards at %q", line)
		} else {
			last = at
		}
		if m := reRate.FindStringSubmatch(line); m != nil {
			put("lr", iter, m[1])
		}
		if m := reTrain.FindStringSubmatch(line); m != nil {
			put("train "+m[2], iter, m[3])
		}
		if m := reTest.FindStringSubmatch(line); m != nil {
			put("test "+m[2], iter, m[3])
		}
	}
	if !started {
		t.Fatal("no line with Solving: Caffe's log tools would not find the start")
	}
	return rows
}

// trainArgs returns the arguments that train the recorded run sgd_step with
// snapshots in dir, to be used with golden/runs as the working directory.
func trainArgs(dir string, more ...string) []string {
	return append([]string{"train", "--solver=solver/sgd_step/solver.prototxt", "--set", "snapshot_prefix=" + filepath.Join(dir, "run")}, more...)
}

const initWeights = "--weights=solver/sgd_step/init.caffemodel"

func TestTrainGolden(t *testing.T) {
	runs := golden(t, "runs")
	t.Chdir(runs)
	dir := t.TempDir()
	r := mustCrema(t, trainArgs(dir, initWeights, "--log_dir", dir)...)
	rows := parseLog(t, r.err)

	text, err := os.ReadFile("solver/sgd_step/losses.csv")
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var tol struct {
		Loss     float64 `json:"loss"`
		TestLoss float64 `json:"test_loss"`
		Acc      float64 `json:"acc"`
	}
	if b, err := os.ReadFile("solver/sgd_step/tolerance.json"); err != nil {
		t.Fatal(err)
	} else if err := json.Unmarshal(b, &tol); err != nil {
		t.Fatal(err)
	}
	columns := map[string]struct {
		name  string
		limit float64 // relative; accuracies absolute
	}{"loss": {"train loss", tol.Loss}, "lr": {"lr", 1e-5}, "test_loss": {"test loss", tol.TestLoss}, "test_acc1": {"test acc1", 0}, "test_acc5": {"test acc5", 0}}
	for _, line := range lines[1:] {
		iter, _ := strconv.Atoi(line[0])
		for j, head := range lines[0][1:] {
			c := columns[head]
			if line[j+1] == "" || head == "loss" && iter == 30 { // the last one has no output line
				continue
			}
			want, err := strconv.ParseFloat(line[j+1], 64)
			if err != nil {
				t.Fatal(err)
			}
			limit := c.limit * math.Abs(want)
			if c.limit == 0 {
				limit = tol.Acc
			}
			got, ok := rows[c.name][iter]
			if !ok || !(math.Abs(got-want) <= limit) {
				t.Errorf("iteration %d, %s: got %v (logged: %v), want %v", iter, c.name, got, ok, want)
			}
		}
	}
	msgs := strings.Join(r.messages(t), "\n")
	for _, want := range []string{"Use CPU.", "Finetuning from solver/sgd_step/init.caffemodel", "Starting Optimization", "Solving digits",
		"Learning Rate Policy: step", "Iteration 30, loss = 2.17", "Optimization Done.", "Waited for data "} {
		if !strings.Contains(msgs, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if runtime.GOOS == "linux" && !strings.Contains(msgs, "Peak memory: ") {
		t.Error("the log does not say how much memory was used")
	}
	for _, f := range []string{"run_iter_5.caffemodel", "run_iter_5.solverstate", "run_iter_30.caffemodel", "run_iter_30.solverstate"} {
		if !exists(filepath.Join(dir, f)) {
			t.Errorf("no snapshot %s", f)
		}
	}
	// The log file has the same lines, after its three of heading.
	file, err := os.ReadFile(filepath.Join(dir, "crema.INFO"))
	if err != nil {
		t.Fatal(err)
	}
	if s := strings.SplitN(string(file), "\n", 4); len(s) != 4 || s[3] != r.err {
		t.Error("the file in -log_dir differs from stderr")
	}
}

// A run that is cut in two gives the same weights as one that is not.
func TestTrainResume(t *testing.T) {
	t.Chdir(golden(t, "runs"))
	whole, cut := t.TempDir(), t.TempDir()
	mustCrema(t, trainArgs(whole, initWeights, "--set", "max_iter=10")...)
	mustCrema(t, trainArgs(cut, initWeights, "--set", "max_iter=5")...)
	r := mustCrema(t, trainArgs(cut, "--snapshot", filepath.Join(cut, "run_iter_5.solverstate"), "--set=max_iter=10")...)
	if !strings.Contains(r.err, "Resuming from "+filepath.Join(cut, "run_iter_5.solverstate")) {
		t.Error("the log does not say what was resumed")
	}
	a, err := os.ReadFile(filepath.Join(whole, "run_iter_10.caffemodel"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(cut, "run_iter_10.caffemodel"))
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Error("the weights differ from those of the run that was not cut")
	}
}

func TestTrainFlags(t *testing.T) {
	t.Chdir(golden(t, "runs"))
	dir := t.TempDir()
	args := trainArgs(dir, initWeights, "--set=max_iter=1", "--set=test_iter=1", "--set=snapshot_after_train=false")
	for _, c := range []struct {
		name string
		args []string
		want []string
		not  []string
	}{
		{"plain", nil, []string{"Use CPU."}, []string{"ignored"}},
		{"gpu", []string{"-gpu", "0"}, []string{"-gpu=0 is ignored: crema computes on the CPU.", "Use CPU."}, nil},
		{"gpu in the file", []string{"--set=solver_mode=GPU"}, []string{"solver_mode: GPU is ignored: crema computes on the CPU."}, nil},
		{"a flag of another action", []string{"-iterations=3"}, []string{"-iterations has no effect on train"}, nil},
		{"stage and level", []string{"-stage", "a,b", "-level=2"}, nil, nil},
		{"threads", []string{"-threads", "1"}, nil, nil},
		{"glog flags", []string{"-v=0", "-alsologtostderr=1", "-colorlogtostderr", "-stderrthreshold=2", "-logtostderr"}, []string{"Use CPU."}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
			r := mustCrema(t, append(args[:len(args):len(args)], c.args...)...)
			msgs := "\n" + strings.Join(r.messages(t), "\n") + "\n"
			for _, w := range c.want {
				if !strings.Contains(msgs, "\n"+w+"\n") {
					t.Errorf("the log lacks the line %q", w)
				}
			}
			for _, w := range c.not {
				if strings.Contains(msgs, w) {
					t.Errorf("the log has %q", w)
				}
			}
			if c.name == "stage and level" && !strings.Contains(r.err, "level: 2\n  stage: \"a\"\n  stage: \"b\"\n") {
				t.Error("-stage and -level did not reach the net's state")
			}
			if c.name == "threads" && runtime.GOMAXPROCS(0) != 1 {
				t.Error("-threads 1 left the number of threads alone")
			}
		})
	}
}

func TestTrainErrors(t *testing.T) {
	t.Chdir(golden(t, "runs"))
	dir := t.TempDir()
	broken := writeFile(t, dir, "broken.prototxt", "base_lr: 0.1\nmax_itr: 3\n")
	noNet := writeFile(t, dir, "no_net.prototxt", "net: \"missing.prototxt\" base_lr: 0.1 lr_policy: \"fixed\" snapshot_after_train: false\n")
	policy := writeFile(t, dir, "policy.prototxt", "net: \"solver/sgd_step/net.prototxt\" base_lr: 0.1 lr_policy: \"stpe\" snapshot_after_train: false\n")
	state := writeFile(t, dir, "bad.solverstate", "this is no protobuf")
	for _, c := range []struct {
		name   string
		args   []string
		status int
		words  []string
	}{
		{"no solver", []string{"train"}, 2, []string{"-solver"}},
		{"snapshot and weights", trainArgs(dir, initWeights, "--snapshot=x"), 2, []string{"-snapshot", "-weights", "not both"}},
		{"sigint effect", trainArgs(dir, "--sigint_effect=pause"), 2, []string{"-sigint_effect=pause", "stop, snapshot or none"}},
		{"on-nan", trainArgs(dir, "--on-nan=ignore"), 2, []string{"-on-nan=ignore", "stop, continue or rollback"}},
		{"diverges", trainArgs(dir, initWeights, "--set", "base_lr=1e30"), 1, []string{"iteration 1: training diverged", "layer \"", "not finite"}},
		{"sighup effect", trainArgs(dir, "--sighup_effect="), 2, []string{"-sighup_effect="}},
		{"missing solver", []string{"train", "--solver=none.prototxt"}, 1, []string{"none.prototxt", "no such file"}},
		{"unknown field", []string{"train", "--solver", broken}, 1, []string{broken + ":2:1", "max_itr"}},
		{"missing net", []string{"train", "--solver", noNet}, 1, []string{noNet, "missing.prototxt"}},
		{"policy", []string{"train", "--solver", policy}, 1, []string{policy, "stpe", "multistep"}},
		{"missing snapshot", trainArgs(dir, "--snapshot=none.solverstate"), 1, []string{"none.solverstate"}},
		{"bad snapshot", trainArgs(dir, "--snapshot", state), 1, []string{state}},
		{"missing weights", trainArgs(dir, "--weights", "none.caffemodel"), 1, []string{"none.caffemodel"}},
		{"set that matches nothing", trainArgs(dir, "--set", "layer.nosuch.relu_param.negative_slope=1"), 1, []string{"layer.nosuch"}},
		{"set of an unknown field", trainArgs(dir, "--set", "max_itr=1"), 2, []string{"max_itr", "max_iter"}},
		{"log folder", trainArgs(dir, "--log_dir", filepath.Join(dir, "none")), 1, []string{"-log_dir", "none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, crema(c.args...), c.status, c.words...)
		})
	}
}

// The scores of the recorded run's final weights on its whole test set.
func TestTestCommand(t *testing.T) {
	t.Chdir(golden(t, "runs"))
	r := mustCrema(t, "test", "--model", "solver/sgd_step/net.prototxt", "-weights=solver/sgd_step/final.caffemodel", "-iterations", "8", "-gpu=0")
	msgs := r.messages(t)
	text := strings.Join(msgs, "\n")
	for _, want := range []string{`Running for 8 iterations\.`, `Batch 0, acc1 = 0\.\d+`, `Batch 7, loss = \d\.\d+`,
		`Loss: 2\.104\d*`, `acc1 = 0\.435`, `acc5 = 0\.67`, `loss = 2\.104\d* \(\* 1 = 2\.104\d* loss\)`} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(text) {
			t.Errorf("the log has no line %s", want)
		}
	}
	if n := strings.Count(text, "Batch "); n != 24 {
		t.Errorf("%d batch lines, want 24", n)
	}
	wantError(t, crema("test", "--model", "solver/sgd_step/net.prototxt"), 2, "-weights")
	wantError(t, crema("test", "--weights", "solver/sgd_step/final.caffemodel"), 2, "-model")
}

func TestTimeCommand(t *testing.T) {
	t.Chdir(golden(t, "runs"))
	for _, args := range [][]string{{}, {"-phase", "TEST", "-weights", "solver/sgd_step/final.caffemodel"}} {
		r := mustCrema(t, append([]string{"time", "-model=solver/sgd_step/net.prototxt", "-iterations=2"}, args...)...)
		text := strings.Join(r.messages(t), "\n")
		last := 0
		for _, want := range []string{`Performing Forward`, `Initial loss: \S+`, `Performing Backward`,
			` {5}conv1\tforward \w+ \(balance [12]\.\d\d\), backward-data \w+ .*, backward-weights \w+ .*, NCHW to NCHW, with ReLU`, `\*\*\* Benchmark begins \*\*\*`,
			`Testing for 2 iterations\.`, `Iteration: 1 forward-backward time: \S+ ms\.`, `Iteration: 2 forward-backward time: \S+ ms\.`,
			`Average time per layer: `, ` {9}d\tforward: \S+ ms\.`, ` {9}d\tbackward: \S+ ms\.`, ` {5}conv1\tforward: \S+ ms\.`, ` {5}conv1\tbackward: \S+ ms\.`,
			`Average Forward pass: \S+ ms\.`, `Average Backward pass: \S+ ms\.`, `Average Forward-Backward: \S+ ms\.`, `Total Time: \S+ ms\.`, `\*\*\* Benchmark ends \*\*\*`} {
			at := regexp.MustCompile(`(?m)^` + want + `$`).FindStringIndex(text[last:])
			if at == nil {
				t.Fatalf("%v: no line %q, or not where it should be", args, want)
			}
			last += at[1]
		}
		if strings.Contains(text, "acc1\tforward") != (len(args) > 0) {
			t.Errorf("%v: wrong phase", args)
		}
	}
}

func TestDeviceQuery(t *testing.T) {
	r := mustCrema(t, "device_query", "-gpu=all")
	got := map[string]string{}
	for sc := bufio.NewScanner(strings.NewReader(r.out)); sc.Scan(); {
		k, v, ok := strings.Cut(sc.Text(), ": ")
		if !ok || v == "" {
			t.Errorf("%q is no 'key: value'", sc.Text())
		}
		got[k] = v
	}
	if got["threads"] != fmt.Sprint(runtime.GOMAXPROCS(0)) {
		t.Errorf("threads: %q", got["threads"])
	}
	if !strings.Contains(got["isa available"], "generic") || !strings.Contains(got["isa available"], got["isa"]) || got["isa"] == "" {
		t.Errorf("isa %q is not one of those available, %q", got["isa"], got["isa available"])
	}
}

// CREMA_ISA is read when the process starts.
func TestUnknownISA(t *testing.T) {
	cmd := exec.Command(os.Args[0], "device_query")
	cmd.Env = append(os.Environ(), asProgram+"=1", "CREMA_ISA=mmx")
	var errOut strings.Builder
	cmd.Stderr = &errOut
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	r := result{status: cmd.ProcessState.ExitCode(), err: errOut.String()}
	wantError(t, r, 1, "CREMA_ISA", `"mmx"`, "avx2")
	if strings.Count(r.err, "\n") != 1 {
		t.Errorf("stderr has %q, want one line", r.err)
	}
}
