package solver_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/hdf5"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// resumeSet is what only crema writes.
const resumeSet = "/crema_resume"

// contents returns the groups (nil) and datasets of an HDF5 file by their paths:
// numbers as []float32, a string as string.
func contents(t *testing.T, path string) map[string]any {
	t.Helper()
	f, err := hdf5.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	err = root.Walk(func(n hdf5.Node) error {
		d, ok := n.(*hdf5.Dataset)
		switch {
		case !ok:
			all[n.Path()] = nil
		case d.IsNumber():
			v := make([]float32, d.Count())
			all[n.Path()] = v
			all[n.Path()+" shape"] = fmt.Sprint(d.Shape(), d.Type())
			return d.ReadFloats(v)
		default:
			s, err := d.ReadString()
			all[n.Path()] = s
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// compareHDF5 compares all groups and datasets of two files, numbers within tol
// of the largest of a dataset, paths of weights by their ends.
func compareHDF5(t *testing.T, got, want string, tol float64) {
	t.Helper()
	g, w := contents(t, got), contents(t, want)
	delete(g, resumeSet)
	delete(g, resumeSet+" shape")
	for name, v := range w {
		o, there := g[name]
		if !there {
			t.Errorf("%s: no %s", got, name)
			continue
		}
		switch v := v.(type) {
		case []float32:
			o, ok := o.([]float32)
			if !ok || len(o) != len(v) {
				t.Errorf("%s: %s has %d values, want %d", got, name, len(o), len(v))
				continue
			}
			var worst, scale float64
			for i := range v {
				worst = math.Max(worst, math.Abs(float64(o[i])-float64(v[i])))
				scale = math.Max(scale, math.Abs(float64(v[i])))
			}
			if worst > 0 && !(worst/scale <= tol) {
				t.Errorf("%s: %s is off by %.2g, allowed %.2g", got, name, worst/scale, tol)
			}
		case string:
			if s, ok := o.(string); !ok || filepath.Base(s) != filepath.Base(v) {
				t.Errorf("%s: %s is %v, want %s", got, name, o, v)
			}
		}
	}
	if len(g) != len(w) {
		t.Errorf("%s has %d groups and datasets, want %d", got, len(g), len(w))
	}
}

// TestRestoreCaffeHDF5 resumes from a state that Caffe wrote as HDF5 and whose
// weights have moved, and trains on from Caffe's weights.
func TestRestoreCaffeHDF5(t *testing.T) {
	for _, name := range []string{"hdf5_snapshots", "hdf5_snapshots_adam"} {
		t.Run(name, func(t *testing.T) {
			golden := filepath.Join(goldenRuns, "solver", name)
			dir := t.TempDir()
			for from, to := range map[string]string{"iter_5.caffemodel.h5": "run_iter_5.caffemodel.h5", "iter_5.solverstate.h5": "iter_5.solverstate.h5"} {
				b, err := os.ReadFile(filepath.Join(golden, from))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, to), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			sp, err := prototxt.ReadSolver(filepath.Join(golden, "solver.prototxt"))
			if err != nil {
				t.Fatal(err)
			}
			sp.SnapshotPrefix = proto.String(filepath.Join(dir, "again"))
			sp.MaxIter, sp.SnapshotAfterTrain, sp.Snapshot = proto.Int32(5), proto.Bool(true), proto.Int32(0)
			lines := run(t, sp, filepath.Join(dir, "iter_5.solverstate.h5"), nil)
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "beside the state") }) {
				t.Error("the log does not say that the weights were found beside the state")
			}
			for _, ext := range []string{".caffemodel.h5", ".solverstate.h5"} {
				got, want := contents(t, filepath.Join(dir, "again_iter_5"+ext)), contents(t, filepath.Join(golden, "iter_5"+ext))
				for k, v := range want {
					if k != "/learned_net" && fmt.Sprint(got[k]) != fmt.Sprint(v) {
						t.Errorf("%s: %s is %v, want %v", ext, k, got[k], v)
					}
				}
			}

			// The same weights as the start of another run.
			sp.Weights = []string{filepath.Join(dir, "run_iter_5.caffemodel.h5")}
			sp.MaxIter = proto.Int32(0)
			run(t, sp, "", nil)
			got, want := contents(t, filepath.Join(dir, "again_iter_0.caffemodel.h5")), contents(t, filepath.Join(golden, "iter_5.caffemodel.h5"))
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Error("other weights than those given")
			}
		})
	}
}

