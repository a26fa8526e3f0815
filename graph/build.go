package graph

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"crema/internal/glog"
	"crema/internal/memory"
	"crema/layers"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

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
