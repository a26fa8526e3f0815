// Package infer classifies pictures with a trained net: it brings pictures into
// the form that the net was trained on, runs the net and ranks its outputs.
//
// The steps are those of Caffe's Classifier (python/caffe/classifier.py and
// io.py), in its order: resize to one size for all, cut out the centre or ten
// crops, choose the order of channels, scale, subtract the mean, scale again.
package infer
