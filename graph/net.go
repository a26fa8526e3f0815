package graph

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"crema/internal/glog"
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

// builder is what New keeps while it goes through the layers.
type builder struct {
	*Net
	opts      Options
	available map[string]bool
	needGrad  []bool           // per blob
	training  bool             // a backward pass may follow
	owners    map[string]owner // shared parameter name → owner
	memory    int
}

type owner struct {
	node  *Node
	index int // of the parameter in the node's layer
	param *Param
}

// New builds the net that np describes in the state np.State (SetState fills
// it). np must be upgraded (prototxt.ReadNet does that) and is not changed.
// Errors about a layer are of type *LayerError. Close the net when done.
func New(np *caffepb.NetParameter, o Options) (_ *Net, err error) {
	if o.Log == nil {
		o.Log = glog.Discard
	}
	if len(np.Layers) > 0 {
		return nil, errors.New("net uses the old 'layers' fields: upgrade it first")
	}
	if o.Title == "" {
		o.Title = np.GetState().GetPhase().String() + " net"
	}
	layout, fuse, err := passesOf(&o)
	if err != nil {
		return nil, err
	}
	n := &Net{
		Name:    np.GetName(),
		log:     o.Log,
		byName:  map[string]int{},
		partner: o.ShareParams,
		ctx:     layers.Context{Phase: np.GetState().GetPhase(), Seed: o.Seed, Log: o.Log, ResolvePath: o.ResolvePath, Dir: o.Dir},
	}
	n.ctx.Python = layers.NewPython(&n.ctx)
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	n.title, n.written = o.Title, len(np.Layer)
	kept, index, err := filter(np, o.Log)
	if err != nil {
		return nil, n.named(err)
	}
	if err := n.checkLayers(np, kept, index); err != nil {
		return nil, err
	}
	shown := proto.CloneOf(np)
	shown.Layer = kept
	glog.Infof(o.Log, "Initializing net from parameters: \n%s", strings.TrimSuffix(string(prototxt.MarshalText(shown)), "\n"))
	ls, index, err := insertSplits(kept, index)
	if err != nil {
		return nil, n.named(whyMissing(np, err))
	}
	b := &builder{Net: n, opts: o, available: map[string]bool{}, owners: map[string]owner{},
		training: n.ctx.Phase == caffepb.Phase_TRAIN || np.GetForceBackward()}
	for i, l := range ls {
		if l.Phase == nil {
			l.Phase = n.ctx.Phase.Enum()
		}
		if err := b.addLayer(l, index[i]); err != nil {
			return nil, n.named(&LayerError{Index: index[i], Layer: l.GetName(), Type: l.GetType(), Err: err})
		}
	}
	b.settleSharing()
	b.pruneBackward()
	if np.GetForceBackward() {
		b.forceBackward()
	}
	n.warnLostGradients()
	n.warnChangedConstants()
	var names []string
	for name := range b.available {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		glog.Infof(o.Log, "This network produces output %s", name)
		n.outputs = append(n.outputs, n.byName[name])
	}
	n.debugInfo = np.GetDebugInfo()
	if n.mayFuse = fuse; fuse {
		n.findFusions()
		n.SetFused(!np.GetForceBackward())
	}
	if layout {
		if err := n.chooseLayouts(); err != nil {
			return nil, err
		}
	}
	glog.Infof(o.Log, "Network initialization done.")
	return n, nil
}

