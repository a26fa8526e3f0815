package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"
	"crema/watch"
	"crema/watch/web"

	"google.golang.org/protobuf/proto"
)

// BenchmarkObserve measures what it costs to watch a run: record, files and a
// page that a browser has open. Watching is switched on and off every few
// iterations in one process, and each pair compared. It reports the median of
// the pairs' overheads and the mean of those between the tenth and the ninetieth
// percentile, in percent, and what share of the time the record says that its
// own work takes. Use -benchtime=30x or more: 30 pairs.
func BenchmarkObserve(b *testing.B) {
	for _, c := range []struct {
		name  string
		crop  int // of VGG-16; 0 for the quickstart's nets
		block int // iterations on, then as many off
	}{
		{"quickstart", 0, 10}, {"linear", 0, 100}, {"vgg16/crop=32", 32, 10}, {"vgg16/crop=224", 224, 10},
	} {
		b.Run("net="+c.name, func(b *testing.B) {
			dir := b.TempDir()
			sp, o := quickstartSolver, solver.Options{}
			switch {
			case c.name == "linear":
				sp = linearSolver
			case c.crop > 0:
				sp, o.EditNet = vggSolver, func(np *caffepb.NetParameter) error {
					for _, l := range np.Layer {
						if p := l.TransformParam; p != nil {
							p.CropSize = proto.Uint32(uint32(c.crop))
						}
					}
					return nil
				}
			}
			observe(b, sp(b, dir, &o), o, dir, c.block)
		})
	}
}

// drawn runs a command of the program that draws data.
func drawn(b *testing.B, args ...string) {
	b.Helper()
	if r := crema(args...); r.status != 0 {
		b.Fatal(r.lastLine())
	}
}

func quickstartSolver(b *testing.B, dir string, o *solver.Options) *caffepb.SolverParameter {
	drawn(b, "quickstart", "-output", dir, "-count", "2000", "-max-iter", "1")
	o.File = filepath.Join(dir, "solver.prototxt")
	return benchSolver(b, o.File)
}

func linearSolver(b *testing.B, dir string, o *solver.Options) *caffepb.SolverParameter {
	quickstartSolver(b, dir, o)
	o.File = filepath.Join(dir, "linear_solver.prototxt")
	return benchSolver(b, o.File)
}

func vggSolver(b *testing.B, dir string, o *solver.Options) *caffepb.SolverParameter {
	drawn(b, "synth", "-count", "60", "-output", dir, "-layout", "ilsvrc12")
	o.File = "../../models/es_vgg/solver.prototxt"
	sp := benchSolver(b, o.File)
	sp.Net = proto.String("../../models/es_vgg/train_val.prototxt")
	roots, err := prototxt.ParseRoots([]string{"/local/datasets=" + dir})
	if err != nil {
		b.Fatal(err)
	}
	o.ResolvePath = roots.Resolve
	return sp
}

// benchSolver reads a solver that then only trains, for ever.
func benchSolver(b *testing.B, file string) *caffepb.SolverParameter {
	sp, err := prototxt.ReadSolver(file)
	if err != nil {
		b.Fatal(err)
	}
	sp.TestIter, sp.TestInterval, sp.Snapshot, sp.SnapshotAfterTrain = nil, nil, nil, proto.Bool(false)
	sp.LrPolicy, sp.BaseLr, sp.MaxIter, sp.Display = proto.String("fixed"), proto.Float32(1e-5), proto.Int32(1<<30), nil
	return sp
}

// observe runs b.N pairs of blocks of iterations.
func observe(b *testing.B, sp *caffepb.SolverParameter, o solver.Options, dir string, block int) {
	rec, err := watch.New(watch.Options{Solver: sp, File: o.File, Dir: filepath.Join(dir, "runs")})
	if err != nil {
		b.Fatal(err)
	}
	rec.Install(&o)
	var on atomic.Bool
	var spent [2]time.Duration // in iterations off and on, of the present pair
	var last time.Time
	w, iterated := o.Watch, o.OnIteration
	o.Watch = solver.Watch{
		Begin: func(iter int) bool { return on.Load() && w.Begin(iter) },
		Passed: func(iter int, loss float32) {
			if on.Load() {
				w.Passed(iter, loss)
			}
		},
	}
	o.OnIteration = func(p solver.Progress) {
		which := 0
		if on.Load() {
			which = 1
			iterated(p)
		}
		now := time.Now()
		spent[which] += now.Sub(last)
		last = now
	}
	sv, err := solver.New(sp, o)
	if err != nil {
		b.Fatal(err)
	}
	defer sv.Close()
	if err := rec.Start(sv); err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(web.New(web.Options{Source: rec, Dir: filepath.Join(dir, "runs")}).Handler())
	defer server.Close()
	quit, done := make(chan struct{}), make(chan error)
	go func() { done <- browse(server.URL, rec, &on, quit) }()

	step := func(n int, watched bool) {
		on.Store(watched)
		last = time.Now()
		if err := sv.Step(n); err != nil {
			b.Fatal(err)
		}
	}
	step(block, true) // the first time of everything
	var overheads []float64
	var off time.Duration
	for i := 0; b.Loop(); i++ {
		spent = [2]time.Duration{}
		first := i%2 == 0 // the order alternates
		step(block, first)
		step(block, !first)
		overheads = append(overheads, 100*(spent[1].Seconds()/spent[0].Seconds()-1))
		off += spent[0]
	}
	close(quit)
	if err := errors.Join(<-done, rec.Close(nil)); err != nil {
		b.Fatal(err)
	}
	slices.Sort(overheads)
	n := len(overheads)
	b.ReportMetric((overheads[(n-1)/2]+overheads[n/2])/2, "median-%")
	var sum float64
	middle := overheads[n/10 : n-n/10]
	for _, v := range middle {
		sum += v
	}
	b.ReportMetric(sum/float64(len(middle)), "mean-%")
	b.ReportMetric(1000*off.Seconds()/float64(n*block), "ms/iteration")
	b.ReportMetric(100*float64(rec.State().ObserveShare), "own-%")
}

// browse asks for what the page asks for, once a second of the time in which
// watching is on.
func browse(url string, rec *watch.Recorder, on *atomic.Bool, quit chan struct{}) error {
	const tick = 5 * time.Millisecond
	since := -1
	for waited := time.Second; ; waited += tick {
		select {
		case <-quit:
			return nil
		case <-time.After(tick):
		}
		if !on.Load() {
			waited -= tick
		}
		if waited < time.Second {
			continue
		}
		waited = 0
		for _, path := range []string{"/api/state", fmt.Sprintf("/api/series?since=%d", since), "/api/pictures"} {
			r, err := http.Get(url + path)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if err != nil {
				return err
			}
			if r.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", path, r.Status)
			}
		}
		since = rec.State().Iter - 3
	}
}
