package solver_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

// twice has a second path through the weights of fc.
const twice = `
  layer { name: "fc2" type: "InnerProduct" bottom: "pool" top: "fc2" param { name: "w" } param { lr_mult: 2 decay_mult: 0 } inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
  layer { name: "loss2" type: "SoftmaxWithLoss" bottom: "fc2" bottom: "label" top: "loss2" }
}`

// TestFuse trains with and without updates within the backward pass. Both
// write the same files, log the same figures, and only where the gradient of
// the fully connected weights is needed is it in memory.
func TestFuse(t *testing.T) {
	fc := func(p *caffepb.SolverParameter) *caffepb.LayerParameter {
		i := slices.IndexFunc(p.NetParam.Layer, func(l *caffepb.LayerParameter) bool { return l.GetName() == "fc" })
		return p.NetParam.Layer[i]
	}
	for _, c := range []struct {
		name  string
		fuses bool
		edit  func(p *caffepb.SolverParameter)
	}{
		{"plain", true, func(p *caffepb.SolverParameter) {}},
		{"no decay, no momentum", true, func(p *caffepb.SolverParameter) { p.WeightDecay, p.Momentum = nil, nil }},
		{"multipliers", true, func(p *caffepb.SolverParameter) {
			fc(p).Param = []*caffepb.ParamSpec{{LrMult: proto.Float32(3), DecayMult: proto.Float32(0.5)}}
		}},
		{"transposed", true, func(p *caffepb.SolverParameter) { fc(p).InnerProductParam.Transpose = proto.Bool(true) }},
		{"batch 17", false, func(p *caffepb.SolverParameter) { p.NetParam.Layer[0].DataParam.BatchSize = proto.Uint32(17) }},
		{"iter_size", false, func(p *caffepb.SolverParameter) { p.IterSize = proto.Int32(2) }},
		{"clip", false, func(p *caffepb.SolverParameter) { p.ClipGradients = proto.Float32(0.5) }},
		{"L1", false, func(p *caffepb.SolverParameter) { p.RegularizationType = proto.String("L1") }},
		{"Nesterov", false, func(p *caffepb.SolverParameter) { p.Type = proto.String("Nesterov") }},
		{"snapshot_diff", false, func(p *caffepb.SolverParameter) { p.SnapshotDiff = proto.Bool(true) }},
		{"debug_info", false, func(p *caffepb.SolverParameter) { p.DebugInfo = proto.Bool(true) }},
		{"frozen", false, func(p *caffepb.SolverParameter) {
			fc(p).Param = []*caffepb.ParamSpec{{LrMult: proto.Float32(0)}}
		}},
		{"no loss", false, func(p *caffepb.SolverParameter) {
			for _, l := range p.NetParam.Layer {
				if l.GetName() == "loss" {
					l.LossWeight = []float32{0}
				}
			}
		}},
		{"shared", false, func(p *caffepb.SolverParameter) {
			fc(p).Param = []*caffepb.ParamSpec{{Name: proto.String("w")}}
			more := parseSolver(t, `net_param {`+twice)
			p.NetParam.Layer = append(p.NetParam.Layer, more.NetParam.Layer...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var logs [2][]string
			for off := range 2 {
				sp := parseSolver(t, busySolver)
				sp.IterSize, sp.MaxIter = proto.Int32(1), proto.Int32(5)
				c.edit(sp)
				sp.SnapshotPrefix = proto.String(filepath.Join(dir, fmt.Sprint(off)))
				s, err := solver.New(sp, solver.Options{Log: slog.New(capture{&logs[off]}), ResolvePath: inGolden, NoFuse: off == 1})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if err := s.Solve(); err != nil {
					t.Fatal(err)
				}
				for _, l := range s.Net().Layers() {
					if l.Name == "fc" {
						// What is frozen has none either way.
						if got, want := l.Layer.Params()[0].HasDiff(), (off == 1 || !c.fuses) && c.name != "frozen"; got != want {
							t.Errorf("NoFuse %v: gradient in memory: %v, want %v", off == 1, got, want)
						}
					}
				}
			}
			if a, b := figures(logs[0]), figures(logs[1]); !slices.Equal(a, b) {
				t.Errorf("log\n%s\nwithout fusing\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
			}
			sameFile(t, "weights", filepath.Join(dir, "0_iter_5.caffemodel"), filepath.Join(dir, "1_iter_5.caffemodel"))
			sameState(t, filepath.Join(dir, "0_iter_5.solverstate"), filepath.Join(dir, "1_iter_5.solverstate"))
		})
	}
}

// TestFuseResume resumes runs that update within the backward pass.
func TestFuseResume(t *testing.T) {
	dir := t.TempDir()
	sp := parseSolver(t, busySolver)
	sp.IterSize, sp.Snapshot = proto.Int32(1), proto.Int32(1)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "whole"))
	run(t, sp, "", nil)
	sp.Snapshot = proto.Int32(0)
	sp.SnapshotPrefix = proto.String(filepath.Join(dir, "again"))
	for _, iter := range []int{1, 2, 3, 8, 9, 13} {
		run(t, sp, filepath.Join(dir, fmt.Sprintf("whole_iter_%d.solverstate", iter)), nil)
		sameFile(t, fmt.Sprint("from ", iter), filepath.Join(dir, "again_iter_14.caffemodel"), filepath.Join(dir, "whole_iter_14.caffemodel"))
		sameState(t, filepath.Join(dir, "again_iter_14.solverstate"), filepath.Join(dir, "whole_iter_14.solverstate"))
	}
}
