package layers

import (
	"testing"

	"crema/tensor"
)

// A bottom that nobody wants a gradient for keeps what it has.
func TestNoPropagateDown(t *testing.T) {
	for text, n := range map[string]int{
		`type: "ReLU"`:    1,
		`type: "Dropout"`: 1,
		`type: "Softmax"`: 1,
		`type: "Split"`:   1,
		`type: "Silence"`: 1,
		`type: "Pooling" pooling_param { kernel_size: 2 }`:                       1,
		`type: "Pooling" pooling_param { kernel_size: 2 pool: AVE }`:             1,
		`type: "Pooling" pooling_param { kernel_size: 2 pool: STOCHASTIC }`:      1,
		`type: "Convolution" convolution_param { num_output: 2 kernel_size: 2 }`: 1,
		`type: "InnerProduct" inner_product_param { num_output: 2 }`:             1,
		`type: "SoftmaxWithLoss"`:                                                2,
		`type: "EuclideanLoss"`:                                                  2,
	} {
		bottom := blobs(randomBlob(1, 2, 1, 3, 3))
		tops := 1
		switch parseLayer(t, text).GetType() {
		case "SoftmaxWithLoss":
			bottom = append(bottom, tensor.New(2, 3, 3))
		case "EuclideanLoss":
			bottom = append(bottom, randomBlob(2, 2, 9))
		case "Silence":
			tops = 0
		}
		l, top := newLayer(t, testContext(train), text, bottom, tops)
		forward(t, l, bottom, top)
		for _, b := range top {
			b.Diff()[0] = 1
		}
		if err := l.Backward(top, make([]bool, n), bottom); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		for i, b := range bottom {
			if b.HasDiff() {
				t.Errorf("%s: bottom %d got a gradient", text, i)
			}
		}
	}
}

// Passes in steady state allocate no more than the closures of their loops.
func TestAllocations(t *testing.T) {
	for _, text := range []string{
		`type: "ReLU"`, `type: "Dropout"`, `type: "Softmax"`, `type: "Split"`,
		`type: "Pooling" pooling_param { kernel_size: 2 }`,
		`type: "Pooling" pooling_param { kernel_size: 2 pool: AVE }`,
		`type: "Pooling" pooling_param { kernel_size: 2 pool: STOCHASTIC }`,
		`type: "EuclideanLoss"`,
	} {
		bottom := blobs(randomBlob(1, 4, 8, 32, 32))
		if parseLayer(t, text).GetType() == "EuclideanLoss" {
			bottom = append(bottom, randomBlob(2, 4, 8, 32, 32))
		}
		l, top := newLayer(t, testContext(train), text, bottom, 1)
		step := func() {
			forward(t, l, bottom, top)
			backward(t, l, bottom, top)
		}
		step()
		if n := testing.AllocsPerRun(5, step); n > 16 {
			t.Errorf("%s: %v allocations per pass", text, n)
		}
	}
}

func TestCheckCounts(t *testing.T) {
	for _, c := range []struct {
		typ           Type
		bottoms, tops int
		ok            bool
	}{
		{Type{Bottoms: Exactly(1), Tops: AtLeast(1)}, 1, 9, true},
		{Type{Bottoms: Exactly(1), Tops: AtLeast(1)}, 2, 9, false},
		{Type{Bottoms: Exactly(1), Tops: AtLeast(1)}, 1, 0, false},
		{Type{Bottoms: Exactly(1), Tops: Between(1, 2)}, 1, 2, true},
		{Type{Bottoms: Exactly(1), Tops: Between(1, 2)}, 1, 3, false},
		{Type{Bottoms: AtLeast(1), Tops: AtLeast(1), EqualBottomsTops: true}, 2, 2, true},
		{Type{Bottoms: AtLeast(1), Tops: AtLeast(1), EqualBottomsTops: true}, 2, 1, false},
	} {
		if err := c.typ.CheckCounts(c.bottoms, c.tops); (err == nil) != c.ok {
			t.Errorf("%d bottoms, %d tops: %v, want ok %v", c.bottoms, c.tops, err, c.ok)
		}
	}
}
