package solver_test

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
	"crema/solver"
)

// TestTraps: what Caffe takes without a word is warned of.
func TestTraps(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*caffepb.SolverParameter)
		want string // "" for no warning
	}{
		{"nothing", func(*caffepb.SolverParameter) {}, ""},
		{"no base_lr", func(p *caffepb.SolverParameter) { p.BaseLr = nil }, "base_lr is not set, so it is 0: no weight will change"},
		{"base_lr 0", func(p *caffepb.SolverParameter) { p.BaseLr = proto.Float32(0) }, "base_lr is 0: no weight"},
		{"multistep", func(p *caffepb.SolverParameter) { p.Gamma = nil }, `lr_policy "multistep" makes the learning rate 0 from iteration 3 on`},
		{"step", func(p *caffepb.SolverParameter) {
			p.Gamma, p.LrPolicy, p.Stepsize = nil, proto.String("step"), proto.Int32(5)
		}, `lr_policy "step" makes the learning rate 0 from iteration 5 on`},
		{"step after the end", func(p *caffepb.SolverParameter) {
			p.Gamma, p.LrPolicy, p.Stepsize = nil, proto.String("step"), proto.Int32(50)
		}, ""},
		{"exp", func(p *caffepb.SolverParameter) { p.Gamma, p.LrPolicy = nil, proto.String("exp") }, "0 from iteration 1 on"},
		{"sigmoid", func(p *caffepb.SolverParameter) {
			p.Gamma, p.LrPolicy, p.Stepsize = nil, proto.String("sigmoid"), proto.Int32(5)
		}, "half of base_lr"},
		{"inv", func(p *caffepb.SolverParameter) {
			p.Gamma, p.LrPolicy, p.Power = nil, proto.String("inv"), proto.Float32(1)
		}, "base_lr for the whole run"},
		{"inv without power", func(p *caffepb.SolverParameter) { p.LrPolicy = proto.String("inv") }, "power is not set"},
		{"poly", func(p *caffepb.SolverParameter) { p.Gamma, p.LrPolicy = nil, proto.String("poly") }, "power is not set"},
		{"fixed", func(p *caffepb.SolverParameter) { p.Gamma, p.LrPolicy = nil, proto.String("fixed") }, ""},
		{"test_iter", func(p *caffepb.SolverParameter) { p.TestIter[1] = 0 }, "test_iter is 0: test net #1 is built and, as in Caffe, tested on no batches"},
	} {
		sp := parseSolver(t, busySolver)
		sp.SnapshotPrefix = proto.String(filepath.Join(t.TempDir(), "x"))
		c.edit(sp)
		var lines []string
		s, err := solver.New(sp, solver.Options{Log: slog.New(capture{&lines}), ResolvePath: inGolden})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		s.Close()
		got := slices.IndexFunc(lines, func(l string) bool {
			return strings.Contains(l, "is not set") || strings.Contains(l, "no weight will change") || strings.Contains(l, "no batches")
		})
		switch {
		case c.want == "" && got >= 0:
			t.Errorf("%s: %s", c.name, lines[got])
		case c.want != "" && (got < 0 || !strings.Contains(lines[got], c.want)):
			t.Errorf("%s: no warning with %q", c.name, c.want)
		}
	}
}

// TestNoTestBatches: with test_iter 0 the net is not tested, and training goes
// on, as in Caffe.
func TestNoTestBatches(t *testing.T) {
	for _, iters := range [][]int32{{0, 0}, {0, 2}, {-1, 1}} {
		sp := parseSolver(t, busySolver)
		sp.SnapshotPrefix = proto.String(filepath.Join(t.TempDir(), "x"))
		sp.MaxIter, sp.TestIter = proto.Int32(2), iters
		sp.TestComputeLoss = proto.Bool(true)
		tested := 0
		var lines []string
		s, err := solver.New(sp, solver.Options{Log: slog.New(capture{&lines}), ResolvePath: inGolden,
			Watch: solver.Watch{Tested: func(r solver.TestResult) {
				tested++
				if r.Net != 1 || len(r.Values) == 0 {
					t.Errorf("test_iter %v: %+v", iters, r)
				}
			}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Solve(); err != nil {
			t.Error(err)
		}
		if s.Iter() != 2 {
			t.Errorf("test_iter %v: %d iterations", iters, s.Iter())
		}
		s.Close()
		if want := min(1, int(max(iters[1], 0))); tested != want {
			t.Errorf("test_iter %v: %d results, want %d", iters, tested, want)
		}
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "Testing net (#0)") }) {
			t.Errorf("test_iter %v: no line about the test", iters)
		}
	}
}

// TestNetTitles: an error in building a net says in which.
func TestNetTitles(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*caffepb.NetParameter)
		want string
	}{
		{"train", func(np *caffepb.NetParameter) { np.Layer[0].Type = proto.String("Date") }, `TRAIN net: layer "d" (Date): unknown layer type "Date" (did you mean "Data"?)`},
		{"test", func(np *caffepb.NetParameter) { np.Layer[1].Type = proto.String("Date") }, `TEST net #0: layer "d" (Date): unknown layer type`},
		{"channels", func(np *caffepb.NetParameter) {
			np.Layer[1].TransformParam.ForceGray = proto.Bool(true)
		}, `TEST net #0: layer "conv" (Convolution): cannot share parameter 0: its shape is 6×1×3×3, in the net it is shared with 6×3×3×3; data layer "d" gives pictures of 1×24×24 here (channels×height×width), there of 3×24×24: make both grey or both coloured`},
		{"rules", func(np *caffepb.NetParameter) { np.Layer = append(np.Layer[:1], np.Layer[2:]...) },
			`TEST net #0: layer "conv" (Convolution): unknown bottom blob "data"; layer "d" makes it, but its rule include { phase: TRAIN } leaves it out of the TEST net`},
		{"empty", func(np *caffepb.NetParameter) { np.Layer = nil }, "TRAIN net: the net has no layers"},
	} {
		sp := parseSolver(t, busySolver)
		sp.SnapshotPrefix = proto.String(filepath.Join(t.TempDir(), "x"))
		c.edit(sp.NetParam)
		s, err := solver.New(sp, solver.Options{ResolvePath: inGolden})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", c.name, err, c.want)
		}
	}
}

// TestOddPrefix: a prefix with an escape that was meant as a folder says so.
func TestOddPrefix(t *testing.T) {
	sp := parseSolver(t, strings.Replace(busySolver, "net_param", `snapshot_prefix: "snaps\train" net_param`, 1))
	s, err := solver.New(sp, solver.Options{ResolvePath: func(p string) string { return filepath.Join("/none", p) }})
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), `"/none/snaps\train" (snapshot_prefix) (it holds a tab: in a prototxt a backslash begins an escape`) {
		t.Error(err)
	}
}
