package graph

import (
	"fmt"
	"testing"

	"crema/layers"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// passes counts what layers of type Counted computed in backward passes.
var passes struct{ layers, bottoms, params int }

// counted is an InnerProduct layer that counts.
type counted struct{ layers.Layer }

func (c counted) Backward(top []*tensor.Blob, down []bool, bottom []*tensor.Blob) error {
	passes.layers++
	for _, d := range down {
		if d {
			passes.bottoms++
		}
	}
	for i := range c.Params() {
		if c.ParamPropagateDown(i) {
			passes.params++
		}
	}
	return c.Layer.Backward(top, down, bottom)
}

func init() {
	ip, err := layers.Lookup("InnerProduct")
	if err != nil {
		panic(err)
	}
	t := *ip
	t.Name = "Counted"
	t.New = func(p *caffepb.LayerParameter, ctx *layers.Context) (layers.Layer, error) {
		l, err := ip.New(p, ctx)
		return counted{l}, err
	}
	layers.Register(t)
}

// chain returns a net of n fully connected layers before a loss; specs has the
// param fields of some, by their number from 1.
func chain(n int, specs map[int]string) string {
	text := input("x0", 2, 4) + input("label", 2)
	for i := 1; i <= n; i++ {
		text += fmt.Sprintf(`layer { name: "ip%d" type: "Counted" bottom: "x%d" top: "x%[1]d" %[3]s inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
`, i, i-1, specs[i])
	}
	return text + fmt.Sprintf(`layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x%d" bottom: "label" top: "loss" }`, n)
}

// TestFrozenWork counts what a backward pass computes of nets that are frozen in
// part.
func TestFrozenWork(t *testing.T) {
	const still, biases = "param { lr_mult: 0 } param { lr_mult: 0 }", "param { lr_mult: 0 } param { lr_mult: 1 }"
	shared := func(more string) string {
		return fmt.Sprintf(`param { name: "w" %s } param { name: "b" %[1]s }`, more)
	}
	for _, c := range []struct {
		name                    string
		specs                   map[int]string
		all                     bool
		layers, bottoms, params int
		frozen                  int
	}{
		{"nothing", nil, false, 5, 4, 10, 0},
		{"the lower three", map[int]string{1: still, 2: still, 3: still}, false, 2, 1, 4, 3},
		{"all but the last", map[int]string{1: still, 2: still, 3: still, 4: still}, false, 1, 0, 2, 4},
		{"one in the middle", map[int]string{3: still}, false, 5, 4, 8, 1},
		{"the upper three", map[int]string{3: still, 4: still, 5: still}, false, 5, 4, 4, 3},
		{"all", map[int]string{1: still, 2: still, 3: still, 4: still, 5: still}, false, 0, 0, 0, 5},
		{"weights, not biases", map[int]string{1: biases, 2: biases}, false, 5, 4, 8, 0},
		// The second of two that share says nothing of lr_mult: it is the first's.
		{"through another layer", map[int]string{1: shared("lr_mult: 0"), 2: shared("")}, false, 3, 2, 6, 2},
		{"through a later layer", map[int]string{1: shared(""), 2: shared("lr_mult: 0")}, false, 3, 2, 6, 2},
		{"through another layer, as Caffe", map[int]string{1: shared("lr_mult: 0"), 2: shared("")}, true, 4, 3, 8, 2},
		{"shared and learned", map[int]string{1: shared("lr_mult: 2"), 2: shared("")}, false, 5, 4, 10, 0},
		{"stopped by hand", map[int]string{4: "propagate_down: false"}, false, 2, 1, 4, 0},
	} {
		n := build(t, chain(5, c.specs), caffepb.Phase_TRAIN, Options{SharedGradients: c.all})
		for i, d := 0, n.Blob("x0").Data(); i < len(d); i++ {
			d[i] = float32(i) - 3
		}
		passes = struct{ layers, bottoms, params int }{}
		if _, err := n.Forward(); err != nil {
			t.Fatal(err)
		}
		n.ClearParamDiffs()
		if err := n.Backward(); err != nil {
			t.Fatal(err)
		}
		if passes.layers != c.layers || passes.bottoms != c.bottoms || passes.params != c.params {
			t.Errorf("%s: %d passes, %d gradients of bottoms and %d of parameters, want %d, %d and %d", c.name, passes.layers, passes.bottoms, passes.params, c.layers, c.bottoms, c.params)
		}
		frozen, all := n.Frozen()
		w := n.BackwardWork()
		loss := 1
		if c.layers == 0 {
			loss = 0
		}
		// The loss makes the gradient of the scores.
		if want := (Work{Layers: 6, Passes: c.layers + loss, Bottoms: 6, BottomGradients: c.bottoms + loss, Params: 10, ParamGradients: c.params}); w != want {
			t.Errorf("%s: %+v, want %+v", c.name, w, want)
		}
		if frozen != c.frozen || all != 5 {
			t.Errorf("%s: %d of %d layers are frozen, want %d of 5", c.name, frozen, all, c.frozen)
		}
	}
}
