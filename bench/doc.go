// Package bench names the work of VGG-16 (Simonyan and Zisserman, Very Deep
// Convolutional Networks for Large-Scale Image Recognition, 2015,
// configuration D) for benchmarks: its convolutions, its fully connected
// layers, and the matrix products they become. Only tests and the comparison
// with other libraries in the nested module compare use it.
//
// Layers of the same shape have one entry, under the first one's name.
package bench
