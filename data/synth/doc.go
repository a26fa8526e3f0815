// Package synth draws data sets, so that nets can be trained, tested and timed
// on a machine that has no data.
//
// The image sets are
//
//   - Signs, of as many classes as wanted: letters on a patterned ground, of any
//     size, for sets shaped like ImageNet.
//   - Digits, of ten classes: in several typefaces at random places, sizes,
//     angles and colours; small nets learn it in minutes, linear classifiers do
//     not.
//   - PlainDigits, which are like MNIST's, and Pairs of them for siamese nets.
//   - Scenes, pictures of several figures and with each a label image, for nets
//     that segment.
//
// Text is sentences of a grammar for recurrent nets (WriteText).
//
// Image i of a split is a function of the set's options, the split's name and
// i alone: it does not depend on how many images are drawn, in which order or
// on how many threads. (Across processor architectures single pixels may
// differ by one level, since compilers may fuse floating-point operations.)
// Labels are balanced: every run of Classes() images that starts at a multiple
// of Classes() has each label once, in an order drawn anew for each run.
//
// Pixels are bytes, planar (C×H×W), channels in the order blue, green, red, as
// in Caffe's Datum. A Set is immutable and may be used by many goroutines; a
// Drawer holds scratch and belongs to one.
//
// Write stores a set as an LMDB that Caffe's Data layer reads. It draws and
// encodes on several goroutines, writes in order, and keeps only a few
// megabytes of images in memory, however large the set.
package synth
