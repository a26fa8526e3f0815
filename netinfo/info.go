package netinfo

import (
	"fmt"
	"slices"

	"crema/graph"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// valueBytes is the size of a value of a blob.
const valueBytes = 4

// Info describes a net in one phase.
type Info struct {
	Name  string `json:"name"`
	Phase string `json:"phase"`
	// Inputs are the blobs that layers without bottoms make.
	Inputs []Blob `json:"inputs"`
	// Batch is the first axis of the first input: how many items (images, or
	// steps of sequences) a pass works on; 1 if there is no such axis.
	Batch int `json:"batch"`
	// Layers are those of the file, without the splits that the net inserts.
	Layers []Layer `json:"layers"`
	// Notes say what was assumed.
	Notes []string `json:"notes,omitempty"`

	// Parameters counts the values of learnable parameters, those that layers
	// share once; Statistics those that BatchNorm layers keep beside.
	Parameters int64 `json:"parameters"`
	Statistics int64 `json:"statistics"`
	// MACs is the number of multiply-adds of a forward pass of the whole batch.
	MACs int64 `json:"multiply_adds"`
	// UnknownMACs names layers whose work is not known.
	UnknownMACs []string `json:"unknown_multiply_adds,omitempty"`
	// ValueBytes and GradientBytes are the memory of the blobs.
	ValueBytes    int64 `json:"value_bytes"`
	GradientBytes int64 `json:"gradient_bytes"`
}

// A Layer describes one layer.
type Layer struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Geometry tells the kernel and the like in a few words, for types that
	// have one.
	Geometry string `json:"geometry,omitempty"`
	Bottoms  []Blob `json:"bottoms,omitempty"`
	Tops     []Blob `json:"tops"`
	Params   []Blob `json:"params,omitempty"`
	// Parameters, Statistics, MACs and the memory are those of [Info]. What a
	// layer shares with one before it is not counted again.
	Parameters    int64 `json:"parameters"`
	Statistics    int64 `json:"statistics,omitempty"`
	MACs          int64 `json:"multiply_adds"`
	ValueBytes    int64 `json:"value_bytes"`
	GradientBytes int64 `json:"gradient_bytes"`
}

// A Blob is the name and shape of a blob or parameter. Of a bottom it is the
// name that the file has, not that of a split's top.
type Blob struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
}

// Of describes the net that np gives in its state, np.State; np must be upgraded
// (prototxt.ReadNet does that) and is not changed. An error about a layer is a
// *graph.LayerError.
func Of(np *caffepb.NetParameter, o SourceOptions) (*Info, error) {
	np, types, notes, err := withInputs(np, o)
	if err != nil {
		return nil, err
	}
	net, err := graph.New(np, graph.Options{ResolvePath: o.ResolvePath, Dir: o.Dir, NoFill: true, NoLayout: true, NoFuse: true})
	if err != nil {
		return nil, err
	}
	defer net.Close()
	c := &counter{info: &Info{Name: net.Name, Phase: np.GetState().GetPhase().String(), Batch: 1, Notes: notes}, types: types, original: map[string]string{}}
	for _, p := range net.Params() {
		c.owned = append(c.owned, p.Blob)
	}
	for _, n := range slices.Backward(net.Layers()) {
		// Its backward pass gives the bottom the gradient of the top.
		if n.Type == "Flatten" && n.NeedBackward && n.PropagateDown[0] {
			n.Bottoms[0].ShareDiff(n.Tops[0])
		}
	}
	for _, n := range net.Layers() {
		c.add(n)
	}
	for _, l := range c.info.Layers {
		c.info.Parameters += l.Parameters
		c.info.Statistics += l.Statistics
		c.info.MACs += l.MACs
		c.info.ValueBytes += l.ValueBytes
		c.info.GradientBytes += l.GradientBytes
	}
	return c.info, nil
}

// counter goes through the layers of a net.
type counter struct {
	info     *Info
	types    map[string]string // of layers that an Input layer stands for
	owned    []*tensor.Blob    // parameters that no layer has counted yet
	values   []*tensor.Blob    // blobs whose values are counted
	grads    []*tensor.Blob    // and whose gradients
	original map[string]string // name of a split's top → the blob that is split
}

