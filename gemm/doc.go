// Package gemm multiplies single-precision matrices.
//
// Matrices are row-major: element (i, j) of a matrix with row stride ld is
// x[i·ld+j]. All strides and sizes count elements.
//
// # Method
//
// The product is cut into tiles that a micro-kernel of package asm computes
// from panels of A and B (Goto and van de Geijn, Anatomy of High-Performance
// Matrix Multiplication, 2008; Van Zee and van de Geijn, BLIS, 2015). Here A is
// packed once for the whole product, all workers together; then blocks of C
// are handed out, and for each a worker packs a block of B of KC×NC elements,
// which stays in the level-2 cache, while panels of A stream past it. NC
// follows from the size of that cache. A is packed in slices of rows if it is
// very large.
//
// Products of a few rows with a large B (fully connected layers with small
// batches) read B where it lies, once: they are limited by memory. SGDOuter makes
// the gradient of such a layer and the step by it in one pass over the weights.
//
// # Promises
//
// C is never read if beta is 0. Results depend on the shape, the operands and
// the instruction set only: the same bits for any number of workers, and
// wherever in the memory the operands are. Nothing is allocated in steady
// state: scratch is pooled. Calls may be made from several goroutines at once.
//
// Wrong arguments (negative sizes, strides below the row length, short slices)
// are the caller's bugs and panic before anything is written.
package gemm
