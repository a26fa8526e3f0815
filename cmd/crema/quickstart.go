package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"crema/data/synth"
	"crema/graph"
	"crema/internal/atomicfile"
	"crema/internal/glog"
	"crema/models"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// quickstartDir is the default -output, and the folder that paths in the
// embedded prototxt files begin with.
const quickstartDir = "crema-quickstart"

const (
	quickstartTrain = 20000 // images to train on
	quickstartTest  = 2000  // images to test on: 20 batches of 100, as the solvers say
	// quickstartVersion counts the changes to what is drawn.
	quickstartVersion = 1
)

func init() {
	register(command{
		name:    "quickstart",
		summary: "train a small VGG on a set it draws: needs no data and no network",
		group:   groupTrain,
		run:     runQuickstart,
	})
}

// A quickstart is one call of the command.
type quickstart struct {
	dir       string
	seed      uint64
	train     int // images to train on
	maxIter   int // 0: as the solver file says
	threads   int
	linear    bool
	begin     time.Time
	invokedBy string // how the user calls this program
}

// runQuickstart draws digits into LMDBs in a folder, puts the net and solver
// files beside them, trains with the train command and says how good the
// result is and what to do next.
func runQuickstart(args []string, s stdio) error {
	q := quickstart{begin: time.Now(), invokedBy: invocation()}
	f := newFlags("quickstart", "", s)
	f.StringVar(&q.dir, "output", quickstartDir, "`folder` for the images, nets and snapshots; made if it does not exist")
	f.Uint64Var(&q.seed, "seed", 1, "another `seed` gives other images and another start of the net")
	f.IntVar(&q.train, "count", quickstartTrain, "`number` of images to draw for training")
	f.IntVar(&q.maxIter, "max-iter", 0, "`iterations` to train; 0 is what the solver file says")
	f.IntVar(&q.threads, "threads", 0, "`number` of threads that compute; 0 is one per core")
	f.BoolVar(&q.linear, "linear", false, "train a linear classifier instead, to see that the images are not that easy")
	addWatchFlags(f)
	pos, err := parseFlags(f, args)
	if err != nil {
		return err
	}
	switch {
	case len(pos) > 0:
		return usageError{fmt.Errorf("unexpected argument %q", pos[0])}
	case q.dir == "":
		return usageError{errors.New("-output is empty")}
	case q.train < 1:
		return usageError{fmt.Errorf("-count=%d: must be at least 1", q.train)}
	case q.maxIter < 0:
		return usageError{fmt.Errorf("-max-iter=%d: must not be negative", q.maxIter)}
	}
	if err := checkThreads(q.threads); err != nil {
		return err
	}
	q.dir = filepath.Clean(q.dir)
	err = withLog(&logFlags{}, s, func(ctx context.Context, log *runLog) error {
		err := q.prepare(ctx, log)
		if errors.Is(err, context.Canceled) {
			return fmt.Errorf("%w; the same command goes on from here", err)
		}
		return err
	})
	if err != nil {
		return err
	}
	trainArgs := []string{"-solver", q.file("solver.prototxt")}
	if q.maxIter > 0 {
		trainArgs = append(trainArgs, "-set", fmt.Sprintf("max_iter=%d", q.maxIter))
	}
	if q.threads > 0 {
		trainArgs = append(trainArgs, "-threads", strconv.Itoa(q.threads))
	}
	if err := runTrain(append(trainArgs, watchArgs(f)...), s); err != nil {
		return err
	}
	return q.report(s)
}

// file returns the path of a file of the net that is trained.
func (q *quickstart) file(name string) string {
	if q.linear {
		name = "linear_" + name
	}
	return filepath.Join(q.dir, name)
}

// prepare makes the folder complete: settings, images, mean, nets. It changes
// nothing that exists.
func (q *quickstart) prepare(ctx context.Context, log *runLog) error {
	set, err := synth.NewDigits(synth.Shape{Channels: 3, Height: 32, Width: 32}, q.seed)
	if err != nil {
		return err
	}
	d, err := planImages(set, synthOptions{dir: q.dir, train: q.train, test: quickstartTest, layout: "plain"})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(q.dir, 0o755); err != nil {
		return err
	}
	if err := q.checkSettings(set, d.paths()); err != nil {
		return err
	}
	if err := d.draw(ctx, log); err != nil {
		return err
	}
	return q.writeNets(log)
}