// addLayer creates, wires and sets up one layer.
func (b *builder) addLayer(l *caffepb.LayerParameter, index int) (err error) {
	defer memory.Catch(&err)
	t, err := layers.Lookup(l.GetType())
	if err != nil {
		return err
	}
	if n := len(l.PropagateDown); n > 0 && n != len(l.Bottom) {
		return fmt.Errorf("has %d propagate_down values for %d bottom blobs; give none or one for each", n, len(l.Bottom))
	}
	glog.Infof(b.log, "Creating layer %s", l.GetName())
	ctx := b.ctx
	ctx.Phase = l.GetPhase()
	shared := b.sharedNode(l.GetName())
	ctx.NoFill = shared != nil || b.opts.NoFill
	layer, err := t.New(l, &ctx)
	if err != nil {
		return err
	}
	n := &Node{Name: l.GetName(), Type: l.GetType(), Param: l, Layer: layer, index: index}
	// A split has the index of the layer before it.
	n.Inserted = len(b.nodes) > 0 && b.nodes[len(b.nodes)-1].index == index
	b.nodes = append(b.nodes, n)
	glog.Infof(b.log, "Creating Layer %s", n.Name)
	for i, name := range l.Bottom {
		if err := b.addBottom(n, l, i, name); err != nil {
			return err
		}
		n.NeedBackward = n.NeedBackward || b.needGrad[n.bottomIDs[i]]
	}
	for i, name := range l.Top {
		if err := b.addTop(n, l, i, name); err != nil {
			return err
		}
	}
	if t.AutoTops {
		for len(n.Tops) < t.Tops.Min {
			b.newBlob(n, "(automatic)")
		}
	}
	if err := t.CheckCounts(len(n.Bottoms), len(n.Tops)); err != nil {
		return err
	}
	if err := lossWeights(n, t); err != nil {
		return err
	}
	if err := layer.Setup(n.Bottoms, n.Tops); err != nil {
		return err
	}
	if s, ok := layer.(layers.ParamSpecifier); ok {
		l.Param = s.ParamSpecs()
	}
	if err := n.reshape(); err != nil {
		return err
	}
	glog.Infof(b.log, "Setting up %s", n.Name)
	for i, top := range n.Tops {
		for len(b.weights) <= n.topIDs[i] {
			b.weights = append(b.weights, 0)
		}
		b.weights[n.topIDs[i]] = n.LossWeights[i]
		glog.Infof(b.log, "Top shape: %s", top)
		if w := n.LossWeights[i]; w != 0 {
			glog.Infof(b.log, "    with loss weight %s", glog.G(w))
		}
		b.memory += top.Count()
	}
	glog.Infof(b.log, "Memory required for data: %d", b.memory*4)
	return b.addParams(n, l, shared)
}

// lossWeights fills in the layer's loss weights: as given, or 1 for the first
// top of a loss (layer.hpp, SetLossWeights; loss_layer.cpp).
func lossWeights(n *Node, t *layers.Type) error {
	n.LossWeights = make([]float32, len(n.Tops))
	switch w := n.Param.LossWeight; {
	case len(w) > 0 && len(w) != len(n.Tops):
		return fmt.Errorf("has %d loss_weight values for %d top blobs; give none or one for each", len(w), len(n.Tops))
	case len(w) > 0:
		copy(n.LossWeights, w)
	case t.Loss:
		n.LossWeights[0] = 1
		n.Param.LossWeight = n.LossWeights // Caffe's snapshots show it
	}
	return nil
}

func (b *builder) newBlob(n *Node, name string) {
	blob := tensor.New()
	blob.Reshape(0)
	n.topIDs = append(n.topIDs, len(b.blobs))
	n.Tops = append(n.Tops, blob)
	n.TopNames = append(n.TopNames, name)
	b.blobs = append(b.blobs, blob)
	b.blobNames = append(b.blobNames, name)
	b.needGrad = append(b.needGrad, false)
	glog.Infof(b.log, "%s -> %s", n.Name, name)
}

func (b *builder) addTop(n *Node, l *caffepb.LayerParameter, i int, name string) error {
	id, exists := b.byName[name]
	switch {
	case i < len(l.Bottom) && l.Bottom[i] == name:
		if spoiled := b.spoiledBy(l.GetType(), id); spoiled != nil {
			glog.Infof(b.log, "%s is not computed in place: that would change what %s needs", n.Name, spoiled.Name)
			b.newBlob(n, name)
			b.byName[name] = len(b.blobs) - 1
			break
		}
		glog.Infof(b.log, "%s -> %s (in-place)", n.Name, name)
		n.topIDs = append(n.topIDs, id)
		n.Tops = append(n.Tops, b.blobs[id])
		n.TopNames = append(n.TopNames, name)
	case exists:
		return b.madeTwice(name)
	default:
		b.newBlob(n, name)
		b.byName[name] = len(b.blobs) - 1
	}
	b.available[name] = true
	return nil
}

func (b *builder) addBottom(n *Node, l *caffepb.LayerParameter, i int, name string) error {
	if !b.available[name] {
		return fmt.Errorf("unknown bottom blob %q (bottom %d)", name, i)
	}
	id := b.byName[name]
	glog.Infof(b.log, "%s <- %s", n.Name, name)
	n.bottomIDs = append(n.bottomIDs, id)
	n.Bottoms = append(n.Bottoms, b.blobs[id])
	n.BottomNames = append(n.BottomNames, name)
	delete(b.available, name)
	down := b.needGrad[id]
	if len(l.PropagateDown) > 0 {
		down = l.PropagateDown[i]
	}
	n.PropagateDown = append(n.PropagateDown, down)
	return nil
}

