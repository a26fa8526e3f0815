package doctor

import (
	"slices"

	"crema/graph"
	"crema/tensor"
)

// wires tell how the layers of a built net hang together, by their indices.
// Layers that work in place read and write the same blob, so what a blob holds
// depends on when it is asked.
type wires struct {
	nodes []*graph.Node
	// makers has, for each bottom of each layer, the layer that wrote it last
	// before, -1 for none; readers are the reverse, in order.
	makers  [][]int
	readers [][]int
	// depth is the number of layers with weights on the longest way from the
	// data to a layer, the layer included.
	depth []int
}

// followers are the types that belong to the layer with weights in front of
// them, linear those of them that come before its nonlinearity.
var (
	followers = []string{"ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "BNLL", "AbsVal", "Swish", "BatchNorm", "Scale", "Bias"}
	linear    = []string{"BatchNorm", "Scale", "Bias"}
)

func newWires(net *graph.Net) *wires {
	w := &wires{nodes: net.Layers()}
	n := len(w.nodes)
	w.makers, w.readers, w.depth = make([][]int, n), make([][]int, n), make([]int, n)
	last := map[*tensor.Blob]int{}
	for i, node := range w.nodes {
		for _, b := range node.Bottoms {
			m, ok := last[b]
			if !ok {
				m = -1
			} else {
				w.readers[m] = append(w.readers[m], i)
				w.depth[i] = max(w.depth[i], w.depth[m])
			}
			w.makers[i] = append(w.makers[i], m)
		}
		if weighted(node) {
			w.depth[i]++
		}
		for _, t := range node.Tops {
			last[t] = i
		}
	}
	return w
}

// weighted reports whether a layer has weights that mix its inputs.
func weighted(n *graph.Node) bool {
	if slices.Contains(followers, n.Type) {
		return false
	}
	return len(n.Bottoms) > 0 && slices.ContainsFunc(n.Layer.Params(), func(b *tensor.Blob) bool { return b.Axes() > 1 })
}

// sideBottom reports whether a layer takes bottom j for something else than
// values to compute with: the labels of a loss, the marks of a recurrent layer,
// indices.
func sideBottom(n *graph.Node, j int) bool {
	switch {
	case n.Type == "LSTM" || n.Type == "RNN":
		return j == 1
	case n.Type == "Embed" || n.Type == "Silence" || n.Type == "Accuracy":
		return true
	case n.Type == "BatchReindex" || n.Type == "Filter":
		return j > 0
	}
	return j > 0 && slices.ContainsFunc(n.LossWeights, func(w float32) bool { return w != 0 }) && n.Type != "ContrastiveLoss"
}

// chain returns the layers that belong to layer i, in order: those of the types
// given that follow it, each the first to read what the one before makes.
func (w *wires) chain(i int, types []string) []int {
	var out []int
	for len(w.readers[i]) > 0 {
		r := w.readers[i][0]
		if !slices.Contains(types, w.nodes[r].Type) || w.makers[r][0] != i {
			break
		}
		out = append(out, r)
		i = r
	}
	return out
}

// origin looks through splits: it returns the layer whose output bottom j of
// layer i is, -1 for none.
func (w *wires) origin(i, j int) int {
	m := w.makers[i][j]
	for m >= 0 && w.nodes[m].Type == "Split" {
		m = w.makers[m][0]
	}
	return m
}

// before returns the layers that layer i depends on, the nearest last.
func (w *wires) before(i int) []int {
	need := map[int]bool{i: true}
	var out []int
	for k := i; k >= 0; k-- {
		if !need[k] {
			continue
		}
		if k != i {
			out = append(out, k)
		}
		for _, m := range w.makers[k] {
			need[m] = true
		}
	}
	slices.Reverse(out)
	return out
}

// fed returns the layers with weights that a top of a layer is an input of, in
// order; labels and the like are none.
func (w *wires) fed(i, top int) []int {
	var out []int
	carries := map[int]bool{} // layers whose tops hold the input
	b := w.nodes[i].Tops[top]
	for k := i + 1; k < len(w.nodes); k++ {
		n := w.nodes[k]
		for j, m := range w.makers[k] {
			if sideBottom(n, j) || !(carries[m] || m == i && n.Bottoms[j] == b) {
				continue
			}
			carries[k] = true
		}
		if carries[k] && weighted(n) {
			out = append(out, k)
		}
	}
	return out
}
