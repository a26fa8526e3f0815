package graph

import (
	"slices"
	"testing"

	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// TestStatistics checks that what BatchNorm says of its parameters holds for
// the net, and is saved, whatever of it the definition has.
func TestStatistics(t *testing.T) {
	for _, spec := range []string{"", "param { lr_mult: 0 decay_mult: 0.5 }"} {
		n := build(t, images(3, 8, 8)+inPlace("BatchNorm", "bn", "data", spec)+scores("ip", "data"), caffepb.Phase_TRAIN, Options{})
		decay := float32(1)
		if spec != "" {
			decay = 0.5
		}
		for i, p := range n.Params()[:3] {
			want := []float32{decay, 1, 1}[i]
			if p.Layer != "bn" || p.LRMult != 0 || p.DecayMult != want {
				t.Errorf("%q: parameter %d of %s: lr_mult %v, decay_mult %v; want 0, %v", spec, i, p.Layer, p.LRMult, p.DecayMult, want)
			}
		}
		bn := n.node("bn")
		if len(bn.Param.Param) != 3 || !slices.ContainsFunc(bn.Param.Param, func(s *caffepb.ParamSpec) bool {
			return proto.Equal(s, &caffepb.ParamSpec{LrMult: proto.Float32(0)})
		}) {
			t.Errorf("%q: the definition has %v", spec, bn.Param.Param)
		}
		if bn.NeedBackward {
			t.Errorf("%q: BatchNorm on data has a backward pass", spec)
		}
	}
}

// TestForwardOnly checks that layers whose gradients nobody wants know it.
func TestForwardOnly(t *testing.T) {
	const net = "layer { type: 'Scale' name: 's' bottom: 'data' top: 's' }\n"
	if n := build(t, images(3, 4, 4)+net, caffepb.Phase_TEST, Options{}); n.node("s").Layer.ParamPropagateDown(0) {
		t.Error("without a loss: the gradient of a parameter is computed")
	}
	if n := build(t, "force_backward: true "+images(3, 4, 4)+net, caffepb.Phase_TEST, Options{}); !n.node("s").Layer.ParamPropagateDown(0) {
		t.Error("with force_backward: the gradient of a parameter is not computed")
	}
	if n := build(t, images(3, 4, 4)+net+scores("ip", "s"), caffepb.Phase_TRAIN, Options{}); !n.node("s").Layer.ParamPropagateDown(0) {
		t.Error("with a loss: the gradient of a parameter is not computed")
	}
}
