// Package graph builds a net from a NetParameter and runs it.
//
// New applies the include and exclude rules, inserts Split layers, creates the
// layers in the file's order, wires and shares blobs, and decides which layers
// need a backward pass, as Caffe's net.cpp and util/insert_splits.cpp do.
// Blobs belong to the net. They are row-major, 4-D activations N×C×H×W, but for
// the passes below.
//
// # Passes
//
// When the layers are there, two passes make the net faster without changing
// its results but for rounding. The fusion pass lets convolutions do the work of
// ReLU layers that follow them in place; such a layer stays in the net and does
// nothing (see [Net.SetFused] for what the blobs hold). The layout pass keeps
// blobs between layers that work faster so in another order than N×C×H×W
// (tensor.Layout), and inserts layers of type Reorder where another layer reads
// them. Blob.Values and Blob.Gradients are always in row-major order. Blobs of
// data layers, outputs of the net, parameters, and what is part of the loss are
// never reordered. Options and environment variables switch the passes off;
// docs/decisions/004-layout.md has the reasons.
//
// A net is used by one goroutine at a time; its layers spread their work over
// several. Two nets may share parameters (Options.ShareParams) if they are not
// run at the same time. Results do not depend on the number of threads.
package graph