func (c *counter) add(n *graph.Node) {
	if n.Inserted {
		for _, t := range n.TopNames {
			c.original[t] = n.BottomNames[0]
		}
		// Its tops share the values of its bottom; their gradients are counted
		// where they are written, by those that read it.
		return
	}
	l := Layer{Name: n.Name, Type: n.Type, Geometry: geometry(n)}
	if t, ok := c.types[n.Name]; ok && len(n.Bottoms) == 0 {
		l.Type = t
	}
	for i, b := range n.Bottoms {
		name := n.BottomNames[i]
		if o, ok := c.original[name]; ok {
			name = o
		}
		l.Bottoms = append(l.Bottoms, Blob{name, b.Shape()})
	}
	for i, t := range n.Tops {
		l.Tops = append(l.Tops, Blob{n.TopNames[i], t.Shape()})
	}
	if graph.IsSource(n.Param) {
		if len(c.info.Inputs) == 0 && len(l.Tops) > 0 && len(l.Tops[0].Shape) > 0 {
			c.info.Batch = max(1, l.Tops[0].Shape[0])
		}
		c.info.Inputs = append(c.info.Inputs, l.Tops...)
	}
	for i, p := range n.Layer.Params() {
		l.Params = append(l.Params, Blob{n.ParamNames[i], p.Shape()})
		if !take(&c.owned, p) {
			continue
		}
		if n.Type == "BatchNorm" {
			l.Statistics += int64(p.Count())
		} else {
			l.Parameters += int64(p.Count())
		}
	}
	var known bool
	if l.MACs, known = macs(n); !known {
		c.info.UnknownMACs = append(c.info.UnknownMACs, n.Name)
	}
	c.memory(n, &l)
	c.info.Layers = append(c.info.Layers, l)
}

// take removes b from a list and reports whether it was there.
func take(list *[]*tensor.Blob, b *tensor.Blob) bool {
	for i, x := range *list {
		if x == b {
			*list = append((*list)[:i], (*list)[i+1:]...)
			return true
		}
	}
	return false
}

// memory adds to l the memory of the node's blobs that no layer before it has:
// of the gradients, those that the node's backward pass reads or writes.
func (c *counter) memory(n *graph.Node, l *Layer) {
	for _, t := range n.Tops {
		if fresh(&c.values, t, (*tensor.Blob).SharesData) {
			l.ValueBytes += int64(t.Count()) * valueBytes
		}
	}
	if !n.NeedBackward {
		return
	}
	for i, b := range n.Bottoms {
		if n.Type == "Crop" && i > 0 {
			continue // only its shape is of interest
		}
		if n.PropagateDown[i] && fresh(&c.grads, b, (*tensor.Blob).SharesDiff) {
			l.GradientBytes += int64(b.Count()) * valueBytes
		}
	}
	if n.Type == "Split" {
		return // it asks only for gradients that its readers wrote
	}
	for _, t := range n.Tops {
		if fresh(&c.grads, t, (*tensor.Blob).SharesDiff) {
			l.GradientBytes += int64(t.Count()) * valueBytes
		}
	}
}

// fresh adds a blob to those that were seen and reports whether it shares its
// memory with none of them.
func fresh(seen *[]*tensor.Blob, b *tensor.Blob, shares func(b, o *tensor.Blob) bool) bool {
	for _, s := range *seen {
		if s == b || shares(b, s) {
			return false
		}
	}
	*seen = append(*seen, b)
	return true
}

// FLOPs returns the floating-point operations of the multiply-adds.
func FLOPs(macs int64) int64 { return 2 * macs }

// String names the blob with its shape.
func (b Blob) String() string { return fmt.Sprintf("%s %s", b.Name, tensor.FormatShape(b.Shape)) }

// Outline describes a net as far as its file does: layers and blobs of the state
// np.State, without shapes and figures. It needs to know no layer type.
func Outline(np *caffepb.NetParameter) (*Info, error) {
	kept, _, err := graph.Select(np)
	if err != nil {
		return nil, err
	}
	i := &Info{Name: np.GetName(), Phase: np.GetState().GetPhase().String(), Batch: 1}
	for _, l := range kept {
		d := Layer{Name: l.GetName(), Type: l.GetType()}
		for _, b := range l.Bottom {
			d.Bottoms = append(d.Bottoms, Blob{Name: b})
		}
		for _, t := range l.Top {
			d.Tops = append(d.Tops, Blob{Name: t})
		}
		i.Layers = append(i.Layers, d)
	}
	return i, nil
}
