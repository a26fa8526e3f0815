package graph_test

import (
	"slices"
	"sync"
	"testing"

	"crema/graph"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// TestForwardShared runs nets that share their weights at once, each in its own
// goroutine: for the race detector, and they must all get what one alone gets.
func TestForwardShared(t *testing.T) {
	np := &caffepb.NetParameter{}
	err := prototxt.UnmarshalText("net.prototxt", []byte(`
		layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 17 dim: 19 } } }
		layer { name: "c1" type: "Convolution" bottom: "x" top: "c1" convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
		layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
		layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2" convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
		layer { name: "p" type: "Pooling" bottom: "c2" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
		layer { name: "d" type: "Dropout" bottom: "p" top: "p" }
		layer { name: "fc" type: "InnerProduct" bottom: "p" top: "fc" inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
		layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }`), np)
	if err != nil {
		t.Fatal(err)
	}
	graph.SetState(np, caffepb.Phase_TEST, 0, nil)
	first, err := graph.New(np, graph.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	x := make([]float32, first.Blob("x").Count())
	for i := range x {
		x[i] = float32(i%23) - 11
	}
	run := func(n *graph.Net) ([]float32, error) {
		if err := n.Blob("x").SetValues(x); err != nil {
			return nil, err
		}
		_, err := n.Forward()
		return n.Blob("prob").Values(), err
	}
	want, err := run(first)
	if err != nil {
		t.Fatal(err)
	}
	want = slices.Clone(want)
	var wg sync.WaitGroup
	var weights []*tensor.Blob
	for range 4 {
		n, err := graph.New(np, graph.Options{ShareParams: first})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		weights = append(weights, n.Params()[0].Blob)
		wg.Go(func() {
			for range 3 {
				got, err := run(n)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("got %v, %v, want %v", got, err, want)
				}
			}
		})
	}
	wg.Wait()
	for _, w := range weights {
		if !w.SharesData(first.Params()[0].Blob) {
			t.Error("a net has weights of its own")
		}
	}
}
