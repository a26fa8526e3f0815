// Package pylayer runs layers that users write in Python: one python3 process
// for each net, which imports the users' modules with a module caffe that crema
// brings along (the folder python, embedded).
//
// # Memory
//
// Blobs that a layer looks at are moved to memory that crema and all its
// Python processes map: one file without a name. A layer's numpy arrays are that
// memory, so no values are copied. A blob is moved when a layer first asks for its
// values, or gradients, and back to ordinary memory when the last process that
// uses it is closed.
//
// # Protocol
//
// Two pipes carry frames: the length of the body (4 bytes), the kind (1) and the
// body, all little-endian. The Go side sends a request and waits for the reply;
// while a method of a layer runs, the Python side may ask for something, which is
// answered at once. The tables stand in protocol.go and in python/server.py.
//
// # Processes
//
// The process leads a process group of its own, so that a SIGINT of the terminal
// does not end it before crema does. It ends when its pipe is closed; if it does
// not within a grace time, the whole group is killed. Should crema be killed, a
// second process of the group, forked before anything is imported, sees the end
// of a pipe and does the same.
//
// A Process and its layers may be used by one goroutine at a time; several
// processes at once.
package pylayer