// hdf5Solver trains on shuffled rows of several files and snapshots as HDF5.
const hdf5Solver = `
base_lr: 0.05 lr_policy: "multistep" gamma: 0.5 stepvalue: 3 stepvalue: 9
momentum: 0.9 weight_decay: 0.0005 iter_size: 2 average_loss: 4
test_iter: 3 test_interval: 4
display: 1 max_iter: 14 random_seed: 11 solver_mode: CPU snapshot_format: HDF5
net_param {
  name: "hdf5"
  layer { name: "d" type: "HDF5Data" top: "data" top: "label" include { phase: TRAIN }
    hdf5_data_param { source: "features_train_list.txt" batch_size: 23 shuffle: true } }
  layer { name: "d" type: "HDF5Data" top: "data" top: "label" include { phase: TEST }
    hdf5_data_param { source: "features_test_list.txt" batch_size: 11 } }
  layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" } param { name: "b" }
    inner_product_param { num_output: 12 weight_filler { type: "xavier" } } }
  layer { name: "drop" type: "Dropout" bottom: "a" top: "a" }
  layer { name: "a/shared" type: "InnerProduct" bottom: "a" top: "c" param { name: "w" } param { name: "b" }
    inner_product_param { num_output: 12 } }
  layer { name: "fc/last" type: "InnerProduct" bottom: "c" top: "fc" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
  layer { name: "acc" type: "Accuracy" bottom: "fc" bottom: "label" top: "acc" include { phase: TEST } }
}`

// TestExactResumeHDF5 stops a run at every poll in turn and resumes it from HDF5
// files: the end has the same bits as that of the run that went on.
func TestExactResumeHDF5(t *testing.T) {
	dir := t.TempDir()
	sp := parseSolver(t, hdf5Solver)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "whole"))
	polls := 0
	whole := run(t, sp, "", func() solver.Action { polls++; return solver.ActionNone })
	if polls < 20 {
		t.Fatalf("only %d polls", polls)
	}
	for stopAt := 1; stopAt <= polls; stopAt++ {
		prefix := filepath.Join(dir, fmt.Sprintf("stop%d", stopAt))
		sp.SnapshotPrefix = proto.String(prefix)
		n := 0
		run(t, sp, "", func() solver.Action {
			if n++; n == stopAt {
				return solver.ActionStop
			}
			return solver.ActionNone
		})
		states, _ := filepath.Glob(prefix + "_iter_*.solverstate.h5")
		if len(states) != 1 {
			t.Fatalf("stop at poll %d: states %v", stopAt, states)
		}
		rest := run(t, sp, states[0], nil)
		sameFile(t, fmt.Sprintf("stop at poll %d", stopAt), prefix+"_iter_14.caffemodel.h5", filepath.Join(dir, "whole_iter_14.caffemodel.h5"))
		got, want := contents(t, prefix+"_iter_14.solverstate.h5"), contents(t, filepath.Join(dir, "whole_iter_14.solverstate.h5"))
		delete(got, "/learned_net")
		delete(want, "/learned_net")
		if fmt.Sprint(got) != fmt.Sprint(want) || want[resumeSet] == nil {
			t.Fatalf("stop at poll %d: the states differ", stopAt)
		}
		if got, want := figures(rest), figures(whole); len(got) > len(want) || !slices.Equal(got, want[len(want)-len(got):]) {
			t.Fatalf("stop at poll %d: the logs differ", stopAt)
		}
	}
}