// sharedNode returns the layer of Options.ShareParams that a layer takes its
// parameters from, or nil.
func (b *builder) sharedNode(name string) *Node {
	if b.opts.ShareParams == nil {
		return nil
	}
	return b.opts.ShareParams.node(name)
}

// addParams registers the layer's parameters, shares those that have a name
// seen before or belong to another net, and settles whether the layer needs a
// backward pass.
func (b *builder) addParams(n *Node, l *caffepb.LayerParameter, shared *Node) error {
	blobs := n.Layer.Params()
	if len(l.Param) > len(blobs) {
		return fmt.Errorf("has %d param entries, but only %d parameters", len(l.Param), len(blobs))
	}
	if shared != nil {
		theirs := shared.Layer.Params()
		if len(theirs) != len(blobs) {
			return fmt.Errorf("has %d parameters, but %d in the net it shares them with", len(blobs), len(theirs))
		}
		for i, p := range blobs {
			if !p.SameShape(theirs[i]) {
				return fmt.Errorf("cannot share parameter %d: its shape is %s, in the net it is shared with %s%s", i,
					tensor.FormatShape(p.Shape()), tensor.FormatShape(theirs[i].Shape()), otherData(b.nodes, b.opts.ShareParams.nodes))
			}
			p.ShareData(theirs[i])
		}
		n.borrowed = true
	} else if len(blobs) > 0 {
		b.unshared = true
	}
	for i, blob := range blobs {
		spec := &caffepb.ParamSpec{}
		if i < len(l.Param) {
			spec = l.Param[i]
		}
		learns := spec.GetLrMult() != 0
		n.NeedBackward = n.NeedBackward || learns
		n.Layer.SetParamPropagateDown(i, learns)
		name := spec.GetName()
		n.ParamNames = append(n.ParamNames, name)
		if name == "" {
			n.ParamNames[i] = strconv.Itoa(i)
		}
		if own, ok := b.owners[name]; ok && name != "" {
			if err := b.shareParam(own, blob, spec); err != nil {
				return err
			}
			n.owners = append(n.owners, own.param)
			continue
		}
		p := &Param{Blob: blob, LRMult: spec.GetLrMult(), DecayMult: spec.GetDecayMult(),
			Layer: n.Name, Name: n.ParamNames[i], Owner: n, Index: i, hasLR: spec.LrMult != nil, hasDecay: spec.DecayMult != nil}
		b.params = append(b.params, p)
		n.owners = append(n.owners, p)
		if name != "" {
			b.owners[name] = owner{n, i, p}
		}
	}
	if n.NeedBackward {
		for _, id := range n.topIDs {
			b.needGrad[id] = true
		}
	}
	return nil
}

// shareParam makes a parameter use its owner's values and gradients, after
// checking shape and multipliers (Net::AppendParam).
func (b *builder) shareParam(own owner, blob *tensor.Blob, spec *caffepb.ParamSpec) error {
	glog.Infof(b.log, "Sharing parameters '%s' owned by layer '%s', param index %d", spec.GetName(), own.node.Name, own.index)
	theirs := own.param.Blob
	same := blob.SameShape(theirs)
	if spec.GetShareMode() == caffepb.ParamSpec_PERMISSIVE {
		same = blob.Count() == theirs.Count()
	}
	if !same {
		return fmt.Errorf("cannot share param %q: its owner, layer %q, has shape %s, this layer %s", spec.GetName(), own.node.Name, tensor.FormatShape(theirs.Shape()), tensor.FormatShape(blob.Shape()))
	}
	p := own.param
	if spec.LrMult != nil {
		if p.hasLR && p.LRMult != spec.GetLrMult() {
			return fmt.Errorf("shared param %q has lr_mult %s here, %s in layer %q", spec.GetName(), glog.G(spec.GetLrMult()), glog.G(p.LRMult), own.node.Name)
		}
		p.hasLR, p.LRMult = true, spec.GetLrMult()
	}
	if spec.DecayMult != nil {
		if p.hasDecay && p.DecayMult != spec.GetDecayMult() {
			return fmt.Errorf("shared param %q has decay_mult %s here, %s in layer %q", spec.GetName(), glog.G(spec.GetDecayMult()), glog.G(p.DecayMult), own.node.Name)
		}
		p.hasDecay, p.DecayMult = true, spec.GetDecayMult()
	}
	p.Shared = true
	blob.ShareData(theirs)
	blob.ShareDiff(theirs)
	return nil
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
