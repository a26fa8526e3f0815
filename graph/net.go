package graph

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"crema/internal/memory"
	"crema/layers"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

// Options say how to build a net. The zero value is the default.
type Options struct {
	// Seed keys all random streams of the net's layers.
	Seed uint64
	// Title is what messages call the net; "" is TRAIN net or TEST net, by its
	// phase.
	Title string
	// Log receives Caffe's log sentences; nil drops them.
	Log *slog.Logger
	// ResolvePath maps paths of the prototxt to paths that can be opened; nil
	// leaves them as they are.
	ResolvePath func(string) string
	// Dir is the folder of the prototxt, where Python layers are looked for; ""
	// for none.
	Dir string
	// ShareParams makes layers use the parameters of the layers of the same
	// name of another net instead of having their own (Caffe's
	// ShareTrainedLayersWith).
	ShareParams *Net
	// SharedGradients computes gradients of parameters that are frozen by the
	// lr_mult of another layer that shares them, as Caffe does.
	SharedGradients bool
	// NoFill leaves parameters without values, and so without memory: for a net
	// of which only the shapes are asked.
	NoFill bool
	// NoLayout keeps all blobs in NCHW order. Otherwise those between layers
	// that work faster so are in another (tensor.Layout), unless the environment
	// variable CREMA_LAYOUT is nchw.
	NoLayout bool
	// NoFuse lets every layer do its own work and no more. Otherwise
	// convolutions do that of ReLU layers that follow them in place
	// (Net.SetFused), unless the environment variable CREMA_FUSE is off.
	NoFuse bool
}

// A Node is one layer of a net with its wiring.
type Node struct {
	// Name and Type of the layer.
	Name, Type string
	// Param is the layer's parameter, with the phase filled in.
	Param *caffepb.LayerParameter
	// Layer does the work.
	Layer layers.Layer
	// Bottoms and Tops are the blobs it reads and makes; in-place tops are
	// bottoms too. BottomNames and TopNames are their names ("(automatic)"
	// for tops the file does not name).
	Bottoms, Tops         []*tensor.Blob
	BottomNames, TopNames []string
	// PropagateDown says for each bottom whether Backward computes its
	// gradient.
	PropagateDown []bool
	// NeedBackward says whether Backward runs the layer at all.
	NeedBackward bool
	// LossWeights has the weight of each top in the loss, 0 for none.
	LossWeights []float32
	// ParamNames has the display name of each of the layer's parameters: its
	// shared name, or its index.
	ParamNames []string
	// ForwardTime and BackwardTime are how long the layer's passes took since
	// the net was built. Time spent waiting for data is in them.
	ForwardTime, BackwardTime time.Duration

	// Inserted says that the file does not have the layer: the net needs it to
	// give a blob to several others (a Split).
	Inserted bool

	owners     []*Param // of each of the layer's parameters
	borrowed   bool     // the parameters are another net's
	index      int      // in the NetParameter
	idle       bool     // another layer does the work of this one
	added      bool     // by a pass: not a layer of Caffe's net
	bottomIDs  []int
	topIDs     []int
	seenShapes [][]int // of the bottoms at the last Reshape
}

// A Param is one learnable parameter of a net; layers that share it by name
// share its blob.
type Param struct {
	// Blob has the values and the gradient.
	Blob *tensor.Blob
	// LRMult and DecayMult scale the learning rate and the weight decay.
	LRMult, DecayMult float32
	// Layer that owns the parameter and the parameter's display name there.
	Layer, Name string
	// Owner is that layer, Index the parameter's place among its Params.
	Owner *Node
	Index int
	// Shared says that other layers of the net use the parameter, too.
	Shared bool

	hasLR, hasDecay bool
}

// An Output is a blob that no layer reads: what the net produces.
type Output struct {
	Name       string
	Blob       *tensor.Blob
	LossWeight float32
}

