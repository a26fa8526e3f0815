package solver_test

import (
	"log/slog"
	"math"
	"path/filepath"
	"testing"

	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"
	"crema/tensor"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// withoutPasses switches off for a test what graph does to a net.
func withoutPasses(t *testing.T) {
	t.Setenv("CREMA_LAYOUT", "nchw")
	t.Setenv("CREMA_FUSE", "off")
}

// TestFuseSwitch checks that CREMA_FUSE=off also keeps layers from updating
// their parameters.
func TestFuseSwitch(t *testing.T) {
	for _, off := range []bool{false, true} {
		if off {
			withoutPasses(t)
		}
		sp := parseSolver(t, busySolver)
		sp.IterSize, sp.MaxIter, sp.SnapshotPrefix = proto.Int32(1), proto.Int32(2), proto.String(filepath.Join(t.TempDir(), "run"))
		s, err := solver.New(sp, solver.Options{ResolvePath: inGolden})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Solve(); err != nil {
			t.Fatal(err)
		}
		for _, l := range s.Net().Layers() {
			if l.Name == "fc" && l.Layer.Params()[0].HasDiff() != off {
				t.Errorf("off %v: gradient of the weights in memory: %v", off, !off)
			}
		}
	}
}

// TestGoldenRunsWithoutPasses repeats some of the recorded runs; TestGoldenRuns
// has the passes on.
func TestGoldenRunsWithoutPasses(t *testing.T) {
	withoutPasses(t)
	for _, name := range []string{"sgd_step", "adam", "sgd_clip_iter_size", "resnet_sgd_multistep"} {
		t.Run(name, func(t *testing.T) { goldenRun(t, filepath.Join(goldenRuns, "solver", name)) })
	}
}

// wider has a convolution more, between blobs of enough channels that these and
// the pooling layers are not NCHW.
const wider = `
layer { name: "conv3" type: "Convolution" bottom: "conv2" top: "conv3" convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "relu3" type: "ReLU" bottom: "conv3" top: "conv3" }`

// TestPasses trains a net with and without passes and compares what is logged
// of the train net and of the test net, which shares its weights.
func TestPasses(t *testing.T) {
	figures := func(t *testing.T) map[int]map[string]float64 {
		dir := filepath.Join(goldenRuns, "solver", "sgd_step")
		sp, err := prototxt.ReadSolver(filepath.Join(dir, "solver.prototxt"))
		if err != nil {
			t.Fatal(err)
		}
		sp.MaxIter, sp.Snapshot, sp.TestInterval = proto.Int32(20), proto.Int32(0), proto.Int32(4)
		var lines []string
		s, err := solver.New(sp, solver.Options{Log: slog.New(capture{&lines}), ResolvePath: inGolden, EditNet: func(np *caffepb.NetParameter) error {
			var more caffepb.NetParameter
			if err := prototext.Unmarshal([]byte(wider), &more); err != nil {
				return err
			}
			var ls []*caffepb.LayerParameter
			for _, l := range np.Layer {
				switch l.GetName() {
				case "conv1", "conv2":
					l.ConvolutionParam.NumOutput = proto.Uint32(2 * l.ConvolutionParam.GetNumOutput())
				case "pool2":
					ls = append(ls, more.Layer...)
					l.Bottom[0] = "conv3"
				}
				ls = append(ls, l)
			}
			np.Layer = ls
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		blocked := s.Net().Blob("conv2").Layout() == tensor.Blocked
		if err := s.Solve(); err != nil {
			t.Fatal(err)
		}
		f := parseLog(lines)
		f[-1] = map[string]float64{"blocked": 0}
		if blocked {
			f[-1]["blocked"] = 1
		}
		return f
	}
	got := figures(t)
	withoutPasses(t)
	want := figures(t)
	if got[-1]["blocked"] != 1 || want[-1]["blocked"] != 0 {
		t.Fatal("the passes did not what the test is for")
	}
	delete(want, -1)
	if len(want) < 20 {
		t.Fatalf("only %d iterations are logged", len(want))
	}
	for it, row := range want {
		for k, w := range row {
			allowed := 2e-4 * math.Max(math.Abs(w), 1e-3)
			if k == "test_acc1" || k == "test_acc5" {
				allowed = 0.0026 // one image of 400
			}
			if g, ok := got[it][k]; !ok || !(math.Abs(g-w) <= allowed) {
				t.Errorf("iteration %d, %s: %v, without passes %v", it, k, g, w)
			}
		}
	}
}
