// Package gemm multiplies single-precision matrices.
//
// Matrices are row-major: element (i, j) of a matrix with row stride ld is
// x[i·ld+j]. All strides and sizes count elements.
//
// # Method
//
// The product is cut into tiles that a micro-kernel of package asm computes
// from panels of A and B (Goto and van de Geijn, Anatomy of High-Performance
// Matrix Multiplication, 2008; Van Zee and van de Geijn, BLIS, 2015). C is cut
// into a few parts of equal size, and each is computed by one worker from
// panels that it packs itself: so there is nothing to wait for but the end.
//
// A part is made in one of two orders. By columns: a block of A is packed and
// stays in the level-2 cache, while panels of B pass by, one at a time. Or by
// rows, with the roles of A and B exchanged. A panel of the operand that passes
// by is packed while the first tile that needs it is computed, if it is stored
// so that nothing has to be transposed for that; packing it then costs next to
// nothing, and the order is chosen so that it is the operand that is most to
// pack, and that one that must be transposed is not packed again and again.
// Panels are so deep that little time is spent between tiles. A product of
// few columns that would fill a panel of B badly is computed as its transpose. If
// all columns are in one panel, A is not packed but read where it lies. Of a deep
// product with a very small C the depth is cut instead, into runs whose products
// are then added up.
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
