// Package watch observes a training run: it keeps its course in memory for
// whoever wants to show it, and writes files that people's tools read.
//
// A [Recorder] hooks into a solver (Install, then Start). Everything it looks
// at, it looks at from the goroutine that trains, between two steps of the
// solver, and it decides itself how often it can afford to: all its looking and
// writing together stays below about one percent of the time. Readers call
// State, Series and Pictures from any goroutine. What these return is theirs:
// nothing changes it later, and a reader that is slow or gone holds up nobody.
//
// With a folder, a run leaves these files in FOLDER/NAME:
//
//	train.csv     one row an iteration: iter, loss, smoothed, lr, seconds,
//	              images_per_second, wait_share
//	test.csv      one row per value of a test pass: iter, net, name, value
//	layers.csv    one row per layer and sample: iter, layer, type, …
//	solver.prototxt, net.prototxt
//	              the configuration as it is used, after all overrides
//	events.out.tfevents.TIME.HOST.crema
//	              scalars, histograms and images for TensorBoard
//
// Rows are added whole. A run that is resumed under its name goes on in its
// files, without the rows of iterations that are made again.
package watch