// settings are what the images depend on. They are written before the first
// image, so that a folder whose settings match holds only parts of this set.
type settings struct {
	Set     string `json:"set"`
	Version int    `json:"version"`
	Shape   string `json:"shape"`
	Seed    uint64 `json:"seed"`
	Train   int    `json:"train"`
	Test    int    `json:"test"`
}

// checkSettings compares the folder's settings with ours, or writes ours into
// a folder that has none.
func (q *quickstart) checkSettings(set synth.Set, parts []string) error {
	path := filepath.Join(q.dir, "dataset.json")
	want, err := json.Marshal(settings{"digits", quickstartVersion, set.Shape().String(), q.seed, q.train, quickstartTest})
	if err != nil {
		return err
	}
	const hint = "choose another -output, or delete the folder to draw anew"
	have, err := os.ReadFile(path)
	switch {
	case err == nil:
		if have = bytes.TrimSpace(have); !bytes.Equal(have, want) {
			return fmt.Errorf("%s describes another set, %s, than the one asked for, %s; %s", path, have, want, hint)
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, p := range parts {
		if _, err := os.Lstat(p); err == nil {
			return fmt.Errorf("%s exists but not %s, which would say how it was drawn; %s", p, path, hint)
		}
	}
	return atomicfile.WriteBytes(path, append(want, '\n'))
}

// writeNets copies the embedded prototxt files into the folder, with paths
// that work from the present one. Files that are there are the user's.
func (q *quickstart) writeNets(log *runLog) error {
	names, err := fs.Glob(models.Quickstart, "quickstart/*.prototxt")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := models.Quickstart.ReadFile(name)
		if err != nil {
			return err
		}
		text = q.adapt(text)
		path := filepath.Join(q.dir, filepath.Base(name))
		have, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = atomicfile.WriteBytes(path, text)
		case err == nil && !bytes.Equal(have, text):
			glog.Infof(log.Logger, "Keeping %s, which is not as quickstart would write it", path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var randomSeed = regexp.MustCompile(`(?m)^random_seed: .*$`)

// adapt puts the folder and the seed into the text of a prototxt file.
func (q *quickstart) adapt(text []byte) []byte {
	dir := strings.TrimSuffix(filepath.ToSlash(q.dir), "/")
	dir = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(dir)
	text = bytes.ReplaceAll(text, []byte(`"`+quickstartDir+`/`), []byte(`"`+dir+`/`))
	// The field is a signed number; one that is not negative seeds.
	return randomSeed.ReplaceAll(text, fmt.Appendf(nil, "random_seed: %d", q.seed&(1<<63-1)))
}

// report tests the newest snapshot and says what to do next.
func (q *quickstart) report(s stdio) error {
	sp, err := prototxt.ReadSolver(q.file("solver.prototxt"))
	if err != nil {
		return err
	}
	maxIter := int(sp.GetMaxIter())
	if q.maxIter > 0 {
		maxIter = q.maxIter
	}
	solver := "--solver=" + shellQuote(q.file("solver.prototxt"))
	iter, model, ok := newestSnapshot(sp.GetSnapshotPrefix(), q.begin)
	if !ok {
		// The user's solver file says so.
		fmt.Fprintf(s.out, "Training wrote no snapshot.\nTry next: %s train %s --set snapshot_after_train=true\n", q.invokedBy, solver)
		return nil
	}
	snapshot := "--snapshot=" + shellQuote(stateOf(model))
	if iter < maxIter {
		over := ""
		if q.maxIter > 0 {
			over = fmt.Sprintf(" --set max_iter=%d", maxIter)
		}
		fmt.Fprintf(s.out, "Stopped after %d of %d iterations.\nTo go on: %s train %s %s%s\n",
			iter, maxIter, q.invokedBy, solver, snapshot, over)
		return nil
	}
	acc, err := testAccuracy(sp, model)
	if err != nil {
		return err
	}
	what := "Test accuracy"
	if q.linear {
		what = "Test accuracy of a linear classifier"
	}
	fmt.Fprintf(s.out, "%s: %.2f %% after %d iterations, %.0f s in all.\n", what, 100*acc, iter, time.Since(q.begin).Seconds())
	fmt.Fprintf(s.out, "Images, nets and snapshots are in %s; edit the prototxt files there and run this again.\n", q.dir)
	if q.linear {
		again := ""
		if q.dir != quickstartDir {
			again += " --output=" + shellQuote(q.dir)
		}
		if q.seed != 1 {
			again += fmt.Sprintf(" --seed=%d", q.seed)
		}
		if q.train != quickstartTrain {
			again += fmt.Sprintf(" --count=%d", q.train)
		}
		fmt.Fprintf(s.out, "Try next, a small VGG on the same images: %s quickstart%s\n", q.invokedBy, again)
		return nil
	}
	fmt.Fprintf(s.out, "Try next, to train on from here: %s train %s %s --set max_iter=%d\n",
		q.invokedBy, solver, snapshot, 2*maxIter)
	return nil
}

// stateOf returns the path of the state that was written with weights.
func stateOf(model string) string {
	base, h5 := strings.CutSuffix(model, ".h5")
	state := strings.TrimSuffix(base, ".caffemodel") + ".solverstate"
	if h5 {
		state += ".h5"
	}
	return state
}

// newestSnapshot returns the iteration and the weights of the last snapshot
// with that prefix written since begin.
func newestSnapshot(prefix string, begin time.Time) (iter int, model string, ok bool) {
	entries, err := os.ReadDir(filepath.Dir(prefix))
	if err != nil {
		return 0, "", false
	}
	var newest time.Time
	for _, e := range entries {
		num, isModel := strings.CutSuffix(strings.TrimSuffix(e.Name(), ".h5"), ".caffemodel")
		num, ours := strings.CutPrefix(num, filepath.Base(prefix)+"_iter_")
		n, err := strconv.Atoi(num)
		info, err2 := e.Info()
		// File times may be coarser than the clock.
		if !isModel || !ours || err != nil || err2 != nil || info.ModTime().Before(begin.Add(-2*time.Second)) {
			continue
		}
		if t := info.ModTime(); !ok || t.After(newest) || t.Equal(newest) && n > iter {
			iter, newest, ok = n, t, true
			model = filepath.Join(filepath.Dir(prefix), e.Name())
		}
	}
	return iter, model, ok
}

// testAccuracy loads trained weights into the solver's net and returns the
// mean of its output "accuracy" over test_iter batches.
func testAccuracy(sp *caffepb.SolverParameter, weights string) (_ float64, err error) {
	np, src, err := prototxt.ReadNetPos(sp.GetNet())
	if err != nil {
		return 0, err
	}
	graph.SetState(np, caffepb.Phase_TEST, 0, nil)
	net, err := graph.New(np, graph.Options{Log: glog.Discard})
	if err != nil {
		return 0, graph.Locate(src, err)
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	if err := net.LoadWeights(weights); err != nil {
		return 0, err
	}
	blob := net.Blob("accuracy")
	if blob == nil || len(sp.GetTestIter()) == 0 || sp.GetTestIter()[0] < 1 {
		return 0, fmt.Errorf("%s and its solver give no accuracy to report: they need an output \"accuracy\" and test_iter", src.File)
	}
	n := int(sp.GetTestIter()[0])
	var sum float64
	for range n {
		if _, err := net.Forward(); err != nil {
			return 0, err
		}
		sum += float64(blob.ReadData()[0])
	}
	return sum / float64(n), nil
}

// invocation returns what the user types to call this program.
func invocation() string {
	p := os.Args[0]
	if strings.Contains(filepath.ToSlash(p), "/go-build") {
		// A temporary binary of go run.
		return "go run ./cmd/crema"
	}
	return shellQuote(p)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,-]+$`)

// shellQuote quotes a word for a POSIX shell where it needs it.
func shellQuote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
