// Package netinfo tells what a net is made of, without running it: the shapes
// of its blobs, and for each layer the parameters, the multiply-adds of a forward
// pass and the memory of its activations.
//
// A net is built as package graph builds it to run, so shapes are right for all
// layer types, but parameters get no values and blobs no memory, and layers that
// read data are replaced by inputs of the shape that they would give
// ([Sources]). So it takes little time and memory, however large the net is.
//
// # What is counted
//
// Multiply-adds are those of products with weights: convolutions, fully
// connected and recurrent layers, as in papers, whose "FLOPs" mostly are these.
// Additions of biases, pooling, normalisation and other work on single elements
// is left out. A multiply-add is two floating-point operations, so that FLOPs in
// the strict sense are twice as many.
//
// Memory of activations is what the blobs between layers take: values, and
// gradients of those blobs to which a gradient is propagated. Blobs that share
// memory (in-place layers, splits) are counted once. What layers have beside
// (masks, transformed filters) is not in it, and neither are parameters.
package netinfo