// TestSnapshotFormats: a run may go from one format to the other, and the
// weights are the same in both, with gradients if asked for.
func TestSnapshotFormats(t *testing.T) {
	dir := t.TempDir()
	sp := parseSolver(t, hdf5Solver)
	sp.SnapshotDiff = proto.Bool(true)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "whole"))
	run(t, sp, "", nil)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "a"))
	sp.MaxIter = proto.Int32(5)
	run(t, sp, "", nil)
	sp.MaxIter = proto.Int32(9)
	sp.SnapshotFormat = caffepb.SolverParameter_BINARYPROTO.Enum()
	run(t, sp, filepath.Join(dir, "a_iter_5.solverstate.h5"), nil)
	sp.MaxIter = proto.Int32(14)
	sp.SnapshotFormat = caffepb.SolverParameter_HDF5.Enum()
	run(t, sp, filepath.Join(dir, "a_iter_9.solverstate"), nil)
	sameFile(t, "formats in turn", filepath.Join(dir, "a_iter_14.caffemodel.h5"), filepath.Join(dir, "whole_iter_14.caffemodel.h5"))

	all := contents(t, filepath.Join(dir, "whole_iter_14.caffemodel.h5"))
	var names []string
	for k := range all {
		if !strings.HasSuffix(k, " shape") {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	var want []string
	for _, in := range []string{"/data", "/diff"} {
		want = append(want, in, in+"/a", in+"/a/0", in+"/a/1", in+"/a/shared", in+"/d", in+"/drop", in+"/fc", in+"/fc/last", in+"/fc/last/0", in+"/fc/last/1", in+"/loss")
	}
	want = append(want, "/diff/a/shared/0", "/diff/a/shared/1") // gradients of all, values of owners only
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("groups and datasets %q, want %q", names, want)
	}
	if _, err := exec.LookPath("h5dump"); err != nil {
		t.Skip("h5dump is not installed")
	}
	for _, f := range []string{"whole_iter_14.caffemodel.h5", "whole_iter_14.solverstate.h5"} {
		if out, err := exec.Command("h5dump", filepath.Join(dir, f)).CombinedOutput(); err != nil || bytes.Contains(out, []byte("rror")) {
			t.Errorf("h5dump %s: %v\n%s", f, err, out)
		}
	}
}

func TestHDF5Errors(t *testing.T) {
	dir := t.TempDir()
	golden := filepath.Join(goldenRuns, "solver/hdf5_snapshots")
	state, err := os.ReadFile(filepath.Join(golden, "iter_5.solverstate.h5"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct{ name, path, want string }{
		{"weights", filepath.Join(golden, "iter_5.caffemodel.h5"), "start from them with --weights"},
		{"data", filepath.Join(goldenRuns, "features_test_0.h5"), "it has no dataset iter; the file has data, label"},
		{"cut", write("cut.solverstate.h5", state[:len(state)/2]), `cut.solverstate.h5": damaged HDF5 file: it is cut short`},
		{"another net", filepath.Join(goldenRuns, "solver/hdf5_snapshots_adam/iter_5.solverstate.h5"), "has 8 history blobs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sp := parseSolver(t, hdf5Solver)
			sp.SnapshotPrefix = proto.String(filepath.Join(dir, "x"))
			s, err := solver.New(sp, solver.Options{Snapshot: c.path, ResolvePath: inGolden})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	for _, c := range []struct{ name, layer, want string }{
		{"slash first", "/x", `layer "/x": a file in the HDF5 format cannot have this name`},
		{"slashes", "x//y", "rename the layer or use the binary format"},
		{"in a parameter's place", "a/1", `layers "a" and "a/1"`},
		{"twice", "a", `two layers have the name "a"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			sp := parseSolver(t, hdf5Solver)
			sp.SnapshotPrefix = proto.String(filepath.Join(dir, "x"))
			sp.NetParam.Layer[5].Name = proto.String(c.layer)
			s, err := solver.New(sp, solver.Options{ResolvePath: inGolden})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	// Layer a is the beginning of layer a/shared's name.
	sp := parseSolver(t, hdf5Solver)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "x"))
	sp.MaxIter = proto.Int32(0)
	if lines := run(t, sp, "", nil); !slices.ContainsFunc(lines, func(l string) bool {
		return strings.Contains(l, `Caffe cannot load the HDF5 snapshots of this net, crema can`) && strings.Contains(l, `"a" and "a/shared"`)
	}) {
		t.Error("no warning of names that Caffe cannot load")
	}
}