// A Net is a built network.
type Net struct {
	// Name as in the prototxt.
	Name string

	ctx       layers.Context // what every layer's own copy begins as
	log       *slog.Logger
	nodes     []*Node
	blobs     []*tensor.Blob
	blobNames []string
	byName    map[string]int
	outputs   []int
	weights   []float32 // loss weight of each blob
	params    []*Param
	partner   *Net // Options.ShareParams
	title     string
	written   int  // layers of the NetParameter
	unshared  bool // some layer with parameters is not in Options.ShareParams
	debugInfo bool
	mayFuse   bool // nothing forbids it
	fuse      bool
	fusions   []fusion
}

// reshape lets the layer shape its tops and puts the loss weights into the
// gradients of those that have one, where loss layers read them.
func (n *Node) reshape() error {
	if err := n.Layer.Reshape(n.Bottoms, n.Tops); err != nil {
		return err
	}
	n.seenShapes = n.seenShapes[:0]
	for _, b := range n.Bottoms {
		n.seenShapes = append(n.seenShapes, b.Shape())
	}
	return nil
}

// stale reports whether a bottom changed shape since the last reshape.
func (n *Node) stale() bool {
	for i, b := range n.Bottoms {
		if !b.HasShape(n.seenShapes[i]...) {
			return true
		}
	}
	return false
}

// IsSource reports whether a layer brings data into its net: it has no bottoms,
// and is no Parameter, which has none either.
func IsSource(p *caffepb.LayerParameter) bool {
	return len(p.Bottom) == 0 && p.GetType() != "Parameter"
}

// Layers returns the layers in the order they run.
func (n *Net) Layers() []*Node { return n.nodes }

// Params returns the learnable parameters in Caffe's order.
func (n *Net) Params() []*Param { return n.params }

// Blob returns the blob of that name, or nil.
func (n *Net) Blob(name string) *tensor.Blob {
	if id, ok := n.byName[name]; ok {
		return n.blobs[id]
	}
	return nil
}

// NoBlob returns the error for a name that no blob has: which may be meant, and
// which there are but for the copies of inserted splits.
func (n *Net) NoBlob(name string) error {
	names := n.BlobNames()
	for _, l := range n.nodes {
		if l.Type == "Split" && strings.HasSuffix(l.Name, "_split") {
			names = slices.DeleteFunc(names, func(s string) bool { return slices.Contains(l.TopNames, s) })
		}
	}
	hint := ""
	if near := prototxt.Nearest(name, names); near != "" {
		hint = fmt.Sprintf(" (did you mean %q?)", near)
	}
	return fmt.Errorf("the net has no blob %q%s; its blobs: %s", name, hint, strings.Join(names, ", "))
}

// BlobNames returns the names of all blobs in the order they are made, those
// of inserted splits included.
func (n *Net) BlobNames() []string {
	var names []string
	for id, name := range n.blobNames {
		if name != "(automatic)" && n.byName[name] == id {
			names = append(names, name)
		}
	}
	return names
}

// Outputs returns the blobs that no layer reads, sorted by name.
func (n *Net) Outputs() []Output {
	var out []Output
	for _, id := range n.outputs {
		out = append(out, Output{n.blobNames[id], n.blobs[id], n.weights[id]})
	}
	return out
}

// SetDebugInfo switches the lines of debug_info on or off.
func (n *Net) SetDebugInfo(on bool) {
	n.debugInfo = on
	n.applyFusions()
}

