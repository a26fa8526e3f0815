// Package graph builds a net from a NetParameter and runs it.
//
// New applies the include and exclude rules, inserts Split layers, creates the
// layers in the file's order, wires and shares blobs, and decides which layers
// need a backward pass, as Caffe's net.cpp and util/insert_splits.cpp do.
// Blobs are row-major and belong to the net; 4-D activations are N×C×H×W.
//
// A net is used by one goroutine at a time; its layers spread their work over
// several. Two nets may share parameters (Options.ShareParams) if they are not
// run at the same time. Results do not depend on the number of threads.
package graph
