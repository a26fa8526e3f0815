package graph

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"crema/prototxt/caffepb"
)

// Behind a Reshape, a Flatten stops the gradient, as in Caffe; the user is told.
func TestLostGradient(t *testing.T) {
	for _, c := range []struct {
		name, layers, last string
		lost               bool
	}{
		{"Reshape, Flatten", layer("Reshape", "r", "ip", "reshape_param { shape { dim: 0 dim: 1 dim: -1 } }") + layer("Flatten", "f", "r", ""), "f", true},
		{"in place between", layer("Reshape", "r", "ip", "reshape_param { shape { dim: 0 dim: 1 dim: -1 } }") + inPlace("ReLU", "relu", "r", "") + layer("Flatten", "f", "r", ""), "f", true},
		{"Concat of one, Flatten", layer("Concat", "r", "ip", "") + layer("Flatten", "f", "r", ""), "f", true},
		{"Slice into one, Flatten", layer("Slice", "r", "ip", "") + layer("Flatten", "f", "r", ""), "f", true},
		{"Flatten, Reshape", layer("Flatten", "f", "ip", "") + layer("Reshape", "r", "f", "reshape_param { shape { dim: 0 dim: 1 dim: -1 } }"), "r", false},
		{"Flatten, Flatten", layer("Flatten", "f", "ip", "") + layer("Flatten", "g", "f", ""), "g", false},
		{"Reshape, Reshape", layer("Reshape", "r", "ip", "reshape_param { shape { dim: 0 dim: 1 dim: -1 } }") + layer("Reshape", "s", "r", "reshape_param { shape { dim: 0 dim: -1 } }"), "s", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			net := images(1, 3, 3) + layer("InnerProduct", "ip", "data", "num_output: 6") + c.layers + scores("scores", c.last)
			n := build(t, net, caffepb.Phase_TRAIN, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			feed(n)
			for range 2 {
				pass(t, n)
				zero := true
				for _, v := range n.Params()[0].Blob.Diff() {
					zero = zero && v == 0
				}
				if zero != c.lost {
					t.Errorf("the gradient is zero: %v, want %v", zero, c.lost)
				}
			}
			if got := strings.Contains(log.String(), "Layer f (Flatten) stops the gradient of the blob r before layer r"); got != c.lost {
				t.Errorf("the user is told: %v, want %v", got, c.lost)
			}
		})
	}
}