// node returns the first layer of that name, or nil.
func (n *Net) node(name string) *Node {
	for _, l := range n.nodes {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Forward runs all layers and returns the weighted sum of the losses.
func (n *Net) Forward() (float32, error) {
	var loss float32
	for i := range n.nodes {
		l, err := n.ForwardLayer(i)
		if err != nil {
			return 0, err
		}
		loss += l
	}
	return loss, nil
}

// ForwardLayer runs layer i, reshaping it first if its bottoms changed shape,
// and returns its part of the loss.
func (n *Net) ForwardLayer(i int) (loss float32, err error) {
	l := n.nodes[i]
	defer func() {
		if big, ok := err.(*memory.Error); ok {
			err = n.wrap(l, big)
		}
	}()
	defer memory.Catch(&err)
	defer func(began time.Time) { l.ForwardTime += time.Since(began) }(time.Now())
	if l.stale() {
		if err := l.reshape(); err != nil {
			return 0, n.wrap(l, err)
		}
	}
	if !l.idle {
		if err := l.Layer.Forward(l.Bottoms, l.Tops); err != nil {
			return 0, n.wrap(l, err)
		}
	}
	for j, w := range l.LossWeights {
		if w == 0 {
			continue
		}
		var sum float64
		for _, v := range l.Tops[j].ReadData() {
			sum += float64(v)
		}
		loss += float32(sum) * w
	}
	if n.debugInfo && !l.added {
		n.forwardDebug(l)
	}
	return loss, nil
}

// Backward runs the layers from the last to the first, adding to the
// gradients of the parameters (ClearParamDiffs zeroes them).
func (n *Net) Backward() error {
	for i := len(n.nodes) - 1; i >= 0; i-- {
		if err := n.BackwardLayer(i); err != nil {
			return err
		}
	}
	if n.debugInfo {
		n.backwardSummary()
	}
	return nil
}

// BackwardLayer runs the backward pass of layer i if it needs one.
func (n *Net) BackwardLayer(i int) (err error) {
	l := n.nodes[i]
	defer func() {
		if big, ok := err.(*memory.Error); ok {
			err = n.wrap(l, big)
		}
	}()
	defer memory.Catch(&err)
	if !l.NeedBackward {
		return nil
	}
	defer func(began time.Time) { l.BackwardTime += time.Since(began) }(time.Now())
	for j, w := range l.LossWeights {
		if w != 0 {
			d := l.Tops[j].Diff()
			for k := range d {
				d[k] = w
			}
		}
	}
	if !l.idle {
		if err := l.Layer.Backward(l.Tops, l.PropagateDown, l.Bottoms); err != nil {
			return n.wrap(l, err)
		}
	}
	if n.debugInfo && !l.added {
		n.backwardDebug(l)
	}
	return nil
}

// ClearParamDiffs zeroes the gradients of the learnable parameters.
func (n *Net) ClearParamDiffs() {
	for _, p := range n.params {
		clear(p.Blob.Diff())
	}
}

// Cursors returns where the layers stand that have a position (random layers,
// data layers), for SetCursors of a net built from the same parameters.
func (n *Net) Cursors() *caffepb.NetCursor {
	c := &caffepb.NetCursor{}
	for _, l := range n.nodes {
		if s, ok := l.Layer.(layers.Stateful); ok {
			p := s.Cursor()
			p.Name = proto.String(l.Name)
			c.Layer = append(c.Layer, p)
		}
	}
	return c
}

// SetCursors puts layers where Cursors found them. Layers it does not name
// start from the beginning.
func (n *Net) SetCursors(c *caffepb.NetCursor) error {
	byName := map[string]*caffepb.LayerCursor{}
	for _, p := range c.GetLayer() {
		byName[p.GetName()] = p
	}
	for _, l := range n.nodes {
		if s, ok := l.Layer.(layers.Stateful); ok {
			p := byName[l.Name]
			if p == nil {
				p = &caffepb.LayerCursor{}
			}
			if err := s.SetCursor(p); err != nil {
				return n.wrap(l, err)
			}
		}
	}
	return nil
}

// Waited returns how many seconds the net's data layers waited for data.
func (n *Net) Waited() float64 {
	var s float64
	for _, l := range n.nodes {
		if w, ok := l.Layer.(layers.Waiter); ok {
			s += w.Waited()
		}
	}
	return s
}

// Close stops the net's data layers and its Python process. The net must not be
// used after.
func (n *Net) Close() error {
	var errs []error
	for _, l := range n.nodes {
		if c, ok := l.Layer.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	n.nodes = nil
	errs = append(errs, n.ctx.Python.Close())
	return errors.Join(errs...)
}
