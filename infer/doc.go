// Package infer classifies pictures with a trained net: it brings pictures into
// the form that the net was trained on, runs the net and ranks its outputs.
//
// The steps are those of Caffe's Classifier (python/caffe/classifier.py and
// io.py), in its order: resize to one size for all, cut out the centre or ten
// crops, choose the order of channels, scale, subtract the mean, scale again.
//
// Pictures are bytes of C×H×W (data.Image), channels in the order blue, green,
// red, or grey. The net has one input of N×C×H×W, reshaped to as many pictures as
// are given at once, and an output with the scores of K classes for each of them.
//
// A net and its Classifier are used by one goroutine at a time. Others may have
// nets of their own that share the weights (see package tensor).
package infer
