// Command crema trains and runs Caffe networks on CPUs.
//
//	crema train --solver=solver.prototxt
//	crema test --model=train_val.prototxt --weights=net.caffemodel
//	crema help
//
// It takes caffe's actions (train, test, time, device_query), flags and flag
// syntax: one dash or two, "=" or a blank before the value, flags before or
// after the action, -noNAME for a boolean. "crema COMMAND --help" lists a
// command's flags.
//
// # Layout
//
// main.go finds and runs a command; each command has a file of its own that
// registers it from init. netflags.go holds the flags and the steps that the
// commands which run a net share, flags.go the flag syntax, glog.go the log,
// progress.go the progress line, signals.go what SIGINT and SIGHUP do. A command
// reads and writes through its stdio only, so that tests can run it in place.
//
// # Log
//
// The log goes to stderr in glog's format, with Caffe's sentences, so that
// tools that read Caffe's logs read these; --log_dir also writes it to files.
// If stderr is a terminal, a progress line stays below the log while training.
//
// # Status
//
// 0: done, also after a signal that stopped training cleanly; 1: something is
// wrong with a file, a net or the run, which one line on stderr names; 2: the
// command was called wrongly; 3: compare_models found a difference; 130: a second SIGINT ended training at once.
//
// # Environment
//
// CREMA_ISA=generic, avx2 or avx512 forces the kernels of one instruction set
// ("crema device_query" lists those that the CPU has). CREMA_CONV=NAME forces an
// algorithm of package conv; CREMA_LAYOUT=nchw and CREMA_FUSE=off switch off
// passes of package graph.
package main
