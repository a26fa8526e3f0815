package main

import "crema/internal/kerneltest"

// peakLoop returns a loop that does floating-point operations as fast as the
// instruction set can, and the number of operations in one turn of it.
func peakLoop(isa string) (loop func(n int), flops float64) { return kerneltest.PeakLoop(isa) }
