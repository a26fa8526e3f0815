// Command compare measures crema beside OpenBLAS, oneDNN and PyTorch on the
// work of VGG-16 and writes the tables and plots of docs/performance.md.
//
// It is a module of its own, so that users of crema download nothing of it.
// The peers come from Debian's packages (bench/peers/install.sh, as root); the
// C++ ones are built at the start. In a checkout:
//
//	go -C bench/compare run . -only sgemm -threads 1,2 -rounds 5
//
// # Method
//
// Every program (crema's own is this command started anew, with -serve) is a
// process that reads requests from its standard input and answers each with
// the time of one run. All of them stay alive; in each round they work through
// the same list in turn, with a pause in between, since threads of OpenMP and
// OpenBLAS spin for some time after their work. The median over the rounds
// counts. The first run of a request is not timed, and runs shorter than 10 ms
// are repeated for 10 ms. Operands stay in the same pages; caches hold what
// the previous request left.
//
// Activations of convolutions are in the layout that each library has them in
// inside a net: oneDNN's is what its primitives ask for, crema's is blocked by 16
// channels, but for the image itself. -layout nchw gives crema all arrays as
// N×C×H×W, which costs it a reorder of every pixel.
//
// The environment of the programs is cleaned of every variable that steers
// them (OPENBLAS_CORETYPE and the like) and then sets the number of threads.
// The peak is measured in the same rounds: fused multiply-adds on registers,
// on as many threads. With -isa avx2 all programs are held to AVX2.
package main
