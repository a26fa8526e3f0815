package graph_test

import (
	"errors"
	"strings"
	"testing"

	"crema/graph"
	"crema/internal/memory"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// TestTooLarge builds and runs nets that a machine with a GiB of memory does not
// hold: an error that names the layer, what it needs and what there is.
func TestTooLarge(t *testing.T) {
	was := memory.Available
	memory.Available = func() int64 { return 1 << 30 }
	t.Cleanup(func() { memory.Available = was })
	const input = `layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 20000 } } } `
	for name, layer := range map[string]string{
		"parameters":  `layer { name: "big" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 20000 weight_filler { type: "xavier" } } }`,
		"activations": `layer { name: "big" type: "Tile" bottom: "x" top: "y" tile_param { tiles: 20000 } }`,
	} {
		t.Run(name, func(t *testing.T) {
			np := &caffepb.NetParameter{}
			if err := prototxt.UnmarshalText("test", []byte(input+layer), np); err != nil {
				t.Fatal(err)
			}
			net, err := graph.New(np, graph.Options{})
			if err == nil {
				_, err = net.Forward()
				net.Close()
			}
			var e *memory.Error
			var l *graph.LayerError
			if !errors.As(err, &e) || !errors.As(err, &l) || l.Layer != "big" || !strings.Contains(err.Error(), "needs 1.49 GiB of memory at once, and 1 GiB are free") {
				t.Errorf("error %v", err)
			}
		})
	}
}
