// Package solver trains a net as a SolverParameter says: the training loop of
// Caffe's solver.cpp (tests, display, snapshots, signals), the learning-rate
// policies and update rules of its solvers/, and an exact resume: a run that
// is stopped and resumed gives the same bits as one that was not.
//
// For that a snapshot carries, beside what Caffe stores, the run's seed, the
// window of losses that average_loss smooths, and the position of every layer
// that has one (data layers, random layers) in the train and test nets, in a
// field of SolverState that Caffe skips (ResumeState in caffe.proto).
//
// A Solver is used by one goroutine.
package solver
