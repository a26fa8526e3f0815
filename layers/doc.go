// Package layers holds the layer types of Caffe, one file each, the registry
// that finds them by name and the protocol they follow.
//
// Blobs are row-major; 4-D activations are N×C×H×W. A layer owns its parameter
// blobs and scratch; tops and bottoms belong to the net. Layers are called
// from one goroutine at a time and spread their own work over several.
// Backward overwrites bottom gradients and adds to parameter gradients. Every
// result is the same for any number of threads.
//
// Layers return errors (without the layer's name, which the net adds); they do
// not panic on what a user's file can cause.
package layers
