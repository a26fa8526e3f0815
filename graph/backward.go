package graph

import (
	"slices"

	"crema/internal/glog"
	"crema/layers"
)

// settleSharing makes layers that share a frozen parameter leave its gradient
// out, too: of those that share one, some may say lr_mult: 0 and others nothing,
// which alone would mean 1. Caffe computes gradients for the latter that nothing
// uses but gradient clipping and debug_info; Options.SharedGradients keeps them.
func (b *builder) settleSharing() {
	if b.opts.SharedGradients || !slices.ContainsFunc(b.params, func(p *Param) bool { return p.Shared && p.LRMult == 0 }) {
		return
	}
	clear(b.needGrad)
	for _, n := range b.nodes {
		n.NeedBackward = false
		for j, id := range n.bottomIDs {
			n.NeedBackward = n.NeedBackward || b.needGrad[id]
			if len(n.Param.PropagateDown) == 0 {
				n.PropagateDown[j] = b.needGrad[id]
			}
		}
		for i, p := range n.owners {
			learns := p.LRMult != 0
			n.NeedBackward = n.NeedBackward || learns
			n.Layer.SetParamPropagateDown(i, learns)
		}
		if n.NeedBackward {
			for _, id := range n.topIDs {
				b.needGrad[id] = true
			}
		}
	}
}

// pruneBackward goes through the net from its end and switches off backward
// passes that do not lead from a loss or that nobody wants.
func (b *builder) pruneBackward() {
	underLoss, skip := map[int]bool{}, map[int]bool{}
	for i := len(b.nodes) - 1; i >= 0; i-- {
		n := b.nodes[i]
		contributes, skipAll := false, true
		for j, id := range n.topIDs {
			if n.LossWeights[j] != 0 || underLoss[id] {
				contributes = true
			}
			if !skip[id] {
				skipAll = false
			}
		}
		if n.NeedBackward && skipAll {
			n.NeedBackward = false
			clear(n.PropagateDown)
		}
		if !contributes {
			n.NeedBackward = false
		}
		if n.NeedBackward {
			glog.Infof(b.log, "%s needs backward computation.", n.Name)
		} else {
			glog.Infof(b.log, "%s does not need backward computation.", n.Name)
			// Then it need not keep what only Backward reads.
			for i := range n.Layer.Params() {
				n.Layer.SetParamPropagateDown(i, false)
			}
		}
		for j, id := range n.bottomIDs {
			if contributes {
				underLoss[id] = true
			} else {
				n.PropagateDown[j] = false
			}
			if !n.PropagateDown[j] {
				skip[id] = true
			}
		}
	}
}

// forceBackward computes gradients everywhere a layer can.
func (b *builder) forceBackward() {
	for _, n := range b.nodes {
		t, err := layers.Lookup(n.Type)
		if err != nil || t.NoBackward {
			continue
		}
		n.NeedBackward = true
		for j := range n.PropagateDown {
			if !isLabel(t, j, len(n.PropagateDown)) {
				n.PropagateDown[j] = true
			}
		}
		for i := range n.Layer.Params() {
			n.Layer.SetParamPropagateDown(i, true)
		}
	}
}

// isLabel reports whether a layer type gives its bottom j of n no gradient but
// where a net asks for it by propagate_down.
func isLabel(t *layers.Type, j, n int) bool {
	return slices.Contains(t.NoForceBackward, j) || slices.Contains(t.NoForceBackward, j-n)
}

// Frozen counts the layers that have parameters, and those of which lr_mult: 0
// keeps all from learning. BatchNorm, whose statistics never learn, does not
// count.
func (n *Net) Frozen() (frozen, all int) {
	for _, l := range n.nodes {
		if len(l.owners) == 0 || l.Type == "BatchNorm" {
			continue
		}
		all++
		if !slices.ContainsFunc(l.owners, func(p *Param) bool { return p.LRMult != 0 }) {
			frozen++
		}
	}
	return frozen, all
}

// Work counts what the backward pass of a net computes and what it could.
type Work struct {
	// Passes is how many of the net's Layers with bottoms run backward.
	Layers, Passes int
	// BottomGradients is how many of the Bottoms of these layers get a gradient,
	// ParamGradients of their Params.
	Bottoms, BottomGradients int
	Params, ParamGradients   int
}

// BackwardWork returns what Backward computes. Layers of types that cannot run
// backward (data, Accuracy) are not counted, nor are bottoms that never get a
// gradient (labels).
func (n *Net) BackwardWork() Work {
	var w Work
	for _, l := range n.nodes {
		t, err := layers.Lookup(l.Type)
		if err != nil || l.added || t.NoBackward || len(l.Bottoms) == 0 && len(l.Layer.Params()) == 0 {
			continue
		}
		w.Layers++
		if l.NeedBackward {
			w.Passes++
		}
		for j, down := range l.PropagateDown {
			if isLabel(t, j, len(l.Bottoms)) {
				continue
			}
			w.Bottoms++
			if l.NeedBackward && down {
				w.BottomGradients++
			}
		}
		for i := range l.Layer.Params() {
			w.Params++
			if l.NeedBackward && l.Layer.ParamPropagateDown(i) {
				w.ParamGradients++
			}
		}
	}
	return w
}
