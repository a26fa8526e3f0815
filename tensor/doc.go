// Package tensor holds the blob: an N-dimensional float32 array with a
// gradient of the same shape, the unit that layers and nets exchange (Caffe's
// include/caffe/blob.hpp).
//
// # Elements
//
// To the outside a blob is row-major (C order); a 4-D activation is N×C×H×W.
// [Blob.Values], [Blob.SetValues], [Blob.At] and [Blob.Set], and their like for
// gradients, speak in that order whatever the order in memory is. Data,
// ReadData and Diff give the memory itself, whose order is that of
// [Blob.Layout]: a net may keep activations between its layers in another than
// NCHW, but never inputs, outputs, parameters, or what a layer sees that does
// not say that it can take more (layers.LayoutTaker).
//
// # Memory
//
// It is allocated, as zeros, when it is first asked for, so a net whose
// gradients nobody wants does not pay for them. Two blobs may share one memory
// (layers in place, Split, Flatten, shared parameters). [Blob.PlaceData] moves it
// to memory of the caller's.
//
// # Concurrency
//
// Methods that only read (Values, ReadData, At, Shape, Version and so on) may
// run in several goroutines at once, on one blob or on blobs that share their
// memory, as long as none changes it; so nets may share weights. Data, Set,
// SetValues, Diff, Reshape, SetLayout and the Share methods are changes: nothing
// else may use the blob, or for the first four those that share its memory,
// meanwhile. Others may read, but not change, while the Place methods move: a
// slice that they have keeps its values as long as its memory does. Distinct elements of
// a slice may be written from several goroutines.
package tensor
