package graph

import (
	"fmt"
	"os"

	"crema/layers"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

// The environment variables that switch passes off, and their values.
const (
	envLayout = "CREMA_LAYOUT" // blocked, nchw
	envFuse   = "CREMA_FUSE"   // on, off
)

// passesOf returns which passes the options and the environment leave on.
func passesOf(o *Options) (layout, fuse bool, err error) {
	for _, e := range []struct {
		name, on, off string
		to            *bool
		no            bool
	}{{envLayout, "blocked", "nchw", &layout, o.NoLayout}, {envFuse, "on", "off", &fuse, o.NoFuse}} {
		v := os.Getenv(e.name)
		if v != "" && v != e.on && v != e.off {
			return false, false, fmt.Errorf("%s=%s: must be %s or %s", e.name, v, e.on, e.off)
		}
		*e.to = v != e.off && !e.no
	}
	return layout, fuse, nil
}

// A fusion is a layer that can do the work of a ReLU right behind it.
type fusion struct{ node, relu *Node }

// findFusions looks for the layers whose top is first read by a ReLU in place.
// Their backward passes must belong together, too.
func (n *Net) findFusions() {
	for i, l := range n.nodes {
		r, ok := l.Layer.(layers.Rectifier)
		if !ok || !r.CanRectify() || l.LossWeights[0] != 0 {
			continue
		}
		for _, reader := range n.nodes[i+1:] {
			if reader.bottomIDs == nil || !reads(reader, l.topIDs[0]) {
				continue
			}
			if reader.Type == "ReLU" && reader.topIDs[0] == l.topIDs[0] && reader.Param.GetReluParam().GetNegativeSlope() == 0 &&
				reader.LossWeights[0] == 0 && reader.NeedBackward == l.NeedBackward && reader.PropagateDown[0] == l.NeedBackward {
				n.fusions = append(n.fusions, fusion{l, reader})
			}
			break
		}
	}
}

func reads(l *Node, blob int) bool {
	for _, id := range l.bottomIDs {
		if id == blob {
			return true
		}
	}
	return false
}

// SetFused switches the fusion of ReLU layers on or off, if Options.NoFuse
// leaves it to that. It is on but where the prototxt sets force_backward. The
// results of the net are the same. But with it, a blob that such a layer
// overwrites has its final values before that layer's turn, and after the
// backward pass its Diff has the gradient of the ReLU's output and not, as in
// Caffe, that of its input; SetFused(false) is for those who look at that.
// Nothing is fused while debug_info is on.
func (n *Net) SetFused(on bool) {
	n.fuse = on
	n.applyFusions()
}

// MayFuse reports whether neither Options.NoFuse nor the environment asks that
// every layer do its own work, and no more.
func (n *Net) MayFuse() bool { return n.mayFuse }

// applyFusions settles which layer of each pair does the work.
func (n *Net) applyFusions() {
	on := n.fuse && !n.debugInfo
	for _, f := range n.fusions {
		f.node.Layer.(layers.Rectifier).SetRectify(on)
		f.relu.idle = on
	}
}

// The costs that chooseLayouts weighs, for each element of a blob and each pass
// over it: to bring a blob in the other order, and to compute with one that is
// NCHW where a layer would gain by another.
const (
	costReorder = 4
	costNCHW    = 2
)

// chooseLayouts gives blobs the layouts with which the least is lost by
// reorders and by layers that work in an order that does not suit them, and
// inserts a reorder before each layer that reads a blob in another order than
// it is made.
//
// Each blob has one layout, that of the layers that make it and change it in
// place; so has the side of a layer from which it reads. Two values for each,
// costs for pairs that differ: the best choice is a minimum cut.
func (n *Net) chooseLayouts() error {
	g := newCut()
	blobs := make([]int, len(n.blobs)) // vertices
	for id, b := range n.blobs {
		blobs[id] = g.vertex()
		if tensor.Blocked.Check(b.Shape()) != nil {
			g.fix(blobs[id])
		}
	}
	for _, id := range n.outputs {
		g.fix(blobs[id])
	}
	inputs := make([]int, len(n.nodes))
	for i, l := range n.nodes {
		in := g.vertex()
		inputs[i] = in
		passes := 1
		if l.NeedBackward {
			passes = 2
		}
		for j, id := range l.bottomIDs {
			b := l.Bottoms[j]
			if tensor.Blocked.Check(b.Shape()) != nil {
				g.fix(in)
			}
			cost := b.Count() * costReorder * passes
			if l.inPlace() {
				cost = infinite
			}
			g.differ(blobs[id], in, cost)
		}
		t, ok := l.Layer.(layers.LayoutTaker)
		fit := func(in, out tensor.Layout) layers.Fit {
			if !ok {
				return layers.Unfit
			}
			return t.Fit(in, out)
		}
		both, from, to := fit(tensor.Blocked, tensor.Blocked), fit(tensor.Blocked, tensor.NCHW), fit(tensor.NCHW, tensor.Blocked)
		if both == layers.Unfit && from != layers.Unfit {
			to = layers.Unfit // not both: a cut cannot have that
		}
		if both == layers.Unfit && from == layers.Unfit {
			g.fix(in)
		} else if both == layers.Gains || from == layers.Gains {
			for _, b := range l.Bottoms {
				g.prefer(in, b.Count()*costNCHW*passes)
			}
		}
		for j, id := range l.topIDs {
			if l.LossWeights[j] != 0 || both == layers.Unfit && to == layers.Unfit {
				g.fix(blobs[id])
				continue
			}
			if j > 0 {
				g.differ(blobs[l.topIDs[0]], blobs[id], infinite)
			}
			if from == layers.Unfit {
				g.forbid(blobs[id], in)
			}
			if to == layers.Unfit {
				g.forbid(in, blobs[id])
			}
			if both == layers.Gains || to == layers.Gains {
				g.prefer(blobs[id], l.Tops[j].Count()*costNCHW*passes)
			}
		}
	}
	blocked := g.solve()
	for id, v := range blobs {
		if blocked[v] {
			n.blobs[id].SetLayout(tensor.Blocked)
		}
	}
	var nodes []*Node
	for i, l := range n.nodes {
		layout := tensor.NCHW
		if blocked[inputs[i]] {
			layout = tensor.Blocked
		}
		touched := false
		for j, b := range l.Bottoms {
			if b.Layout() != layout {
				r := n.reorder(l, j, layout)
				if err := r.reshape(); err != nil {
					return n.wrap(r, err)
				}
				nodes = append(nodes, r)
				touched = true
			}
		}
		for _, b := range append(l.Bottoms[:len(l.Bottoms):len(l.Bottoms)], l.Tops...) {
			touched = touched || b.Layout() != tensor.NCHW
		}
		if touched {
			if err := l.reshape(); err != nil {
				return n.wrap(l, err)
			}
		}
		nodes = append(nodes, l)
	}
	n.nodes = nodes
	return nil
}

// reorder makes layer l read bottom j through a reorder to the given layout.
func (n *Net) reorder(l *Node, j int, layout tensor.Layout) *Node {
	name := l.BottomNames[j]
	top := tensor.New(l.Bottoms[j].Shape()...)
	top.SetLayout(layout)
	ctx := n.ctx
	ctx.Phase = l.Param.GetPhase()
	r := &Node{
		Name: fmt.Sprintf("%s_%s_reorder", name, l.Name), Type: "Reorder", Layer: layers.NewReorder(&ctx),
		Bottoms: []*tensor.Blob{l.Bottoms[j]}, BottomNames: []string{name},
		Tops: []*tensor.Blob{top}, TopNames: []string{name},
		PropagateDown: []bool{l.PropagateDown[j]}, NeedBackward: l.NeedBackward && l.PropagateDown[j],
		LossWeights: []float32{0}, index: l.index, added: true,
	}
	r.Param = &caffepb.LayerParameter{Name: proto.String(r.Name), Type: proto.String(r.Type),
		Bottom: r.BottomNames, Top: r.TopNames, Phase: ctx.Phase.Enum()}
	l.Bottoms[j] = top
	return r
}

// inPlace reports whether the layer changes a bottom.
func (l *Node) inPlace() bool {
	for _, id := range l.topIDs {
		if reads(l, id) {
			return true
		}
	}
	return false
}
